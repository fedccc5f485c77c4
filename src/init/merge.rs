//! What is missing in a dbt-lease.yml that is there, as edits: every other byte of it stays.
#![forbid(unsafe_code)]

use std::path::Path;

use super::InitError;
use super::propose::{Environment, Proposal};
use super::written::{Part, environment_text, target_text, vault_text};
use crate::bridge::edit::{Edit, Replacement};
use crate::bridge::lease::{end_of, inserted, line_end};
use crate::dbt::yaml::{Content, Entry, Merging, Written};

/// The edits that add a proposal to a file.
///
/// # Errors
/// Its form is none that can be added to: what would have been added is said.
pub fn edits(
    file: &Path,
    text: &str,
    proposal: &Proposal,
    part: Part<'_>,
) -> Result<Vec<Edit>, InitError> {
    let refused = |why: &str| InitError::NotMerged {
        file: file.to_owned(),
        why: why.to_owned(),
        missing: proposal
            .environments
            .iter()
            .map(|environment| environment_text(environment, part))
            .collect(),
    };
    let written =
        Written::of(text.as_bytes(), Merging::FirstWins).ok_or_else(|| refused("it is no YAML"))?;
    let environments = written
        .entry(written.root().node, "environments")
        .ok_or_else(|| refused("it has no `environments:`"))?;
    let mut edits = Vec::new();
    let mut new = String::new();
    let column = column_of_keys(text, &written, &environments)
        .ok_or_else(|| refused("its `environments:` is no block of lines"))?;
    for environment in &proposal.environments {
        match written.entry(environments.value.node, &environment.name) {
            Some(entry) => edits.extend(
                into(text, &written, &entry, environment, part)
                    .ok_or_else(|| refused("an environment in it is no block of lines"))?,
            ),
            None => {
                new.push_str(&moved(&environment_text(environment, part), 2, column));
            }
        }
    }
    if !new.is_empty() {
        let end = line_end(text, end_of(text, &written, environments.value.node));
        edits.push(inserted(text, end, &new));
    }
    let vault = vault_text(proposal, part);
    if !vault.is_empty() {
        if written.entry(written.root().node, "vault").is_some() {
            return Err(refused("its `vault:` has no `address:`"));
        }
        let key = written.node(environments.key.node).span.start;
        edits.push(inserted(text, key, &vault));
    }
    edits.sort_by_key(|edit| edit.span.start);
    Ok(edits)
}

/// The edits that add an environment's targets to those that it has.
fn into(
    text: &str,
    written: &Written,
    entry: &Entry<'_>,
    environment: &Environment,
    part: Part<'_>,
) -> Option<Vec<Edit>> {
    let targets: Vec<_> = environment
        .targets
        .iter()
        .filter(|target| part.holds(target.project))
        .collect();
    if targets.is_empty() {
        return Some(Vec::new());
    }
    let its = written.entry(entry.value.node, "targets")?;
    let lines = |column: usize| -> String {
        targets
            .iter()
            .map(|target| target_text(target, column))
            .collect()
    };
    let node = written.node(its.value.node);
    if let Content::Map(pairs) = &node.content
        && pairs.is_empty()
        && its.value.alias.is_none()
        && text[node.span.clone()].starts_with('{')
    {
        let column = written.node(its.key.node).mark.column - 1;
        let gap = text[..node.span.start].trim_end_matches(' ').len();
        let line = line_end(text, node.span.end);
        return Some(vec![
            Edit {
                span: gap..node.span.end,
                replacement: Replacement::Text(String::new()),
            },
            inserted(text, line, &lines(column + 2)),
        ]);
    }
    let column = column_of_keys(text, written, &its)?;
    let end = line_end(text, end_of(text, written, its.value.node));
    Some(vec![inserted(text, end, &lines(column))])
}

/// How far to the right the keys of a block mapping stand; none where it is none.
fn column_of_keys(text: &str, written: &Written, entry: &Entry<'_>) -> Option<usize> {
    let node = written.node(entry.value.node);
    let Content::Map(pairs) = &node.content else {
        return None;
    };
    if entry.value.alias.is_some() || text[node.span.clone()].starts_with(['{', '&', '!']) {
        return None;
    }
    let (key, _) = pairs.last()?;
    let column = written.node(key.node).mark.column - 1;
    (column > 0).then_some(column)
}

/// Lines that begin at one column, at another.
fn moved(text: &str, from: usize, to: usize) -> String {
    text.lines()
        .map(|line| {
            format!(
                "{}{}\n",
                " ".repeat(to),
                line.get(from..).unwrap_or_default()
            )
        })
        .collect()
}

//! The text of a dbt-lease.yml.
#![forbid(unsafe_code)]

use super::lend::Lend;
use super::propose::{Environment, Proposal, Target};
use super::words::scalar;

/// The schema's file, beside dbt-lease.yml.
pub const SCHEMA: &str = "dbt-lease.schema.json";

/// Which part of a proposal a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// All of it, for the only project.
    Whole,
    /// What projects share: address and logins.
    Shared,
    /// A project's own targets.
    Own {
        /// Which project.
        project: usize,
        /// The path of the shared part, from the project's directory.
        shared: &'a str,
        /// Whether what the shared part lacks stands here too: address and logins.
        logins: bool,
    },
}

/// The text of a part.
pub fn text(proposal: &Proposal, part: Part<'_>) -> String {
    let (schema, extends) = match part {
        Part::Own { shared, .. } => {
            let directory = shared.strip_suffix("dbt-lease.yml").unwrap_or_default();
            (format!("{directory}{SCHEMA}"), Some(shared))
        }
        _ => (format!("./{SCHEMA}"), None),
    };
    let mut text = format!(
        "# yaml-language-server: $schema={schema}\n# What dbt may borrow from Vault, and as whom. No secret stands in here: commit it.\nversion: 1\n"
    );
    if let Some(shared) = extends {
        text.push_str(&format!("extends: {}\n", path_scalar(shared)));
    }
    text.push_str(&vault_text(proposal, part));
    text.push_str("environments:\n");
    for environment in &proposal.environments {
        text.push_str(&environment_text(environment, part));
    }
    text
}

impl Part<'_> {
    fn has_logins(self) -> bool {
        !matches!(self, Self::Own { logins: false, .. })
    }

    /// Whether it holds a project's targets.
    pub(super) fn holds(self, project: usize) -> bool {
        match self {
            Self::Whole => true,
            Self::Shared => false,
            Self::Own { project: own, .. } => own == project,
        }
    }
}

/// The block `vault:`; empty where the part has none.
pub fn vault_text(proposal: &Proposal, part: Part<'_>) -> String {
    match &proposal.address {
        Some(address) if part.has_logins() => {
            format!("vault:\n  address: {}\n", path_scalar(address))
        }
        _ => String::new(),
    }
}

/// An address or a path, in quotes where it needs any.
fn path_scalar(text: &str) -> String {
    let is_plain = text
        .chars()
        .all(|ch| ch.is_ascii_alphanumeric() || ":/.-_".contains(ch))
        && text.contains('/')
        && !text.starts_with(['-', ':'])
        && !text.ends_with(':');
    if is_plain {
        text.to_owned()
    } else {
        scalar(text)
    }
}

/// One environment's block, as far as a part holds it; empty where it holds nothing of it.
pub fn environment_text(environment: &Environment, part: Part<'_>) -> String {
    let targets: Vec<&Target> = environment
        .targets
        .iter()
        .filter(|target| part.holds(target.project))
        .collect();
    let is_own = matches!(part, Part::Own { .. });
    if targets.is_empty() && (is_own || environment.auth.is_none()) {
        return String::new();
    }
    let mut text = format!("  {}:\n", scalar(&environment.name));
    if part.has_logins() && (!is_own || environment.auth.is_some()) {
        if environment.protected {
            text.push_str("    protected: true  # never by default: the target must be named\n");
        }
        if let Some(auth) = &environment.auth {
            text.push_str(&format!("    auth: {auth}\n"));
        }
    }
    if targets.is_empty() {
        text.push_str("    targets: {}  # each project has its own\n");
        return text;
    }
    text.push_str("    targets:\n");
    for target in targets {
        text.push_str(&target_text(target, 6));
    }
    text
}

/// One target's lines, so far to the right.
pub fn target_text(target: &Target, indent: usize) -> String {
    let Target {
        key,
        profile,
        target,
        lend,
        ..
    } = target;
    let line = |depth: usize, text: String| format!("{}{text}\n", " ".repeat(indent + 2 * depth));
    let comment = |lend: &Lend| match lend.why.as_str() {
        "" => String::new(),
        why => format!("  # {why}"),
    };
    let is_long = profile.is_some()
        || !(lend.fields.is_empty() && lend.files.is_empty() && lend.env.is_empty());
    let short = lend.path.as_deref().unwrap_or("none");
    let key = scalar(key);
    if !is_long {
        return line(0, format!("{key}: {short}{}", comment(lend)));
    }
    let mut text = line(0, format!("{key}:{}", comment(lend)));
    if let Some(profile) = profile {
        text.push_str(&line(1, format!("profile: {}", scalar(profile))));
        text.push_str(&line(1, format!("target: {}", scalar(target))));
    }
    let Some(path) = &lend.path else {
        text.push_str(&line(1, "secrets: none".to_owned()));
        return text;
    };
    text.push_str(&line(1, "secrets:".to_owned()));
    text.push_str(&line(2, format!("warehouse: {path}")));
    if !(lend.fields.is_empty() && lend.files.is_empty()) {
        text.push_str(&line(1, "fields:".to_owned()));
    }
    for (key, template) in &lend.fields {
        text.push_str(&line(2, format!("{}: \"{template}\"", scalar(key))));
    }
    for (key, template) in &lend.files {
        text.push_str(&line(
            2,
            format!("{}: {{file: \"{template}\"}}", scalar(key)),
        ));
    }
    if !lend.env.is_empty() {
        text.push_str(&line(1, "env:".to_owned()));
    }
    for (variable, template) in &lend.env {
        text.push_str(&line(2, format!("{variable}: \"{template}\"")));
    }
    text
}

//! `env:` of dbt-lease.yml: which of Vault's fields feeds which variable. As edits of the file where there is one, else as a text to be
//! put into one.
#![forbid(unsafe_code)]

use std::ops::Range;

use super::edit::{Edit, Replacement};
use super::{Origin, Variable};
use crate::config::{BridgeName, Config, Lending, Lent, Target, bridge_name};
use crate::dbt::yaml::{Content, Entry, Merging, Style, Written};
use crate::render::adapters::{self, Form};

/// What a short form's secret is called.
const SECRET: &str = "warehouse";

/// The variables of one target.
struct Feed<'a> {
    profile: &'a str,
    target: &'a str,
    variables: Vec<&'a Variable>,
}

/// A variable with what feeds it.
struct Line {
    name: String,
    /// The template; none where dbt-lease does not know which field it is.
    template: Option<String>,
    key: String,
    /// Whether the file read no such variable before.
    is_new: bool,
}

impl Line {
    /// Why nothing feeds it, where nothing does.
    fn unfed(&self) -> Option<String> {
        if self.template.is_some() {
            return None;
        }
        let key = self.key.escape_debug();
        Some(match bridge_name(&self.name) {
            BridgeName::Refused(reason) => format!(
                "{} ({key}), which `env:` may not set, since it {reason}",
                self.name
            ),
            _ => format!("{} ({key})", self.name),
        })
    }
}

/// What is to be done with a dbt-lease.yml.
#[derive(Debug, Default)]
pub struct Leases {
    /// The edits.
    pub edits: Vec<Edit>,
    /// What is left to the user: a target with what it is.
    pub notes: Vec<(String, String)>,
}

/// The edits of a dbt-lease.yml: each target that lends gets the variables that its output reads. `own_profile` is the project's own.
pub fn edits(
    text: &str,
    config: &Config,
    own_profile: Option<&str>,
    variables: &[Variable],
) -> Leases {
    let mut leases = Leases::default();
    let Some(written) = Written::of(text.as_bytes(), Merging::FirstWins) else {
        return leases;
    };
    for feed in feeds(variables) {
        let of_config = config
            .targets()
            .find(|(_, target)| target.is(feed.profile, feed.target, own_profile));
        let Some((environment, target)) = of_config else {
            continue;
        };
        let Lending::Lent(lent) = &target.lending else {
            continue;
        };
        let name = format!("{}.{}", environment.name, target.key);
        let mut note = |why: String| leases.notes.push((name.clone(), why));
        let lines: Vec<Line> = lines(&feed, secret_of(lent))
            .into_iter()
            .filter(|line| lent.env.iter().all(|bridge| bridge.name != line.name))
            .collect();
        if lines.is_empty() {
            continue;
        }
        if !lent.fields.is_empty() {
            note(
                "it has `fields:`, which set the keys themselves, so `env:` is left to you"
                    .to_owned(),
            );
            continue;
        }
        // What the file read before comes from where it came from; the new ones have nothing that sets them.
        let unfed: Vec<String> = lines
            .iter()
            .filter(|line| line.is_new)
            .filter_map(Line::unfed)
            .collect();
        if !unfed.is_empty() {
            note(format!("nothing in it feeds {}", unfed.join(", ")));
        }
        let fed: Vec<Line> = lines
            .into_iter()
            .filter(|line| line.template.is_some())
            .collect();
        if fed.is_empty() {
            continue;
        }
        match place(text, &written, &environment.name, target, &fed) {
            Some(edits) => leases.edits.extend(edits),
            None => note(
                "its form is none that can be edited here, so `env:` is left to you".to_owned(),
            ),
        }
    }
    leases.edits.sort_by_key(|edit| edit.span.start);
    leases
}

/// The same as a text, for where there is no dbt-lease.yml yet: the targets with their variables.
pub fn snippet(variables: &[Variable], own_profile: Option<&str>) -> String {
    let mut text = "# dbt-lease.yml: each target goes below `environments: NAME: targets:`; ROLE is the role that makes its credential\n".to_owned();
    for feed in feeds(variables) {
        let is_own = own_profile.is_none_or(|own| own == feed.profile);
        let key = if is_own {
            feed.target.to_owned()
        } else {
            format!("{}-{}", feed.profile, feed.target)
        };
        text.push_str(&format!("{}:\n", quoted(&key)));
        if !is_own {
            text.push_str(&format!(
                "  profile: {}\n  target: {}\n",
                quoted(feed.profile),
                quoted(feed.target)
            ));
        }
        text.push_str(&format!(
            "  secrets:\n    {SECRET}: database/creds/ROLE\n  env:\n"
        ));
        for line in lines(&feed, Some(SECRET)) {
            text.push_str(&match line.template {
                Some(template) => format!("    {}: \"{template}\"\n", line.name),
                None => format!(
                    "    # {}: \"{{{{ vault.NAME.FIELD }}}}\"   # {}\n",
                    line.name,
                    line.key.escape_debug()
                ),
            });
        }
    }
    text
}

/// A key in block style, quoted where it must be.
fn quoted(key: &str) -> String {
    let plain = key.starts_with(|ch: char| ch.is_ascii_alphabetic())
        && key
            .chars()
            .all(|ch| ch.is_ascii_alphanumeric() || "_-.".contains(ch))
        && !["true", "false", "yes", "no", "on", "off", "null"]
            .contains(&key.to_ascii_lowercase().as_str());
    if plain {
        key.to_owned()
    } else {
        serde_json::Value::from(key).to_string()
    }
}

/// The variables by target, in the file's order.
fn feeds(variables: &[Variable]) -> Vec<Feed<'_>> {
    let mut feeds: Vec<Feed<'_>> = Vec::new();
    for variable in variables {
        let Some(target) = &variable.target else {
            continue;
        };
        let known = feeds
            .iter_mut()
            .find(|feed| feed.profile == variable.profile && feed.target == target);
        match known {
            Some(feed) => feed.variables.push(variable),
            None => feeds.push(Feed {
                profile: &variable.profile,
                target,
                variables: vec![variable],
            }),
        }
    }
    feeds
}

/// The only secret's name.
fn secret_of(lent: &Lent) -> Option<&str> {
    match &lent.secrets[..] {
        [only] => Some(&only.request.name),
        _ => None,
    }
}

/// Each variable of a target once: by the key that tells its field, where one does.
fn lines(feed: &Feed<'_>, secret: Option<&str>) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for variable in &feed.variables {
        let template = match &variable.origin {
            _ if matches!(bridge_name(&variable.name), BridgeName::Refused(_)) => None,
            Origin::Vault(expression) => Some(format!("{{{{ {expression} }}}}")),
            _ => secret
                .zip(field(variable))
                .map(|(secret, field)| format!("{{{{ vault.{secret}.{field} }}}}")),
        };
        match lines.iter_mut().find(|line| line.name == variable.name) {
            Some(line) => line.template = line.template.take().or(template),
            None => lines.push(Line {
                name: variable.name.clone(),
                template,
                key: variable.key.clone(),
                is_new: variable.origin != Origin::Kept,
            }),
        }
    }
    lines
}

/// Vault's field for a key of an output.
fn field(variable: &Variable) -> Option<&'static str> {
    if !variable.is_credential {
        return None;
    }
    let credentials = adapters::credentials(variable.adapter.as_deref()?)?;
    credentials
        .iter()
        .flat_map(|credential| credential.takes)
        .find(|take| take.form == Form::AsItIs && take.keys.contains(&variable.key.as_str()))
        .and_then(|take| take.fields.first().copied())
}

/// The edits of one target.
fn place(
    text: &str,
    written: &Written,
    environment: &str,
    target: &Target,
    lines: &[Line],
) -> Option<Vec<Edit>> {
    let mut entry = written.entry(written.root().node, "environments")?;
    for key in [environment, "targets", &target.key] {
        entry = written.entry(entry.value.node, key)?;
        if entry.value.alias.is_some() {
            return None;
        }
    }
    let pairs = || {
        let pairs: Vec<String> = lines
            .iter()
            .filter_map(|line| Some(format!("{}: \"{}\"", line.name, line.template.as_ref()?)))
            .collect();
        pairs
    };
    let value = written.node(entry.value.node);
    let column = written.node(entry.key.node).mark.column - 1;
    let step = |depth: usize| " ".repeat(column + 2 * depth);
    match &value.content {
        Content::Scalar(scalar) => {
            let is_plain = scalar.style != Style::Block && starts_line(text, written, &entry);
            let path = text[value.span.clone()].to_owned();
            if !is_plain {
                let secrets = format!(
                    "{{secrets: {{{SECRET}: {path}}}, env: {{{}}}}}",
                    pairs().join(", ")
                );
                return Some(vec![replaced(value.span.clone(), secrets)]);
            }
            // The key's line keeps its comment.
            let before = text[..value.span.start].trim_end_matches([' ', '\t']).len();
            let mut block = format!(
                "{}secrets:\n{}{SECRET}: {path}\n{}env:\n",
                step(1),
                step(2),
                step(1)
            );
            for pair in pairs() {
                block.push_str(&format!("{}{pair}\n", step(2)));
            }
            let line = line_end(text, value.span.end);
            Some(vec![
                replaced(before..value.span.end, String::new()),
                inserted(text, line, &block),
            ])
        }
        Content::Map(_) => {
            let env = written.entry(entry.value.node, "env");
            let (map, key_column) = match &env {
                Some(env) if env.value.alias.is_some() => return None,
                Some(env) => (env.value.node, None),
                None => (entry.value.node, Some(())),
            };
            let node = written.node(map);
            let Content::Map(own) = &node.content else {
                return None;
            };
            if text[node.span.clone()].starts_with('{') {
                let end = node.span.end - 1;
                let start = text[..end].trim_end().len();
                let comma = if own.is_empty() { "" } else { ", " };
                let new = match key_column {
                    Some(()) => format!("{comma}env: {{{}}}", pairs().join(", ")),
                    None => format!("{comma}{}", pairs().join(", ")),
                };
                return Some(vec![replaced(start..start, new)]);
            }
            let (last_key, last_value) = own.last()?;
            if text[node.span.clone()].starts_with(['&', '!']) || last_value.alias.is_some() {
                return None;
            }
            let column = written.node(last_key.node).mark.column - 1;
            let mut block = String::new();
            let indent = match key_column {
                Some(()) => {
                    block.push_str(&format!("{}env:\n", " ".repeat(column)));
                    column + 2
                }
                None => column,
            };
            for pair in pairs() {
                block.push_str(&format!("{}{pair}\n", " ".repeat(indent)));
            }
            let end = end_of(text, written, last_value.node);
            Some(vec![inserted(text, line_end(text, end), &block)])
        }
        Content::List(_) => None,
    }
}

/// Where the last byte of a node's own text ends.
pub fn end_of(text: &str, written: &Written, node: usize) -> usize {
    let found = written.node(node);
    let last = match &found.content {
        Content::Map(pairs) if !text[found.span.clone()].starts_with('{') => {
            pairs.last().map(|(_, value)| value.clone())
        }
        Content::List(items) if !text[found.span.clone()].starts_with('[') => items.last().cloned(),
        _ => None,
    };
    match last {
        Some(last) => last
            .alias
            .map_or_else(|| end_of(text, written, last.node), |alias| alias.end),
        None => found.span.end,
    }
}

/// Whether an entry's key is the first on its line, and its value stands behind it: block style.
fn starts_line(text: &str, written: &Written, entry: &Entry<'_>) -> bool {
    let key = written.node(entry.key.node).span.clone();
    let value = written.node(entry.value.node).span.clone();
    let line = text[..key.start].rfind('\n').map_or(0, |at| at + 1);
    text[line..key.start].trim().is_empty()
        && text[key.end..value.start].trim() == ":"
        && !text[key.end..value.end].contains('\n')
}

/// The byte behind a line's break.
pub fn line_end(text: &str, at: usize) -> usize {
    text[at..].find('\n').map_or(text.len(), |end| at + end + 1)
}

fn replaced(span: Range<usize>, new: String) -> Edit {
    Edit {
        span,
        replacement: Replacement::Text(new),
    }
}

/// Whole lines between two others, or behind the last.
pub fn inserted(text: &str, at: usize, block: &str) -> Edit {
    let is_whole = at == 0 || text[..at].ends_with('\n');
    let new = if is_whole {
        block.to_owned()
    } else {
        format!("\n{}", block.trim_end_matches('\n'))
    };
    replaced(at..at, new)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::edit::applied;
    use super::super::{Origin, Variable};
    use super::{edits, snippet};
    use crate::config::Config;
    use crate::variables::Variables;

    fn variable(target: &str, key: &str) -> Variable {
        Variable {
            name: format!(
                "DBT_ENV_SECRET_P_{}_{}",
                target.to_uppercase(),
                key.to_uppercase()
            ),
            profile: "p".to_owned(),
            target: Some(target.to_owned()),
            key: key.to_owned(),
            adapter: Some("postgres".to_owned()),
            origin: Origin::Made,
            is_credential: true,
        }
    }

    fn config(targets: &str) -> String {
        format!(
            "version: 1\nvault: {{address: \"https://v:8200\"}}\nenvironments:\n  e:\n    auth: {{method: token}}\n    targets:\n{targets}"
        )
    }

    fn edited(targets: &str, variables: &[Variable]) -> (String, usize) {
        let text = config(targets);
        let file = Path::new("/x/dbt-lease.yml");
        let parsed = |text: &str| Config::parse(file, text, &Variables::default()).expect(text);
        let leases = edits(&text, &parsed(&text), Some("p"), variables);
        let new = applied(&text, &leases.edits);
        let again = edits(&new, &parsed(&new), Some("p"), variables);
        assert!(again.edits.is_empty(), "{new}");
        let head = config("");
        (
            new.strip_prefix(&head).expect("the head stays").to_owned(),
            leases.notes.len(),
        )
    }

    #[test]
    fn every_form_of_a_target_gets_its_variables() {
        let variables = [variable("prod", "user"), variable("prod", "password")];
        let block = "        env:\n          DBT_ENV_SECRET_P_PROD_USER: \"{{ vault.warehouse.username }}\"\n          DBT_ENV_SECRET_P_PROD_PASSWORD: \"{{ vault.warehouse.password }}\"\n";
        let flow = "DBT_ENV_SECRET_P_PROD_USER: \"{{ vault.warehouse.username }}\", DBT_ENV_SECRET_P_PROD_PASSWORD: \"{{ vault.warehouse.password }}\"";
        for (old, new) in [
            (
                "      prod: database/creds/x  # by CI\n      dev: none\n",
                format!(
                    "      prod:  # by CI\n        secrets:\n          warehouse: database/creds/x\n{block}      dev: none\n"
                ),
            ),
            (
                "      prod: \"database/creds/x\"",
                format!(
                    "      prod:\n        secrets:\n          warehouse: \"database/creds/x\"\n{}",
                    block.trim_end()
                ),
            ),
            (
                "      {prod: database/creds/x}\n",
                format!(
                    "      {{prod: {{secrets: {{warehouse: database/creds/x}}, env: {{{flow}}}}}}}\n"
                ),
            ),
            (
                "      prod:\n        secrets:\n          warehouse: {path: database/creds/x}  # y\n\n      # z\n      dev: none\n",
                format!(
                    "      prod:\n        secrets:\n          warehouse: {{path: database/creds/x}}  # y\n{block}\n      # z\n      dev: none\n"
                ),
            ),
            (
                "      prod: {secrets: {warehouse: database/creds/x} }\n",
                format!(
                    "      prod: {{secrets: {{warehouse: database/creds/x}}, env: {{{flow}}} }}\n"
                ),
            ),
            (
                "      prod:\n        env:\n          OTHER: \"{{ vault.warehouse.password }}\"\n        secrets: {warehouse: database/creds/x}\n",
                format!(
                    "      prod:\n        env:\n          OTHER: \"{{{{ vault.warehouse.password }}}}\"\n{}        secrets: {{warehouse: database/creds/x}}\n",
                    block.strip_prefix("        env:\n").expect("it begins so")
                ),
            ),
        ] {
            assert_eq!(edited(old, &variables), (new, 0), "{old}");
        }
    }

    #[test]
    fn what_is_not_known_is_left_to_people() {
        let passphrase = [
            variable("prod", "private_key_passphrase"),
            variable("prod", "password"),
        ];
        let (new, notes) = edited("      prod: database/creds/x\n", &passphrase);
        assert!(
            new.contains("DBT_ENV_SECRET_P_PROD_PASSWORD") && !new.contains("PASSPHRASE"),
            "{new}"
        );
        assert_eq!(notes, 1);
        for (old, variables, notes) in [
            ("      prod: database/creds/x\n", &passphrase[..1], 1),
            (
                "      prod: {secrets: {a: database/creds/x, b: kv/data/y}, fields: {password: \"{{ vault.a.password }}\"}}\n",
                &passphrase[1..],
                1,
            ),
            ("      prod: none\n", &passphrase[..], 0),
        ] {
            assert_eq!(edited(old, variables), (old.to_owned(), notes));
        }
    }

    #[test]
    fn without_a_file_the_targets_stand_as_they_would_in_one() {
        let text = snippet(
            &[
                variable("prod", "user"),
                variable("prod", "private_key_passphrase"),
            ],
            None,
        );
        assert!(
            text.ends_with(
                "prod:\n  secrets:\n    warehouse: database/creds/ROLE\n  env:\n    DBT_ENV_SECRET_P_PROD_USER: \"{{ vault.warehouse.username }}\"\n    \
                 # DBT_ENV_SECRET_P_PROD_PRIVATE_KEY_PASSPHRASE: \"{{ vault.NAME.FIELD }}\"   # private_key_passphrase\n"
            ),
            "{text}"
        );
        let other = snippet(&[variable("prod", "user")], Some("mine"));
        assert!(
            other.contains("p-prod:\n  profile: p\n  target: prod\n"),
            "{other}"
        );
    }
}

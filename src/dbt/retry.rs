//! `dbt retry`: the command that dbt makes of the previous run's arguments, and runs again (facts dbt #23, `dbt/task/retry.py`,
//! `command_params` of `dbt/cli/flags.py`).
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json};

use super::error::DbtError;
use super::jinja::{Value, Vars};
use super::options::Command;

/// What the previous run's arguments say.
#[derive(Debug)]
pub(super) struct Previous {
    /// run_results.json.
    pub(super) path: PathBuf,
    /// The words of its command.
    command: &'static [&'static str],
    arguments: Map<String, Json>,
}

/// What `dbt retry` itself is given that it hands to the command that it repeats.
pub(super) struct Own<'a> {
    /// `--vars`.
    pub(super) vars: Option<&'a Vars>,
    /// `--threads`.
    pub(super) threads: Option<&'a str>,
    /// `--warn-error`, in words or by its variable.
    pub(super) warn_error: Option<bool>,
}

/// The command that is repeated, in words.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Repeated {
    /// dbt's words.
    pub(super) words: Vec<String>,
    /// Whether they hold the variables: those go through Python's repr, which we do not know of every value.
    pub(super) vars_are_known: bool,
}

/// The commands that dbt can run again, by the name in the arguments.
const COMMANDS: [(&str, &[&str]); 9] = [
    ("build", &["build"]),
    ("compile", &["compile"]),
    ("clone", &["clone"]),
    ("generate", &["docs", "generate"]),
    ("seed", &["seed"]),
    ("snapshot", &["snapshot"]),
    ("test", &["test"]),
    ("run", &["run"]),
    ("run-operation", &["run-operation"]),
];

/// What retry takes of itself, not of the previous run.
const OWN: [&str; 9] = [
    "log_path",
    "output_path",
    "profiles_dir",
    "profiles_dir_exists_false",
    "project_dir",
    "defer_state",
    "deprecated_state",
    "target_path",
    "warn_error",
];

/// Reads the previous run.
///
/// # Errors
/// There is none, or dbt could not repeat it.
pub(super) fn previous(state: &Path) -> Result<Previous, DbtError> {
    let path = state.join("run_results.json");
    let refused = |why: &str| refused(&path, why);
    let bytes = std::fs::read(&path).map_err(|error| refused(&error.to_string()))?;
    let mut root: Json = serde_json::from_slice(&bytes).map_err(|_| refused("it is not JSON"))?;
    // dbt takes a run without results for none.
    let results = root.get("results").and_then(Json::as_array);
    if results.is_none_or(Vec::is_empty) {
        return Err(refused("the previous run has no results"));
    }
    let Some(Json::Object(arguments)) = root.get_mut("args").map(Json::take) else {
        return Err(refused("it has no `args`"));
    };
    let which = arguments.get("which").and_then(Json::as_str);
    let which = which.unwrap_or_default();
    let Some((_, command)) = COMMANDS.iter().find(|(name, _)| *name == which) else {
        return Err(refused(&format!("dbt cannot repeat the command `{which}`")));
    };
    Ok(Previous {
        command,
        arguments,
        path: path.clone(),
    })
}

fn refused(path: &Path, why: &str) -> DbtError {
    DbtError::RetryUnreadable {
        path: path.to_path_buf(),
        why: why.to_owned(),
    }
}

impl Previous {
    /// dbt could not repeat it, for this reason.
    pub(super) fn refused(&self, why: &str) -> DbtError {
        refused(&self.path, &format!("dbt itself would refuse it: {why}"))
    }

    /// The words that dbt makes of the arguments: an option each, those of dbt itself before the command.
    ///
    /// # Errors
    /// A value of which dbt makes none.
    pub(super) fn repeated(
        &self,
        commands: &'static [Command],
        own: &Own<'_>,
    ) -> Result<Repeated, DbtError> {
        let level = |words: &[&str]| commands.iter().find(|command| command.words == words);
        let has = |words: &[&str], name: &str| {
            level(words).is_some_and(|command| command.named(name).is_some())
        };
        let (mut before, mut after) = (Vec::new(), Vec::new());
        let mut vars_are_known = true;
        let current = [
            ("threads", own.threads.map(Json::from)),
            ("warn_error", own.warn_error.map(Json::from)),
        ];
        let current = current
            .iter()
            .filter_map(|(name, value)| Some((*name, value.as_ref()?)));
        let previous = self.arguments.iter().filter(|(name, value)| {
            let is_said_anew = match name.as_str() {
                "vars" => own.vars.is_some(),
                "threads" => own.threads.is_some(),
                name => OWN.contains(&name),
            };
            !is_said_anew && !is_left_out(name, value)
        });
        let previous = previous.map(|(name, value)| (name.as_str(), value));
        for (name, value) in previous.chain(current) {
            let name = name.to_lowercase();
            let first = has(&[], &name);
            let is_macro = name == "macro" && self.command == ["run-operation"];
            if name == "which" || is_default(&name, value) {
                continue;
            }
            if !(first || has(self.command, &name) || is_macro) {
                continue;
            }
            let text = match value {
                // dbt joins them by spaces, and leaves out what is empty.
                Json::Array(items) if items.is_empty() => continue,
                Json::Array(items) => {
                    let texts: Option<Vec<&str>> = items.iter().map(Json::as_str).collect();
                    let texts = texts.ok_or_else(|| {
                        self.refused(&format!("`args.{name}` is no list of texts"))
                    })?;
                    Some(texts.join(" "))
                }
                value => value_of(value).and_then(|value| value.shown().ok()),
            };
            let spelt = name.replace('_', "-");
            let word = match (value, text) {
                (Json::Null, _) if is_macro => continue,
                (_, Some(text)) if is_macro => text,
                (Json::Null | Json::Bool(false), _)
                    if !matches!(name.as_str(), "defer_state" | "log_format") =>
                {
                    format!("--no-{spelt}")
                }
                (Json::Bool(true), _) => format!("--{spelt}"),
                (_, Some(text)) => format!("--{spelt}={text}"),
                // Python's repr of it is not known; it only counts where templates ask for it.
                (_, None) => {
                    vars_are_known &= name != "vars";
                    continue;
                }
            };
            if first {
                before.push(word);
            } else {
                after.push(word);
            }
        }
        match own
            .vars
            .map(|vars| dict(vars).and_then(|vars| vars.shown().ok()))
        {
            Some(Some(text)) => after.push(format!("--vars={text}")),
            Some(None) => vars_are_known = false,
            None => {}
        }
        let command = self.command.iter().map(|word| (*word).to_owned());
        Ok(Repeated {
            words: before.into_iter().chain(command).chain(after).collect(),
            vars_are_known,
        })
    }
}

/// What dbt drops since it would not take it back.
fn is_left_out(name: &str, value: &Json) -> bool {
    let is_empty = |value: &Json| value.as_array().is_some_and(Vec::is_empty);
    match name {
        "show" => true,
        "resource_types" => is_empty(value),
        "warn_error_options" => value
            .as_object()
            .is_some_and(|options| options.values().all(is_empty)),
        _ => false,
    }
}

/// What dbt does not write, since it is so anyway (`FLAGS_DEFAULTS`).
fn is_default(name: &str, value: &Json) -> bool {
    match name {
        "indirect_selection" => value.as_str() == Some("eager"),
        "target_path" | "defer_state" | "warn_error" => value.is_null(),
        "introspect" => value.as_bool() == Some(true),
        "full_refresh" | "strict_mode" | "store_failures" | "state_modified_compare_vars" => {
            value.as_bool() == Some(false)
        }
        _ => false,
    }
}

/// A JSON value as Python has it; `None` for a number that we do not have exactly.
fn value_of(value: &Json) -> Option<Value> {
    Some(match value {
        Json::Null => Value::None,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(value), _) => Value::Int(value.into()),
            (None, Some(value)) if value.abs() < 1e15 => Value::Float(value),
            _ => return None,
        },
        Json::String(text) => Value::text(text.as_str()),
        Json::Array(items) => Value::List(items.iter().map(value_of).collect::<Option<Vec<_>>>()?),
        Json::Object(entries) => Value::Dict(
            entries
                .iter()
                .map(|(key, value)| Some((Value::text(key.as_str()), value_of(value)?)))
                .collect::<Option<Vec<_>>>()?,
        ),
    })
}

/// `--vars` as one value.
fn dict(vars: &Vars) -> Option<Value> {
    let Vars::Known(entries) = vars else {
        return None;
    };
    let entries = entries
        .iter()
        .map(|(name, value)| Some((Value::text(name.as_str()), value.clone()?)));
    entries.collect::<Option<Vec<_>>>().map(Value::Dict)
}

#[cfg(test)]
mod tests {
    use super::{Own, Repeated, previous};
    use crate::dbt::jinja::Vars;
    use crate::dbt::options_1_12::TABLE;

    const NOTHING: Own<'_> = Own {
        vars: None,
        threads: None,
        warn_error: None,
    };

    fn repeated(text: &str, own: &Own<'_>) -> Result<Repeated, &'static str> {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("run_results.json"), text).expect("a file");
        previous(dir.path())
            .and_then(|found| found.repeated(TABLE.commands, own))
            .map_err(|error| error.kind())
    }

    #[test]
    fn the_previous_run_becomes_a_command_or_is_refused() {
        for (arguments, words, known) in [
            (
                r#""which": "run", "target": "prod", "vars": {}"#,
                "--target=prod run --vars={}",
                true,
            ),
            (
                r#""which": "generate", "vars": {"a": true, "b": [1, "x"]}, "quiet": false"#,
                "--no-quiet docs generate --vars={'a': True, 'b': [1, 'x']}",
                true,
            ),
            (
                r#""which": "run", "vars": {"a": "ł"}, "unknown": 1, "project_dir": "x""#,
                "run",
                false,
            ),
            (
                r#""args": {"x": null}, "macro": "m", "show": true, "which": "run-operation""#,
                "run-operation --args={'x': None} m",
                true,
            ),
            (
                r#""which": "build", "select": ["a", "b+"], "resource_types": [], "introspect": true"#,
                "build --select=a b+",
                true,
            ),
        ] {
            let text = format!(r#"{{"results": [1], "args": {{{arguments}}}}}"#);
            let found = repeated(&text, &NOTHING).expect("it is read");
            assert_eq!(
                (found.words.join(" ").as_str(), found.vars_are_known),
                (words, known)
            );
        }
        for text in [
            "",
            "{}",
            r#"{"results": [], "args": {"which": "run"}}"#,
            r#"{"results": [1], "args": {"which": "freshness"}}"#,
            r#"{"results": [1], "args": {"which": "run", "select": [1]}}"#,
        ] {
            assert_eq!(repeated(text, &NOTHING), Err("retry_unreadable"), "{text}");
        }
    }

    #[test]
    fn what_retry_itself_is_given_wins() {
        let own = Own {
            vars: Some(&Vars::default()),
            threads: Some("7"),
            warn_error: Some(true),
        };
        let text = r#"{"results": [1], "args": {"which": "run", "vars": {"a": 1}, "threads": 2}}"#;
        let found = repeated(text, &own).expect("it is read");
        assert_eq!(
            found.words,
            ["--warn-error", "run", "--threads=7", "--vars={}"]
        );
    }
}

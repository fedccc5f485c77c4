//! `dbt retry`: what the previous run says that dbt will run again on (facts dbt #23, `dbt/task/retry.py`).
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use super::error::DbtError;

/// What the previous run's arguments say.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Previous {
    /// run_results.json.
    pub(super) path: PathBuf,
    /// `args.profile`.
    pub(super) profile: Option<String>,
    /// `args.target`.
    pub(super) target: Option<String>,
    /// Whether it had `--vars`, whose values go through Python's repr before they are read again.
    pub(super) vars: bool,
}

/// The commands that dbt can run again.
const COMMANDS: &[&str] = &[
    "build",
    "compile",
    "clone",
    "generate",
    "seed",
    "snapshot",
    "test",
    "run",
    "run-operation",
];

/// Reads the previous run.
///
/// # Errors
/// There is none, or dbt could not repeat it.
pub(super) fn previous(state: &Path) -> Result<Previous, DbtError> {
    let path = state.join("run_results.json");
    let refused = |why: &str| DbtError::RetryUnreadable {
        path: path.clone(),
        why: why.to_owned(),
    };
    let bytes = std::fs::read(&path).map_err(|error| refused(&error.to_string()))?;
    let root: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|_| refused("it is not JSON"))?;
    // dbt takes a run without results for none.
    let results = root.get("results").and_then(serde_json::Value::as_array);
    if results.is_none_or(Vec::is_empty) {
        return Err(refused("the previous run has no results"));
    }
    let arguments = root
        .get("args")
        .and_then(serde_json::Value::as_object)
        .ok_or_else(|| refused("it has no `args`"))?;
    let command = arguments
        .get("which")
        .and_then(serde_json::Value::as_str)
        .unwrap_or_default();
    if !COMMANDS.contains(&command) {
        return Err(refused(&format!(
            "dbt cannot repeat the command `{command}`"
        )));
    }
    let text = |name: &str| match arguments.get(name) {
        None => Ok(None),
        Some(value) => value
            .as_str()
            .map(|text| Some(text.to_owned()))
            .ok_or_else(|| refused(&format!("`args.{name}` is not a text"))),
    };
    let vars = match arguments.get("vars") {
        None => false,
        Some(value) => !value.as_object().is_some_and(serde_json::Map::is_empty),
    };
    Ok(Previous {
        profile: text("profile")?,
        target: text("target")?,
        vars,
        path: path.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::previous;

    #[test]
    fn the_previous_run_is_read_or_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let read = |text: &str| {
            std::fs::write(dir.path().join("run_results.json"), text).expect("a file");
            previous(dir.path()).map_err(|error| error.kind())
        };
        let found =
            read(r#"{"results": [1], "args": {"which": "run", "target": "prod", "vars": {}}}"#)
                .expect("it is read");
        assert_eq!(
            (found.target.as_deref(), found.profile, found.vars),
            (Some("prod"), None, false)
        );
        assert!(
            read(r#"{"results": [1], "args": {"which": "run", "vars": {"a": 1}}}"#)
                .is_ok_and(|found| found.vars)
        );
        for text in [
            "",
            "{}",
            r#"{"results": [], "args": {"which": "run"}}"#,
            r#"{"results": [1], "args": {"which": "freshness"}}"#,
            r#"{"results": [1], "args": {"which": "run", "target": null}}"#,
        ] {
            assert_eq!(read(text), Err("retry_unreadable"), "{text}");
        }
    }
}

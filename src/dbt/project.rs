//! The dbt project: where dbt looks for dbt_project.yml, and what it says of the profile (facts dbt B2, B5).
#![forbid(unsafe_code)]

use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use super::dotenv::is_python_space;
use super::error::DbtError;
use super::yaml::{self, Merging, Node, Value};
use super::{Project, Source};
use crate::place::Place;

/// The file that makes a directory a project.
pub(super) const FILE: &str = "dbt_project.yml";

/// dbt_project.yml, read.
#[derive(Clone, Debug)]
pub(super) struct ProjectFile {
    /// The project.
    pub(super) project: Project,
    /// The file, absolute.
    pub(super) path: PathBuf,
    /// `profile:`, key and value as they stand, a template perhaps.
    pub(super) profile: Option<(Rc<Node>, Rc<Node>)>,
    /// Whether it has `flags:`, beside which dbt suffers no `config:` in profiles.yml.
    pub(super) flags: bool,
    /// `target-path:` as it stands.
    pub(super) target_path: Option<Rc<Node>>,
    /// `log-path:` as it stands.
    pub(super) log_path: Option<Rc<Node>>,
}

/// The nearest of a directory and its parents that holds a project, else the directory itself.
pub(super) fn nearest(cwd: &Path) -> PathBuf {
    cwd.ancestors()
        .find(|dir| dir.join(FILE).exists())
        .unwrap_or(cwd)
        .to_path_buf()
}

/// Reads the project in a directory.
///
/// # Errors
/// There is none, or it is not a mapping.
pub(super) fn read(
    dir: &Path,
    source: &Source,
    merging: Option<Merging>,
) -> Result<ProjectFile, DbtError> {
    let dir = normal(dir);
    let path = dir.join(FILE);
    if !path.exists() {
        return Err(DbtError::NoProject {
            dir,
            said: source.said.clone(),
        });
    }
    let root = parsed(&path, &stripped(&bytes_of(&path)?), merging)?;
    let Some(map) = root.map() else {
        return Err(DbtError::ProjectNotMapping { path });
    };
    let name = map
        .get("name")
        .and_then(|node| node.text())
        .unwrap_or_default()
        .to_owned();
    let profile = map
        .entry("profile")
        .filter(|(_, node)| !matches!(node.value, Value::Null))
        .map(|(key, node)| (Rc::clone(key), Rc::clone(node)));
    let flags = map
        .get("flags")
        .and_then(|node| node.map())
        .is_some_and(|flags| !flags.0.is_empty());
    let target_path = map.get("target-path").cloned();
    let log_path = map.get("log-path").cloned();
    Ok(ProjectFile {
        project: Project {
            name,
            dir,
            profile: None,
        },
        path,
        profile,
        flags,
        target_path,
        log_path,
    })
}

/// Reads a YAML file.
///
/// # Errors
/// It cannot be read, or is not YAML as dbt reads it.
pub(super) fn load(path: &Path, merging: Option<Merging>) -> Result<Rc<Node>, DbtError> {
    parsed(path, &bytes_of(path)?, merging)
}

/// A file's bytes.
///
/// # Errors
/// It cannot be read.
pub(super) fn bytes_of(path: &Path) -> Result<Vec<u8>, DbtError> {
    std::fs::read(path).map_err(|error| DbtError::Unreadable {
        path: path.to_path_buf(),
        why: error.to_string(),
    })
}

/// Parses a YAML file's bytes.
///
/// # Errors
/// It is not YAML as dbt reads it.
pub(super) fn parsed(
    path: &Path,
    bytes: &[u8],
    merging: Option<Merging>,
) -> Result<Rc<Node>, DbtError> {
    yaml::load_merging(bytes, merging).map_err(|error| {
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        let at = Place::of_line(path, Some(error.line()));
        let (key, after) = match yaml::last_key(text, error.line()) {
            Some((line, key)) if line == error.line() => (Some(key), None),
            Some((line, key)) => {
                let column = key.column;
                let after = Place::of_line(path, Some(line)).within(column, Some(key));
                (None, Some(Box::new(after)))
            }
            None => (None, None),
        };
        DbtError::Yaml {
            at: at.within(error.column(), key),
            after,
            error,
        }
    })
}

/// dbt takes the white space from both ends of dbt_project.yml (not of profiles.yml) before it reads it as YAML. Line
/// feeds stay, so that line numbers are the file's.
fn stripped(bytes: &[u8]) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return bytes.to_vec();
    };
    let kept = text.trim_matches(is_python_space);
    let lines = text
        .chars()
        .take_while(|character| is_python_space(*character))
        .filter(|character| *character == '\n')
        .count();
    // A byte order mark counts only at the very start.
    let lines = if kept.starts_with('\u{feff}') {
        0
    } else {
        lines
    };
    ["\n".repeat(lines).as_bytes(), kept.as_bytes()].concat()
}

/// Python's `os.path.normpath`: `..` goes by the words, not by links, as dbt does with the project directory.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            other => normal.push(other),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{nearest, normal, stripped};

    #[test]
    fn the_nearest_project_upwards_is_found() {
        let dir = tempfile::tempdir().expect("a directory");
        let inner = dir.path().join("a/b");
        std::fs::create_dir_all(&inner).expect("directories");
        std::fs::write(dir.path().join("dbt_project.yml"), "name: p").expect("a file");
        assert_eq!(nearest(&inner), dir.path());
        assert_eq!(nearest(Path::new("/")), Path::new("/"));
    }

    #[test]
    fn white_space_around_the_project_file_goes() {
        for (written, kept) in [
            ("\n  a: 1\nb: 2\n\n", "\na: 1\nb: 2"),
            ("\t\u{a0}a: 1", "a: 1"),
            ("", ""),
        ] {
            assert_eq!(stripped(written.as_bytes()), kept.as_bytes());
        }
    }

    #[test]
    fn dots_go_by_the_words() {
        assert_eq!(normal(Path::new("/a/./b/../c")), Path::new("/a/c"));
    }
}

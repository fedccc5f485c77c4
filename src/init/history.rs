//! Whether a file is or was in Git: what was ever committed stays in every clone, and must be rotated.
//!
//! `git` is asked with what a repository's own settings could start switched off, and without a network.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::process::{self, Failed};
use crate::variables::Variables;

/// All of a long history is walked where the file was never in it.
const WITHIN: Duration = Duration::from_secs(30);

/// What Git knows of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum History {
    /// It is committed, or about to be.
    Tracked,
    /// It is not now, and was in a commit that some branch, tag or stash still has.
    Was,
    /// Never, in what this clone has.
    Never {
        /// Whether the clone has only the end of the history.
        shallow: bool,
    },
    /// The file is in no repository.
    NoRepository,
    /// It could not be found out: why.
    Unknown(String),
}

impl History {
    /// A stable word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Tracked => "tracked",
            Self::Was => "was",
            Self::Never { .. } => "never",
            Self::NoRepository => "no_repository",
            Self::Unknown(_) => "unknown",
        }
    }
}

/// What Git knows of a file: of the place that is named, and where a link leads elsewhere, of that one.
///
/// Must be called inside a tokio runtime.
pub async fn of(file: &Path, variables: &Variables) -> History {
    let real = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let own = file
        .parent()
        .and_then(|parent| parent.canonicalize().ok())
        .and_then(|parent| Some(parent.join(file.file_name()?)));
    let mut places = vec![real];
    places.extend(own.filter(|own| *own != places[0]));
    let mut worst = History::NoRepository;
    for place in places {
        let found = at(&place, variables).await;
        if rank(&found) > rank(&worst) {
            worst = found;
        }
    }
    worst
}

fn rank(history: &History) -> usize {
    match history {
        History::NoRepository => 0,
        History::Never { .. } => 1,
        History::Unknown(_) => 2,
        History::Was => 3,
        History::Tracked => 4,
    }
}

async fn at(file: &Path, variables: &Variables) -> History {
    let (Some(directory), Some(name)) = (
        file.parent(),
        file.file_name().and_then(|name| name.to_str()),
    ) else {
        return History::Unknown("its name is no text".to_owned());
    };
    let git = Git {
        directory: directory.to_owned(),
        variables: quiet(variables),
    };
    let literal = format!(":(literal){name}");
    let tracked = match git.says(&["ls-files", "--cached", "--", &literal]).await {
        Ok(said) => !said.is_empty(),
        Err(history) => return history,
    };
    if tracked {
        return History::Tracked;
    }
    let log = [
        "log",
        "--all",
        "--max-count=1",
        "--format=%H",
        "--no-show-signature",
        "--",
        &literal,
    ];
    match git.says(&log).await {
        Ok(said) if !said.is_empty() => return History::Was,
        Ok(_) => {}
        Err(history) => return history,
    }
    match git.says(&["rev-parse", "--is-shallow-repository"]).await {
        Ok(said) => History::Never {
            shallow: said.trim() == "true",
        },
        Err(history) => history,
    }
}

/// Our environment for git: nobody is asked, nothing is fetched, nothing is written.
fn quiet(variables: &Variables) -> Variables {
    let mut quiet = variables.clone();
    for (name, value) in [
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_NO_LAZY_FETCH", "1"),
        ("GIT_OPTIONAL_LOCKS", "0"),
        ("GIT_ALLOW_PROTOCOL", ""),
        ("LC_ALL", "C"),
    ] {
        quiet.set(name, value);
    }
    // What a hook of git's sets, which would lead it to another repository.
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_TRACE"] {
        quiet.remove(name);
    }
    quiet
}

struct Git {
    directory: PathBuf,
    variables: Variables,
}

impl Git {
    /// What it prints, or what its failure means.
    async fn says(&self, arguments: &[&str]) -> Result<String, History> {
        let directory = self
            .directory
            .to_str()
            .ok_or_else(|| History::Unknown("its directory's name is no text".to_owned()))?;
        let words = ["git", "-C", directory, "--no-pager"]
            .into_iter()
            .chain([
                "-c",
                "core.fsmonitor=false",
                "-c",
                "log.showSignature=false",
                "-c",
                "protocol.allow=never",
            ])
            .chain(arguments.iter().copied())
            .map(str::to_owned)
            .collect::<Vec<_>>();
        let said = process::output(&words, &self.variables, WITHIN).await;
        let unknown = |why: &str| History::Unknown(why.to_owned());
        match said {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(Failed::NotStarted(_)) => Err(unknown("there is no `git`")),
            Err(Failed::TimedOut) => Err(unknown("`git` took too long")),
            Err(Failed::Ended { said, .. }) if said.contains("not a git repository") => {
                Err(History::NoRepository)
            }
            Err(Failed::Ended { said, .. }) if said.contains("dubious ownership") => Err(unknown(
                "the repository is another user's, and `git` does not read it",
            )),
            Err(_) => Err(unknown("`git` failed")),
        }
    }
}

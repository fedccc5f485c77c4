//! A world with the binary in it.

use std::ffi::OsStr;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use dbt_lease_sandbox::{Home, OpenBao, World};
use serde_json::Value;

/// The tool.
pub(crate) const DBT_LEASE: &str = env!("CARGO_BIN_EXE_dbt-lease");
/// The shim.
pub(crate) const DBT_LEASED: &str = env!("CARGO_BIN_EXE_dbt-leased");

/// One world with a home in which the fixtures' project lies.
pub(crate) struct Lab {
    pub(crate) world: World,
    pub(crate) home: Home,
    pub(crate) project: PathBuf,
}

/// What a run gave.
#[must_use = "look at the code, at least by `.success()`"]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Lab {
    pub(crate) fn new() -> Self {
        Self::on(World::start())
    }

    pub(crate) fn with(bao: OpenBao) -> Self {
        Self::on(World::on(bao))
    }

    fn on(world: World) -> Self {
        let (home, project) = world.home();
        Self {
            world,
            home,
            project,
        }
    }

    /// The tool, in the project's directory.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = self.home.command(DBT_LEASE);
        command
            .args(arguments)
            .current_dir(&self.project)
            .stdin(Stdio::null());
        command
    }

    /// Another program, in the project's directory and environment.
    pub(crate) fn in_its_environment(&self, program: &str) -> Command {
        let mut command = self.home.command(program);
        command.current_dir(&self.project).stdin(Stdio::null());
        command
    }

    /// Runs the tool in the project's directory.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Ran {
        ran(self.command(arguments).output().expect("the tool starts"))
    }

    /// Runs the tool in the project's directory, with these variables too.
    pub(crate) fn run_with<S: AsRef<OsStr>>(
        &self,
        variables: &[(&str, &str)],
        arguments: &[S],
    ) -> Ran {
        let mut command = self.command(arguments);
        command.envs(variables.iter().copied());
        ran(command.output().expect("the tool starts"))
    }

    /// Runs a shell script on leased credentials of `prod`.
    pub(crate) fn exec_script(&self, script: &str) -> Ran {
        self.run(&["exec", "--target", "prod", "--", "sh", "-c", script])
    }

    /// The record's events.
    pub(crate) fn record(&self) -> Vec<Value> {
        events(&self.home.record())
    }

    /// Replaces the project's dbt-lease.yml.
    pub(crate) fn configure(&self, text: &str) {
        std::fs::write(self.project.join("dbt-lease.yml"), text).expect("dbt-lease.yml is written");
    }

    /// Lets production's identity do more than it may: a policy in HCL beside its own.
    pub(crate) fn allow(&self, policy: &str) {
        let bao = self.world.bao();
        let own = "sys/policies/acl/dbt-production";
        let policy = format!(
            "{}\n{policy}",
            bao.api("GET", own, None)["data"]["policy"]
                .as_str()
                .expect("a policy")
        );
        bao.api("PUT", own, serde_json::json!({"policy": policy}));
    }

    /// Text with this lab's own places in the stead of their paths and ports.
    pub(crate) fn shown(&self, text: &str) -> String {
        text.replace(&self.project.display().to_string(), "PROJECT")
            .replace(&self.home.directory().display().to_string(), "HOME")
            .replace(&self.world.bao().address(), "VAULT")
    }

    /// The requests that the server got from sessions of the tool since it started: method and path.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.world
            .bao()
            .requests()
            .into_iter()
            .filter(|request| request.session.is_some())
            .map(|request| format!("{} {}", request.operation, request.path))
            .collect()
    }

    /// Nothing is left of any session: no role, lease, token or directory.
    pub(crate) fn assert_nothing_left(&self) {
        self.world.assert_nothing_left();
        let left = files_below(self.home.runtime());
        assert!(left.is_empty(), "left in the runtime directory: {left:?}");
    }
}

/// A named pipe that holds a child until the test lets it go.
pub(crate) struct Gate {
    path: PathBuf,
    /// Both ends are held, so that neither side's opening waits.
    held: std::fs::File,
}

impl Gate {
    pub(crate) fn new(lab: &Lab) -> Self {
        let path = lab.home.directory().join("gate");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a named pipe");
        let held = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .expect("opened");
        Self { path, held }
    }

    /// The arguments of an `exec` on `prod` that runs a script and then waits for [`Gate::open`].
    pub(crate) fn held(&self, script: &str) -> Vec<String> {
        let script = format!("{script}; read line < {}", self.path.display());
        ["exec", "-t", "prod", "--", "bash", "-c", &script]
            .map(str::to_owned)
            .to_vec()
    }

    /// Lets one waiting child go.
    pub(crate) fn open(&self) {
        use std::io::Write;
        (&self.held).write_all(b"\n").expect("written");
    }
}

/// The record in a file.
pub(crate) fn events(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a line of the record is JSON"))
        .collect()
}

/// All files and directories below a directory.
pub(crate) fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory)
            .into_iter()
            .flatten()
            .flatten()
        {
            if entry.path().is_dir() && !entry.path().is_symlink() {
                open.push(entry.path());
            }
            found.push(entry.path());
        }
    }
    found
}

pub(crate) fn ran(output: Output) -> Ran {
    use std::os::unix::process::ExitStatusExt;
    Ran {
        code: output.status.code(),
        signal: output.status.signal(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Ran {
    /// It ended with 0; its stdout.
    #[track_caller]
    pub(crate) fn success(self) -> String {
        assert_eq!(
            self.code,
            Some(0),
            "stdout:\n{}\nstderr:\n{}",
            self.stdout,
            self.stderr
        );
        self.stdout
    }

    /// It ended with this code.
    #[track_caller]
    pub(crate) fn code(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "stdout:\n{}\nstderr:\n{}",
            self.stdout,
            self.stderr
        );
        self
    }

    /// Its stderr holds all of these.
    #[track_caller]
    pub(crate) fn says(self, words: &[&str]) -> Self {
        for words in words {
            assert!(
                self.stderr.contains(words),
                "`{words}` is not in stderr:\n{}\nstdout:\n{}",
                self.stderr,
                self.stdout
            );
        }
        self
    }

    /// It said nothing.
    #[track_caller]
    pub(crate) fn silent(self) -> Self {
        assert_eq!(self.stderr, "", "stderr is not empty");
        self
    }
}

/// A running tool whose child reports line by line on its stdout.
pub(crate) struct Running {
    pub(crate) child: Child,
    stdout: Option<OwnedFd>,
    /// What was read of stderr so far.
    said: Vec<u8>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the tool starts");
        let stdout = child.stdout.take().map(OwnedFd::from);
        Self {
            child,
            stdout,
            said: Vec::new(),
        }
    }

    pub(crate) fn pid(&self) -> nix::unistd::Pid {
        nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"))
    }

    /// Reads what the child prints until the line comes.
    #[track_caller]
    pub(crate) fn wait_for_line(&mut self, line: &str) {
        let stdout = self.stdout.as_ref().expect("not read to its end");
        let mut seen = Vec::new();
        let mut byte = [0];
        while nix::unistd::read(stdout, &mut byte).expect("stdout is read") == 1 {
            seen.push(byte[0]);
            if byte[0] == b'\n' && seen.ends_with(format!("{line}\n").as_bytes()) {
                return;
            }
        }
        let mut stderr = String::new();
        let _ = self
            .child
            .stderr
            .take()
            .expect("piped")
            .read_to_string(&mut stderr);
        panic!(
            "ended without the line `{line}`:\n{}\nstderr:\n{stderr}",
            String::from_utf8_lossy(&seen)
        );
    }

    /// Reads what the tool says until these words come.
    #[track_caller]
    pub(crate) fn wait_for_words(&mut self, words: &str) {
        let stderr = self.child.stderr.as_mut().expect("piped");
        let mut byte = [0];
        while !String::from_utf8_lossy(&self.said).contains(words) {
            assert_eq!(
                stderr.read(&mut byte).expect("stderr is read"),
                1,
                "ended without `{words}`:\n{}",
                String::from_utf8_lossy(&self.said)
            );
            self.said.push(byte[0]);
        }
    }

    /// Waits for the end; what was printed since.
    pub(crate) fn end(mut self) -> Ran {
        let mut rest = String::new();
        if let Some(stdout) = self.stdout.take() {
            std::fs::File::from(stdout)
                .read_to_string(&mut rest)
                .expect("stdout is read");
        }
        let mut ran = ran(self.child.wait_with_output().expect("the tool ends"));
        ran.stdout = rest;
        ran.stderr = String::from_utf8_lossy(&self.said).into_owned() + &ran.stderr;
        ran
    }
}

/// Waits until something holds, which another process brings about; a bound on a wait that never ends.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    // A real dbt on a busy machine takes its time; between two looks the machine is left to it.
    let end = Instant::now() + Duration::from_secs(120);
    while !holds() {
        assert!(Instant::now() < end, "still not: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a socket of this machine's port has unread bytes: the receive queue of /proc/net/tcp.
pub(crate) fn bytes_wait_at(port: u16) -> bool {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("/proc/net/tcp");
    table.lines().skip(1).any(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let local = columns[1]
            .rsplit(':')
            .next()
            .and_then(|port| u16::from_str_radix(port, 16).ok());
        local == Some(port)
            && columns[4]
                .rsplit(':')
                .next()
                .is_some_and(|queue| queue != "00000000")
            && columns[3] == "01"
    })
}

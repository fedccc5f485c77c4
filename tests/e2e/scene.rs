//! A command on a stage: with a terminal of its own or without any, and a test that sends signals to it.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::support::{DBT_LEASE, Lab, wait_until};

/// Where a command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// On a terminal, as the leader of its session.
    Terminal,
    /// In a session without a terminal, as under cron or an orchestrator.
    NoTerminal,
}

/// Each test on both stages. The functions stand in a module of their own.
#[macro_export]
macro_rules! on_both_stages {
    ($($(#[$meta:meta])* fn $name:ident($stage:ident) $body:block)+) => {
        $($(#[$meta])* fn $name($stage: Stage) $body)+

        mod with_a_terminal {
            $(#[test] fn $name() { super::$name($crate::scene::Stage::Terminal) })+
        }

        mod without_a_terminal {
            $(#[test] fn $name() {
                for _ in 0..$crate::scene::rounds() { super::$name($crate::scene::Stage::NoTerminal) }
            })+
        }
    };
}

/// How often a test without a terminal is repeated: `just signals` asks for more than one.
pub(crate) fn rounds() -> usize {
    let rounds = std::env::var("DBT_LEASE_TEST_ROUNDS").ok();
    rounds.map_or(1, |rounds| rounds.parse().expect("a number"))
}

/// How a command ended: `exit 7`, `signal 15`.
pub(crate) type End = String;

/// A running command.
pub(crate) struct Scene {
    pub(crate) stage: Stage,
    child: Child,
    /// The terminal's other side.
    terminal: Option<File>,
    /// What came out so far, stderr too.
    output: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
    /// Closed, it ends the reader.
    stop: Option<std::io::PipeWriter>,
}

impl Scene {
    pub(crate) fn start(stage: Stage, mut command: Command) -> Self {
        let (terminal, output): (Option<File>, OwnedFd) = match stage {
            Stage::Terminal => {
                let pair = nix::pty::openpty(None, None).expect("a terminal");
                // The other side must not live on in the command.
                for side in [&pair.master, &pair.slave] {
                    let flag = nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC);
                    nix::fcntl::fcntl(side, flag).expect("set");
                }
                let slave = File::from(pair.slave);
                let end = || slave.try_clone().expect("a descriptor");
                command.stdin(end()).stdout(end()).stderr(end());
                let master = File::from(pair.master);
                let reading = master.try_clone().expect("a descriptor");
                (Some(master), reading.into())
            }
            Stage::NoTerminal => {
                let (reading, writing) = std::io::pipe().expect("a pipe");
                let also = writing.try_clone().expect("a descriptor");
                command.stdin(Stdio::null()).stdout(writing).stderr(also);
                (None, reading.into())
            }
        };
        let on_terminal = stage == Stage::Terminal;
        // SAFETY: setsid and ioctl are system calls and nothing else.
        unsafe {
            command.pre_exec(move || {
                nix::unistd::setsid()?;
                if on_terminal && libc::ioctl(0, libc::TIOCSCTTY, 0) == -1 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let child = command.spawn().expect("started");
        // The command's ends of pipe and terminal.
        drop(command);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (stopped, stop) = std::io::pipe().expect("a pipe");
        let reader = std::thread::spawn({
            let (seen, output) = (Arc::clone(&seen), File::from(output));
            move || read_all(&output, &stopped, &seen)
        });
        Self {
            stage,
            child,
            terminal,
            output: seen,
            reader: Some(reader),
            stop: Some(stop),
        }
    }

    /// The process that was started.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"))
    }

    pub(crate) fn send(&self, signal: Signal) {
        kill(self.pid(), signal).expect("sent");
    }

    pub(crate) fn send_to_its_group(&self, signal: Signal) {
        killpg(self.pid(), signal).expect("sent");
    }

    /// Types on its terminal.
    pub(crate) fn types(&self, text: &str) {
        let mut terminal = self.terminal.as_ref().expect("a terminal");
        terminal.write_all(text.as_bytes()).expect("typed");
    }

    /// Changes its terminal's size.
    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        use std::os::fd::AsRawFd;
        let size = nix::pty::Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let terminal = self.terminal.as_ref().expect("a terminal");
        // SAFETY: the size outlives the call.
        let set = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
        assert_eq!(set, 0);
    }

    /// ^C, or an INT where there is no terminal.
    pub(crate) fn interrupt(&self) {
        match self.stage {
            Stage::Terminal => self.types("\x03"),
            Stage::NoTerminal => self.send(Signal::SIGINT),
        }
    }

    /// The terminal's line breaks, or a HUP where there is no terminal.
    pub(crate) fn hang_up(&mut self) {
        match self.terminal.take() {
            Some(terminal) => {
                // It hangs up when the last descriptor of this side is closed.
                self.stop = None;
                let _ = self.reader.take().map(JoinHandle::join);
                drop(terminal);
            }
            None => self.send(Signal::SIGHUP),
        }
    }

    /// What came out so far.
    pub(crate) fn output(&self) -> String {
        String::from_utf8_lossy(&self.output.lock().expect("not poisoned")).into_owned()
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("asked").is_some()
    }

    /// Whoever reads its output is killed: its next word meets a broken pipe.
    pub(crate) fn lose_its_reader(&mut self) {
        self.stop = None;
        let _ = self.reader.take().map(JoinHandle::join);
    }

    /// Waits for its end, and for all output.
    #[track_caller]
    pub(crate) fn end(mut self) -> (End, String) {
        let mut ended = None;
        wait_until("the command has ended", || {
            ended = self.child.try_wait().expect("asked");
            ended.is_some()
        });
        let status = ended.expect("it has ended");
        drop(self.terminal.take());
        if let Some(reader) = self.reader.take() {
            // What it has left behind may still have its output open.
            wait_until("nobody has its output open", || reader.is_finished());
        }
        let end = match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit {code}"),
            (_, signal) => format!("signal {}", signal.unwrap_or_default()),
        };
        (end, self.output())
    }
}

impl Drop for Scene {
    /// A test that failed leaves no command behind.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads until the end, or until it is stopped.
fn read_all(mut output: &File, stopped: &std::io::PipeReader, seen: &Mutex<Vec<u8>>) {
    let mut bytes = [0; 4096];
    loop {
        let mut waited = [output.as_fd(), stopped.as_fd()]
            .map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN));
        let _ = poll(&mut waited, PollTimeout::NONE);
        if waited[1].any().unwrap_or(true) {
            return;
        }
        // A terminal whose last user has gone gives an error.
        match output.read(&mut bytes) {
            Ok(length @ 1..) => seen.lock().expect("not poisoned").extend(&bytes[..length]),
            _ => return,
        }
    }
}

/// Whether a process is stopped.
pub(crate) fn is_stopped(pid: Pid) -> bool {
    state(pid) == Some('T')
}

/// Whether a process's first thread sleeps.
pub(crate) fn is_asleep(pid: Pid) -> bool {
    state(pid) == Some('S')
}

fn state(pid: Pid) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .and_then(|(_, rest)| rest.chars().next())
}

/// A child that tells its signals, and its way out.
pub(crate) struct Reporter {
    report: BufReader<File>,
    gate: File,
    to: PathBuf,
    gate_path: PathBuf,
    /// What was told so far.
    pub(crate) told: Vec<String>,
    pub(crate) pid: Pid,
    pub(crate) parent: Pid,
}

impl Reporter {
    pub(crate) fn new(directory: &Path) -> Self {
        let open = |name: &str| {
            let path = directory.join(name);
            let _ = std::fs::remove_file(&path);
            nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a named pipe");
            // Both ends, so that neither side's opening waits.
            let held = OpenOptions::new().read(true).write(true).open(&path);
            (held.expect("opened"), path)
        };
        let ((report, to), (gate, gate_path)) = (open("report"), open("report-gate"));
        Self {
            report: BufReader::new(report),
            gate,
            to,
            gate_path,
            told: Vec::new(),
            pid: Pid::from_raw(0),
            parent: Pid::from_raw(0),
        }
    }

    /// Tells a command that will start `report-signals` where to report.
    pub(crate) fn set(&self, command: &mut Command) {
        command
            .env("REPORT_SIGNALS_TO", &self.to)
            .env("REPORT_SIGNALS_GATE", &self.gate_path);
    }

    /// Waits until it runs.
    #[track_caller]
    pub(crate) fn ready(&mut self) {
        let line = self.line();
        let mut words = line.split(' ');
        assert_eq!(words.next(), Some("ready"), "{line}");
        let mut pid = || {
            let word = words.next().expect("a pid");
            Pid::from_raw(word.parse().expect("a pid"))
        };
        (self.pid, self.parent) = (pid(), pid());
    }

    /// Waits until it has told this signal once more.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, signal: &str) {
        loop {
            let line = self.line();
            let found = line == signal;
            self.told.push(line);
            if found {
                return;
            }
        }
    }

    /// Waits until it has told one signal more.
    #[track_caller]
    pub(crate) fn wait_for_any(&mut self) {
        let line = self.line();
        self.told.push(line);
    }

    /// Lets it end; what it has told.
    pub(crate) fn finish(mut self, scene: Scene) -> (Vec<String>, End, String) {
        self.gate.write_all(b"\n").expect("written");
        let (end, output) = scene.end();
        (self.rest(), end, output)
    }

    /// What it has told; it has ended.
    pub(crate) fn rest(mut self) -> Vec<String> {
        // The test holds the writing end too, so that the end is a line of its own.
        let mut writer = OpenOptions::new()
            .write(true)
            .open(&self.to)
            .expect("opened");
        writer.write_all(b"end\n").expect("written");
        self.wait_for("end");
        self.told.pop();
        self.told
    }

    #[track_caller]
    fn line(&mut self) -> String {
        if self.report.buffer().is_empty() {
            let mut waited = [PollFd::new(
                self.report.get_ref().as_fd(),
                PollFlags::POLLIN,
            )];
            let found = poll(&mut waited, PollTimeout::from(60_000_u16)).expect("waited");
            assert_eq!(found, 1, "nothing more was told than {:?}", self.told);
        }
        let mut line = String::new();
        self.report.read_line(&mut line).expect("read");
        line.trim_end().to_owned()
    }
}

/// `exec -t prod -- …`, or the command itself.
pub(crate) fn command(lab: &Lab, before: &[&str], leased: bool, words: &[&str]) -> Command {
    let tool = [DBT_LEASE, "exec", "-t", "prod", "--"];
    let tool: &[&str] = if leased { &tool } else { &[] };
    let all = [before, tool, words].concat();
    let mut command = lab.in_its_environment(all[0]);
    command.args(&all[1..]);
    command
}

//! However a test process ends, its servers and their directories end with it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

/// A process with an OpenBao server and a PostgreSQL cluster, in a process group of its own.
struct Holder {
    child: Child,
    processes: Vec<i32>,
    scratch: PathBuf,
}

impl Holder {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_hold-servers"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("the helper starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut line = || lines.next().expect("a line").expect("readable");
        let processes: Vec<i32> = line()
            .split(' ')
            .map(|pid| pid.parse().expect("a process id"))
            .collect();
        let scratch = PathBuf::from(line());
        let holder = Self {
            child,
            processes,
            scratch,
        };
        assert!(
            holder.processes.iter().all(|pid| is_alive(*pid)),
            "the servers run"
        );
        assert!(holder.scratch.is_dir(), "the directory is there");
        holder
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"))
    }

    fn assert_all_gone(&self) {
        let started = Instant::now();
        loop {
            let left: Vec<_> = self
                .processes
                .iter()
                .filter(|pid| is_alive(**pid))
                .collect();
            let files = users_of(&self.scratch);
            if left.is_empty() && files.is_empty() && !self.scratch.exists() {
                return;
            }
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "20 s later: processes {left:?} and {files:?} live, {} exists: {}",
                self.scratch.display(),
                self.scratch.exists()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn sigkill_of_the_test_process_ends_its_servers() {
    let mut holder = Holder::start();
    kill(holder.pid(), Signal::SIGKILL).expect("it lives");
    holder.child.wait().expect("it ends");
    holder.assert_all_gone();
}

#[test]
fn sigkill_of_the_whole_process_group_ends_its_servers() {
    let mut holder = Holder::start();
    killpg(holder.pid(), Signal::SIGKILL).expect("it lives");
    holder.child.wait().expect("it ends");
    holder.assert_all_gone();
}

#[test]
fn ctrl_c_ends_the_servers() {
    let mut holder = Holder::start();
    killpg(holder.pid(), Signal::SIGINT).expect("it lives");
    holder.child.wait().expect("it ends");
    holder.assert_all_gone();
}

#[test]
fn after_a_normal_end_and_after_a_panic_nothing_is_left_at_once() {
    for (word, succeeds) in [("", true), ("panic", false)] {
        let mut holder = Holder::start();
        let mut input = holder.child.stdin.take().expect("a pipe");
        input.write_all(word.as_bytes()).expect("it reads");
        drop(input);
        let status = holder.child.wait().expect("it ends");
        assert_eq!(status.success(), succeeds);
        // No waiting here: the process itself has waited.
        assert!(!holder.scratch.exists());
        assert!(!holder.processes.iter().any(|pid| is_alive(*pid)));
        assert_eq!(users_of(&holder.scratch), Vec::<String>::new());
    }
}

/// Whether the process runs; a zombie, which only its parent can remove, does not.
fn is_alive(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        stat.rsplit(") ")
            .next()
            .is_some_and(|rest| !rest.starts_with('Z'))
    })
}

/// The processes that name this directory in their arguments or work in it: PostgreSQL's children, too.
fn users_of(directory: &Path) -> Vec<String> {
    let name = directory.to_str().expect("UTF-8");
    std::fs::read_dir("/proc")
        .expect("/proc")
        .flatten()
        .filter(|entry| {
            entry
                .file_name()
                .to_str()
                .is_some_and(|name| name.parse::<i32>().is_ok())
        })
        .filter_map(|entry| {
            let arguments = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let arguments = String::from_utf8_lossy(&arguments).replace('\0', " ");
            let place = std::fs::read_link(entry.path().join("cwd")).unwrap_or_default();
            (arguments.contains(name) || place.starts_with(directory)).then_some(arguments)
        })
        .collect()
}

//! The parent of a session and of all that outlives it: it knows for certain when the last process of a session has ended.
//!
//! This program again, as `warden STDOUT STDERR PROGRAM ARGUMENT…`. Orphans become its children, so it waits until it has none. It
//! prints `started PID`, then `ended PID code N` or `ended PID signal N` for each, the adopted ones too.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::sys::wait::{WaitStatus, waitpid};

#[expect(clippy::print_stdout, reason = "that is what it is for")]
#[expect(
    clippy::zombie_processes,
    reason = "it waits for all its children at once"
)]
pub(crate) fn run(mut arguments: impl Iterator<Item = OsString>) {
    // Without a terminal, whoever runs the tests.
    nix::unistd::setsid().expect("no group's leader");
    nix::sys::prctl::set_child_subreaper(true).expect("this system has it");
    let mut next = || arguments.next().expect("an argument");
    let (stdout, stderr) = (next(), next());
    let file = |path| Stdio::from(File::create(path).expect("created"));
    let child = Command::new(next())
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(file(stdout))
        .stderr(file(stderr))
        .process_group(0)
        .spawn()
        .expect("the tool starts");
    println!("started {}", child.id());
    loop {
        match waitpid(None, None) {
            Ok(WaitStatus::Exited(pid, code)) => println!("ended {pid} code {code}"),
            Ok(WaitStatus::Signaled(pid, signal, _)) => {
                println!("ended {pid} signal {}", signal as i32);
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return,
        }
    }
}

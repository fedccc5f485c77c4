//! Running a helper command: a program that prints a token or a credential.
//!
//! No shell, and no input but one line. It runs in our process group, so that Ctrl-C reaches it too; what it prints and how long it takes is bounded; it
//! does not outlive the wait for it. Its words to stderr are shown only where it fails.
#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::net::unix::pipe::Receiver;
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use crate::variables::Variables;

/// The longest output, in bytes: a JWT with many claims has some 10 kB.
pub const LIMIT: usize = 64 * 1024;
/// What is kept of its complaints, in bytes; the rest is read and dropped, so that it does not block.
const COMPLAINTS: usize = 4096;
/// How often it is asked whether it has ended, where something that it started holds its output open.
const LOOK: Duration = Duration::from_millis(20);

/// Why a helper command gave nothing.
#[derive(Debug)]
pub enum Failed {
    /// It cannot be started.
    NotStarted(io::Error),
    /// It ended with another code than 0, or by a signal.
    Ended {
        /// `exit status: 1`, `signal: 9 (SIGKILL)`.
        status: String,
        /// The end of what it wrote to stderr; not tamed.
        said: String,
    },
    /// It printed more than [`LIMIT`].
    TooLong,
    /// It did not end in time.
    TimedOut,
    /// Its output cannot be read.
    Io(io::Error),
}

/// Runs a command, its program first, and gives what it prints to stdout.
///
/// Must be called inside a tokio runtime. A dropped future ends the command.
///
/// # Errors
/// See [`Failed`].
///
/// # Panics
/// Where `words` is empty.
pub async fn output(
    words: &[String],
    variables: &Variables,
    within: Duration,
) -> Result<Zeroizing<Vec<u8>>, Failed> {
    output_of(words, variables, None, within).await
}

/// [`output`] of a command that gets this text as its input: a line at most, since a pipe takes so much at once.
///
/// # Errors
/// See [`Failed`].
///
/// # Panics
/// Where `words` is empty.
pub async fn output_of(
    words: &[String],
    variables: &Variables,
    input: Option<&str>,
    within: Duration,
) -> Result<Zeroizing<Vec<u8>>, Failed> {
    let deadline = Instant::now() + within;
    let (program, arguments) = words.split_first().expect("a command has its program");
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(variables.iter())
        .stdin(if input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(Failed::NotStarted)?;
    if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
        // One that does not read it has said by its code what it thinks of it.
        let _ = stdin.write_all(input.as_bytes());
    }
    let stdout = child.stdout.take().map(OwnedFd::from);
    let stderr = child.stderr.take().map(OwnedFd::from);
    let mut helper = Helper(child);
    let stdout = Receiver::from_owned_fd(stdout.expect("it was piped")).map_err(Failed::Io)?;
    let stderr = Receiver::from_owned_fd(stderr.expect("it was piped")).map_err(Failed::Io)?;
    let mut printed = Kept::new(LIMIT + 1);
    let mut said = Kept::new(COMPLAINTS);
    let mut open = (true, true);
    let mut status = None;
    let work = async {
        while status.is_none() || open.0 || open.1 {
            tokio::select! {
                biased;
                more = printed.read(&stdout), if open.0 => open.0 = more.map_err(Failed::Io)?,
                more = said.read(&stderr), if open.1 => open.1 = more.map_err(Failed::Io)?,
                () = tokio::time::sleep(LOOK) => {
                    // What it leaves behind may hold the pipes open: its own end counts.
                    open = (open.0 && status.is_none(), open.1 && status.is_none());
                }
            }
            if printed.bytes.len() > LIMIT {
                return Err(Failed::TooLong);
            }
            if status.is_none() {
                status = helper.0.try_wait().map_err(Failed::Io)?;
            }
        }
        Ok(())
    };
    match timeout_at(deadline, work).await {
        Ok(outcome) => outcome?,
        Err(_) => return Err(Failed::TimedOut),
    }
    match status {
        Some(status) if status.success() => Ok(printed.bytes),
        status => Err(Failed::Ended {
            status: status.map(|status| status.to_string()).unwrap_or_default(),
            said: String::from_utf8_lossy(&said.bytes).into_owned(),
        }),
    }
}

/// Starts a program that is left to itself, such as a browser: without our terminal, in a process group of its own.
///
/// # Errors
/// It cannot be started.
///
/// # Panics
/// Where `words` is empty.
pub fn start(words: &[&str], variables: &Variables) -> io::Result<()> {
    let (program, arguments) = words.split_first().expect("a command has its program");
    Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(variables.iter())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map(drop)
}

/// A child that does not outlive its handle.
struct Helper(Child);

impl Drop for Helper {
    fn drop(&mut self) {
        // One that has been waited for is not signalled: std knows.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The first bytes of a stream.
struct Kept {
    /// Never grows, so that no copy is left behind.
    bytes: Zeroizing<Vec<u8>>,
    most: usize,
}

impl Kept {
    fn new(most: usize) -> Self {
        Self {
            bytes: Zeroizing::new(Vec::with_capacity(most)),
            most,
        }
    }

    /// Reads what is there, or waits for it; false at the end.
    async fn read(&mut self, from: &Receiver) -> io::Result<bool> {
        from.readable().await?;
        let mut buffer = Zeroizing::new([0; 4096]);
        match from.try_read(&mut *buffer) {
            Ok(0) => Ok(false),
            Ok(count) => {
                let room = self.most - self.bytes.len();
                self.bytes.extend_from_slice(&buffer[..count.min(room)]);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn run(script: &str, within: Duration) -> Result<Zeroizing<Vec<u8>>, Failed> {
        let words = ["sh", "-c", script].map(str::to_owned);
        let variables = [("PATH", "/usr/bin:/bin"), ("GREETING", "hello")]
            .into_iter()
            .collect();
        output(&words, &variables, within).await
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn what_it_prints_is_given_and_its_variables_are_ours() {
        let printed = run("echo $GREETING; echo noise >&2", LONG).await;
        assert_eq!(**printed.expect("it prints"), *b"hello\n");
    }

    #[tokio::test]
    async fn a_line_of_input_is_given_and_one_that_nobody_reads_is_no_failure() {
        let words = ["sh", "-c", "cat; echo ."].map(str::to_owned);
        let variables = [("PATH", "/usr/bin:/bin")].into_iter().collect();
        let printed = output_of(&words, &variables, Some("token"), LONG).await;
        assert_eq!(**printed.expect("it prints"), *b"token.\n");
        let words = ["true"].map(str::to_owned);
        let printed = output_of(&words, &variables, Some("token"), LONG).await;
        assert_eq!(**printed.expect("it ends well"), *b"");
    }

    #[tokio::test]
    async fn a_failure_shows_what_it_said() {
        let Err(Failed::Ended { status, said }) = run("echo no luck >&2; exit 3", LONG).await
        else {
            panic!("it failed");
        };
        assert_eq!(
            (status.as_str(), said.as_str()),
            ("exit status: 3", "no luck\n")
        );
    }

    #[tokio::test]
    async fn output_without_end_is_bounded_in_size_and_in_time() {
        assert!(matches!(run("yes", LONG).await, Err(Failed::TooLong)));
        let slow = run("exec sleep 600", Duration::from_millis(50)).await;
        assert!(matches!(slow, Err(Failed::TimedOut)));
    }

    #[tokio::test]
    async fn what_it_leaves_behind_is_not_waited_for() {
        let printed = run("echo done; sleep 30 &", Duration::from_secs(15)).await;
        assert_eq!(**printed.expect("it prints"), *b"done\n");
    }

    #[tokio::test]
    async fn complaints_without_end_do_not_block_it() {
        let printed = run("head -c 1000000 /dev/zero >&2; echo done", LONG).await;
        assert_eq!(**printed.expect("it prints"), *b"done\n");
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_said() {
        let words = ["/nonexistent/helper".to_owned()];
        let failed = output(&words, &Variables::default(), LONG).await;
        assert!(matches!(failed, Err(Failed::NotStarted(_))));
    }
}

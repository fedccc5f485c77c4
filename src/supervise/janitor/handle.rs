//! The session process's side: start the janitor, tell it everything, start it again if it dies, and wait for it at the end.
#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::unistd::Pid;
use zeroize::Zeroizing;

use super::ask::SOCKET;
use super::process::timeout;
use super::protocol::{Introduction, Message, Proof};
use super::system;
use crate::config::Server;
use crate::delivery::session::Step;
use crate::record::audit::Record;
use crate::supervise::child::{Child, Reach};
use crate::variables::Variables;
use crate::vault::auth::Token;
use crate::vault::lease::Lease;

/// How long a janitor that was told of the end may take to go; it has nothing left to do.
const FAREWELL: Duration = Duration::from_secs(2);
/// The same where it has all of the cleaning to do.
const CLEANING: Duration = Duration::from_secs(32);
/// Somebody who kills the janitor again and again wins in the end.
const RESTARTS: u32 = 16;

/// There can be no janitor.
#[derive(Debug, thiserror::Error)]
#[error("the janitor, which cleans up if dbt-lease is killed, {doing}: {cause}")]
pub struct JanitorError {
    doing: &'static str,
    cause: io::Error,
}

impl JanitorError {
    /// A stable word for JSON.
    pub fn kind(&self) -> &'static str {
        "janitor"
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        Some(
            "nothing is lent without it: it needs one more process and five descriptors (`ulimit -u`, `ulimit -n`), and /proc"
                .to_owned(),
        )
    }
}

/// The janitor of this session. Dropped without [`Janitor::done`], on a panic say, it makes the janitor clean up, and waits for that.
pub struct Janitor<'a> {
    warn: &'a dyn Fn(&str),
    state: RefCell<State>,
}

struct State {
    link: Option<Link>,
    /// All that was told, to be told again.
    told: Vec<Told>,
    restarts: u32,
    failure: Option<io::Error>,
}

struct Link {
    process: system::Started,
    socket: OwnedFd,
}

/// What a child tells the janitor of itself, between its fork and its exec: from then on the janitor ends it if we die.
pub struct Announcement {
    /// Of our end: it is closed at exec, and until then the janitor does not take us for dead.
    socket: OwnedFd,
    message: Vec<u8>,
}

impl Announcement {
    /// Makes the calling process known: system calls alone. If it fails, the janitor hears of the child from [`Janitor::child`].
    pub fn make(&self) {
        system::send_ourselves(self.socket.as_fd(), &self.message);
    }
}

struct Told {
    /// What it tells anew each time: an older word on the same thing need not be repeated.
    of: Option<String>,
    message: Zeroizing<Vec<u8>>,
    descriptors: Vec<OwnedFd>,
}

impl<'a> Janitor<'a> {
    /// Starts it and says who we are; before the login, so that there is nothing yet that could be lost. `warn` is told what the
    /// user must know later.
    pub fn start(
        introduction: Introduction,
        record: Option<&Record>,
        warn: &'a dyn Fn(&str),
    ) -> Result<Self, JanitorError> {
        let failed = |cause| JanitorError {
            doing: "cannot be started",
            cause,
        };
        let process = match system::descriptor_of(Pid::this()) {
            Ok(process) => Some(process),
            Err(error) if error.kind() == io::ErrorKind::Unsupported => None,
            Err(error) => return Err(failed(error)),
        };
        let record = record.map(Record::share).transpose().map_err(failed)?;
        let link = Link::start().map_err(failed)?;
        let janitor = Self {
            warn,
            state: RefCell::new(State {
                link: Some(link),
                told: Vec::new(),
                restarts: 0,
                failure: None,
            }),
        };
        let message = Message::Session {
            introduction: Box::new(introduction),
            has_process: process.is_some(),
        };
        janitor.tell(&message, process.into_iter().chain(record).collect());
        janitor.is_there()?;
        Ok(janitor)
    }

    /// Refuses where the janitor died and could not be started again: nothing more may be lent then.
    pub fn is_there(&self) -> Result<(), JanitorError> {
        let state = self.state.borrow();
        match (&state.link, &state.failure) {
            (None, Some(cause)) => Err(JanitorError {
                doing: "died and cannot be started again",
                cause: io::Error::new(cause.kind(), cause.to_string()),
            }),
            _ => Ok(()),
        }
    }

    /// A directory's fate, for [`crate::delivery::session::SessionDir::deliver`].
    pub fn directory(&self, step: Step<'_>) {
        match step {
            Step::Coming(path) => self.tell(&Message::Coming(path.to_owned()), Vec::new()),
            Step::Session(path, lock) => {
                let lock = lock.try_clone_to_owned();
                // Without the socket there is no `status` of this session; that is no reason to lend nothing.
                let socket = lock
                    .as_ref()
                    .ok()
                    .and_then(|lock| listen(lock.as_fd(), path).ok());
                let descriptors = lock.into_iter().chain(socket.map(OwnedFd::from)).collect();
                self.tell(&Message::Directory(path.to_owned()), descriptors);
            }
            Step::Files(path, lock) => {
                let lock = lock.try_clone_to_owned().into_iter().collect();
                self.tell(&Message::Directory(path.to_owned()), lock);
            }
        }
    }

    /// The login is about to be sent.
    pub fn token_coming(&self) {
        self.tell(&Message::TokenComing, Vec::new());
    }

    /// The token is there, or lives longer now.
    pub fn token(&self, token: &Token) {
        self.tell(&Message::Token(token.into()), Vec::new());
    }

    /// A lease is there, or lives longer now.
    pub fn lease(&self, lease: &Lease) {
        self.tell(&Message::Lease(lease.into()), Vec::new());
    }

    /// For the command to announce itself, before it is forked.
    pub fn announcement(&self, reach: Reach) -> Option<Announcement> {
        let state = self.state.borrow();
        Some(Announcement {
            socket: state.link.as_ref()?.socket.try_clone().ok()?,
            message: serde_json::to_vec(&Message::Child { reach }).ok()?,
        })
    }

    /// The command runs: also for a janitor that is started later.
    pub fn child(&self, child: &Child) {
        let message = Message::Child {
            reach: child.reach(),
        };
        let process = system::descriptor_of(child.pid()).into_iter().collect();
        self.tell(&message, process);
    }

    /// Watches over the janitor, and starts it again if it dies. Must be called inside the tokio runtime.
    pub async fn watch(&self) -> Infallible {
        loop {
            let socket = self
                .state
                .borrow()
                .link
                .as_ref()
                .and_then(|link| link.socket.try_clone().ok());
            let Some(socket) = socket else {
                return std::future::pending().await;
            };
            // The janitor never says anything on it: readable means that it has gone.
            match system::watched(socket) {
                Ok(socket) => drop(socket.readable().await),
                Err(_) => return std::future::pending().await,
            }
            self.start_again();
        }
    }

    /// All is given back: tells it, and waits until it has gone, so that nothing of this session outlives it.
    pub fn done(self, proof: Proof) {
        self.tell_once(&Message::Done(proof));
        self.part(Some(FAREWELL));
    }

    /// Leaves the rest to it, and does not wait; `result` is what the record will say of the command's end.
    pub fn leave(self, result: &str) {
        self.tell_once(&Message::Leave(result.to_owned()));
        // With PID 1 everything dies.
        let patience = (Pid::this().as_raw() == 1).then_some(CLEANING);
        self.part(patience);
    }

    /// Leaves the session to it until then, and does not wait; what was lent lives on.
    ///
    /// # Errors
    /// It is not there any more: nothing may live on without it.
    pub fn detach(&self, until: SystemTime) -> Result<(), JanitorError> {
        self.tell(&Message::Detach(until), Vec::new());
        self.is_there()?;
        self.part(None);
        Ok(())
    }

    fn part(&self, patience: Option<Duration>) {
        let mut state = self.state.borrow_mut();
        state.told.clear();
        if let Some(link) = state.link.take() {
            match patience {
                Some(patience) => link.wait(patience),
                None => drop(link),
            }
        }
    }

    fn tell(&self, message: &Message, descriptors: Vec<OwnedFd>) {
        let of = match message {
            Message::Token(_) => Some(String::new()),
            Message::Lease(lease) => Some(lease.id().to_owned()),
            _ => None,
        };
        let Ok(message) = serde_json::to_vec(message) else {
            return;
        };
        let told = Told {
            of,
            message: Zeroizing::new(message),
            descriptors,
        };
        let mut state = self.state.borrow_mut();
        let sent = match &state.link {
            Some(link) => link.send(&told),
            None => Ok(()),
        };
        if told.of.is_some() {
            state.told.retain(|earlier| earlier.of != told.of);
        }
        state.told.push(told);
        drop(state);
        if sent.is_err() {
            self.start_again();
        }
    }

    /// The last word is for a living janitor only: a new one would have nothing to do.
    fn tell_once(&self, message: &Message) {
        if let (Ok(message), Some(link)) = (serde_json::to_vec(message), &self.state.borrow().link)
        {
            let _ = link.send(&Told {
                of: None,
                message: Zeroizing::new(message),
                descriptors: Vec::new(),
            });
        }
    }

    fn start_again(&self) {
        let mut state = self.state.borrow_mut();
        let Some(link) = state.link.take() else {
            return;
        };
        link.end();
        state.restarts += 1;
        let started = if state.restarts > RESTARTS {
            Err(io::Error::other("it died again and again"))
        } else {
            Link::start().and_then(|link| {
                for told in &state.told {
                    link.send(told)?;
                }
                Ok(link)
            })
        };
        let warning = match started {
            Ok(link) => {
                state.link = Some(link);
                "the janitor, which cleans up if dbt-lease is killed, had died; it was started again".to_owned()
            }
            Err(error) => {
                let warning = format!(
                    "the janitor, which cleans up if dbt-lease is killed, had died and cannot be started again ({error}); if dbt-lease is \
                     killed now, the credential lives until its lease ends"
                );
                state.failure = Some(error);
                warning
            }
        };
        drop(state);
        (self.warn)(&warning);
    }
}

impl Drop for Janitor<'_> {
    fn drop(&mut self) {
        self.part(Some(CLEANING));
    }
}

impl Link {
    fn start() -> io::Result<Self> {
        let (process, socket) = system::start()?;
        Ok(Self { process, socket })
    }

    fn send(&self, told: &Told) -> io::Result<()> {
        if told.message.len() > system::LARGEST {
            return Err(io::Error::other("a message is too long for it"));
        }
        system::send(self.socket.as_fd(), &told.message, &told.descriptors)
    }

    /// Ends what is dead or no longer takes messages, before its socket's end could make it clean up.
    fn end(self) {
        self.process.kill();
        self.process.wait();
    }

    /// Says no more, waits for its end, and takes its status. One that does not end in time is stopped or stuck, and is killed.
    fn wait(self, patience: Duration) {
        let end = Instant::now() + patience;
        let _ = nix::sys::socket::shutdown(
            std::os::fd::AsRawFd::as_raw_fd(&self.socket),
            nix::sys::socket::Shutdown::Write,
        );
        loop {
            let mut waited = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            match poll(&mut waited, timeout(Some(end))) {
                Err(Errno::EINTR) => {}
                Ok(0) | Err(_) => return self.end(),
                Ok(_) => break,
            }
        }
        self.process.wait();
    }
}

/// The socket for `status` and `end`, in the session directory.
fn listen(directory: BorrowedFd<'_>, path: &Path) -> io::Result<UnixListener> {
    let address = system::short_path(directory, path, SOCKET);
    let socket = UnixListener::bind(&address)?;
    std::fs::set_permissions(&address, PermissionsExt::from_mode(0o600))?;
    Ok(socket)
}

/// The server as the janitor reaches it: its environment is empty, so whom the machine trusts must stand here.
pub fn without_variables(server: &Server, variables: &Variables) -> Server {
    let mut server = server.clone();
    if server.ca_cert.is_none() && server.ca_pem.is_none() && server.ca_path.is_none() {
        server.ca_cert = variables.text("SSL_CERT_FILE").map(Into::into);
        server.ca_path = variables.text("SSL_CERT_DIR").map(Into::into);
    }
    server
}

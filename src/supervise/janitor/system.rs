//! The system calls of the janitor that neither std nor nix wraps, and what differs on systems other than Linux.
//!
//! Linux names a process by a pidfd, which never comes to mean another one. Elsewhere (untried) the janitor does all but stopping the
//! command.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::Signal;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr,
    recvmsg, sendmsg, socketpair,
};
use nix::unistd::Pid;
use tokio::io::unix::AsyncFd;

use crate::failpoint;

/// The name under which this program is the janitor.
pub(super) const NAME: &str = "dbt-lease-janitor";
/// The largest message. A session's own are some hundred bytes, a token of Vault's at most some thousand.
pub(super) const LARGEST: usize = 32 * 1024;
/// The most descriptors of one message.
const DESCRIPTORS: usize = 2;

/// The janitor's process, as its parent sees it.
///
/// On Linux it is named by a descriptor: as PID 1 we take the status of whatever has ended, and its number may then be another's.
pub(super) struct Started {
    #[cfg(target_os = "linux")]
    process: Process,
    #[cfg(not(target_os = "linux"))]
    pid: Pid,
}

impl Started {
    #[cfg(target_os = "linux")]
    fn new(pid: Pid) -> io::Result<Self> {
        let process = descriptor_of(pid).map(Process).inspect_err(|_| {
            let _ = nix::sys::signal::kill(pid, Signal::SIGKILL);
            let _ = nix::sys::wait::waitpid(pid, None);
        })?;
        Ok(Self { process })
    }

    #[cfg(not(target_os = "linux"))]
    fn new(pid: Pid) -> io::Result<Self> {
        Ok(Self { pid })
    }

    /// Ends it at once.
    pub(super) fn kill(&self) {
        #[cfg(target_os = "linux")]
        self.process.signal(Signal::SIGKILL, false);
        #[cfg(not(target_os = "linux"))]
        let _ = nix::sys::signal::kill(self.pid, Signal::SIGKILL);
    }

    /// Waits for its end and takes its status.
    pub(super) fn wait(&self) {
        #[cfg(target_os = "linux")]
        let wait = || {
            use nix::sys::wait::{Id, WaitPidFlag, waitid};
            waitid(Id::PIDFd(self.process.as_fd()), WaitPidFlag::WEXITED)
        };
        #[cfg(not(target_os = "linux"))]
        let wait = || nix::sys::wait::waitpid(self.pid, None);
        while wait() == Err(Errno::EINTR) {}
    }
}

/// Starts the janitor: its process, and our end of the socket between us.
pub(super) fn start() -> io::Result<(Started, OwnedFd)> {
    #[cfg(target_os = "linux")]
    let (kind, program) = (SockType::SeqPacket, PathBuf::from("/proc/self/exe"));
    #[cfg(not(target_os = "linux"))]
    let (kind, program) = (SockType::Datagram, std::env::current_exe()?);
    #[cfg(target_os = "linux")]
    let flags = SockFlag::SOCK_CLOEXEC;
    #[cfg(not(target_os = "linux"))]
    let flags = SockFlag::empty();
    let (ours, its) = socketpair(AddressFamily::Unix, kind, None, flags)?;
    #[cfg(not(target_os = "linux"))]
    nix::fcntl::fcntl(
        &ours,
        nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC),
    )?;
    let mut command = Command::new(program);
    command
        .arg0(NAME)
        .env_clear()
        .envs(failpoint::variables_of_the_janitor())
        .current_dir("/")
        .stdin(Stdio::from(its))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // SAFETY: setsid and signal are async-signal-safe, and nothing else is done between fork and exec.
    unsafe {
        command.pre_exec(|| {
            if libc::setsid() == -1 {
                return Err(io::Error::last_os_error());
            }
            // Ignored signals stay ignored through exec, so that there is no moment at which one could end it.
            for signal in 1..=31 {
                libc::signal(signal, libc::SIG_IGN);
            }
            Ok(())
        });
    }
    let child = command.spawn()?;
    #[expect(
        clippy::cast_possible_wrap,
        reason = "pid_t is an i32; std hands it out as u32"
    )]
    let pid = Pid::from_raw(child.id() as i32);
    Ok((Started::new(pid)?, ours))
}

/// The first thing that the janitor does: nobody of the same user reads its memory, and what it inherited besides its socket is closed.
/// Gives the socket, which is descriptor 0. To be called once.
pub(super) fn withdraw() -> OwnedFd {
    #[cfg(target_os = "linux")]
    {
        crate::supervise::privacy::withdraw_memory();
        let _ = nix::sys::prctl::set_name(c"dbt-lease-janit");
        // SAFETY: nothing in this process has opened a descriptor above 2 yet.
        unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
    }
    #[cfg(not(target_os = "linux"))]
    for descriptor in 3..1024 {
        // SAFETY: nothing in this process has opened a descriptor above 2 yet.
        unsafe { libc::close(descriptor) };
    }
    // SAFETY: `start` put it there, and nothing in this process uses it as standard input.
    unsafe { OwnedFd::from_raw_fd(0) }
}

/// The socket for tokio to wait on.
pub(super) fn watched(socket: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is owned by the `AsyncFd` from here on, and closed by nobody else.
    Ok(unsafe { AsyncFd::register(socket) }?)
}

/// Sends one message with its descriptors; never waits, and no SIGPIPE.
pub(super) fn send(
    socket: BorrowedFd<'_>,
    message: &[u8],
    descriptors: &[OwnedFd],
) -> io::Result<()> {
    let raw: Vec<i32> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    #[cfg(target_os = "linux")]
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    // There is no such flag; Rust's runtime ignores SIGPIPE.
    #[cfg(not(target_os = "linux"))]
    let flags = MsgFlags::MSG_DONTWAIT;
    loop {
        let sent = sendmsg::<UnixAddr>(
            socket.as_raw_fd(),
            &[IoSlice::new(message)],
            if raw.is_empty() { &[] } else { &rights },
            flags,
            None,
        );
        match sent {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Sends one message with a descriptor of this very process, if that can be had. For a child between fork and exec: system calls alone,
/// nothing is allocated.
#[cfg(target_os = "linux")]
pub(super) fn send_ourselves(socket: BorrowedFd<'_>, message: &[u8]) {
    /// Room for one descriptor and its header, aligned as the header must be.
    const ROOM: usize = 4;
    let mut room = [0_u64; ROOM];
    let mut part = libc::iovec {
        iov_base: message.as_ptr().cast_mut().cast(),
        iov_len: message.len(),
    };
    // SAFETY: all calls are async-signal-safe. The header's pointers lead to `part` and `room`, which outlive it; `room` is large enough
    // for CMSG_SPACE of one descriptor, so that CMSG_FIRSTHDR is not null. The descriptor is closed at exec.
    unsafe {
        let process = libc::syscall(libc::SYS_pidfd_open, libc::getpid(), 0);
        let Ok(process @ 0..) = libc::c_int::try_from(process) else {
            return;
        };
        let mut header: libc::msghdr = std::mem::zeroed();
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        header.msg_control = room.as_mut_ptr().cast();
        header.msg_controllen = libc::CMSG_SPACE(size_of::<libc::c_int>() as u32) as _;
        let control = libc::CMSG_FIRSTHDR(&raw const header);
        (*control).cmsg_level = libc::SOL_SOCKET;
        (*control).cmsg_type = libc::SCM_RIGHTS;
        (*control).cmsg_len = libc::CMSG_LEN(size_of::<libc::c_int>() as u32) as _;
        libc::CMSG_DATA(control)
            .cast::<libc::c_int>()
            .write_unaligned(process);
        let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
        libc::sendmsg(socket.as_raw_fd(), &raw const header, flags);
    }
}

/// There are no such descriptors.
#[cfg(not(target_os = "linux"))]
pub(super) fn send_ourselves(_socket: BorrowedFd<'_>, _message: &[u8]) {}

/// The next message; `None` at the socket's end.
pub(super) fn receive(socket: BorrowedFd<'_>) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
    let mut bytes = vec![0; LARGEST];
    let mut space = nix::cmsg_space!([i32; DESCRIPTORS]);
    let (length, descriptors) = loop {
        let mut slices = [IoSliceMut::new(&mut bytes)];
        #[cfg(target_os = "linux")]
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        #[cfg(not(target_os = "linux"))]
        let flags = MsgFlags::empty();
        match recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut slices, Some(&mut space), flags) {
            Ok(message) => {
                let mut descriptors = Vec::new();
                for control in message.cmsgs()? {
                    if let ControlMessageOwned::ScmRights(raw) = control {
                        // SAFETY: the kernel has just made these descriptors for us alone.
                        descriptors.extend(
                            raw.into_iter()
                                .map(|raw| unsafe { OwnedFd::from_raw_fd(raw) }),
                        );
                    }
                }
                break (message.bytes, descriptors);
            }
            Err(Errno::EINTR) => {}
            Err(Errno::ECONNRESET) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        }
    };
    if length == 0 {
        return Ok(None);
    }
    bytes.truncate(length);
    Ok(Some((bytes, descriptors)))
}

/// A process, named for as long as this value lives.
pub(super) struct Process(OwnedFd);

impl Process {
    /// What a descriptor names, as [`descriptor_of`] gave it.
    pub(super) fn of(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }

    /// Readable once the process has ended.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Sends a signal to the process, or to the group that it leads. A process that has ended is no error.
    #[cfg(target_os = "linux")]
    pub(super) fn signal(&self, signal: Signal, whole_group: bool) {
        /// Linux 6.9; libc does not know it yet.
        const PIDFD_SIGNAL_PROCESS_GROUP: libc::c_uint = 4;
        let send = |flags: libc::c_uint| {
            // SAFETY: the descriptor is open, and a null siginfo stands for that of kill(2).
            unsafe {
                libc::syscall(
                    libc::SYS_pidfd_send_signal,
                    self.0.as_raw_fd(),
                    signal as libc::c_int,
                    std::ptr::null::<libc::siginfo_t>(),
                    flags,
                ) == 0
            }
        };
        if !(whole_group && send(PIDFD_SIGNAL_PROCESS_GROUP)) {
            send(0);
        }
    }

    /// Not there: no value of this type is made.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn signal(&self, _signal: Signal, _whole_group: bool) {}
}

/// A descriptor that names a process of ours that has not been waited for.
#[cfg(target_os = "linux")]
pub(super) fn descriptor_of(pid: Pid) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open takes two numbers.
    let raw = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    let raw = i32::try_from(Errno::result(raw)?).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for us alone; it is close-on-exec.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// There are no such descriptors: the janitor does not stop the command there yet.
#[cfg(not(target_os = "linux"))]
pub(super) fn descriptor_of(_pid: Pid) -> io::Result<OwnedFd> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A path of at most 108 bytes that leads to `name` in this directory: a socket's address holds no more.
#[cfg(target_os = "linux")]
pub(super) fn short_path(directory: BorrowedFd<'_>, _path: &Path, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{name}", directory.as_raw_fd()))
}

/// The path itself.
#[cfg(not(target_os = "linux"))]
pub(super) fn short_path(_directory: BorrowedFd<'_>, path: &Path, name: &str) -> PathBuf {
    path.join(name)
}

/// Whether the other end of a connection is this user.
pub(super) fn is_ours(connection: impl AsFd) -> bool {
    #[cfg(target_os = "linux")]
    let uid = nix::sys::socket::getsockopt(&connection, nix::sys::socket::sockopt::PeerCredentials)
        .ok()
        .map(|peer| peer.uid());
    #[cfg(not(target_os = "linux"))]
    let uid = nix::unistd::getpeereid(connection)
        .ok()
        .map(|(uid, _)| uid.as_raw());
    uid == Some(nix::unistd::geteuid().as_raw())
}

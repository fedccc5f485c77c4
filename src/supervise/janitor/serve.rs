//! `status` and `end`: the janitor's side of the socket in the session directory.
//!
//! One line asks, one line answers. Nothing that is asked can stop the janitor from seeing its session's death: no read or write waits.
#![forbid(unsafe_code)]

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use super::ask::{Answer, Question};
use super::known::Known;
use super::protocol::Proof;
use super::system;

/// More than these at once are turned away.
const CLIENTS: usize = 16;
/// The longest question.
const QUESTION: usize = 64;

/// The socket and who is connected to it.
#[derive(Default)]
pub(super) struct Reception {
    socket: Option<UnixListener>,
    clients: Vec<Client>,
}

struct Client {
    connection: UnixStream,
    asked: Vec<u8>,
    waits_for_the_end: bool,
}

/// What a client's words come to.
enum Turn {
    /// It has not finished its question, or waits for the end.
    Waits,
    /// It wants the end, and to hear of it.
    End,
    /// It was answered, has gone, or is none of ours.
    Over,
}

impl Reception {
    /// Listens here from now on.
    pub(super) fn open(&mut self, socket: UnixListener) {
        if socket.set_nonblocking(true).is_ok() {
            self.socket = Some(socket);
        }
    }

    /// What to wait for.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.socket
            .iter()
            .map(AsFd::as_fd)
            .chain(self.clients.iter().map(|client| client.connection.as_fd()))
    }

    /// Lets in who knocks and answers who asks; whether somebody wants the session to end.
    pub(super) fn serve(&mut self, known: &Known) -> bool {
        while let Some(Ok((connection, _))) = self.socket.as_ref().map(UnixListener::accept) {
            // Another user is not answered at all.
            let welcome = system::is_ours(&connection)
                && self.clients.len() < CLIENTS
                && connection.set_nonblocking(true).is_ok();
            if welcome {
                self.clients.push(Client {
                    connection,
                    asked: Vec::new(),
                    waits_for_the_end: false,
                });
            }
        }
        let mut end = false;
        self.clients.retain_mut(|client| match client.turn(known) {
            Turn::Waits => true,
            Turn::End => {
                end = true;
                true
            }
            Turn::Over => false,
        });
        end
    }

    /// Tells those who wait how it ended.
    pub(super) fn close(&mut self, proof: &Proof) {
        self.socket = None;
        for mut client in self.clients.drain(..) {
            if client.waits_for_the_end {
                client.answer(&Answer::Ended(proof.clone()));
            }
        }
    }
}

impl Client {
    fn turn(&mut self, known: &Known) -> Turn {
        let mut bytes = [0; QUESTION];
        match self.connection.read(&mut bytes) {
            Ok(0) => return Turn::Over,
            Ok(length) if !self.waits_for_the_end => self.asked.extend(&bytes[..length]),
            Ok(_) => return Turn::Over,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Turn::Waits,
            Err(_) => return Turn::Over,
        }
        if self.asked.len() > QUESTION {
            return Turn::Over;
        }
        let Some(line) = self.asked.strip_suffix(b"\n") else {
            return Turn::Waits;
        };
        match serde_json::from_slice(line) {
            Ok(Question::Status) => {
                if let Some(introduction) = &known.introduction {
                    self.answer(&Answer::Living {
                        about: introduction.about.clone(),
                        lease_ends: known.leases.iter().map(|lease| lease.expires()).min(),
                    });
                }
                Turn::Over
            }
            Ok(Question::End) => {
                self.waits_for_the_end = true;
                Turn::End
            }
            Err(_) => Turn::Over,
        }
    }

    /// Some hundred bytes, which a fresh socket takes at once; a client that has gone misses nothing.
    fn answer(&mut self, answer: &Answer) {
        if let Ok(mut line) = serde_json::to_vec(answer) {
            line.push(b'\n');
            let _ = self.connection.write_all(&line);
        }
    }
}

//! What can go wrong where: each step of a session, each way to fail, each victim; and what must come of it.

use Outcome::{Janitor, Nothing, Said, Session, Swept, Ttl};
use Step::{
    ChildExited, ChildSpawned, CredsAnswered, CredsSent, DoneSent, FileCreated, GateOpen,
    GateShredded, HalfWritten, JanitorSpawned, LoginAnswered, LoginSent, Mkdir, PathTold, Renewing,
    Revoking, Shredding, Unlinked, Written,
};
use Victim::{All, Child, Group, Janitor as TheJanitor, Supervisor};
use Way::{Eio, Emfile, Enospc, Hup, Int, Kill, Panic, ServerGone, Term};

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    JanitorSpawned,
    LoginSent,
    LoginAnswered,
    CredsSent,
    CredsAnswered,
    PathTold,
    Mkdir,
    FileCreated,
    HalfWritten,
    Written,
    ChildSpawned,
    GateOpen,
    GateShredded,
    Renewing,
    ChildExited,
    Shredding,
    Unlinked,
    Revoking,
    DoneSent,
}

/// In the order in which a session takes them.
pub(crate) const STEPS: [(Step, &str); 19] = [
    (JanitorSpawned, "janitor spawned"),
    (LoginSent, "login sent"),
    (LoginAnswered, "login answered"),
    (CredsSent, "creds sent"),
    (CredsAnswered, "creds answered"),
    (PathTold, "path told"),
    (Mkdir, "mkdir"),
    (FileCreated, "file created"),
    (HalfWritten, "half written"),
    (Written, "written"),
    (ChildSpawned, "child spawned"),
    (GateOpen, "gate open"),
    (GateShredded, "gate shredded"),
    (Renewing, "renewing"),
    (ChildExited, "child exited"),
    (Shredding, "shredding"),
    (Unlinked, "unlinked"),
    (Revoking, "revoking"),
    (DoneSent, "done sent"),
];

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Kill,
    Term,
    Int,
    Hup,
    Panic,
    Enospc,
    Eio,
    Emfile,
    ServerGone,
}

pub(crate) const WAYS: [(Way, &str); 9] = [
    (Kill, "KILL"),
    (Term, "TERM"),
    (Int, "INT"),
    (Hup, "HUP"),
    (Panic, "panic"),
    (Enospc, "ENOSPC"),
    (Eio, "EIO"),
    (Emfile, "EMFILE"),
    (ServerGone, "server gone"),
];

/// To whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Victim {
    Supervisor,
    Janitor,
    Child,
    Group,
    All,
}

pub(crate) const VICTIMS: [(Victim, &str); 5] = [
    (Supervisor, "supervisor"),
    (TheJanitor, "janitor"),
    (Child, "child"),
    (Group, "group"),
    (All, "all"),
];

/// What became of all that was lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Nothing,
    Session,
    Janitor,
    Said,
    Swept,
    Ttl,
}

/// Each with its word in the table and what that means.
pub(crate) const OUTCOMES: [(Outcome, &str, &str); 6] = [
    (
        Nothing,
        "nothing",
        "nothing was lent yet, and nothing is left",
    ),
    (
        Session,
        "given back",
        "the session process gave everything back itself",
    ),
    (Janitor, "janitor", "the janitor gave everything back"),
    (
        Said,
        "said",
        "something could not be given back; that was said on stderr or stands in the record, with the time until when it lives, and \
         `dbt-lease sweep` took it back once the cause was gone (or it ended by its TTL where no lease was on record yet)",
    ),
    (
        Swept,
        "sweep",
        "all processes were dead; the next run removed the directory and revoked the lease that was on record",
    ),
    (
        Ttl,
        "TTL",
        "what Vault made was on no record yet, since its answer was not seen or nobody lived to write it down; the directory, if there \
         was one, went with the next run's sweep, the credential by its token's TTL",
    ),
];

/// How the tool ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Code(i32),
    Signal(i32),
}

/// The command's own code.
pub(crate) const OWN: End = End::Code(7);

/// What must come of a cell.
pub(crate) struct Expected {
    pub(crate) end: End,
    pub(crate) outcome: Outcome,
    /// Words that stderr must hold.
    pub(crate) says: &'static str,
    /// Words that it must hold before the command ends.
    pub(crate) meanwhile: &'static str,
}

/// One cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) step: Step,
    pub(crate) way: Way,
    pub(crate) victim: Victim,
}

/// All cells, the impossible ones too.
pub(crate) fn cells() -> impl Iterator<Item = Cell> {
    VICTIMS.into_iter().flat_map(|(victim, _)| {
        STEPS.into_iter().flat_map(move |(step, _)| {
            WAYS.into_iter()
                .map(move |(way, _)| Cell { step, way, victim })
        })
    })
}

/// Where the tool is stopped: at a point of its own, or while it waits for an answer.
pub(crate) enum Stop {
    Point(&'static str),
    Request(&'static str),
}

impl Step {
    pub(crate) fn stop(self) -> Stop {
        Stop::Point(match self {
            JanitorSpawned => "janitor_started",
            LoginSent => return Stop::Request("/auth/approle/login"),
            LoginAnswered => "logged_in",
            CredsSent => return Stop::Request("/database/creds/faults"),
            CredsAnswered => "read",
            PathTold => "path_told",
            Mkdir => "directory_made",
            FileCreated => "file_created",
            HalfWritten => "half_written",
            Written => "written",
            ChildSpawned => "child_started",
            GateOpen => "gate_open",
            GateShredded => "gate_shredded",
            Renewing => "renewing",
            ChildExited => "child_exited",
            Shredding => "shredding",
            Unlinked => "unlinked",
            Revoking => "revoking",
            DoneSent => "done_sent",
        })
    }

    /// Whether the command lives.
    pub(crate) fn has_child(self) -> bool {
        (ChildSpawned..=Renewing).contains(&self)
    }

    /// Whether the command is dbt, which has a gate.
    pub(crate) fn is_gated(self) -> bool {
        matches!(self, GateOpen | GateShredded)
    }

    fn is_request(self) -> bool {
        matches!(self.stop(), Stop::Request(_))
    }

    /// The point at which the system refuses the file operation that follows this step.
    pub(crate) fn refused(self) -> Option<&'static str> {
        Some(match self {
            PathTold => "path_told",
            Mkdir => "directory_made",
            FileCreated => "file_created",
            HalfWritten => "half_written",
            Written => "recording_lent",
            GateOpen => "watching",
            GateShredded | Shredding => "overwriting",
            Unlinked => "unlinking",
            DoneSent => "recording_ended",
            _ => return None,
        })
    }
}

impl Way {
    pub(crate) fn signal(self) -> Option<nix::sys::signal::Signal> {
        use nix::sys::signal::Signal;
        Some(match self {
            Kill => Signal::SIGKILL,
            Term => Signal::SIGTERM,
            Int => Signal::SIGINT,
            Hup => Signal::SIGHUP,
            _ => return None,
        })
    }
}

impl Cell {
    /// What must come of it; or why there is no such cell.
    pub(crate) fn expected(self) -> Result<Expected, &'static str> {
        match self.victim {
            Supervisor => self.supervisor(),
            TheJanitor => self.janitor(),
            Child => self.child(),
            Group | All => self.many(),
        }
    }

    fn supervisor(self) -> Result<Expected, &'static str> {
        let step = self.step;
        Ok(match self.way {
            Kill if step == JanitorSpawned => outcome(signal(9), Nothing),
            // The janitor knows that a login was sent, and says that it does not know more.
            Kill if step == LoginSent => outcome(signal(9), Ttl),
            Kill if step == DoneSent => outcome(signal(9), Session),
            Kill => outcome(signal(9), Janitor),
            // The command has ended by itself: its end is ours.
            Term | Int | Hup if step >= ChildExited => outcome(OWN, Session),
            Term | Int | Hup => outcome(self.own_signal(), Session),
            Panic if step.is_request() => return Err(WAITS),
            Panic if step == JanitorSpawned => outcome(End::Code(101), Nothing),
            Panic if step.has_child() => {
                outcome(End::Code(125), Janitor).saying("please report it")
            }
            Panic if step <= ChildExited => {
                outcome(End::Code(125), Session).saying("please report it")
            }
            Panic if step == DoneSent => outcome(End::Code(101), Session),
            Panic => outcome(End::Code(101), Janitor),
            Enospc | Eio => match step {
                PathTold | Mkdir | FileCreated | HalfWritten => outcome(End::Code(125), Session)
                    .saying("no place for the private profiles directory"),
                Written => outcome(End::Code(125), Session).saying("could not be written"),
                GateOpen => outcome(OWN, Session).meanwhile("there is no gate"),
                GateShredded => outcome(OWN, Session).meanwhile("could not be shredded as soon as"),
                Shredding | Unlinked => {
                    outcome(OWN, Session).saying("the profiles directory was not removed")
                }
                DoneSent => outcome(OWN, Session).saying("could not be written"),
                _ => return Err(NO_FILE),
            },
            Emfile if step.is_request() => return Err(WAITS),
            Emfile if step == JanitorSpawned => {
                outcome(End::Code(125), Nothing).saying("Too many open files")
            }
            Emfile if step < ChildSpawned => {
                outcome(End::Code(125), Session).saying("oo many open files")
            }
            Emfile => outcome(OWN, Session),
            ServerGone => match step {
                JanitorSpawned => outcome(End::Code(125), Nothing).saying("no connection"),
                LoginSent => outcome(End::Code(125), Ttl).saying("login"),
                LoginAnswered | CredsSent => {
                    outcome(End::Code(125), Said).saying("the session's token was not revoked")
                }
                DoneSent => outcome(OWN, Session),
                Renewing => outcome(OWN, Said)
                    .saying("is NOT revoked")
                    .meanwhile("could not be renewed"),
                _ => outcome(OWN, Said).saying("is NOT revoked"),
            },
        })
    }

    fn janitor(self) -> Result<Expected, &'static str> {
        let step = self.step;
        // The next to come after the session process died.
        let killed = |given_back| outcome(signal(9), given_back);
        Ok(match self.way {
            Kill | Term | Int | Hup | Panic if step == DoneSent => {
                return Err("the janitor has ended");
            }
            // It has nothing to read until the end.
            Panic if step.has_child() && step != Renewing => outcome(OWN, Session),
            Kill | Panic if step < ChildExited => outcome(OWN, Session).meanwhile(RESTARTED),
            Kill | Term | Int | Hup | Panic => outcome(OWN, Session),
            Enospc if (LoginAnswered..=Revoking).contains(&step) => killed(Janitor),
            Enospc => return Err("the janitor writes nothing then"),
            Eio if (FileCreated..=Shredding).contains(&step) && step != GateShredded => {
                killed(Janitor)
            }
            Eio => return Err("the janitor overwrites no file then"),
            Emfile | ServerGone if step == JanitorSpawned => killed(Nothing),
            Emfile | ServerGone if step == LoginSent => killed(Ttl),
            Emfile | ServerGone if step == DoneSent => killed(Session),
            Emfile | ServerGone => killed(Said),
        })
    }

    fn child(self) -> Result<Expected, &'static str> {
        match self.way {
            Kill | Term | Int | Hup if self.step.has_child() => {
                Ok(outcome(self.own_signal(), Session))
            }
            Kill | Term | Int | Hup if self.step < ChildSpawned => Err("there is no child yet"),
            Kill | Term | Int | Hup => Err("there is no child any more"),
            ServerGone => Err("the child does not speak to Vault"),
            _ => Err("the child's own errors are its own: it ends, and that is `child exited`"),
        }
    }

    fn many(self) -> Result<Expected, &'static str> {
        let step = self.step;
        Ok(match self.way {
            Kill if self.victim == All => match step {
                JanitorSpawned => outcome(signal(9), Nothing),
                DoneSent => outcome(signal(9), Session),
                _ if step < ChildSpawned => outcome(signal(9), Ttl),
                _ => outcome(signal(9), Swept),
            },
            // Without the janitor, which ignores all but KILL: what the supervisor alone gets, and the command too.
            Kill | Term | Int | Hup => {
                return Cell {
                    victim: Supervisor,
                    ..self
                }
                .supervisor();
            }
            ServerGone => return Err("it is gone for everybody: see supervisor, and janitor"),
            _ => return Err("it meets one process: see supervisor, and janitor"),
        })
    }

    fn own_signal(self) -> End {
        self.way
            .signal()
            .map_or(OWN, |number| signal(number as i32))
    }
}

const WAITS: &str = "it waits for an answer, and does nothing that could fail so";
const RESTARTED: &str = "had died; it was started again";
const NO_FILE: &str = "no file operation follows";

fn signal(number: i32) -> End {
    End::Signal(number)
}

fn outcome(end: End, outcome: Outcome) -> Expected {
    Expected {
        end,
        outcome,
        says: "",
        meanwhile: "",
    }
}

impl Expected {
    fn meanwhile(mut self, words: &'static str) -> Self {
        self.meanwhile = words;
        self
    }

    fn saying(mut self, words: &'static str) -> Self {
        self.says = words;
        self
    }
}

//! What a session is made for, what it has borrowed, and why its way may end early.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use super::arguments::Verify;
use super::exec::{Part, Wanted, profile};
use super::failure::Failure;
use super::say::Say;
use super::steps::Surroundings;
use crate::config::Lent;
use crate::dbt::{Profile, Rendering};
use crate::delivery::client::{self, ClientError, Reading};
use crate::delivery::environ::Additions;
use crate::delivery::private;
use crate::delivery::session::SessionDir;
use crate::delivery::sweep::{self, Swept};
use crate::plan::Further;
use crate::render::secrets::Secrets;
use crate::render::{self, RenderError};
use crate::secret::Secret;
use crate::supervise::child::StartError;
use crate::supervise::course::Asked;
use crate::supervise::janitor::handle::{JanitorError, without_variables};
use crate::supervise::janitor::protocol::{About, Introduction};
use crate::supervise::privacy::withdraw_memory;
use crate::variables::Variables;
use crate::vault::auth::Token;
use crate::vault::error::VaultError;
use crate::vault::secret;

/// What a session is made for.
pub(super) struct Session<'a> {
    pub(super) say: &'a Say,
    pub(super) variables: &'a Variables,
    pub(super) no_browser: bool,
    pub(super) rendering: &'a Rendering<'a>,
    pub(super) id: String,
    pub(super) wanted: &'a Wanted<'a>,
    pub(super) profile: &'a Profile,
    pub(super) environment: &'a str,
    pub(super) protected: bool,
    pub(super) selection: Vec<(&'static str, OsString)>,
    pub(super) swept: Swept,
    /// `--ttl`
    pub(super) ttl: Option<Duration>,
    /// Whether `--gate` is not `off`.
    pub(super) gated: bool,
    /// `--verify`
    pub(super) verify: Option<Verify>,
    /// `--strict`
    pub(super) strict: bool,
}

/// What was borrowed so far: all that must be given back.
#[derive(Default)]
pub(super) struct Borrowed {
    pub(super) token: Option<Token>,
    /// Whether a login was sent, and its answer was not seen.
    pub(super) unseen_token: bool,
    pub(super) secrets: Vec<secret::Lent>,
    pub(super) directory: Option<SessionDir>,
    pub(super) recorded: bool,
    /// Whether the command runs on it.
    pub(super) in_use: bool,
}

/// Why the way to the command's end was left early.
pub(super) enum Stop {
    Failure(Failure),
    Signal(Asked),
}

macro_rules! stops {
    ($($error:ty),+) => {$(
        impl From<$error> for Stop {
            fn from(error: $error) -> Self {
                Self::Failure(error.into())
            }
        }
    )+};
}

impl Stop {
    /// For the record.
    pub(super) fn in_words(&self) -> String {
        match self {
            Self::Signal(asked) => format!("not started: {}", asked.signal),
            Self::Failure(failure) => format!("not started: {}", failure.kind),
        }
    }

    /// When we must be gone, where a signal asked for it.
    pub(super) fn until(&self) -> Option<Instant> {
        match self {
            Self::Signal(asked) => Some(asked.until()),
            Self::Failure(_) => None,
        }
    }
}

stops!(
    ClientError,
    Failure,
    VaultError,
    RenderError,
    StartError,
    JanitorError
);

/// Removes in passing what killed sessions left.
pub(super) fn sweep(say: &Say, variables: &Variables) -> Swept {
    let swept = sweep::sweep(&private::places(variables), false);
    for path in &swept.removed {
        say.note(|| format!("removed what a killed session had left: {}", path.display()));
    }
    swept
}

impl<'a> Session<'a> {
    /// A session without any option.
    pub(super) fn new(
        say: &'a Say,
        surroundings: &'a Surroundings,
        rendering: &'a Rendering<'a>,
        wanted: &'a Wanted<'a>,
    ) -> Result<Self, Failure> {
        Ok(Self {
            say,
            variables: &surroundings.variables,
            rendering,
            id: new_id()?,
            wanted,
            no_browser: false,
            ttl: None,
            gated: false,
            verify: None,
            strict: false,
            profile: profile(wanted.resolved)?,
            environment: wanted.plan.environment.as_deref().unwrap_or_default(),
            protected: wanted.plan.protected == Some(true),
            selection: Vec::new(),
            swept: sweep(say, &surroundings.variables),
        })
    }
}

impl Session<'_> {
    /// What is to be done before anything is lent.
    pub(super) fn begin(&self) -> Result<(), Failure> {
        self.refuse_what_is_certain()?;
        // From here on secrets lie in our memory. The child's own memory is its affair.
        withdraw_memory();
        Ok(())
    }

    /// What is wrong whatever Vault will answer is said before anything is asked of it.
    fn refuse_what_is_certain(&self) -> Result<(), Failure> {
        let files = Path::new("files");
        for (profile, lent) in self.loans() {
            let secrets = Secrets::placeholders(lent);
            match render::output(profile, lent, &secrets, self.rendering, Some(files)) {
                Err(error) if error.is_certain() => return Err(error.into()),
                _ => {}
            }
        }
        let lent = &self.wanted.loan.lent;
        let secrets = Secrets::placeholders(lent);
        let bridge = render::bridge(lent, &secrets)?;
        self.client(&secrets, Some(files), &bridge)?;
        Ok(())
    }

    /// What is lent, profile by profile, in the order in which it is read.
    pub(super) fn loans(&self) -> impl Iterator<Item = (&Profile, &Lent)> {
        let Wanted { resolved, loan, .. } = self.wanted;
        let loans = resolved.profiles().zip(loan.all());
        loans.filter_map(|(profile, lent)| Some((profile, lent?.0)))
    }

    /// The further profiles with what Vault gave for them: secrets are read in the order of the profiles.
    pub(super) fn others(&self, mut secrets: &[secret::Lent]) -> Vec<Part<'_>> {
        let further = self.wanted.resolved.others.iter();
        further
            .zip(&self.wanted.loan.others)
            .map(|(other, further)| Part {
                profile: &other.profile,
                lent: further.as_ref().map(|Further { lent, .. }| {
                    let its_own;
                    (its_own, secrets) = secrets.split_at(lent.secrets.len());
                    (lent, Secrets::leased(its_own))
                }),
            })
            .collect()
    }

    /// The target as libpq's variables, where the command is a client of PostgreSQL's. `bridge` are its own variables.
    pub(super) fn client(
        &self,
        secrets: &Secrets,
        files: Option<&Path>,
        bridge: &[(String, Secret)],
    ) -> Result<Vec<(String, Secret)>, Failure> {
        if self.wanted.plan.client.is_none() {
            return Ok(Vec::new());
        }
        let output = render::output(
            self.profile,
            &self.wanted.loan.lent,
            secrets,
            self.rendering,
            files,
        )?;
        let reading = Reading {
            rendering: self.rendering,
            variables: self.variables,
            bridge,
        };
        Ok(client::variables(&output.node, &reading)?)
    }

    /// What the command gets, or a shell.
    pub(super) fn additions<'b>(
        &'b self,
        borrowed: &'b Borrowed,
        bridge: &'b [(String, Secret)],
    ) -> Additions<'b> {
        Additions {
            profiles_dir: borrowed.directory.as_ref().map(SessionDir::profiles_dir),
            session: Some(&self.id),
            bridge,
            selection: self.selection.clone(),
        }
    }

    pub(super) fn introduction(&self) -> Introduction {
        let Wanted {
            resolved, session, ..
        } = self.wanted;
        Introduction {
            about: About {
                session: self.id.clone(),
                project: resolved
                    .project
                    .as_ref()
                    .map(|project| project.name.clone()),
                profile: self.profile.name.clone(),
                target: self.profile.target.clone(),
                environment: self.environment.to_owned(),
                since: SystemTime::now(),
            },
            server: without_variables(&session.server, self.variables),
        }
    }
}

/// `20261124T101530Z-9f86d081`: readable, sortable, and no other session's.
pub(super) fn new_id() -> Result<String, Failure> {
    let mut random = [0; 4];
    getrandom::fill(&mut random).map_err(|error| {
        Failure::new(
            "random",
            format!("the system gives no random bytes: {error}"),
            None,
        )
    })?;
    let time: String = humantime::format_rfc3339_seconds(SystemTime::now())
        .to_string()
        .chars()
        .filter(|c| !matches!(c, '-' | ':'))
        .collect();
    Ok(format!("{time}-{:08x}", u32::from_be_bytes(random)))
}

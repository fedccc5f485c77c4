//! `method: oidc`: a person, who logs in at an identity provider in the browser.
#![forbid(unsafe_code)]

use super::super::error::ConfigError;
use super::super::walk::{Cursor, Keys};
use super::{Claim, Context, Identity, Login, mount, role_needed};

/// A login in the browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oidc {
    /// Where the method is mounted, below `auth/`.
    pub mount: String,
    /// The role.
    pub role: String,
    /// How the provider's answer comes to Vault.
    pub mode: OidcMode,
    /// The port of this machine that the browser comes back to.
    pub port: u16,
    /// Whether the token is kept for its life by Vault's own token helper, and taken from there.
    pub keep: bool,
    /// The address of the Vault, which the browser goes to in the mode `direct`.
    pub address: String,
}

/// How the provider's answer comes to Vault. The role's `callback_mode` must be the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OidcMode {
    /// The browser comes back to a port of this machine.
    Browser,
    /// The browser goes to Vault itself, which is asked until it knows (OpenBao).
    Direct,
    /// A code is typed at the provider, on any device, and Vault is asked until it knows (OpenBao).
    Device,
}

/// Vault's own program takes it too, and so roles allow it.
const PORT: u16 = 8250;

pub(super) const KEYS: Keys = Keys {
    known: &["method", "mount", "role", "mode", "port", "keep"],
    later: &[],
    elsewhere: &[
        (
            "skip_browser",
            "it is the user's word: `exec --no-browser`, or DBT_LEASE_NO_BROWSER=1",
        ),
        ("callbackmode", "write `mode: direct` or `mode: device`"),
    ],
};
const MODES: &str = "`browser`, `direct` or `device`";

/// Reads the login.
pub(super) fn read(cursor: &Cursor<'_>, context: &Context<'_>) -> Result<Oidc, ConfigError> {
    let object = cursor.object(&KEYS, "a mapping")?;
    let mode = match object.get("mode") {
        None => OidcMode::Browser,
        Some(cursor) => match cursor.text(MODES)? {
            "browser" => OidcMode::Browser,
            "direct" => OidcMode::Direct,
            "device" => OidcMode::Device,
            _ => return Err(cursor.bad("not a mode of oidc", &format!("write {MODES}"))),
        },
    };
    let port = match object.get("port") {
        None => PORT,
        Some(cursor) => {
            let number = cursor.whole("a port of this machine, for example 8250")?;
            match u16::try_from(number) {
                Ok(port) if port > 0 => port,
                _ => return Err(cursor.bad("not a port", "write a number from 1 to 65535")),
            }
        }
    };
    Ok(Oidc {
        mount: mount(&object, "oidc")?,
        role: role_needed(&object)?,
        mode,
        port,
        keep: object
            .get("keep")
            .map(Cursor::flag)
            .transpose()?
            .unwrap_or(false),
        address: context.address.unwrap_or_default().to_owned(),
    })
}

impl Oidc {
    /// Where the browser is sent after the login.
    pub fn redirect_uri(&self) -> String {
        match self.mode {
            OidcMode::Browser => format!("http://localhost:{}/oidc/callback", self.port),
            OidcMode::Direct => format!("{}/v1/auth/{}/oidc/callback", self.address, self.mount),
            OidcMode::Device => String::new(),
        }
    }
}

impl Login for Oidc {
    fn method(&self) -> &'static str {
        "oidc"
    }

    fn mount(&self) -> Option<&str> {
        Some(&self.mount)
    }

    fn role(&self) -> Option<&str> {
        Some(&self.role)
    }

    fn source(&self) -> String {
        let who = match self.mode {
            OidcMode::Browser | OidcMode::Direct => "a person in the browser",
            OidcMode::Device => "a person on any device",
        };
        if self.keep {
            format!("{who}, unless Vault's token helper has this login's token")
        } else {
            who.to_owned()
        }
    }

    fn requests(&self) -> Vec<(&'static str, String)> {
        let path = |last| format!("auth/{}/oidc/{last}", self.mount);
        let mut requests = Vec::new();
        if self.keep {
            requests.push(("GET", "auth/token/lookup-self".to_owned()));
        }
        requests.push(("POST", path("auth_url")));
        requests.push(match self.mode {
            OidcMode::Browser => ("GET", path("callback")),
            OidcMode::Direct | OidcMode::Device => ("POST", path("poll")),
        });
        requests
    }

    fn is_ready_made(&self) -> bool {
        self.keep
    }

    fn takes_users_token(&self) -> bool {
        self.keep
    }

    fn claims(&self) -> Vec<Claim> {
        let mut claims = vec![Claim::Role(
            self.mount.clone(),
            Identity::Role(self.role.clone()),
        )];
        if self.keep {
            claims.push(Claim::UserToken);
        }
        claims
    }
}

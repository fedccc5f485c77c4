//! `method: okta`: a person's name and password at Okta, and what Okta asks for beside them.
#![forbid(unsafe_code)]

use super::super::error::ConfigError;
use super::super::walk::{Cursor, Keys};
use super::source::{Source, Text};
use super::{Claim, Context, Login, claims_of_user, mount, password, password_said, user_name};

/// A login at Okta.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Okta {
    /// Where the method is mounted, below `auth/`.
    pub mount: String,
    /// The user's name.
    pub username: Text,
    /// The password; asked for on the terminal where it is not said.
    pub password: Option<Source>,
    /// What Okta asks for beside the password.
    pub factor: OktaFactor,
}

/// What Okta asks for beside the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OktaFactor {
    /// A push to the person's telephone, perhaps with a number to choose.
    Push,
    /// A code that the person types: of Okta Verify, or of Google Authenticator.
    Totp {
        /// Whether it is Google's.
        google: bool,
    },
    /// Nothing: an account that is exempt. Only this one can log in without a person.
    None,
}

pub(super) const KEYS: Keys = Keys {
    known: &["method", "mount", "username", "password", "second_factor"],
    later: &[],
    elsewhere: &[
        ("user", "write `username: NAME`"),
        ("role", "a user's name stands for it: `username: NAME`"),
        ("totp", "write `second_factor: totp`: the code is typed"),
        ("provider", "write `second_factor: google-totp`"),
    ],
};
const FACTORS: &str = "`push`, `totp`, `google-totp` or `none`";

/// Reads the login.
pub(super) fn read(cursor: &Cursor<'_>, context: &Context<'_>) -> Result<Okta, ConfigError> {
    let object = cursor.object(&KEYS, "a mapping")?;
    let factor = match object.get("second_factor") {
        None => OktaFactor::Push,
        Some(cursor) => match cursor.text(FACTORS)? {
            "push" => OktaFactor::Push,
            "totp" => OktaFactor::Totp { google: false },
            "google-totp" => OktaFactor::Totp { google: true },
            "none" => OktaFactor::None,
            _ => return Err(cursor.bad("not a second factor", &format!("write {FACTORS}"))),
        },
    };
    Ok(Okta {
        mount: mount(&object, "okta")?,
        username: user_name(&object, context)?,
        password: password(&object, context)?,
        factor,
    })
}

impl Login for Okta {
    fn method(&self) -> &'static str {
        "okta"
    }

    fn mount(&self) -> Option<&str> {
        Some(&self.mount)
    }

    fn role(&self) -> Option<&str> {
        self.username.literal()
    }

    fn source(&self) -> String {
        let password = password_said(self.password.as_ref());
        let factor = match self.factor {
            OktaFactor::Push => ", a push to the person's telephone",
            OktaFactor::Totp { .. } => ", a code typed on the terminal",
            OktaFactor::None => "",
        };
        format!("user {}, {password}{factor}", self.username.said())
    }

    fn variables(&self) -> Vec<&str> {
        self.password.iter().filter_map(Source::variable).collect()
    }

    fn requests(&self) -> Vec<(&'static str, String)> {
        let mut requests = vec![(
            "POST",
            format!("auth/{}/login/{}", self.mount, self.username.in_path()),
        )];
        if self.factor == OktaFactor::Push {
            requests.push(("GET", format!("auth/{}/verify/NONCE", self.mount)));
        }
        requests
    }

    fn claims(&self) -> Vec<Claim> {
        claims_of_user(&self.mount, &self.username, self.password.as_ref())
    }
}

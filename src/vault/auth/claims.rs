//! What an identity token says of itself. Nothing here is verified: it is for messages, and to keep back a token that is meant for
//! somebody else.
#![forbid(unsafe_code)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::secret::Secret;
use crate::vault::words;

/// The claims that we look at.
#[derive(Deserialize)]
pub(super) struct Claims {
    iss: Option<String>,
    sub: Option<String>,
    aud: Option<Audience>,
    exp: Option<f64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Claims {
    /// The claims of a JWT; none where it is no JWT.
    pub(super) fn of(token: &Secret) -> Option<Self> {
        let mut parts = token.expose().split('.');
        let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
        let json = Zeroizing::new(URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?);
        serde_json::from_slice(&json).ok()
    }

    /// Whom it is for.
    pub(super) fn audiences(&self) -> &[String] {
        match &self.aud {
            None => &[],
            Some(Audience::One(audience)) => std::slice::from_ref(audience),
            Some(Audience::Several(audiences)) => audiences,
        }
    }

    /// `issuer I, subject S, audience A, expired 90 s ago`, tamed.
    pub(super) fn said(&self, now: SystemTime) -> String {
        let mut parts = Vec::new();
        if let Some(issuer) = &self.iss {
            parts.push(format!("issuer `{issuer}`"));
        }
        if let Some(subject) = &self.sub {
            parts.push(format!("subject `{subject}`"));
        }
        if !self.audiences().is_empty() {
            parts.push(format!("audience `{}`", self.audiences().join("`, `")));
        }
        if let Some(end) = self.end()
            && let Ok(over) = now.duration_since(end)
        {
            parts.push(format!("expired {} s ago", over.as_secs()));
        }
        words::tame(&parts.join(", "), &[])
    }

    fn end(&self) -> Option<SystemTime> {
        let seconds = Duration::try_from_secs_f64(self.exp?).ok()?;
        UNIX_EPOCH.checked_add(seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(payload: &str) -> Secret {
        Secret::new(format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(payload)))
    }

    #[test]
    fn a_token_s_own_words_are_read_and_tamed() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_090);
        let one = token(r#"{"iss":"https://ci","sub":"a\u001b[2J","aud":"v/prod","exp":1000000}"#);
        assert_eq!(
            Claims::of(&one).expect("a JWT").said(now),
            "issuer `https://ci`, subject `a\\u{1b}[2J`, audience `v/prod`, expired 90 s ago"
        );
        let several = token(r#"{"aud":["a","b"],"exp":2e6,"nested":{"x":1}}"#);
        assert_eq!(
            Claims::of(&several).expect("a JWT").said(now),
            "audience `a`, `b`"
        );
    }

    #[test]
    fn what_is_no_jwt_says_nothing() {
        for text in ["", "a.b", "a.!.c", "e30.W10.x", "hvs.CAESIJ"] {
            assert!(
                Claims::of(&Secret::new(text.to_owned())).is_none(),
                "{text}"
            );
        }
    }
}

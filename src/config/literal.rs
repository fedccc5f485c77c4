//! What looks like a secret. dbt-lease.yml is committed, so such a value is refused wherever it stands, and never quoted.
#![forbid(unsafe_code)]

/// What gives a value away wherever it stands; a phrase that follows the key.
pub(super) fn gives_away(text: &str) -> Option<&'static str> {
    let text = text.trim();
    let token = |prefix: &str, least: usize| {
        text.strip_prefix(prefix)
            .is_some_and(|rest| rest.len() >= least && rest.bytes().all(is_token_byte))
    };
    if ["hvs.", "hvb.", "hvr."]
        .iter()
        .any(|prefix| token(prefix, 1))
        || token("s.", 24)
        || token("b.", 24)
    {
        Some("holds a Vault token")
    } else if text.contains("-----BEGIN") && text.contains("PRIVATE KEY") {
        Some("holds a private key")
    } else if text.starts_with("eyJ") && text.split('.').count() == 3 {
        Some("holds a JSON web token")
    } else if (text.starts_with("AKIA") || text.starts_with("ASIA"))
        && text.len() == 20
        && text
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
    {
        Some("holds an AWS access key")
    } else {
        None
    }
}

/// Whether a text that should name a file or a variable looks like the secret itself: a UUID (Vault's secret ids), or a long
/// mix of digits, capitals and small letters without a path's separators. What [`gives_away`] knows is refused before.
pub(super) fn instead_of_a_name(text: &str) -> bool {
    is_uuid(text) || is_random(text)
}

/// Whether a key's name says that its value is a secret.
pub(super) fn secret_name(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    [
        "password",
        "passwd",
        "pwd",
        "token",
        "secret",
        "secret_id",
        "jwt",
        "private_key",
        "api_key",
        "apikey",
    ]
    .contains(&key.as_str())
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-' || byte == b'.'
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

fn is_random(text: &str) -> bool {
    text.len() >= 20
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_=+".contains(&byte))
        && text.bytes().any(|byte| byte.is_ascii_digit())
        && text.bytes().any(|byte| byte.is_ascii_uppercase())
        && text.bytes().any(|byte| byte.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::{gives_away, instead_of_a_name};

    #[test]
    fn tokens_keys_and_ids_are_seen() {
        for text in [
            "hvs.CAESIJ",
            "s.aBcDeFgHiJkLmNoPqRsTuVwX",
            "-----BEGIN RSA PRIVATE KEY-----\nx",
            "eyJhbGciOi.eyJzdWIi.c2ln",
        ] {
            assert!(gives_away(text).is_some(), "{text}");
        }
        for text in [
            "7f1ad8b2-3c9e-4d55-9a2b-0d6f1f2a3b4c",
            "Q7x9Lm2Pk4Rt8Vw1Qb3N",
        ] {
            assert!(instead_of_a_name(text), "{text}");
        }
    }

    #[test]
    fn names_and_paths_are_not() {
        for text in [
            "/run/secrets/dbt_secret_id",
            "secret_id.txt",
            "DBT_ENV_SECRET_ID",
            "s.txt",
            "database/creds/dbt-prod",
            "keys/AKIA",
        ] {
            assert!(!instead_of_a_name(text), "{text}");
        }
    }
}

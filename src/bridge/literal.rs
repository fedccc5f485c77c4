//! Credentials that stand inside of other texts: a URL's, a connection string's, a key in PEM; and in comments.
#![forbid(unsafe_code)]

use super::form::mentions;
use crate::render::secret_keys;

/// Words before a `=` that a credential follows, in connection strings.
const ASSIGNED: [&str; 12] = [
    "password",
    "passwd",
    "pwd",
    "passphrase",
    "motherduck_token",
    "accountkey",
    "sharedaccesskey",
    "sharedaccesssignature",
    "client_secret",
    "secret_access_key",
    "access_token",
    "api_key",
];

/// Whether a text that no key names a credential holds one all the same. A template in the credential's place is none.
pub(super) fn holds_credential(text: &str) -> bool {
    let plain = without_templates(text);
    is_private_key(text)
        || is_known_token(text.trim())
        || has_assignment(&plain)
        || has_userinfo(&plain)
}

/// Whether a comment holds what looks like a credential: `# password: x`.
pub(super) fn is_suspect(comment: &str) -> bool {
    let text = comment.trim_start_matches(['#', ' ', '\t', '-']);
    let Some((key, value)) = text.split_once([':', '=']) else {
        return holds_credential(text);
    };
    let key = key.trim().trim_matches(['"', '\'']);
    let value = value.trim();
    let plain_key = !key.is_empty() && !key.contains(char::is_whitespace);
    let named = plain_key && secret_keys::role(None, key, false) == secret_keys::Role::Secret;
    let empty = value.is_empty()
        || value.contains("{{")
        || ["''", "\"\"", "null", "~", "true", "false"].contains(&value)
        || value.starts_with(['#', '<', '[', '*', '&', '|', '>']);
    (named && !empty) || holds_credential(text)
}

fn is_private_key(text: &str) -> bool {
    text.find("-----BEGIN ")
        .is_some_and(|at| text[at..].contains("PRIVATE KEY-----"))
}

/// Tokens that say by their form what they are.
fn is_known_token(text: &str) -> bool {
    let of = |prefix: &str, least: usize, member: fn(&char) -> bool| {
        text.strip_prefix(prefix)
            .is_some_and(|rest| rest.len() >= least && rest.chars().all(|ch| member(&ch)))
    };
    let word: fn(&char) -> bool = |ch| ch.is_ascii_alphanumeric() || "-_.".contains(*ch);
    // Databricks, AWS, GitHub, a JSON Web Token.
    of("dapi", 32, |ch| ch.is_ascii_hexdigit() || *ch == '-')
        || of("AKIA", 16, char::is_ascii_alphanumeric)
        || of("ASIA", 16, char::is_ascii_alphanumeric)
        || of("ghp_", 30, char::is_ascii_alphanumeric)
        || (of("eyJ", 20, word) && text.matches('.').count() == 2)
}

/// A text with a lone brace for each template; for one that has a default, which is a literal, a letter.
fn without_templates(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, (template, after))) = rest
        .split_once("{{")
        .and_then(|(before, after)| Some((before, after.split_once("}}")?)))
    {
        plain.push_str(before);
        let has_default = mentions(template).iter().any(|mention| {
            mention
                .default
                .as_deref()
                .is_some_and(|default| !["''", "\"\"", "none", "None"].contains(&default))
        });
        plain.push(if has_default { 'x' } else { '{' });
        rest = after;
    }
    plain.push_str(rest);
    plain
}

/// `password=x`, at a word's begin, with something behind it that is no template.
fn has_assignment(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    ASSIGNED.iter().any(|word| {
        lower.match_indices(word).any(|(at, _)| {
            let begins = !lower[..at].ends_with(|ch: char| ch.is_ascii_alphanumeric());
            let rest = lower[at + word.len()..].trim_start();
            let Some(value) = rest.strip_prefix('=') else {
                return false;
            };
            let value = value.trim_start();
            let value = value.strip_prefix(['\'', '"']).unwrap_or(value);
            begins
                && !value.is_empty()
                && !value.starts_with(['{', '$', '&', ';', ' ', '<', '\'', '"', '='])
        })
    })
}

/// `scheme://user:password@`
fn has_userinfo(text: &str) -> bool {
    text.match_indices("://").any(|(at, _)| {
        let rest = &text[at + 3..];
        let end = rest.find(['/', '?', '#', ' ']).unwrap_or(rest.len());
        let Some((userinfo, _)) = rest[..end].rsplit_once('@') else {
            return false;
        };
        userinfo.split_once(':').is_some_and(|(_, password)| {
            !password.is_empty() && !password.starts_with(['{', '$', '<'])
        })
    })
}

#[cfg(test)]
mod tests {
    use super::{holds_credential, is_suspect};

    #[test]
    fn credentials_inside_of_texts_are_seen() {
        for text in [
            "-----BEGIN RSA PRIVATE KEY-----\nabc",
            "md:analytics?motherduck_token=abc",
            "postgres:dbname=x user=y password=hunter2",
            "Driver={x};UID=a;PWD=b;",
            "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=abc==",
            "postgresql://ada:s3cret@db.example.com:5432/x",
            "http://ada:p@ss@proxy",
            "dapi0123456789abcdef0123456789abcdef",
            "AKIAIOSFODNN7EXAMPLE",
            "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ.abc",
            "md:analytics?motherduck_token={{ env_var('T', 'none') }}",
            "postgresql://ada:{{ env_var('P', 'x') }}@db",
        ] {
            assert!(holds_credential(text), "{text}");
        }
    }

    #[test]
    fn what_only_resembles_one_is_none() {
        for text in [
            "postgres",
            "md:analytics?motherduck_token={{ env_var('T') }}",
            "password={{ env_var('P') }}",
            "postgresql://ada:{{ env_var('P') }}@db",
            "https://example.com/a:b@c",
            "https://example.com:8443",
            "s3://bucket/key",
            "jdbc:x;passwordless=true",
            "SELECT 1 -- password",
            "-----BEGIN CERTIFICATE-----",
        ] {
            assert!(!holds_credential(text), "{text}");
        }
    }

    #[test]
    fn comments_with_credentials_are_suspect() {
        for comment in [
            "# password: hunter2",
            "#pass=x",
            "  # - token: \"abc\"",
            "# postgresql://a:b@c/d",
        ] {
            assert!(is_suspect(comment), "{comment}");
        }
        for comment in [
            "# password: {{ env_var('P') }}",
            "# the password: ask Ada",
            "# password:",
            "# host: x",
            "# token_uri: https://x",
            "# see https://example.com",
        ] {
            assert!(!is_suspect(comment), "{comment}");
        }
    }
}

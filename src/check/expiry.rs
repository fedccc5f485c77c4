//! When what a login is made of ends: a secret id, a client certificate, the user's own token.
#![forbid(unsafe_code)]

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::finding::{Cure, Finding, State};
use super::visit::{Visit, new_secret_id};
use crate::config::{AppRole, Auth, Environment};
use crate::variables::Variables;
use crate::vault::fields::Fields;
use crate::vault::{auth, look};

/// What ends sooner is told; a tenth of its life, and three days at most.
const SOON: Duration = Duration::from_secs(3 * 24 * 3600);
const A_DAY: u64 = 24 * 3600;

/// What lets a secret id be looked at.
pub(super) fn lookup_policy(role_path: &str) -> String {
    format!("path \"{role_path}/secret-id/lookup\" {{ capabilities = [\"update\"] }}")
}

/// Looks at the secret id of an AppRole.
pub(super) async fn secret_id(visit: &Visit<'_>, variables: &Variables) -> Option<Finding> {
    const ID: &str = "secret_id_expiry";
    const WHY: &str =
        "every run fails from that moment on, and whoever stole it could use it until then";
    let Auth::AppRole(approle) = visit.auth else {
        return None;
    };
    let Some(path) = visit.role_path() else {
        return Some(
            Finding::new(State::NotProven, ID, "the AppRole's name is not known", WHY)
                .cured_by(Cure::Config("role: NAME   # under `auth`".to_owned())),
        );
    };
    let secret_id = auth::secret_id(variables, approle).await.ok().flatten()?;
    let found = look::secret_id(&visit.client, &visit.token, &path, &secret_id).await;
    let fields = match found {
        Ok(Some(fields)) => fields,
        Ok(None) => return None,
        Err(error) if error.code() == Some(403) => {
            return Some(
                Finding::new(
                    State::NotProven,
                    ID,
                    "when the secret id ends is for those alone to see who may look it up",
                    WHY,
                )
                .cured_by(Cure::Policy {
                    name: visit.policy_name(),
                    lines: lookup_policy(&path),
                }),
            );
        }
        Err(error) => {
            return Some(
                Finding::new(State::NotProven, ID, error.to_string(), WHY)
                    .with(error.hint().map(Cure::Action)),
            );
        }
    };
    Some(of_secret_id(approle, &path, &fields, SystemTime::now()))
}

fn of_secret_id(approle: &AppRole, path: &str, fields: &Fields, now: SystemTime) -> Finding {
    const ID: &str = "secret_id_expiry";
    let life = Duration::from_secs(fields.count("secret_id_ttl").unwrap_or(0));
    let renew = new_secret_id(&approle.secret_id, path);
    if life.is_zero() {
        return Finding::new(
            State::Warning,
            ID,
            "the secret id never ends",
            "it is a password for ever: whoever copies it once can borrow until somebody destroys it",
        )
        .cured_by(Cure::Command(format!(
            "bao write {path} secret_id_ttl=720h\n{renew}"
        )));
    }
    let end = fields
        .said("expiration_time")
        .and_then(|text| humantime::parse_rfc3339_weak(text.trim_end_matches('Z')).ok());
    match end {
        Some(end) => match left(end, now) {
            left if left < SOON.min(life / 10) => Finding::new(
                State::Warning,
                ID,
                format!("the secret id ends in {} s", left.as_secs()),
                "every run fails from that moment on",
            )
            .cured_by(Cure::Command(renew)),
            left => Finding::ok(
                ID,
                format!("the secret id ends in {} hours", left.as_secs() / 3600),
            ),
        },
        None => Finding::new(
            State::NotProven,
            ID,
            "the server does not say when the secret id ends",
            "every run fails from that moment on",
        ),
    }
}

/// A user's own token that ends soon.
pub(super) fn token(visit: &Visit<'_>) -> Option<Finding> {
    const ID: &str = "token_expiry";
    if visit.token.own {
        return None;
    }
    let life = visit.token.lifetime?;
    Some(
        if life < Duration::from_secs(3600) && !visit.token.renewable {
            Finding::new(
                State::Warning,
                ID,
                format!("the user's own token ends in {} s", life.as_secs()),
                "what was lent ends with it",
            )
            .cured_by(Cure::Command("bao login".to_owned()))
        } else {
            Finding::ok(
                ID,
                format!(
                    "the user's own token ends in {} s, unless it is renewed",
                    life.as_secs()
                ),
            )
        },
    )
}

/// Looks at the client certificate, without any server.
pub(super) fn certificate(environment: &Environment, now: SystemTime) -> Option<Finding> {
    let file = environment.server.as_ref()?.client_cert.as_ref()?;
    Some(of_certificate(file, now).of(&environment.name))
}

fn of_certificate(file: &Path, now: SystemTime) -> Finding {
    const ID: &str = "certificate_expiry";
    const WHY: &str = "no connection comes about with a certificate whose time is over";
    let shown = file.display();
    let replace = || {
        Cure::Action(format!(
            "have a new one issued into `{shown}` (`bao write pki/issue/ROLE common_name=…`), and its key beside it"
        ))
    };
    let read = std::fs::read_to_string(file).ok();
    let Some((begins, ends)) = read.as_deref().and_then(validity) else {
        return Finding::new(
            State::NotProven,
            ID,
            format!("when `{shown}` ends cannot be read from it"),
            WHY,
        )
        .cured_by(replace());
    };
    if now < begins {
        return Finding::new(
            State::Failure,
            ID,
            format!(
                "`{shown}` is valid from {} on",
                humantime::format_rfc3339_seconds(begins)
            ),
            WHY,
        )
        .cured_by(replace());
    }
    if now >= ends {
        return Finding::new(
            State::Failure,
            ID,
            format!(
                "`{shown}` ended at {}",
                humantime::format_rfc3339_seconds(ends)
            ),
            WHY,
        )
        .cured_by(replace());
    }
    let life = ends.duration_since(begins).unwrap_or_default();
    let left = left(ends, now);
    if left < SOON.min(life / 10) {
        return Finding::new(
            State::Warning,
            ID,
            format!("`{shown}` ends in {} s", left.as_secs()),
            WHY,
        )
        .cured_by(replace());
    }
    Finding::ok(
        ID,
        format!("`{shown}` ends in {} days", left.as_secs() / A_DAY),
    )
}

fn left(end: SystemTime, now: SystemTime) -> Duration {
    end.duration_since(now).unwrap_or_default()
}

/// From when and until when the first certificate of a PEM file is valid (RFC 5280, 4.1).
fn validity(pem: &str) -> Option<(SystemTime, SystemTime)> {
    let (_, rest) = pem.split_once("-----BEGIN CERTIFICATE-----")?;
    let (body, _) = rest.split_once("-----END CERTIFICATE-----")?;
    let text: String = body.split_whitespace().collect();
    let der = STANDARD.decode(text).ok()?;
    let (certificate, _) = element(&der, 0x30)?;
    let (mut fields, _) = element(certificate, 0x30)?;
    // [0] version, where it is said; then serial number, signature and issuer.
    if let Some((_, after)) = element(fields, 0xa0) {
        fields = after;
    }
    for tag in [0x02, 0x30, 0x30] {
        (_, fields) = element(fields, tag)?;
    }
    let (validity, _) = element(fields, 0x30)?;
    let (begins, rest) = time(validity)?;
    let (ends, _) = time(rest)?;
    Some((begins, ends))
}

/// The content of a DER element of this tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let [found, length, rest @ ..] = der else {
        return None;
    };
    if *found != tag {
        return None;
    }
    let (length, rest) = match usize::from(*length) {
        short if short < 0x80 => (short, rest),
        long => {
            let (bytes, rest) = rest.split_at_checked(long & 0x7f)?;
            if bytes.is_empty() || bytes.len() > 4 {
                return None;
            }
            let length = bytes
                .iter()
                .fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
            (length, rest)
        }
    };
    rest.split_at_checked(length)
}

/// UTCTime or GeneralizedTime, both to the second and in UTC.
fn time(der: &[u8]) -> Option<(SystemTime, &[u8])> {
    let (text, rest, is_short) = match (element(der, 0x17), element(der, 0x18)) {
        (Some((text, rest)), _) => (text, rest, true),
        (None, Some((text, rest))) => (text, rest, false),
        (None, None) => return None,
    };
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    if !text.bytes().all(|byte| byte.is_ascii_digit())
        || text.len() != if is_short { 12 } else { 14 }
    {
        return None;
    }
    let (year, rest_of_it) = text.split_at(text.len() - 10);
    let year: u32 = year.parse().ok()?;
    let year = match (is_short, year) {
        (true, 50..) => 1900 + year,
        (true, _) => 2000 + year,
        (false, year) => year,
    };
    let part = |at: usize| &rest_of_it[at..at + 2];
    let written = format!(
        "{year:04}-{}-{}T{}:{}:{}Z",
        part(0),
        part(2),
        part(4),
        part(6),
        part(8)
    );
    // humantime knows no time before 1970.
    let time = if year < 1970 {
        UNIX_EPOCH
    } else {
        humantime::parse_rfc3339(&written).ok()?
    };
    Some((time, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate as far as its times, by hand.
    fn pem(begins: &str, ends: &str, tag: u8) -> String {
        let wrap = |tag: u8, content: &[u8]| {
            let mut der = vec![tag, 0x82];
            der.extend(u16::try_from(content.len()).expect("short").to_be_bytes());
            der.extend(content);
            der
        };
        let time = |text: &str| {
            [
                &[tag, u8::try_from(text.len()).expect("short")],
                text.as_bytes(),
            ]
            .concat()
        };
        let fields = [
            wrap(0xa0, &[2, 1, 2]),
            wrap(0x02, &[7]),
            wrap(0x30, &[]),
            wrap(0x30, &[]),
            wrap(0x30, &[time(begins), time(ends)].concat()),
        ]
        .concat();
        let der = wrap(0x30, &wrap(0x30, &fields));
        format!(
            "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
            STANDARD.encode(der)
        )
    }

    #[test]
    fn a_certificate_s_times_are_read_in_both_forms() {
        let at = |text: &str| humantime::parse_rfc3339(text).expect("a time");
        assert_eq!(
            validity(&pem("250102030405Z", "491231235959Z", 0x17)),
            Some((at("2025-01-02T03:04:05Z"), at("2049-12-31T23:59:59Z")))
        );
        assert_eq!(
            validity(&pem("20250102030405Z", "20550102030405Z", 0x18)),
            Some((at("2025-01-02T03:04:05Z"), at("2055-01-02T03:04:05Z")))
        );
    }

    #[test]
    fn what_is_no_certificate_has_no_times() {
        let whole = pem("250102030405Z", "491231235959Z", 0x17);
        let body: Vec<u8> = STANDARD
            .decode(whole.lines().nth(1).expect("a line"))
            .expect("base64");
        for end in 0..body.len() {
            let cut = format!(
                "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
                STANDARD.encode(&body[..end])
            );
            assert_eq!(validity(&cut), None, "cut at {end}");
        }
        for odd in [
            "",
            "-----BEGIN CERTIFICATE-----\n",
            "x",
            &pem("2501020304é5", "491231235959Z", 0x17),
        ] {
            assert_eq!(validity(odd), None, "{odd}");
        }
    }
}

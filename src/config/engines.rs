//! The secrets engines that are known: how each of their paths is asked, what it answers, and how what it lends ends.
//!
//! What a path is not known for is nothing against it: it is read as it stands, and the answer tells. This table says beforehand
//! what the answer cannot be asked for: `plan`'s requests and policy, placeholders that fit, what no revocation ends. Where both
//! speak, the answer counts.
//!
//! From the engines' own sources (HashiCorp's plugins and OpenBao 2.7, November 2026); database, KV, PKI, SSH, transit,
//! cubbyhole and kubernetes are also run in the tests.
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

/// A path of an engine.
#[derive(Debug, PartialEq, Eq)]
pub struct EnginePath {
    /// The engine, as `vault secrets enable` and `engine:` name it; also where it is mounted unless somebody said otherwise.
    pub engine: &'static str,
    /// The path below the mount; `*` is a name.
    pub below: &'static str,
    /// How it is asked.
    pub asked: Asked,
    /// Whether the request takes `ttl`.
    pub takes_ttl: bool,
    /// What the request's data must hold.
    pub needs: &'static [&'static str],
    /// The fields that it may answer.
    pub fields: &'static [&'static str],
    /// Of these, what every answer holds and another path's of the engine may not.
    pub surely: &'static [&'static str],
    /// Whether a lease comes with it.
    pub lease: Leased,
    /// What ends it.
    pub end: End,
}

/// How a path is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// GET alone.
    Read,
    /// POST alone, also without data.
    Write,
    /// GET, or POST with data.
    Either,
}

/// Whether a lease comes with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leased {
    /// Always, and it can be renewed.
    Renewable,
    /// Always, and its end is fixed.
    Fixed,
    /// Where the engine's role says so.
    Perhaps,
    /// Never.
    Never,
}

/// What ends a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its lease's revocation.
    Revocation,
    /// The same, which checks the account in under a new password. The engine's own `check-in` would leave the lease behind, whose end
    /// checks the account in a second time: then under whoever has it by then.
    CheckIn,
    /// An IAM user's key ends by revocation. A session's key ends by its time alone, whatever Vault answers to a revocation: AWS knows
    /// none.
    Session,
    /// Revocation deletes what the engine made. A token of a service account that was there before ends by its time alone.
    WhatItMade,
    /// Its time alone.
    Time,
    /// The next rotation.
    Rotation,
    /// Nothing: it stands until somebody changes it.
    Nothing,
}

/// What a lease's revocation does to the credential.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Revocation {
    /// It ends it: the server's word on the one is its word on the other.
    #[default]
    Ends,
    /// It ends it, or not: the answer does not tell.
    Unsure,
    /// Nothing.
    Nothing,
}

impl EnginePath {
    /// Whether a lease may come that is to be given back.
    pub fn may_lease(&self) -> bool {
        !matches!(
            (self.lease, self.end),
            (Leased::Never, _) | (Leased::Fixed, End::Time)
        )
    }

    /// What ends it, for people; none where a revocation does, which is the rule.
    pub fn ends(&self) -> Option<&'static str> {
        Some(match self.end {
            End::Revocation => return None,
            End::CheckIn => "checked in by the revocation of its lease",
            End::Session => "an IAM user's key is revoked; a session's ends by its time alone",
            End::WhatItMade => {
                "revoked where its role makes the service account; else its token ends by its time alone"
            }
            End::Time if self.lease == Leased::Perhaps => {
                "not revocable unless its role has `generate_lease`: ends by its time alone"
            }
            End::Time => "not revocable: ends by its time alone",
            End::Rotation => "not revocable: ends at its next rotation",
            End::Nothing => "not revocable: stands until it is changed",
        })
    }

    /// What the revocation of a lease on it does; `has_session` where the answer holds a session's token.
    pub fn revocation(&self, has_session: bool) -> Revocation {
        match self.end {
            End::Session | End::Time if has_session => Revocation::Nothing,
            End::WhatItMade => Revocation::Unsure,
            _ => Revocation::Ends,
        }
    }

    /// Whether a path below the engine's mount is this one.
    fn is(&self, rest: &str) -> bool {
        let (head, tail) = self.below.split_once('*').unwrap_or((self.below, ""));
        rest.strip_prefix(head)
            .and_then(|rest| rest.strip_suffix(tail))
            .is_some_and(|name| !name.is_empty())
    }
}

/// The paths of an engine; none for one that is not known.
pub fn of_engine(engine: &str) -> Vec<&'static EnginePath> {
    PATHS.iter().filter(|path| path.engine == engine).collect()
}

/// The engine's path that a path below its mount is.
pub(super) fn below(engine: &str, rest: &str) -> Option<&'static EnginePath> {
    PATHS
        .iter()
        .find(|path| path.engine == engine && path.is(rest))
}

/// The names that `engine:` takes, beside `kv1` and `kv2`.
pub(super) fn names() -> Vec<&'static str> {
    let mut names: Vec<&str> = PATHS.iter().map(|path| path.engine).collect();
    names.dedup();
    names
}

const NONE: &[&str] = &[];
const DATABASE: &[&str] = &[
    "username",
    "password",
    "rsa_private_key",
    "client_certificate",
    "private_key",
    "private_key_type",
];
const DATABASE_STATIC: &[&str] = &[
    "username",
    "password",
    "rsa_private_key",
    "ttl",
    "rotation_period",
    "last_vault_rotation",
];
const AWS: &[&str] = &[
    "access_key",
    "secret_key",
    "session_token",
    "security_token",
    "arn",
    "ttl",
];
const GCP_TOKEN: &[&str] = &["token", "token_ttl", "expires_at_seconds"];
const GCP_KEY: &[&str] = &["private_key_data", "key_algorithm", "key_type"];

const fn path(
    (engine, below): (&'static str, &'static str),
    asked: Asked,
    fields: &'static [&'static str],
    lease: Leased,
    end: End,
) -> EnginePath {
    EnginePath {
        engine,
        below,
        asked,
        takes_ttl: false,
        needs: NONE,
        fields,
        surely: NONE,
        lease,
        end,
    }
}

const fn with_ttl(path: EnginePath) -> EnginePath {
    EnginePath {
        takes_ttl: true,
        ..path
    }
}

const fn needing(path: EnginePath, needs: &'static [&'static str]) -> EnginePath {
    EnginePath { needs, ..path }
}

/// All that are known, an engine's together.
#[rustfmt::skip]
pub const PATHS: &[EnginePath] = &[
    path(("database", "creds/*"), Asked::Read, DATABASE, Leased::Renewable, End::Revocation),
    path(("database", "static-creds/*"), Asked::Read, DATABASE_STATIC, Leased::Never, End::Rotation),
    with_ttl(path(("aws", "creds/*"), Asked::Either, AWS, Leased::Renewable, End::Session)),
    EnginePath {
        surely: &["session_token"],
        ..with_ttl(path(("aws", "sts/*"), Asked::Either, AWS, Leased::Fixed, End::Time))
    },
    path(("aws", "static-creds/*"), Asked::Read, &["access_key", "secret_key", "expiration"], Leased::Never, End::Rotation),
    path(("gcp", "roleset/*/token"), Asked::Either, GCP_TOKEN, Leased::Never, End::Time),
    path(("gcp", "static-account/*/token"), Asked::Either, GCP_TOKEN, Leased::Never, End::Time),
    path(("gcp", "impersonated-account/*/token"), Asked::Either, GCP_TOKEN, Leased::Never, End::Time),
    path(("gcp", "token/*"), Asked::Either, GCP_TOKEN, Leased::Never, End::Time),
    with_ttl(path(("gcp", "roleset/*/key"), Asked::Either, GCP_KEY, Leased::Renewable, End::Revocation)),
    with_ttl(path(("gcp", "static-account/*/key"), Asked::Either, GCP_KEY, Leased::Renewable, End::Revocation)),
    with_ttl(path(("gcp", "key/*"), Asked::Either, GCP_KEY, Leased::Renewable, End::Revocation)),
    path(("azure", "creds/*"), Asked::Read, &["client_id", "client_secret"], Leased::Renewable, End::Revocation),
    with_ttl(path(
        ("pki", "issue/*"), Asked::Write,
        &["certificate", "issuing_ca", "ca_chain", "private_key", "private_key_type", "serial_number", "expiration"],
        Leased::Perhaps, End::Time,
    )),
    path(("ssh", "creds/*"), Asked::Write, &["key", "key_type", "username", "ip", "port"], Leased::Fixed, End::Revocation),
    needing(with_ttl(path(("ssh", "sign/*"), Asked::Write, &["signed_key", "serial_number"], Leased::Never, End::Time)), &["public_key"]),
    with_ttl(path(
        ("ssh", "issue/*"), Asked::Write,
        &["private_key", "private_key_type", "signed_key", "serial_number"], Leased::Never, End::Time,
    )),
    with_ttl(path(
        ("kubernetes", "creds/*"), Asked::Write,
        &["service_account_token", "service_account_name", "service_account_namespace"], Leased::Fixed, End::WhatItMade,
    )),
    path(("ldap", "creds/*"), Asked::Read, &["username", "password", "distinguished_names"], Leased::Renewable, End::Revocation),
    path(
        ("ldap", "static-cred/*"), Asked::Read,
        &["username", "password", "dn", "ttl", "rotation_period", "last_password", "last_vault_rotation"],
        Leased::Never, End::Rotation,
    ),
    with_ttl(path(
        ("ldap", "library/*/check-out"), Asked::Write, &["service_account_name", "password"], Leased::Renewable, End::CheckIn,
    )),
    needing(path(("transit", "decrypt/*"), Asked::Write, &["plaintext"], Leased::Never, End::Nothing), &["ciphertext"]),
    path(("cubbyhole", "*"), Asked::Read, NONE, Leased::Never, End::Nothing),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_found_by_its_engine_and_shape() {
        for (engine, rest, found) in [
            ("database", "creds/dbt-prod", Some("creds/*")),
            ("database", "static-creds/dbt", Some("static-creds/*")),
            ("gcp", "roleset/dbt/token", Some("roleset/*/token")),
            ("gcp", "roleset/dbt/key", Some("roleset/*/key")),
            ("gcp", "token/dbt", Some("token/*")),
            // Names of LDAP's sets may hold slashes.
            (
                "ldap",
                "library/team/dbt/check-out",
                Some("library/*/check-out"),
            ),
            ("ldap", "library/check-out", None),
            ("database", "creds/", None),
            ("database", "roles/dbt", None),
            ("oracle", "creds/x", None),
        ] {
            assert_eq!(
                below(engine, rest).map(|path| path.below),
                found,
                "{engine}/{rest}"
            );
        }
    }

    #[test]
    fn engines_stand_together_and_no_path_twice() {
        let mut names = names();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "an engine stands in two places");
        let mut paths: Vec<_> = PATHS.iter().map(|path| (path.engine, path.below)).collect();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), PATHS.len());
    }

    #[test]
    fn a_session_of_aws_is_never_called_revoked() {
        let sts = below("aws", "sts/dbt").expect("known");
        let creds = below("aws", "creds/dbt").expect("known");
        assert_eq!(sts.revocation(true), Revocation::Nothing);
        assert_eq!(creds.revocation(true), Revocation::Nothing);
        assert_eq!(creds.revocation(false), Revocation::Ends);
    }
}

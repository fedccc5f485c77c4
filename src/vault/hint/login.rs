//! What to do about a refused login: each method has words of its own, which Vault's source and the servers themselves gave.
#![forbid(unsafe_code)]

use crate::vault::error::Refusal;

/// The cure, and what the credential says of itself.
pub(super) fn of(
    refusal: &Refusal,
    (method, mount): (&str, &str),
    role: Option<&str>,
    about: Option<&str>,
) -> Option<String> {
    let login = Login {
        refusal,
        method,
        mount,
        role: role.unwrap_or("ROLE"),
    };
    let of_method = match method {
        "approle" => login.approle(),
        "aws" => login.aws(),
        "cert" => login.cert(),
        "kubernetes" => login.kubernetes(),
        "ldap" => login.ldap(),
        "okta" => login.okta(),
        "userpass" => login.userpass(),
        _ => None,
    };
    let cure = of_method
        .or_else(|| login.identity_token())
        .or_else(|| login.no_mount());
    match (cure, about) {
        (Some(cure), Some(about)) => Some(format!("{cure}; {about}")),
        (None, Some(about)) => Some(about.to_owned()),
        (cure, None) => cure,
    }
}

/// A login that was refused.
struct Login<'a> {
    refusal: &'a Refusal,
    method: &'a str,
    mount: &'a str,
    role: &'a str,
}

impl Login<'_> {
    fn says(&self, words: &str) -> bool {
        self.refusal.says(words)
    }

    /// Go's words where a server of Vault's own reaches no other one.
    fn does_not_reach(&self) -> bool {
        ["dial tcp", "no such host", "deadline exceeded", "x509:"]
            .iter()
            .any(|words| self.says(words))
    }

    fn role_of(&self) -> String {
        format!("`bao read auth/{}/role/{}`", self.mount, self.role)
    }

    fn approle(&self) -> Option<String> {
        let (mount, role) = (self.mount, self.role);
        (self.refusal.code == 400).then(|| {
            format!(
                "the role id or the secret id is wrong, expired, used up, or bound to other addresses (Vault does not say which): \
                 issue a new secret id (`bao write -f auth/{mount}/role/{role}/secret-id`)"
            )
        })
    }

    fn userpass(&self) -> Option<String> {
        (self.refusal.code == 400).then(|| {
            "the name or the password is wrong, or the account is locked for a while (Vault does not say which)".to_owned()
        })
    }

    fn ldap(&self) -> Option<String> {
        if self.refusal.code != 400 {
            return None;
        }
        let mount = self.mount;
        // Vault answers 400 to all of it: its own words tell them apart (go-ldap's result 200 is `Network Error`).
        Some(
            if self.says("error connecting to host")
                || self.says("network error")
                || self.says("failed to connect")
            {
                format!(
                    "Vault does not reach the directory: `bao read auth/{mount}/config` (url, certificate), then the directory itself"
                )
            } else if self.says("not configured") {
                format!(
                    "nobody has told Vault of the directory: `bao write auth/{mount}/config url=… userdn=…`"
                )
            } else if self.says("binddn user") {
                format!(
                    "the directory takes the person, and not Vault's own account: `binddn` and `bindpass` of `bao read auth/{mount}/config`"
                )
            } else {
                "the name or the password is wrong, or the account is locked for a while (Vault does not say which)".to_owned()
            },
        )
    }

    fn okta(&self) -> Option<String> {
        if self.refusal.code != 400 {
            return None;
        }
        let mount = self.mount;
        Some(if self.does_not_reach() {
            format!(
                "Vault does not reach Okta: `vault read auth/{mount}/config` (org_name, base_url), then https://status.okta.com"
            )
        } else if self.says("not configured") {
            format!(
                "nobody has told Vault of the organization: `vault write auth/{mount}/config org_name=…`"
            )
        } else if self.says("authentication denied") {
            "the login was refused on the other device: where that was not you, somebody has the password".to_owned()
        } else if self.says("failed to complete multi-factor") {
            "nobody approved the login on the other device in time: run again".to_owned()
        } else if self.says("'totp' passcode") {
            "the account has a code and no push: `second_factor: totp` (or `google-totp`)"
                .to_owned()
        } else if self.says("nonce must be provided") {
            "Okta asks for a number to choose: `second_factor: push`".to_owned()
        } else if self.says("factor is required") || self.says("mfa enrollment") {
            "the account has no second factor that Vault can use: set Okta Verify up at Okta first"
                .to_owned()
        } else {
            "the name or the password is wrong, or expired, or the account is locked (Vault does not say which)".to_owned()
        })
    }

    fn cert(&self) -> Option<String> {
        let mount = self.mount;
        match self.refusal.code {
            // Vault verifies the time of one that a role knows, and fails at it: 500.
            _ if self.says("certificate has expired or is not yet valid") => Some(
                "the time of `client_cert` is over, or has not come (`openssl x509 -noout -dates -in FILE`): have it issued again; or a clock is wrong (`date`)"
                    .to_owned(),
            ),
            // `invalid certificate or no client certificate supplied` is said of one that was seen, too.
            400 if self.says("tls connection required") || self.says("no client certificate found") => Some(
                "none was seen: it can be shown over https alone, and what ends TLS before Vault (a proxy) must pass it on; check `vault.address`"
                    .to_owned(),
            ),
            400 => Some(format!(
                "no certificate role of the mount knows `client_cert` (its authority, its names), its time is over \
                 (`openssl x509 -noout -dates -in FILE`), or there is no role of the `name:`: `bao list auth/{mount}/certs`"
            )),
            _ => None,
        }
    }

    fn kubernetes(&self) -> Option<String> {
        // The mount compares the audience by itself, before the cluster is asked.
        if self.refusal.code != 403 || self.says("audience") {
            return None;
        }
        Some(if self.says("not authorized") {
            format!(
                "the role is bound to another service account or namespace than this pod's: {}",
                self.role_of()
            )
        } else {
            format!(
                "the cluster does not accept the token (expired, another cluster's, another audience), or kubernetes is not enabled at `auth/{}` (`bao auth list`)",
                self.mount
            )
        })
    }

    fn aws(&self) -> Option<String> {
        let mount = self.mount;
        // STS is quoted by Vault: its codes are AWS's own.
        Some(if self.says("server-id") {
            format!(
                "the mount demands another server id: set `server_id:` to `bao read auth/{mount}/config/client` (iam_server_id_header_value)"
            )
        } else if self.says("entry for role") {
            format!(
                "there is no such role: `bao list auth/{mount}/role`, or correct `role:` in dbt-lease.yml"
            )
        } else if self.says("does not belong to") || self.says("not authorized") {
            format!(
                "the role is bound to another principal than this machine's: `bound_iam_principal_arn` of {}",
                self.role_of()
            )
        } else if self.says("expiredtoken") || self.says("request has expired") {
            "AWS says that this access is expired, or this machine's clock is wrong (`date`): have it issued again (`aws sso login`, a new session)".to_owned()
        } else if self.says("invalidclienttokenid") {
            "AWS does not know this access: it is deleted, inactive or another partition's (`aws sts get-caller-identity`)".to_owned()
        } else if self.says("signature") {
            "AWS does not accept the signature: the access is wrong, expired or revoked, or this machine's clock is (`date`)".to_owned()
        } else if self.does_not_reach() {
            format!(
                "Vault does not reach STS: `bao read auth/{mount}/config/client` (sts_endpoint, sts_region)"
            )
        } else {
            return None;
        })
    }

    /// What jwt says of a token; kubernetes and oidc share its words.
    fn identity_token(&self) -> Option<String> {
        let mount = self.mount;
        let audience = || {
            format!(
                "the role's `{}` and the token's audience differ: set one to the other ({})",
                if self.method == "kubernetes" {
                    "audience"
                } else {
                    "bound_audiences"
                },
                self.role_of()
            )
        };
        if self.method == "kubernetes" && self.says("audience") {
            return Some(audience());
        }
        if self.refusal.code != 400 {
            return None;
        }
        Some(
            if self.says("could not be found") || self.says("invalid role name") {
                format!(
                    "there is no such role: `bao list auth/{mount}/role`, or correct `role:` in dbt-lease.yml"
                )
            } else if self.says("audience") {
                audience()
            } else if self.says("expired") {
                "the token's time is over, or a clock is wrong (`date`): a token is to be made for each run".to_owned()
            } else if self.says("issuer") {
                format!(
                    "the mount's `bound_issuer` is another one than the token's: `bao read auth/{mount}/config`"
                )
            } else if self.says("signature") || self.says("no known key") {
                format!(
                    "the token was not signed by a key of the mount's: is it this CI's? `bao read auth/{mount}/config` (jwks_url, oidc_discovery_url)"
                )
            } else if self.says("claim") && self.method == "oidc" {
                format!(
                    "the role is for other people or groups than whoever logged in: `bound_claims` of {}",
                    self.role_of()
                )
            } else if self.says("claim") {
                format!(
                    "the role is bound to another branch, environment or project than this run's: `bound_claims` of {}",
                    self.role_of()
                )
            } else {
                return None;
            },
        )
    }

    /// Vault answers 403 where nothing is mounted; and it answers no differently to a login that it has locked after wrong ones.
    fn no_mount(&self) -> Option<String> {
        if !matches!(self.refusal.code, 403 | 404) {
            return None;
        }
        let (mount, method) = (self.mount, self.method);
        let namespace = self
            .refusal
            .namespace
            .as_ref()
            .map_or(String::new(), |name| format!(" in namespace `{name}`"));
        Some(match method {
            "generic" => format!(
                "is a method enabled at `auth/{mount}`{namespace}? (`bao auth list`); else correct `path:`, or set `namespace:`"
            ),
            "approle" | "ldap" | "userpass" => format!(
                "is {method} enabled at `auth/{mount}`{namespace}? (`bao auth list`); else set `mount:` or `namespace:`. The same answer means \
                 that Vault has locked this login for some minutes after wrong ones: `bao read sys/locked-users`"
            ),
            _ => format!(
                "is {method} enabled at `auth/{mount}`{namespace}? (`bao auth list`); else set `mount:` or `namespace:`"
            ),
        })
    }
}

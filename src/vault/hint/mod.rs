//! What to do about the usual refusals.
#![forbid(unsafe_code)]

mod login;

use super::error::{
    AwsProblem, BrowserProblem, Cause, IdentityProblem, Missing, Place, Refusal, SourceProblem,
    Tampering, TlsProblem, Transport, VaultError, Wanted,
};

/// What a pod's own token is called in [`VaultError::Source`].
pub(super) const SERVICE_ACCOUNT: &str = "service account token";

/// The cure, where it is known.
pub(crate) fn of(error: &VaultError) -> Option<String> {
    match error {
        VaultError::Refused(refusal) => refused(refusal),
        VaultError::Transport(transport) => no_answer(transport),
        VaultError::Redirected { to, .. } => Some(format!(
            "if `{0}` is the same cluster's, set `vault.address` to it, or list both: `address: [HERE, {0}]`; else ask who stands between us and Vault",
            origin(to)
        )),
        VaultError::TooLarge { .. } | VaultError::BadAnswer { .. } => {
            Some("is that address Vault's? `curl ADDRESS/v1/sys/health` answers with its version".to_owned())
        }
        VaultError::NoData { why, asked } => no_data(why, &asked.wanted),
        VaultError::Wrapping { place, tampering } => Some(match tampering {
            Tampering::Spent => format!(
                "if no run of yours unwrapped it, treat the secret id as stolen: destroy it by the accessor that its \
                 wrapping answer showed; then wrap a new one into {place}"
            ),
            Tampering::Foreign { expected, .. } => format!(
                "find out who wrote {place}; a new one: `bao write -wrap-ttl=5m -f {expected}`"
            ),
        }),
        VaultError::Exchanged { .. } => Some(
            "somebody between this machine and Vault took the answer, or `wrap_ttl` is shorter than the way: look for the wrapping token's accessor in Vault's audit log".to_owned(),
        ),
        VaultError::SecondFactor { .. } => {
            Some("a person gives it on a terminal, never in CI; exempt a machine's role from the login enforcement (`identity/mfa/login-enforcement`), or use another method".to_owned())
        }
        VaultError::NoToken { .. } => Some("`bao login` writes ~/.vault-token; or set VAULT_TOKEN".to_owned()),
        VaultError::NobodyToAsk { method: "oidc", .. } => Some(
            "a person logs in on a terminal, never in CI; machines log in by another method (`method: jwt`)".to_owned(),
        ),
        VaultError::NobodyToAsk { what: "the second factor" | "the code", .. } => Some(
            "a person gives it on a terminal, never in CI; machines log in by another method (`method: jwt`), or by an account that is exempt \
             (`second_factor: none`)"
                .to_owned(),
        ),
        VaultError::NobodyToAsk { what, .. } => Some(format!(
            "{what} is asked for on a terminal alone, and never in CI; elsewhere say where it is: `password: {{file: FILE}}`"
        )),
        VaultError::Browser { mount, problem } => browser(mount, problem),
        VaultError::NoIdentity { why, .. } => Some(
            if why.contains("SPIFFE") {
                "let spiffe-helper write the token to a file, and name it: `token: {file: FILE}`"
            } else {
                "say where it is: `token: {file: FILE}`, `{env: VARIABLE}` or `{command: [PROGRAM, ARGUMENT]}`; people log in by another method (`method: oidc`)"
            }
            .to_owned(),
        ),
        VaultError::Aws(problem) => Some(
            match problem {
                AwsProblem::Nowhere { .. } => "`aws sts get-caller-identity` shows whether this machine has one; a profile is named by `profile:`",
                AwsProblem::Profile { .. } => "correct it, or name another one: `profile: NAME` (`aws configure list-profiles`)",
                AwsProblem::BadAnswer { .. } => "is that AWS's own endpoint? (AWS_ENDPOINT_URL_STS, AWS_CONTAINER_CREDENTIALS_FULL_URI)",
            }
            .to_owned(),
        ),
        VaultError::Identity { problem, .. } => identity(problem),
        VaultError::Source { what, place, problem } => source(what, place, problem),
        VaultError::Settings { .. } => None,
    }
}

fn refused(refusal: &Refusal) -> Option<String> {
    if !refusal.from_vault {
        return Some(if refusal.says("http request to an https server") {
            "the server speaks https: write `https://` in `vault.address`".to_owned()
        } else {
            "a proxy, or something that is not Vault, answers there: check `vault.address`"
                .to_owned()
        });
    }
    match refusal.code {
        503 if refusal.says("sealed") => {
            Some("Vault is sealed: an operator has to unseal it (`bao operator unseal`), then run again".to_owned())
        }
        429 if refusal.says("lease count") => Some(
            "this path has as many leases as its quota allows: end what is left (`dbt-lease sweep`), set `start_jitter:`, or raise it (`bao list sys/quotas/lease-count`)".to_owned(),
        ),
        472 | 473 => Some("this node is a secondary or a standby: set `vault.address` to the primary, or list its nodes".to_owned()),
        429 => Some(
            "a quota of Vault's is used up: start fewer runs at once, or raise it (`bao list sys/quotas/rate-limit`)".to_owned(),
        ),
        404 if refusal.says("namespace not found") => {
            Some(format!("check `vault.namespace`{}", refusal.namespace.as_ref().map_or(String::new(), |name| format!(": Vault has no `{name}`"))))
        }
        _ => match &refusal.asked.wanted {
            Wanted::Login {
                method,
                mount,
                role,
                about,
            } => login::of(refusal, (method, mount), role.as_deref(), about.as_deref()),
            Wanted::SecondFactor { .. } => Some(
                "the code is wrong, was used before, or came too late: run again and type a fresh one".to_owned(),
            ),
            wanted @ Wanted::Secret { .. } => secret(refusal, wanted),
            wanted if refusal.code == 403 => denied(wanted),
            Wanted::RevokeLease { .. } if refusal.says("failed to revoke") || matches!(refusal.code, 400 | 500) => Some(
                "the database refuses to drop the user (often: it owns objects): drop it by hand, and correct the role's \
                 creation and revocation statements"
                    .to_owned(),
            ),
            _ => None,
        },
    }
}

fn browser(mount: &str, problem: &BrowserProblem) -> Option<String> {
    match problem {
        BrowserProblem::Port { .. } => Some(
            "another login waits there, or another program: end it, or set `port:` (the role must allow `http://localhost:PORT/oidc/callback`)"
                .to_owned(),
        ),
        BrowserProblem::NotAllowed { role, redirect_uri } if redirect_uri.is_empty() => Some(format!(
            "is there such a role, with `callback_mode=device`? `bao read auth/{mount}/role/{role}`"
        )),
        BrowserProblem::NotAllowed { role, redirect_uri } => Some(format!(
            "is there such a role, and does it allow the way back? `bao read auth/{mount}/role/{role}` (allowed_redirect_uris: `{redirect_uri}`)"
        )),
        BrowserProblem::Refused { .. } => {
            Some("log in as somebody who may, or have the provider's administrator allow it".to_owned())
        }
        BrowserProblem::TooLate { .. } => Some(
            "run again; where the browser is on another machine, forward the port (`ssh -L 8250:localhost:8250`) or use `mode: device`".to_owned(),
        ),
        BrowserProblem::NoAddress => None,
    }
}

fn identity(problem: &IdentityProblem) -> Option<String> {
    match problem {
        IdentityProblem::NotSet { cure, .. } => Some(cure.clone()),
        IdentityProblem::NotAnAddress { .. } => None,
        IdentityProblem::Refused { .. } | IdentityProblem::NoToken { .. } => Some(
            "run the job again; where that does not help, look at the system's own status"
                .to_owned(),
        ),
        IdentityProblem::NoAnswer { .. } => {
            Some("may this machine reach it? (HTTPS_PROXY is obeyed)".to_owned())
        }
    }
}

fn secret(refusal: &Refusal, wanted: &Wanted) -> Option<String> {
    let Wanted::Secret { path, .. } = wanted else {
        return None;
    };
    match refusal.code {
        403 => denied(wanted),
        400 if refusal.says("unknown role") => {
            let (mount, _) = path.split_once('/').unwrap_or((path, ""));
            Some(format!("the engine at `{mount}` has no such role: `bao list {mount}/roles`, or correct the path in dbt-lease.yml"))
        }
        400 if refusal.says("one use left") => {
            Some("the login's role has `token_num_uses`: set it to 0, a token of few uses cannot hold a lease".to_owned())
        }
        404 if refusal.says("no handler for route") => {
            Some("no engine is mounted there: `bao secrets list`; correct the path, the `mount:` or the `namespace:`".to_owned())
        }
        404 => Some("nothing stands at this path; for a KV version 2 say `engine: kv2`, for a version 1 `engine: kv1`".to_owned()),
        405 => Some("the engine does not take this operation: `data:` makes it a write, without `data:` it is a read".to_owned()),
        _ => None,
    }
}

/// A token's policies lack something; or the token itself is no more: Vault says the same to both.
fn denied(wanted: &Wanted) -> Option<String> {
    match wanted {
        Wanted::LookupToken { place: Some(place) } => {
            let line = wanted.policy().unwrap_or_default();
            let next = match place {
                Place::Command(words) => format!("run it by hand: `{words}`"),
                _ => "`bao login` makes a new one".to_owned(),
            };
            Some(format!(
                "the token is wrong, expired, revoked, or another Vault's: {next}; or it is good, and its policies lack: {line}"
            ))
        }
        wanted => wanted
            .policy()
            .map(|line| format!("its policy lacks: {line}")),
    }
}

fn no_answer(transport: &Transport) -> Option<String> {
    match &transport.cause {
        Cause::Name(_) | Cause::Connect(_) if transport.proxy.is_some() => transport.proxy.as_ref().map(|(proxy, said)| {
            format!("does the proxy {proxy} let this machine reach Vault? {said} says to use it; NO_PROXY, or `http_proxy: none`, goes around it")
        }),
        Cause::Name(_) => Some("check the host in `vault.address` (or BAO_ADDR, VAULT_ADDR), and this machine's DNS".to_owned()),
        Cause::Connect(_) => {
            Some("is Vault running there, and may this machine reach it? check `vault.address` (or BAO_ADDR, VAULT_ADDR)".to_owned())
        }
        Cause::Tls(problem) => tls(problem),
        Cause::NoAnswer { .. } => Some("Vault, or the database behind it, is slow or hangs; `vault.timeout` is the bound".to_owned()),
        Cause::Lost(_) => None,
    }
}

fn tls(problem: &TlsProblem) -> Option<String> {
    match problem {
        TlsProblem::UnknownIssuer => {
            Some("set `vault.ca_cert` (or BAO_CACERT, VAULT_CACERT) to the PEM file of the authority that signed it".to_owned())
        }
        TlsProblem::WrongName(_) => {
            Some("use the host that the certificate names in `vault.address`, or set `vault.tls_server_name` to it".to_owned())
        }
        TlsProblem::Expired(_) => Some("the server's certificate must be renewed; or this machine's clock is wrong (`date`)".to_owned()),
        TlsProblem::NotTls => Some("the server speaks http there: check scheme and port of `vault.address`".to_owned()),
        TlsProblem::ClientCertificate(_) => Some("set `vault.client_cert` and `vault.client_key` to a pair that the server trusts".to_owned()),
        TlsProblem::Certificate(_) | TlsProblem::Other(_) => None,
    }
}

fn no_data(why: &Missing, wanted: &Wanted) -> Option<String> {
    let path = match wanted {
        Wanted::Secret { path, .. } => path.as_str(),
        _ => "",
    };
    match why {
        Missing::Deleted { version, .. } => Some(format!(
            "`bao write {} versions={version}` restores it; or write a new version",
            path.replacen("/data/", "/undelete/", 1)
        )),
        Missing::Destroyed { .. } => Some(format!(
            "nothing restores it: write a new version to `{path}`"
        )),
        Missing::IsKvV2 => Some("set `engine: kv2` at this secret in dbt-lease.yml".to_owned()),
        Missing::IsNotKvV2 => Some(
            "is this a KV version 1? set `engine: kv1` at this secret in dbt-lease.yml".to_owned(),
        ),
        Missing::Empty => Some(format!(
            "does `{path}` give credentials? `bao read {path}` shows what it gives"
        )),
    }
}

fn source(what: &str, place: &Place, problem: &SourceProblem) -> Option<String> {
    match (place, problem) {
        (Place::File(_), SourceProblem::NoFile) if what == SERVICE_ACCOUNT => Some(
            "no pod runs this, or its service account's token is not mounted (`automountServiceAccountToken`); a projected one is named by \
             `token: {file: FILE}`"
                .to_owned(),
        ),
        (Place::Variable(name), SourceProblem::NotSet | SourceProblem::Empty) => Some(format!(
            "set {name} in the environment of this run (a CI's secret, masked)"
        )),
        (Place::Command(_), SourceProblem::NoProgram) => Some(
            "install it, or correct `command:` in dbt-lease.yml; a path that begins with `./` is below dbt-lease.yml".to_owned(),
        ),
        (Place::Command(words), SourceProblem::Failed { .. } | SourceProblem::TooSlow { .. }) => {
            Some(format!("run it by hand: `{words}`"))
        }
        (Place::Command(words), SourceProblem::NotText | SourceProblem::Empty) => Some(format!(
            "it is to print the value alone, in one line: `{words}`"
        )),
        (_, SourceProblem::OtherAudience { .. }) => Some(
            "have the token made for the audience that dbt-lease.yml names, or correct `audience:`".to_owned(),
        ),
        (Place::File(path), SourceProblem::NotAllowed) => Some(format!(
            "run as its owner, or let this user read it: `ls -l {}`",
            path.display()
        )),
        (Place::File(path), SourceProblem::NoFile | SourceProblem::Empty) => Some(format!(
            "write the value to `{}`, mode 0600, or correct the path in dbt-lease.yml",
            path.display()
        )),
        (Place::File(_), SourceProblem::NotAFile) => {
            Some("name a file that holds the value and nothing else".to_owned())
        }
        _ => None,
    }
}

/// Scheme and authority of an address.
fn origin(address: &str) -> &str {
    let start = address.find("://").map_or(0, |at| at + 3);
    address[start..]
        .find('/')
        .map_or(address, |end| &address[..start + end])
}

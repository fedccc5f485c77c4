//! Isolation, shown: each identity that is here must be refused every other environment's paths, which capabilities-self tells without a
//! side effect, and its login roles, which a login attempt tells. What is not here is not proven.
#![forbid(unsafe_code)]

use std::rc::Rc;

use super::finding::{Cure, Finding, State, write};
use super::permissions::narrowed;
use super::visit::{CAPABILITIES, Visit, secrets};
use super::{Held, Looker};
use crate::config::{Across, Auth, Environment, Server};
use crate::vault::auth;
use crate::vault::look;

const PATHS: &str = "isolation_paths";
const LOGIN: &str = "isolation_login";
const WHY: &str = "whoever is the one can be the other: the trust between the two is then one";

/// What all identities that are here show of each other and of the others.
pub(super) async fn look(
    looker: &Looker<'_>,
    visits: &[Visit<'_>],
    chosen: &[&Environment],
    held: &Held,
) -> Vec<Finding> {
    let mut found = shared_roles(visits);
    for visit in visits {
        if visit.token.is_root {
            continue;
        }
        for other in &looker.config.environments {
            let (Some(server), Some(auth)) = (&other.server, &other.auth) else {
                continue;
            };
            if other.name == visit.environment.name {
                continue;
            }
            found.push(paths(looker, visit, other, server).await);
            found.push(login(looker, visit, other, (server, auth), held).await);
        }
    }
    for environment in chosen {
        let is_here = visits
            .iter()
            .any(|visit| visit.environment.name == environment.name);
        let others = looker
            .config
            .environments
            .iter()
            .filter(|other| other.auth.is_some() && other.name != environment.name);
        if !is_here && environment.auth.is_some() && others.count() > 0 {
            found.push(
                Finding::new(
                    State::NotProven,
                    "isolation",
                    format!("that {}'s identity is refused the others' paths and roles is not proven: it is not here", environment.name),
                    WHY,
                )
                .cured_by(Cure::Action(format!(
                    "run `dbt-lease check` where {} logs in",
                    environment.name
                )))
                .of(&environment.name),
            );
        }
    }
    found
}

/// Two environments whose logins turn out to be one role: no file could tell.
fn shared_roles(visits: &[Visit<'_>]) -> Vec<Finding> {
    let mut found = Vec::new();
    for (at, visit) in visits.iter().enumerate() {
        let Some(path) = visit.role_path() else {
            continue;
        };
        let namespace = &visit.server.namespace;
        let same = visits[..at].iter().find(|earlier| {
            earlier.role_path().as_ref() == Some(&path)
                && earlier.server.namespace == *namespace
                && shares(earlier.server, visit.server)
        });
        if let Some(earlier) = same {
            let own = format!("dbt-{}", visit.environment.name);
            let mount = visit.auth.mount().unwrap_or_default();
            found.push(
                Finding::new(
                    State::Failure,
                    "shared_role",
                    format!(
                        "{} and {} log in as one role, `{path}`",
                        earlier.environment.name, visit.environment.name
                    ),
                    WHY,
                )
                .cured_by(match visit.auth {
                    Auth::AppRole(_) => Cure::Command(format!(
                        "{}\nbao write auth/{mount}/role/{own} token_policies={own} token_no_default_policy=true token_ttl=8h token_max_ttl=8h secret_id_ttl=720h\n\
                         bao read -field=role_id auth/{mount}/role/{own}/role-id\nbao write -f -field=secret_id auth/{mount}/role/{own}/secret-id   # both in the place of {}'s",
                        super::finding::write_policy(&own, &visit.least_policy()),
                        visit.environment.name
                    )),
                    _ => Cure::Action(format!("give {} a role of its own", visit.environment.name)),
                })
                .of(&visit.environment.name),
            );
        }
    }
    found
}

/// Whether two servers are one, by their addresses.
fn shares(one: &Server, other: &Server) -> bool {
    one.addresses()
        .any(|address| other.addresses().any(|other| other == address))
}

/// The other environment's paths: its secrets, and what would make another of its identities.
fn paths_of(other: &Environment) -> Vec<String> {
    let mut paths: Vec<String> = secrets(other)
        .map(|secret| secret.request.path.clone())
        .collect();
    if let Some(Auth::AppRole(approle)) = &other.auth
        && let Some(role) = &approle.role
    {
        let path = format!("auth/{}/role/{role}", approle.mount);
        paths.extend([format!("{path}/secret-id"), path]);
    }
    paths.sort();
    paths.dedup();
    paths
}

async fn paths(
    looker: &Looker<'_>,
    visit: &Visit<'_>,
    other: &Environment,
    server: &Server,
) -> Finding {
    let asked = paths_of(other);
    let names = (&visit.environment.name, &other.name);
    let not_proven = |why: String, cure: Option<Cure>| {
        Finding::new(
            State::NotProven,
            PATHS,
            format!(
                "whether {} may use {}'s paths is not known: {why}",
                names.0, names.1
            ),
            WHY,
        )
        .with(cure)
        .of(names.0)
    };
    if !shares(visit.server, server) {
        return Finding::ok(
            PATHS,
            format!(
                "{}'s paths are another server's, where {}'s token is nothing",
                names.1, names.0
            ),
        )
        .of(names.0);
    }
    // A namespace of its own is asked under its own name.
    let client = if server.namespace == visit.server.namespace {
        Ok(Rc::clone(&visit.client))
    } else {
        let there = Server {
            namespace: server.namespace.clone(),
            ..visit.server.clone()
        };
        looker.client(&there).map(Rc::new)
    };
    let known = match client {
        Ok(client) => look::capabilities(&client, &visit.token, &asked).await,
        Err(error) => Err(error),
    };
    let known = match known {
        Ok(known) => known,
        // In another namespace the token is not even known.
        Err(error) if error.code() == Some(403) && server.namespace != visit.server.namespace => {
            return Finding::ok(
                PATHS,
                format!("{}'s token is refused in {}'s namespace", names.0, names.1),
            )
            .of(names.0);
        }
        Err(error) => {
            return not_proven(error.to_string(), visit.cure(&error, CAPABILITIES));
        }
    };
    let open: Vec<String> = known
        .iter()
        .filter(|(_, may)| !may.is_empty())
        .map(|(path, may)| format!("`{path}` ({})", may.join(", ")))
        .collect();
    if open.is_empty() {
        return Finding::ok(PATHS, format!("{} is refused {}'s paths", names.0, names.1))
            .of(names.0);
    }
    Finding::new(
        State::Failure,
        PATHS,
        format!("{} may use {}'s {}", names.0, names.1, open.join(", ")),
        WHY,
    )
    .cured_by(narrowed(visit))
    .of(names.0)
}

/// The other environment's role: whether this identity opens it.
async fn login(
    looker: &Looker<'_>,
    visit: &Visit<'_>,
    other: &Environment,
    (server, auth): (&Server, &Auth),
    held: &Held,
) -> Finding {
    let names = (&visit.environment.name, &other.name);
    let of = |finding: Finding| finding.of(names.0);
    let mut refused = None;
    for attempt in visit.auth.at_the_role_of(auth) {
        let (there, is_asked) = match attempt {
            Across::Nothing(why) => {
                return of(Finding::ok(
                    LOGIN,
                    format!(
                        "{}'s identity cannot open {}'s role: {why}",
                        names.0, names.1
                    ),
                ));
            }
            Across::Not(why) => {
                return of(Finding::new(
                    State::NotProven,
                    LOGIN,
                    format!("whether {}'s identity opens {}'s role was not tried: {why}", names.0, names.1),
                    WHY,
                )
                .cured_by(Cure::Action(format!(
                    "see by the two roles' own settings that no identity satisfies both (`bao read auth/{}/…`)",
                    auth.mount().unwrap_or("MOUNT")
                ))));
            }
            Across::Login(there) => (there, false),
            Across::Asked(there) => (there, true),
        };
        // A certificate is shown by the connection: it is this environment's that must be refused.
        let towards = Server {
            client_cert: visit.server.client_cert.clone(),
            client_key: visit.server.client_key.clone(),
            client_pem: visit.server.client_pem.clone(),
            ..server.clone()
        };
        let client = match looker.client(&towards) {
            Ok(client) => Rc::new(client),
            Err(error) => return of(not_tried(names, &error)),
        };
        match held
            .log_in(&client, auth::login(&client, &there, looker.variables))
            .await
        {
            Ok(_) => {
                held.give_back_last().await;
                return of(if is_asked {
                    Finding::new(
                        State::NotProven,
                        LOGIN,
                        format!("this job can be both {} and {}: a token that it asks for in {}'s name opens the role", names.0, names.1, names.1),
                        WHY,
                    )
                    .cured_by(Cure::Action(format!(
                        "run `dbt-lease check` in a job that must not be {}; there it has to be refused (bind its role to protected refs and environments)",
                        names.1
                    )))
                } else {
                    Finding::new(
                        State::Failure,
                        LOGIN,
                        format!("{}'s identity opens {}'s role", names.0, names.1),
                        WHY,
                    )
                    .cured_by(bound(auth, &other.name))
                });
            }
            Err(error) if matches!(error.code(), Some(400 | 403)) => refused = Some(()),
            Err(error) => return of(not_tried(names, &error)),
        }
    }
    of(match refused {
        Some(()) => Finding::ok(
            LOGIN,
            format!("{}'s identity is refused {}'s role", names.0, names.1),
        ),
        None => Finding::new(
            State::NotProven,
            LOGIN,
            format!(
                "whether {}'s identity opens {}'s role was not tried",
                names.0, names.1
            ),
            WHY,
        ),
    })
}

fn not_tried(names: (&String, &String), error: &crate::vault::error::VaultError) -> Finding {
    Finding::new(
        State::NotProven,
        LOGIN,
        format!(
            "whether {}'s identity opens {}'s role is not known: {error}",
            names.0, names.1
        ),
        WHY,
    )
    .with(error.hint().map(Cure::Action))
}

/// What makes a role another environment's alone.
fn bound(auth: &Auth, environment: &str) -> Cure {
    match auth {
        Auth::Jwt(jwt) => match &jwt.audience {
            Some(audience) => write(
                &format!("auth/{}/role/{}", jwt.mount, jwt.role),
                &super::visit::role_data(auth, "bound_audiences", serde_json::json!([audience])),
            ),
            None => Cure::Action(format!(
                "bind `auth/{}/role/{}` to an audience of its own",
                jwt.mount, jwt.role
            )),
        },
        Auth::Kubernetes(kubernetes) => Cure::Action(format!(
            "bind it to {environment}'s service account alone: `bao write auth/{}/role/{} bound_service_account_names=NAME bound_service_account_namespaces=NAMESPACE`",
            kubernetes.mount, kubernetes.role
        )),
        Auth::Cert(cert) => Cure::Action(format!(
            "bind it to {environment}'s certificate alone: `bao write auth/{}/certs/{} allowed_common_names=NAME`, or to an authority of its own",
            cert.mount,
            cert.name.as_deref().unwrap_or("NAME")
        )),
        Auth::Aws(aws) => Cure::Action(format!(
            "bind it to {environment}'s own ARN: `bao write auth/{}/role/{} bound_iam_principal_arn=ARN`",
            aws.mount, aws.role
        )),
        _ => Cure::Action(format!("bind the role to {environment}'s identity alone")),
    }
}

/// An AppRole that asks for no secret id: its role id, which is a name, is then all that it takes.
pub(super) async fn without_secret_id(
    looker: &Looker<'_>,
    visit: &Visit<'_>,
    held: &Held,
) -> Option<Finding> {
    const ID: &str = "secret_id_needed";
    let Auth::AppRole(approle) = visit.auth else {
        return None;
    };
    let attempt = auth::login_by_role_id(&visit.client, approle, looker.variables);
    Some(match held.log_in(&visit.client, attempt).await {
        Ok(_) => {
            held.give_back_last().await;
            let finding = Finding::new(
                State::Failure,
                ID,
                "the AppRole gives a token for its role id alone",
                "a role id is a name, and stands in files and logs: whoever reads it can borrow",
            );
            finding.with(
                visit
                    .role_path()
                    .map(|path| Cure::Command(format!("bao write {path} bind_secret_id=true"))),
            )
        }
        Err(error) if error.code() == Some(400) => {
            Finding::ok(ID, "the AppRole gives nothing without a secret id")
        }
        Err(error) => Finding::new(
            State::NotProven,
            ID,
            format!("whether the AppRole wants a secret id is not known: {error}"),
            "a role id is a name, and stands in files and logs",
        )
        .with(error.hint().map(Cure::Action)),
    })
}

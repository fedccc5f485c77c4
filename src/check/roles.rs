//! The secrets engines' roles: whether they are there, how long what they make lives, and what their SQL does and leaves out.
#![forbid(unsafe_code)]

use std::time::Duration;

use serde_json::{Value, json};

use super::finding::{Cure, Finding, State, write};
use super::permissions::reads;
use super::visit::Visit;
use crate::config::LentSecret;
use crate::vault::fields::Fields;
use crate::vault::look;

/// A lease that is shorter is renewed more often than a laptop's lid is closed.
const SHORT: u64 = 5 * 60;
/// A lease that is longer outlives the day's work.
const LONG: u64 = 24 * 3600;
/// A static role's password that is older has been in many logs and heads.
const SELDOM: u64 = 31 * 24 * 3600;
/// How much later than planned a rotation may be: the server looks at intervals.
const LATE: Duration = Duration::from_secs(600);

/// Where the role of a database path is written; none for other engines.
pub(super) fn path(secret: &str) -> Option<String> {
    let one = |word: &str, roles: &str| {
        let (mount, role) = secret.rsplit_once(&format!("/{word}/"))?;
        (!role.contains('/')).then(|| format!("{mount}/{roles}/{role}"))
    };
    one("creds", "roles").or_else(|| one("static-creds", "static-roles"))
}

/// Looks at the engine and the role behind a secret; and how long its leases live, where that is known.
pub(super) async fn look(
    visit: &Visit<'_>,
    secret: &LentSecret,
    (is_allowed, has_role_key): (bool, bool),
) -> (Vec<Finding>, Option<Duration>) {
    let mut found = Vec::new();
    // To one that may not read it, it is not told whether there is anything.
    if is_allowed && let Some(missing) = mount(visit, secret).await {
        found.push(missing);
        return (found, None);
    }
    let Some(path) = path(&secret.request.path) else {
        return (found, None);
    };
    let fields = match look::at(&visit.client, &visit.token, "the role", &path).await {
        Ok(Some(fields)) => fields,
        Ok(None) => {
            found.push(
                Finding::new(
                    State::Failure,
                    "role_exists",
                    format!("there is no role at `{path}`"),
                    "every run ends before it begins",
                )
                .cured_by(Cure::Action(
                    "write it as docs/vault.md and docs/runbook.md show; or correct the path in dbt-lease.yml".to_owned(),
                )),
            );
            return (found, None);
        }
        Err(error) => {
            let finding = Finding::new(
                State::NotProven,
                "role",
                format!("the role `{path}` cannot be looked at: {error}"),
                "how long its users live, and whether its SQL ends them, is not proven",
            );
            found.push(finding.with(visit.cure(&error, reads(&path))));
            return (found, None);
        }
    };
    if path.contains("/static-roles/") {
        found.extend(rotation(&path, &fields));
        return (found, None);
    }
    if fields.get("creation_statements").is_none() {
        return (found, None);
    }
    found.extend(ttls(&path, &fields, secret.ttl));
    found.extend(statements(&path, &fields, has_role_key));
    let lives = fields.count("default_ttl").filter(|seconds| *seconds > 0);
    (found, lives.map(Duration::from_secs))
}

/// A secret whose engine is not there. A token that may read it is also told of its mount.
async fn mount(visit: &Visit<'_>, secret: &LentSecret) -> Option<Finding> {
    let path = &secret.request.path;
    let asked = format!("sys/internal/ui/mounts/{path}");
    let answer = look::at(&visit.client, &visit.token, "the secrets engine", &asked).await;
    let is_missing = match &answer {
        Ok(found) => found.is_none(),
        Err(error) => error.code() == Some(403),
    };
    if !is_missing {
        return None;
    }
    let finding = Finding::new(
        State::Failure,
        "engine_mounted",
        format!("there is no secrets engine at `{path}`"),
        "every run ends before it begins",
    );
    let engine = match (secret.request.known, secret.engine) {
        (Some(known), _) => Some(known.engine),
        (None, Some(_)) => Some("kv"),
        (None, None) => None,
    };
    let of_database = self::path(path).and_then(|role| {
        let (mount, _) = role
            .rsplit_once("/roles/")
            .or(role.rsplit_once("/static-roles/"))?;
        Some((mount.to_owned(), "database"))
    });
    let first = path.split('/').next().unwrap_or_default();
    let place = match engine {
        Some(engine) if engine != "database" => Some((first.to_owned(), engine)),
        _ => of_database,
    };
    Some(finding.cured_by(match place {
        Some((mount, engine)) => {
            let version = if path.split('/').nth(1) == Some("data") { " -version=2" } else { "" };
            Cure::Command(format!("bao secrets enable -path={mount}{version} {engine}"))
        }
        None => Cure::Action(format!("enable the engine: `bao secrets enable -path={first} ENGINE`; or correct the path in dbt-lease.yml")),
    }))
}

fn changed(path: &str, key: &str, value: Value) -> Cure {
    write(path, &json!({key: value}))
}

fn ttls(path: &str, fields: &Fields, wanted: Option<Duration>) -> Vec<Finding> {
    let default = fields.count("default_ttl").unwrap_or(0);
    let max = fields.count("max_ttl").unwrap_or(0);
    let said = |seconds: u64| match seconds {
        0 => "as long as the server allows, 32 days where nobody changed that".to_owned(),
        seconds => format!("{seconds} s"),
    };
    let mut found = vec![if default == 0 || default > LONG {
        Finding::new(
            State::Warning,
            "role_default_ttl",
            format!("what `{path}` makes lives {}", said(default)),
            "where nothing gives it back (both processes killed, the machine lost) it stays usable for so long",
        )
        .cured_by(changed(path, "default_ttl", json!("1h")))
    } else if default < SHORT {
        Finding::new(
            State::Warning,
            "role_default_ttl",
            format!("what `{path}` makes lives {} s", default),
            "a pause of the machine or the server that is longer ends it under the run",
        )
        .cured_by(changed(path, "default_ttl", json!("15m")))
    } else {
        Finding::ok(
            "role_default_ttl",
            format!("what `{path}` makes lives {default} s, and longer by renewal"),
        )
    }];
    let wanted = wanted.map_or(0, |wanted| wanted.as_secs());
    found.push(if max > 0 && max < wanted.max(default) {
        Finding::new(
            State::Failure,
            "role_max_ttl",
            format!("what `{path}` makes lives {max} s at most, and dbt-lease.yml or its own default_ttl wants {} s", wanted.max(default)),
            "it ends under a run that counts on more",
        )
        .cured_by(changed(path, "max_ttl", json!(format!("{}s", wanted.max(default)))))
    } else if max == 0 {
        Finding::new(
            State::Warning,
            "role_max_ttl",
            format!("what `{path}` makes can be renewed {}", said(0)),
            "a stolen session can be kept alive for so long",
        )
        .cured_by(changed(path, "max_ttl", json!(format!("{}s", wanted.max(default).max(8 * 3600)))))
    } else {
        Finding::ok("role_max_ttl", format!("what `{path}` makes lives {max} s at most"))
    });
    found
}

/// The four lists of SQL, by what they do and leave out. Only PostgreSQL's own is judged.
fn statements(path: &str, fields: &Fields, has_role_key: bool) -> Vec<Finding> {
    let creation = fields.texts("creation_statements");
    let all = creation.join("\n").to_ascii_uppercase();
    if !all.contains("CREATE ROLE") && !all.contains("CREATE USER") || all.contains("IDENTIFIED") {
        return Vec::new();
    }
    vec![
        expiry(path, &creation, &all),
        group(path, &creation, &all, has_role_key),
        revocation(path, &fields.texts("revocation_statements")),
        renewal(path, &fields.texts("renew_statements")),
    ]
}

fn expiry(path: &str, creation: &[String], all: &str) -> Finding {
    const ID: &str = "role_creation_expiry";
    if all.contains("VALID UNTIL") && all.contains("{{EXPIRATION}}") {
        return Finding::ok(
            ID,
            format!("the users of `{path}` end by themselves (VALID UNTIL)"),
        );
    }
    let password = "PASSWORD '{{password}}'";
    let mended: Vec<String> = creation
        .iter()
        .map(|sql| {
            sql.replacen(
                password,
                &format!("{password} VALID UNTIL '{{{{expiration}}}}'"),
                1,
            )
        })
        .collect();
    let cure = if mended == creation {
        Cure::Action("add VALID UNTIL '{{expiration}}' to its CREATE ROLE".to_owned())
    } else {
        changed(path, "creation_statements", json!(mended))
    };
    Finding::new(
        State::Warning,
        ID,
        format!("the users of `{path}` are made without VALID UNTIL"),
        "one that the server cannot drop (the database is down, Vault is lost) can log in for ever",
    )
    .cured_by(cure)
}

fn group(path: &str, creation: &[String], all: &str, has_role_key: bool) -> Finding {
    const ID: &str = "role_creation_group";
    if has_role_key || all.contains("SET ROLE") {
        return Finding::ok(
            ID,
            format!("what the users of `{path}` make belongs to a group"),
        );
    }
    let group = all
        .find("IN ROLE ")
        .and_then(|at| {
            creation
                .join("\n")
                .get(at + "IN ROLE ".len()..)
                .map(str::to_owned)
        })
        .map(|rest| {
            rest.chars()
                .take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '_')
                .collect::<String>()
        })
        .filter(|group| !group.is_empty());
    let cure = match group {
        Some(group) => {
            let mut mended = creation.to_vec();
            mended.push(format!("ALTER ROLE \"{{{{name}}}}\" SET role = '{group}';"));
            changed(path, "creation_statements", json!(mended))
        }
        None => Cure::Action("make a group role that owns what dbt makes, IN ROLE it, and ALTER ROLE \"{{name}}\" SET role to it (docs/vault.md); or `role:` in the output".to_owned()),
    };
    Finding::new(
        State::Warning,
        ID,
        format!("the users of `{path}` own what they make themselves"),
        "dbt's second run may not replace what the first one made (`permission denied`), and a user that owns something cannot be dropped",
    )
    .cured_by(cure)
}

fn revocation(path: &str, revocation: &[String]) -> Finding {
    const ID: &str = "role_revocation";
    let all = revocation.join("\n").to_ascii_uppercase();
    let mut missing = Vec::new();
    if !all.contains("NOLOGIN") {
        missing.push("ALTER ROLE … NOLOGIN");
    }
    if !all.contains("PG_TERMINATE_BACKEND") {
        missing.push("pg_terminate_backend");
    }
    if !all.contains("DROP ROLE") && !all.contains("DROP USER") {
        missing.push("DROP ROLE");
    }
    if missing.is_empty() {
        return Finding::ok(
            ID,
            format!("a revocation ends the users of `{path}` and their sessions"),
        );
    }
    Finding::new(
        State::Failure,
        ID,
        format!("the revocation of `{path}` lacks {}", missing.join(", ")),
        "a session that is open keeps its rights after the revocation, and a user that cannot be dropped can still log in",
    )
    .cured_by(changed(
        path,
        "revocation_statements",
        json!([
            "ALTER ROLE \"{{name}}\" NOLOGIN;",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{{name}}';",
            "DROP ROLE IF EXISTS \"{{name}}\";",
        ]),
    ))
}

fn renewal(path: &str, renewal: &[String]) -> Finding {
    const ID: &str = "role_renewal";
    let all = renewal.join("\n").to_ascii_uppercase();
    if renewal.is_empty() || all.contains("VALID UNTIL") && all.contains("{{EXPIRATION}}") {
        return Finding::ok(
            ID,
            format!("a renewal moves the end of the users of `{path}`"),
        );
    }
    Finding::new(
        State::Failure,
        ID,
        format!("the renew_statements of `{path}` do not move VALID UNTIL"),
        "Vault says that the lease was renewed, and the database lets nobody in any more after the first TTL",
    )
    .cured_by(changed(path, "renew_statements", json!([])))
}

fn rotation(path: &str, fields: &Fields) -> Vec<Finding> {
    const ID: &str = "static_rotation";
    let period = fields.count("rotation_period").unwrap_or(0);
    let schedule = fields.said("rotation_schedule").unwrap_or_default();
    let last = fields
        .said("last_vault_rotation")
        .and_then(|text| humantime::parse_rfc3339(&text).ok());
    // A static role's write wants these with every change.
    let said = |key: &str| fields.said(key).unwrap_or_default();
    let cure = || {
        let (database, user) = (said("db_name"), said("username"));
        write(
            path,
            &json!({"db_name": database, "username": user, "rotation_period": "24h"}),
        )
    };
    if period == 0 && schedule.is_empty() || period > SELDOM {
        return vec![
            Finding::new(
                State::Warning,
                ID,
                format!(
                    "the password of `{path}` is rotated {}",
                    if period == 0 {
                        "never".to_owned()
                    } else {
                        format!("every {} days", period / 86400)
                    }
                ),
                "it cannot be revoked: whoever saw it once can use it until the next rotation",
            )
            .cured_by(cure()),
        ];
    }
    let late = last.filter(|_| period > 0).and_then(|last| {
        let due = last + Duration::from_secs(period) + LATE;
        std::time::SystemTime::now().duration_since(due).ok()
    });
    vec![match late {
        Some(late) => Finding::new(
            State::Failure,
            ID,
            format!("the rotation of `{path}` is {} s late", late.as_secs()),
            "the server cannot change the password, and the old one stays good",
        )
        .cured_by(Cure::Command(format!(
            "bao write -f {}",
            path.replace("/static-roles/", "/rotate-role/")
        ))),
        None => Finding::ok(ID, format!("the password of `{path}` is rotated")),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_role_of_a_path_is_beside_it() {
        assert_eq!(
            path("database/creds/dbt").as_deref(),
            Some("database/roles/dbt")
        );
        assert_eq!(
            path("a/b/static-creds/x").as_deref(),
            Some("a/b/static-roles/x")
        );
        for other in ["kv/data/creds", "pki/issue/x", "database/creds/a/b"] {
            assert_eq!(path(other), None, "{other}");
        }
    }

    #[test]
    fn a_rotation_that_did_not_come_is_told() {
        let fields: Fields = serde_json::from_str(
            r#"{"rotation_period": 86400, "last_vault_rotation": "2020-01-01T00:00:00Z"}"#,
        )
        .expect("JSON");
        let found = rotation("database/static-roles/x", &fields);
        assert_eq!(found[0].state, State::Failure);
        assert_eq!(
            found[0].cure.as_ref().map(Cure::text),
            Some("bao write -f database/rotate-role/x")
        );
    }

    #[test]
    fn odd_statements_are_not_taken_for_good_ones() {
        let all = |sql: &str| {
            let fields: Fields =
                serde_json::from_value(json!({"creation_statements": [sql]})).expect("JSON");
            statements("database/roles/x", &fields, false)
                .into_iter()
                .filter(|finding| finding.state != State::Ok)
                .map(|finding| finding.id)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            all("CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' IN ROLE dbt;"),
            [
                "role_creation_expiry",
                "role_creation_group",
                "role_revocation"
            ]
        );
        assert!(all("CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}'").is_empty());
    }
}

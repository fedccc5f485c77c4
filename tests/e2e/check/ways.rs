//! The ways to a server and to the database, which no server need be asked for.

use std::fs;

use dbt_lease_sandbox::World;
use serde_json::Value;

use super::Case;

/// `staging` alone, with these keys beside its login; nothing listens there.
fn with_keys(case: &Case<'_>, keys: &str) {
    case.edit(
        "dbt-lease.yml",
        "  staging:\n",
        &format!("  staging:\n    max_retries: 0\n{keys}"),
    );
}

#[track_caller]
fn cured(case: &Case<'_>, id: &str, state: &str) {
    let checked = case.check(&["--target", "staging"]);
    case.apply(checked.found(id, state));
    let cured = case.check(&["--target", "staging"]);
    let left: Vec<&Value> = cured
        .wrong()
        .into_iter()
        .filter(|left| left["id"] == id)
        .collect();
    assert!(left.is_empty(), "{left:#?}");
}

#[test]
fn plain_http_an_unverified_certificate_sslmode_and_a_certificate_whose_time_is_over_are_found_and_cured()
 {
    let world = World::start();
    // .invalid is nobody's, by RFC 2606.
    let case = Case::new(&world, "plain");
    with_keys(&case, "    address: http://vault.invalid:8200\n");
    cured(&case, "plain_http", "warning");

    let case = Case::new(&world, "unverified");
    with_keys(
        &case,
        "    address: https://vault.invalid:8200\n    skip_verify: true\n",
    );
    cured(&case, "skip_verify", "warning");

    // A protected one is refused, and nothing is sent there.
    for (key, id) in [
        ("    address: http://vault.invalid:8200\n", "plain_http"),
        (
            "    address: https://vault.invalid:8200\n    skip_verify: true\n",
            "skip_verify",
        ),
    ] {
        let case = Case::new(&world, &format!("protected-{id}").replace('_', "-"));
        with_keys(&case, key);
        case.edit("dbt-lease.yml", "protected: false", "protected: true");
        let checked = case.check(&["--target", "staging"]);
        let _ = checked.found(id, "failure");
        assert_eq!(checked.code, Some(1));
        assert!(
            checked
                .findings()
                .all(|finding| finding["id"] != "server_reachable"),
            "{:#}",
            checked.json
        );
    }

    let case = Case::new(&world, "sslmode");
    let profiles = fs::read_to_string(case.project.join("profiles.yml")).expect("read");
    let (before, after) = profiles.split_once("    staging:\n").expect("an output");
    let after = after.replacen(
        "\"{{ env_var('JAFFLE_HOST', 'localhost') }}\"",
        "db.example.com\n      sslmode: disable",
        1,
    );
    fs::write(
        case.project.join("profiles.yml"),
        format!("{before}    staging:\n{after}"),
    )
    .expect("written");
    cured(&case, "sslmode", "failure");

    let case = Case::new(&world, "cores");
    case.edit(
        "dbt-lease.yml",
        "child_core_dumps: false",
        "child_core_dumps: true",
    );
    let checked = case.check(&["--target", "staging"]);
    // A machine that keeps no cores has nothing to find.
    let found = checked
        .findings()
        .find(|finding| finding["id"] == "core_pattern")
        .expect("looked at");
    if found["state"] == "warning" {
        case.apply(found);
        let cured = case.check(&["--target", "staging"]);
        assert!(
            cured
                .findings()
                .any(|finding| finding["id"] == "core_pattern" && finding["state"] == "ok")
        );
    }

    certificate(&world);
}

/// A client certificate is read from its file, whatever the server says.
fn certificate(world: &World) {
    use dbt_lease_sandbox::certificates_at;
    use std::time::{Duration, SystemTime};
    let case = Case::new(world, "certificate");
    let (cert, key) = (case.file("staging", "pem"), case.file("staging", "key"));
    let day = Duration::from_secs(86400);
    let now = SystemTime::now();
    let write = |begins: SystemTime, ends: SystemTime| {
        let (pem, its_key) = certificates_at(begins, ends);
        fs::write(&cert, pem).expect("written");
        fs::write(&key, its_key).expect("written");
    };
    write(now - 20 * day, now - day);
    with_keys(
        &case,
        &format!(
            "    client_cert: {}\n    client_key: {}\n",
            cert.display(),
            key.display()
        ),
    );
    let _ = case
        .check(&["--target", "staging"])
        .found("certificate_expiry", "failure");
    write(now - 20 * day, now + day);
    let _ = case
        .check(&["--target", "staging"])
        .found("certificate_expiry", "warning");
    write(now + day, now + 20 * day);
    let _ = case
        .check(&["--target", "staging"])
        .found("certificate_expiry", "failure");
    // As the cure says: a new one in the same file.
    write(now - day, now + 300 * day);
    case.check(&["--target", "staging"]).all_well();
}

#[test]
fn what_is_not_here_is_not_proven_and_never_ok() {
    let world = World::start();
    let case = Case::new(&world, "absent");
    fs::remove_file(case.file("production", "secret-id")).expect("removed");
    let checked = case.check(&["--all", "--rehearse"]);
    assert_eq!(checked.code, Some(0));
    for id in ["login", "isolation", "rehearsal"] {
        assert_eq!(checked.found(id, "not_proven")["environment"], "production");
    }
    // Nobody says of production what was not seen.
    let of_production = checked
        .findings()
        .filter(|finding| finding["environment"] == "production" && finding["state"] == "ok");
    let ids: Vec<&str> = of_production
        .map(|finding| finding["id"].as_str().expect("an id"))
        .collect();
    assert!(
        !ids.iter().any(|id| id.starts_with("isolation")
            || id.starts_with("policy")
            || id.starts_with("role")),
        "{ids:?}"
    );
    // Staging's was, and its refusal of production's paths too.
    assert!(
        checked
            .findings()
            .any(|finding| finding["environment"] == "staging"
                && finding["id"] == "isolation_paths"
                && finding["state"] == "ok")
    );

    // A protected environment is not rehearsed unless it is asked for.
    let case = Case::new(&world, "asked");
    let checked = case.check(&["--rehearse"]);
    let found = checked.found("rehearsal", "not_proven");
    assert_eq!(
        [&found["environment"], &found["cure"]["text"]],
        ["production", "dbt-lease check --rehearse --target prod"]
    );
    let checked = case.check(&["--rehearse", "--target", "prod"]);
    checked.all_well();
    assert!(
        checked
            .findings()
            .any(|finding| finding["id"] == "rehearsal")
    );
    // One that cannot connect says why.
    case.edit(
        "profiles.yml",
        "\"{{ env_var('JAFFLE_DBNAME', 'analytics') }}\"",
        "nowhere",
    );
    let checked = case.check(&["--rehearse", "--target", "prod"]);
    let found = checked.found("rehearsal", "failure");
    assert!(
        found["what"].as_str().expect("what").contains("nowhere"),
        "{found:#}"
    );
    let _ = case.run(&["check", "--all", "--target", "prod"]).code(2);
    world.assert_nothing_left();
}

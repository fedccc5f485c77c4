//! Runs that are longer than what was lent for them.

use std::time::{Duration, Instant, SystemTime};

use serde_json::json;

use crate::support::{Gate, Lab, Running, wait_until};

/// A world whose leases and tokens live for seconds.
fn short_lived(lease: u64, max_lease: u64, token: u64) -> Lab {
    let lab = Lab::new();
    let bao = lab.world.bao();
    bao.api(
        "POST",
        "database/roles/dbt-prod",
        json!({"default_ttl": lease, "max_ttl": max_lease}),
    );
    let role = format!("auth/approle/role/{}", lab.world.production().role);
    bao.api(
        "POST",
        &role,
        json!({"token_ttl": token, "token_max_ttl": 600}),
    );
    lab
}

fn renewals(lab: &Lab, path: &str) -> usize {
    lab.requests()
        .iter()
        .filter(|request| request.ends_with(path))
        .count()
}

#[test]
fn a_run_that_is_longer_than_its_lease_and_its_token_keeps_both() {
    let lab = short_lived(4, 600, 5);
    let gate = Gate::new(&lab);
    let mut running =
        Running::start(lab.command(&gate.held("cat $DBT_PROFILES_DIR/profiles.yml; echo up")));
    running.wait_for_line("up");
    // Two renewals of each: the first lives are over then.
    wait_until("lease and token are renewed twice", || {
        renewals(&lab, "sys/leases/renew") >= 2 && renewals(&lab, "auth/token/renew-self") >= 2
    });
    assert_eq!(
        lab.world.database_users().len(),
        1,
        "the user is still there"
    );
    gate.open();
    let _ = running.end().code(0).silent();
    lab.assert_nothing_left();
    assert_eq!(lab.record()[1]["leases"][0]["result"], "revoked");
}

#[test]
fn a_server_that_is_away_for_a_while_costs_a_warning_and_no_more() {
    let lab = short_lived(9, 600, 600);
    let gate = Gate::new(&lab);
    let mut running = Running::start(lab.command(&gate.held("echo up")));
    running.wait_for_line("up");
    lab.world.bao().freeze();
    running.wait_for_words("could not be renewed");
    lab.world.bao().thaw();
    running.wait_for_words("is renewed again");
    gate.open();
    let ran = running.end().code(0).says(&[
        "It is tried again; otherwise it ends in",
        "the command goes on",
    ]);
    assert_eq!(
        ran.stderr.matches("could not be renewed").count(),
        1,
        "told once:\n{}",
        ran.stderr
    );
    lab.assert_nothing_left();
}

#[test]
fn a_lease_that_meets_its_max_ttl_is_told_in_time() {
    let lab = short_lived(4, 5, 600);
    let gate = Gate::new(&lab);
    let mut running = Running::start(lab.command(&gate.held("echo up")));
    running.wait_for_line("up");
    running.wait_for_words("has met its max_ttl");
    assert_eq!(
        lab.world.database_users().len(),
        1,
        "told while it still lives"
    );
    running.wait_for_words("has ended while the command runs");
    gate.open();
    let _ = running.end().code(0);
    lab.assert_nothing_left();
}

#[test]
fn a_lease_that_somebody_revoked_is_told_with_the_server_s_words() {
    let lab = short_lived(4, 600, 600);
    let gate = Gate::new(&lab);
    let mut running = Running::start(lab.command(&gate.held("echo up")));
    running.wait_for_line("up");
    let lease = lab.record()[0]["secrets"][0]["lease_id"]
        .as_str()
        .expect("a lease")
        .to_owned();
    lab.world.bao().api(
        "PUT",
        "sys/leases/revoke",
        json!({"lease_id": lease, "sync": true}),
    );
    running.wait_for_words("cannot be renewed");
    gate.open();
    let ran = running.end().code(0).says(&["lease not found"]);
    assert!(!ran.stderr.contains(&lease), "{}", ran.stderr);
    lab.assert_nothing_left();
}

/// Where time itself is what is tested.
fn pass(time: Duration) {
    std::thread::sleep(time);
}

#[test]
#[ignore = "a minute: `just endurance`"]
fn a_minute_on_a_lease_of_five_seconds_and_a_token_of_ten_is_no_matter() {
    let lab = short_lived(5, 600, 10);
    let gate = Gate::new(&lab);
    let mut running = Running::start(lab.command(&gate.held("echo up")));
    running.wait_for_line("up");
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(60) {
        assert_eq!(
            lab.world.database_users().len(),
            1,
            "{:?}",
            started.elapsed()
        );
        pass(Duration::from_secs(1));
    }
    gate.open();
    let _ = running.end().code(0).silent();
    lab.assert_nothing_left();
    assert_eq!(lab.record()[1]["leases"][0]["result"], "revoked");
}

#[test]
#[ignore = "a minute and a half: `just endurance`"]
fn a_minute_and_more_on_a_lease_of_sixty_seconds_survives_twenty_seconds_without_a_server() {
    let lab = short_lived(60, 600, 600);
    let gate = Gate::new(&lab);
    let mut running = Running::start(lab.command(&gate.held("echo up")));
    running.wait_for_line("up");
    // It is renewed after two thirds, and a tenth of that later at most: in the midst of it.
    pass(Duration::from_secs(34));
    lab.world.bao().freeze();
    pass(Duration::from_secs(20));
    lab.world.bao().thaw();
    running.wait_for_words("is renewed again");
    pass(Duration::from_secs(20));
    assert_eq!(
        lab.world.database_users().len(),
        1,
        "its first life is over"
    );
    gate.open();
    let _ = running
        .end()
        .code(0)
        .says(&["It is tried again; otherwise it ends in"]);
    lab.assert_nothing_left();
}

#[test]
#[ignore = "measures a second: `just endurance`"]
fn the_loss_is_said_within_a_second_of_the_lease_s_end_and_why() {
    let lab = short_lived(5, 600, 600);
    let gate = Gate::new(&lab);
    let mut running = Running::start(lab.command(&gate.held("echo up")));
    running.wait_for_line("up");
    lab.world.bao().freeze();
    let lent = lab.record()[0]["time"].as_str().expect("a time").to_owned();
    running.wait_for_words("has ended while the command runs");
    let said = SystemTime::now();
    lab.world.bao().thaw();
    // The record's line comes after the answer.
    let from = humantime::parse_rfc3339(&lent).expect("a time");
    let late = said
        .duration_since(from + Duration::from_secs(5))
        .unwrap_or_default();
    assert!(late < Duration::from_secs(1), "{late:?}");
    running.wait_for_words("It could not be renewed: renew the lease");
    gate.open();
    let _ = running.end().code(0);
    lab.assert_nothing_left();
}

#[test]
#[ignore = "half a minute: `just endurance`"]
fn with_a_max_ttl_of_twenty_seconds_it_is_told_in_time_what_happens_next() {
    let lab = short_lived(8, 20, 600);
    let gate = Gate::new(&lab);
    let mut running = Running::start(lab.command(&gate.held("echo up")));
    running.wait_for_line("up");
    let started = Instant::now();
    running.wait_for_words("raise the role's max_ttl");
    assert!(
        started.elapsed() < Duration::from_secs(19),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(
        lab.world.database_users().len(),
        1,
        "told while it still lives"
    );
    running.wait_for_words("has ended while the command runs");
    gate.open();
    let _ = running.end().code(0).says(&[
        "has met its max_ttl and cannot be renewed beyond it: it ends in",
        "the command goes on; what it connects to after that time is refused",
    ]);
    lab.assert_nothing_left();
}

/// The life that a lease has at the server while the command runs, seconds, and the run's requests.
fn life_and_requests(arguments: &[&str], ttl: &str) -> (u64, usize) {
    let lab = Lab::new();
    let config = std::fs::read_to_string(lab.project.join("dbt-lease.yml")).expect("read");
    let secret =
        format!("prod: {{secrets: {{warehouse: {{path: database/creds/dbt-prod{ttl}}}}}}}");
    lab.configure(&config.replace("prod: database/creds/dbt-prod", &secret));
    let gate = Gate::new(&lab);
    let mut held = gate.held("echo up");
    let at = held
        .iter()
        .position(|word| word == "--")
        .expect("a command");
    held.splice(at..at, arguments.iter().map(|word| (*word).to_owned()));
    let mut running = Running::start(lab.command(&held));
    running.wait_for_line("up");
    let lease = lab.record()[0]["secrets"][0]["lease_id"]
        .as_str()
        .expect("a lease")
        .to_owned();
    let found = lab
        .world
        .bao()
        .api("PUT", "sys/leases/lookup", json!({"lease_id": lease}));
    gate.open();
    let _ = running.end().code(0).silent();
    lab.assert_nothing_left();
    (
        found["data"]["ttl"].as_u64().expect("a ttl"),
        lab.requests().len(),
    )
}

#[test]
fn a_lease_gets_the_life_that_is_wanted_by_one_renewal_and_only_where_the_role_s_own_differs() {
    // The role's own is 15 minutes, 4 hours at the most.
    let (life, requests) = life_and_requests(&[], "");
    assert!(
        (800..=900).contains(&life) && requests == 4,
        "{life} {requests}"
    );
    let (life, requests) = life_and_requests(&[], ", ttl: 2h");
    assert!(
        (7100..=7200).contains(&life) && requests == 5,
        "{life} {requests}"
    );
    let (life, requests) = life_and_requests(&["--ttl", "5m"], ", ttl: 2h");
    assert!(
        (200..=300).contains(&life) && requests == 5,
        "{life} {requests}"
    );
    let (life, requests) = life_and_requests(&["--ttl", "10m"], "");
    assert!(
        (800..=900).contains(&life) && requests == 4,
        "{life} {requests}"
    );
}

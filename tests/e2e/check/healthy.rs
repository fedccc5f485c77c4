//! A world in which every rule is kept.

use dbt_lease_sandbox::{OpenBao, World};

use super::Case;

#[test]
fn a_healthy_world_is_all_ok_and_a_rehearsal_leaves_nothing_behind() {
    // Its seal opens by itself.
    let world = World::on(OpenBao::options().raft().start());
    let case = Case::new(&world, "healthy");
    let checked = case.check(&["--all", "--rehearse"]);
    checked.all_well();
    let ids: Vec<&str> = checked
        .findings()
        .map(|finding| finding["id"].as_str().expect("an id"))
        .collect();
    for id in [
        "configuration",
        "dbt",
        "trust",
        "server_reachable",
        "sealed",
        "auto_unseal",
        "server_version",
        "clock",
        "login",
        "root_token",
        "policy_default",
        "policy_broad",
        "secret_allowed",
        "revoke_allowed",
        "renew_allowed",
        "revoke_self_allowed",
        "role_default_ttl",
        "role_creation_expiry",
        "role_revocation",
        "role_renewal",
        "secret_id_expiry",
        "secret_id_needed",
        "audit_device",
        "isolation_paths",
        "isolation_login",
        "rehearsal",
        "sslmode",
        "session_directory",
    ] {
        assert!(ids.contains(&id), "{id}: {:#}", checked.json);
    }
    let seal = checked
        .findings()
        .find(|finding| finding["id"] == "auto_unseal")
        .expect("a finding");
    assert_eq!(seal["state"], "ok");
    assert_eq!(ids.iter().filter(|id| **id == "rehearsal").count(), 2);
    // Both by exec's own code, on record.
    assert_eq!(crate::support::events(&case.home.record()).len(), 4);
    world.assert_nothing_left();
    let text = case.run(&["check", "--target", "staging"]).success();
    assert!(text.contains("\nstaging\n  ok "), "{text}");
    assert!(!text.contains("\nproduction\n"), "{text}");
    world.assert_nothing_left();
}

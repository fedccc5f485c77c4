//! ldap on real parts, the login and the secrets engine: OpenLDAP, and the last OpenBao that has both built in (2.6).

use std::path::PathBuf;

use dbt_lease_sandbox::directory::{BASE, Directory};
use serde_json::{Value, json};

use super::real::{Case, mount};
use crate::support::Lab;

/// A script that logs in to the directory with a name and a password, and keeps both for the test.
fn logs_in(directory: &Directory, kept: &str) -> String {
    format!(
        "printf %s \"$X\" > {kept}; ldapwhoami -x -H {} -D \"${{X%%|*}}\" -w \"${{X#*|}}\" >&2",
        directory.address()
    )
}

/// The name and the password that the last run had.
fn kept(file: &str) -> (String, String) {
    let text = std::fs::read_to_string(file).expect("the script ran");
    let (name, password) = text.split_once('|').expect("a name and a password");
    (name.to_owned(), password.to_owned())
}

#[test]
#[ignore = "needs apt's slapd and an OpenBao of 2.6: `just ldap`"]
fn an_account_of_a_directory_is_lent_and_gone_and_a_checked_out_one_has_a_new_password() {
    let lab = Lab::new();
    let directory = Directory::start();
    let bao = lab.world.bao();
    mount(&lab, "ldap", json!({"type": "ldap"}));
    bao.api(
        "POST",
        "ldap/config",
        json!({"url": directory.address(), "binddn": directory.administrator(), "bindpass": directory.password(), "schema": "openldap",
               "userdn": format!("ou=people,{BASE}"), "userattr": "cn"}),
    );
    let name = format!("cn={{{{.Username}}}},ou=people,{BASE}");
    bao.api(
        "POST",
        "ldap/role/dbt",
        json!({
            "creation_ldif": format!("dn: {name}\nobjectClass: inetOrgPerson\ncn: {{{{.Username}}}}\nsn: {{{{.Username}}}}\nuserPassword: {{{{.Password}}}}"),
            "deletion_ldif": format!("dn: {name}\nchangetype: delete"),
            "default_ttl": "10m", "max_ttl": "1h",
        }),
    );
    bao.api(
        "POST",
        "ldap/static-role/dbt",
        json!({"dn": format!("cn=dbt-static,ou=people,{BASE}"), "username": "dbt-static", "rotation_period": "24h"}),
    );
    bao.api(
        "POST",
        "ldap/library/dbt",
        json!({"service_account_names": ["dbt-one"], "ttl": "10m", "max_ttl": "1h"}),
    );
    let file: PathBuf = lab.home.directory().join("kept");
    let file = file.display().to_string();
    let script = logs_in(&directory, &file);

    let dynamic = Case::of(
        "ldap/creds/dbt",
        "{{ (vault.w.distinguished_names | fromjson)[0] }}|{{ vault.w.password }}",
        &script,
    );
    let said = dynamic.runs_with_exactly_its_policy(&lab);
    assert!(said.contains("1 lease, 1 revoked, verified"), "{said}");
    let (name, password) = kept(&file);
    assert!(!directory.lets_in(&name, &password), "{name} is gone");

    let fixed = Case::of(
        "ldap/static-cred/dbt",
        "{{ vault.w.dn }}|{{ vault.w.password }}",
        &script,
    );
    let said = fixed.runs_with_exactly_its_policy(&lab);
    assert!(said.contains("0 leases, nothing to revoke"), "{said}");
    let (name, password) = kept(&file);
    assert!(directory.lets_in(&name, &password), "until its rotation");

    let template = format!(
        "cn={{{{ vault.w.service_account_name }}}},ou=people,{BASE}|{{{{ vault.w.password }}}}"
    );
    let checked_out = Case::of(
        "{path: ldap/library/dbt/check-out, ttl: 5m}",
        &template,
        &script,
    );
    for _ in 0..2 {
        // The only account there is: the second run has it again, so the first has checked it in.
        let _ = checked_out.runs_with_exactly_its_policy(&lab);
        let (name, password) = kept(&file);
        assert!(
            !directory.lets_in(&name, &password),
            "checked in, under a new password"
        );
    }
    let status = bao.api("GET", "ldap/library/dbt/status", None);
    assert_eq!(
        status["data"]["dbt-one"]["available"],
        json!(true),
        "{status}"
    );
}

#[test]
#[ignore = "needs apt's slapd and an OpenBao of 2.6: `just ldap`"]
fn a_person_of_a_directory_logs_in_and_what_is_wrong_is_told() {
    let lab = Lab::new();
    let directory = Directory::start();
    let bao = lab.world.bao();
    bao.api("POST", "sys/auth/ldap", json!({"type": "ldap"}));
    bao.api(
        "POST",
        "auth/ldap/config",
        json!({"url": directory.address(), "userdn": format!("ou=people,{BASE}"), "userattr": "cn", "groupdn": format!("ou=groups,{BASE}"),
               "binddn": directory.administrator(), "bindpass": directory.password(), "token_no_default_policy": true}),
    );
    bao.api(
        "POST",
        "auth/ldap/groups/analytics",
        json!({"policies": "dbt-production"}),
    );
    let configured = |user: &str| {
        lab.configure(&format!(
            "version: 1\nenvironments:\n  production:\n    auth: {{method: ldap, username: {user}, password: {{env: DIRECTORY_PASSWORD}}}}\n    \
             targets:\n      prod: database/creds/dbt-prod\n"
        ));
    };
    let run = |password: &str| {
        lab.run_with(
            &[("DIRECTORY_PASSWORD", password)],
            &[
                "exec",
                "-v",
                "-t",
                "prod",
                "--",
                "sh",
                "-c",
                "test -z \"$DIRECTORY_PASSWORD\"",
            ],
        )
    };
    configured("alice");
    let ran = run(directory.password()).code(0);
    assert!(ran.stderr.contains("1 lease, 1 revoked"), "{}", ran.stderr);
    let lent: Value = lab
        .record()
        .into_iter()
        .find(|event| event["event"] == "lent")
        .expect("lent");
    assert_eq!(lent["login"]["method"], "ldap", "{lent}");

    let asked = lab.requests().len();
    let wrong = run("wrong").code(125);
    assert!(
        wrong
            .stderr
            .contains("hint: the name or the password is wrong"),
        "{}",
        wrong.stderr
    );
    assert_eq!(lab.requests().len(), asked + 1, "no retry storm");
    configured("bob");
    let nobody = run(directory.password()).code(125);
    assert!(
        nobody
            .stderr
            .contains("hint: the name or the password is wrong"),
        "{}",
        nobody.stderr
    );
    // A person of the directory whose policy does not have the path.
    bao.api(
        "PUT",
        "sys/policies/acl/ends-itself",
        json!({"policy": "path \"auth/token/revoke-self\" { capabilities = [\"update\"] }"}),
    );
    bao.api(
        "POST",
        "auth/ldap/users/dbt-two",
        json!({"policies": "ends-itself"}),
    );
    configured("dbt-two");
    let powerless = run(directory.password()).code(125);
    assert!(
        powerless.stderr.contains("database/creds/dbt-prod"),
        "{}",
        powerless.stderr
    );
    drop(directory);
    configured("alice");
    let gone = run("any").code(125);
    assert!(
        gone.stderr.contains("Vault does not reach the directory"),
        "{}",
        gone.stderr
    );
    lab.assert_nothing_left();
}

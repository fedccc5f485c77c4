//! What is said of a login before anything is asked.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::path::Path;

use super::super::{Auth, Config};
use crate::variables::Variables;

/// The login of an environment `production` in a process with these variables.
fn auth(yaml: &str, variables: &[(&str, &str)]) -> Auth {
    let text = format!(
        "version: 1\nvault: {{address: 'https://v:8200/'}}\nenvironments: {{production: {{auth: {yaml}, targets: {{}}}}}}"
    );
    let variables: Variables = variables.iter().copied().collect();
    let config = Config::parse(Path::new("/p/dbt-lease.yml"), &text, &variables)
        .unwrap_or_else(|error| panic!("{error}"));
    config.environments[0].auth.clone().expect("a login")
}

#[test]
fn what_is_said_wins_over_the_ci_system_that_over_a_file_and_that_over_the_cloud() {
    let all = [
        ("GITHUB_ACTIONS", "true"),
        ("KUBERNETES_SERVICE_HOST", "10.0.0.1"),
        ("GCE_METADATA_HOST", "metadata"),
    ];
    let audience = "for the audience https://v:8200/production";
    for (token, set, said) in [
        (
            ", token: {env: ID_TOKEN}",
            &all[..],
            "identity token from the variable ID_TOKEN (said by dbt-lease.yml)".to_owned(),
        ),
        (
            ", token: {from: google}",
            &all[..],
            format!("identity token of Google Cloud {audience} (said by dbt-lease.yml)"),
        ),
        (
            "",
            &all[..],
            format!("identity token of GitHub Actions {audience} (GITHUB_ACTIONS is set)"),
        ),
        (
            "",
            &all[1..],
            "identity token of Kubernetes from /var/run/secrets/kubernetes.io/serviceaccount/token (KUBERNETES_SERVICE_HOST is set)"
                .to_owned(),
        ),
        (
            "",
            &all[2..],
            format!("identity token of Google Cloud {audience} (GCE_METADATA_HOST is set)"),
        ),
        (
            "",
            &[],
            "no identity token: no CI system, no pod of Kubernetes, no machine of Google's".to_owned(),
        ),
    ] {
        let auth = auth(&format!("{{method: jwt, role: r{token}}}"), set);
        assert_eq!(auth.source(), said);
        assert_eq!(auth.requests(), [("POST", "auth/jwt/login".to_owned())]);
    }
}

#[test]
fn each_ci_system_is_known_by_its_own_variable_and_its_token_is_kept_from_the_child() {
    for (set, said, variables) in [
        (
            vec![("GITLAB_CI", "true")],
            "identity token of GitLab CI from the variable VAULT_ID_TOKEN_PRODUCTION (GITLAB_CI is set)",
            vec!["VAULT_ID_TOKEN_PRODUCTION"],
        ),
        (
            vec![("GITLAB_CI", "true"), ("VAULT_ID_TOKEN", "x")],
            "identity token of GitLab CI from the variable VAULT_ID_TOKEN (GITLAB_CI is set)",
            vec!["VAULT_ID_TOKEN"],
        ),
        (
            vec![("BUILDKITE", "true")],
            "identity token of Buildkite printed by `buildkite-agent oidc request-token --audience https://v:8200/production` (BUILDKITE is set)",
            vec![],
        ),
        (
            vec![("CIRCLECI", "true")],
            "identity token of CircleCI printed by `circleci run oidc get --claims {\"aud\":\"https://v:8200/production\"}` (CIRCLECI is set)",
            vec![],
        ),
        (
            vec![("BITBUCKET_BUILD_NUMBER", "7")],
            "identity token of Bitbucket Pipelines from the variable BITBUCKET_STEP_OIDC_TOKEN (BITBUCKET_BUILD_NUMBER is set)",
            vec!["BITBUCKET_STEP_OIDC_TOKEN"],
        ),
        (
            vec![("TF_BUILD", "True")],
            "identity token of Azure DevOps for the audience api://AzureADTokenExchange (TF_BUILD is set)",
            vec![],
        ),
        (
            vec![
                ("TFC_RUN_ID", "run-1"),
                ("TFC_WORKLOAD_IDENTITY_TOKEN", "x"),
                ("TFC_WORKLOAD_IDENTITY_TOKEN_PRODUCTION", "y"),
            ],
            "identity token of Terraform Cloud from the variable TFC_WORKLOAD_IDENTITY_TOKEN_PRODUCTION (TFC_RUN_ID is set)",
            vec!["TFC_WORKLOAD_IDENTITY_TOKEN_PRODUCTION"],
        ),
        (
            vec![("JENKINS_URL", "https://j")],
            "identity token of Jenkins from the variable VAULT_ID_TOKEN_PRODUCTION (JENKINS_URL is set)",
            vec!["VAULT_ID_TOKEN_PRODUCTION"],
        ),
    ] {
        let auth = auth("{method: jwt, role: r}", &set);
        assert_eq!(auth.source(), said);
        assert_eq!(auth.variables(), variables);
    }
}

#[test]
fn every_login_of_the_page_is_read_and_every_method_is_on_it() {
    let page = include_str!("../../../docs/logins.md");
    let mut methods = BTreeSet::new();
    for block in page.split("\n```yaml\n").skip(1) {
        let block = block.split("\n```").next().unwrap_or(block);
        let (logins, rest): (Vec<&str>, Vec<&str>) =
            block.lines().partition(|line| line.starts_with("auth: "));
        for login in logins {
            let lines = [
                &["address: https://v:8200"][..],
                &rest,
                &[login, "targets: {}"],
            ]
            .concat();
            let text = format!(
                "version: 1\nenvironments:\n  e:\n    {}\n",
                lines.join("\n    ")
            );
            let variables: Variables = [("HOME", "/home/u")].into_iter().collect();
            let config = Config::parse(Path::new("/p/dbt-lease.yml"), &text, &variables)
                .unwrap_or_else(|error| panic!("{login}: {error}"));
            let auth = config.environments[0].auth.as_ref().expect("a login");
            methods.insert(auth.method());
        }
    }
    let known: BTreeSet<&str> = super::METHODS.into_iter().collect();
    assert_eq!(methods, known);
    let shapes: BTreeSet<&str> = super::shapes()
        .into_iter()
        .map(|(method, ..)| method)
        .collect();
    assert_eq!(shapes, known);
}

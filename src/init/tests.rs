//! Proposals for outputs that are given as text.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::lend::lend;
use super::login::AtHand;
use super::outputs::Profiles;
use super::propose::{Project, Proposal, Unknown, Wishes, propose};
use super::written::{Part, text};
use crate::config::Config;
use crate::dbt::{Source, WholeProfiles};
use crate::variables::Variables;

fn profiles(text: &str, is_users: bool) -> Profiles {
    let whole = WholeProfiles {
        path: PathBuf::from("/p/profiles.yml"),
        bytes: Zeroizing::new(text.as_bytes().to_vec()),
        merging: None,
        source: Source {
            said: String::new(),
            named: false,
        },
    };
    Profiles::of(&whole, is_users).expect("a good file")
}

fn project(text: &str) -> Project {
    Project {
        name: "shop".to_owned(),
        dir: PathBuf::from("/p"),
        profile: Some("shop".to_owned()),
        files: vec![profiles(text, false)],
        listed: Vec::new(),
        environments: Vec::new(),
        is_one_of_several: false,
        has_address: false,
    }
}

fn wishes() -> Wishes {
    Wishes {
        address: Some("https://v:8200".to_owned()),
        auth: vec![(None, "approle".to_owned())],
        ..Wishes::default()
    }
}

fn proposed(text: &str) -> (Proposal, Vec<Unknown>) {
    propose(&[project(text)], &wishes(), &AtHand::default()).expect("a proposal")
}

/// What an output is lent: path, keys of `fields:`, variables of `env:`.
fn lent(output: &str) -> (Option<String>, Vec<String>, Vec<String>) {
    let file = profiles(&format!("shop: {{outputs: {{t: {output}}}}}\n"), false);
    let lend = lend(&file.outputs[0], "t");
    let keys = lend.fields.into_iter().chain(lend.files);
    (
        lend.path,
        keys.map(|(key, _)| key).collect(),
        lend.env.into_iter().map(|(name, _)| name).collect(),
    )
}

#[test]
fn each_adapter_gets_the_path_of_the_engine_that_knows_it() {
    for (output, path, keys) in [
        (
            "{type: postgres, user: u, password: p}",
            Some("database/creds/dbt-t"),
            "",
        ),
        ("{type: redshift, method: iam, cluster_id: c}", None, ""),
        (
            "{type: redshift, method: iam, access_key_id: a, secret_access_key: b}",
            Some("aws/creds/dbt-t"),
            "",
        ),
        (
            "{type: redshift, method: browser_identity_center}",
            None,
            "",
        ),
        (
            "{type: snowflake, user: u, password: p}",
            Some("database/creds/dbt-t"),
            "",
        ),
        (
            "{type: snowflake, user: u, authenticator: ExternalBrowser}",
            None,
            "",
        ),
        (
            "{type: snowflake, user: u, private_key_path: /k}",
            Some("database/creds/dbt-t"),
            "user private_key",
        ),
        (
            "{type: sqlserver, UID: u, PWD: p}",
            Some("database/creds/dbt-t"),
            "",
        ),
        ("{type: sqlserver, authentication: CLI}", None, ""),
        (
            "{type: fabric, authentication: ServicePrincipal, client_id: a, client_secret: b}",
            Some("azure/creds/dbt-t"),
            "",
        ),
        ("{type: bigquery, method: oauth}", None, ""),
        (
            "{type: bigquery, method: service-account, keyfile: k}",
            Some("gcp/roleset/dbt-t/key"),
            "keyfile",
        ),
        (
            "{type: bigquery, method: oauth-secrets, token: t}",
            Some("gcp/roleset/dbt-t/token"),
            "",
        ),
        (
            "{type: databricks, token: t}",
            Some("secret/data/dbt/t"),
            "",
        ),
        (
            "{type: databricks, auth_type: oauth, client_id: a, client_secret: b}",
            Some("secret/data/dbt/t"),
            "client_id client_secret",
        ),
        ("{type: databricks, auth_type: oauth}", None, ""),
        ("{type: athena, region_name: r}", Some("aws/sts/dbt-t"), ""),
        ("{type: athena, aws_profile_name: p}", None, ""),
        ("{type: duckdb, path: x}", None, ""),
        (
            "{type: duckdb, path: 'md:x'}",
            Some("secret/data/dbt/t"),
            "motherduck_token",
        ),
        (
            "{type: duckdb, secrets: [{type: s3, key_id: a, secret: b}]}",
            Some("aws/sts/dbt-t"),
            "",
        ),
        ("{type: trino, host: h}", None, ""),
        (
            "{type: trino, method: ldap, user: u, password: p}",
            Some("secret/data/dbt/t"),
            "",
        ),
        (
            "{type: nobody_knows, api: {secret: x}}",
            Some("secret/data/dbt/t"),
            "api.secret",
        ),
        ("{type: nobody_knows, host: h}", None, ""),
    ] {
        let (found, fields, _) = lent(output);
        assert_eq!(found.as_deref(), path, "{output}");
        assert_eq!(fields.join(" "), keys, "{output}");
    }
    assert_eq!(
        lent("{type: nobody_knows, token: x, more: {a.secret: y}}").1,
        ["token"]
    );
    assert_eq!(
        lent("{type: glue, role_arn: r}").2,
        [
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN"
        ]
    );
    // Half a credential in variables is none.
    let (both, half) = (
        "{type: postgres, user: \"{{ env_var('U') }}\", password: \"{{ env_var('DBT_ENV_SECRET_P') }}\"}",
        "{type: postgres, user: u, password: \"{{ env_var('DBT_ENV_SECRET_P') }}\"}",
    );
    assert_eq!(lent(both).2, ["U", "DBT_ENV_SECRET_P"]);
    assert!(lent(half).2.is_empty());
}

#[test]
fn a_name_that_says_nothing_is_judged_by_where_it_leads_or_asked_for() {
    let text = "shop:\n  outputs:\n    default: {type: postgres, host: prod-db.example.com}\n    eu: {type: postgres, host: localhost}\n    \
                us: {type: postgres, host: db.example.com}\n    dev: {type: postgres, host: prod-db.example.com}\n";
    let (proposal, unknown) = proposed(text);
    assert_eq!(unknown, [Unknown::Environment(vec!["us".to_owned()])]);
    let of: Vec<(String, Vec<String>)> = proposal
        .environments
        .into_iter()
        .map(|environment| {
            let targets = environment.targets.into_iter();
            (
                environment.name,
                targets.map(|target| target.target).collect(),
            )
        })
        .collect();
    let expected = [
        ("development", vec!["eu", "dev"]),
        ("production", vec!["default"]),
    ];
    let expected: Vec<(String, Vec<String>)> = expected
        .into_iter()
        .map(|(name, targets)| {
            (
                name.to_owned(),
                targets.into_iter().map(str::to_owned).collect(),
            )
        })
        .collect();
    assert_eq!(of, expected);
}

#[test]
fn no_two_environments_share_anything_of_a_login_by_any_method() {
    let text_of = "shop: {outputs: {prod: {type: postgres}, staging: {type: postgres}, ci: {type: postgres}}}\n";
    for method in super::login::METHODS
        .into_iter()
        .filter(|method| *method != "token")
    {
        for name in [
            "GITLAB_CI",
            "GITHUB_ACTIONS",
            "BUILDKITE",
            "CIRCLECI",
            "JENKINS_URL",
            "NONE",
        ] {
            let variables: Variables = [(name, "true"), ("HOME", "/home/x")].into_iter().collect();
            let at_hand = AtHand::look(&variables, Path::new("/nonexistent"));
            let wishes = Wishes {
                auth: vec![(None, method.to_owned())],
                ..wishes()
            };
            let (proposal, unknown) =
                propose(&[project(text_of)], &wishes, &at_hand).expect("a proposal");
            assert!(unknown.is_empty());
            let text = text(&proposal, Part::Whole);
            Config::parse(Path::new("/p/dbt-lease.yml"), &text, &variables)
                .unwrap_or_else(|error| panic!("{method}, {name}: {error}\n{text}"));
        }
    }
}

#[test]
fn names_that_come_to_one_key_or_one_path_stay_apart() {
    let text_of = "shop: {outputs: {other_dev: {type: postgres}, 'a b': {type: postgres}, 'a-b': {type: postgres}}}\n\
                   other: {outputs: {dev: {type: postgres}}}\nother-dev: {outputs: {x: {type: postgres}}}\nother_dev: {outputs: {x: {type: postgres}}}\n";
    let wishes = Wishes {
        environments: ["a b", "a-b", "other-dev.x", "other_dev.x"]
            .map(|name| (name.to_owned(), "development".to_owned()))
            .to_vec(),
        ..wishes()
    };
    let (proposal, unknown) =
        propose(&[project(text_of)], &wishes, &AtHand::default()).expect("a proposal");
    assert!(unknown.is_empty(), "{unknown:?}");
    let targets = || {
        proposal
            .environments
            .iter()
            .flat_map(|environment| &environment.targets)
    };
    let count = targets().count();
    for names in [
        targets()
            .map(|target| target.key.clone())
            .collect::<Vec<_>>(),
        targets()
            .filter_map(|target| target.lend.path.clone())
            .collect(),
    ] {
        let mut unique = names.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), count, "{names:?}");
    }
    let text = text(&proposal, Part::Whole);
    Config::parse(Path::new("/p/dbt-lease.yml"), &text, &Variables::default()).expect(&text);
}

#[test]
fn the_users_own_token_is_proposed_for_the_users_own_server_alone() {
    let at_hand = AtHand {
        has_token: true,
        address: Some("https://v:8200".to_owned()),
        ..AtHand::default()
    };
    let text = "shop: {outputs: {dev: {type: postgres}}}\n";
    for (address, method) in [
        ("https://v:8200", Some("{method: token}")),
        ("https://w:8200", None),
    ] {
        let wishes = Wishes {
            address: Some(address.to_owned()),
            ..Wishes::default()
        };
        let (proposal, _) = propose(&[project(text)], &wishes, &at_hand).expect("a proposal");
        assert_eq!(proposal.environments[0].auth.as_deref(), method);
    }
}

//! Logins: AppRole from every source, wrapped secret ids and their tampering, the user's own token.
#![forbid(unsafe_code)]

use std::time::Duration;

use dbt_lease::config::{AppRole, Auth, RoleId, SecretId};
use dbt_lease::variables::Variables;
use dbt_lease::vault::auth::{TokenKind, login};
use dbt_lease::vault::lease::revoke_self;
use dbt_lease_sandbox::World;
use serde_json::json;

use crate::{approle, asked, client_of, file, hint, no_variables, text, variables};

fn with(role_id: RoleId, secret_id: SecretId, role: Option<&str>) -> Auth {
    Auth::AppRole(AppRole {
        mount: "approle".to_owned(),
        role_id,
        secret_id,
        role: role.map(str::to_owned),
    })
}

#[tokio::test]
async fn approle_reads_its_ids_from_dbt_lease_yml_files_and_variables() {
    let world = World::start();
    let identity = world.production();
    let client = client_of(&world);
    let set = variables([
        ("ROLE_ID", identity.role_id.as_str()),
        ("SECRET_ID", identity.secret_id.as_str()),
        ("PATH", "/usr/bin:/bin"),
    ]);
    // With the line break that editors and `echo` leave.
    let broken_line = file(
        &world,
        "secret-id-line",
        format!("{}\r\n", identity.secret_id),
        0o640,
    );
    for (auth, notes) in [
        (
            with(
                RoleId::Literal(identity.role_id.clone()),
                SecretId::Variable("SECRET_ID".to_owned()),
                None,
            ),
            vec![],
        ),
        (
            with(
                RoleId::File(identity.role_id_file.clone()),
                SecretId::File(identity.secret_id_file.clone()),
                Some("dbt-production"),
            ),
            vec![],
        ),
        (
            with(
                RoleId::Variable("ROLE_ID".to_owned()),
                SecretId::Command(["printenv", "SECRET_ID"].map(str::to_owned).to_vec()),
                None,
            ),
            vec![],
        ),
        (
            with(
                RoleId::Variable("ROLE_ID".to_owned()),
                SecretId::File(broken_line.clone()),
                None,
            ),
            vec![format!(
                "the secret id in `{0}` may be read by other users (mode 0640): `chmod 600 {0}`",
                broken_line.display()
            )],
        ),
    ] {
        let token = login(&client, &auth, &set)
            .await
            .expect("the ids are right");
        assert_eq!(
            token
                .notes
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>(),
            notes
        );
        assert!(token.own && token.renewable && !token.is_root);
        assert_eq!(token.kind, TokenKind::Service);
        assert_eq!(token.policies, ["dbt-production"]);
        assert_eq!(token.lifetime, Some(Duration::from_secs(3600)));
        assert_eq!(
            token.identity,
            [("role_name".to_owned(), "dbt-production".to_owned())]
        );
        assert!(token.accessor.is_some() && token.request_id.is_some());
        assert!(!format!("{token:?}").contains(token.value.expose()));
        revoke_self(&client, &token, None)
            .await
            .expect("it may end itself");
    }
    assert_eq!(
        asked(&world),
        ["update auth/approle/login", "update auth/token/revoke-self"].repeat(4)
    );
    world.assert_nothing_left();
}

#[tokio::test]
async fn sources_that_hold_no_id_are_refused_before_anything_is_sent() {
    let world = World::start();
    let client = client_of(&world);
    let directory = world.bao().directory().to_owned();
    let pipe = directory.join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe can be made");
    let set = variables([("EMPTY", ""), ("TWO_LINES", "a\nb")]);
    let of_file = |name: &str, text: &[u8]| SecretId::File(file(&world, name, text, 0o600));
    let variable = |name: &str| SecretId::Variable(name.to_owned());
    for (secret_id, problem, cure) in [
        (
            SecretId::File(directory.join("absent")),
            "`DIR/absent`: there is no such file",
            "write the value to `DIR/absent`, mode 0600, or correct the path in dbt-lease.yml",
        ),
        (
            of_file("empty", b""),
            "`DIR/empty`: it is empty",
            "write the value to `DIR/empty`, mode 0600, or correct the path in dbt-lease.yml",
        ),
        (
            of_file("blank", b" \n"),
            "`DIR/blank`: it is empty",
            "write the value to `DIR/blank`, mode 0600, or correct the path in dbt-lease.yml",
        ),
        (
            of_file("lines", b"a\nb\n"),
            "`DIR/lines`: it is not one line of text",
            "",
        ),
        (
            of_file("binary", b"\xff\xfe"),
            "`DIR/binary`: it is not one line of text",
            "",
        ),
        (
            of_file("long", &[b'x'; 70_000]),
            "`DIR/long`: it is longer than 65536 bytes",
            "",
        ),
        (
            SecretId::File(directory.clone()),
            "`DIR`: it is not a regular file",
            "name a file that holds the value and nothing else",
        ),
        (
            SecretId::File(pipe),
            "`DIR/pipe`: it is not a regular file",
            "name a file that holds the value and nothing else",
        ),
        (
            variable("UNSET"),
            "the variable UNSET: it is not set",
            "set UNSET in the environment of this run (a CI's secret, masked)",
        ),
        (
            variable("EMPTY"),
            "the variable EMPTY: it is empty",
            "set EMPTY in the environment of this run (a CI's secret, masked)",
        ),
        (
            variable("TWO_LINES"),
            "the variable TWO_LINES: it is not one line of text",
            "",
        ),
    ] {
        let auth = with(
            RoleId::Literal(world.production().role_id.clone()),
            secret_id,
            None,
        );
        let error = login(&client, &auth, &set).await.expect_err(problem);
        let shown = error
            .to_string()
            .replace(&directory.display().to_string(), "DIR");
        assert_eq!(shown, format!("read the secret id from {problem}"));
        let shown = hint(&error).replace(&directory.display().to_string(), "DIR");
        assert_eq!(shown, cure);
        assert_eq!(error.kind(), "login_source");
    }
    assert_eq!(asked(&world), [""; 0]);
}

#[tokio::test]
async fn a_file_that_we_may_not_read_is_told_from_one_that_is_not_there() {
    if nix::unistd::geteuid().is_root() {
        // Root may read everything; the ordinary user's run of the tests shows it.
        return;
    }
    let world = World::start();
    let path = file(&world, "closed", "x", 0o000);
    let auth = with(
        RoleId::File(path.clone()),
        SecretId::Variable("X".to_owned()),
        None,
    );
    let error = login(&client_of(&world), &auth, &no_variables())
        .await
        .expect_err("it is closed");
    assert_eq!(
        error.to_string(),
        format!(
            "read the role id from `{}`: permission denied",
            path.display()
        )
    );
    assert_eq!(
        hint(&error),
        format!(
            "run as its owner, or let this user read it: `ls -l {}`",
            path.display()
        )
    );
}

#[tokio::test]
async fn wrong_ids_and_a_missing_mount_are_told_apart() {
    let world = World::start();
    let client = client_of(&world);
    let set = variables([("WRONG", "00000000-0000-0000-0000-000000000000")]);
    let auth = with(
        RoleId::Literal(world.production().role_id.clone()),
        SecretId::Variable("WRONG".to_owned()),
        None,
    );
    let error = login(&client, &auth, &set)
        .await
        .expect_err("a wrong secret id");
    assert_eq!(
        text(&error, &world.bao().address()),
        "log in by approle at `auth/approle`: POST ADDRESS/v1/auth/approle/login answered 400: invalid role or secret ID"
    );
    assert_eq!(
        hint(&error),
        "the role id or the secret id is wrong, expired, used up, or bound to other addresses (Vault does not say which): \
         issue a new secret id (`bao write -f auth/approle/role/ROLE/secret-id`)"
    );

    let Auth::AppRole(AppRole {
        role_id,
        secret_id,
        role,
        ..
    }) = approle(world.production())
    else {
        unreachable!()
    };
    let auth = Auth::AppRole(AppRole {
        mount: "ci/approle".to_owned(),
        role_id,
        secret_id,
        role,
    });
    let error = login(&client, &auth, &set)
        .await
        .expect_err("no such mount");
    assert_eq!(
        text(&error, &world.bao().address()),
        "log in by approle at `auth/ci/approle`: POST ADDRESS/v1/auth/ci/approle/login answered 403: permission denied"
    );
    assert_eq!(
        hint(&error),
        "is approle enabled at `auth/ci/approle`? (`bao auth list`); else set `mount:` or `namespace:`. The same answer means that Vault has locked this \
         login for some minutes after wrong ones: `bao read sys/locked-users`"
    );
}

#[tokio::test]
async fn a_wrapped_secret_id_is_checked_unwrapped_and_used_once() {
    let world = World::start();
    let client = client_of(&world);
    let wrapped = || {
        file(
            &world,
            "wrapped",
            world.wrapped_secret_id(world.production(), "60s"),
            0o600,
        )
    };
    let auth = |role| {
        with(
            RoleId::Literal(world.production().role_id.clone()),
            SecretId::WrappedFile(wrapped()),
            role,
        )
    };
    let set = variables([(
        "WRAPPED",
        world.wrapped_secret_id(world.production(), "60s").as_str(),
    )]);
    let of_variable = with(
        RoleId::Literal(world.production().role_id.clone()),
        SecretId::WrappedVariable("WRAPPED".to_owned()),
        Some("dbt-production"),
    );
    for auth in [auth(None), of_variable] {
        let token = login(&client, &auth, &set)
            .await
            .expect("nobody touched it");
        revoke_self(&client, &token, None)
            .await
            .expect("it may end itself");
    }
    let once = [
        "update sys/wrapping/lookup",
        "update sys/wrapping/unwrap",
        "update auth/approle/login",
        "update auth/token/revoke-self",
    ];
    assert_eq!(asked(&world), once.repeat(2));

    // The second use of one file: whoever comes second cannot know whether the first one was a thief.
    let auth = auth(None);
    login(&client, &auth, &no_variables())
        .await
        .expect("nobody touched it");
    let error = login(&client, &auth, &no_variables())
        .await
        .expect_err("it is spent");
    let path = world
        .bao()
        .directory()
        .join("wrapped")
        .display()
        .to_string();
    assert_eq!(
        error.to_string(),
        format!(
            "unwrap the secret id of `{path}`: Vault does not know its wrapping token: it has expired, or was unwrapped before, \
             by us or by somebody else"
        )
    );
    assert_eq!(
        hint(&error),
        format!(
            "if no run of yours unwrapped it, treat the secret id as stolen: destroy it by the accessor that its wrapping answer \
             showed; then wrap a new one into `{path}`"
        )
    );
    assert_eq!(error.kind(), "vault_wrapping_tampered");
}

#[tokio::test]
async fn a_wrapping_token_that_was_made_elsewhere_is_tampering_and_stays_unopened() {
    let world = World::start();
    let client = client_of(&world);
    let staging = world.wrapped_secret_id(world.staging(), "60s");
    let forged = world.bao().wrap(
        "POST",
        "sys/wrapping/wrap",
        "60s",
        json!({"secret_id": world.staging().secret_id}),
    );
    let path = world
        .bao()
        .directory()
        .join("wrapped")
        .display()
        .to_string();
    for (wrapping, role, expected, found) in [
        (
            &staging,
            Some("dbt-production"),
            "auth/approle/role/dbt-production/secret-id",
            "auth/approle/role/dbt-staging/secret-id",
        ),
        (
            &forged,
            Some("dbt-production"),
            "auth/approle/role/dbt-production/secret-id",
            "sys/wrapping/wrap",
        ),
        (
            &forged,
            None,
            "auth/approle/role/ROLE/secret-id",
            "sys/wrapping/wrap",
        ),
    ] {
        file(&world, "wrapped", wrapping, 0o600);
        let auth = with(
            RoleId::Literal(world.production().role_id.clone()),
            SecretId::WrappedFile(path.clone().into()),
            role,
        );
        let error = login(&client, &auth, &no_variables())
            .await
            .expect_err(found);
        assert_eq!(
            error.to_string(),
            format!(
                "unwrap the secret id of `{path}`: it was made at `{found}`, not at `{expected}`: it was exchanged, or is meant \
                 for something else"
            )
        );
        assert_eq!(
            hint(&error),
            format!(
                "find out who wrote `{path}`; a new one: `bao write -wrap-ttl=5m -f {expected}`"
            )
        );
    }
    // Only looked at: unwrapping would destroy what shows the tampering.
    assert_eq!(asked(&world), ["update sys/wrapping/lookup"; 3]);
}

#[tokio::test]
async fn the_users_token_is_looked_up_instead_of_a_login() {
    let world = World::start();
    let client = client_of(&world);
    let production = world.login(world.production());
    let home = tempfile::tempdir().expect("a temporary directory");
    let dot_file = home.path().join(".vault-token");
    std::fs::write(&dot_file, format!("{production}\n")).expect("it can be written");
    let named = file(&world, "token", &production, 0o600);
    let home_text = home.path().to_str().expect("UTF-8");
    let named_text = named.to_str().expect("UTF-8");
    let p = production.as_str();
    for set in [
        vec![("BAO_TOKEN", p), ("VAULT_TOKEN", "wrong")],
        vec![("VAULT_TOKEN", p), ("HOME", "/nonexistent")],
        vec![("HOME", home_text)],
        // Empty, it still wins over VAULT_TOKEN, and the file is read.
        vec![
            ("BAO_TOKEN", ""),
            ("VAULT_TOKEN", "wrong"),
            ("HOME", home_text),
        ],
        vec![("VAULT_TOKEN_PATH", named_text), ("HOME", "/nonexistent")],
        vec![
            ("BAO_TOKEN_PATH", named_text),
            ("VAULT_TOKEN_PATH", "/nonexistent"),
        ],
    ] {
        let token = login(&client, &Auth::Token, &variables(set))
            .await
            .expect("the token is good");
        assert!(!token.own && !token.is_root);
        assert_eq!(token.policies, ["dbt-production"]);
        assert!(
            token
                .lifetime
                .is_some_and(|left| left > Duration::from_secs(3500)),
            "{:?}",
            token.lifetime
        );
        assert_eq!(
            token.identity,
            [("display_name".to_owned(), "approle".to_owned())]
        );
    }
    assert!(
        asked(&world)[1..]
            .iter()
            .all(|request| request == "read auth/token/lookup-self")
    );

    let root = login(
        &client,
        &Auth::Token,
        &variables([("VAULT_TOKEN", world.bao().root_token())]),
    )
    .await
    .expect("root");
    assert!(root.is_root && !root.own);
    assert_eq!(root.lifetime, None);

    let batch = world.bao().api(
        "POST",
        "auth/token/create",
        json!({"type": "batch", "ttl": "1h", "policies": ["default"]}),
    );
    let batch = batch["auth"]["client_token"]
        .as_str()
        .expect("a token")
        .to_owned();
    let batch = login(
        &client,
        &Auth::Token,
        &variables([("VAULT_TOKEN", batch.as_str())]),
    )
    .await
    .expect("a batch token");
    assert_eq!(batch.kind, TokenKind::Batch);
}

#[tokio::test]
async fn without_a_token_it_is_said_where_was_looked() {
    let world = World::start();
    let client = client_of(&world);
    for (set, looked) in [
        (
            no_variables(),
            "BAO_TOKEN, VAULT_TOKEN, ~/.vault-token (HOME is not set)",
        ),
        (
            variables([
                ("BAO_TOKEN", ""),
                ("VAULT_TOKEN", "x"),
                ("HOME", "/nonexistent"),
            ]),
            "BAO_TOKEN (set, and empty: VAULT_TOKEN is then not asked), `/nonexistent/.vault-token`",
        ),
    ] {
        let error = login(&client, &Auth::Token, &set)
            .await
            .expect_err("no token");
        assert_eq!(
            error.to_string(),
            format!("find a Vault token: none in {looked}")
        );
        assert_eq!(
            hint(&error),
            "`bao login` writes ~/.vault-token; or set VAULT_TOKEN"
        );
        assert_eq!(error.kind(), "vault_no_token");
    }
    let wrong: Variables = variables([("VAULT_TOKEN", "s.wrong")]);
    let error = login(&client, &Auth::Token, &wrong)
        .await
        .expect_err("a wrong token");
    assert_eq!(
        text(&error, &world.bao().address()),
        "look up the token from the variable VAULT_TOKEN: GET ADDRESS/v1/auth/token/lookup-self answered 403: permission denied"
    );
    assert_eq!(
        hint(&error),
        "the token is wrong, expired, revoked, or another Vault's: `bao login` makes a new one; or it is good, and its policies lack: \
         path \"auth/token/lookup-self\" { capabilities = [\"read\"] }"
    );
}

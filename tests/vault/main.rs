//! `dbt_lease::vault` against a real OpenBao with a real PostgreSQL behind it. Faults that these cannot be made to show
//! are tested beside the code, against a stub (src/vault/faults.rs).
#![forbid(unsafe_code)]

mod aws;
mod documented;
mod faulty;
mod jwt;
mod logins;
mod methods;
mod oidc;
mod okta;
mod secrets;
mod take_backs;
mod transports;

use std::path::{Path, PathBuf};
use std::time::Duration;

use dbt_lease::config::{AppRole, Auth, Operation, RoleId, SecretId, SecretRequest, Server, Shape};
use dbt_lease::variables::Variables;
use dbt_lease::vault::auth::{Token, login};
use dbt_lease::vault::client::Client;
use dbt_lease::vault::error::VaultError;
use dbt_lease_sandbox::World;
use dbt_lease_sandbox::world::Identity;
use serde_json::json;

/// The settings for an address: no retries, as a test has no time for pauses.
fn server(address: String) -> Server {
    Server {
        timeout: Duration::from_secs(20),
        max_retries: 0,
        ..Server::at(address)
    }
}

fn client(server: &Server) -> Client {
    Client::new(server, "test-session").expect("the settings are right")
}

/// A client of the world's plain listener.
fn client_of(world: &World) -> Client {
    client(&server(world.bao().address()))
}

fn no_variables() -> Variables {
    Variables::default()
}

fn variables<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Variables {
    pairs.into_iter().collect()
}

/// The AppRole of an identity, its secret id from the file.
fn approle(identity: &Identity) -> Auth {
    Auth::AppRole(AppRole {
        mount: "approle".to_owned(),
        role_id: RoleId::Literal(identity.role_id.clone()),
        secret_id: SecretId::File(identity.secret_id_file.clone()),
        role: None,
    })
}

async fn production(world: &World, client: &Client) -> Token {
    login(client, &approle(world.production()), &no_variables())
        .await
        .expect("production may log in")
}

/// A token with the rights of this policy, as the user's own: found in VAULT_TOKEN.
async fn own_token(world: &World, client: &Client, policy: &str, more: serde_json::Value) -> Token {
    let token = new_token(world, policy, more);
    login(
        client,
        &Auth::Token,
        &variables([("VAULT_TOKEN", token.as_str())]),
    )
    .await
    .expect("the token is good")
}

fn new_token(world: &World, policy: &str, more: serde_json::Value) -> String {
    world
        .bao()
        .api("PUT", "sys/policies/acl/test", json!({"policy": policy}));
    let mut body = json!({"policies": ["test"]});
    body.as_object_mut()
        .expect("a map")
        .extend(more.as_object().expect("a map").clone());
    let answer = world.bao().api("POST", "auth/token/create", body);
    answer["auth"]["client_token"]
        .as_str()
        .expect("a token")
        .to_owned()
}

fn request(path: &str, operation: Operation, shape: Shape) -> SecretRequest {
    SecretRequest {
        name: "warehouse".to_owned(),
        path: path.to_owned(),
        operation,
        shape,
        query: Vec::new(),
        known: None,
    }
}

fn reading(path: &str) -> SecretRequest {
    request(path, Operation::Read, Shape::Plain)
}

/// What the server logged of us: operation and path of each request.
fn asked(world: &World) -> Vec<String> {
    world
        .bao()
        .requests()
        .iter()
        .map(|request| format!("{} {}", request.operation, request.path))
        .collect()
}

/// The error's text, the server's address as `ADDRESS`.
fn text(error: &VaultError, address: &str) -> String {
    error.to_string().replace(address, "ADDRESS")
}

fn hint(error: &VaultError) -> String {
    error.hint().unwrap_or_default()
}

/// A file with this text and mode, in a directory that lasts as long as the server.
fn file(world: &World, name: &str, text: impl AsRef<[u8]>, mode: u32) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let path = world.bao().directory().join(name);
    std::fs::write(&path, text).expect("it can be written");
    set_mode(&path, std::fs::Permissions::from_mode(mode));
    path
}

fn set_mode(path: &Path, mode: std::fs::Permissions) {
    std::fs::set_permissions(path, mode).expect("it is ours");
}

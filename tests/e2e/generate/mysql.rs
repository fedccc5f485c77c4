//! MySQL's role, on a MariaDB whose packages are unpacked in a directory: `just mysql`.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use dbt_lease_sandbox::{OpenBao, venv};
use serde_json::Value;

use super::Bench;
use super::setup::{apply, operator};
use crate::support::wait_until;

const LEASE: &str = "version: 1
environments:
  production:
    auth: {method: approle, role_id_env: R, secret_id_env: S}
    targets: {shop: database/creds/shop}
";

/// A server that ends with its handle.
struct MariaDb {
    root: PathBuf,
    directory: PathBuf,
    child: Child,
    port: u16,
}

impl MariaDb {
    fn start(root: &Path, directory: &Path) -> Self {
        let port = dbt_lease_sandbox::free_port();
        let data = directory.join("mariadb");
        let at = |path: &str| root.join(path).display().to_string();
        let script =
            std::fs::read_to_string(root.join("usr/bin/mariadb-install-db")).expect("the package");
        let install = directory.join("install-db");
        std::fs::write(&install, script).expect("written");
        let installed = Command::new("sh")
            .arg(&install)
            .args([
                "--no-defaults",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                "--user=root",
            ])
            .arg(format!("--basedir={}", at("usr")))
            .arg(format!("--datadir={}", data.display()))
            .env("LD_LIBRARY_PATH", at("usr/lib/x86_64-linux-gnu"))
            .output()
            .expect("it starts");
        assert!(installed.status.success(), "{installed:?}");
        let child = Command::new(at("usr/sbin/mariadbd"))
            .args([
                "--no-defaults",
                "--user=root",
                "--bind-address=127.0.0.1",
                "--skip-log-bin",
            ])
            .arg(format!("--basedir={}", at("usr")))
            .arg(format!("--datadir={}", data.display()))
            .arg(format!("--port={port}"))
            .arg(format!(
                "--socket={}",
                directory.join("mysqld.sock").display()
            ))
            .env("LD_LIBRARY_PATH", at("usr/lib/x86_64-linux-gnu"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let server = Self {
            root: root.to_owned(),
            directory: directory.to_owned(),
            child,
            port,
        };
        wait_until("MariaDB answers", || {
            server.sql("root", "", "SELECT 1").is_ok()
        });
        server
    }

    fn client(&self) -> Command {
        let mut command = Command::new(self.root.join("usr/bin/mariadb"));
        command.arg("--no-defaults").env(
            "LD_LIBRARY_PATH",
            self.root.join("usr/lib/x86_64-linux-gnu"),
        );
        command
    }

    /// Rows, or the server's words.
    fn sql(&self, user: &str, password: &str, sql: &str) -> Result<String, String> {
        let mut command = self.client();
        if user == "root" {
            command.arg(format!(
                "--socket={}",
                self.directory.join("mysqld.sock").display()
            ));
        } else {
            command
                .args(["--protocol=tcp", "--host=127.0.0.1"])
                .arg(format!("--port={}", self.port));
        }
        let output = command
            .args([
                "--user",
                user,
                "--batch",
                "--skip-column-names",
                "--execute",
                sql,
            ])
            .env("MYSQL_PWD", password)
            .output()
            .expect("the client starts");
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "needs MariaDB's packages: `just mysql`"]
fn a_user_of_mysql_is_made_used_by_two_runs_and_ended_with_its_sessions() {
    let root = PathBuf::from(
        std::env::var_os("DBT_LEASE_TEST_MARIADB")
            .expect("DBT_LEASE_TEST_MARIADB, see `just mysql`"),
    );
    let output = "    shop: {type: mysql, server: 127.0.0.1, port: 3306, schema: my_shop}\n";
    let bench = Bench::with(LEASE, output);
    let server = MariaDb::start(&root, bench.home.directory());
    server
        .sql(
            "root",
            "",
            "CREATE DATABASE my_shop; CREATE DATABASE myxshop",
        )
        .expect("made");
    let bao = OpenBao::start();
    let token = operator(&bao);
    let _ = bench.run(&["generate", "vault-setup", "--write"]).success();
    // `mysql` on PATH is the package's client.
    let client = bench.home.directory().join("tools/mysql");
    std::fs::create_dir(client.parent().expect("a directory")).expect("made");
    let library = root.join("usr/lib/x86_64-linux-gnu");
    let wrapper = format!(
        "#!/bin/sh\nLD_LIBRARY_PATH={} exec {} \"$@\"\n",
        library.display(),
        root.join("usr/bin/mariadb").display()
    );
    std::fs::write(&client, wrapper).expect("written");
    std::fs::set_permissions(&client, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("set");
    let socket = bench.home.directory().join("mysqld.sock");
    let path = format!(
        "{}:{}:/usr/bin:/bin",
        client.parent().expect("a directory").display(),
        venv().bin().display()
    );
    let variables = [
        ("PATH", path),
        ("PRODUCTION_PORT", server.port.to_string()),
        ("PRODUCTION_SSLMODE", "false".to_owned()),
        (
            "PRODUCTION_ADMIN",
            format!("--no-defaults --user=root --socket={}", socket.display()),
        ),
    ];
    for _ in 0..2 {
        let _ = apply(
            &bench,
            &bao,
            &token,
            &bench.project.join("vault/setup.sh"),
            &variables,
        )
        .success();
    }
    let lend = || -> (String, String, String) {
        let lent = bao.api("GET", "database/creds/shop", None);
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        (
            text(&lent["lease_id"]),
            text(&lent["data"]["username"]),
            text(&lent["data"]["password"]),
        )
    };
    let revoke = |lease: &str| {
        bao.api(
            "PUT",
            "sys/leases/revoke",
            serde_json::json!({"lease_id": lease, "sync": true}),
        )
    };
    let (lease, user, password) = lend();
    assert!(
        user.starts_with("dbt-production-") && user.len() <= 32,
        "{user}"
    );
    server
        .sql(&user, &password, "CREATE TABLE my_shop.orders (id int); CREATE DATABASE my_shop_mart; CREATE SQL SECURITY INVOKER VIEW my_shop.seen AS SELECT id FROM my_shop.orders")
        .expect("dbt's own statements");
    // `_` of the schema's name is no wildcard.
    let _ = server
        .sql(&user, &password, "CREATE TABLE myxshop.t (id int)")
        .expect_err("another database");
    // A session that is open at the revocation ends.
    let mut asleep = server.client();
    asleep
        .args([
            "--protocol=tcp",
            "--host=127.0.0.1",
            "--user",
            &user,
            "--execute",
            "SELECT SLEEP(600)",
        ])
        .arg(format!("--port={}", server.port))
        .env("MYSQL_PWD", &password)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut asleep = asleep.spawn().expect("it starts");
    let sessions =
        format!("SELECT COUNT(*) FROM information_schema.processlist WHERE user = '{user}'");
    wait_until("the session sleeps", || {
        server.sql("root", "", &sessions).as_deref() == Ok("1")
    });
    revoke(&lease);
    assert!(!asleep.wait().expect("it ends").success());
    assert_eq!(server.sql("root", "", &sessions).as_deref(), Ok("0"));
    let _ = server
        .sql(&user, &password, "SELECT 1")
        .expect_err("the user has gone");
    // The next one replaces what the first has made, and reads its view.
    let (lease, user, password) = lend();
    server
        .sql(&user, &password, "SELECT * FROM my_shop.seen; DROP TABLE my_shop.orders; CREATE TABLE my_shop.orders (id int, more int)")
        .expect("the second run");
    revoke(&lease);
}

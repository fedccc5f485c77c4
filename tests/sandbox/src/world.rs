//! OpenBao and a database, set up for dbt: what a test of dbt-lease starts from, and what it asks afterwards.
#![forbid(unsafe_code)]

mod setup;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::home::Home;
use crate::openbao::OpenBao;
use crate::postgres::Postgres;
use setup::{Environment, set_up_database, set_up_engines, set_up_identity};

/// The dbt project in `fixtures/` that goes with a world.
pub const PROJECT: &str = "jaffle";

/// One OpenBao server and one database of the shared cluster.
///
/// | in OpenBao | for |
/// | --- | --- |
/// | `database/creds/dbt-prod`, `database/creds/dbt-staging` | a new user of the group role, 15 minutes, 4 hours at most |
/// | `database/static-creds/dbt-static` | a static role, for production |
/// | `kv/dbt/{production,staging}` (version 1), `secret/data/dbt/{production,staging}` (version 2) | `user` and `password` |
/// | approle roles `dbt-production`, `dbt-staging` | tokens that may read their own environment's paths, and no others |
///
/// The database has the schemas `prod` and `staging`, owned by the group roles.
#[derive(Debug)]
pub struct World {
    bao: OpenBao,
    postgres: &'static Postgres,
    database: String,
    number: usize,
    production: Identity,
    staging: Identity,
    // The accessors that were there before the test.
    accessors: Vec<String>,
    // The group roles' members that are no leased users.
    members: Vec<String>,
}

/// What an environment logs in with: an AppRole.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The AppRole's name.
    pub role: &'static str,
    /// Its role id.
    pub role_id: String,
    /// A secret id, good for any number of logins.
    pub secret_id: String,
    /// A file of mode 0600 that holds the role id.
    pub role_id_file: PathBuf,
    /// A file of mode 0600 that holds the secret id.
    pub secret_id_file: PathBuf,
}

impl World {
    /// Both servers, set up.
    ///
    /// # Panics
    /// Where a server does not start or refuses a step.
    pub fn start() -> Self {
        Self::on(OpenBao::start())
    }

    /// Sets up a server that was started with other listeners.
    ///
    /// # Panics
    /// Where a server refuses a step.
    pub fn on(bao: OpenBao) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(1);

        let postgres = Postgres::shared();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // Roles belong to the whole cluster, so each world has its own.
        let environments = [
            Environment {
                name: "production",
                approle: "dbt-production",
                database_role: "dbt-prod",
                group: format!("dbt_prod_{number}"),
                schema: "prod",
            },
            Environment {
                name: "staging",
                approle: "dbt-staging",
                database_role: "dbt-staging",
                group: format!("dbt_staging_{number}"),
                schema: "staging",
            },
        ];
        let database = format!("analytics_{number}");
        let admin = format!("vault_admin_{number}");
        let fixed = format!("dbt_static_{number}");
        let password = crate::random_hex(12);
        set_up_database(
            postgres,
            &database,
            &environments,
            &admin,
            &fixed,
            &password,
        );
        set_up_engines(
            &bao,
            postgres,
            &database,
            &environments,
            &admin,
            &fixed,
            &password,
        );
        let directory = bao.directory().to_owned();
        let [production, staging] =
            environments.map(|environment| set_up_identity(&bao, &environment, &directory));
        let accessors = accessors(&bao);
        Self {
            bao,
            postgres,
            database,
            number,
            production,
            staging,
            accessors,
            members: vec![admin, fixed],
        }
    }

    /// The OpenBao server.
    pub fn bao(&self) -> &OpenBao {
        &self.bao
    }

    /// The PostgreSQL cluster, shared by this process.
    pub fn postgres(&self) -> &'static Postgres {
        self.postgres
    }

    /// The database's name.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Production's identity.
    pub fn production(&self) -> &Identity {
        &self.production
    }

    /// Staging's identity.
    pub fn staging(&self) -> &Identity {
        &self.staging
    }

    /// Runs SQL in this world's database as the superuser; each row's columns as text.
    ///
    /// # Panics
    /// Where PostgreSQL refuses it.
    pub fn query(&self, sql: &str) -> Vec<Vec<String>> {
        self.postgres.query(&self.database, sql)
    }

    /// What the fixtures' profiles.yml and dbt-lease.yml read from the environment, and that they may be obeyed.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("DBT_LEASE_TRUST", "any".to_owned()),
            ("VAULT_ADDR", self.bao.address()),
            ("JAFFLE_HOST", "127.0.0.1".to_owned()),
            ("JAFFLE_PORT", self.postgres.port().to_string()),
            ("JAFFLE_DBNAME", self.database.clone()),
            ("JAFFLE_PRODUCTION_ROLE_ID", self.production.role_id.clone()),
            (
                "JAFFLE_PRODUCTION_SECRET_ID",
                self.production.secret_id.clone(),
            ),
            ("JAFFLE_STAGING_ROLE_ID", self.staging.role_id.clone()),
            ("JAFFLE_STAGING_SECRET_ID", self.staging.secret_id.clone()),
        ]
    }

    /// A [`Home`] whose commands have [`World::variables`], and in it a copy of the dbt project: its path.
    ///
    /// # Panics
    /// Where the project cannot be copied.
    pub fn home(&self) -> (Home, PathBuf) {
        let mut home = Home::new();
        for (name, value) in self.variables() {
            home.set(name, value);
        }
        let project = home.copy_project(PROJECT);
        (home, project)
    }

    /// Logs in: the token.
    ///
    /// # Panics
    /// Where OpenBao refuses the login.
    pub fn login(&self, identity: &Identity) -> String {
        let ids = json!({"role_id": identity.role_id, "secret_id": identity.secret_id});
        let answer = self.bao.api_as("", "POST", "auth/approle/login", ids);
        let token = answer.body["auth"]["client_token"].as_str();
        token
            .unwrap_or_else(|| panic!("the login of {} failed: {answer:?}", identity.role))
            .to_owned()
    }

    /// A new secret id of this identity, response-wrapped: the wrapping token.
    ///
    /// # Panics
    /// Where OpenBao refuses it.
    pub fn wrapped_secret_id(&self, identity: &Identity, ttl: &str) -> String {
        self.bao.wrap(
            "POST",
            &format!("auth/approle/role/{}/secret-id", identity.role),
            ttl,
            None,
        )
    }

    /// The leased users that PostgreSQL knows now, those that may not log in any more included.
    ///
    /// # Panics
    /// Where PostgreSQL does not answer.
    pub fn database_users(&self) -> Vec<String> {
        let groups = [
            format!("dbt_prod_{}", self.number),
            format!("dbt_staging_{}", self.number),
        ];
        let sql = format!(
            "SELECT DISTINCT member.rolname FROM pg_auth_members \
             JOIN pg_roles member ON member.oid = pg_auth_members.member \
             JOIN pg_roles grp ON grp.oid = pg_auth_members.roleid \
             WHERE grp.rolname IN ('{}', '{}') ORDER BY 1",
            groups[0], groups[1]
        );
        let rows = self.query(&sql).into_iter().flatten();
        rows.filter(|name| !self.members.contains(name)).collect()
    }

    /// The ids of the leases that OpenBao has now, those of its tokens aside.
    ///
    /// # Panics
    /// Where OpenBao does not answer.
    pub fn leases(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut waiting = vec![String::new()];
        while let Some(prefix) = waiting.pop() {
            for key in list(&self.bao, &format!("sys/leases/lookup/{prefix}")) {
                let path = format!("{prefix}{key}");
                if path == "auth/" {
                    continue;
                }
                if path.ends_with('/') {
                    waiting.push(path)
                } else {
                    found.push(path)
                }
            }
        }
        found.sort();
        found
    }

    /// The accessors of the tokens that were made since this world started.
    ///
    /// # Panics
    /// Where OpenBao does not answer.
    pub fn tokens(&self) -> Vec<String> {
        accessors(&self.bao)
            .into_iter()
            .filter(|accessor| !self.accessors.contains(accessor))
            .collect()
    }

    /// Asserts that no leased user, lease or token is left. OpenBao ends a token's leases a moment after it answered, so
    /// this waits up to 5 s for that.
    ///
    /// # Panics
    /// Where something is left.
    pub fn assert_nothing_left(&self) {
        let started = Instant::now();
        loop {
            let left = (self.database_users(), self.leases(), self.tokens());
            if left == (vec![], vec![], vec![]) {
                return;
            }
            let (users, leases, tokens) = left;
            assert!(
                started.elapsed() < Duration::from_secs(5),
                "left behind: database users {users:?}, leases {leases:?}, tokens {tokens:?}"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // The cluster ends with the process anyway; a hundred databases at once would only fill the disk.
        let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.database);
        let _ = self
            .postgres
            .query_as("postgres", self.postgres.password(), "postgres", &sql);
    }
}

fn accessors(bao: &OpenBao) -> Vec<String> {
    list(bao, "auth/token/accessors")
}

/// The keys below a path; none where OpenBao says 404, which means the same.
fn list(bao: &OpenBao, path: &str) -> Vec<String> {
    let answer = bao.api_as(bao.root_token(), "LIST", path, None);
    assert!(
        matches!(answer.status, 200 | 404),
        "cannot list {path}: {answer:?}"
    );
    let keys = answer.body["data"]["keys"].as_array().into_iter().flatten();
    keys.filter_map(|key| key.as_str().map(str::to_owned))
        .collect()
}

//! `check`: a healthy world is found to be one, and each rule that is broken is found with a cure that cures it.
//!
//! The broken copies share one server: each case has its own database roles, policies and login roles.
#![forbid(unsafe_code)]

mod broken;
mod healthy;
mod hostile;
mod runbook;
mod servers;
mod ways;

use std::fs;
use std::path::{Path, PathBuf};

use dbt_lease_sandbox::{Home, World};
use serde_json::{Value, json};

use crate::support::{DBT_LEASE, Ran, ran};

/// One project with two environments of its own, all rules kept.
pub(super) struct Case<'w> {
    pub(super) world: &'w World,
    pub(super) home: Home,
    pub(super) project: PathBuf,
    /// Before the names of its roles and policies.
    pub(super) name: String,
}

/// Its environments: name, target.
pub(super) const ENVIRONMENTS: [(&str, &str); 2] = [("staging", "staging"), ("production", "prod")];

impl<'w> Case<'w> {
    pub(super) fn new(world: &'w World, name: &str) -> Self {
        let (home, project) = world.home();
        let case = Self {
            world,
            home,
            project,
            name: name.to_owned(),
        };
        for (environment, _) in ENVIRONMENTS {
            case.api(
                "PUT",
                &format!("sys/policies/acl/{}", case.of(environment)),
                json!({"policy": case.policy(environment)}),
            );
            let role = match environment {
                "production" => "dbt-prod",
                other => &format!("dbt-{other}"),
            };
            // As the world's own role, whose group is there.
            let mut role = world
                .bao()
                .api("GET", &format!("database/roles/{role}"), None)["data"]
                .clone();
            role["credential_config"] = Value::Null;
            case.api(
                "POST",
                &format!("database/roles/{}", case.of(environment)),
                role,
            );
            let path = case.login_role(environment);
            case.api(
                "POST",
                &path,
                json!({
                    "token_policies": [case.of(environment)],
                    "token_no_default_policy": true,
                    "token_ttl": "1h",
                    "token_max_ttl": "4h",
                    "secret_id_ttl": "720h",
                }),
            );
            let role_id = case.api("GET", &format!("{path}/role-id"), None)["data"]["role_id"]
                .as_str()
                .expect("a role id")
                .to_owned();
            case.write_id(environment, "role-id", &role_id);
            case.new_secret_id(environment);
        }
        case.configure(&case.config());
        case
    }

    /// The name of an environment's role and policy.
    pub(super) fn of(&self, environment: &str) -> String {
        format!("{}-{environment}", self.name)
    }

    pub(super) fn login_role(&self, environment: &str) -> String {
        format!("auth/approle/role/{}", self.of(environment))
    }

    pub(super) fn database_role(&self, environment: &str) -> String {
        format!("database/roles/{}", self.of(environment))
    }

    pub(super) fn api(&self, method: &str, path: &str, body: impl Into<Option<Value>>) -> Value {
        self.world.bao().api(method, path, body)
    }

    /// A file of mode 0600.
    pub(super) fn file(&self, environment: &str, what: &str) -> PathBuf {
        self.home.directory().join(format!("{environment}.{what}"))
    }

    pub(super) fn write_id(&self, environment: &str, what: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        let file = self.file(environment, what);
        fs::write(&file, text).expect("written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("its mode");
    }

    pub(super) fn new_secret_id(&self, environment: &str) {
        let path = format!("{}/secret-id", self.login_role(environment));
        let answer = self.api("POST", &path, None);
        let id = answer["data"]["secret_id"].as_str().expect("a secret id");
        self.write_id(environment, "secret-id", id);
    }

    /// What a run needs, and what `check` asks with.
    pub(super) fn policy(&self, environment: &str) -> String {
        let role = self.of(environment);
        format!(
            r#"path "database/creds/{role}" {{ capabilities = ["read"] }}
path "sys/leases/renew" {{ capabilities = ["update"] allowed_parameters = {{ "lease_id" = ["database/creds/{role}/*"], "increment" = [] }} }}
path "sys/leases/revoke" {{ capabilities = ["update"] allowed_parameters = {{ "lease_id" = ["database/creds/{role}/*"], "sync" = [] }} }}
path "auth/token/renew-self" {{ capabilities = ["update"] }}
path "auth/token/revoke-self" {{ capabilities = ["update"] }}
{}
"#,
            self.policy_of_check(environment)
        )
    }

    pub(super) fn policy_of_check(&self, environment: &str) -> String {
        let role = self.of(environment);
        format!(
            r#"path "sys/capabilities-self" {{ capabilities = ["update"] }}
path "auth/token/lookup-self" {{ capabilities = ["read"] }}
path "database/roles/{role}" {{ capabilities = ["read"] }}
path "auth/approle/role/{role}/secret-id/lookup" {{ capabilities = ["update"] }}
path "sys/audit" {{ capabilities = ["read", "sudo"] }}"#
        )
    }

    pub(super) fn set_policy(&self, environment: &str, policy: &str) {
        self.api(
            "PUT",
            &format!("sys/policies/acl/{}", self.of(environment)),
            json!({"policy": policy}),
        );
    }

    /// Its policy without the lines that hold these words.
    pub(super) fn without(&self, environment: &str, words: &str) {
        let policy = self.policy(environment);
        let lines: Vec<&str> = policy
            .lines()
            .filter(|line| !line.contains(words))
            .collect();
        self.set_policy(environment, &lines.join("\n"));
    }

    /// Its policy with further lines.
    pub(super) fn with(&self, environment: &str, lines: &str) {
        self.set_policy(
            environment,
            &format!("{}\n{lines}", self.policy(environment)),
        );
    }

    pub(super) fn config(&self) -> String {
        let mut text = "version: 1\nenvironments:\n".to_owned();
        for (environment, target) in ENVIRONMENTS {
            let role = self.of(environment);
            text.push_str(&format!(
                "  {environment}:\n    protected: {}\n    child_core_dumps: false\n    auth: {{method: approle, role: {role}, role_id_file: {}, secret_id_file: {}}}\n    targets:\n      {target}: database/creds/{role}\n",
                environment == "production",
                self.file(environment, "role-id").display(),
                self.file(environment, "secret-id").display(),
            ));
        }
        text + "  local:\n    targets:\n      dev: none\n"
    }

    pub(super) fn configure(&self, text: &str) {
        fs::write(self.project.join("dbt-lease.yml"), text).expect("written");
    }

    /// Replaces text in a file of the project.
    pub(super) fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.project.join(file);
        let text = fs::read_to_string(&path).expect("read");
        assert!(text.contains(from), "{file} has no `{from}`:\n{text}");
        fs::write(path, text.replace(from, to)).expect("written");
    }

    pub(super) fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = self.home.command(DBT_LEASE);
        command.args(arguments).current_dir(&self.project);
        ran(command
            .stdin(std::process::Stdio::null())
            .output()
            .expect("the tool starts"))
    }

    /// `check --json` with these arguments.
    #[track_caller]
    pub(super) fn check(&self, arguments: &[&str]) -> Checked {
        Checked::of(self.run(&[&["check", "--json"], arguments].concat()))
    }

    /// The same with these variables too.
    #[track_caller]
    pub(super) fn check_with(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Checked {
        let mut command = self.home.command(DBT_LEASE);
        command
            .args([&["check", "--json"], arguments].concat())
            .envs(variables.iter().copied())
            .current_dir(&self.project)
            .stdin(std::process::Stdio::null());
        Checked::of(ran(command.output().expect("the tool starts")))
    }

    /// Does what a cure says, to the letter, as the server's operator and the project's owner would.
    #[track_caller]
    pub(super) fn apply(&self, finding: &Value) {
        let cure = &finding["cure"];
        let text = cure["text"]
            .as_str()
            .unwrap_or_else(|| panic!("no cure: {finding:#}"));
        match cure["kind"].as_str() {
            Some("command") => {
                let mut shell = self.home.command("bash");
                shell
                    .args(["-euc", text])
                    .current_dir(&self.project)
                    .env("BAO_ADDR", self.world.bao().address())
                    .env("BAO_TOKEN", self.world.bao().root_token());
                let ran = ran(shell.output().expect("a shell"));
                assert_eq!(ran.code, Some(0), "{text}\n{}{}", ran.stdout, ran.stderr);
            }
            Some("policy") => {
                let path = format!(
                    "sys/policies/acl/{}",
                    cure["policy"].as_str().expect("a policy's name")
                );
                let old =
                    self.world
                        .bao()
                        .api_as(self.world.bao().root_token(), "GET", &path, None);
                let old = old.body["data"]["policy"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned();
                self.api("PUT", &path, json!({"policy": format!("{old}\n{text}")}));
            }
            Some("config") => self.set_key(text),
            other => panic!("{other:?} is for a person: {finding:#}"),
        }
    }

    /// Sets a key where it stands: in dbt-lease.yml, else in profiles.yml.
    #[track_caller]
    fn set_key(&self, line: &str) {
        let key = line.split(':').next().expect("a key");
        for file in ["dbt-lease.yml", "profiles.yml"] {
            let path = self.project.join(file);
            let text = fs::read_to_string(&path).expect("read");
            let mut found = false;
            let lines: Vec<String> = text
                .lines()
                .map(|old| {
                    let indent = &old[..old.len() - old.trim_start().len()];
                    if old.trim_start().starts_with(&format!("{key}:")) {
                        found = true;
                        format!("{indent}{line}")
                    } else {
                        old.to_owned()
                    }
                })
                .collect();
            if found {
                fs::write(path, lines.join("\n") + "\n").expect("written");
                return;
            }
        }
        panic!("nobody says `{key}`");
    }
}

/// What `check --json` said.
pub(super) struct Checked {
    pub(super) code: Option<i32>,
    pub(super) json: Value,
}

impl Checked {
    #[track_caller]
    pub(super) fn of(ran: Ran) -> Self {
        let json = serde_json::from_str(&ran.stdout)
            .unwrap_or_else(|error| panic!("{error}:\n{}{}", ran.stdout, ran.stderr));
        assert_eq!(ran.stderr, "");
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/check.md");
        let page = fs::read_to_string(page).expect("docs/check.md");
        let json: Value = json;
        for finding in json["findings"].as_array().expect("findings") {
            let id = finding["id"].as_str().expect("an id");
            assert!(
                page.contains(&format!("`{id}`")),
                "docs/check.md lacks `{id}`"
            );
        }
        Self {
            code: ran.code,
            json,
        }
    }

    pub(super) fn findings(&self) -> impl Iterator<Item = &Value> {
        self.json["findings"].as_array().expect("findings").iter()
    }

    /// The findings that are not ok, those of this machine and of a dev server's seal aside.
    pub(super) fn wrong(&self) -> Vec<&Value> {
        self.findings()
            .filter(|finding| finding["state"] != "ok")
            .filter(|finding| {
                !["swap", "core_pattern", "auto_unseal"]
                    .contains(&finding["id"].as_str().expect("an id"))
            })
            .collect()
    }

    /// The one finding of this id that is not ok.
    #[track_caller]
    pub(super) fn found(&self, id: &str, state: &str) -> &Value {
        let found: Vec<&Value> = self
            .findings()
            .filter(|finding| finding["id"] == id && finding["state"] == state)
            .collect();
        assert_eq!(found.len(), 1, "{id} {state}: {:#?}", self.wrong());
        assert_ne!(found[0]["why"], "", "{id}");
        found[0]
    }

    /// All is well, in as many words: what is not ok is listed.
    #[track_caller]
    pub(super) fn all_well(&self) {
        let wrong = self.wrong();
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert_eq!(self.code, Some(0));
    }
}

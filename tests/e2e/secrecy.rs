//! The leased password and the login's secret id stand nowhere but in the private directory, while dbt runs and after.
//!
//! What is looked for is learned by a program named `dbt` that copies its profiles.yml to a place of the test's own, and
//! then becomes the real dbt. It also samples every process's arguments meanwhile.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use dbt_lease_sandbox::venv;

use crate::support::{Lab, Ran, files_below, ran};

struct Watched {
    lab: Lab,
    learned: PathBuf,
    dbt: PathBuf,
}

impl Watched {
    fn new() -> Self {
        let lab = Lab::new();
        let learned = lab.home.directory().join("learned");
        fs::create_dir(&learned).expect("made");
        let dbt = learned.join("dbt");
        // The pause is the pace of the samples; nothing waits for it.
        let script = format!(
            "#!/bin/sh\n\
             cp \"$DBT_PROFILES_DIR/profiles.yml\" {learned}/profiles.yml\n\
             cat /proc/$$/environ > {learned}/environ\n\
             (while kill -0 $$; do cat /proc/[0-9]*/cmdline; sleep 0.1; done) </dev/null > {learned}/arguments 2>/dev/null &\n\
             exec {real} \"$@\"\n",
            learned = learned.display(),
            real = venv().dbt().display(),
        );
        fs::write(&dbt, script).expect("written");
        fs::set_permissions(&dbt, fs::Permissions::from_mode(0o755)).expect("set");
        Self { lab, learned, dbt }
    }

    /// `exec -v -- dbt … --target prod`; its output and all that it left is searched.
    #[track_caller]
    fn dbt(&self, variables: &[(&str, &str)], words: &[&str]) -> Ran {
        let mut command = self.lab.command(&["exec", "-v", "--"]);
        command
            .arg(&self.dbt)
            .args(words)
            .args(["--target", "prod"])
            .envs(variables.iter().copied());
        let ran = ran(command.output().expect("started"));
        self.assert_secret(&ran, words);
        ran
    }

    /// The value of a key of the profiles.yml that dbt got.
    fn learned(&self, key: &str) -> String {
        let text = fs::read_to_string(self.learned.join("profiles.yml")).expect("dbt was started");
        let line = text
            .lines()
            .find(|line| line.contains(&format!("\"{key}\": ")));
        let value = line.and_then(|line| line.split_once(": ")).expect(key).1;
        value.trim_matches('"').to_owned()
    }

    #[track_caller]
    fn assert_secret(&self, ran: &Ran, words: &[&str]) {
        let password = self.learned("password");
        assert!(password.len() >= 16, "that is no leased password");
        let secret_id = &self.lab.world.production().secret_id;
        for (what, secret) in [("password", &password), ("secret id", secret_id)] {
            self.assert_nowhere(ran, words, what, secret);
        }
        // The search would find it.
        let profiles = fs::read(self.learned.join("profiles.yml")).expect("read");
        assert!(is_in(&profiles, &password));
    }

    #[track_caller]
    fn assert_nowhere(&self, ran: &Ran, words: &[&str], what: &str, secret: &str) {
        let leaks = |bytes: &[u8]| is_in(bytes, secret);
        assert!(
            !leaks(ran.stdout.as_bytes()),
            "{words:?}: the {what} is in stdout"
        );
        assert!(
            !leaks(ran.stderr.as_bytes()),
            "{words:?}: the {what} is in stderr"
        );
        for name in ["arguments", "environ"] {
            let bytes = fs::read(self.learned.join(name)).expect("dbt was started");
            assert!(!bytes.is_empty());
            assert!(!leaks(&bytes), "{words:?}: the {what} is in {name}");
        }
        let files = files_below(self.lab.home.directory());
        let files: Vec<_> = files
            .iter()
            .filter(|file| file.is_file() && !file.starts_with(&self.learned))
            .collect();
        for file in &files {
            let bytes = fs::read(file).expect("read");
            assert!(
                !leaks(&bytes),
                "{words:?}: the {what} is in {}",
                file.display()
            );
        }
        // What must have been searched was there.
        for part in ["state/dbt-lease/audit.jsonl", "logs/dbt.log"] {
            assert!(files.iter().any(|file| file.ends_with(part)), "no {part}");
        }
    }

    /// Nothing of any run is left in the places for temporary and own files.
    fn assert_clean(&self) {
        let home = &self.lab.home;
        for directory in [&home.tmp(), &home.home(), home.runtime()] {
            let left = files_below(directory);
            assert!(left.is_empty(), "{left:?}");
        }
        self.lab.assert_nothing_left();
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.lab.project.join(file), text).expect("written");
    }
}

/// Whether the bytes hold the secret in one of its forms.
fn is_in(bytes: &[u8], secret: &str) -> bool {
    let text = String::from_utf8_lossy(bytes);
    forms(secret).iter().any(|form| text.contains(form))
}

/// The secret as it is, in base64 at any offset, URL-encoded, and as JSON, Python and YAML write it.
fn forms(secret: &str) -> BTreeSet<String> {
    let json = serde_json::to_string(secret).expect("JSON");
    let url_encoded = |escape: fn(u8) -> String| -> String {
        secret
            .bytes()
            .map(|byte| match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    char::from(byte).to_string()
                }
                byte => escape(byte),
            })
            .collect()
    };
    let url = url_encoded(|byte| format!("%{byte:02X}"));
    let lower_case = url_encoded(|byte| format!("%{byte:02x}"));
    let mut forms = BTreeSet::from([
        secret.to_owned(),
        json[1..json.len() - 1].to_owned(),
        json[1..json.len() - 1].replace('\'', "\\'"),
        url.replace("%20", "+"),
        url,
        lower_case,
    ]);
    for offset in 0..3 {
        for (plus, slash) in [(b'+', b'/'), (b'-', b'_')] {
            forms.insert(base64_inside(secret.as_bytes(), offset, plus, slash));
        }
    }
    forms
}

/// The digits of base64 that stand for these bytes alone, where they begin at this offset of a longer text.
fn base64_inside(bytes: &[u8], offset: usize, plus: u8, slash: u8) -> String {
    let digits: Vec<u8> = (b'A'..=b'Z')
        .chain(b'a'..=b'z')
        .chain(b'0'..=b'9')
        .chain([plus, slash])
        .collect();
    // The first group that holds nothing of what stands before.
    let whole = &bytes[(3 - offset) % 3..];
    whole
        .chunks_exact(3)
        .flat_map(|group| {
            let bits = u32::from(group[0]) << 16 | u32::from(group[1]) << 8 | u32::from(group[2]);
            [18, 12, 6, 0].map(|shift| char::from(digits[(bits >> shift & 63) as usize]))
        })
        .collect()
}

#[test]
fn the_search_finds_what_it_looks_for() {
    let secret = "s3cret/+ \"é-value";
    for text in [
        "a s3cret/+ \"é-value b",
        r#"{"p": "s3cret/+ \"é-value"}"#,
        "https://x/?p=s3cret%2F%2B%20%22%C3%A9-value",
        "p=s3cret%2f%2b%20%22%c3%a9-value",
        // printf '%s' 'x:s3cret…' | base64, with nought to two letters before.
        "czNjcmV0LysgIsOpLXZhbHVl",
        "eHMzY3JldC8rICLDqS12YWx1ZQ==",
        "eDpzM2NyZXQvKyAiw6ktdmFsdWU=",
    ] {
        assert!(is_in(text.as_bytes(), secret), "{text}");
    }
    assert!(!is_in(b"s3cret/+ value", secret));
}

#[test]
fn runs_that_end_well_show_no_secret() {
    let watched = Watched::new();
    watched.write(
        "models/marts/talker.sql",
        "{{ log(target, info=true) }}{{ print(builtins.env_var('DBT_LEASE_SESSION')) }}select 1 as id",
    );
    for words in [&["build"][..], &["debug"], &["--debug", "run"]] {
        let ran = watched.dbt(&[], words).code(0);
        assert!(
            ran.stderr.contains("1 lease, 1 revoked, verified"),
            "{}",
            ran.stderr
        );
    }
    watched.assert_clean();
}

#[test]
fn runs_that_fail_show_no_secret() {
    let watched = Watched::new();
    watched.write("models/marts/broken.sql", "select 1 / 0 as broken");
    let ran = watched
        .dbt(&[], &["--debug", "run", "-s", "broken"])
        .code(1);
    assert!(ran.stdout.contains("division by zero"), "{}", ran.stdout);

    // PostgreSQL does not listen there.
    let ran = watched
        .dbt(
            &[("JAFFLE_HOST", "127.0.0.2")],
            &["--debug", "run", "-s", "broken"],
        )
        .code(2);
    assert!(ran.stdout.contains("127.0.0.2"), "{}", ran.stdout);

    watched.write("models/marts/broken.sql", "{{ no_such_macro(target) }}");
    let _ = watched
        .dbt(&[], &["--debug", "run", "-s", "broken"])
        .code(1);

    // An output that dbt cannot render: it shows the value of the key, which is the user's own text.
    let profiles = fs::read_to_string(watched.lab.project.join("profiles.yml")).expect("read");
    watched.write(
        "profiles.yml",
        &profiles.replace(
            "schema: prod\n",
            "schema: prod\n      sslmode: \"{{ no_such_macro( }}\"\n",
        ),
    );
    let _ = watched
        .dbt(&[], &["--debug", "run", "-s", "broken"])
        .code(2);
    watched.assert_clean();
}

#[test]
fn a_password_of_odd_characters_reaches_the_database_and_nothing_else() {
    let watched = Watched::new();
    let lab = &watched.lab;
    let password = "-{{ x }}'\"\\ é%41 {% raw %}$HOME`id`: #&*!|>@+/=";
    let user = format!("odd_{}", lab.world.database());
    let quoted = password.replace('\'', "''");
    lab.world.query(&format!(
        "CREATE ROLE {user} LOGIN PASSWORD E'{}'",
        quoted.replace('\\', "\\\\")
    ));
    let secret = serde_json::json!({"user": user, "password": password});
    lab.world.bao().api("POST", "kv/dbt/production", secret);
    lab.configure(
        r#"
version: 1
environments:
  production:
    protected: true
    auth: {method: approle, role_id_env: JAFFLE_PRODUCTION_ROLE_ID, secret_id_env: JAFFLE_PRODUCTION_SECRET_ID}
    targets:
      prod:
        secrets: {shop: {path: kv/dbt/production, engine: kv1}}
        fields: {user: "{{ vault.shop.user }}", password: "{{ vault.shop.password }}"}
"#,
    );
    let mut command = lab.command(&["exec", "-v", "--"]);
    command
        .arg(&watched.dbt)
        .args(["--debug", "debug", "--target", "prod"]);
    let ran = ran(command.output().expect("started"));
    watched.assert_nowhere(&ran, &["debug"], "password", password);
    let ran = ran.code(0);
    assert!(ran.stdout.contains("All checks passed!"), "{}", ran.stdout);
    lab.world.query(&format!("DROP ROLE {user}"));
    watched.assert_clean();
}

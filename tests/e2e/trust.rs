//! The attacks that trust stops (docs/security.md), each tried.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{DBT_LEASED, Lab, Ran, Running, files_below, ran};

const EXEC: [&str; 6] = ["exec", "--target", "prod", "--", "echo", "started"];

/// The tool as a user starts it who has said nothing about trust.
fn untold<S: AsRef<std::ffi::OsStr>>(lab: &Lab, arguments: &[S]) -> Command {
    let mut command = lab.command(arguments);
    command.env_remove("DBT_LEASE_TRUST");
    command
}

fn run_untold(lab: &Lab, arguments: &[&str]) -> Ran {
    ran(untold(lab, arguments).output().expect("the tool starts"))
}

/// Runs `exec` without a word about trust; it must be refused for this reason, start nothing and ask nobody for anything.
#[track_caller]
fn refused(lab: &Lab, kind: &str) -> String {
    refusal(lab, untold(lab, &EXEC), kind)
}

/// The same where every checkout is trusted.
#[track_caller]
fn refused_though_trusted(lab: &Lab, kind: &str) -> String {
    refusal(lab, lab.command(&EXEC), kind)
}

#[track_caller]
fn refusal(lab: &Lab, mut command: Command, kind: &str) -> String {
    let requests = lab.requests().len();
    let ran = ran(command
        .env("DBT_LEASE_LOG_FORMAT", "json")
        .output()
        .expect("the tool starts"))
    .code(125);
    assert_eq!(ran.stdout, "", "the command was started");
    let said: serde_json::Value = serde_json::from_str(&ran.stderr).expect("one JSON object");
    assert_eq!(said["kind"], kind, "{}", ran.stderr);
    assert_eq!(lab.requests().len(), requests, "Vault was asked");
    format!(
        "{}\nhint: {}",
        said["message"].as_str().expect("text"),
        said["hint"].as_str().unwrap_or_default()
    )
}

/// A server of the attacker's.
struct Attacker(TcpListener);

impl Attacker {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("non-blocking");
        Self(listener)
    }

    fn address(&self) -> String {
        format!("http://{}", self.0.local_addr().expect("an address"))
    }

    /// The first request that comes, which is refused.
    fn take(&self) -> String {
        self.0.set_nonblocking(false).expect("blocking");
        let (mut connection, _) = self.0.accept().expect("somebody comes");
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"}") {
            assert_eq!(connection.read(&mut byte).expect("a request"), 1);
            request.push(byte[0]);
        }
        let answer = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        connection.write_all(answer.as_bytes()).expect("answered");
        String::from_utf8(request).expect("text")
    }

    /// Nobody connected: the kernel completes connections before they are accepted, so one that was made is there.
    #[track_caller]
    fn assert_nobody_came(&self) {
        let outcome = self.0.accept();
        assert!(
            matches!(&outcome, Err(error) if error.kind() == ErrorKind::WouldBlock),
            "somebody connected: {outcome:?}"
        );
    }
}

/// The project's dbt-lease.yml with one text replaced.
fn edit(lab: &Lab, from: &str, to: &str) {
    let file = lab.project.join("dbt-lease.yml");
    let text = std::fs::read_to_string(&file).expect("dbt-lease.yml");
    assert!(text.contains(from), "{from}");
    lab.configure(&text.replace(from, to));
}

fn hash(lab: &Lab) -> String {
    let stdout = run_untold(lab, &["trust", "--show"]).silent().success();
    let line = stdout
        .lines()
        .find(|line| line.starts_with("hash"))
        .expect("the hash");
    line.split_whitespace().nth(1).expect("the hash").to_owned()
}

fn kept(lab: &Lab) -> Vec<PathBuf> {
    files_below(&lab.home.state().join("dbt-lease/trust"))
}

fn set_mode(file: &Path, mode: u32) {
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).expect("a mode");
}

#[test]
fn nothing_is_lent_before_the_file_is_trusted_and_the_refusal_says_what_it_would_do() {
    let lab = Lab::new();
    let said = refused(&lab, "not_trusted");
    let file = lab.project.join("dbt-lease.yml").display().to_string();
    let expected = format!(
        "`{file}` is not trusted yet; this command would\n    log in to {} at auth/approle (role id from the variable \
         JAFFLE_PRODUCTION_ROLE_ID, secret id from the variable JAFFLE_PRODUCTION_SECRET_ID)\n    read database/creds/dbt-prod for \
         the target `prod` of the environment `production`\n    set the output's keys for user and password, as the adapter names \
         them\nhint: if it may: dbt-lease trust --config {file}\nin CI, and for services: DBT_LEASE_TRUST={}",
        lab.world.bao().address(),
        hash(&lab)
    );
    assert_eq!(said, expected);
    assert!(lab.record().is_empty());
    // The command of the hint, without its terminal.
    run_untold(&lab, &["trust", "--config", &file, "--yes"])
        .silent()
        .success();
    assert_eq!(run_untold(&lab, &EXEC).silent().success(), "started\n");
    lab.assert_nothing_left();
}

#[test]
fn the_shim_obeys_no_stranger_either() {
    let lab = Lab::new();
    let mut command = lab.in_its_environment(DBT_LEASED);
    command
        .args(["debug", "--target", "prod"])
        .env_remove("DBT_LEASE_TRUST");
    let _ = ran(command.output().expect("started"))
        .code(125)
        .says(&["is not trusted yet"]);
    assert!(lab.requests().is_empty());
}

#[test]
fn a_vault_address_that_a_checkout_changes_is_not_obeyed() {
    let lab = Lab::new();
    run_untold(&lab, &["trust", "--yes"]).success();
    let attacker = Attacker::new();
    edit(
        &lab,
        "version: 1",
        &format!("version: 1\nvault: {{address: '{}'}}", attacker.address()),
    );
    let said = refused(&lab, "not_trusted");
    assert!(
        said.contains("says something else than what you trusted"),
        "{said}"
    );
    assert!(
        said.contains(&format!("log in to {}", attacker.address())),
        "{said}"
    );
    attacker.assert_nobody_came();
    // It is the values that count: the old ones are trusted as before, under whatever comments.
    edit(
        &lab,
        &format!("vault: {{address: '{}'}}", attacker.address()),
        "# as it was",
    );
    run_untold(&lab, &EXEC).silent().success();
}

#[test]
fn an_id_file_that_a_checkout_points_to_a_private_key_is_not_read() {
    let lab = Lab::new();
    let key = lab.home.home().join(".ssh/id_ed25519");
    std::fs::create_dir(key.parent().expect("a directory")).expect("made");
    std::fs::write(&key, "private-key-material\n").expect("written");
    run_untold(&lab, &["trust", "--yes"]).success();
    let attacker = Attacker::new();
    edit(
        &lab,
        "version: 1",
        &format!("version: 1\nvault: {{address: '{}'}}", attacker.address()),
    );
    edit(
        &lab,
        "secret_id_env: JAFFLE_PRODUCTION_SECRET_ID",
        "secret_id_file: ~/.ssh/id_ed25519",
    );
    let said = refused(&lab, "not_trusted");
    assert!(
        said.contains(&format!("secret id from {}", key.display())),
        "{said}"
    );
    assert!(!said.contains("private-key-material"), "{said}");
    attacker.assert_nobody_came();
    // Where every checkout is trusted the file is obeyed: this is what it would have sent.
    let running = Running::start(lab.command(&EXEC));
    assert!(attacker.take().contains("private-key-material"));
    let _ = running.end().code(125);
}

#[test]
fn a_token_file_or_command_that_a_checkout_names_is_neither_read_nor_run() {
    let before = "{method: approle, role_id_env: JAFFLE_PRODUCTION_ROLE_ID, secret_id_env: JAFFLE_PRODUCTION_SECRET_ID}";
    for token in ["{file: ~/.ssh/id}", "{command: [touch, MARK]}"] {
        let lab = Lab::new();
        let key = lab.home.home().join(".ssh/id");
        std::fs::create_dir(key.parent().expect("a directory")).expect("made");
        std::fs::write(&key, "private-key-material\n").expect("written");
        run_untold(&lab, &["trust", "--yes"]).success();
        let attacker = Attacker::new();
        let mark = lab.home.home().join("mark");
        let token = token.replace("MARK", &mark.display().to_string());
        edit(
            &lab,
            "version: 1",
            &format!("version: 1\nvault: {{address: '{}'}}", attacker.address()),
        );
        edit(
            &lab,
            before,
            &format!("{{method: jwt, role: dbt, token: {token}}}"),
        );
        let said = refused(&lab, "not_trusted");
        assert!(!said.contains("private-key-material"), "{said}");
        attacker.assert_nobody_came();
        assert!(!mark.exists(), "{token} was run");
        // Where every checkout is trusted both are obeyed: this is what would have happened.
        let running = Running::start(lab.command(&EXEC));
        if token.contains("file") {
            assert!(attacker.take().contains("private-key-material"));
        }
        let _ = running.end().code(125);
        assert_eq!(mark.exists(), token.contains("command"));
    }
}

#[test]
fn a_trusted_hash_in_the_environment_is_enough_and_another_is_not() {
    let lab = Lab::new();
    let hash = hash(&lab);
    let with = |trust: &str| {
        let mut command = untold(&lab, &EXEC);
        command.env("DBT_LEASE_TRUST", trust);
        ran(command.output().expect("started"))
    };
    with(&hash).silent().success();
    with(&format!("{},{}", "0".repeat(64), hash.to_uppercase()))
        .silent()
        .success();
    let _ = with(&"0".repeat(64))
        .code(125)
        .says(&["is not trusted yet"]);
    let _ = with("yes").code(125).says(&[
        "DBT_LEASE_TRUST holds a word that is neither `any` nor a hash of 64 hexadecimal digits",
    ]);
    assert!(kept(&lab).is_empty());
}

#[test]
fn another_checkout_that_says_the_same_is_trusted_too() {
    let lab = Lab::new();
    run_untold(&lab, &["trust", "--yes"]).success();
    let other = lab.home.directory().join("other");
    let copied = lab
        .in_its_environment("cp")
        .args(["-r", "."])
        .arg(&other)
        .status()
        .expect("cp");
    assert!(copied.success());
    let mut command = untold(&lab, &EXEC);
    command.current_dir(&other);
    ran(command.output().expect("started")).silent().success();
}

#[test]
fn without_a_terminal_trust_asks_nobody_and_keeps_nothing() {
    let lab = Lab::new();
    let mut command = untold(&lab, &["trust"]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("started");
    // A script's `yes |` is not the user's word. The tool may be gone before it is written.
    let _ = child.stdin.take().expect("piped").write_all(b"y\n");
    let ran = ran(child.wait_with_output().expect("ended"))
        .code(1)
        .says(&[
            "is not trusted, and without a terminal nobody can be asked",
            "dbt-lease trust --yes, or DBT_LEASE_TRUST=",
        ]);
    assert!(
        ran.stdout.contains("environment production, protected\n"),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.ends_with("\nnot trusted\n"), "{}", ran.stdout);
    assert!(kept(&lab).is_empty());
    refused(&lab, "not_trusted");
}

#[test]
fn on_a_terminal_trust_asks_and_only_yes_is_yes() {
    let lab = Lab::new();
    for (answer, is_yes) in [
        ("\n", false),
        ("n\n", false),
        ("yep\n", false),
        ("y\n", true),
    ] {
        let pty = nix::pty::openpty(None, None).expect("a pseudo-terminal");
        let end = |fd: &OwnedFd| Stdio::from(fd.as_fd().try_clone_to_owned().expect("duplicated"));
        let mut child = untold(&lab, &["trust"])
            .stdin(end(&pty.slave))
            .stdout(Stdio::null())
            .stderr(end(&pty.slave))
            .spawn()
            .expect("started");
        drop(pty.slave);
        let mut terminal = std::fs::File::from(pty.master);
        let mut asked = String::new();
        let mut byte = [0];
        while !asked.ends_with("[y/N] ") {
            assert_eq!(terminal.read(&mut byte).expect("it asks"), 1, "{asked}");
            asked.push(char::from(byte[0]));
        }
        terminal.write_all(answer.as_bytes()).expect("answered");
        let code = child.wait().expect("ended").code();
        assert_eq!(code, Some(if is_yes { 0 } else { 1 }), "{answer:?}");
        assert_eq!(kept(&lab).len(), usize::from(is_yes), "{answer:?}");
    }
    run_untold(&lab, &EXEC).silent().success();
}

#[test]
fn without_a_home_only_the_environment_can_say_it() {
    let lab = Lab::new();
    let homeless = |arguments: &[&str]| {
        let mut command = untold(&lab, arguments);
        command
            .args(["--config", "dbt-lease.yml"])
            .env_remove("HOME")
            .env_remove("XDG_STATE_HOME");
        command
    };
    let ran_trust = ran(homeless(&["trust", "--yes"]).output().expect("started"));
    let _ = ran_trust.code(1).says(&[
        "neither XDG_STATE_HOME nor HOME is set",
        "say it by DBT_LEASE_TRUST=",
    ]);
    let exec = [
        "--config",
        "dbt-lease.yml",
        "exec",
        "--target",
        "prod",
        "--",
        "true",
    ];
    let mut command = untold(&lab, &exec);
    command.env_remove("HOME").env_remove("XDG_STATE_HOME");
    let _ = ran(command.output().expect("started"))
        .code(125)
        .says(&["(without HOME and XDG_STATE_HOME there is no other way)"]);
}

#[test]
fn looking_needs_no_trust() {
    let lab = Lab::new();
    run_untold(&lab, &["plan", "--target", "prod"])
        .silent()
        .success();
    run_untold(&lab, &["render", "--target", "prod"])
        .silent()
        .success();
    run_untold(&lab, &["trust", "--show"]).silent().success();
    assert!(lab.requests().is_empty() && kept(&lab).is_empty());
}

#[test]
fn what_borrows_nothing_needs_no_trust_unless_the_file_steers_other_programs() {
    let lab = Lab::new();
    let ls = [
        "exec",
        "--",
        "dbt",
        "ls",
        "--target",
        "prod",
        "--resource-type",
        "model",
    ];
    run_untold(&lab, &ls).silent().success();
    run_untold(&lab, &["exec", "--target", "dev", "--", "true"])
        .silent()
        .success();
    let with = |variable: &str| {
        lab.configure(&format!(
            "version: 1\nenvironments:\n  e:\n    auth: {{method: approle, role_id: r, secret_id_env: S}}\n    targets:\n      \
             prod: {{secrets: {{warehouse: database/creds/x}}, env: {{{variable}}}, fields: {{user: '{{{{ vault.warehouse.username }}}}', \
             password: '{{{{ vault.warehouse.password }}}}'}}}}\n"
        ));
        run_untold(&lab, &ls)
    };
    with("DBT_ENV_SECRET_PASSWORD: '{{ vault.warehouse.password }}'")
        .silent()
        .success();
    let _ = with("AWS_CONFIG_FILE: ./aws")
        .code(125)
        .says(&["is not trusted yet; this command would\n    set AWS_CONFIG_FILE in the command's environment"]);
}

#[test]
fn a_file_that_every_user_may_write_is_not_obeyed() {
    let lab = Lab::new();
    run_untold(&lab, &["trust", "--yes"]).success();
    let settings = lab.home.home().join(".dbt/user_settings.yml");
    std::fs::create_dir_all(settings.parent().expect("a directory")).expect("made");
    std::fs::write(&settings, "flags: {}\n").expect("written");
    std::fs::write(lab.project.join(".env"), "KEPT=1\n").expect("written");
    let files = [
        lab.project.join("dbt-lease.yml"),
        lab.project.join("profiles.yml"),
        lab.project.join(".env"),
        settings,
    ];
    for file in &files {
        set_mode(file, 0o666);
        let said = refused(&lab, "foreign_file");
        let path = file.display();
        assert!(
            said.contains(&format!("`{path}` decides what is lent, and every user of this machine may write it (mode 0666)")),
            "{said}"
        );
        assert!(
            said.contains(&format!("hint: chmod o-w {path}\n")),
            "{said}"
        );
        lab.run(&EXEC).silent().success();
        // A group is somebody's choice.
        set_mode(file, 0o664);
        run_untold(&lab, &EXEC).silent().success();
    }
}

#[test]
fn a_file_of_another_user_is_not_obeyed() {
    let lab = Lab::new();
    if !nix::unistd::geteuid().is_root() {
        // Only root can give a file away: then this is shown by CI, which is root.
        return;
    }
    run_untold(&lab, &["trust", "--yes"]).success();
    // As `/tmp/.env` lies above a checkout in /tmp: dbt reads the nearest one upwards.
    let above = lab.home.directory().join(".env");
    std::fs::write(&above, "DBT_TARGET=prod\n").expect("written");
    let files = [
        above,
        lab.project.join("profiles.yml"),
        lab.project.join("dbt-lease.yml"),
    ];
    for file in files {
        run_untold(&lab, &EXEC).silent().success();
        std::os::unix::fs::chown(&file, Some(65534), None).expect("given away");
        let said = refused(&lab, "foreign_file");
        assert!(
            said.contains(&format!(
                "`{}` decides what is lent, and belongs to",
                file.display()
            )),
            "{said}"
        );
        lab.run(&EXEC).silent().success();
        std::os::unix::fs::chown(&file, Some(0), None).expect("taken back");
    }
    // Whoever owns a link chooses where it leads, be it to a file that is trusted for something else.
    for name in ["profiles.yml", "dbt-lease.yml"] {
        let (link, file) = (lab.project.join(name), lab.project.join("real"));
        std::fs::rename(&link, &file).expect("renamed");
        std::os::unix::fs::symlink("real", &link).expect("a link");
        run_untold(&lab, &EXEC).silent().success();
        std::os::unix::fs::lchown(&link, Some(65534), None).expect("given away");
        let said = refused(&lab, "foreign_file");
        assert!(said.contains("is a link that belongs to"), "{said}");
        std::fs::rename(&file, &link).expect("put back");
    }
}

#[test]
fn env_cannot_make_the_child_load_code() {
    let lab = Lab::new();
    for name in [
        "LD_PRELOAD",
        "PYTHONPATH",
        "PATH",
        "BASH_ENV",
        "HTTPS_PROXY",
        "VAULT_ADDR",
    ] {
        lab.configure(&format!(
            "version: 1\nenvironments:\n  e:\n    auth: {{method: approle, role_id: r, secret_id_env: S}}\n    targets:\n      \
             prod: {{secrets: {{warehouse: database/creds/x}}, env: {{{name}: ./evil}}}}\n"
        ));
        let said = refused_though_trusted(&lab, "config_bad_value");
        assert!(said.contains(&format!("env.{name}")), "{said}");
    }
}

#[test]
fn a_path_that_a_server_could_read_otherwise_than_we_do_is_refused() {
    let lab = Lab::new();
    let good = std::fs::read_to_string(lab.project.join("dbt-lease.yml")).expect("dbt-lease.yml");
    for path in [
        "database/creds/dbt%2Dprod",
        "database//creds/dbt-prod",
        "database/creds/../creds/dbt-prod",
        "database/creds/./dbt-prod",
        "database/creds/dbt-prod?x",
        "database/creds/dbt-prod#x",
        "/database/creds/dbt-prod/",
    ] {
        lab.configure(&good.replace("database/creds/dbt-prod", &format!("'{path}'")));
        refused_though_trusted(&lab, "config_bad_value");
    }
}

#[test]
fn an_edited_host_does_not_get_the_password() {
    let lab = Lab::new();
    let port = lab.world.postgres().port();
    edit(
        &lab,
        "prod: database/creds/dbt-prod",
        &format!(
            "prod: {{secrets: {{warehouse: database/creds/dbt-prod}}, expect: {{host: 127.0.0.1, port: {port}}}}}"
        ),
    );
    lab.run(&EXEC).silent().success();
    let attacker = Attacker::new();
    let profiles = lab.project.join("profiles.yml");
    let good = std::fs::read_to_string(&profiles).expect("profiles.yml");
    let host = "{{ env_var('JAFFLE_HOST', 'localhost') }}";
    assert!(good.contains(host));
    for (edited, kind) in [
        ("evil.example.com", "unexpected_output"),
        (
            "{{ env_var('EVIL', 'evil.example.com') }}",
            "unexpected_output",
        ),
        // Tells the look before the lease from dbt's own.
        (
            "{{ 'evil.example.com' if env_var('DBT_LEASE_SESSION', '') else '127.0.0.1' }}",
            "output_not_comparable",
        ),
    ] {
        std::fs::write(&profiles, good.replace(host, edited)).expect("written");
        refused_though_trusted(&lab, kind);
        let plan = lab.run(&["plan", "--json", "--target", "prod"]).code(1);
        let plan: serde_json::Value = serde_json::from_str(&plan.stdout).expect("JSON");
        assert_eq!(plan["error"]["kind"], kind);
    }
    std::fs::write(&profiles, &good).expect("written");
    // libpq obeys it before the host, and dbt loads `.env` of the checkout.
    std::fs::write(lab.project.join(".env"), "PGHOSTADDR=192.0.2.1\n").expect("written");
    refused_though_trusted(&lab, "unexpected_output");
    attacker.assert_nobody_came();
}

#[test]
fn the_user_s_own_token_goes_to_the_user_s_own_server_alone() {
    let lab = Lab::new();
    let attacker = Attacker::new();
    lab.configure(&format!(
        "version: 1\nvault: {{address: '{}'}}\nenvironments:\n  e:\n    auth: {{method: token}}\n    targets:\n      prod: \
         database/creds/dbt-prod\n",
        attacker.address()
    ));
    std::fs::write(lab.home.home().join(".vault-token"), "hvs.of-the-user").expect("written");
    for own in [Some(lab.world.bao().address()), None] {
        let mut command = lab.command(&EXEC);
        command.env("VAULT_TOKEN", "hvs.of-the-user");
        match &own {
            Some(address) => command.env("VAULT_ADDR", address),
            None => command.env_remove("VAULT_ADDR"),
        };
        let said = refusal(&lab, command, "token_to_foreign_address");
        assert!(
            said.contains(&attacker.address()) && !said.contains("hvs."),
            "{said}"
        );
    }
    attacker.assert_nobody_came();
}

#[test]
fn our_own_and_vaults_variables_are_never_taken_from_a_dotenv() {
    let lab = Lab::new();
    let attacker = Attacker::new();
    let elsewhere = lab.home.directory().join("elsewhere.yml");
    std::fs::write(&elsewhere, "version: 1\n").expect("written");
    let dotenv = format!(
        "DBT_LEASE_TRUST=any\nDBT_LEASE_CONFIG={}\nDBT_LEASE_AUDIT_FILE=/dev/null\nVAULT_ADDR={1}\nBAO_ADDR={1}\nVAULT_TOKEN=x\n\
         VAULT_SKIP_VERIFY=1\nXDG_STATE_HOME={2}\nHOME={2}\nJAFFLE_PRODUCTION_ROLE_ID=x\n",
        elsewhere.display(),
        attacker.address(),
        lab.project.display(),
    );
    std::fs::write(lab.project.join(".env"), dotenv).expect("written");
    // Not its trust, and not its dbt-lease.yml.
    refused(&lab, "not_trusted");
    // Not its address.
    run_untold(&lab, &["trust", "--yes"]).silent().success();
    run_untold(&lab, &EXEC).silent().success();
    assert_eq!(lab.record().len(), 2);
    let mut command = untold(&lab, &EXEC);
    command.env_remove("VAULT_ADDR");
    let said = refusal(&lab, command, "no_vault_address");
    assert!(said.contains("no address of Vault"), "{said}");
    // Not what a login is made of.
    let mut command = untold(&lab, &EXEC);
    command.env_remove("JAFFLE_PRODUCTION_ROLE_ID");
    let ran = ran(command.output().expect("started")).code(125);
    assert!(
        ran.stderr.contains("JAFFLE_PRODUCTION_ROLE_ID"),
        "{}",
        ran.stderr
    );
    attacker.assert_nobody_came();
}

#[test]
fn what_a_file_extends_is_trusted_with_it_and_asks_again_when_it_changes() {
    let lab = Lab::new();
    let shared = lab
        .project
        .parent()
        .expect("a parent")
        .join("dbt-lease.yml");
    std::fs::copy(lab.project.join("dbt-lease.yml"), &shared).expect("copied");
    lab.configure("version: 1\nextends: ../dbt-lease.yml\n");
    refused(&lab, "not_trusted");
    let shown = run_untold(&lab, &["trust", "--yes"]).success();
    assert!(shown.contains(&shared.display().to_string()), "{shown}");
    assert!(shown.contains("database/creds/dbt-prod"), "{shown}");
    assert_eq!(run_untold(&lab, &EXEC).silent().success(), "started\n");

    let text = std::fs::read_to_string(&shared).expect("read");
    std::fs::write(&shared, text.replace("dbt-staging", "dbt-other")).expect("written");
    refused(&lab, "not_trusted");
    let _ = run_untold(&lab, &["trust", "--yes"]).success();
    assert_eq!(run_untold(&lab, &EXEC).silent().success(), "started\n");

    set_mode(&shared, 0o646);
    let said = refused(&lab, "foreign_file");
    assert!(said.contains(&shared.display().to_string()), "{said}");
    lab.assert_nothing_left();
}

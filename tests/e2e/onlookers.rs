//! Another process of the same user, and one of another user, look for the password while a run goes on: in every process's arguments
//! and environment, in the memory of the run's own processes, on the file systems. They find it where DESIGN's second rule allows it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{DBT_LEASE, Lab, Running, files_below};

/// Two users that nobody is.
const USER: u32 = 64_321;
const ANOTHER: u32 = 64_322;

/// The onlooker, as a process of its own (the test below, by name). It prints each place where the secret is (`memory of NAME`,
/// `environment of NAME`, `arguments of NAME`, a path), and each that is closed to it (`closed: …`).
struct Onlooker {
    secret: String,
    /// The run's own processes.
    processes: BTreeMap<String, String>,
}

impl Onlooker {
    /// Reads what to look for from its input.
    fn look(&self, directories: &[String], since: u64) {
        for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
            let pid = entry.file_name().to_string_lossy().into_owned();
            if pid.parse().is_ok_and(|pid: u32| pid != std::process::id()) {
                self.file("arguments", &pid, &entry.path().join("cmdline"));
                self.file("environment", &pid, &entry.path().join("environ"));
            }
        }
        for (pid, name) in &self.processes {
            match self.memory(pid) {
                Ok(true) => say(&format!("memory of {name}")),
                Ok(false) => {}
                Err(_) => say(&format!("closed: memory of {name}")),
            }
        }
        let own = nix::unistd::geteuid().as_raw();
        for path in directories
            .iter()
            .flat_map(|directory| files_below(Path::new(directory)))
        {
            let Ok(found) = path.symlink_metadata() else {
                continue;
            };
            let is_fresh = u64::try_from(found.mtime()).is_ok_and(|time| time >= since);
            if found.is_file()
                && found.uid() == own
                && is_fresh
                && self.is_in(&std::fs::read(&path).unwrap_or_default())
            {
                say(&path.display().to_string());
            }
        }
    }

    fn file(&self, what: &str, pid: &str, path: &Path) {
        let name = self.processes.get(pid);
        match (std::fs::read(path), name) {
            (Ok(bytes), name) if self.is_in(&bytes) => {
                say(&format!("{what} of {}", name.map_or(pid, String::as_str)));
            }
            (Err(_), Some(name)) => say(&format!("closed: {what} of {name}")),
            _ => {}
        }
    }

    fn memory(&self, pid: &str) -> std::io::Result<bool> {
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"))?;
        let memory = std::fs::File::open(format!("/proc/{pid}/mem"))?;
        for line in maps.lines() {
            let (range, rest) = line.split_once(' ').expect("a range");
            let (start, end) = range.split_once('-').expect("two ends");
            let [start, end] =
                [start, end].map(|at| u64::from_str_radix(at, 16).expect("hexadecimal"));
            if rest.starts_with('r') && !rest.ends_with(']')
                || rest.ends_with("[heap]")
                || rest.ends_with("[stack]")
            {
                let mut bytes = vec![0; usize::try_from(end - start).expect("64 bits")];
                if memory.read_exact_at(&mut bytes, start).is_ok() && self.is_in(&bytes) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn is_in(&self, bytes: &[u8]) -> bool {
        String::from_utf8_lossy(bytes).contains(&self.secret)
    }
}

/// Past the harness's own lines.
#[expect(clippy::print_stdout, reason = "that is what it is for")]
fn say(line: &str) {
    println!("\nseen: {line}");
}

#[test]
#[ignore = "a part of the tests below: the process that looks"]
fn onlooker() {
    let Ok(wanted) = serde_json::from_reader::<_, Value>(std::io::stdin()) else {
        return;
    };
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let processes = wanted["processes"].as_object().expect("processes").iter();
    let onlooker = Onlooker {
        secret: text(&wanted["secret"]),
        processes: processes
            .map(|(role, pid)| (pid.to_string(), role.clone()))
            .collect(),
    };
    let directories = wanted["directories"]
        .as_array()
        .expect("a list")
        .iter()
        .map(text);
    onlooker.look(
        &directories.collect::<Vec<_>>(),
        wanted["since"].as_u64().expect("a time"),
    );
}

/// A run that is looked at, by its own user.
struct Looked {
    lab: Lab,
    tool: PathBuf,
    /// This program.
    onlooker: PathBuf,
    uid: u32,
    since: u64,
}

impl Looked {
    fn new() -> Self {
        let lab = Lab::new();
        // The tree may lie where that user may not go.
        let copy = |program: &Path, name: &str| {
            // Beside the home directory, which others may not enter.
            let copy = dbt_lease_sandbox::watchdog::scratch_directory(name).join(name);
            let directory = copy.parent().expect("just made");
            std::fs::set_permissions(directory, PermissionsExt::from_mode(0o755)).expect("set");
            std::fs::copy(program, &copy).expect("copied");
            std::fs::set_permissions(&copy, PermissionsExt::from_mode(0o755)).expect("set");
            copy
        };
        let tool = copy(Path::new(DBT_LEASE), "dbt-lease");
        let onlooker = copy(&std::env::current_exe().expect("this program"), "onlooker");
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let looked = Self {
            since: since.expect("after 1970").as_secs() - 1,
            uid: if is_root() {
                USER
            } else {
                nix::unistd::geteuid().as_raw()
            },
            tool,
            onlooker,
            lab,
        };
        if is_root() {
            for root in [looked.lab.home.directory(), looked.lab.home.runtime()] {
                chown(root, Some(USER), Some(USER)).expect("owned");
                for path in files_below(root) {
                    chown(path, Some(USER), Some(USER)).expect("owned");
                }
            }
        }
        looked
    }

    /// A run of a command that reads its profiles.yml, as dbt does, keeps it in memory and waits.
    fn start(&self) -> Running {
        let script =
            "kept=$(cat $DBT_PROFILES_DIR/profiles.yml); echo up; read line; echo ${#kept}";
        let mut command = self.lab.home.command(&self.tool);
        command
            .args(["exec", "-t", "prod", "--", "sh", "-c", script])
            .current_dir(&self.lab.project)
            .stdin(Stdio::piped());
        if is_root() {
            command.uid(USER).gid(USER);
        }
        let mut running = Running::start(command);
        running.wait_for_line("up");
        running
    }

    /// What an onlooker with this user id prints.
    fn seen_by(&self, uid: u32, secret: &str, running: Option<&Running>) -> BTreeSet<String> {
        let mut processes = serde_json::Map::new();
        if let Some(running) = running {
            processes.insert("the session".to_owned(), running.child.id().into());
            for (role, pid) in children(running.child.id()) {
                processes.insert(role.to_owned(), pid.into());
            }
            assert_eq!(processes.len(), 3, "{processes:?}");
        }
        let home = &self.lab.home;
        let places = [
            home.directory(),
            home.runtime(),
            Path::new("/dev/shm"),
            Path::new("/var/tmp"),
        ];
        let input = serde_json::json!({
            "secret": secret, "processes": processes, "since": self.since, "directories": places,
        });
        let mut command = Command::new(&self.onlooker);
        command
            .args(["--exact", "onlookers::onlooker", "--ignored", "--nocapture"])
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if is_root() {
            command.uid(uid).gid(uid);
        }
        let mut onlooker = command.spawn().expect("python starts");
        let mut stdin = onlooker.stdin.take().expect("piped");
        stdin
            .write_all(input.to_string().as_bytes())
            .expect("written");
        drop(stdin);
        let output = onlooker.wait_with_output().expect("it ends");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let seen = text.lines().filter_map(|line| line.strip_prefix("seen: "));
        seen.map(str::to_owned).collect()
    }

    /// The password of the run, and the file that it stands in.
    fn password(&self) -> (String, PathBuf) {
        let files = files_below(self.lab.home.runtime());
        let file = files
            .into_iter()
            .find(|file| file.ends_with("profiles.yml"));
        let file = file.expect("a profiles.yml");
        let text = std::fs::read_to_string(&file).expect("read");
        let line = text.lines().find(|line| line.contains("\"password\": "));
        let value = line
            .and_then(|line| line.split_once(": "))
            .expect("a password")
            .1;
        (value.trim_matches('"').to_owned(), file)
    }
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn children(parent: u32) -> Vec<(&'static str, u32)> {
    let list = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
    let list = list.expect("its children");
    let pids = list.split_whitespace().filter_map(|pid| pid.parse().ok());
    pids.map(|pid: u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let is_janitor = line == b"dbt-lease-janitor\0";
        (
            if is_janitor {
                "the janitor"
            } else {
                "the command"
            },
            pid,
        )
    })
    .collect()
}

fn all<const N: usize>(lines: [&str; N]) -> BTreeSet<String> {
    lines.map(str::to_owned).into()
}

#[test]
fn the_same_user_finds_the_password_where_dbt_has_it_and_nowhere_else() {
    let looked = Looked::new();
    let mut running = looked.start();
    let (password, file) = looked.password();
    let seen = looked.seen_by(looked.uid, &password, Some(&running));
    assert_eq!(
        seen,
        all([
            &file.display().to_string(),
            "memory of the command",
            "closed: environment of the session",
            "closed: environment of the janitor",
            "closed: memory of the session",
            "closed: memory of the janitor",
        ])
    );
    drop(running.child.stdin.take());
    running.end().success();
    let seen = looked.seen_by(looked.uid, &password, None);
    assert!(seen.is_empty(), "after the run: {seen:?}");
    looked.lab.assert_nothing_left();
}

#[test]
fn in_the_env_delivery_the_same_user_finds_it_in_the_command_s_environment_and_in_no_file() {
    let looked = Looked::new();
    let config = std::fs::read_to_string(looked.lab.project.join("dbt-lease.yml")).expect("read");
    looked.lab.configure(&config.replace(
        "prod: database/creds/dbt-prod",
        "prod:\n        secrets: {warehouse: {path: database/creds/dbt-prod}}\n        env:\n          \
         DBT_ENV_SECRET_USER: \"{{ vault.warehouse.username }}\"\n          \
         DBT_ENV_SECRET_PASSWORD: \"{{ vault.warehouse.password }}\"",
    ));
    let profiles = looked.lab.project.join("profiles.yml");
    let text = std::fs::read_to_string(&profiles).expect("read").replace(
        "schema: prod\n",
        "schema: prod\n      user: \"{{ env_var('DBT_ENV_SECRET_USER') }}\"\n      password: \"{{ env_var('DBT_ENV_SECRET_PASSWORD') }}\"\n",
    );
    std::fs::write(profiles, text).expect("written");
    let mut running = looked.start();
    let command = children(running.child.id())
        .into_iter()
        .find(|(role, _)| *role == "the command")
        .expect("it runs");
    // As root, or as the same user.
    let environ = std::fs::read(format!("/proc/{}/environ", command.1)).expect("read");
    let environ = String::from_utf8_lossy(&environ);
    let password = environ
        .split('\0')
        .find_map(|entry| entry.strip_prefix("DBT_ENV_SECRET_PASSWORD="));
    let password = password.expect("it is there").to_owned();
    let seen = looked.seen_by(looked.uid, &password, Some(&running));
    assert_eq!(
        seen,
        all([
            "environment of the command",
            "memory of the command",
            "closed: environment of the session",
            "closed: environment of the janitor",
            "closed: memory of the session",
            "closed: memory of the janitor",
        ])
    );
    drop(running.child.stdin.take());
    running.end().success();
    looked.lab.assert_nothing_left();
}

#[test]
#[expect(clippy::print_stdout, reason = "a skipped test says why")]
fn another_user_finds_the_password_nowhere() {
    if !is_root() {
        println!("skipped: only root can look as another user");
        return;
    }
    let looked = Looked::new();
    let mut running = looked.start();
    let (password, _) = looked.password();
    let seen = looked.seen_by(ANOTHER, &password, Some(&running));
    let closed = ["the session", "the janitor", "the command"]
        .into_iter()
        .flat_map(|who| {
            [
                format!("closed: environment of {who}"),
                format!("closed: memory of {who}"),
            ]
        });
    assert_eq!(seen, closed.collect());
    drop(running.child.stdin.take());
    running.end().success();
    looked.lab.assert_nothing_left();
}

#[test]
#[expect(clippy::print_stdout, reason = "a skipped test says why")]
fn another_user_gets_no_word_from_the_janitor() {
    if !is_root() {
        println!("skipped: only root can come as another user");
        return;
    }
    let looked = Looked::new();
    let mut running = looked.start();
    let socket = files_below(looked.lab.home.runtime())
        .into_iter()
        .find(|file| file.ends_with("janitor"))
        .expect("its socket");
    let asked = |uid: u32| {
        let mut command = Command::new("test");
        command.arg("-S").arg(&socket).uid(uid).gid(uid);
        command.status().expect("test starts").success()
    };
    assert!(
        asked(USER) && !asked(ANOTHER),
        "another user comes as far as the socket"
    );
    // Root does, and is another user all the same.
    let directory = std::fs::File::open(socket.parent().expect("a directory")).expect("opened");
    let short = format!(
        "/proc/self/fd/{}/janitor",
        std::os::fd::AsRawFd::as_raw_fd(&directory)
    );
    for question in ["\"Status\"\n", "\"End\"\n"] {
        let mut connection = std::os::unix::net::UnixStream::connect(&short).expect("connected");
        // It may have hung up already.
        let _ = connection.write_all(question.as_bytes());
        let mut answer = Vec::new();
        let _ = std::io::Read::read_to_end(&mut connection, &mut answer);
        assert!(
            answer.is_empty(),
            "{question}: {}",
            String::from_utf8_lossy(&answer)
        );
    }
    let status = |uid: u32| {
        let mut command = looked.lab.home.command(&looked.tool);
        let output = command
            .arg("status")
            .uid(uid)
            .gid(uid)
            .output()
            .expect("it starts");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(status(USER).contains("production"));
    drop(running.child.stdin.take());
    running.end().success();
    looked.lab.assert_nothing_left();
}

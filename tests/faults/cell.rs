//! One cell: a session that is brought to its step, the fault, and the look at what is left.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use dbt_lease_sandbox::{Home, World, venv};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::matrix::{Cell, End, Expected, Outcome, Step, Stop, Victim, Way};
use crate::proxy::Proxy;

const DBT_LEASE: &str = env!("CARGO_BIN_EXE_dbt-lease");
/// A bound on waits that end by themselves.
const PATIENCE: Duration = Duration::from_secs(90);
/// The life of what nobody can revoke, seconds.
const BRIEF: u64 = 6;
/// A lease that is renewed soon, seconds.
const FLEETING: u64 = 8;

/// The servers, with identities whose credentials live for long, and ones whose live for a moment.
pub(crate) struct Ground {
    world: World,
    steady: [String; 2],
    brief: [String; 2],
}

impl Ground {
    pub(crate) fn new() -> Self {
        let world = World::start();
        let bao = world.bao();
        let mut role = bao.api("GET", "database/roles/dbt-prod", None)["data"].clone();
        bao.api("POST", "database/roles/faults", role.clone());
        role["default_ttl"] = json!(FLEETING);
        bao.api("POST", "database/roles/fleeting-faults", role);
        let policy = "path \"database/creds/*\" { capabilities = [\"read\"] }\n\
                      path \"sys/leases/*\" { capabilities = [\"update\"] }\n\
                      path \"auth/token/*\" { capabilities = [\"read\", \"update\"] }";
        bao.api("PUT", "sys/policies/acl/faults", json!({"policy": policy}));
        let identity = |name: &str, ttl: u64| {
            let role = format!("auth/approle/role/{name}");
            let settings = json!({
                "token_policies": ["faults"], "token_no_default_policy": true,
                "token_ttl": ttl, "token_max_ttl": ttl,
            });
            bao.api("POST", &role, settings);
            ["role-id", "secret-id"].map(|what| {
                let method = if what == "role-id" { "GET" } else { "POST" };
                let answer = bao.api(method, &format!("{role}/{what}"), None);
                let value = answer["data"][what.replace('-', "_")].as_str();
                value.expect("an id").to_owned()
            })
        };
        let (steady, brief) = (identity("steady", 3600), identity("brief", BRIEF));
        Self {
            world,
            steady,
            brief,
        }
    }
}

/// Where a session runs.
struct Scene<'a> {
    ground: &'a Ground,
    cell: Cell,
    home: Home,
    project: PathBuf,
    proxy: Proxy,
    pipes: Pipes,
}

/// A session under its warden.
struct Run<'a> {
    scene: Scene<'a>,
    warden: Child,
    news: Receiver<String>,
    ended: Vec<(Pid, End)>,
}

/// Held open at both ends, so that nobody's opening waits.
struct Pipes {
    directory: PathBuf,
    reached: fs::File,
    go: fs::File,
    command: fs::File,
}

impl Pipes {
    fn new(directory: &Path) -> Self {
        let pipe = |name: &str| {
            let path = directory.join(name);
            nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a named pipe");
            let mut options = fs::OpenOptions::new();
            options.read(true).write(true).open(path).expect("opened")
        };
        Self {
            reached: pipe("reached"),
            go: pipe("go"),
            command: pipe("command"),
            directory: directory.to_owned(),
        }
    }
}

/// Runs a cell. The error says what is not as it must be.
pub(crate) fn run(ground: &Ground, cell: Cell, expected: &Expected) -> Result<Outcome, String> {
    let mut run = Run::start(Scene::new(ground, cell, expected));
    run.all(expected).map_err(|wrong| {
        let record = fs::read_to_string(run.scene.home.record()).unwrap_or_default();
        format!(
            "{wrong}\nstderr:\n{}\nrecord:\n{record}",
            run.scene.stderr()
        )
    })
}

impl<'a> Scene<'a> {
    fn new(ground: &'a Ground, cell: Cell, expected: &Expected) -> Self {
        let (mut home, project) = ground.world.home();
        let proxy = Proxy::to(&ground.world.bao().address());
        let is_brief = expected.outcome == Outcome::Ttl
            || (expected.outcome == Outcome::Said && cell.step < Step::ChildSpawned);
        let [role_id, secret_id] = if is_brief {
            &ground.brief
        } else {
            &ground.steady
        };
        home.set("VAULT_ADDR", proxy.address());
        home.set("VAULT_MAX_RETRIES", "0");
        home.set("JAFFLE_PRODUCTION_ROLE_ID", role_id);
        home.set("JAFFLE_PRODUCTION_SECRET_ID", secret_id);
        let role = if cell.step == Step::Renewing {
            "database/creds/fleeting-faults"
        } else {
            "database/creds/faults"
        };
        let file = project.join("dbt-lease.yml");
        let text = fs::read_to_string(&file).expect("the fixture's file");
        fs::write(file, text.replace("database/creds/dbt-prod", role)).expect("written");
        let pipes = Pipes::new(home.directory());
        Self {
            ground,
            cell,
            project,
            proxy,
            pipes,
            home,
        }
    }

    /// The tool under its warden, not started yet.
    fn session(&self) -> Command {
        let stop = self.cell.step.stop();
        let mut command = self
            .home
            .command(std::env::current_exe().expect("this program"));
        let directory = self.home.directory();
        command
            .arg("warden")
            .args([directory.join("stdout"), directory.join("stderr")])
            .args([DBT_LEASE, "-v", "exec", "--target", "prod", "--"])
            .args(self.command())
            .current_dir(&self.project)
            .stdout(Stdio::piped());
        if let Some(failpoint) = self.failpoint(&stop) {
            command.env("DBT_LEASE_FAILPOINT", failpoint);
        }
        if let Some(failpoint) = self.failpoint_of_the_janitor() {
            command.env("DBT_LEASE_FAILPOINT_JANITOR", failpoint);
        }
        if let Stop::Request(path) = stop {
            self.proxy.hold(path, self.pipes.directory.clone());
        }
        command
    }

    /// A command that waits until the test lets it go, and then ends by a code of its own.
    fn command(&self) -> Vec<String> {
        let go = self.pipes.directory.join("command");
        if !self.cell.step.is_gated() {
            let script = format!("read line < {}; exit 7", go.display());
            return ["sh", "-c", &script].map(str::to_owned).to_vec();
        }
        // Takes profiles.yml as dbt 1.12 does: twice.
        let script = format!(
            "#!{}\n# from dbt.cli.main import cli\nimport os, signal, sys\nsignal.signal(signal.SIGINT, signal.SIG_DFL)\n\
             for _ in range(2):\n    open(os.environ['DBT_PROFILES_DIR'] + '/profiles.yml').read()\n\
             open('{}').readline()\nsys.exit(7)\n",
            venv().python().display(),
            go.display()
        );
        let dbt = self.home.directory().join("dbt");
        fs::write(&dbt, script).expect("written");
        fs::set_permissions(&dbt, fs::Permissions::from_mode(0o755)).expect("set");
        vec![
            dbt.display().to_string(),
            "run".to_owned(),
            "--target".to_owned(),
            "prod".to_owned(),
        ]
    }

    /// Whether the session is held at its step; else the fault comes by itself.
    fn is_held(&self) -> bool {
        self.cell.victim != Victim::Supervisor
            || !matches!(self.cell.way, Way::Panic | Way::Enospc | Way::Eio)
    }

    /// Whether the command is let go, or is to be ended by the fault.
    fn is_let_go(&self) -> bool {
        let Cell { step, way, victim } = self.cell;
        match victim {
            Victim::Supervisor => match way {
                Way::Panic => !step.has_child(),
                way => way.signal().is_none(),
            },
            Victim::Janitor => way.signal().is_some() || way == Way::Panic,
            _ => false,
        }
    }

    fn failpoint(&self, stop: &Stop) -> Option<String> {
        let Cell { step, way, .. } = self.cell;
        let point = match stop {
            Stop::Point(point) => *point,
            Stop::Request(_) => return None,
        };
        Some(match way {
            Way::Emfile if self.cell.victim == Victim::Supervisor => {
                format!("{point}:emfile:{}", self.pipes.directory.display())
            }
            _ if self.is_held() => format!("{point}:hold:{}", self.pipes.directory.display()),
            Way::Panic => format!("{point}:panic"),
            Way::Enospc => format!("{}:enospc", step.refused()?),
            Way::Eio => format!("{}:eio", step.refused()?),
            _ => return None,
        })
    }

    fn failpoint_of_the_janitor(&self) -> Option<String> {
        if self.cell.victim != Victim::Janitor {
            return None;
        }
        Some(match self.cell.way {
            Way::Panic => format!("told:panic:{}", self.fuse().display()),
            Way::Emfile => "cleaning:emfile".to_owned(),
            Way::Enospc => "recording_ended:enospc".to_owned(),
            Way::Eio => "overwriting:eio".to_owned(),
            _ => return None,
        })
    }

    fn fuse(&self) -> PathBuf {
        self.pipes.directory.join("fuse")
    }

    fn stderr(&self) -> String {
        fs::read_to_string(self.home.directory().join("stderr")).unwrap_or_default()
    }

    fn let_the_command_go(&self) {
        (&self.pipes.command).write_all(b"\n").expect("written");
    }
}

impl<'a> Run<'a> {
    fn start(scene: Scene<'a>) -> Self {
        let mut warden = scene.session().spawn().expect("the warden starts");
        let lines = BufReader::new(warden.stdout.take().expect("piped")).lines();
        let (tell, news) = channel();
        std::thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .try_for_each(|line| tell.send(line))
        });
        Self {
            scene,
            warden,
            news,
            ended: Vec::new(),
        }
    }

    fn all(&mut self, expected: &Expected) -> Result<Outcome, String> {
        let started = self.next_line()?;
        let supervisor = started
            .strip_prefix("started ")
            .and_then(|pid| pid.parse().ok());
        let supervisor = Pid::from_raw(supervisor.ok_or(started)?);
        if self.scene.is_held() {
            self.wait_for_the_step()?;
            self.fault(supervisor)?;
        }
        if self.scene.is_let_go() {
            self.wait_for_words(expected.meanwhile)?;
            self.scene.let_the_command_go();
        }
        self.wait_for_all()?;
        self.look_at_the_end(supervisor, expected)?;
        self.look_at_what_is_left(expected)
    }

    fn next_line(&self) -> Result<String, String> {
        self.news
            .recv_timeout(PATIENCE)
            .map_err(|_| "the warden says nothing".to_owned())
    }

    fn wait_for_the_step(&mut self) -> Result<(), String> {
        // The command waits for its end only where the step is in its life.
        if self.scene.cell.step > Step::Renewing {
            self.scene.let_the_command_go();
        }
        let mut waited = [PollFd::new(
            self.scene.pipes.reached.as_fd(),
            PollFlags::POLLIN,
        )];
        let end = Instant::now() + PATIENCE;
        loop {
            let patience = PollTimeout::from(200_u16);
            if poll(&mut waited, patience) == Ok(1) {
                (&self.scene.pipes.reached)
                    .read_exact(&mut [0])
                    .expect("read");
                return Ok(());
            }
            if let Ok(line) = self.news.try_recv() {
                return Err(format!("the step was not reached: {line}"));
            }
            if Instant::now() > end {
                return Err("the step was not reached in time".to_owned());
            }
        }
    }

    /// What the session started: the janitor, and the command.
    fn children(supervisor: Pid) -> (Option<Pid>, Option<Pid>) {
        let list = format!("/proc/{supervisor}/task/{supervisor}/children");
        let list = fs::read_to_string(list).unwrap_or_default();
        let (mut janitor, mut command) = (None, None);
        for pid in list.split_whitespace() {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let found = pid.parse().ok().map(Pid::from_raw);
            if line == b"dbt-lease-janitor\0" {
                janitor = found;
            } else {
                command = found;
            }
        }
        (janitor, command)
    }

    fn fault(&self, supervisor: Pid) -> Result<(), String> {
        let Cell { step, way, victim } = self.scene.cell;
        let (janitor, command) = Self::children(supervisor);
        let send = |pid: Option<Pid>, signal: Signal| {
            let pid = pid.ok_or("the victim is not there")?;
            kill(pid, signal).map_err(|errno| format!("{pid}: {errno}"))
        };
        let command_of_a_living = if step.has_child() { command } else { None };
        if let Some(signal) = way.signal() {
            match victim {
                Victim::Supervisor => send(Some(supervisor), signal)?,
                Victim::Janitor => send(janitor, signal)?,
                Victim::Child => send(command_of_a_living, signal)?,
                Victim::Group | Victim::All => {
                    // Stopped, so that it does nothing about the others' deaths meanwhile.
                    kill(supervisor, Signal::SIGSTOP).map_err(|errno| errno.to_string())?;
                    if victim == Victim::All && step != Step::DoneSent {
                        send(janitor, signal)?;
                    }
                    if step.has_child() {
                        send(command_of_a_living, signal)?;
                    }
                    send(Some(supervisor), signal)?;
                    kill(supervisor, Signal::SIGCONT).ok();
                }
            }
        }
        if way == Way::ServerGone {
            self.scene.proxy.cut();
        }
        if victim == Victim::Janitor {
            match way {
                Way::Panic => {
                    fs::write(self.scene.fuse(), "").map_err(|error| error.to_string())?
                }
                Way::Enospc | Way::Eio | Way::Emfile | Way::ServerGone => {
                    send(Some(supervisor), Signal::SIGKILL)?;
                }
                _ => {}
            }
        }
        (&self.scene.pipes.go)
            .write_all(b".")
            .map_err(|error| error.to_string())
    }

    /// Waits until stderr holds the words, while the command runs.
    fn wait_for_words(&self, words: &str) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        while !self.scene.stderr().contains(words) {
            if Instant::now() > end {
                return Err(format!("`{words}` is not said while the command runs"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn wait_for_all(&mut self) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        loop {
            match self
                .news
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(line) => {
                    let words: Vec<&str> = line.split(' ').collect();
                    let number = |at: usize| words[at].parse::<i32>().expect("a number");
                    let how = if words[2] == "code" {
                        End::Code(number(3))
                    } else {
                        End::Signal(number(3))
                    };
                    self.ended.push((Pid::from_raw(number(1)), how));
                }
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => {
                    self.warden.wait().expect("waited for");
                    return Ok(());
                }
                Err(_) => return Err("processes of the session do not end".to_owned()),
            }
        }
    }

    fn look_at_the_end(&self, supervisor: Pid, expected: &Expected) -> Result<(), String> {
        let end = self.ended.iter().find(|(pid, _)| *pid == supervisor);
        let end = end.ok_or("the session's process was not waited for")?.1;
        if end != expected.end {
            return Err(format!("it ended by {end:?}, not {:?}", expected.end));
        }
        // Who ends by itself has waited for all that it started.
        let has_waited = end != End::Signal(9)
            && !(self.scene.cell.way == Way::Panic && self.scene.cell.step.has_child());
        if has_waited && self.ended.len() != 1 {
            return Err(format!("left to the parent: {:?}", self.ended));
        }
        if !self.scene.stderr().contains(expected.says) {
            return Err(format!("`{}` is not said", expected.says));
        }
        Ok(())
    }

    fn events(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.scene.home.record()).unwrap_or_default();
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// What is left, in words.
    fn left(&self) -> Vec<&'static str> {
        let learned = self.scene.proxy.learned();
        let bao = self.scene.ground.world.bao();
        let ask = |path: &str, body: Value| bao.api_as(bao.root_token(), "PUT", path, body).status;
        let mut left = Vec::new();
        if fs::read_dir(self.scene.home.runtime()).is_ok_and(|mut entries| entries.next().is_some())
        {
            left.push("directory");
        }
        if let Some(lease) = learned.lease
            && ask("sys/leases/lookup", json!({"lease_id": lease})) == 200
        {
            left.push("lease");
        }
        if let Some(accessor) = learned.accessor
            && ask("auth/token/lookup-accessor", json!({"accessor": accessor})) == 200
        {
            left.push("token");
        }
        if let Some(user) = learned.user {
            let sql = format!("SELECT rolname FROM pg_roles WHERE rolname = '{user}'");
            if !self.scene.ground.world.query(&sql).is_empty() {
                left.push("user");
            }
        }
        left
    }

    /// Waits until nothing is left; what is left after that time.
    fn left_after(&self, patience: Duration) -> Vec<&'static str> {
        let end = Instant::now() + patience;
        loop {
            let left = self.left();
            if left.is_empty() || Instant::now() > end {
                return left;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn look_at_what_is_left(&self, expected: &Expected) -> Result<Outcome, String> {
        // Vault ends a token's leases a moment after it answered.
        let patience = match expected.outcome {
            Outcome::Nothing | Outcome::Session | Outcome::Janitor => Duration::from_secs(10),
            _ => Duration::ZERO,
        };
        let left = self.left_after(patience);
        let learned = self.scene.proxy.learned();
        let outcome = match expected.outcome {
            wanted if left.is_empty() => {
                if learned.accessor.is_none() {
                    Outcome::Nothing
                } else if self.was_the_janitor() {
                    Outcome::Janitor
                } else if wanted == Outcome::Janitor && !self.can_record() {
                    // Nobody else was left.
                    Outcome::Janitor
                } else {
                    Outcome::Session
                }
            }
            Outcome::Said => {
                self.look_at_the_words()?;
                self.take_back_later(&["sweep"])?;
                Outcome::Said
            }
            Outcome::Swept | Outcome::Ttl => {
                if self.scene.cell.victim == Victim::Janitor
                    || self.scene.cell.victim == Victim::Supervisor
                {
                    self.look_at_the_words()?;
                }
                self.take_back_later(&["exec", "-t", "prod", "--", "true"])?
            }
            _ => return Err(format!("LEFT BEHIND: {left:?}")),
        };
        if outcome == expected.outcome {
            Ok(outcome)
        } else {
            Err(format!(
                "{outcome:?}, not {:?} (left at first: {left:?})",
                expected.outcome
            ))
        }
    }

    fn can_record(&self) -> bool {
        !(self.scene.cell.victim == Victim::Janitor && self.scene.cell.way == Way::Enospc)
    }

    fn was_the_janitor(&self) -> bool {
        self.events().iter().any(|event| {
            event["event"] == "ended"
                && event["result"]
                    .as_str()
                    .is_some_and(|how| how.starts_with("killed: the janitor"))
        })
    }

    /// What is left is said: on stderr by the session process, in the record by the janitor.
    fn look_at_the_words(&self) -> Result<(), String> {
        let stderr = self.scene.stderr();
        let on_stderr = [
            "NOT revoked",
            "token was not revoked",
            "may not be revoked",
            "login",
        ]
        .iter()
        .any(|words| stderr.contains(words));
        let events = self.events();
        let ended = events.iter().find(|event| event["event"] == "ended");
        let in_the_record = ended.is_some_and(|ended| {
            let leases = ended["leases"].as_array().into_iter().flatten();
            let open = leases.clone().filter(|lease| lease["result"] != "revoked");
            open.clone().all(|lease| lease["lives_until"].is_string())
                && (open.count() > 0 || ended["token"] != "revoked")
        });
        if on_stderr || in_the_record {
            Ok(())
        } else {
            Err("LEFT BEHIND, and nobody said so".to_owned())
        }
    }

    /// What a later command does about what is left; by what it is gone in the end.
    fn take_back_later(&self, arguments: &[&str]) -> Result<Outcome, String> {
        let was_left = self.left();
        let is_on_record = self.events().iter().any(|event| event["event"] == "lent");
        let learned = self.scene.proxy.learned();
        self.scene.proxy.mend();
        let mut command = self.scene.home.command(DBT_LEASE);
        command
            .args(arguments)
            .current_dir(&self.scene.project)
            .stdin(Stdio::null());
        // An identity that lives.
        let [role_id, secret_id] = &self.scene.ground.steady;
        command
            .env("JAFFLE_PRODUCTION_ROLE_ID", role_id)
            .env("JAFFLE_PRODUCTION_SECRET_ID", secret_id);
        let output = command.output().map_err(|error| error.to_string())?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{arguments:?} failed: {stderr}"));
        }
        // The later command's own is not what is looked for.
        self.scene.proxy.relearn(learned);
        let left = self.left();
        if left.contains(&"directory") {
            return Err(format!("{arguments:?} left the directory"));
        }
        if is_on_record && (left.contains(&"lease") || left.contains(&"user")) {
            return Err(format!(
                "{arguments:?} did not revoke what is on record: {left:?}"
            ));
        }
        if is_on_record {
            // The token of a dead session holds nothing any more, and ends by its time.
            return Ok(Outcome::Swept);
        }
        let left = self.left_after(Duration::from_secs(BRIEF * 5));
        if left.is_empty() {
            Ok(Outcome::Ttl)
        } else {
            Err(format!(
                "still there after the TTL: {left:?}, first {was_left:?}"
            ))
        }
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        // A cell that failed may have left processes that wait.
        let _ = (&self.scene.pipes.go).write_all(b"....");
        let _ = (&self.scene.pipes.command).write_all(b"\n\n\n\n");
    }
}

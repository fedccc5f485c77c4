//! `cargo demo`: the main job on real parts, told on one screen.
//!
//! It builds the tool in its own profile (`cargo demo`: dev, half a minute cold; `cargo demo --release`: as shipped), starts
//! a throw-away OpenBao and PostgreSQL (`cargo demo -- --tool PATH` takes a tool that is built already), and runs `dbt-lease exec -- dbt build --target prod` on the project in fixtures/.
//! What it claims it asks of the servers, and a claim that does not hold ends it with 1.
#![expect(clippy::print_stdout, reason = "a demo prints")]

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, IsTerminal as _, Read, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use dbt_lease_sandbox::{Home, World, fixtures, venv};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
use nix::unistd::Pid;
use serde_json::Value;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic
            .payload_as_str()
            .unwrap_or("it stopped for an unknown reason");
        let _ = writeln!(std::io::stderr(), "demo: {message}");
    }));
    let mut story = Story::new();
    let tool = given_tool().unwrap_or_else(build);
    venv();
    println!(
        "\ndbt-lease lends a dbt run the credentials it needs, for as long as it runs, and no longer.\n"
    );
    story.step("dbt-lease and the Python environment are built");
    let world = World::start();
    story.step(
        "OpenBao and PostgreSQL run, with roles, policies and an identity for each environment",
    );

    let users_before = world.database_users();
    story.claim(
        users_before.is_empty() && world.leases().is_empty(),
        "no leased database user and no lease exist yet",
    );
    refuse_staging(&world, &mut story);
    story.step("staging's identity tried production's path");

    let (home, project) = world.home();
    let Some(run) = lend(&tool, &world, &home, &project) else {
        println!("\ninterrupted: dbt-lease and dbt have ended; the servers end now");
        return ExitCode::from(130);
    };
    show_run(&run, &world, &mut story);
    story.step("dbt ran on a leased credential");
    show_end(&run, &world, &mut story);
    show_record(&home, &world, &run, &mut story);
    story.step("the servers were asked what is left, and the record was read");
    story.end()
}

/// The lines of the demo: claims with a mark, steps with their time.
struct Story {
    started: Instant,
    step: Instant,
    steps: usize,
    failed: usize,
}

impl Story {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            started: now,
            step: now,
            steps: 0,
            failed: 0,
        }
    }

    /// Ends a step: what was done, and how long it took.
    fn step(&mut self, what: &str) {
        self.steps += 1;
        println!(
            "{}. {what}: {:.1} s",
            self.steps,
            self.step.elapsed().as_secs_f64()
        );
        self.step = Instant::now();
    }

    /// Something that was asked of a server or the file system.
    fn claim(&mut self, holds: bool, what: &str) {
        if !holds {
            self.failed += 1;
        }
        println!("   {} {what}", if holds { "✓" } else { "✗ NOT SO:" });
    }

    fn end(self) -> ExitCode {
        println!(
            "\n{:.1} s in all; the servers and their data are removed now.",
            self.started.elapsed().as_secs_f64()
        );
        if self.failed == 0 {
            return ExitCode::SUCCESS;
        }
        println!("{} of the claims above did not hold.", self.failed);
        ExitCode::FAILURE
    }
}

/// `--tool PATH`: a program that was built already.
fn given_tool() -> Option<PathBuf> {
    let mut arguments = std::env::args_os().skip(1);
    let option = arguments.next()?;
    let path = arguments
        .next()
        .filter(|_| option == "--tool" && arguments.next().is_none());
    let path = path.unwrap_or_else(|| panic!("usage: cargo demo [--release] [-- --tool PATH]"));
    Some(std::path::absolute(path).expect("a path"))
}

/// Builds the tool beside this program, with cargo's own progress; its path.
fn build() -> PathBuf {
    let own = std::env::current_exe().expect("this program has a path");
    let directory = own.parent().expect("it lies in a directory");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--package", "dbt-lease", "--bin", "dbt-lease"]);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let status = cargo.current_dir(fixtures()).status();
    let built = status.as_ref().is_ok_and(ExitStatus::success);
    assert!(
        built,
        "`cargo build --bin dbt-lease` failed ({status:?}): its own words stand above"
    );
    directory.join("dbt-lease")
}

fn refuse_staging(world: &World, story: &mut Story) {
    let token = world.login(world.staging());
    let answer = world
        .bao()
        .api_as(&token, "GET", "database/creds/dbt-prod", None);
    let words = answer.body["errors"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    let words = words.collect::<Vec<_>>().join(" ").replace("\n\t* ", " ");
    story.claim(
        answer.status == 403,
        &format!(
            "as staging: GET database/creds/dbt-prod → {} {}",
            answer.status,
            words.trim()
        ),
    );
    world
        .bao()
        .api_as(&token, "POST", "auth/token/revoke-self", None);
}

/// What was seen of a run from outside.
struct Run {
    status: ExitStatus,
    output: Vec<String>,
    errors: Vec<String>,
    users: BTreeSet<String>,
    leases: BTreeSet<String>,
    profiles: Option<Profiles>,
}

/// The private profiles directory as it was while dbt ran.
struct Profiles {
    directory: PathBuf,
    mode: u32,
}

/// Runs the tool, and looks at the servers meanwhile. None where Ctrl-C came.
fn lend(tool: &Path, world: &World, home: &Home, project: &Path) -> Option<Run> {
    println!("   $ dbt-lease exec -v -- dbt build --target prod");
    // Only now: until here Ctrl-C simply ends this program, and the watchdog ends the servers.
    catch_signals();
    let mut child = home
        .command(tool)
        .args(["exec", "-v", "--", "dbt", "build", "--target", "prod"])
        .env("DBT_USE_COLORS", "false")
        .current_dir(project)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {}: {error}", tool.display()));
    let stdout = lines(child.stdout.take().expect("a pipe"));
    let stderr = lines(child.stderr.take().expect("a pipe"));
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let (mut users, mut leases, mut profiles) = (BTreeSet::new(), BTreeSet::new(), None);
    let status = loop {
        output.extend(stdout.try_iter());
        errors.extend(stderr.try_iter());
        progress(output.last());
        if INTERRUPTED.load(Ordering::Relaxed) {
            progress(None);
            wait_for_the_interrupted(&mut child);
            return None;
        }
        if let Some(status) = child.try_wait().expect("it is our child") {
            break status;
        }
        users.extend(world.database_users());
        leases.extend(world.leases());
        profiles = profiles.or_else(|| profiles_of(child.id()));
        std::thread::sleep(Duration::from_millis(50));
    };
    progress(None);
    output.extend(stdout.iter());
    errors.extend(stderr.iter());
    Some(Run {
        status,
        output,
        errors,
        users,
        leases,
        profiles,
    })
}

fn show_run(run: &Run, world: &World, story: &mut Story) {
    let worded = |line: &&String| line.contains("Finished running") || line.contains("Done. PASS");
    let shown: Vec<&String> = if run.status.success() {
        run.output.iter().filter(worded).collect()
    } else {
        run.output.iter().collect()
    };
    for line in shown.into_iter().chain(&run.errors) {
        println!("     {line}");
    }
    story.claim(
        run.status.success(),
        &format!("it ended with {}", run.status),
    );
    let user = run.users.iter().next();
    story.claim(
        run.users.len() == 1,
        &format!(
            "while it ran, PostgreSQL had a user that did not exist before: {}",
            joined(&run.users)
        ),
    );
    let leases: BTreeSet<String> = run.leases.iter().map(|lease| masked(lease)).collect();
    story.claim(
        run.leases.len() == 1,
        &format!("OpenBao had a lease for it: {}", joined(&leases)),
    );
    match &run.profiles {
        Some(Profiles { directory, mode }) => story.claim(
            *mode == 0o700,
            &format!(
                "dbt read its profile from {}, mode {mode:04o}",
                directory.display()
            ),
        ),
        None => story.claim(false, "dbt got a profiles directory of its own"),
    }
    let built = world.postgres().query_as(
        "postgres",
        world.postgres().password(),
        world.database(),
        "SELECT login, owner FROM prod.built_by",
    );
    let row = built
        .ok()
        .and_then(|rows| rows.into_iter().next())
        .unwrap_or_default();
    story.claim(
        row.first() == user && user.is_some(),
        &format!(
            "the tables of schema prod were built by {}",
            row.join(", owned by ")
        ),
    );
}

fn show_end(run: &Run, world: &World, story: &mut Story) {
    let gone = |is: bool, what: &str, place: &str| {
        format!(
            "{what} {} {place}",
            if is { "is gone from" } else { "is still in" }
        )
    };
    let users = world.database_users();
    story.claim(
        users.is_empty(),
        &gone(users.is_empty(), "the user", "PostgreSQL"),
    );
    let leases = world.leases();
    story.claim(
        leases.is_empty(),
        &gone(leases.is_empty(), "the lease", "OpenBao"),
    );
    let tokens = world.tokens();
    story.claim(
        tokens.is_empty(),
        &gone(tokens.is_empty(), "the login's token", "OpenBao"),
    );
    let directory = run.profiles.as_ref().map(|profiles| &profiles.directory);
    let removed = directory.is_some_and(|directory| !directory.exists());
    story.claim(removed, &gone(removed, "the directory", "the file system"));
}

fn show_record(home: &Home, world: &World, run: &Run, story: &mut Story) {
    let record = home.record();
    let text = std::fs::read_to_string(&record).unwrap_or_default();
    let events: Vec<Value> = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let event = |name: &str| {
        events
            .iter()
            .find(|event| event["event"] == name)
            .unwrap_or(&Value::Null)
    };
    let (lent, ended) = (event("lent"), event("ended"));
    let session = lent["session"].as_str().unwrap_or_default();
    println!("   the record, $XDG_STATE_HOME/dbt-lease/audit.jsonl, joins them:");
    let user = run
        .users
        .iter()
        .next()
        .map(String::as_str)
        .unwrap_or_default();
    story.claim(
        !session.is_empty() && !user.is_empty() && lent.to_string().contains(user),
        &format!(
            "lent   session {session}: target {}, environment {}, user {user}",
            word(&lent["target"]),
            word(&lent["environment"])
        ),
    );
    story.claim(
        !session.is_empty() && ended["session"] == session,
        &format!(
            "ended  session {session}: result {}, revocation {}",
            word(&ended["result"]),
            word(&ended["revocation"])
        ),
    );
    let requests: Vec<_> = world
        .bao()
        .requests()
        .into_iter()
        .filter(|request| request.session.as_deref() == Some(session))
        .collect();
    let paths: Vec<&str> = requests
        .iter()
        .map(|request| request.path.as_str())
        .collect();
    story.claim(
        !session.is_empty() && paths.len() == 4,
        &format!(
            "OpenBao's audit log has that session in {} requests: {}",
            paths.len(),
            paths.join(", ")
        ),
    );
    let log = std::fs::read_to_string(world.postgres().log_file()).unwrap_or_default();
    let logins = log
        .lines()
        .filter(|line| {
            !user.is_empty() && line.contains(user) && line.contains("connection authorized")
        })
        .count();
    story.claim(
        logins > 0,
        &format!("PostgreSQL's log has that user in {logins} connections"),
    );
}

/// The directory that a child of the tool (dbt) has as its profiles directory, read from its environment.
fn profiles_of(parent: u32) -> Option<Profiles> {
    let children =
        std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    children.split_whitespace().find_map(|child| {
        let environment = std::fs::read(format!("/proc/{child}/environ")).ok()?;
        let directory = environment
            .split(|byte| *byte == 0)
            .find_map(|variable| variable.strip_prefix(b"DBT_PROFILES_DIR="))?;
        let directory = PathBuf::from(String::from_utf8(directory.to_vec()).ok()?);
        let mode = std::fs::metadata(&directory).ok()?.mode() & 0o7777;
        Some(Profiles { directory, mode })
    })
}

/// A thread that hands on each line as it comes.
fn lines(source: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(source).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// dbt's latest line, on a terminal; nothing takes it away.
fn progress(line: Option<&String>) {
    let mut terminal = std::io::stdout();
    if terminal.is_terminal() {
        let short: String = line
            .map(|line| line.chars().take(100).collect())
            .unwrap_or_default();
        let _ = write!(terminal, "\r\x1b[K{short}");
        let _ = terminal.flush();
    }
}

/// The tool got the terminal's signal itself, and cleans up; it gets the time for that, not for ever.
fn wait_for_the_interrupted(child: &mut Child) {
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
    let started = Instant::now();
    let mut asked = false;
    while child.try_wait().expect("it is our child").is_none() {
        if started.elapsed() > Duration::from_secs(20) {
            let _ = child.kill();
        } else if started.elapsed() > Duration::from_secs(8) && !asked {
            let _ = kill(pid, Signal::SIGTERM);
            asked = true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn catch_signals() {
    extern "C" fn note(_: i32) {
        INTERRUPTED.store(true, Ordering::Relaxed);
    }
    let action = SigAction::new(
        SigHandler::Handler(note),
        SaFlags::SA_RESTART,
        SigSet::empty(),
    );
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        // SAFETY: the handler only stores into an atomic.
        unsafe { sigaction(signal, &action) }.expect("a handler may be set");
    }
}

fn joined(names: &BTreeSet<String>) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.iter().cloned().collect::<Vec<_>>().join(", ")
    }
}

/// A lease id without its last part: who knows it can end the lease.
fn masked(lease: &str) -> String {
    lease
        .rsplit_once('/')
        .map_or_else(|| lease.to_owned(), |(path, _)| format!("{path}/…"))
}

fn word(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

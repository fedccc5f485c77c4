//! The fault matrix: a session is brought to each of its steps, something fails there, and nothing may be left that nobody knows of.
//!
//! `cargo test --test faults` runs a part; `-- --whole` all cells, and `-- --whole --write` then writes docs/faults.md. A word after `--`
//! chooses cells by their names (`-- 'creds sent'`, `-- 'supervisor KILL'`).
//!
//! A harness of its own: the cells share two servers and run several at a time, and this program is each cell's warden, too.

mod cell;
mod matrix;
mod proxy;
mod table;
mod warden;

use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

use cell::Ground;
use matrix::{Cell, Outcome, STEPS, Step, VICTIMS, Victim, WAYS, Way, cells};

/// Cells that run at a time: most of their time they wait.
const AT_ONCE: usize = 6;

#[expect(clippy::print_stdout, reason = "a test's report")]
fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).peekable();
    if arguments.next_if(|word| word == "warden").is_some() {
        warden::run(arguments);
        return ExitCode::SUCCESS;
    }
    let arguments: Vec<String> = arguments
        .filter_map(|word| word.into_string().ok())
        .collect();
    if arguments.iter().any(|word| word == "--list") {
        println!("{NAME}: test");
        return ExitCode::SUCCESS;
    }
    let is_whole = arguments.iter().any(|word| word == "--whole");
    let words = arguments
        .iter()
        .find(|word| !word.starts_with('-'))
        .map_or("", String::as_str);
    let named: Vec<Cell> = cells()
        .filter(|cell| cell.expected().is_ok())
        .filter(|cell| words.is_empty() || name(*cell).contains(words))
        .collect();
    let chosen: Vec<Cell> = match words {
        "" if !is_whole => named.into_iter().filter(|cell| is_quick(*cell)).collect(),
        _ => named,
    };
    if chosen.is_empty() {
        // The word is another test's name.
        return ExitCode::SUCCESS;
    }
    let started = Instant::now();
    let (results, mut wrong) = run(&chosen);
    let is_asked = arguments.iter().any(|word| word == "--write");
    if is_whole && is_asked && wrong.is_empty() && words.is_empty() {
        table::write(&results);
    }
    wrong.extend(table::compare().err());
    for text in &wrong {
        println!("{text}\n");
    }
    println!(
        "fault matrix: {} cells as they must be, {} not; {:.1} s",
        results.len(),
        wrong.len(),
        started.elapsed().as_secs_f64()
    );
    if wrong.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

const NAME: &str = "fault_matrix";

fn run(chosen: &[Cell]) -> (Vec<(Cell, Outcome)>, Vec<String>) {
    let ground = Ground::new();
    let next = Mutex::new(chosen.iter());
    let outcomes = Mutex::new((Vec::new(), Vec::new()));
    let work = || {
        while let Some(cell) = next.lock().ok().and_then(|mut next| next.next().copied()) {
            let Ok(expected) = cell.expected() else {
                continue;
            };
            let outcome = std::panic::catch_unwind(|| cell::run(&ground, cell, &expected))
                .unwrap_or_else(|_| Err("the runner panicked".to_owned()));
            if let Ok(mut outcomes) = outcomes.lock() {
                match outcome {
                    Ok(outcome) => outcomes.0.push((cell, outcome)),
                    Err(text) => outcomes.1.push(format!("{}: {text}", name(cell))),
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(chosen.len()) {
            scope.spawn(work);
        }
    });
    outcomes.into_inner().unwrap_or_default()
}

/// `supervisor KILL creds sent`
fn name(cell: Cell) -> String {
    let victim = VICTIMS.iter().find(|(victim, _)| *victim == cell.victim);
    let way = WAYS.iter().find(|(way, _)| *way == cell.way);
    let step = STEPS.iter().find(|(step, _)| *step == cell.step);
    [
        victim.map(|found| found.1),
        way.map(|found| found.1),
        step.map(|found| found.1),
    ]
    .map(Option::unwrap_or_default)
    .join(" ")
}

/// Whether `cargo test` runs it: each step, way and victim at least once, and no waiting for more than one TTL.
fn is_quick(cell: Cell) -> bool {
    use Step::{
        ChildSpawned, CredsAnswered, CredsSent, GateOpen, GateShredded, HalfWritten, LoginSent,
        Mkdir, Renewing, Revoking, Shredding, Unlinked, Written,
    };
    let Cell { step, way, victim } = cell;
    match (victim, way) {
        (Victim::Supervisor, Way::Kill) => true,
        (Victim::Supervisor, Way::Term) => {
            [LoginSent, CredsSent, Written, ChildSpawned, Shredding].contains(&step)
        }
        (Victim::Supervisor, Way::Int | Way::Hup) => [CredsSent, ChildSpawned].contains(&step),
        (Victim::Supervisor, Way::Panic) => [CredsAnswered, ChildSpawned, Unlinked].contains(&step),
        (Victim::Supervisor, Way::Enospc) => [HalfWritten, Written, Shredding].contains(&step),
        (Victim::Supervisor, Way::Eio) => [Mkdir, Unlinked].contains(&step),
        (Victim::Supervisor, Way::Emfile) => [CredsAnswered, Written, Revoking].contains(&step),
        (Victim::Supervisor, Way::ServerGone) => [CredsSent, Renewing, Revoking].contains(&step),
        (Victim::Janitor, Way::Kill) => [CredsSent, GateOpen, Revoking].contains(&step),
        (Victim::Janitor, Way::Term | Way::Panic) => step == ChildSpawned,
        (Victim::Janitor, Way::Enospc | Way::Eio | Way::Emfile | Way::ServerGone) => {
            step == ChildSpawned
        }
        (Victim::Child, Way::Kill | Way::Int) => [ChildSpawned, GateShredded].contains(&step),
        (Victim::Group, Way::Kill | Way::Term) => step == ChildSpawned,
        (Victim::All, Way::Kill) => [CredsSent, ChildSpawned].contains(&step),
        (Victim::All, Way::Term) => step == ChildSpawned,
        _ => false,
    }
}

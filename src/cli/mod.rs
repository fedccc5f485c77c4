//! The command line: arguments, the order of the steps, messages, exit codes.
#![forbid(unsafe_code)]

mod arguments;
mod asking;
mod borrowing;
mod bridge;
mod check;
mod dead;
mod disk;
mod end;
mod env;
mod exec;
mod failure;
mod finding;
mod generate;
mod generated;
mod giving_back;
mod init;
mod keeping;
mod lending;
mod output;
mod picture;
mod plan;
mod proving;
mod recording;
mod rehearsal;
mod render;
mod replace;
mod say;
mod session;
mod shim;
mod status;
mod steps;
mod sweep;
mod taking_back;
mod terminal;
mod trust;
mod warming;

use std::ffi::OsString;
use std::process::ExitCode;

use arguments::Command;
use say::Say;

use crate::supervise::janitor;

pub use shim::shim;

/// What `dbt-lease` does: parses the arguments of this process, runs the subcommand, and gives the exit code.
pub fn main() -> ExitCode {
    if janitor::is_called() {
        janitor::run()
    } else {
        command_line()
    }
}

/// Never inlined: its large frame would stand on the janitor's stack, too.
#[inline(never)]
fn command_line() -> ExitCode {
    let raw: Vec<OsString> = std::env::args_os().collect();
    let arguments = match arguments::parse(&raw) {
        Ok(arguments) => arguments,
        Err(error) => return arguments::refused(&error, &raw),
    };
    let say = Say::new(&arguments.global);
    let outcome = match &arguments.command {
        Command::Exec(exec) => return exec::run(&say, &arguments.global, exec),
        Command::Plan(plan) => plan::run(&arguments.global, plan),
        Command::Render(render) => render::run(&arguments.global, render),
        Command::Check(check) => return check::run(&say, &arguments.global, check),
        Command::Env(env) => env::run(&say, &arguments.global, env),
        Command::Init(init) => init::run(&say, &arguments.global, init),
        Command::Bridge(bridge) => bridge::run(&say, &arguments.global, bridge),
        Command::Generate(generate) => generate::run(&say, &arguments.global, generate),
        Command::Status(status) => status::run(status),
        Command::End(end) => end::run(end),
        Command::Sweep => sweep::run(&say, &arguments.global),
        Command::Trust(trust) => trust::run(&say, &arguments.global, trust),
        Command::Schema => generated::schema(),
        Command::Completions(completions) => generated::completions(completions),
        Command::Man(man) => generated::man(man),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say.failure(&failure);
            ExitCode::FAILURE
        }
    }
}

//! The command line: arguments, the order of the steps, messages, exit codes.
#![forbid(unsafe_code)]

mod arguments;
mod exec;
mod failure;
mod keeping;
mod lending;
mod output;
mod picture;
mod plan;
mod render;
mod say;
mod shim;
mod steps;
mod taking_back;

use std::ffi::OsString;
use std::process::ExitCode;

use arguments::Command;
use say::Say;

pub use shim::shim;

/// What `dbt-lease` does: parses the arguments of this process, runs the subcommand, and gives the exit code.
pub fn main() -> ExitCode {
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
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say.failure(&failure);
            ExitCode::FAILURE
        }
    }
}

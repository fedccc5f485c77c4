//! `trust`: show what dbt-lease.yml would do, and keep the user's word that it may. No network; reads no token.
#![forbid(unsafe_code)]

use std::io::{self, BufRead, IsTerminal, Write};

use super::arguments::{Global, Trust as Arguments};
use super::failure::Failure;
use super::output;
use super::say::Say;
use super::steps::Surroundings;
use crate::config::Config;
use crate::trust::store::Store;
use crate::trust::{TrustError, account, said};

/// `dbt-lease trust`
pub(crate) fn run(say: &Say, global: &Global, arguments: &Arguments) -> Result<(), Failure> {
    let surroundings = Surroundings::look()?;
    let variables = &surroundings.variables;
    let config = surroundings.config_here(global)?;
    let already = said(&config, variables)?;
    let state = already.unwrap_or("not trusted");
    output::text(&format!("{}\n{state}\n", account::of_file(&config)))?;
    if arguments.show {
        return Ok(());
    }
    let store = Store::of(variables).ok_or_else(|| TrustError::NoPlace {
        fingerprint: config.fingerprint.clone(),
    })?;
    if store.has(&config.fingerprint)? {
        return Ok(());
    }
    if !arguments.yes && !is_allowed(&config)? {
        return Err(Failure::new(
            "not_trusted",
            format!("`{}` is not trusted", config.file.display()),
            None,
        ));
    }
    let kept = store.keep(&config.fingerprint, &config.file)?;
    say.note(|| {
        format!(
            "kept in `{}`: remove that file to take it back",
            kept.display()
        )
    });
    Ok(())
}

/// Asks, on a terminal alone: what comes through a pipe is not the user's word.
fn is_allowed(config: &Config) -> Result<bool, Failure> {
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return Err(Failure::new(
            "not_trusted",
            format!(
                "`{}` is not trusted, and without a terminal nobody can be asked",
                config.file.display()
            ),
            Some(&format!(
                "read what stands above; if it may: dbt-lease trust --yes, or DBT_LEASE_TRUST={}",
                config.fingerprint
            )),
        ));
    }
    let failed = |error: io::Error| Failure::new("terminal", format!("cannot ask: {error}"), None);
    let mut stderr = anstream::stderr();
    stderr
        .write_all(b"may this be obeyed, here and wherever a file says the same? [y/N] ")
        .and_then(|()| stderr.flush())
        .map_err(failed)?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(failed)?;
    Ok(matches!(
        answer.trim().to_ascii_lowercase().as_str(),
        "y" | "yes"
    ))
}

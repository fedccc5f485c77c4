//! `end`: sessions end in order, and it is said what became of all that they had borrowed.
#![forbid(unsafe_code)]

use super::arguments::End as Arguments;
use super::failure::Failure;
use super::output;
use super::status::sessions;
use crate::supervise::janitor::ask::Living;
use crate::supervise::janitor::protocol::Proof;

/// `dbt-lease end`
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let found = sessions();
    let meant: Vec<&Living> = found
        .living
        .iter()
        .filter(|living| is_meant(living, arguments))
        .collect();
    if meant.is_empty() {
        return Err(nothing(arguments, found.silent.len()));
    }
    // At once: each may take its command's time to end.
    let ends: Vec<_> = std::thread::scope(|scope| {
        let asked: Vec<_> = meant
            .iter()
            .map(|living| scope.spawn(|| living.end()))
            .collect();
        asked
            .into_iter()
            .map(std::thread::ScopedJoinHandle::join)
            .collect()
    });
    let mut open = 0;
    for (living, end) in meant.iter().zip(ends) {
        let session = &living.about.session;
        let told = match end {
            Ok(Ok(proof)) => {
                open += usize::from(!proof.left.is_empty());
                words(session, &proof)
            }
            Ok(Err(error)) => {
                open += 1;
                format!(
                    "session {session}: how it ended is not known: {error}; the record will tell\n"
                )
            }
            Err(_) => {
                open += 1;
                format!("session {session}: it could not be asked\n")
            }
        };
        output::text(&told)?;
    }
    if open > 0 {
        return Err(Failure::new(
            "not_taken_back",
            "not everything is known to be taken back (see above)",
            Some(
                "the record holds the lease ids; `dbt-lease sweep` tries again what a killed session left",
            ),
        ));
    }
    Ok(())
}

fn is_meant(living: &Living, arguments: &Arguments) -> bool {
    let about = &living.about;
    arguments.all
        || arguments.session.as_ref() == Some(&about.session)
        || arguments.environment.as_ref() == Some(&about.environment)
}

fn nothing(arguments: &Arguments, silent: usize) -> Failure {
    let what = match (&arguments.session, &arguments.environment) {
        (Some(session), _) => format!("no session `{session}` is alive here"),
        (_, Some(environment)) => {
            format!("no session of the environment `{environment}` is alive here")
        }
        _ => "no session is alive here".to_owned(),
    };
    let silent = match silent {
        0 => String::new(),
        1 => "; one does not answer".to_owned(),
        many => format!("; {many} do not answer"),
    };
    Failure::new(
        "no_session",
        what + &silent,
        Some(
            "`dbt-lease status` lists them; what killed sessions have left, `dbt-lease sweep` takes back",
        ),
    )
}

fn words(session: &str, proof: &Proof) -> String {
    let plural = if proof.leases == 1 { "" } else { "s" };
    let mut text = format!(
        "session {session}: {} lease{plural}, {} revoked, verified by Vault's answer to a sync revocation\n",
        proof.leases, proof.revoked
    );
    for left in proof.left.iter().chain(&proof.by_time) {
        text.push_str(&format!("  {left}\n"));
    }
    text
}

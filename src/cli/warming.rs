//! dbt's parse cache around a run: kept for the new user's name, or left to dbt, and why.
#![forbid(unsafe_code)]

use std::path::Path;

use super::say::Say;
use super::session::{Borrowed, Session};
use crate::config::{Lent, ParseCache};
use crate::dbt::{Profile, Rendering, Resolved};
use crate::delivery::session::SessionDir;
use crate::plan::{Loan, ParseCacheView};
use crate::render::secrets::Secrets;
use crate::render::{self, RenderError};
use crate::secret::Secret;
use crate::variables::Variables;
use crate::warm::{Case, Cold, Warm};

impl Session<'_> {
    /// Keeps dbt's parse cache warm where that is known to be right; whatever goes wrong is dbt's to make good, by parsing everything.
    pub(super) fn warm(&self, borrowed: &Borrowed, bridge: &[(String, Secret)]) {
        let Self { wanted, .. } = self;
        let lent = &wanted.loan.lent;
        if lent.parse_cache == ParseCache::Off {
            return;
        }
        let (first, _) = borrowed.secrets.split_at(lent.secrets.len());
        let files = borrowed.directory.as_ref().and_then(SessionDir::files_dir);
        let secrets = Secrets::leased(first);
        let Ok(output) = render::output(self.profile, lent, &secrets, self.rendering, files) else {
            return;
        };
        let case = Case::of(
            wanted.resolved,
            self.profile,
            (&output, bridge),
            self.rendering,
            self.variables,
        );
        let outcome = case.and_then(|case| case.warm());
        self.say.note(|| match outcome {
            Ok(warm) => format!("dbt's parse cache is {}", words(&warm)),
            Err(cold) => format!("dbt will parse everything that it does not know: {cold}"),
        });
    }
}

/// What `plan` says; nothing where the cache is left alone.
pub(super) fn view(
    resolved: &Resolved,
    loan: &Loan,
    rendering: &Rendering<'_>,
    variables: &Variables,
) -> Option<ParseCacheView> {
    let profile = resolved.profile.as_ref()?;
    let lent = &loan.lent;
    if lent.parse_cache == ParseCache::Off {
        return None;
    }
    let found = on_placeholders(resolved, profile, lent, rendering, variables, |case| {
        case.look()
    })
    .ok()?;
    Some(match found {
        Ok(warm) => ParseCacheView {
            state: "warm",
            why: words(&warm).to_owned(),
        },
        Err(cold) => ParseCacheView {
            state: "cold",
            why: cold.to_string(),
        },
    })
}

/// The last run's values in the place of placeholders, for a command that does not connect.
#[derive(Default)]
pub(super) struct Last {
    /// Keys of the output.
    pub(super) keys: Vec<(String, String)>,
    /// Variables of the bridge.
    pub(super) variables: Vec<(String, String)>,
}

/// What a command that does not connect gets, so that it leaves the cache as warm as it was.
pub(super) fn last(
    say: &Say,
    resolved: &Resolved,
    (profile, lent): (&Profile, &Lent),
    rendering: &Rendering<'_>,
    variables: &Variables,
) -> Last {
    if lent.parse_cache == ParseCache::Off {
        return Last::default();
    }
    let found = on_placeholders(resolved, profile, lent, rendering, variables, |case| {
        let mut last = Last::default();
        for (filled, value) in case.last()? {
            match filled.variable() {
                Some(name) => last.variables.push((name.to_owned(), value)),
                None => last.keys.push((filled.spelling().to_owned(), value)),
            }
        }
        Ok(last)
    });
    match found {
        Ok(Ok(last)) => last,
        Ok(Err(cold)) => {
            say.note(|| format!("dbt will parse everything that it does not know: {cold}"));
            Last::default()
        }
        // It is said where the profiles directory is made.
        Err(_) => Last::default(),
    }
}

/// Asks about a case before the lease.
fn on_placeholders<T>(
    resolved: &Resolved,
    profile: &Profile,
    lent: &Lent,
    rendering: &Rendering<'_>,
    variables: &Variables,
    ask: impl FnOnce(&Case<'_>) -> Result<T, Cold>,
) -> Result<Result<T, Cold>, RenderError> {
    let secrets = Secrets::placeholders(lent);
    let bridge = render::bridge(lent, &secrets)?;
    let files = Path::new("files");
    let output = render::output(profile, lent, &secrets, rendering, Some(files))?;
    let case = Case::of(resolved, profile, (&output, &bridge), rendering, variables);
    Ok(case.and_then(|case| ask(&case)))
}

fn words(warm: &Warm) -> &'static str {
    match warm {
        Warm::ByNature => "warm: the lease changes nothing that dbt compares",
        Warm::Kept => "kept for the new user",
    }
}

//! What dbt refuses of its words and variables before it reads a project, beside what [`super::invocation::read`] finds: click's
//! checks of variables and paths, and `dbt/cli/flags.py` on options that exclude or need each other.
#![forbid(unsafe_code)]

use super::accepted::{is_on, may_stand_in_a_variable, moment, unfit_path};
use super::choices::Choices;
use super::error::DbtError;
use super::invocation::Invocation;
use super::options::{Command, Opt};

/// Options that dbt does not take together, wherever they come from.
const EXCLUSIVE: [[&str; 2]; 3] = [
    ["warn_error", "warn_error_options"],
    ["select", "inline"],
    ["selector", "inline"],
];

impl Choices<'_> {
    /// Why dbt refuses its words or variables, if it does.
    ///
    /// # Errors
    /// A variable's value is not known for certain.
    pub(super) fn usage(&self, invocation: &Invocation) -> Result<Option<String>, DbtError> {
        for (depth, level) in self.levels(invocation) {
            for option in level.options.iter() {
                if let Some(why) = self.unfit(invocation, option, depth)? {
                    return Ok(Some(why));
                }
            }
        }
        for [one, other] in EXCLUSIVE {
            if self.is_set(invocation, one)? && self.is_set(invocation, other)? {
                return Ok(Some(format!("`{other}` is not allowed with `{one}`")));
            }
        }
        self.unfit_moments(invocation)
    }

    /// dbt itself, the group and the command, with their depth.
    fn levels(&self, invocation: &Invocation) -> impl Iterator<Item = (usize, &'static Command)> {
        let words = invocation.command.words;
        let levels = self.engine.rules.commands().iter();
        levels
            .filter(|level| words.starts_with(level.words))
            .map(|level| (level.words.len(), level))
    }

    /// An option whose variable or path click refuses; a variable counts only where the words do not give the option at the same place.
    fn unfit(
        &self,
        invocation: &Invocation,
        option: &Opt,
        depth: usize,
    ) -> Result<Option<String>, DbtError> {
        let (said, text) = if invocation.is_given(option.name, depth) {
            let value = invocation.value_at(option.name, depth).unwrap_or_default();
            (option.opts[0], value)
        } else {
            match self.environment.option(option.variables)? {
                Some(from) if !may_stand_in_a_variable(option, from.value) => {
                    let why = format!("{} has no value for `{}`", from.name, option.opts[0]);
                    return Ok(Some(why));
                }
                Some(from) => (from.name, from.value),
                None => return Ok(None),
            }
        };
        // Where project and profiles are is refused where it is asked for.
        if matches!(option.name, "project_dir" | "profiles_dir") {
            return Ok(None);
        }
        // An empty path is no directory to click, and not ours.
        let path = if text.is_empty() {
            "".into()
        } else {
            self.cwd.join(text)
        };
        Ok(unfit_path(option.accepts, &path).map(|why| format!("the path of `{said}` {why}")))
    }

    /// Whether words, a variable or the user's settings give an option, at any level.
    fn is_set(&self, invocation: &Invocation, name: &str) -> Result<bool, DbtError> {
        for (depth, level) in self.levels(invocation) {
            let Some(option) = level.named(name) else {
                continue;
            };
            if invocation.is_given(name, depth)
                || self.settings.has(name)
                || self.environment.option(option.variables)?.is_some()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What `--warn-error` is, where words or a variable say; the words' may only switch it on.
    pub(super) fn warn_error(&self, invocation: &Invocation) -> Result<Option<bool>, DbtError> {
        for (depth, level) in self.levels(invocation) {
            if invocation.is_given("warn_error", depth) {
                return Ok(Some(true));
            }
            if let Some(option) = level.named("warn_error")
                && let Some(from) = self.environment.option(option.variables)?
            {
                return Ok(Some(is_on(from.value)));
            }
        }
        Ok(None)
    }

    /// `--event-time-start` and `--event-time-end` need each other, in order.
    fn unfit_moments(&self, invocation: &Invocation) -> Result<Option<String>, DbtError> {
        let of = |name: &str| -> Result<Option<String>, DbtError> {
            let Some(option) = invocation.command.named(name) else {
                return Ok(None);
            };
            if let Some(value) = invocation.value(name) {
                return Ok(Some(value.to_owned()));
            }
            let found = self.environment.option(option.variables)?;
            Ok(found.map(|found| found.value.to_owned()))
        };
        let why = match (of("event_time_start")?, of("event_time_end")?) {
            (None, None) => None,
            (Some(start), Some(end)) => match (moment(&start), moment(&end)) {
                (Some(start), Some(end)) if start >= end => {
                    Some("`--event-time-start` must be before `--event-time-end`")
                }
                _ => None,
            },
            // The user's settings may have the other, which nobody checks.
            _ if ["event_time_start", "event_time_end"]
                .iter()
                .any(|name| self.settings.has(name)) =>
            {
                None
            }
            _ => Some("`--event-time-start` and `--event-time-end` need each other"),
        };
        Ok(why.map(str::to_owned))
    }
}

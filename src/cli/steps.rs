//! The steps that `exec`, `plan` and `render` share: from the arguments to the plan.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::arguments::{Global, SelectionArguments};
use super::failure::Failure;
use crate::config::{Config, Lent};
use crate::dbt::{self, Context, Rendering, Resolved, Selection};
use crate::plan::{self, Plan};
use crate::render::check::{Around, check, spellings};
use crate::render::secrets::Secrets;
use crate::render::{self, RenderError};
use crate::trust;
use crate::variables::Variables;

/// What surrounds this process.
pub(crate) struct Surroundings {
    pub(crate) variables: Variables,
    pub(crate) cwd: PathBuf,
}

impl Surroundings {
    pub(crate) fn look() -> Result<Self, Failure> {
        let cwd = std::env::current_dir().map_err(|error| {
            Failure::new(
                "working_directory",
                format!("the working directory cannot be found: {error}"),
                Some("`cd` to one that is there"),
            )
        })?;
        Ok(Self {
            variables: Variables::of_process(),
            cwd,
        })
    }

    pub(crate) fn context(&self) -> Context<'_> {
        Context {
            variables: &self.variables,
            cwd: &self.cwd,
        }
    }

    /// What dbt would use.
    pub(crate) fn resolve(
        &self,
        command: &[OsString],
        selection: &SelectionArguments,
    ) -> Result<Resolved, Failure> {
        self.resolve_by(command, &selection.selection())
    }

    /// The same, by options that are not our arguments.
    pub(crate) fn resolve_by(
        &self,
        command: &[OsString],
        selection: &Selection,
    ) -> Result<Resolved, Failure> {
        Ok(dbt::resolve(command, selection, &self.context())?)
    }

    /// What dbt's templates see for a command.
    pub(crate) fn rendering(&self, resolved: &Resolved) -> Result<Rendering<'_>, Failure> {
        Ok(Rendering::of(
            &resolved.engine,
            resolved.vars.clone(),
            &self.context(),
        )?)
    }

    /// Whether the project that dbt would use has a dbt-lease.yml, asked where its resolution has failed.
    pub(crate) fn is_adopted(
        &self,
        global: &Global,
        exec: &super::arguments::Exec,
    ) -> Result<bool, Failure> {
        let project = dbt::project_dir(&exec.command, &exec.selection.selection(), &self.context());
        Ok(Config::find(
            project.as_deref(),
            global.config.as_deref(),
            &self.variables,
        )?
        .is_some())
    }

    /// The dbt-lease.yml that a command here would obey, whatever profile and target it chose.
    pub(crate) fn config_here(&self, global: &Global) -> Result<Config, Failure> {
        let project = dbt::project_dir(&[], &Selection::default(), &self.context());
        match Config::find(
            project.as_deref(),
            global.config.as_deref(),
            &self.variables,
        )? {
            Some(file) => Ok(Config::load(&file, &self.variables)?),
            None => Err(no_config(
                project.as_deref().unwrap_or(&self.cwd),
                "there is nothing to trust",
            )),
        }
    }

    /// dbt-lease.yml, where there is one.
    pub(crate) fn config(
        &self,
        global: &Global,
        resolved: &Resolved,
    ) -> Result<Option<Config>, Failure> {
        let beside = resolved
            .project
            .as_ref()
            .map(|project| project.dir.as_path());
        match Config::find(beside, global.config.as_deref(), &self.variables)? {
            Some(file) => Ok(Some(Config::load(&file, &self.variables)?)),
            None => Ok(None),
        }
    }

    /// The plan for somebody who only looks: as if the command did not connect, so that no rule about lending stands in the way.
    pub(crate) fn plan_to_look_at(
        &self,
        resolved: &Resolved,
        config: Option<&Config>,
    ) -> Result<Plan, Failure> {
        let looked_at = Resolved {
            need: resolved.need.without_connecting(),
            ..resolved.clone()
        };
        self.plan(&looked_at, config)
    }

    /// Refuses what the user has not allowed, see [`trust::check`].
    pub(crate) fn refuse_untrusted(
        &self,
        config: &Config,
        resolved: &Resolved,
        plan: &Plan,
    ) -> Result<(), Failure> {
        if plan.loan.is_none() {
            return Ok(());
        }
        let files = &resolved.deciding_files;
        Ok(trust::check(config, plan, files, &self.variables)?)
    }

    /// Refuses what dbt would refuse in the chosen output, whatever Vault will give.
    pub(crate) fn check(
        &self,
        command: &[OsString],
        resolved: &Resolved,
        loan: Option<&Lent>,
        rendering: &Rendering<'_>,
    ) -> Result<(), Failure> {
        let Some(profile) = &resolved.profile else {
            return Ok(());
        };
        if !rendering.is_fusion() {
            spellings(profile, &profile.output)?;
        }
        let made = loan.map(|lent| {
            let secrets = Secrets::placeholders(lent);
            render::output(profile, lent, &secrets, rendering, Some(Path::new("…")))
        });
        let made = match made.transpose() {
            Ok(made) => made,
            // Nothing that Vault gives from there will fit.
            Err(error @ (RenderError::Unfit(_) | RenderError::OtherWay { .. })) => {
                return Err(error.into());
            }
            // Said by those who need the output.
            Err(_) => return Ok(()),
        };
        let output = made.as_ref().map_or(&profile.output, |made| &made.node);
        let later = loan
            .iter()
            .flat_map(|lent| &lent.env)
            .map(|variable| variable.name.clone())
            .collect();
        let around = Around {
            rendering,
            later: &later,
            // Another program may tell dbt how many.
            threads_count: resolved.threads_count && (resolved.is_dbt || command.is_empty()),
            is_lent: loan.is_some(),
        };
        Ok(check(profile, output, &around)?)
    }

    /// The plan.
    pub(crate) fn plan(
        &self,
        resolved: &Resolved,
        config: Option<&Config>,
    ) -> Result<Plan, Failure> {
        Ok(plan::plan(resolved, config, &self.variables)?)
    }
}

/// The checkout of Git that a directory is in.
pub(crate) fn checkout(directory: &Path) -> Option<&Path> {
    directory
        .ancestors()
        .find(|directory| directory.join(".git").exists())
}

/// A project without dbt-lease.yml, where one is needed; and what that means.
pub(crate) fn no_config(place: &Path, so: &str) -> Failure {
    Failure::new(
        "no_config",
        format!(
            "there is no dbt-lease.yml in `{}`, so {so}",
            place.display()
        ),
        Some(
            "`dbt-lease init` proposes one from the project's profiles, or name it: `--config FILE`, DBT_LEASE_CONFIG",
        ),
    )
}

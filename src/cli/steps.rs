//! The steps that `exec`, `plan` and `render` share: from the arguments to the plan.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::path::PathBuf;

use super::arguments::{Global, SelectionArguments};
use super::failure::Failure;
use crate::config::Config;
use crate::dbt::{self, Context, Rendering, Resolved};
use crate::plan::{self, Plan};
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

    /// What dbt would use.
    pub(crate) fn resolve(
        &self,
        command: &[OsString],
        selection: &SelectionArguments,
    ) -> Result<Resolved, Failure> {
        let context = Context {
            variables: &self.variables,
            cwd: &self.cwd,
        };
        Ok(dbt::resolve(command, &selection.selection(), &context)?)
    }

    /// What dbt's templates see for a command.
    pub(crate) fn rendering(
        &self,
        command: &[OsString],
        selection: &SelectionArguments,
    ) -> Result<Rendering<'_>, Failure> {
        let context = Context {
            variables: &self.variables,
            cwd: &self.cwd,
        };
        Ok(Rendering::of(command, &selection.selection(), &context)?)
    }

    /// Whether the project that dbt would use has a dbt-lease.yml, asked where its resolution has failed.
    pub(crate) fn is_adopted(
        &self,
        global: &Global,
        exec: &super::arguments::Exec,
    ) -> Result<bool, Failure> {
        let context = Context {
            variables: &self.variables,
            cwd: &self.cwd,
        };
        let project = dbt::project_dir(&exec.command, &exec.selection.selection(), &context);
        Ok(Config::find(
            project.as_deref(),
            global.config.as_deref(),
            &self.variables,
        )?
        .is_some())
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

    /// The dbt-lease.yml of the project here, where there is one; dbt itself need not be able to use the project.
    pub(crate) fn config_here(
        &self,
        global: &Global,
        selection: &SelectionArguments,
    ) -> Result<Option<Config>, Failure> {
        let context = Context {
            variables: &self.variables,
            cwd: &self.cwd,
        };
        let project = dbt::project_dir(&[], &selection.selection(), &context);
        match Config::find(
            project.as_deref(),
            global.config.as_deref(),
            &self.variables,
        )? {
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

    /// The plan.
    pub(crate) fn plan(
        &self,
        resolved: &Resolved,
        config: Option<&Config>,
    ) -> Result<Plan, Failure> {
        Ok(plan::plan(resolved, config, &self.variables)?)
    }
}

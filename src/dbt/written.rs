//! Where dbt writes: its target and its log directory (facts dbt #15; `Project.from_project_root`, `default_log_path`).
#![forbid(unsafe_code)]

use std::path::PathBuf;

use super::choices::{Choices, Given};
use super::jinja::{self, LookupOwned, Scope, Secrets, Vars};
use super::options::Command;
use super::project::ProjectFile;

impl Choices<'_> {
    /// The directories, absolute, with the target directory as it was found, whether they are there or not. A `target-path:` whose template we do not evaluate is left out.
    pub(super) fn written(
        &self,
        command: &Command,
        given: Given<'_>,
        project: &ProjectFile,
        target: Option<PathBuf>,
    ) -> Vec<PathBuf> {
        let dir = &project.project.dir;
        // click makes an option's log path absolute by the working directory; dbt_project.yml's counts from the project, unrendered.
        let logs = self.chosen_path(command, given, "log_path").map_or_else(
            || {
                let written = project.log_path.as_deref().and_then(|node| node.text());
                dir.join(written.filter(|text| !text.is_empty()).unwrap_or("logs"))
            },
            |text| self.cwd.join(text),
        );
        let mut written: Vec<PathBuf> = target.into_iter().collect();
        if !written.contains(&logs) {
            written.push(logs);
        }
        written
    }

    /// The target directory, absolute; none where its template is not evaluated.
    pub(super) fn target_dir(
        &self,
        command: &Command,
        given: Given<'_>,
        project: &ProjectFile,
        vars: &Vars,
    ) -> Option<PathBuf> {
        let text = self
            .chosen_path(command, given, "target_path")
            .or_else(|| self.of_the_project(project, vars))?;
        Some(project.project.dir.join(text))
    }

    fn chosen_path(&self, command: &Command, given: Given<'_>, name: &str) -> Option<String> {
        let choice = self.choice(command, given, name).ok().flatten();
        choice
            .map(|choice| choice.text)
            .filter(|text| !text.is_empty())
    }

    fn of_the_project(&self, project: &ProjectFile, vars: &Vars) -> Option<String> {
        let Some(text) = project.target_path.as_deref().and_then(|node| node.text()) else {
            return Some("target".to_owned());
        };
        let lookup = |name: &str| LookupOwned::from(self.environment.env_var(name));
        let scope = Scope {
            env_var: &lookup,
            secrets: Secrets::Placeholder,
            vars,
            vault: None,
        };
        match jinja::render(text, &scope).ok()?.value {
            jinja::Value::Str(text, _) => Some(text.to_string()).filter(|text| !text.is_empty()),
            _ => None,
        }
    }
}

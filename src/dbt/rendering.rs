//! Rendering single values of the chosen output as dbt would for one command: its environment with `.env`, its `--vars`.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::ffi::OsString;

use super::environment::Environment;
use super::error::DbtError;
use super::invocation::{Reading, read};
use super::jinja::{self, JinjaError, LookupOwned, Rendered, Scope, Secrets, Vars};
use super::program::{Program, recognise};
use super::resolve::engine;
use super::vars::vars;
use super::{Context, Selection};

/// `vault.NAME.FIELD`, for a template.
pub type Vault<'a> = &'a dyn Fn(&str, &str) -> Option<jinja::Value>;

/// What dbt's templates see for one command.
pub struct Rendering<'a> {
    environment: Environment<'a>,
    vars: Vars,
    fusion: bool,
}

impl<'a> Rendering<'a> {
    /// For a command (and our options before it) in its surroundings.
    ///
    /// # Errors
    /// What [`super::resolve`] says of the same command's `.env` and `--vars`.
    pub fn of(
        command: &[OsString],
        selection: &Selection,
        context: &Context<'a>,
    ) -> Result<Self, DbtError> {
        let program = recognise(command, context.variables, selection.target.is_some())?;
        let engine = engine(program, command, context);
        let fusion = engine.fusion;
        let words = match program {
            Program::Dbt { words, .. } => &command[words..],
            Program::Other => &command[..0],
        };
        let environment = Environment::of(&engine, context.variables, context.cwd)?;
        let words: Vec<String> = words
            .iter()
            .filter_map(|word| word.to_str().map(str::to_owned))
            .collect();
        let given = match read(&words, engine.rules.commands) {
            Reading::Command(invocation) => invocation.value("vars").map(str::to_owned),
            Reading::Nothing | Reading::Usage(_) => None,
        };
        let text = given.as_deref().or(selection.vars.as_deref());
        let vars = vars(text, engine.merging).map_err(|why| DbtError::BadVars { why })?;
        Ok(Self {
            environment,
            vars,
            fusion,
        })
    }

    /// The value that dbt would make of a string of the output.
    ///
    /// # Errors
    /// dbt would fail too, or what it would do is not known for certain.
    pub fn render(&self, text: &str, vault: Option<Vault<'_>>) -> Result<Rendered, JinjaError> {
        self.render_by(text, vault, &|name| {
            LookupOwned::from(self.environment.env_var(name))
        })
    }

    /// The same before the lease: the values of some variables are not known yet.
    ///
    /// # Errors
    /// As [`Self::render`].
    pub fn render_before(
        &self,
        text: &str,
        later: &BTreeSet<String>,
    ) -> Result<Rendered, JinjaError> {
        self.render_by(text, None, &|name| {
            if later.contains(name) {
                LookupOwned::Unknown
            } else {
                LookupOwned::from(self.environment.env_var(name))
            }
        })
    }

    /// Whether the command is dbt Fusion, whose Jinja is another.
    pub fn is_fusion(&self) -> bool {
        self.fusion
    }

    fn render_by(
        &self,
        text: &str,
        vault: Option<Vault<'_>>,
        env_var: &dyn Fn(&str) -> LookupOwned,
    ) -> Result<Rendered, JinjaError> {
        let scope = Scope {
            env_var,
            secrets: Secrets::Placeholder,
            vars: &self.vars,
            vault,
        };
        jinja::render(text, &scope)
    }
}

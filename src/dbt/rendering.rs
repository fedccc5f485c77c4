//! Rendering single values of the chosen output as dbt would for one command: its environment with `.env`, its `--vars`.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use super::environment::Environment;
use super::error::DbtError;
use super::jinja::{self, JinjaError, LookupOwned, Rendered, Scope, Secrets, Vars};
use super::{Context, Engine};

/// `vault.NAME.FIELD`, for a template.
pub type Vault<'a> = &'a dyn Fn(&str, &str) -> Option<jinja::Value>;

/// What dbt's templates see for one command.
pub struct Rendering<'a> {
    environment: Environment<'a>,
    vars: Vars,
    fusion: bool,
}

impl<'a> Rendering<'a> {
    /// For the dbt of a command and its `--vars`, both from [`super::resolve`].
    ///
    /// # Errors
    /// A `.env` that cannot be read.
    pub fn of(engine: &Engine, vars: Vars, context: &Context<'a>) -> Result<Self, DbtError> {
        Ok(Self {
            environment: Environment::of(engine, context.variables, context.cwd)?,
            vars,
            fusion: engine.fusion,
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

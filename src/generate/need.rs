//! What whoever applies a generated setup may have to say, or may say otherwise: the variables at its top.
#![forbid(unsafe_code)]

use serde::Serialize;

use super::quote;
use super::setting::Setting;

/// A variable at the top.
#[derive(Clone, Debug)]
pub(super) struct Need {
    /// Its name, in capitals.
    pub(super) name: String,
    /// What it is, for people.
    pub(super) why: String,
    /// What counts where nobody sets it.
    pub(super) setting: Setting,
    /// Whether it may stay empty.
    pub(super) optional: bool,
}

/// The same as both languages have it, for templates.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Written {
    /// A comment and an assignment.
    sh: String,
    /// A block of Terraform's.
    hcl: String,
}

impl Need {
    pub(super) fn known(name: &str, value: &str, why: &str) -> Self {
        Self {
            name: name.to_owned(),
            why: why.to_owned(),
            setting: Setting::Known(value.to_owned()),
            optional: false,
        }
    }

    pub(super) fn open(name: &str, why: &str) -> Self {
        Self {
            name: name.to_owned(),
            why: why.to_owned(),
            setting: Setting::Unknown,
            optional: false,
        }
    }

    pub(super) fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// A check that it is not empty, for where it is used; empty where it may be.
    pub(super) fn written_check(&self) -> String {
        if self.optional {
            return String::new();
        }
        format!("need {0} \"${0}\" {1}", self.name, quote::sh(&self.why))
    }

    pub(super) fn written(&self) -> Written {
        let name = &self.name;
        let why = &self.why;
        let mut sh = format!("# {why}\n");
        match &self.setting {
            Setting::Known(text) => {
                sh.push_str(&format!(
                    "[ -n \"${{{name}-}}\" ] || {name}={}\n",
                    quote::sh(text)
                ));
            }
            Setting::Variable(variable, default) => {
                sh.push_str(&format!(
                    "[ -n \"${{{name}-}}\" ] || {name}=${{{variable}-}}\n"
                ));
                if let Some(default) = default {
                    sh.push_str(&format!(
                        "[ -n \"${name}\" ] || {name}={}\n",
                        quote::sh(default)
                    ));
                }
            }
            Setting::Unknown => sh.push_str(&format!("{name}=${{{name}-}}\n")),
        }
        let default = match self.setting.or_default() {
            Some(text) => format!("  default     = {}\n", quote::hcl(text)),
            None if self.optional => "  default     = \"\"\n".to_owned(),
            None => String::new(),
        };
        let hcl = format!(
            "variable \"{}\" {{\n  type        = string\n  description = {}\n{default}}}\n",
            name.to_ascii_lowercase(),
            quote::hcl(why)
        );
        Written { sh, hcl }
    }
}

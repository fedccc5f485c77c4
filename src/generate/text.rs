//! Text that is written into a shell script and into Terraform: what is known, and variables that whoever applies it sets.
#![forbid(unsafe_code)]

use serde::Serialize;

use super::quote;

/// A part of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Known(String),
    Variable(String),
}

/// A text with variables in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Text(Vec<Piece>);

/// A text as both languages have it, for templates.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Written {
    /// A word of the shell.
    sh: String,
    /// A string of HCL.
    hcl: String,
}

impl Text {
    pub(super) fn known(text: impl Into<String>) -> Self {
        Self(vec![Piece::Known(text.into())])
    }

    pub(super) fn variable(name: impl Into<String>) -> Self {
        Self(vec![Piece::Variable(name.into())])
    }

    pub(super) fn then(mut self, text: impl Into<String>) -> Self {
        self.0.push(Piece::Known(text.into()));
        self
    }

    pub(super) fn then_variable(mut self, name: impl Into<String>) -> Self {
        self.0.push(Piece::Variable(name.into()));
        self
    }

    pub(super) fn joined(mut self, other: &Self) -> Self {
        self.0.extend(other.0.iter().cloned());
        self
    }

    pub(super) fn written(&self) -> Written {
        let mut sh = String::new();
        let mut hcl = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Known(text) if text.is_empty() => {}
                Piece::Known(text) => {
                    sh.push_str(&quote::sh(text));
                    let quoted = quote::hcl(text);
                    hcl.push_str(&quoted[1..quoted.len() - 1]);
                }
                Piece::Variable(name) => {
                    sh.push_str(&format!("\"${{{name}}}\""));
                    hcl.push_str(&format!("${{var.{}}}", name.to_ascii_lowercase()));
                }
            }
        }
        if sh.is_empty() {
            sh.push_str("''");
        }
        Written {
            sh,
            hcl: format!("\"{hcl}\""),
        }
    }
}

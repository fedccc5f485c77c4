//! The head of a generated file: what made it, and the hash of what was made. Where the same words would make something else now, the file is stale; where
//! its text is another than its hash says, somebody has changed it since.
#![forbid(unsafe_code)]

use super::{Format, Kind, METHODS, Options, Shell};
use crate::config::System;
use crate::crypto;

const MADE_BY: &str = "Made by `dbt-lease generate ";
const OF: &str = "of the project ";

/// A head that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// What was made.
    pub kind: Kind,
    /// What was chosen.
    pub options: Options,
    /// The project's name.
    pub project: String,
    /// The hash of what was made.
    pub hash: String,
    /// Whether the text is still that.
    pub is_untouched: bool,
}

/// How the command line says it.
pub fn said(kind: Kind, options: &Options) -> String {
    let mut words = vec![kind.name().to_owned()];
    for environment in &options.environments {
        words.push(format!("--environment {environment}"));
    }
    if options.format == Format::Terraform {
        words.push("--format terraform".to_owned());
    }
    if let Some(system) = options.ci {
        words.push(format!("--ci {}", system.key()));
    }
    if let Some(method) = options.method {
        words.push(format!("--method {method}"));
    }
    if options.shell != Shell::Bash {
        words.push(format!("--shell {}", options.shell.name()));
    }
    words.join(" ")
}

/// A text with its head: on the first line, or after `#!`.
pub(super) fn with(said: &str, project: &str, text: &str) -> String {
    let (first, rest) = match text.split_once('\n') {
        Some((first, rest)) if first.starts_with("#!") => (format!("{first}\n"), rest),
        _ => (String::new(), text),
    };
    let hash = crypto::sha256(format!("{first}{rest}").as_bytes());
    format!(
        "{first}# {MADE_BY}{said}` {OF}{project}: sha256:{hash}.\n# `dbt-lease generate --check` says whether it is still so.\n{rest}"
    )
}

/// The head of a file's text; none where it has none of ours.
pub fn read(text: &str) -> Option<Head> {
    let mut before = String::new();
    let mut lines = text.split_inclusive('\n');
    let head = loop {
        let line = lines.next()?;
        if line.starts_with("# Made by ") {
            break line;
        }
        if !before.is_empty() || !line.starts_with("#!") {
            return None;
        }
        before.push_str(line);
    };
    // The line about `--check`.
    lines.next()?;
    let rest: String = lines.collect();
    let (words, after) = head
        .strip_prefix("# ")?
        .strip_prefix(MADE_BY)?
        .split_once('`')?;
    let (project, hash) = after.trim().strip_prefix(OF)?.split_once(": sha256:")?;
    let hash = hash.trim_end_matches('.').to_owned();
    let mut words = words.split(' ');
    let kind = Kind::of(words.next()?)?;
    let mut options = Options::default();
    while let Some(option) = words.next() {
        let value = words.next()?;
        match option {
            "--environment" => options.environments.push(value.to_owned()),
            "--format" if value == "terraform" => options.format = Format::Terraform,
            "--ci" => options.ci = Some(System::of(value)?),
            "--method" => {
                options.method = Some(METHODS.into_iter().find(|method| *method == value)?)
            }
            "--shell" => {
                options.shell = [Shell::Bash, Shell::Zsh, Shell::Fish]
                    .into_iter()
                    .find(|shell| shell.name() == value)?;
            }
            _ => return None,
        }
    }
    let now = crypto::sha256(format!("{before}{rest}").as_bytes());
    Some(Head {
        kind,
        options,
        project: project.to_owned(),
        is_untouched: now == hash,
        hash,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_says_what_was_made_and_whether_it_was_changed_since() {
        let options = Options {
            environments: vec!["a.b".to_owned(), "c".to_owned()],
            format: Format::Terraform,
            ci: System::of("azure-devops"),
            method: Some("jwt"),
            shell: Shell::Fish,
        };
        for body in ["x: 1\ny: 2\n", "#!/bin/sh\nset -eu\n"] {
            let text = with(&said(Kind::VaultSetup, &options), "shop", body);
            let head = read(&text).expect("a head");
            assert_eq!(
                (head.kind, &head.options, &*head.project),
                (Kind::VaultSetup, &options, "shop")
            );
            assert!(head.is_untouched, "{text}");
            let edited = read(&format!("{text}more\n")).expect("a head");
            assert!(!edited.is_untouched && edited.hash == head.hash);
        }
        for other in [
            "",
            "x: 1\n",
            "# Made by hand\n\n",
            "#!/bin/sh\n#!/bin/sh\n# Made by `dbt-lease generate github` of the project x: sha256:0.\n",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}

//! `~/.aws/config` and `~/.aws/credentials`: sections of keys, as botocore reads them.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::secret::Secret;
use crate::variables::Variables;

/// Both files.
#[derive(Default)]
pub(super) struct Profiles {
    config: Sections,
    credentials: Sections,
    /// Where they were looked for, for messages.
    pub(super) files: String,
}

type Sections = BTreeMap<String, BTreeMap<String, Secret>>;

/// One profile: its keys in both files.
pub(super) struct Profile<'a> {
    config: Option<&'a BTreeMap<String, Secret>>,
    credentials: Option<&'a BTreeMap<String, Secret>>,
}

impl Profiles {
    /// Reads both; a file that is not there has no sections.
    pub(super) fn read(variables: &Variables) -> Self {
        let path = |variable: &str, name: &str| {
            variables
                .text(variable)
                .map(PathBuf::from)
                .or_else(|| Some(Path::new(variables.text("HOME")?).join(".aws").join(name)))
        };
        let config = path("AWS_CONFIG_FILE", "config");
        let credentials = path("AWS_SHARED_CREDENTIALS_FILE", "credentials");
        let read = |path: &Option<PathBuf>| {
            let bytes = path.as_ref().and_then(|path| fs::read(path).ok());
            let bytes = Zeroizing::new(bytes.unwrap_or_default());
            sections(std::str::from_utf8(&bytes).unwrap_or_default())
        };
        let shown = |path: &Option<PathBuf>| {
            path.as_ref()
                .map_or("~/.aws (HOME is not set)".to_owned(), |path| {
                    path.display().to_string()
                })
        };
        Self {
            config: read(&config),
            credentials: read(&credentials),
            files: format!("`{}`, `{}`", shown(&config), shown(&credentials)),
        }
    }

    /// A profile, where either file has it. In `config` all but the default one stand as `[profile NAME]`.
    pub(super) fn get(&self, name: &str) -> Option<Profile<'_>> {
        let config = self.config.get(&format!("profile {name}")).or_else(|| {
            (name == "default")
                .then(|| self.config.get("default"))
                .flatten()
        });
        let credentials = self.credentials.get(name);
        (config.is_some() || credentials.is_some()).then_some(Profile {
            config,
            credentials,
        })
    }
}

impl Profile<'_> {
    /// A key of either file; credentials' wins.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.secret(key).map(Secret::expose)
    }

    fn secret(&self, key: &str) -> Option<&Secret> {
        of(self.credentials, key).or_else(|| of(self.config, key))
    }

    /// The keys of an access that stands in one of the files.
    pub(super) fn access(&self) -> Option<(&str, &Secret, Option<&Secret>)> {
        [self.credentials, self.config]
            .into_iter()
            .find_map(|file| {
                Some((
                    of(file, "aws_access_key_id")?.expose(),
                    of(file, "aws_secret_access_key")?,
                    of(file, "aws_session_token"),
                ))
            })
    }
}

fn of<'a>(section: Option<&'a BTreeMap<String, Secret>>, key: &str) -> Option<&'a Secret> {
    section?.get(key).filter(|value| !value.is_empty())
}

/// Sections and their keys. What is indented belongs to the key above, and none of those matters here.
fn sections(text: &str) -> Sections {
    let mut sections = Sections::new();
    let mut current: Option<String> = None;
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) || line.starts_with([' ', '\t']) {
            continue;
        }
        if let Some(name) = trimmed
            .strip_prefix('[')
            .and_then(|rest| rest.split(']').next())
        {
            let name = name
                .split_whitespace()
                .map(|word| word.trim_matches(['"', '\'']))
                .collect::<Vec<_>>()
                .join(" ");
            sections.entry(name.clone()).or_default();
            current = Some(name);
        } else if let (Some((key, value)), Some(section)) = (trimmed.split_once('='), &current) {
            sections.entry(section.clone()).or_default().insert(
                key.trim().to_ascii_lowercase(),
                Secret::new(value.trim().to_owned()),
            );
        }
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_read_as_aws_s_programs_read_them() {
        let profiles = Profiles {
            config: sections(
                "# mine\n[default]\nregion = eu-central-1\n[profile \"team a\"]\nROLE_ARN=arn:x\ns3 =\n  max = 1\nsource_profile= base\n[base]\nregion=x\n",
            ),
            credentials: sections("[base]\naws_access_key_id = A\naws_secret_access_key = s=s\n"),
            files: String::new(),
        };
        let get = |name: &str, key: &str| {
            profiles
                .get(name)
                .and_then(|profile| profile.text(key).map(str::to_owned))
        };
        assert_eq!(get("default", "region").as_deref(), Some("eu-central-1"));
        assert_eq!(get("team a", "role_arn").as_deref(), Some("arn:x"));
        assert_eq!(get("team a", "source_profile").as_deref(), Some("base"));
        assert_eq!(get("team a", "max"), None);
        // Without `profile ` it is a profile in `credentials` alone.
        assert_eq!(get("base", "region"), None);
        let base = profiles.get("base").expect("there");
        let (key, secret, token) = base.access().expect("an access");
        assert_eq!((key, secret.expose()), ("A", "s=s"));
        assert!(token.is_none());
        assert!(profiles.get("absent").is_none());
    }
}

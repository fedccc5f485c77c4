//! Finding the AWS identity, in the order of AWS's own programs (botocore's `credentials.py`): variables, a profile's role, a web identity,
//! single sign-on, the credentials file, a program, the config file, the container, the instance.
//!
//! Single sign-on is left to `aws configure export-credentials`: its tokens are that program's.
#![forbid(unsafe_code)]

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::super::{Surroundings, source};
use super::metadata::{self, Given};
use super::profiles::{Profile, Profiles};
use super::sts;
use crate::process;
use crate::secret::Secret;
use crate::vault::client::Client;
use crate::vault::error::{AwsProblem, IdentityProblem, Place, SourceProblem, VaultError};

/// An access to AWS. Its secrets show in no Debug.
#[derive(Debug)]
pub(super) struct Credentials {
    /// Names the access, and is no secret.
    pub(super) access_key: String,
    pub(super) secret_key: Secret,
    pub(super) session_token: Option<Secret>,
    /// Where it comes from, for people.
    pub(super) source: String,
}

/// What can go wrong on the way.
pub(super) enum Trouble {
    Problem(IdentityProblem),
    NoCredentials { address: String },
    Other(Box<VaultError>),
}

/// How long a program may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many profiles may stand one on another.
const DEEPEST: usize = 5;

/// The identity of this machine, or of a profile.
pub(super) async fn find(
    client: &Client,
    around: &Surroundings<'_>,
    profile: Option<&str>,
) -> Result<Credentials, VaultError> {
    let chain = Chain {
        client,
        around,
        profiles: Profiles::read(around.variables),
    };
    chain.find(profile).await.map_err(|trouble| match trouble {
        Trouble::Problem(problem) => VaultError::Identity {
            what: "credentials",
            system: "AWS",
            problem: Box::new(problem),
        },
        Trouble::NoCredentials { address } => VaultError::Aws(AwsProblem::BadAnswer { address }),
        Trouble::Other(error) => *error,
    })
}

struct Chain<'a> {
    client: &'a Client,
    around: &'a Surroundings<'a>,
    profiles: Profiles,
}

impl Chain<'_> {
    async fn find(&self, said: Option<&str>) -> Result<Credentials, Trouble> {
        let set = |name: &str| self.around.variables.text(name);
        let named = said
            .or_else(|| set("AWS_PROFILE"))
            .or_else(|| set("AWS_DEFAULT_PROFILE"));
        if named.is_none()
            && let Some(found) = self.variables()
        {
            return Ok(found);
        }
        let name = named.unwrap_or("default");
        match self.profiles.get(name) {
            Some(profile) => {
                if let Some(found) = self.profile(name, &profile, DEEPEST).await? {
                    return Ok(found);
                }
            }
            None if named.is_some() => return Err(self.trouble(name, "it is not there")),
            None => {}
        }
        if named.is_none() {
            if let Some(found) = self.web_identity(None).await? {
                return Ok(found);
            }
            if let Some(found) = metadata::container(self.client, self.around.variables).await? {
                return Ok(found);
            }
            if let Some(found) = metadata::instance(self.client, self.around.variables).await? {
                return Ok(found);
            }
        }
        Err(Trouble::Other(Box::new(VaultError::Aws(
            AwsProblem::Nowhere {
                profile: name.to_owned(),
                files: self.profiles.files.clone(),
                elsewhere: named.is_none(),
            },
        ))))
    }

    fn variables(&self) -> Option<Credentials> {
        let set = |name: &str| self.around.variables.text(name);
        Some(Credentials {
            access_key: set("AWS_ACCESS_KEY_ID")?.to_owned(),
            secret_key: Secret::new(set("AWS_SECRET_ACCESS_KEY")?.to_owned()),
            session_token: set("AWS_SESSION_TOKEN")
                .or_else(|| set("AWS_SECURITY_TOKEN"))
                .map(|token| Secret::new(token.to_owned())),
            source: "AWS_ACCESS_KEY_ID".to_owned(),
        })
    }

    async fn profile(
        &self,
        name: &str,
        profile: &Profile<'_>,
        depth: usize,
    ) -> Result<Option<Credentials>, Trouble> {
        if profile.text("role_arn").is_some() && profile.text("web_identity_token_file").is_none() {
            return self.assumed(name, profile, depth).await.map(Some);
        }
        if let Some(found) = self.web_identity(Some((name, profile))).await? {
            return Ok(Some(found));
        }
        if profile.text("sso_session").is_some() || profile.text("sso_start_url").is_some() {
            let words = [
                "aws",
                "configure",
                "export-credentials",
                "--profile",
                name,
                "--format",
                "process",
            ]
            .map(str::to_owned);
            return self.printed(&words, name).await.map(Some);
        }
        if let Some(found) = self.access(name, profile) {
            return Ok(Some(found));
        }
        match profile.text("credential_process") {
            Some(line) => {
                let words = split(line)
                    .ok_or_else(|| self.trouble(name, "`credential_process` has an open quote"))?;
                self.printed(&words, name).await.map(Some)
            }
            None => Ok(None),
        }
    }

    fn access(&self, name: &str, profile: &Profile<'_>) -> Option<Credentials> {
        let (access_key, secret_key, session_token) = profile.access()?;
        Some(Credentials {
            access_key: access_key.to_owned(),
            secret_key: secret_key.clone(),
            session_token: session_token.cloned(),
            source: format!("the profile {name}"),
        })
    }

    /// The role of a profile, asked for by the identity of another one.
    async fn assumed(
        &self,
        name: &str,
        profile: &Profile<'_>,
        depth: usize,
    ) -> Result<Credentials, Trouble> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(self.trouble(name, "its profiles stand on one another without an end"));
        };
        let identity = match (
            profile.text("source_profile"),
            profile.text("credential_source"),
        ) {
            (Some(source), None) => {
                let below = self
                    .profiles
                    .get(source)
                    .ok_or_else(|| self.trouble(source, "it is not there"))?;
                // A profile that is its own source gives its own keys.
                let found = match self.access(source, &below) {
                    Some(found) if source == name => Some(found),
                    _ => Box::pin(self.profile(source, &below, depth)).await?,
                };
                found.ok_or_else(|| self.trouble(source, "it gives no credentials"))?
            }
            (None, Some("Environment")) => self.variables().ok_or_else(|| {
                self.trouble(
                    name,
                    "`credential_source` is the environment, which has no access",
                )
            })?,
            (None, Some("EcsContainer")) => metadata::container(self.client, self.around.variables)
                .await?
                .ok_or_else(|| {
                    self.trouble(
                        name,
                        "`credential_source` is the container, and this is none",
                    )
                })?,
            (None, Some("Ec2InstanceMetadata")) => {
                metadata::instance(self.client, self.around.variables)
                    .await?
                    .ok_or_else(|| {
                        self.trouble(
                            name,
                            "`credential_source` is the instance, and this is none",
                        )
                    })?
            }
            _ => {
                return Err(self.trouble(
                    name,
                    "`role_arn` needs one of `source_profile` and `credential_source` (Environment, EcsContainer, Ec2InstanceMetadata)",
                ));
            }
        };
        let session = profile
            .text("role_session_name")
            .map_or_else(session_name, str::to_owned);
        let role = profile.text("role_arn").unwrap_or_default();
        let mut parameters = vec![
            ("Action", "AssumeRole"),
            ("RoleArn", role),
            ("RoleSessionName", session.as_str()),
        ];
        for (key, parameter) in [
            ("external_id", "ExternalId"),
            ("duration_seconds", "DurationSeconds"),
            ("mfa_serial", "SerialNumber"),
        ] {
            parameters.extend(profile.text(key).map(|value| (parameter, value)));
        }
        let code;
        if let Some(serial) = profile.text("mfa_serial") {
            code = self
                .around
                .person
                .ask(&format!("code of {serial}"))
                .await
                .ok_or_else(|| {
                    self.trouble(
                        name,
                        "`mfa_serial` asks for a code, and nobody is here to type it",
                    )
                })?;
            parameters.push(("TokenCode", code.expose()));
        }
        sts::assume(
            self.client,
            self.around.variables,
            profile.text("region"),
            Some(&identity),
            &parameters,
            format!("the profile {name}, role {role}"),
        )
        .await
    }

    /// The role that a token in a file may have: a pod's service account (IRSA), a CI job.
    async fn web_identity(
        &self,
        profile: Option<(&str, &Profile<'_>)>,
    ) -> Result<Option<Credentials>, Trouble> {
        let get = |key: &str, variable: &str| match profile {
            Some((_, profile)) => profile.text(key),
            None => self.around.variables.text(variable),
        };
        let (Some(file), Some(role)) = (
            get("web_identity_token_file", "AWS_WEB_IDENTITY_TOKEN_FILE"),
            get("role_arn", "AWS_ROLE_ARN"),
        ) else {
            return Ok(None);
        };
        let session = get("role_session_name", "AWS_ROLE_SESSION_NAME")
            .map_or_else(session_name, str::to_owned);
        let token = source::file("web identity token", Path::new(file))?.value;
        let parameters = [
            ("Action", "AssumeRoleWithWebIdentity"),
            ("RoleArn", role),
            ("RoleSessionName", session.as_str()),
            ("WebIdentityToken", token.expose()),
        ];
        let region = profile.and_then(|(_, profile)| profile.text("region"));
        sts::assume(
            self.client,
            self.around.variables,
            region,
            None,
            &parameters,
            format!("the web identity in {file}, role {role}"),
        )
        .await
        .map(Some)
    }

    /// What a program prints, in the form of `credential_process`.
    async fn printed(&self, words: &[String], name: &str) -> Result<Credentials, Trouble> {
        let failed = |problem| VaultError::Source {
            what: "AWS credentials",
            place: Place::Command(words.join(" ")),
            problem,
        };
        if words.is_empty() {
            return Err(self.trouble(name, "`credential_process` is empty"));
        }
        let printed = process::output(words, self.around.variables, PATIENCE)
            .await
            .map_err(|error| failed(source::of_process(error)))?;
        Given::credentials(&printed, format!("the profile {name}"))
            .ok_or_else(|| failed(SourceProblem::NotCredentials).into())
    }

    fn trouble(&self, profile: &str, problem: &str) -> Trouble {
        Trouble::Other(Box::new(VaultError::Aws(AwsProblem::Profile {
            profile: profile.to_owned(),
            problem: problem.to_owned(),
            files: self.profiles.files.clone(),
        })))
    }
}

impl From<IdentityProblem> for Trouble {
    fn from(problem: IdentityProblem) -> Self {
        Self::Problem(problem)
    }
}

/// As botocore names one.
fn session_name() -> String {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    format!("dbt-lease-{seconds}")
}

/// Words of a command line: quotes hold together, a backslash takes the next character as it is. None where a quote stays open.
fn split(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(open), _) if character == open => quote = None,
            (Some('\''), _) => word.get_or_insert_default().push(character),
            (_, '\\') => word.get_or_insert_default().extend(characters.next()),
            (Some(_), _) => word.get_or_insert_default().push(character),
            (None, '\'' | '"') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, _) if character.is_whitespace() => words.extend(word.take()),
            (None, _) => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn command_lines_are_split_as_a_shell_would() {
        for (line, words) in [
            ("a b  c", Some(vec!["a", "b", "c"])),
            (
                r#"/x "a b" 'c "d"' e\ f"#,
                Some(vec!["/x", "a b", "c \"d\"", "e f"]),
            ),
            (r#"a "" b"#, Some(vec!["a", "", "b"])),
            ("", Some(vec![])),
            ("a 'b", None),
        ] {
            let words = words.map(|words| words.into_iter().map(str::to_owned).collect());
            assert_eq!(split(line), words, "{line}");
        }
    }
}

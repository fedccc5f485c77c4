//! Vault's answers, parsed.
#![forbid(unsafe_code)]

use serde::{Deserialize, Deserializer};

use super::fields::{Field, Fields};
use crate::secret::Secret;

/// The envelope of every answer, as far as we read it.
#[derive(Deserialize)]
pub(crate) struct Answer {
    pub(crate) request_id: Option<String>,
    pub(crate) lease_id: Option<String>,
    pub(crate) renewable: Option<bool>,
    pub(crate) lease_duration: Option<u64>,
    pub(crate) data: Option<Field>,
    pub(crate) warnings: Option<Vec<String>>,
    pub(crate) auth: Option<AuthAnswer>,
}

/// `auth` of a login's answer.
#[derive(Deserialize)]
pub(crate) struct AuthAnswer {
    #[serde(deserialize_with = "secret")]
    pub(crate) client_token: Secret,
    pub(crate) accessor: Option<String>,
    pub(crate) policies: Option<Vec<String>>,
    pub(crate) metadata: Option<Fields>,
    pub(crate) lease_duration: Option<u64>,
    pub(crate) renewable: Option<bool>,
    pub(crate) token_type: Option<String>,
    pub(crate) mfa_requirement: Option<Field>,
}

/// What a refusal says.
#[derive(Deserialize)]
struct Errors {
    errors: Vec<String>,
}

/// Parses an answer. The error tells line and column only: serde_json's own words quote what they found.
pub(crate) fn parse(body: &[u8]) -> Result<Answer, String> {
    serde_json::from_slice(body).map_err(|error| match error.classify() {
        serde_json::error::Category::Eof => "its JSON ends early".to_owned(),
        serde_json::error::Category::Data => {
            format!(
                "its JSON has not the form of Vault's API (line {}, column {})",
                error.line(),
                error.column()
            )
        }
        serde_json::error::Category::Syntax | serde_json::error::Category::Io => {
            format!(
                "it is not JSON (line {}, column {})",
                error.line(),
                error.column()
            )
        }
    })
}

/// The errors that a refusal lists; none where its body is not Vault's.
pub(crate) fn errors(body: &[u8]) -> Option<Vec<String>> {
    serde_json::from_slice::<Errors>(body)
        .ok()
        .map(|answer| answer.errors)
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    String::deserialize(deserializer).map(Secret::new)
}

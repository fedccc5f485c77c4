//! The templates of `env:` and `fields:`: `{{ vault.NAME.FIELD }}` with minijinja's filters.
#![forbid(unsafe_code)]

use minijinja::Environment;

use super::error::ConfigError;
use super::walk::{Cursor, nearest};

/// Reads a template that may name only these secrets.
pub(super) fn read(cursor: &Cursor<'_>, secrets: &[&str]) -> Result<String, ConfigError> {
    let example = format!(
        "for example \"{{{{ vault.{}.password }}}}\"",
        secrets.first().unwrap_or(&"warehouse")
    );
    let text = cursor.text(&format!("a text, {example}"))?;
    let environment = Environment::new();
    // minijinja's own words may quote the template; its kind does not.
    let template = environment.template_from_str(text).map_err(|error| {
        cursor.bad(
            &format!("not a template ({})", error.kind()),
            &format!("write it by Jinja's rules, {example}"),
        )
    })?;
    for name in template.undeclared_variables(true) {
        let mut parts = name.split('.');
        if parts.next() != Some("vault") {
            let problem = format!("the template asks for `{name}`");
            return Err(cursor.bad(
                &problem,
                &format!("a template sees `vault` alone, {example}"),
            ));
        }
        if let Some(secret) = parts.next()
            && !secrets.contains(&secret)
        {
            let named = format!("secrets of this target: {}", secrets.join(", "));
            let hint = match nearest(secret, secrets.iter().copied()) {
                Some(near) => format!("did you mean `vault.{near}`? {named}"),
                None => named,
            };
            return Err(cursor.bad(
                &format!(
                    "the template asks for the secret `{secret}`, which the target does not have"
                ),
                &hint,
            ));
        }
    }
    Ok(text.to_owned())
}

/// Whether a template gives the same text whatever Vault answers.
pub(super) fn is_constant(text: &str) -> bool {
    !text.contains("{{")
}

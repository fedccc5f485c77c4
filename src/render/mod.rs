//! What dbt is given: the output with the leased values in it, and the bridge's variables. Pure.
#![forbid(unsafe_code)]

pub mod adapters;
pub mod check;
pub mod secret_keys;
pub mod secrets;
pub mod template;
pub mod vault_values;
pub mod view;

use std::path::Path;
use std::rc::Rc;

use zeroize::Zeroizing;

use crate::config::{Delivery, FieldValue, Lent};
use crate::dbt::yaml::{self, Mapping, Node, Value};
use crate::dbt::{Profile, Rendering};
use crate::place::{Place, Spot};
use crate::secret::Secret;
use adapters::FieldKeys;
use check::Wanted;
use secrets::{Field, Secrets};
use template::Template;
use vault_values::{Filled, mentions_vault};

/// Why an output cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// A template of dbt-lease.yml does not parse, or uses what is not there.
    #[error("the template at `{place}` in dbt-lease.yml cannot be used: {why}")]
    Template {
        /// The key.
        place: String,
        /// What is wrong.
        why: String,
    },
    /// `vault.NAME…` where there is no such secret.
    #[error("there is no secret `{secret}`; this target has {}", list(.known))]
    UnknownSecret {
        /// The name that was used.
        secret: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// `vault.NAME.FIELD` where Vault gave no such field.
    #[error("the secret `{secret}` has no field `{field}`; Vault gave {}", list(.known))]
    UnknownField {
        /// The secret.
        secret: String,
        /// The field that was used.
        field: String,
        /// The fields that there are.
        known: Vec<String>,
    },
    /// The adapter's keys are not in our table.
    #[error(
        "the output has `type: {adapter}`, and which of its keys take a credential is not known to dbt-lease"
    )]
    UnknownAdapter {
        /// `type:` of the output.
        adapter: String,
    },
    /// `type:` is missing, or is a template.
    #[error(
        "the output has no `type:` that is plain text, so it is not known which keys take the credential"
    )]
    NoAdapter,
    /// The secret lacks the fields that the adapter's keys take.
    #[error("the secret `{secret}` does not fit `type: {adapter}`: it takes {}; Vault gave {}", list(.wanted), list(.known))]
    Unfit {
        /// The secret.
        secret: String,
        /// `type:` of the output.
        adapter: String,
        /// The fields that it takes.
        wanted: Vec<String>,
        /// The fields that there are.
        known: Vec<String>,
    },
    /// The output has a key under two spellings; dbt refuses it.
    #[error(
        "the output has both `{first}` and `{second}`, which are one key to dbt; it would refuse them"
    )]
    TwoSpellings {
        /// One spelling.
        first: String,
        /// The other.
        second: String,
        /// Where the other stands.
        at: Option<Place>,
    },
    /// `fields:` names a path through something that is no map.
    #[error("`fields:` sets `{path}`, and `{part}` in the output is not a map")]
    NoMap {
        /// The key path.
        path: String,
        /// The part that is no map.
        part: String,
    },
    /// A string of profiles.yml that uses `vault` and cannot be evaluated for certain.
    #[error("`{path}` in profiles.yml uses `vault`, and its value cannot be made: {why}")]
    VaultValue {
        /// The key path.
        path: String,
        /// The reason.
        why: String,
    },
    /// A value that dbt refuses to render.
    #[error("`{path}` in profiles.yml cannot be rendered, by dbt neither: {why}")]
    Dbt {
        /// The key path.
        path: String,
        /// dbt's reason.
        why: String,
        /// The kind of reason.
        kind: &'static str,
        /// Where the key stands.
        at: Option<Place>,
    },
    /// A value of a type that dbt refuses.
    #[error("`{key}` in {} must be {}, and is {found}; dbt would refuse it", at.in_words(), in_words(*.wanted))]
    KeyType {
        /// The key of the output.
        key: String,
        /// What it takes.
        wanted: Wanted,
        /// What it is, rendered.
        found: &'static str,
        /// Where the key stands.
        at: Place,
    },
    /// A key that the adapter must have.
    #[error("the output `{target}` in {} has no `{key}:`; dbt would refuse it", at.in_words())]
    KeyMissing {
        /// The key.
        key: &'static str,
        /// The output.
        target: String,
        /// profiles.yml.
        at: Place,
    },
    /// profiles.yml uses `vault`, and the delivery is `env`.
    #[error("profiles.yml uses `vault`, and `delivery: env` writes no secret into it")]
    VaultInEnvDelivery,
    /// A value that dbt could not read back.
    #[error(transparent)]
    Emit(#[from] yaml::EmitError),
}

fn in_words(wanted: Wanted) -> &'static str {
    match wanted {
        Wanted::Text => "a text",
        Wanted::TextOrNull => "a text or null",
        Wanted::Int => "a whole number",
        Wanted::BoolOrNull => "a truth value or null",
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names
            .iter()
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>()
            .join(", ")
    }
}

impl RenderError {
    fn vault(path: &str, why: String) -> Self {
        Self::VaultValue {
            path: path.to_owned(),
            why,
        }
    }

    /// Whether no answer of Vault's could cure it: then it is found with placeholders too, before anything is lent.
    pub fn is_certain(&self) -> bool {
        matches!(
            self,
            Self::UnknownSecret { .. }
                | Self::UnknownAdapter { .. }
                | Self::NoAdapter
                | Self::TwoSpellings { .. }
                | Self::NoMap { .. }
                | Self::VaultInEnvDelivery
        )
    }

    /// Where it points to.
    pub fn spots(&self) -> Vec<Spot> {
        match self {
            Self::Dbt { at: Some(at), .. }
            | Self::TwoSpellings { at: Some(at), .. }
            | Self::KeyType { at, .. }
                if at.line.is_some() =>
            {
                vec![Spot::main(at.clone())]
            }
            _ => Vec::new(),
        }
    }

    /// A stable word for JSON.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Template { .. } => "template",
            Self::UnknownSecret { .. } => "unknown_secret",
            Self::UnknownField { .. } => "unknown_field",
            Self::UnknownAdapter { .. } | Self::NoAdapter => "unknown_adapter",
            Self::Unfit { .. } => "unfit_secret",
            Self::TwoSpellings { .. } => "two_spellings",
            Self::NoMap { .. } => "no_map",
            Self::VaultValue { .. } | Self::VaultInEnvDelivery => "vault_value",
            Self::Dbt { kind, .. } => kind,
            Self::KeyType { .. } | Self::KeyMissing { .. } => "bad_output",
            Self::Emit(_) => "emit",
        }
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownAdapter { .. } | Self::NoAdapter | Self::Unfit { .. } => Some(
                "say which keys take which fields, in the long form of the target in dbt-lease.yml:\n\
                 \x20   fields: {user: \"{{ vault.warehouse.username }}\", password: \"{{ vault.warehouse.password }}\"}"
                    .to_owned(),
            ),
            Self::TwoSpellings { second, .. } => Some(format!("remove `{second}` from the output in profiles.yml")),
            Self::VaultValue { .. } | Self::VaultInEnvDelivery => Some(
                "give the target `env: {DBT_ENV_SECRET_PASSWORD: \"{{ vault.warehouse.password }}\"}` in dbt-lease.yml, and write \
                 `env_var('DBT_ENV_SECRET_PASSWORD')` in profiles.yml, with any expression that dbt knows around it"
                    .to_owned(),
            ),
            Self::Emit(error) => error.hint(),
            Self::Dbt { kind: "env_var_missing", .. } => Some(
                "set the variable, or give it a default: `env_var('NAME', 'default')`".to_owned(),
            ),
            Self::KeyType { key, wanted: Wanted::Int, found: "a text", .. } => Some(format!(
                "write the number without quotes; a template needs a filter: `{key}: \"{{{{ env_var('NAME') | int }}}}\"`"
            )),
            Self::KeyType { wanted: Wanted::Text, found: "a whole number" | "a truth value" | "a number with a fraction", .. } => {
                Some("put the value in quotes".to_owned())
            }
            Self::KeyMissing { key, .. } => Some(format!("add `{key}:` to the output")),
            Self::Template { .. } | Self::UnknownSecret { .. } | Self::UnknownField { .. } | Self::NoMap { .. } | Self::Dbt { .. } | Self::KeyType { .. } => None,
        }
    }
}

/// An output with our keys set.
pub struct Output {
    /// The output.
    pub node: Rc<Node>,
    /// Files that keys of it name: file name and text.
    pub files: Vec<(String, Secret)>,
    /// Our keys: key path → where its value came from (`warehouse.username`).
    pub leased: Vec<(String, String)>,
}

/// The output of delivery `file`: `fields:` where given, else the only secret's fields in the adapter's own keys.
///
/// An output that uses `vault` itself says with that where the fields go. `files` is the directory for `{file: …}` fields.
pub fn output(
    profile: &Profile,
    lent: &Lent,
    secrets: &Secrets,
    rendering: &Rendering<'_>,
    files: Option<&Path>,
) -> Result<Output, RenderError> {
    let uses_vault = mentions_vault(&profile.output);
    if uses_vault && lent.delivery == Delivery::Env {
        return Err(RenderError::VaultInEnvDelivery);
    }
    let Filled { node, leased } = vault_values::fill(&profile.output, secrets, rendering)?;
    let mut made = Output {
        node,
        files: Vec::new(),
        leased,
    };
    if lent.fields.is_empty() && lent.env.is_empty() && made.leased.is_empty() {
        made.set_adapter_keys(profile, secrets)?;
    }
    for (path, value) in &lent.fields {
        let place = format!("fields.{path}");
        let (text, as_file) = match value {
            FieldValue::Text(text) => (text, false),
            FieldValue::File(text) => (text, true),
        };
        let template = Template::parse(&place, text)?;
        let field = evaluated(&template, &place, path, secrets)?;
        let value = match (as_file, files, field) {
            (true, Some(directory), field) => {
                // One path for one key, whatever the run.
                let name = path.replace('/', "_");
                let at = directory.join(&name).to_string_lossy().into_owned();
                made.files.push((name, field.text()));
                literal(Secret::new(at))
            }
            (_, _, Field::Text(secret)) => literal(secret),
            (_, _, Field::Plain(text)) => plain(&text),
        };
        made.set(path, value, template.sources().join(", "))?;
    }
    Ok(made)
}

/// A template's value. A placeholder must fit where it stands: dbt checks the types of its keys also when it does not connect.
fn evaluated(
    template: &Template<'_>,
    place: &str,
    path: &str,
    secrets: &Secrets,
) -> Result<Field, RenderError> {
    /// The adapters' keys that take whole numbers.
    const NUMBERS: [&str; 7] = [
        "port",
        "threads",
        "retries",
        "connect_timeout",
        "keepalives_idle",
        "login_timeout",
        "query_timeout",
    ];
    let Some(numbers) = secrets.as_numbers() else {
        return template.evaluate(place, secrets);
    };
    if path
        .rsplit('.')
        .next()
        .is_some_and(|key| NUMBERS.contains(&key))
    {
        return template.evaluate(place, &numbers);
    }
    template
        .evaluate(place, secrets)
        .or_else(|error| template.evaluate(place, &numbers).map_err(|_| error))
}

impl Output {
    fn set_adapter_keys(
        &mut self,
        profile: &Profile,
        secrets: &Secrets,
    ) -> Result<(), RenderError> {
        let adapter = profile.adapter.as_deref().ok_or(RenderError::NoAdapter)?;
        let credentials =
            adapters::credentials(adapter).ok_or_else(|| RenderError::UnknownAdapter {
                adapter: adapter.to_owned(),
            })?;
        // The configuration sees to it that there is one secret here.
        let name = secrets
            .names()
            .first()
            .map(|name| (*name).to_owned())
            .unwrap_or_default();
        let fits = |credential: &&&[FieldKeys]| {
            credential
                .iter()
                .all(|(field, _)| secrets.has(&name, field))
        };
        let credential = credentials
            .iter()
            .find(fits)
            .ok_or_else(|| RenderError::Unfit {
                secret: name.clone(),
                adapter: adapter.to_owned(),
                wanted: credentials[0]
                    .iter()
                    .map(|(field, _)| (*field).to_owned())
                    .collect(),
                known: match secrets {
                    Secrets::Leased(all) => all
                        .get(&name)
                        .map(|fields| fields.keys().cloned().collect())
                        .unwrap_or_default(),
                    Secrets::Placeholders(_) | Secrets::NumberPlaceholders(_) => Vec::new(),
                },
            })?;
        for (field, keys) in *credential {
            let key = spelling(self.node.map(), keys)?;
            let value = match secrets.field(&name, field)? {
                Field::Text(secret) => literal(secret),
                Field::Plain(text) => plain(&text),
            };
            self.set(key, value, format!("{name}.{field}"))?;
        }
        Ok(())
    }

    fn set(&mut self, path: &str, value: Rc<Node>, from: String) -> Result<(), RenderError> {
        let parts: Vec<&str> = path.split('.').collect();
        self.node = with(&self.node, &parts, value).map_err(|part| RenderError::NoMap {
            path: path.to_owned(),
            part: part.trim_end_matches('.').to_owned(),
        })?;
        self.leased.push((path.to_owned(), from));
        Ok(())
    }
}

/// A copy of `node` with the value at `path` set; on the way, maps that are missing are made. The error is the path to what is
/// no map, with a dot behind each part.
fn with(node: &Node, path: &[&str], value: Rc<Node>) -> Result<Rc<Node>, String> {
    let Some((key, rest)) = path.split_first() else {
        return Ok(value);
    };
    let mut mapping = match &node.value {
        Value::Map(mapping) => mapping.clone(),
        Value::Null => Mapping::default(),
        _ => return Err(String::new()),
    };
    let missing = Rc::new(Node::of(Value::Null));
    let inner = mapping.get(key).unwrap_or(&missing);
    let inner = if rest.is_empty() {
        value
    } else {
        with(inner, rest, value).map_err(|below| format!("{key}.{below}"))?
    };
    mapping.set(key, inner);
    Ok(Rc::new(Node {
        value: Value::Map(mapping),
        mark: node.mark,
    }))
}

/// The spelling that the output already uses, else the canonical one.
fn spelling(
    output: Option<&Mapping>,
    keys: &'static [&'static str],
) -> Result<&'static str, RenderError> {
    let used: Vec<&'static str> = keys
        .iter()
        .copied()
        .filter(|key| output.is_some_and(|output| output.get(key).is_some()))
        .collect();
    match used.as_slice() {
        [] => Ok(keys[0]),
        [one] => Ok(one),
        [first, second, ..] => Err(RenderError::TwoSpellings {
            first: (*first).to_owned(),
            second: (*second).to_owned(),
            at: None,
        }),
    }
}

fn literal(secret: Secret) -> Rc<Node> {
    Rc::new(Node::of(Value::Literal(Zeroizing::new(
        secret.expose().to_owned(),
    ))))
}

/// A number or truth value as JSON writes it.
fn plain(text: &str) -> Rc<Node> {
    let value = match text {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        digits
            if digits
                .strip_prefix('-')
                .unwrap_or(digits)
                .bytes()
                .all(|byte| byte.is_ascii_digit()) =>
        {
            Value::Int(digits.to_owned())
        }
        other => other.parse().map_or_else(
            |_| Value::Literal(Zeroizing::new(other.to_owned())),
            Value::Float,
        ),
    };
    Rc::new(Node::of(value))
}

/// Whether a key of the output names a file of ours.
pub fn wants_files(lent: &Lent) -> bool {
    lent.fields
        .iter()
        .any(|(_, value)| matches!(value, FieldValue::File(_)))
}

/// The bridge's variables.
pub fn bridge(lent: &Lent, secrets: &Secrets) -> Result<Vec<(String, Secret)>, RenderError> {
    lent.env
        .iter()
        .map(|variable| {
            let place = format!("env.{}", variable.name);
            let value = Template::parse(&place, &variable.template)?.evaluate(&place, secrets)?;
            Ok((variable.name.clone(), value.text()))
        })
        .collect()
}

/// The generated profiles.yml: each chosen profile with its one output, and the top-level `config:` block, which dbt still reads.
pub fn profiles_yml(profiles: Vec<(&Profile, Rc<Node>)>) -> Result<Zeroizing<String>, RenderError> {
    let map = |entries: Vec<(&str, Rc<Node>)>| {
        let mut mapping = Mapping::default();
        for (key, value) in entries {
            mapping.set(key, value);
        }
        Rc::new(Node::of(Value::Map(mapping)))
    };
    let mut entries = Vec::new();
    let mut config = None;
    for (profile, output) in profiles {
        let chosen = map(vec![
            ("target", literal(Secret::new(profile.target.clone()))),
            ("outputs", map(vec![(&profile.target, output)])),
        ]);
        entries.push((profile.name.as_str(), chosen));
        // All stand in one file.
        config = profile.config.as_ref();
    }
    // A profile may itself be named `config`; then the block is the profile.
    if let Some(config) = config.filter(|_| entries.iter().all(|(name, _)| *name != "config")) {
        entries.push(("config", Rc::clone(config)));
    }
    Ok(yaml::emit(&map(entries))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{LentSecret, Operation, Place, SecretRequest, Shape};
    use crate::dbt::{Context, Selection};
    use crate::variables::Variables;

    /// What `dbt ls` gets of a profiles.yml and of `fields:`.
    fn placeholders(output: &str, fields: &[(&str, &str)]) -> String {
        let lent = Lent {
            secrets: vec![LentSecret {
                request: SecretRequest {
                    name: "w".to_owned(),
                    path: "database/creds/x".to_owned(),
                    operation: Operation::Read,
                    shape: Shape::Plain,
                },
                ttl: None,
                engine: None,
                at: Place::of_line(Path::new("dbt-lease.yml"), Some(1)),
            }],
            env: Vec::new(),
            fields: fields
                .iter()
                .map(|(key, text)| ((*key).to_owned(), FieldValue::Text((*text).to_owned())))
                .collect(),
            delivery: Delivery::File,
        };
        let profile = Profile {
            file: "profiles.yml".into(),
            name: "p".to_owned(),
            target: "t".to_owned(),
            output: yaml::load(output.as_bytes()).expect("YAML"),
            config: None,
            adapter: Some("postgres".to_owned()),
        };
        let variables = Variables::default();
        let context = Context {
            variables: &variables,
            cwd: Path::new("/"),
        };
        let rendering = Rendering::of(&[], &Selection::default(), &context).expect("a rendering");
        let secrets = Secrets::placeholders(&lent);
        let made = super::output(&profile, &lent, &secrets, &rendering, None).expect("an output");
        profiles_yml(vec![(&profile, made.node)])
            .expect("emitted")
            .to_string()
    }

    #[test]
    fn a_placeholder_is_a_number_where_a_number_is_wanted() {
        let made = placeholders(
            "{type: postgres, port: '{{ vault.w.port | int }}', host: '{{ vault.w.host }}'}",
            &[
                ("threads", "{{ vault.w.threads }}"),
                ("user", "{{ vault.w.username }}"),
            ],
        );
        assert!(made.contains("\"port\": 0\n"), "{made}");
        assert!(made.contains("\"threads\": 0\n"), "{made}");
        assert!(
            made.contains("\"host\": \"dbt-lease-placeholder\"\n"),
            "{made}"
        );
        assert!(
            made.contains("\"user\": \"dbt-lease-placeholder\"\n"),
            "{made}"
        );
    }
}

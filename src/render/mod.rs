//! What dbt is given: the output with the leased values in it, and the bridge's variables. Pure.
#![forbid(unsafe_code)]

pub mod adapters;
pub mod check;
mod error;
mod filters;
mod key_types;
mod key_values;
pub mod secret_keys;
pub mod secrets;
mod short_form;
pub mod template;
mod unfit;
pub mod vault_values;
pub mod view;

use std::path::Path;
use std::rc::Rc;

use zeroize::Zeroizing;

use crate::config::{Delivery, FieldValue, Lent};
use crate::dbt::yaml::{self, Mapping, Node, Value};
use crate::dbt::{Profile, Rendering};
use crate::secret::Secret;
use crate::vault::fields;
use adapters::Form;
pub use error::RenderError;
use secrets::{Field, Secrets};
use template::Template;
pub use unfit::Unfit;
use vault_values::{Filled, mentions_vault};

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
        short_form::set(&mut made, profile, secrets, files)?;
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
            (true, Some(directory), field) => made.file(directory, path, field.text()),
            (_, _, Field::Text(secret)) => text_node(secret),
            (_, _, Field::Plain(text)) => plain(&text),
            (_, _, Field::Tree(tree)) => node_of(&tree),
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
    match template.evaluate(place, secrets) {
        // What a filter makes of a placeholder is no matter.
        Err(error) if !error.is_certain() => Ok(template
            .evaluate(place, &numbers)
            .unwrap_or_else(|_| Field::Text(Secret::new(secrets::PLACEHOLDER.to_owned())))),
        evaluated => evaluated,
    }
}

impl Output {
    fn set(&mut self, path: &str, value: Rc<Node>, from: String) -> Result<(), RenderError> {
        self.put(path, value)?;
        self.leased.push((path.to_owned(), from));
        Ok(())
    }

    /// Sets a key of the output to a text that is no secret.
    ///
    /// # Errors
    /// Something on the way to it is no mapping.
    pub fn keep(&mut self, path: &str, text: &str) -> Result<(), RenderError> {
        self.put(path, text_node(Secret::new(text.to_owned())))
    }

    /// Sets a key to what is no secret.
    fn put(&mut self, path: &str, value: Rc<Node>) -> Result<(), RenderError> {
        let parts: Vec<&str> = path.split('.').collect();
        self.node = with(&self.node, &parts, value).map_err(|part| RenderError::NoMap {
            path: path.to_owned(),
            part: part.trim_end_matches('.').to_owned(),
        })?;
        Ok(())
    }

    /// A file that a key names; the key's value is its path, one for one key, whatever the run.
    fn file(&mut self, directory: &Path, key: &str, text: Secret) -> Rc<Node> {
        let name = key.replace('/', "_");
        let at = directory.join(&name).to_string_lossy().into_owned();
        self.files.push((name, text));
        text_node(Secret::new(at))
    }
}

/// The value at a key path.
fn value_at<'n>(node: &'n Node, path: &str) -> Option<&'n Node> {
    let (key, rest) = match path.split_once('.') {
        Some((key, rest)) => (key, Some(rest)),
        None => (path, None),
    };
    let inner = match &node.value {
        Value::Map(mapping) => mapping.get(key)?,
        Value::List(items) => items.get(key.parse::<usize>().ok()?)?,
        _ => return None,
    };
    match rest {
        Some(rest) => value_at(inner, rest),
        None => Some(inner),
    }
}

/// A copy of `node` with the value at `path` set; on the way, maps that are missing are made. The error is the path to what is
/// no map, with a dot behind each part.
fn with(node: &Node, path: &[&str], value: Rc<Node>) -> Result<Rc<Node>, String> {
    let Some((key, rest)) = path.split_first() else {
        return Ok(value);
    };
    let missing = Rc::new(Node::of(Value::Null));
    let inner = |of: Option<&Rc<Node>>| {
        if rest.is_empty() {
            return Ok(Rc::clone(&value));
        }
        with(of.unwrap_or(&missing), rest, Rc::clone(&value))
            .map_err(|below| format!("{key}.{below}"))
    };
    // A number is an item's place in a list; the place behind the last is a new item's.
    let place = key.parse::<usize>();
    let made = match (&node.value, place) {
        (Value::List(items), Ok(place)) if place <= items.len() => {
            let mut items = items.clone();
            let item = inner(items.get(place))?;
            if place == items.len() {
                items.push(item);
            } else {
                items[place] = item;
            }
            Value::List(items)
        }
        (Value::Null, Ok(0)) => Value::List(vec![inner(None)?]),
        (Value::Map(mapping), _) => {
            let mut mapping = mapping.clone();
            let item = inner(mapping.get(key))?;
            mapping.set(key, item);
            Value::Map(mapping)
        }
        (Value::Null, _) => {
            let mut mapping = Mapping::default();
            mapping.set(key, inner(None)?);
            Value::Map(mapping)
        }
        _ => return Err(String::new()),
    };
    Ok(Rc::new(Node {
        value: made,
        mark: node.mark,
    }))
}

/// The spelling that the output already uses, else the canonical one.
fn spelling(output: &Node, keys: &'static [&'static str]) -> Result<&'static str, RenderError> {
    let used: Vec<&'static str> = keys
        .iter()
        .copied()
        .filter(|key| value_at(output, key).is_some())
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

/// A value of Vault's with its type, all of its texts as they are.
fn node_of(value: &fields::Field) -> Rc<Node> {
    Rc::new(Node::of(match value {
        fields::Field::Null => Value::Null,
        fields::Field::Bool(value) => Value::Bool(*value),
        fields::Field::Number(_) => return plain(&value.expose_json().to_string()),
        fields::Field::Text(text) => return text_node(text.clone()),
        fields::Field::List(items) => Value::List(items.iter().map(node_of).collect()),
        fields::Field::Map(entries) => {
            let mut mapping = Mapping::default();
            for (key, value) in entries.iter() {
                mapping.set(key, node_of(value));
            }
            Value::Map(mapping)
        }
    }))
}

fn text_node(secret: Secret) -> Rc<Node> {
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
pub fn wants_files(profile: &Profile, lent: &Lent, secrets: &Secrets) -> bool {
    let by_fields = lent
        .fields
        .iter()
        .any(|(_, value)| matches!(value, FieldValue::File(_)));
    let by_short_form = || {
        lent.fields.is_empty()
            && lent.env.is_empty()
            && short_form::credential(profile, secrets).is_ok_and(|(credential, _)| {
                credential.takes.iter().any(|take| take.form == Form::File)
            })
    };
    by_fields || by_short_form()
}

/// The bridge's variables.
pub fn bridge(lent: &Lent, secrets: &Secrets) -> Result<Vec<(String, Secret)>, RenderError> {
    lent.env
        .iter()
        .map(|variable| {
            let place = format!("env.{}", variable.name);
            let template = Template::parse(&place, &variable.template)?;
            let value = evaluated(&template, &place, &variable.name, secrets)?;
            Ok((variable.name.clone(), value.text()))
        })
        .collect()
}

/// The generated profiles.yml: each chosen profile with its one output, and the top-level `config:` block, which dbt still reads.
/// `fusion` is whether Fusion reads it.
pub fn profiles_yml(
    profiles: Vec<(&Profile, Rc<Node>)>,
    fusion: bool,
) -> Result<Zeroizing<String>, RenderError> {
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
            ("target", text_node(Secret::new(profile.target.clone()))),
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
    Ok(yaml::emit_for(&map(entries), fusion)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{LentSecret, Operation, Place, SecretRequest, Shape};
    use crate::dbt::jinja::Vars;
    use crate::dbt::{Context, Engine};
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
                    query: Vec::new(),
                    known: None,
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
            parse_cache: crate::config::ParseCache::default(),
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
        let rendering =
            Rendering::of(&Engine::default(), Vars::default(), &context).expect("a rendering");
        let secrets = Secrets::placeholders(&lent);
        let made = super::output(&profile, &lent, &secrets, &rendering, None).expect("an output");
        profiles_yml(vec![(&profile, made.node)], false)
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

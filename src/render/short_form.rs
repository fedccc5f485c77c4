//! The short form: the only secret's fields go to the keys that the adapter has for them.
#![forbid(unsafe_code)]

use std::path::Path;
use std::rc::Rc;

use zeroize::Zeroizing;

use super::adapters::{self, Credential, Form, Says};
use super::secrets::{Field, PLACEHOLDER, Secrets};
use super::{Output, RenderError, Unfit, filters, node_of, plain, spelling, text_node, value_at};
use crate::dbt::Profile;
use crate::dbt::jinja::is_template;
use crate::dbt::yaml::{Node, Value};
use crate::secret::Secret;
use crate::vault::fields;

/// The credential that a target's secret makes for its output, and the secret's name.
pub(super) fn credential(
    profile: &Profile,
    secrets: &Secrets,
) -> Result<(&'static Credential, String), RenderError> {
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
    let fits = |credential: &&Credential| {
        credential
            .takes
            .iter()
            .all(|take| take.field(|field| secrets.has(&name, field)).is_some())
            && !credential
                .without
                .iter()
                .any(|field| secrets.surely_has(&name, field))
    };
    match credentials.iter().find(fits) {
        Some(credential) => Ok((credential, name)),
        None => Err(RenderError::Unfit(Box::new(Unfit {
            adapter: adapter.to_owned(),
            path: secrets.path_of(&name).map(str::to_owned),
            known: secrets.fields_of(&name),
            secret: name,
            wanted: credentials.iter().map(in_words).collect(),
            keys: credentials
                .iter()
                .flat_map(|credential| credential.takes)
                .map(|take| take.keys[0])
                .collect(),
        }))),
    }
}

fn in_words(credential: &Credential) -> String {
    let fields: Vec<String> = credential
        .takes
        .iter()
        .map(|take| format!("`{}`", take.fields[0]))
        .collect();
    fields.join(" and ")
}

/// Sets the adapter's keys.
pub(super) fn set(
    made: &mut Output,
    profile: &Profile,
    secrets: &Secrets,
    files: Option<&Path>,
) -> Result<(), RenderError> {
    let (credential, name) = credential(profile, secrets)?;
    for says in credential.says {
        say(made, says)?;
    }
    for take in credential.takes {
        let Some(field) = take.field(|field| secrets.has(&name, field)) else {
            continue;
        };
        let key = spelling(&made.node, take.keys)?;
        let from = format!("{name}.{field}");
        let value = secrets.field(&name, field)?;
        let node = match (take.form, value) {
            (Form::File, value) => match files {
                Some(directory) => made.file(directory, key, value.text()),
                None => text_node(value.text()),
            },
            (Form::Base64Json, value) => {
                mapping(&value.text()).ok_or_else(|| RenderError::NoMapping {
                    field: from.clone(),
                    key,
                })?
            }
            (Form::AsItIs, Field::Plain(text)) => plain(&text),
            (Form::AsItIs, value) => text_node(value.text()),
        };
        made.set(key, node, from)?;
    }
    Ok(())
}

/// A mapping of base64 of its JSON.
fn mapping(text: &Secret) -> Option<Rc<Node>> {
    if text.expose() == PLACEHOLDER {
        return Some(node_of(&fields::Field::Map(
            [("placeholder".to_owned(), fields::Field::Text(text.clone()))]
                .into_iter()
                .collect(),
        )));
    }
    match filters::base64_json(text.expose())? {
        map @ fields::Field::Map(_) => Some(node_of(&map)),
        _ => None,
    }
}

/// Sees to it that a key says what makes the adapter look at the credential.
fn say(made: &mut Output, says: &Says) -> Result<(), RenderError> {
    let key = spelling(&made.node, says.keys)?;
    match value_at(&made.node, key).map(|node| &node.value) {
        None | Some(Value::Null) => {
            let value = says.values.first().copied().unwrap_or_default();
            made.put(
                key,
                Rc::new(Node::of(Value::Str(Zeroizing::new(value.to_owned())))),
            )
        }
        Some(Value::Str(text))
            if !says.values.is_empty()
                && !is_template(text)
                && !says
                    .values
                    .iter()
                    .any(|value| value.eq_ignore_ascii_case(text)) =>
        {
            Err(RenderError::OtherWay {
                key,
                wanted: says.values[0],
            })
        }
        Some(_) => Ok(()),
    }
}

//! The output as dbt will see it, for people and for `render --json`.

use serde_json::{Map, Number, Value as Json};

use crate::dbt::Rendering;
use crate::dbt::jinja::{self, JinjaError};
use crate::dbt::yaml::{Node, Value};
use crate::render::RenderError;
use crate::render::secret_keys::is_masked;

/// A rendered output.
pub struct View {
    /// The output, with dbt's types; leased keys are null, secrets are masked unless they are to be shown.
    pub output: Map<String, Json>,
    /// Key path → why it could not be rendered for certain; its raw text stands in `output`.
    pub unrendered: Vec<(String, String)>,
}

/// What stands for a secret.
const MASK: &str = "********";

/// Renders every value of an output. `leased` are the key paths that a lease will fill.
///
/// # Errors
/// What dbt would refuse.
pub fn view(
    output: &Node,
    leased: &[(String, String)],
    rendering: &Rendering<'_>,
    reveal: bool,
) -> Result<View, RenderError> {
    let mut viewer = Viewer {
        leased,
        rendering,
        reveal,
        unrendered: Vec::new(),
    };
    let output = match viewer.value(output, "")? {
        Json::Object(map) => map,
        _ => Map::new(),
    };
    Ok(View {
        output,
        unrendered: viewer.unrendered,
    })
}

struct Viewer<'a> {
    leased: &'a [(String, String)],
    rendering: &'a Rendering<'a>,
    reveal: bool,
    unrendered: Vec<(String, String)>,
}

impl Viewer<'_> {
    fn value(&mut self, node: &Node, path: &str) -> Result<Json, RenderError> {
        if self.leased.iter().any(|(key, _)| key == path) {
            return Ok(Json::Null);
        }
        let below = |key: &str| {
            if path.is_empty() {
                key.to_owned()
            } else {
                format!("{path}.{key}")
            }
        };
        Ok(match &node.value {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Int(digits) => self.int(digits, path),
            Value::Float(value) => self.float(*value, path),
            Value::Timestamp(text) => self.shown(path, text, false),
            Value::Literal(text) => self.shown(path, text, true),
            Value::Str(text) => self.string(text, path)?,
            Value::List(items) => {
                let mut list = Vec::with_capacity(items.len());
                for (at, item) in items.iter().enumerate() {
                    list.push(self.value(item, &below(&at.to_string()))?);
                }
                Json::Array(list)
            }
            Value::Map(mapping) => {
                let mut map = Map::new();
                for (key, value) in &mapping.0 {
                    let Some(name) = key_text(key) else {
                        self.unrendered.push((
                            path.to_owned(),
                            "a key in it is neither a text nor a number".to_owned(),
                        ));
                        continue;
                    };
                    let value = self.value(value, &below(&name))?;
                    map.insert(name, value);
                }
                Json::Object(map)
            }
            Value::Unusable(tag) => {
                self.unrendered
                    .push((path.to_owned(), format!("dbt cannot use a `{tag}`")));
                Json::Null
            }
        })
    }

    /// dbt renders every string, template or not: line ends are evened and one final newline goes.
    fn string(&mut self, text: &str, path: &str) -> Result<Json, RenderError> {
        match self.rendering.render(text, None) {
            Ok(rendered) => Ok(self.rendered(rendered.value, path, rendered.secret)),
            Err(JinjaError::Uncertain { construct }) => {
                self.unrendered
                    .push((path.to_owned(), format!("it uses {construct}")));
                // A raw text may hold a literal password beside its template.
                Ok(self.shown(path, text, false))
            }
            // dbt takes the raw text where anything under a key `password` fails.
            Err(_) if path.split('.').any(|part| part == "password") => {
                Ok(self.shown(path, text, true))
            }
            Err(error) => Err(RenderError::Dbt {
                path: path.to_owned(),
                why: error.to_string(),
                kind: error.kind(),
                at: None,
            }),
        }
    }

    fn rendered(&mut self, value: jinja::Value, path: &str, secret: bool) -> Json {
        match value {
            jinja::Value::None => Json::Null,
            jinja::Value::Bool(value) => Json::Bool(value),
            jinja::Value::Int(value) => self.int(&value.to_string(), path),
            jinja::Value::Float(value) => self.float(value, path),
            jinja::Value::Str(text, _) => self.shown(path, &text, secret),
            jinja::Value::List(items) => {
                let items = items.into_iter().enumerate();
                Json::Array(
                    items
                        .map(|(at, item)| self.rendered(item, &format!("{path}.{at}"), secret))
                        .collect(),
                )
            }
            jinja::Value::Dict(entries) => {
                let mut map = Map::new();
                for (key, value) in entries {
                    if let jinja::Value::Str(name, _) = key {
                        let value =
                            self.rendered(value, &format!("{path}.{}", name.as_str()), secret);
                        map.insert(name.to_string(), value);
                    } else {
                        self.unrendered
                            .push((path.to_owned(), "a key in it is no text".to_owned()));
                    }
                }
                Json::Object(map)
            }
            jinja::Value::Tuple(_) | jinja::Value::Undefined(_) => {
                self.unrendered.push((
                    path.to_owned(),
                    "its value is a Python object that JSON does not have".to_owned(),
                ));
                Json::Null
            }
        }
    }

    fn int(&mut self, digits: &str, path: &str) -> Json {
        if !self.reveal && is_masked(path) {
            return Json::String(MASK.to_owned());
        }
        let number = digits
            .parse::<i64>()
            .map(Number::from)
            .or_else(|_| digits.parse::<u64>().map(Number::from));
        number.map(Json::Number).unwrap_or_else(|_| {
            self.unrendered.push((
                path.to_owned(),
                "the integer has more than 64 bits".to_owned(),
            ));
            Json::String(digits.to_owned())
        })
    }

    fn float(&mut self, value: f64, path: &str) -> Json {
        if !self.reveal && is_masked(path) {
            return Json::String(MASK.to_owned());
        }
        Number::from_f64(value)
            .map(Json::Number)
            .unwrap_or_else(|| {
                self.unrendered.push((
                    path.to_owned(),
                    "JSON has no infinity and no NaN".to_owned(),
                ));
                Json::String(value.to_string())
            })
    }

    fn shown(&self, path: &str, text: &str, secret: bool) -> Json {
        let hidden = !self.reveal && (secret || is_masked(path));
        Json::String(if hidden {
            MASK.to_owned()
        } else {
            text.to_owned()
        })
    }
}

/// A key as JSON has it: Python's json.dumps writes numbers, truth values and None as texts.
fn key_text(key: &Node) -> Option<String> {
    match &key.value {
        Value::Str(text) | Value::Literal(text) => Some(text.to_string()),
        Value::Int(digits) => Some(digits.clone()),
        Value::Bool(true) => Some("true".to_owned()),
        Value::Bool(false) => Some("false".to_owned()),
        Value::Null => Some("null".to_owned()),
        Value::Timestamp(text) => Some(text.clone()),
        _ => None,
    }
}

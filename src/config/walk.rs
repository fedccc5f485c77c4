//! A walk over the parsed file that knows where it is: every accessor answers with a value or with an error that names the
//! line, the key path and what was expected.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_yaml::Value;

use super::error::ConfigError;
use super::lines::Lines;
use super::{duration, extends, fingerprint, literal, names};
use crate::place::Place;

/// The parsed file, with what it extends.
pub(super) struct Document {
    /// The file itself first.
    layers: Vec<Layer>,
    /// All of it in one.
    root: Value,
    /// Key paths that come from another layer than what is around them, with its number.
    origins: Vec<(Vec<String>, usize)>,
}

/// One file.
struct Layer {
    file: PathBuf,
    /// What it says by itself.
    root: Value,
    lines: Lines,
}

/// The keys that a mapping takes. The JSON Schema of dbt-lease.yml can be made from these tables.
pub(super) struct Keys {
    /// What works.
    pub(super) known: &'static [&'static str],
    /// What the design names and this version does not have yet.
    pub(super) later: &'static [&'static str],
    /// What people write here that stands elsewhere, with where.
    pub(super) elsewhere: &'static [(&'static str, &'static str)],
}

/// A value and the key path to it.
#[derive(Clone)]
pub(super) struct Cursor<'a> {
    document: &'a Document,
    value: &'a Value,
    path: Vec<String>,
}

impl Document {
    /// Parses the text of a file. Refused: what is no YAML, nothing at all, and what looks like a secret wherever it stands.
    pub(super) fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        let file = file.to_owned();
        if let Some(line) = too_deep(text) {
            let at = Place::of_line(&file, Some(line));
            return Err(ConfigError::Syntax {
                at,
                problem: "brackets nested too deeply".to_owned(),
            });
        }
        let syntax = |error: &serde_yaml::Error| {
            let message = error.to_string();
            let problem = message.split(" at line ").next().unwrap_or_default();
            let (at, problem) = if problem.contains("duplicate entry") {
                // serde_yaml names the mapping's place, not the second key's.
                let at = match Lines::of(text).repeated {
                    Some(line) => line.place(&file),
                    None => Place::of_file(&file),
                };
                (at, "duplicate key")
            } else if problem.contains("more than one document") {
                (Place::of_file(&file), "more than one document")
            } else {
                let at = match error.location() {
                    Some(at) => Place::of_line(&file, Some(at.line())).within(at.column(), None),
                    None => Place::of_file(&file),
                };
                (at, problem)
            };
            ConfigError::Syntax {
                at,
                problem: problem.to_owned(),
            }
        };
        // `apply_merge` makes `<<:` what it is in dbt's own files.
        let mut root: Value = serde_yaml::from_str(text).map_err(|error| syntax(&error))?;
        root.apply_merge().map_err(|error| syntax(&error))?;
        if root.is_null() {
            return Err(ConfigError::Empty { file });
        }
        let document = Self {
            layers: vec![Layer {
                file,
                root: root.clone(),
                lines: Lines::of(text),
            }],
            root,
            origins: Vec::new(),
        };
        document.root().refuse_secrets()?;
        Ok(document)
    }

    /// The same on top of what it extends, see [`extends`].
    pub(super) fn over(mut self, base: Self) -> Self {
        let (root, from_base) = extends::merged(&self.root, &base.root);
        let below = self.layers.len();
        for path in from_base {
            let within = base
                .origins
                .iter()
                .filter(|(other, _)| other.len() > path.len() && other.starts_with(&path));
            self.origins
                .extend(within.map(|(other, layer)| (other.clone(), below + layer)));
            let layer = base.layer_of(&path);
            self.origins.push((path, below + layer));
        }
        self.layers.extend(base.layers);
        self.root = root;
        self
    }

    /// What trust is tied to, see [`fingerprint`].
    pub(super) fn fingerprint(&self) -> String {
        match self.layers.as_slice() {
            [only] => fingerprint::of(&only.root),
            all => fingerprint::of(&Value::Sequence(
                all.iter().map(|layer| layer.root.clone()).collect(),
            )),
        }
    }

    /// The file.
    pub(super) fn file(&self) -> &Path {
        &self.layers[0].file
    }

    /// The files that it extends, the nearest first.
    pub(super) fn extended(&self) -> Vec<PathBuf> {
        self.layers[1..]
            .iter()
            .map(|layer| layer.file.clone())
            .collect()
    }

    /// The number of the layer that says what stands at a key path.
    fn layer_of(&self, path: &[String]) -> usize {
        self.origins
            .iter()
            .filter(|(origin, _)| path.starts_with(origin))
            .max_by_key(|(origin, _)| origin.len())
            .map_or(0, |(_, layer)| *layer)
    }

    /// The outermost value.
    pub(super) fn root(&self) -> Cursor<'_> {
        Cursor {
            document: self,
            value: &self.root,
            path: Vec::new(),
        }
    }
}

impl<'a> Cursor<'a> {
    /// Where it stands.
    pub(super) fn at(&self) -> Place {
        let layer = self.layer();
        match layer.lines.nearest(&self.path) {
            Some(at) => at.place(&layer.file),
            None => Place::of_file(&layer.file),
        }
    }

    fn layer(&self) -> &'a Layer {
        &self.document.layers[self.document.layer_of(&self.path)]
    }

    /// The key path, dotted.
    pub(super) fn key(&self) -> String {
        self.path.join(".").escape_debug().to_string()
    }

    /// Whether there is nothing after the colon.
    pub(super) fn is_null(&self) -> bool {
        self.value.is_null()
    }

    /// Whether it is a text.
    pub(super) fn is_text(&self) -> bool {
        self.value.is_string()
    }

    /// A text.
    pub(super) fn text(&self, expected: &str) -> Result<&'a str, ConfigError> {
        match self.value {
            Value::String(text) => Ok(text),
            _ => Err(self.wrong(expected)),
        }
    }

    /// `true` or `false`.
    pub(super) fn flag(&self) -> Result<bool, ConfigError> {
        self.value
            .as_bool()
            .ok_or_else(|| self.wrong("`true` or `false`"))
    }

    /// A whole number from nought.
    pub(super) fn whole(&self, expected: &str) -> Result<u64, ConfigError> {
        self.value.as_u64().ok_or_else(|| self.wrong(expected))
    }

    /// A duration, see [`duration`].
    pub(super) fn duration(&self) -> Result<Duration, ConfigError> {
        let expected = || format!("a duration: {}", duration::EXAMPLES);
        let parsed = match self.value {
            Value::String(text) => duration::parse(text),
            Value::Number(number) => match number.as_u64() {
                Some(seconds) => duration::of_seconds(seconds),
                None => None,
            },
            _ => return Err(self.wrong(&expected())),
        };
        parsed.ok_or_else(|| self.bad("not a duration", &format!("write {}", expected())))
    }

    /// A file's path: `~/` is the home directory, a relative one starts at the directory of the file that says it.
    pub(super) fn file(&self, home: Option<&Path>) -> Result<PathBuf, ConfigError> {
        let text = self.text("the path of a file")?;
        if text.trim().is_empty() {
            return Err(self.bad("an empty path", "write the path of a file"));
        }
        if !text.contains('/') && literal::instead_of_a_name(text) {
            return Err(self.secret(
                "holds what looks like the secret itself",
                "write the path of a file that holds it",
            ));
        }
        if let Some(rest) = text.strip_prefix("~/") {
            return match home {
                Some(home) => Ok(home.join(rest)),
                None => Err(self.bad("`~` without HOME", "set HOME, or write the whole path")),
            };
        }
        Ok(self
            .layer()
            .file
            .parent()
            .unwrap_or(Path::new("/"))
            .join(text))
    }

    /// The name of a variable.
    pub(super) fn variable(&self) -> Result<String, ConfigError> {
        let text = self.text("the name of a variable")?;
        if literal::instead_of_a_name(text) {
            return Err(self.secret(
                "holds what looks like the secret itself",
                "write the name of the variable that holds it",
            ));
        }
        if names::steers(text) {
            return Err(self.bad(
                "a variable that the child needs, but a login's source is kept from it",
                "name a variable that holds nothing else",
            ));
        }
        if is_variable_name(text) {
            return Ok(text.to_owned());
        }
        let hint = "write its name alone, without `$` and braces: letters, digits and `_`";
        Err(self.bad("not the name of a variable", hint))
    }

    /// The items of a list; none where it is none.
    pub(super) fn listed(&self) -> Option<Vec<Cursor<'a>>> {
        let Value::Sequence(items) = self.value else {
            return None;
        };
        let numbered = items.iter().enumerate();
        Some(
            numbered
                .map(|(at, item)| self.below(&at.to_string(), item))
                .collect(),
        )
    }

    /// The entries of a mapping with any keys.
    pub(super) fn entries(
        &self,
        expected: &str,
    ) -> Result<Vec<(&'a str, Cursor<'a>)>, ConfigError> {
        let Value::Mapping(mapping) = self.value else {
            return Err(self.wrong(expected));
        };
        mapping
            .iter()
            .map(|(key, value)| match key {
                Value::String(key) => Ok((key.as_str(), self.below(key, value))),
                other => Err(ConfigError::WrongType {
                    at: self.at(),
                    key: if self.path.is_empty() {
                        "a key".to_owned()
                    } else {
                        format!("a key of {}", self.key())
                    },
                    expected: "a text (quote it)".to_owned(),
                    found: kind_of(other),
                }),
            })
            .collect()
    }

    /// The items of a list.
    pub(super) fn items(&self, expected: &str) -> Result<Vec<Cursor<'a>>, ConfigError> {
        self.listed().ok_or_else(|| self.wrong(expected))
    }

    /// A mapping that takes these keys and no others; nothing after a key's colon is an error.
    pub(super) fn object(
        &self,
        keys: &'static Keys,
        expected: &str,
    ) -> Result<Object<'a>, ConfigError> {
        let entries = self.entries(expected)?;
        for (key, cursor) in &entries {
            if keys.later.contains(key) {
                return Err(cursor.not_yet("remove it"));
            }
            if !keys.known.contains(key) {
                if literal::secret_name(key) && cursor.is_text() {
                    let hint = "a secret's value stands in a file or a variable, and its key here ends in `_file` or `_env`";
                    return Err(cursor.secret("holds a secret by its name", hint));
                }
                return Err(self.unknown(key, cursor, keys));
            }
            if cursor.is_null() {
                return Err(cursor.bad(
                    "nothing after the colon",
                    "write its value, or remove the key",
                ));
            }
        }
        Ok(Object {
            cursor: self.clone(),
            entries,
        })
    }

    fn unknown(&self, key: &str, cursor: &Cursor<'_>, keys: &Keys) -> ConfigError {
        let takes = format!("keys here: {}", keys.known.join(", "));
        let hint = match keys.elsewhere.iter().find(|(name, _)| *name == key) {
            Some((_, hint)) => (*hint).to_owned(),
            None => match nearest(key, keys.known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`? {takes}"),
                None => takes,
            },
        };
        ConfigError::UnknownKey {
            at: cursor.at(),
            key: key.escape_debug().to_string(),
            parent: self.key(),
            hint,
        }
    }

    fn below(&self, key: &str, value: &'a Value) -> Cursor<'a> {
        let mut path = self.path.clone();
        path.push(key.to_owned());
        Cursor {
            document: self.document,
            value,
            path,
        }
    }

    /// An error: another kind of value.
    pub(super) fn wrong(&self, expected: &str) -> ConfigError {
        let key = if self.path.is_empty() {
            "dbt-lease.yml".to_owned()
        } else {
            self.key()
        };
        ConfigError::WrongType {
            at: self.at(),
            key,
            expected: expected.to_owned(),
            found: kind_of(self.value),
        }
    }

    /// An error: a value that cannot be used.
    pub(super) fn bad(&self, problem: &str, hint: &str) -> ConfigError {
        ConfigError::BadValue {
            at: self.at(),
            key: self.key(),
            problem: problem.to_owned(),
            hint: hint.to_owned(),
        }
    }

    /// An error: a secret.
    pub(super) fn secret(&self, looks: &str, hint: &str) -> ConfigError {
        ConfigError::LiteralSecret {
            at: self.at(),
            key: self.key(),
            looks: looks.to_owned(),
            hint: hint.to_owned(),
        }
    }

    /// An error: designed, but not there yet.
    pub(super) fn not_yet(&self, hint: &str) -> ConfigError {
        ConfigError::NotYet {
            at: self.at(),
            what: self.key(),
            hint: hint.to_owned(),
        }
    }

    /// An error: a value that is designed, but not there yet.
    pub(super) fn value_not_yet(&self, value: &str, hint: &str) -> ConfigError {
        ConfigError::NotYet {
            at: self.at(),
            what: format!("{}: {value}", self.key()),
            hint: hint.to_owned(),
        }
    }

    fn refuse_secrets(&self) -> Result<(), ConfigError> {
        const HINT: &str = "take it out, have it revoked if it was ever committed, and name the file or the variable that holds it";
        match self.value {
            Value::String(text) => match literal::gives_away(text) {
                Some(looks) => Err(self.secret(looks, HINT)),
                None => Ok(()),
            },
            Value::Sequence(items) => items
                .iter()
                .enumerate()
                .try_for_each(|(at, item)| self.below(&at.to_string(), item).refuse_secrets()),
            Value::Mapping(mapping) => {
                mapping
                    .iter()
                    .try_for_each(|(key, value)| match key.as_str() {
                        Some(key) if literal::gives_away(key).is_some() => {
                            Err(self.below("a key", value).secret("holds a secret", HINT))
                        }
                        key => self.below(key.unwrap_or("?"), value).refuse_secrets(),
                    })
            }
            Value::Tagged(tagged) => Cursor {
                value: &tagged.value,
                ..self.clone()
            }
            .refuse_secrets(),
            _ => Ok(()),
        }
    }

    /// The value as JSON, for the body of a write.
    pub(super) fn json(&self) -> Result<serde_json::Value, ConfigError> {
        Ok(match self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(flag) => (*flag).into(),
            Value::String(text) => text.as_str().into(),
            Value::Number(_) => serde_json::to_value(self.value)
                .map_err(|_| self.wrong("a number that JSON has"))?,
            Value::Sequence(items) => items
                .iter()
                .enumerate()
                .map(|(at, item)| self.below(&at.to_string(), item).json())
                .collect::<Result<Vec<_>, _>>()?
                .into(),
            Value::Mapping(_) => self
                .entries("a mapping")?
                .into_iter()
                .map(|(key, cursor)| Ok((key.to_owned(), cursor.json()?)))
                .collect::<Result<serde_json::Map<_, _>, ConfigError>>()?
                .into(),
            Value::Tagged(_) => return Err(self.wrong("a value without a tag")),
        })
    }
}

/// A mapping whose keys are known to be right.
pub(super) struct Object<'a> {
    /// The mapping itself.
    pub(super) cursor: Cursor<'a>,
    entries: Vec<(&'a str, Cursor<'a>)>,
}

impl<'a> Object<'a> {
    /// The value under a key.
    pub(super) fn get(&self, key: &str) -> Option<&Cursor<'a>> {
        self.entries
            .iter()
            .find(|(candidate, _)| *candidate == key)
            .map(|(_, cursor)| cursor)
    }

    /// The value under a key that must be there.
    pub(super) fn need(&self, key: &str, hint: &str) -> Result<&Cursor<'a>, ConfigError> {
        self.get(key)
            .ok_or_else(|| self.missing(format!("`{key}`"), hint))
    }

    /// Exactly one of several keys.
    pub(super) fn one_of(
        &self,
        keys: &[&'static str],
        hint: &str,
    ) -> Result<(&'static str, &Cursor<'a>), ConfigError> {
        let mut given = keys
            .iter()
            .filter_map(|key| self.get(key).map(|cursor| (*key, cursor)));
        let first = given
            .next()
            .ok_or_else(|| self.missing(format!("one of `{}`", keys.join("`, `")), hint))?;
        match given.next() {
            None => Ok(first),
            Some((second, cursor)) => Err(ConfigError::Conflict {
                at: cursor.at(),
                keys: vec![first.0.to_owned(), second.to_owned()],
                parent: self.cursor.key(),
                hint: "keep one of them".to_owned(),
            }),
        }
    }

    fn missing(&self, what: String, hint: &str) -> ConfigError {
        ConfigError::Missing {
            at: self.cursor.at(),
            what,
            parent: self.cursor.key(),
            hint: hint.to_owned(),
        }
    }
}

/// The nearest of several names, where one is near enough to be meant.
pub(crate) fn nearest<'n>(name: &str, among: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    among
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, candidate)| candidate)
}

/// Letters, digits and `_`, no digit first: what a shell can set.
pub(crate) fn is_variable_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The line where more brackets are open than serde_yaml would take. libyaml's time grows with the square of their number,
/// so they are counted before it sees them; quotes and comments do not matter at this number.
fn too_deep(text: &str) -> Option<usize> {
    const DEEPEST: usize = 128;
    let mut open: usize = 0;
    text.lines()
        .position(|line| {
            line.bytes().any(|byte| {
                match byte {
                    b'[' | b'{' => open += 1,
                    b']' | b'}' => open = open.saturating_sub(1),
                    _ => {}
                }
                open > DEEPEST
            })
        })
        .map(|line| line + 1)
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Sequence(_) => "a list",
        Value::Mapping(_) => "a mapping",
        Value::Tagged(_) => "a value with a tag",
    }
}

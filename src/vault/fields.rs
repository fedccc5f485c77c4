//! The fields of a secret: names, and values that never show themselves.
#![forbid(unsafe_code)]

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::secret::Secret;

/// The named values of a secret, in Vault's order.
#[derive(Clone, Default, PartialEq)]
pub struct Fields(Vec<(String, Field)>);

/// One value, with JSON's types: a port stays a number, a flag a bool.
#[derive(Clone, PartialEq)]
pub enum Field {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number; beyond 64 bits it is a float, as serde_json reads it.
    Number(serde_json::Number),
    /// A text.
    Text(Secret),
    /// A list.
    List(Vec<Field>),
    /// Fields below a field: KV holds any JSON.
    Map(Fields),
}

impl Fields {
    /// The value of that name.
    pub fn get(&self, name: &str) -> Option<&Field> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value)
    }

    /// Name and value of each.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Field)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// The names alone, for messages.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of it as JSON, in clear: for templates only.
    pub fn expose_json(&self) -> serde_json::Value {
        serde_json::Value::Object(
            self.iter()
                .map(|(name, value)| (name.to_owned(), value.expose_json()))
                .collect(),
        )
    }

    /// Sets a value; a name that comes twice keeps its last value, as everywhere in JSON.
    fn set(&mut self, name: String, value: Field) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }

    /// Takes a value out.
    pub(crate) fn take(&mut self, name: &str) -> Option<Field> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.remove(at).1)
    }
}

impl Field {
    /// The value as one text: a text as it is, numbers and bools as JSON writes them, lists and maps as JSON; `null`
    /// has none.
    pub fn text(&self) -> Option<Secret> {
        match self {
            Self::Null => None,
            Self::Text(text) => Some(text.clone()),
            other => Some(Secret::new(other.expose_json().to_string())),
        }
    }

    /// The value as JSON, in clear: for templates only.
    pub fn expose_json(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Bool(value) => serde_json::Value::Bool(*value),
            Self::Number(value) => serde_json::Value::Number(value.clone()),
            Self::Text(text) => serde_json::Value::String(text.expose().to_owned()),
            Self::List(list) => {
                serde_json::Value::Array(list.iter().map(Self::expose_json).collect())
            }
            Self::Map(fields) => fields.expose_json(),
        }
    }

    /// A whole number that is not negative.
    pub(crate) fn whole(&self) -> Option<u64> {
        match self {
            Self::Number(value) => value.as_u64(),
            _ => None,
        }
    }

    /// A text that is no secret: names, paths, times.
    pub(crate) fn plain(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text.expose()),
            _ => None,
        }
    }

    /// What it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a bool",
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

impl FromIterator<(String, Field)> for Fields {
    fn from_iter<I: IntoIterator<Item = (String, Field)>>(entries: I) -> Self {
        let mut fields = Self::default();
        for (name, value) in entries {
            fields.set(name, value);
        }
        fields
    }
}

/// Names only.
impl fmt::Debug for Fields {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.names()).finish()
    }
}

/// The type only.
impl fmt::Debug for Field {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Field({})", self.kind())
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Field::deserialize(deserializer)? {
            Field::Map(fields) => Ok(fields),
            other => Err(serde::de::Error::custom(format_args!(
                "a map is expected, not {}",
                other.kind()
            ))),
        }
    }
}

/// Texts become a [`Secret`] at once: no copy of them stays in a serde_json tree, which nobody wipes.
impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor)
    }
}

struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = Field;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Field, E> {
        Ok(Field::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Field, E> {
        Ok(Field::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Field, E> {
        Ok(Field::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Field, E> {
        Ok(Field::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Field, E> {
        Ok(serde_json::Number::from_f64(value).map_or(Field::Null, Field::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Field, E> {
        Ok(Field::Text(Secret::new(text.to_owned())))
    }

    fn visit_string<E>(self, text: String) -> Result<Field, E> {
        Ok(Field::Text(Secret::new(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Field, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Field::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Field, A::Error> {
        let mut fields = Fields::default();
        while let Some((name, value)) = entries.next_entry::<String, Field>()? {
            fields.set(name, value);
        }
        Ok(Field::Map(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::{Field, Fields};

    fn fields(json: &str) -> Fields {
        serde_json::from_str(json).expect("the test's JSON is right")
    }

    #[test]
    fn order_and_types_are_kept() {
        let fields = fields(
            r#"{"z": "s", "a": 5432, "t": true, "n": null, "f": 1.5, "l": ["x", 1], "m": {"k": "v"}}"#,
        );
        assert_eq!(
            fields.names().collect::<Vec<_>>(),
            ["z", "a", "t", "n", "f", "l", "m"]
        );
        assert_eq!(
            fields.expose_json().to_string(),
            r#"{"z":"s","a":5432,"t":true,"n":null,"f":1.5,"l":["x",1],"m":{"k":"v"}}"#
        );
        assert_eq!(
            fields
                .get("a")
                .and_then(Field::text)
                .expect("a text")
                .expose(),
            "5432"
        );
        assert!(fields.get("n").expect("null stands").text().is_none());
    }

    #[test]
    fn debug_shows_names_and_no_value() {
        let fields = fields(r#"{"password": "hunter2", "pin": 4711, "deep": {"k": "hunter3"}}"#);
        let shown = format!(
            "{fields:?} {:?} {:?}",
            fields.get("pin"),
            fields.get("deep")
        );
        assert!(shown.contains("password"), "{shown}");
        assert!(
            !shown.contains("hunter") && !shown.contains("4711"),
            "{shown}"
        );
    }
}

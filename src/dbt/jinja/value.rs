//! Python's values, as far as a template of a profile can hold them.
#![forbid(unsafe_code)]

use zeroize::Zeroizing;

use super::JinjaError;

/// A Python value.
#[derive(Clone)]
pub enum Value {
    /// `None`.
    None,
    /// `True`, `False`.
    Bool(bool),
    /// An int; what does not fit is not evaluated.
    Int(i128),
    /// A float.
    Float(f64),
    /// A str, with dbt's mark of how it wants to be converted.
    Str(Zeroizing<String>, Marker),
    /// A list.
    List(Vec<Value>),
    /// A tuple.
    Tuple(Vec<Value>),
    /// A dict, in order.
    Dict(Vec<(Value, Value)>),
    /// Jinja's Undefined: prints as nothing.
    Undefined(String),
}

/// The mark that dbt's `as_…` filters leave on a str.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    /// An ordinary str.
    Plain,
    /// `as_text`.
    Text,
    /// `as_native`.
    Native,
    /// `as_bool`.
    Bool,
    /// `as_number`.
    Number,
}

/// Shapes only: a str may be a secret.
impl std::fmt::Debug for Value {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => formatter.write_str("None"),
            Self::Bool(value) => write!(formatter, "Bool({value})"),
            Self::Int(value) => write!(formatter, "Int({value})"),
            Self::Float(value) => write!(formatter, "Float({value})"),
            Self::Str(text, _) => write!(formatter, "Str({} bytes)", text.len()),
            Self::List(items) => formatter.debug_tuple("List").field(items).finish(),
            Self::Tuple(items) => formatter.debug_tuple("Tuple").field(items).finish(),
            Self::Dict(entries) => formatter.debug_tuple("Dict").field(entries).finish(),
            Self::Undefined(name) => write!(formatter, "Undefined({name})"),
        }
    }
}

/// Equal by type and content: `1` and `True` are two values here (Python's `==` is [`Value::equals`]).
impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::None, Self::None) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::Float(a), Self::Float(b)) => a == b || (a.is_nan() && b.is_nan()),
            (Self::Str(a, _), Self::Str(b, _)) => a == b,
            (Self::List(a), Self::List(b)) | (Self::Tuple(a), Self::Tuple(b)) => a == b,
            (Self::Dict(a), Self::Dict(b)) => a == b,
            (Self::Undefined(_), Self::Undefined(_)) => true,
            _ => false,
        }
    }
}

impl Value {
    /// An ordinary str.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Str(Zeroizing::new(text.into()), Marker::Plain)
    }

    /// The text of a str.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Str(text, _) => Some(text),
            _ => None,
        }
    }

    /// Python's name of the type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::None => "NoneType",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Str(..) => "str",
            Self::List(_) => "list",
            Self::Tuple(_) => "tuple",
            Self::Dict(_) => "dict",
            Self::Undefined(_) => "Undefined",
        }
    }

    /// Python's truth.
    pub fn is_true(&self) -> bool {
        match self {
            Self::None | Self::Undefined(_) => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Str(text, _) => !text.is_empty(),
            Self::List(items) | Self::Tuple(items) => !items.is_empty(),
            Self::Dict(entries) => !entries.is_empty(),
        }
    }

    /// Python's `str()`.
    ///
    /// # Errors
    /// A repr that we do not know for certain.
    pub fn shown(&self) -> Result<String, JinjaError> {
        match self {
            Self::Str(text, _) => Ok(text.to_string()),
            Self::Undefined(_) => Ok(String::new()),
            other => other.repr(),
        }
    }

    /// Python's `repr()`.
    ///
    /// # Errors
    /// A text with characters of which we do not know how it shows them.
    pub fn repr(&self) -> Result<String, JinjaError> {
        let joined = |items: &[Value]| -> Result<String, JinjaError> {
            Ok(items
                .iter()
                .map(Value::repr)
                .collect::<Result<Vec<_>, _>>()?
                .join(", "))
        };
        Ok(match self {
            Self::None => "None".to_owned(),
            Self::Bool(true) => "True".to_owned(),
            Self::Bool(false) => "False".to_owned(),
            Self::Int(value) => value.to_string(),
            Self::Float(value) => float_repr(*value),
            Self::Str(text, _) => str_repr(text)?,
            Self::List(items) => format!("[{}]", joined(items)?),
            Self::Tuple(items) if items.len() == 1 => format!("({},)", items[0].repr()?),
            Self::Tuple(items) => format!("({})", joined(items)?),
            Self::Dict(entries) => {
                let mut shown = Vec::new();
                for (key, value) in entries {
                    shown.push(format!("{}: {}", key.repr()?, value.repr()?));
                }
                format!("{{{}}}", shown.join(", "))
            }
            Self::Undefined(_) => "Undefined".to_owned(),
        })
    }

    /// Python's `==`.
    ///
    /// # Errors
    /// A comparison that we do not know for certain.
    pub fn equals(&self, other: &Self) -> Result<bool, JinjaError> {
        Ok(match (self, other) {
            (Self::None, Self::None) | (Self::Undefined(_), Self::Undefined(_)) => true,
            (Self::Str(a, _), Self::Str(b, _)) => a == b,
            (Self::List(a), Self::List(b)) | (Self::Tuple(a), Self::Tuple(b)) => {
                if a.len() != b.len() {
                    return Ok(false);
                }
                for (a, b) in a.iter().zip(b) {
                    if !a.equals(b)? {
                        return Ok(false);
                    }
                }
                true
            }
            (Self::Dict(_), Self::Dict(_)) => {
                return Err(JinjaError::uncertain("a comparison of mappings"));
            }
            (a, b) => match (a.number(), b.number()) {
                (Some(a), Some(b)) => a.compare(b)? == Some(std::cmp::Ordering::Equal),
                _ => false,
            },
        })
    }

    /// Python's ordering, where there is one.
    ///
    /// # Errors
    /// Types that Python does not order, or an order that we do not know for certain.
    pub fn order(&self, other: &Self) -> Result<Option<std::cmp::Ordering>, JinjaError> {
        if let (Some(a), Some(b)) = (self.number(), other.number()) {
            return a.compare(b);
        }
        match (self, other) {
            (Self::Str(a, _), Self::Str(b, _)) => Ok(Some(a.chars().cmp(b.chars()))),
            (Self::Undefined(name), _) | (_, Self::Undefined(name)) => Err(undefined(name)),
            (Self::List(_), Self::List(_)) | (Self::Tuple(_), Self::Tuple(_)) => {
                Err(JinjaError::uncertain("an ordering of lists"))
            }
            (a, b) => Err(JinjaError::failed(format!(
                "'<' not supported between instances of '{}' and '{}'",
                a.type_name(),
                b.type_name()
            ))),
        }
    }

    /// The number that Python counts with: a bool is one too.
    pub(super) fn number(&self) -> Option<Number> {
        match self {
            Self::Bool(value) => Some(Number::Int(i128::from(*value))),
            Self::Int(value) => Some(Number::Int(*value)),
            Self::Float(value) => Some(Number::Float(*value)),
            _ => None,
        }
    }
}

/// An int or a float.
#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    Int(i128),
    Float(f64),
}

/// Ints up to here are exact as floats.
const EXACT: i128 = 1 << 53;

impl Number {
    /// Python compares an int with a float exactly; where a float could not hold the int we do not judge.
    fn compare(self, other: Self) -> Result<Option<std::cmp::Ordering>, JinjaError> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Ok(Some(a.cmp(&b))),
            (a, b) => Ok(a.float()?.partial_cmp(&b.float()?)),
        }
    }

    /// The number as a float, where that is exact.
    pub(super) fn float(self) -> Result<f64, JinjaError> {
        match self {
            Self::Float(value) => Ok(value),
            Self::Int(value) if (-EXACT..=EXACT).contains(&value) => {
                // Within 2^53 every int is a float.
                #[expect(clippy::cast_precision_loss, reason = "exact within 2^53")]
                Ok(value as f64)
            }
            Self::Int(_) => Err(JinjaError::uncertain("a very large number with a float")),
        }
    }
}

/// What Jinja says of a name that is not there.
pub(super) fn undefined(name: &str) -> JinjaError {
    JinjaError::failed(format!("'{name}' is undefined"))
}

/// Python's repr of a float: the shortest digits that give it back, with an exponent below 1e-4 and from 1e16 on.
fn float_repr(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if value != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let plain = format!("{value}");
    if plain.contains('.') {
        plain
    } else {
        format!("{plain}.0")
    }
}

/// Python's repr of a str. Beyond ASCII it depends on Unicode's tables of printable characters, which we do not carry.
fn str_repr(text: &str) -> Result<String, JinjaError> {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    let mut shown = String::from(quote);
    for character in text.chars() {
        match character {
            '\\' => shown.push_str("\\\\"),
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            other if other == quote => shown.extend(['\\', other]),
            ' '..='~' => shown.push(character),
            '\0'..='\x1f' | '\x7f' => shown.push_str(&format!("\\x{:02x}", u32::from(character))),
            'À'..='ÿ' => shown.push(character),
            _ => {
                return Err(JinjaError::uncertain(
                    "a list with characters beyond Latin-1",
                ));
            }
        }
    }
    shown.push(quote);
    Ok(shown)
}

#[cfg(test)]
mod tests {
    use super::{Value, float_repr};

    #[test]
    fn floats_print_as_python_prints_them() {
        for (value, shown) in [
            (1.0, "1.0"),
            (0.1, "0.1"),
            (1e16, "1e+16"),
            (1e15, "1000000000000000.0"),
            (1.5e-7, "1.5e-07"),
            (0.0001, "0.0001"),
            (-0.0, "-0.0"),
            (123_456.789, "123456.789"),
        ] {
            assert_eq!(float_repr(value), shown);
        }
    }

    #[test]
    fn lists_print_as_python_prints_them() {
        let value = Value::List(vec![
            Value::text("a'b"),
            Value::Tuple(vec![Value::Int(1)]),
            Value::None,
        ]);
        assert_eq!(value.shown().as_deref(), Ok("[\"a'b\", (1,), None]"));
    }

    #[test]
    fn debug_does_not_show_a_text() {
        assert!(!format!("{:?}", Value::text("hunter2")).contains("hunter2"));
    }
}

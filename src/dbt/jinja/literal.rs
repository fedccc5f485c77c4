//! Python's `ast.literal_eval`, as far as it is certain: what dbt's `as_native`, `as_number` and `as_bool` do.
#![forbid(unsafe_code)]

use super::{JinjaError, Value};

/// Longer texts could meet Python's own limits.
const LONGEST: usize = 1000;

/// The value of a literal; `None` where Python says that it is none, and dbt keeps the text.
pub(super) fn evaluate(text: &str) -> Result<Option<Value>, JinjaError> {
    let uncertain = || JinjaError::uncertain("a conversion of an unusual text");
    if text.len() > LONGEST || text.contains(['\n', '\r', '\x0c', '\0', '#', '\\']) {
        return Err(uncertain());
    }
    let text = text.trim_matches([' ', '\t']);
    let Some(first) = text.chars().next() else {
        return Ok(None);
    };
    if first.is_ascii_alphabetic() || first == '_' {
        let end = text
            .find(|c: char| !(c.is_alphanumeric() || c == '_'))
            .unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        return match (word, rest) {
            ("True", "") => Ok(Some(Value::Bool(true))),
            ("False", "") => Ok(Some(Value::Bool(false))),
            ("None", "") => Ok(Some(Value::None)),
            ("True" | "False" | "None" | "set", _) => Err(uncertain()),
            // A prefix of a string: r'', b'', f''.
            (_, rest) if rest.starts_with(['\'', '"']) => Err(uncertain()),
            // A name, or an expression that begins with one: never a literal.
            _ => Ok(None),
        };
    }
    let digits_and = |others: &[char]| {
        text.chars()
            .all(|c| c.is_ascii_digit() || others.contains(&c))
    };
    // An address or version, a date, a time, a number with a leading zero: tokens that make no literal.
    let dots = text.matches('.').count();
    if digits_and(&['.']) && dots >= 2 && text != "..." {
        return Ok(None);
    }
    if digits_and(&['-'])
        && first != '-'
        && text.contains('-')
        && !text.ends_with('-')
        && !text.contains("--")
    {
        return Ok(None);
    }
    if digits_and(&[':']) && text.contains(':') && first != ':' {
        return Ok(None);
    }
    if digits_and(&[]) && first == '0' && text.bytes().any(|byte| byte != b'0') {
        return Ok(None);
    }
    let mut reader = Reader { rest: text };
    match reader.value(0) {
        Some(value) if reader.rest.is_empty() => Ok(Some(value)),
        _ => Err(uncertain()),
    }
}

/// A reader of the plain forms of Python's literals; anything else ends it.
struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    fn take(&mut self, mark: char) -> bool {
        self.skip_blanks();
        match self.rest.strip_prefix(mark) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > 20 {
            return None;
        }
        self.skip_blanks();
        match self.rest.chars().next()? {
            quote @ ('\'' | '"') => {
                let (text, rest) = self.rest[1..].split_once(quote)?;
                // An empty text may be the beginning of a triple quote; another string right after is joined to it.
                if rest
                    .trim_start_matches([' ', '\t'])
                    .starts_with(['\'', '"'])
                {
                    return None;
                }
                self.rest = rest;
                Some(Value::text(text))
            }
            '[' => {
                self.rest = &self.rest[1..];
                self.items(']', depth).map(|(items, _)| Value::List(items))
            }
            '(' => {
                self.rest = &self.rest[1..];
                let (mut items, comma) = self.items(')', depth)?;
                Some(if items.len() == 1 && !comma {
                    items.remove(0)
                } else {
                    Value::Tuple(items)
                })
            }
            '{' => {
                self.rest = &self.rest[1..];
                let mut entries: Vec<(Value, Value)> = Vec::new();
                while !self.take('}') {
                    if !entries.is_empty() {
                        self.take(',').then_some(())?;
                        if self.take('}') {
                            break;
                        }
                    }
                    let key = self.value(depth + 1)?;
                    let Value::Str(..) = key else { return None };
                    self.take(':').then_some(())?;
                    let value = self.value(depth + 1)?;
                    if entries.iter().any(|(known, _)| *known == key) {
                        return None;
                    }
                    entries.push((key, value));
                }
                Some(Value::Dict(entries))
            }
            '-' | '+' | '.' | '0'..='9' => self.number(),
            _ => {
                for (word, value) in [
                    ("True", Value::Bool(true)),
                    ("False", Value::Bool(false)),
                    ("None", Value::None),
                ] {
                    if let Some(rest) = self.rest.strip_prefix(word)
                        && !rest.starts_with(|c: char| {
                            c.is_alphanumeric() || c == '_' || c == '\'' || c == '"'
                        })
                    {
                        self.rest = rest;
                        return Some(value);
                    }
                }
                None
            }
        }
    }

    /// The items up to a closing mark, and whether a comma stood at the end.
    fn items(&mut self, close: char, depth: usize) -> Option<(Vec<Value>, bool)> {
        let mut items = Vec::new();
        loop {
            if self.take(close) {
                return Some((items, false));
            }
            if !items.is_empty() {
                self.take(',').then_some(())?;
                if self.take(close) {
                    return Some((items, true));
                }
            }
            items.push(self.value(depth + 1)?);
        }
    }

    fn number(&mut self) -> Option<Value> {
        let (negative, unsigned) = match self.rest.strip_prefix(['-', '+']) {
            Some(rest) => (
                self.rest.starts_with('-'),
                rest.trim_start_matches([' ', '\t']),
            ),
            None => (false, self.rest),
        };
        let end = number_end(unsigned);
        let (written, rest) = unsigned.split_at(end);
        if rest.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '\'' | '"')) {
            return None;
        }
        let plain = written.replace('_', "");
        if written.contains('_')
            && !written.split('_').all(|part| {
                part.starts_with(|c: char| c.is_ascii_hexdigit())
                    && part.ends_with(|c: char| c.is_ascii_hexdigit())
            })
        {
            return None;
        }
        let lower = plain.to_ascii_lowercase();
        let radix = [("0x", 16), ("0o", 8), ("0b", 2)];
        let value = if let Some((digits, base)) = radix
            .iter()
            .find_map(|(prefix, base)| Some((lower.strip_prefix(prefix)?, *base)))
        {
            Value::Int(i128::from_str_radix(digits, base).ok()?)
        } else if plain.bytes().all(|byte| byte.is_ascii_digit()) {
            if plain.len() > 1 && plain.starts_with('0') && plain.bytes().any(|byte| byte != b'0') {
                return None;
            }
            Value::Int(plain.parse().ok()?)
        } else {
            Value::Float(plain.parse().ok()?)
        };
        self.rest = rest;
        Some(match value {
            Value::Int(number) if negative => Value::Int(-number),
            Value::Float(number) if negative => Value::Float(-number),
            other => other,
        })
    }
}

/// Where a number ends: digits of any base, a fraction, an exponent with its sign.
fn number_end(text: &str) -> usize {
    let hex = text.len() > 1 && text.is_char_boundary(2) && text[..2].eq_ignore_ascii_case("0x");
    let mut before = ' ';
    for (at, character) in text.char_indices() {
        let part = character.is_ascii_digit()
            || character == '_'
            || (hex && (at == 1 || character.is_ascii_hexdigit()))
            || (!hex
                && (character == '.'
                    || matches!(character, 'e' | 'E' | 'o' | 'O' | 'b' | 'B' if at > 0)))
            || (!hex && matches!(character, '+' | '-') && matches!(before, 'e' | 'E'));
        if !part {
            return at;
        }
        before = character;
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::{Value, evaluate};

    #[test]
    fn literals_are_python_s() {
        for (text, expected) in [
            ("5432", Some(Value::Int(5432))),
            (" 5", Some(Value::Int(5))),
            ("(5)", Some(Value::Int(5))),
            ("-5", Some(Value::Int(-5))),
            ("0x1F", Some(Value::Int(31))),
            ("1_000", Some(Value::Int(1000))),
            ("1e3", Some(Value::Float(1000.0))),
            (".5", Some(Value::Float(0.5))),
            ("True", Some(Value::Bool(true))),
            (
                "[1, 'a']",
                Some(Value::List(vec![Value::Int(1), Value::text("a")])),
            ),
            ("(1,)", Some(Value::Tuple(vec![Value::Int(1)]))),
            ("0123", None),
            ("true", None),
            ("dev", None),
            ("10.0.0.1", None),
            ("2024-01-01", None),
            ("", None),
        ] {
            assert_eq!(evaluate(text), Ok(expected), "{text}");
        }
        for text in [
            "5 ;",
            "1__0",
            "1j",
            "''",
            "b'x'",
            "5 5",
            "set()",
            "'a' 'b'",
            "1.e",
            "1if x else y",
        ] {
            let found = evaluate(text);
            assert!(found.is_err() || text == "''", "{text}: {found:?}");
        }
    }
}

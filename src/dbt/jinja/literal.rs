//! Python's `ast.literal_eval`, as far as it is certain: what dbt's `as_native`, `as_number` and `as_bool` do.
#![forbid(unsafe_code)]

use super::{JinjaError, Value};

/// Longer texts could meet Python's own limits.
const LONGEST: usize = 20_000;

/// So many operators in a row could, too.
const MOST_SIGNS: usize = 200;

/// The value of a literal; `None` where Python says that it is none, and dbt keeps the text.
pub(super) fn evaluate(text: &str) -> Result<Option<Value>, JinjaError> {
    let uncertain = || JinjaError::uncertain("a conversion of an unusual text");
    if text.len() > LONGEST {
        return Err(uncertain());
    }
    let text = text.trim_start_matches([' ', '\t']);
    let Some(first) = text.chars().next() else {
        return Ok(None);
    };
    if first.is_ascii_alphabetic() || first == '_' {
        let end = word_end(text);
        let (word, rest) = text.split_at(end);
        let signs = rest.chars().filter(|c| !c.is_alphanumeric()).count();
        return match (word, rest.trim_end_matches([' ', '\t'])) {
            ("True", "") => Ok(Some(Value::Bool(true))),
            ("False", "") => Ok(Some(Value::Bool(false))),
            ("None", "") => Ok(Some(Value::None)),
            ("True" | "False" | "None" | "set", _) => Err(uncertain()),
            // A prefix of a string: r'', b'', f''.
            (_, rest) if rest.starts_with(['\'', '"']) || signs > MOST_SIGNS => Err(uncertain()),
            // A name, or an expression that begins with one: never a literal.
            _ => Ok(None),
        };
    }
    let text = text.trim_end_matches([' ', '\t']);
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
        Ok(value) if reader.rest.is_empty() => Ok(Some(value)),
        Err(Unread::Never) => Ok(None),
        Ok(_) | Err(Unread::Unsure) => Err(uncertain()),
    }
}

/// Where a word ends that begins here.
fn word_end(text: &str) -> usize {
    text.find(|c: char| !(c.is_alphanumeric() || c == '_'))
        .unwrap_or(text.len())
}

/// Why there is no value.
enum Unread {
    /// Python refuses it too, whatever follows.
    Never,
    /// It is not one of the plain forms.
    Unsure,
}

/// A reader of the plain forms of Python's literals; anything else ends it.
struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    /// Within brackets a line feed is white space too.
    fn skip_blanks(&mut self, depth: usize) {
        self.rest = if depth > 0 {
            self.rest.trim_start_matches([' ', '\t', '\n'])
        } else {
            self.rest.trim_start_matches([' ', '\t'])
        };
    }

    fn take(&mut self, mark: char, depth: usize) -> bool {
        self.skip_blanks(depth);
        match self.rest.strip_prefix(mark) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, mark: char, depth: usize) -> Result<(), Unread> {
        if self.take(mark, depth) {
            Ok(())
        } else {
            Err(Unread::Unsure)
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, Unread> {
        if depth > 20 {
            return Err(Unread::Unsure);
        }
        self.skip_blanks(depth);
        match self.rest.chars().next().ok_or(Unread::Unsure)? {
            quote @ ('\'' | '"') => self.string(quote, depth),
            '[' => {
                self.rest = &self.rest[1..];
                self.items(']', depth + 1)
                    .map(|(items, _)| Value::List(items))
            }
            '(' => {
                self.rest = &self.rest[1..];
                let (mut items, comma) = self.items(')', depth + 1)?;
                Ok(if items.len() == 1 && !comma {
                    items.remove(0)
                } else {
                    Value::Tuple(items)
                })
            }
            '{' => {
                self.rest = &self.rest[1..];
                self.entries(depth + 1)
            }
            '-' | '+' | '.' | '0'..='9' => self.number().ok_or(Unread::Unsure),
            first if first.is_ascii_alphabetic() || first == '_' => self.word(),
            _ => Err(Unread::Unsure),
        }
    }

    fn word(&mut self) -> Result<Value, Unread> {
        let (word, rest) = self.rest.split_at(word_end(self.rest));
        if rest.starts_with(['\'', '"']) {
            return Err(Unread::Unsure);
        }
        let value = match word {
            "True" => Value::Bool(true),
            "False" => Value::Bool(false),
            "None" => Value::None,
            "set" => return Err(Unread::Unsure),
            // `true`, `null`: a name, with which it is no literal, or no Python at all.
            _ => return Err(Unread::Never),
        };
        self.rest = rest;
        Ok(value)
    }

    fn string(&mut self, quote: char, depth: usize) -> Result<Value, Unread> {
        let mut text = String::new();
        let mut characters = self.rest.char_indices().skip(1);
        loop {
            let (at, character) = characters.next().ok_or(Unread::Unsure)?;
            match character {
                _ if character == quote => {
                    self.rest = &self.rest[at + 1..];
                    break;
                }
                '\n' | '\r' | '\0' | '\x0c' => return Err(Unread::Unsure),
                '\\' => match characters.next().ok_or(Unread::Unsure)?.1 {
                    escaped @ ('\\' | '\'' | '"') => text.push(escaped),
                    'n' => text.push('\n'),
                    't' => text.push('\t'),
                    'r' => text.push('\r'),
                    _ => return Err(Unread::Unsure),
                },
                _ => text.push(character),
            }
        }
        // An empty text may be the beginning of a triple quote; another string right after is joined to it.
        self.skip_blanks(depth);
        if self.rest.starts_with(['\'', '"']) {
            return Err(Unread::Unsure);
        }
        Ok(Value::text(text))
    }

    fn entries(&mut self, depth: usize) -> Result<Value, Unread> {
        let mut entries: Vec<(Value, Value)> = Vec::new();
        while !self.take('}', depth) {
            if !entries.is_empty() {
                self.expect(',', depth)?;
                if self.take('}', depth) {
                    break;
                }
            }
            let key = self.value(depth)?;
            self.expect(':', depth)?;
            let value = self.value(depth)?;
            if !matches!(key, Value::Str(..)) || entries.iter().any(|(known, _)| *known == key) {
                return Err(Unread::Unsure);
            }
            entries.push((key, value));
        }
        Ok(Value::Dict(entries))
    }

    /// The items up to a closing mark, and whether a comma stood at the end.
    fn items(&mut self, close: char, depth: usize) -> Result<(Vec<Value>, bool), Unread> {
        let mut items = Vec::new();
        loop {
            if self.take(close, depth) {
                return Ok((items, false));
            }
            if !items.is_empty() {
                self.expect(',', depth)?;
                if self.take(close, depth) {
                    return Ok((items, true));
                }
            }
            items.push(self.value(depth)?);
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

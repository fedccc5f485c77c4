//! The values that must not stand in a file, in the forms in which programs write them.
#![forbid(unsafe_code)]

use base64::Engine;
use base64::engine::general_purpose::{GeneralPurpose, STANDARD, URL_SAFE};
use zeroize::Zeroizing;

use crate::render::secret_keys::is_masked;
use crate::vault::fields::{Field, Fields};
use crate::vault::secret::Lent;

/// Shorter values are not looked for: they would be found by chance.
const SHORTEST: usize = 8;
/// From here on a value is taken for random whatever its letters are.
const LONG: usize = 16;

/// One value in one form.
pub struct Needle {
    /// Whose value it is: `warehouse.password`.
    pub of: String,
    /// The form, for people: `as it is`, `in base64`, …
    pub form: &'static str,
    /// The bytes; wiped when dropped.
    pub bytes: Zeroizing<Vec<u8>>,
}

/// No value.
impl std::fmt::Debug for Needle {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Needle({}, {})", self.of, self.form)
    }
}

/// The values of password-like fields of what was lent, in all forms.
///
/// Left out is what would be found by chance: short values, plain words, and what is also the value of a field that is no secret.
pub fn needles(lent: &[Lent]) -> Vec<Needle> {
    let mut needles = Vec::new();
    for secret in lent {
        let mut values = Values::default();
        values.collect(&secret.fields, &secret.name, false);
        for (of, value) in &values.secret {
            if is_distinct(value) && !values.public.contains(value) {
                add_forms(of, value, &mut needles);
            }
        }
    }
    needles
}

#[derive(Default)]
struct Values {
    secret: Vec<(String, Zeroizing<String>)>,
    public: Vec<Zeroizing<String>>,
}

impl Values {
    fn collect(&mut self, fields: &Fields, path: &str, inherited: bool) {
        for (name, field) in fields.iter() {
            let is_secret = inherited || is_secret_name(name);
            self.value(field, &format!("{path}.{name}"), is_secret);
        }
    }

    fn value(&mut self, field: &Field, path: &str, is_secret: bool) {
        match field {
            Field::Map(fields) => self.collect(fields, path, is_secret),
            Field::List(items) => {
                for item in items {
                    self.value(item, path, is_secret);
                }
            }
            Field::Text(text) => {
                let value = Zeroizing::new(text.expose().to_owned());
                if is_secret {
                    self.secret.push((path.to_owned(), value));
                } else {
                    self.public.push(value);
                }
            }
            Field::Null | Field::Bool(_) | Field::Number(_) => {}
        }
    }
}

/// `key_id` and `private_key_type` only tell of one.
fn is_secret_name(name: &str) -> bool {
    let telling = ["_id", "_type", "_name", "_ttl", "_period", "_version"];
    is_masked(name) && !telling.iter().any(|end| name.to_lowercase().ends_with(end))
}

/// Whether finding it can be no chance: a plain word may stand anywhere.
fn is_distinct(value: &str) -> bool {
    let classes = [
        value.bytes().any(|byte| byte.is_ascii_lowercase()),
        value.bytes().any(|byte| byte.is_ascii_uppercase()),
        value.bytes().any(|byte| byte.is_ascii_digit()),
        value.bytes().any(|byte| !byte.is_ascii_alphanumeric()),
    ];
    let kinds = classes.into_iter().filter(|there| *there).count();
    value.len() >= SHORTEST && (value.len() >= LONG || kinds > 1)
}

fn add_forms(of: &str, value: &str, needles: &mut Vec<Needle>) {
    let first = needles.len();
    let mut add = |form, bytes: Zeroizing<Vec<u8>>| {
        let known = needles[first..].iter().any(|known| known.bytes == bytes);
        if bytes.len() >= SHORTEST && !known {
            let of = of.to_owned();
            needles.push(Needle { of, form, bytes });
        }
    };
    add("as it is", Zeroizing::new(value.as_bytes().to_vec()));
    // A key in PEM may be indented or cut into lines of a log: one line from its middle tells it.
    let lines: Vec<&str> = value.lines().filter(|line| line.len() >= 40).collect();
    if lines.len() > 1 {
        add(
            "one line of it",
            Zeroizing::new(lines[lines.len() / 2].as_bytes().to_vec()),
        );
    }
    for offset in 0..3 {
        for alphabet in [&STANDARD, &URL_SAFE] {
            add(
                "in base64",
                base64_inside(value.as_bytes(), offset, alphabet),
            );
        }
    }
    for kept in ["", "/", "/:", "!*'()"] {
        for upper in [true, false] {
            for plus in [false, true] {
                add("URL-encoded", percent(value, kept, upper, plus));
            }
        }
    }
    for (ascii, slash, quote) in [
        (false, false, false),
        (true, false, false),
        (false, true, false),
        (true, true, false),
        // Python's repr of a text with both kinds of quotes.
        (false, false, true),
    ] {
        add("as JSON writes it", escaped(value, ascii, slash, quote));
    }
}

/// The digits of base64 that stand for these bytes alone, where they begin at this offset (0, 1, 2) of a group of three.
fn base64_inside(bytes: &[u8], offset: usize, alphabet: &GeneralPurpose) -> Zeroizing<Vec<u8>> {
    let whole = &bytes[(3 - offset) % 3..];
    Zeroizing::new(alphabet.encode(&whole[..whole.len() / 3 * 3]).into_bytes())
}

/// Percent-encoding: letters, digits, `-._~` and what is `kept` stand as they are.
fn percent(value: &str, kept: &str, upper: bool, plus: bool) -> Zeroizing<Vec<u8>> {
    let digits: &[u8; 16] = if upper {
        b"0123456789ABCDEF"
    } else {
        b"0123456789abcdef"
    };
    let mut text = Zeroizing::new(Vec::with_capacity(value.len() * 3));
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric()
            || b"-._~".contains(&byte)
            || kept.as_bytes().contains(&byte)
        {
            text.push(byte);
        } else if byte == b' ' && plus {
            text.push(b'+');
        } else {
            text.extend([
                b'%',
                digits[usize::from(byte >> 4)],
                digits[usize::from(byte & 15)],
            ]);
        }
    }
    text
}

/// A JSON string's inside: with `ascii` as Python writes it, with `slash` as PHP does; with `quote` also `'`.
fn escaped(value: &str, ascii: bool, slash: bool, quote: bool) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(String::with_capacity(value.len() * 6));
    for character in value.chars() {
        match character {
            '"' if quote => text.push('"'),
            '"' => text.push_str("\\\""),
            '\'' if quote => text.push_str("\\'"),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            '/' if slash => text.push_str("\\/"),
            character if u32::from(character) < 32 => {
                unit(&mut text, u16::try_from(u32::from(character)).unwrap_or(0))
            }
            character if ascii && !character.is_ascii() => {
                for code in character.encode_utf16(&mut [0; 2]) {
                    unit(&mut text, *code);
                }
            }
            character => text.push(character),
        }
    }
    Zeroizing::new(text.as_bytes().to_vec())
}

fn unit(text: &mut String, code: u16) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    text.push_str("\\u");
    for shift in [12, 8, 4, 0] {
        text.push(char::from(DIGITS[usize::from(code >> shift & 15)]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lent(data: &str) -> Lent {
        Lent {
            ends: None,
            name: "shop".to_owned(),
            path: "kv/shop".to_owned(),
            fields: serde_json::from_str(data).expect("fields"),
            lease: None,
            request_id: None,
            warnings: Vec::new(),
            rotates_in: None,
        }
    }

    fn finds(needles: &[Needle], text: &str) -> Option<&'static str> {
        needles
            .iter()
            .find(|needle| memchr::memmem::find(text.as_bytes(), &needle.bytes).is_some())
            .map(|needle| needle.form)
    }

    #[test]
    fn a_value_is_found_in_every_form_in_which_programs_write_it() {
        let needles = needles(&[lent(r#"{"password": "s3cret/+ \"é-value\\"}"#)]);
        for (text, form) in [
            ("a s3cret/+ \"é-value\\ b", "as it is"),
            // Python: base64.b64encode(before + value), for nought to two letters before.
            ("czNjcmV0LysgIsOpLXZhbHVlXA==", "in base64"),
            ("eHMzY3JldC8rICLDqS12YWx1ZVw=", "in base64"),
            ("eDpzM2NyZXQvKyAiw6ktdmFsdWVc", "in base64"),
            // urllib.parse.quote(value), quote_plus(value), and a lower-case encoder.
            ("x?p=s3cret/%2B%20%22%C3%A9-value%5C", "URL-encoded"),
            ("p=s3cret%2F%2B+%22%C3%A9-value%5C", "URL-encoded"),
            ("p=s3cret%2f%2b%20%22%c3%a9-value%5c", "URL-encoded"),
            (r#"{"p": "s3cret/+ \"é-value\\"}"#, "as JSON writes it"),
            (r#"{"p": "s3cret/+ \"\u00e9-value\\"}"#, "as JSON writes it"),
            (r#"{"p": "s3cret\/+ \"é-value\\"}"#, "as JSON writes it"),
        ] {
            assert_eq!(finds(&needles, text), Some(form), "{text}");
        }
        assert_eq!(finds(&needles, "s3cret/+ value"), None);
    }

    #[test]
    fn password_like_fields_are_looked_for_and_others_are_not() {
        let needles = needles(&[lent(
            r#"{"username": "v-approle-dbt-12", "password": "correct-horse-1", "port": 5432, "key_id": "0123456789-abcdef",
                "deep": {"api_token": ["first-token-0", "second-token"]}, "secrets": {"x": "inherited-1"}}"#,
        )]);
        let mut of: Vec<&str> = needles.iter().map(|needle| needle.of.as_str()).collect();
        of.dedup();
        assert_eq!(
            of,
            ["shop.password", "shop.deep.api_token", "shop.secrets.x"]
        );
    }

    #[test]
    fn what_would_be_found_by_chance_is_not_looked_for() {
        for data in [
            r#"{"password": "short-1"}"#,
            r#"{"password": "analytics"}"#,
            r#"{"user": "dbt-user-1", "password": "dbt-user-1"}"#,
        ] {
            assert!(needles(&[lent(data)]).is_empty(), "{data}");
        }
        assert!(!needles(&[lent(r#"{"password": "analyticsanalytics"}"#)]).is_empty());
    }

    #[test]
    fn a_key_is_found_by_one_line_of_it() {
        let line = |letter: char| letter.to_string().repeat(64);
        let key = format!(
            "-----BEGIN PRIVATE KEY-----\\n{}\\n{}\\n{}\\n-----END PRIVATE KEY-----\\n",
            line('a'),
            line('b'),
            line('c')
        );
        let needles = needles(&[lent(&format!(r#"{{"private_key": "{key}"}}"#))]);
        assert_eq!(
            finds(&needles, &format!("    {}\n", line('b'))),
            Some("one line of it")
        );
    }

    #[test]
    fn debug_shows_no_value() {
        let shown = format!(
            "{:?}",
            needles(&[lent(r#"{"password": "correct-horse-1"}"#)])
        );
        assert!(!shown.contains("horse"), "{shown}");
    }
}

//! The filters of dbt-lease.yml's templates, beside minijinja's own: what Vault's engines wrap their values in, taken off again.
//!
//! | filter | of | gives |
//! | --- | --- | --- |
//! | `b64decode` | base64, standard or URL-safe, padded or not, spaces and newlines passed over | text; bytes where they are no UTF-8 |
//! | `b64encode` | text or bytes | base64, standard, padded, on one line |
//! | `fromjson` | JSON | the value: `(vault.a.b \| fromjson).key`; alone under a key of `fields:` a mapping or list |
//! | `tojson` | any value | JSON on one line, keys sorted, no character replaced |
//! | `toyaml` | any value | YAML in block style, without the last newline |
//! | `pem_to_der` | one PEM block, unencrypted | its bytes |
//! | `der_to_pem("LABEL")` | bytes | PEM with that label, 64 characters a line, with the last newline |
//!
//! Bytes go into another filter; printed, they are an error. What a filter makes is the engine's memory, which our allocator wipes; what
//! it needs on the way is wiped at once. An error says what was expected, never what was there.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose};
use minijinja::{Environment, Error, ErrorKind, Value};
use zeroize::Zeroizing;

use crate::render::secrets::PLACEHOLDER;

/// Their names.
pub(super) const NAMES: [&str; 7] = [
    "b64decode",
    "b64encode",
    "fromjson",
    "tojson",
    "toyaml",
    "pem_to_der",
    "der_to_pem",
];

/// Adds them.
pub(super) fn add_to(environment: &mut Environment<'_>) {
    environment.add_filter("b64decode", |value: &Value| {
        unless_placeholder(value, || {
            let bytes = decoded(text(value, "base64")?)
                .ok_or(Problem("`b64decode` wants base64, and that is none"))?;
            Ok(match std::str::from_utf8(&bytes) {
                Ok(text) => Value::from(text),
                Err(_) => Value::from_bytes(bytes.to_vec()),
            })
        })
    });
    environment.add_filter("b64encode", |value: &Value| {
        unless_placeholder(value, || {
            let bytes = bytes(value, "`b64encode` wants a text or bytes")?;
            Ok(Value::from(&*encoded(bytes)))
        })
    });
    environment.add_filter("fromjson", |value: &Value| {
        let text = text(value, "JSON")?;
        if text == PLACEHOLDER {
            return Ok(Value::from(BTreeMap::from([("placeholder", PLACEHOLDER)])));
        }
        // serde_json's own words quote what they found.
        serde_json::from_str::<Value>(text)
            .map_err(|_| Error::from(Problem("`fromjson` wants JSON, and that is none")))
    });
    environment.add_filter("tojson", |value: &Value| {
        serde_json::to_string(value)
            .map(Value::from)
            .map_err(|_| Error::from(Problem("`tojson` cannot write such a value")))
    });
    environment.add_filter("toyaml", |value: &Value| {
        serde_yaml::to_string(value)
            .map(|text| Value::from(text.trim_end_matches('\n')))
            .map_err(|_| Error::from(Problem("`toyaml` cannot write such a value")))
    });
    environment.add_filter("pem_to_der", |value: &Value| {
        unless_placeholder(value, || {
            Ok(Value::from_bytes(der(text(value, "PEM")?)?.to_vec()))
        })
    });
    environment.add_filter("der_to_pem", |value: &Value, label: &str| {
        unless_placeholder(value, || {
            let bytes = bytes(value, "`der_to_pem` wants bytes, as `b64decode` gives them")?;
            Ok(Value::from(&*pem(bytes, label)?))
        })
    });
}

/// What is wrong with a value, in words that hold none of it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Problem(&'static str);

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self::new(ErrorKind::InvalidOperation, problem.0).with_source(problem)
    }
}

/// Base64 of the JSON of a mapping, as Google's keys come.
pub(super) fn base64_json(text: &str) -> Option<crate::vault::fields::Field> {
    serde_json::from_slice(&decoded(text)?).ok()
}

/// A placeholder goes through as it is.
fn unless_placeholder(
    value: &Value,
    make: impl FnOnce() -> Result<Value, Error>,
) -> Result<Value, Error> {
    if value.as_str() == Some(PLACEHOLDER) {
        return Ok(value.clone());
    }
    make()
}

fn text<'v>(value: &'v Value, what: &'static str) -> Result<&'v str, Problem> {
    value.as_str().ok_or(Problem(match what {
        "PEM" => "`pem_to_der` wants a text",
        "JSON" => "`fromjson` wants a text",
        _ => "`b64decode` wants a text",
    }))
}

fn bytes<'v>(value: &'v Value, wanted: &'static str) -> Result<&'v [u8], Problem> {
    value
        .as_str()
        .map(str::as_bytes)
        .or_else(|| value.as_bytes())
        .ok_or(Problem(wanted))
}

fn decoded(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    const CONFIG: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, CONFIG);
    const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, CONFIG);
    let mut clean = Zeroizing::new(Vec::with_capacity(text.len()));
    clean.extend(text.bytes().filter(|byte| !byte.is_ascii_whitespace()));
    let engine = if clean.iter().any(|byte| b"-_".contains(byte)) {
        URL_SAFE
    } else {
        STANDARD
    };
    // With room for all of it, decoding moves nothing.
    let mut bytes = Zeroizing::new(Vec::with_capacity(clean.len()));
    engine.decode_vec(&*clean, &mut bytes).ok()?;
    Some(bytes)
}

fn encoded(bytes: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(bytes.len() / 3 * 4 + 4));
    general_purpose::STANDARD.encode_string(bytes, &mut text);
    text
}

/// The bytes of the one block of a PEM text.
fn der(text: &str) -> Result<Zeroizing<Vec<u8>>, Problem> {
    const BEGIN: &str = "-----BEGIN ";
    const NONE: Problem = Problem("`pem_to_der` wants a PEM block, and there is none");
    let (_, rest) = text.split_once(BEGIN).ok_or(NONE)?;
    let (label, rest) = rest.split_once("-----").ok_or(NONE)?;
    let (body, rest) = rest
        .split_once(&format!("-----END {label}-----"))
        .ok_or(Problem(
            "`pem_to_der` wants a PEM block, and that one does not end",
        ))?;
    if rest.contains(BEGIN) {
        return Err(Problem(
            "`pem_to_der` wants one PEM block, and there are several",
        ));
    }
    if body.contains(':') {
        return Err(Problem(
            "`pem_to_der` wants a PEM block without headers: is the key encrypted?",
        ));
    }
    decoded(body).ok_or(Problem("`pem_to_der` wants base64 in the PEM block"))
}

fn pem(bytes: &[u8], label: &str) -> Result<Zeroizing<String>, Problem> {
    let is_label = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b' ';
    if label.is_empty() || !label.bytes().all(is_label) {
        return Err(Problem(
            "`der_to_pem` wants a label, for example `der_to_pem(\"PRIVATE KEY\")`",
        ));
    }
    let body = encoded(bytes);
    let mut text = Zeroizing::new(String::with_capacity(
        body.len() + body.len() / 64 + 2 * label.len() + 40,
    ));
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, below) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = below;
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluate(expression: &str, value: impl Into<Value>) -> Result<Value, Error> {
        let mut environment = Environment::new();
        add_to(&mut environment);
        let expression = environment
            .compile_expression(expression)
            .expect("it parses");
        expression.eval(Value::from(BTreeMap::from([("x", value.into())])))
    }

    #[track_caller]
    fn gives(expression: &str, value: impl Into<Value>, expected: impl Into<Value>) {
        let made = evaluate(expression, value).expect(expression);
        assert_eq!(made, expected.into(), "{expression}");
    }

    #[test]
    fn base64_is_read_in_each_of_its_dresses_and_written_in_one() {
        for spelled in ["aGk_aGk-", "aGk/aGk+", "aGk/\n aGk+ "] {
            let bytes = evaluate("x | b64decode", spelled).expect(spelled);
            assert_eq!(bytes.as_bytes(), Some(&b"hi\x3fhi\x3e"[..]), "{spelled}");
        }
        gives("x | b64decode", "aMO8", "hü");
        gives("x | b64decode", "aGVsbG8", "hello");
        gives("x | b64encode", "hello", "aGVsbG8=");
        gives("x | b64encode | b64decode", "line\nü\"'{{", "line\nü\"'{{");
        let binary = evaluate("x | b64decode", "/w==").expect("bytes");
        assert_eq!(binary.as_bytes(), Some(&[0xff][..]));
        gives("x | b64decode | b64encode", "/w==", "/w==");
    }

    #[test]
    fn json_and_yaml_keep_what_they_hold() {
        let json = r#"{"b": [1, 2.5, true, null], "a": {"k": "<&'\u00fc"}}"#;
        gives("(x | fromjson).a.k", json, "<&'ü");
        gives("(x | fromjson).b[1]", json, 2.5);
        gives(
            "x | fromjson | tojson",
            json,
            r#"{"a":{"k":"<&'ü"},"b":[1,2.5,true,null]}"#,
        );
        gives(
            "x | fromjson | toyaml",
            json,
            "a:\n  k: <&'ü\nb:\n- 1\n- 2.5\n- true\n- null",
        );
    }

    #[test]
    fn pem_and_der_are_each_others_way_back() {
        let pem = format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n{}\n-----END PRIVATE KEY-----\n",
            "A".repeat(64),
            "/w=="
        );
        gives(
            "x | pem_to_der | der_to_pem('PRIVATE KEY')",
            pem.as_str(),
            pem.as_str(),
        );
        let one_line = format!("{}/w==", "A".repeat(64));
        gives(
            "x | pem_to_der | b64encode",
            pem.as_str(),
            one_line.as_str(),
        );
        gives(
            "x | b64decode | der_to_pem('PRIVATE KEY')",
            one_line.as_str(),
            pem.as_str(),
        );
        let crlf = pem.replace('\n', "\r\n");
        gives(
            "x | pem_to_der | b64encode",
            crlf.as_str(),
            one_line.as_str(),
        );
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_come_back_through_base64_and_pem(bytes: Vec<u8>) {
            let way = "x | b64encode | b64decode | der_to_pem('DATA') | pem_to_der | b64encode";
            let coded = evaluate("x | b64encode", Value::from_bytes(bytes.clone())).expect("coded");
            proptest::prop_assert_eq!(evaluate(way, Value::from_bytes(bytes)).expect("there and back"), coded);
        }

        #[test]
        fn any_text_is_refused_or_read_and_never_told(text: String) {
            for filter in ["b64decode", "fromjson", "pem_to_der"] {
                if let Err(error) = evaluate(&format!("x | {filter}"), text.as_str()) {
                    let told = std::error::Error::source(&error).expect("a problem").to_string();
                    let said = format!("`{filter}` wants");
                    proptest::prop_assert!(told.starts_with(&said));
                }
            }
        }
    }

    #[test]
    fn a_refusal_says_what_was_expected_and_nothing_of_the_value() {
        for (expression, value, said) in [
            ("x | b64decode", "hunter2!", "`b64decode` wants base64"),
            ("x | fromjson", "hunter2", "`fromjson` wants JSON"),
            ("x | pem_to_der", "hunter2", "there is none"),
            (
                "x | pem_to_der",
                "-----BEGIN A-----\nhunter2",
                "does not end",
            ),
            (
                "x | pem_to_der",
                "-----BEGIN A-----\nAA==\n-----END A-----\n-----BEGIN A-----\nAA==\n-----END A-----",
                "several",
            ),
            (
                "x | pem_to_der",
                "-----BEGIN A-----\nDEK-Info: hunter2\n\nAA==\n-----END A-----",
                "is the key encrypted?",
            ),
            ("x | der_to_pem('a')", "hunter2", "wants a label"),
        ] {
            let error = evaluate(expression, value).expect_err(expression);
            let problem = std::error::Error::source(&error).expect("a problem");
            assert!(problem.to_string().contains(said), "{problem}");
            assert!(!problem.to_string().contains("hunter2"), "{problem}");
        }
    }
}

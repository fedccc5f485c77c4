//! What the user's trust is tied to: a hash of what dbt-lease.yml says.
//!
//! SHA-256 of the values as canonical JSON: sorted keys, no space, UTF-8 as it is. Comments, formatting, anchors and the order
//! of keys do not count; where the file lies does not either, so a checkout elsewhere that says the same has the same hash.
//! For a file of plain values it is what `yq -o json dbt-lease.yml | jq -cjS . | sha256sum` prints.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use serde_yaml::Value;

use crate::crypto;

/// The hash of a document, 64 hexadecimal digits. A document that extends others is hashed as the list of them all, itself first.
pub(super) fn of(root: &Value) -> String {
    let mut text = String::new();
    canonical(root, &mut text);
    crypto::sha256(text.as_bytes())
}

fn canonical(value: &Value, text: &mut String) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(flag) => text.push_str(if *flag { "true" } else { "false" }),
        Value::Number(number) => {
            let number = number.to_string();
            // JSON has no infinity and no NaN.
            if number.contains(['n', 'i']) {
                tagged("float", &Value::String(number), text);
            } else {
                text.push_str(&number);
            }
        }
        Value::String(string) => quoted(string, text),
        Value::Sequence(items) => {
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                canonical(item, text);
            }
            text.push(']');
        }
        Value::Mapping(mapping) => {
            // A key that is no text never gets past the reading of the file; here it only has to be told from one that is.
            let sorted: BTreeMap<String, &Value> = mapping
                .iter()
                .map(|(key, value)| {
                    let mut name = String::new();
                    match key {
                        Value::String(string) => quoted(string, &mut name),
                        other => canonical(other, &mut name),
                    }
                    (name, value)
                })
                .collect();
            text.push('{');
            for (at, (name, value)) in sorted.into_iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                text.push_str(&name);
                text.push(':');
                canonical(value, text);
            }
            text.push('}');
        }
        Value::Tagged(inner) => tagged(&inner.tag.to_string(), &inner.value, text),
    }
}

/// What JSON does not have: its kind stands beside it, so that it is no other value's double.
fn tagged(tag: &str, value: &Value, text: &mut String) {
    text.push_str("{!");
    quoted(tag, text);
    text.push(':');
    canonical(value, text);
    text.push('}');
}

fn quoted(string: &str, text: &mut String) {
    text.push_str(&serde_json::Value::from(string).to_string());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(text: &str) -> String {
        of(&serde_yaml::from_str(text).expect("YAML"))
    }

    #[test]
    fn comments_formatting_and_the_order_of_keys_do_not_count() {
        let one = hash("version: 1\nvault: {address: 'https://v:8200'}\nx: [a, b]\n");
        let other =
            hash("# why\nx:\n  - a\n  - \"b\"\nvault:\n  address: https://v:8200\nversion: 1");
        assert_eq!(one, other);
    }

    #[test]
    fn every_value_counts_with_its_type_and_place() {
        let texts = [
            "a: 1",
            "a: '1'",
            "a: 1.0",
            "a: true",
            "a: 'true'",
            "a: null",
            "a: ''",
            "a: [1]",
            "a: {b: 1}",
            "b: 1",
            "a: .inf",
            "a: '.inf'",
            "a: !t 1",
            "a: [1, 2]",
            "a: [2, 1]",
            "{a: 1, b: 2}",
            "{a: 2, b: 1}",
            "a: {float: .inf}",
        ];
        let hashes: std::collections::BTreeSet<String> =
            texts.iter().map(|text| hash(text)).collect();
        assert_eq!(hashes.len(), texts.len());
    }

    #[test]
    fn it_is_the_sha_256_of_canonical_json() {
        let mut text = String::new();
        canonical(
            &serde_yaml::from_str("{b: [1, 'é\"'], a: {d: null, c: yes please}}").expect("YAML"),
            &mut text,
        );
        assert_eq!(text, r#"{"a":{"c":"yes please","d":null},"b":[1,"é\""]}"#);
        // printf '{"a":1}' | sha256sum
        assert_eq!(
            hash("a: 1"),
            "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"
        );
    }
}

//! The JSON Schema of dbt-lease.yml, for editors and CI. Its keys are those of the tables by which the file is read; what a value may be is
//! said here. A key that nothing is said of takes any value: the schema is never stricter than the tool.
//!
//! What only the whole file tells (targets that stand twice, environments that share a login) is the tool's to say.
#![forbid(unsafe_code)]

use serde_json::{Map, Value, json};

use super::walk::Keys;
use super::{auth, engines, expect, load, server, target};

/// The schema, draft 2020-12.
pub fn schema() -> Value {
    let mut top = object(&load::TOP, &["version"], |key| match key {
        "version" => said(json!({"const": 1}), "The format's version"),
        "extends" => said(
            text(),
            "A dbt-lease.yml that several projects share, from this file's directory",
        ),
        "vault" => said(
            settings(&server::VAULT, &[]),
            "How to reach Vault, for all environments",
        ),
        "environments" => said(
            named("^[A-Za-z0-9._-]+$", &json!({"$ref": "#/$defs/environment"})),
            "Trust zones: one login, its own targets",
        ),
        _ => any(),
    });
    let more = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "dbt-lease.yml",
        // An extended file, or the one that extends it, may leave the rest to the other.
        "anyOf": [{"required": ["environments"]}, {"required": ["extends"]}],
        "$defs": {
            "environment": settings(&server::ENVIRONMENT, &[]),
            "auth": login(),
            "target": target(),
            "secret": secret(),
            "path": {"type": "string", "pattern": "^[A-Za-z0-9._@-]+(/[A-Za-z0-9._@-]+)*$"},
            "duration": {"type": ["string", "integer"], "pattern": "^[0-9]+[smhd]?$", "minimum": 0},
        }
    });
    if let (Some(top), Value::Object(more)) = (top.as_object_mut(), more) {
        top.extend(more);
    }
    top
}

fn settings(keys: &Keys, required: &[&str]) -> Value {
    object(keys, required, |key| match key {
        "protected" => said(
            flag(),
            "Its targets must be named; no root token, no unverified server, nothing that is not on record",
        ),
        "auth" => said(json!({"$ref": "#/$defs/auth"}), "The login"),
        "targets" => said(
            named(".", &json!({"$ref": "#/$defs/target"})),
            "Targets of profiles.yml by name, and what each is lent",
        ),
        "address" => json!({"anyOf": [text(), {"type": "array", "items": text(), "minItems": 1}]}),
        "skip_verify" | "srv_lookup" | "disable_redirects" => flag(),
        "timeout" | "wrap_ttl" | "start_jitter" => json!({"$ref": "#/$defs/duration"}),
        "max_retries" => json!({"type": "integer", "minimum": 0}),
        "rate_limit" => {
            json!({"type": ["integer", "string"], "minimum": 1})
        }
        "headers" => said(
            named(
                "^[^ :]+$",
                &json!({"anyOf": [text(), {"type": "object", "required": ["env"], "properties": {"env": text()}, "additionalProperties": false}]}),
            ),
            "Headers for what stands before Vault: texts, or variables that hold them",
        ),
        "http_proxy" => said(text(), "A proxy for everything, or `none`"),
        "namespace" | "ca_cert" | "ca_path" | "client_cert" | "client_key" | "tls_server_name" => {
            text()
        }
        _ => any(),
    })
}

fn login() -> Value {
    let words = || json!({"type": "array", "items": text(), "minItems": 1});
    let [source, identity] = auth::source_keys();
    let one = |keys: &'static Keys| {
        let mut made = object(keys, &[], |key| match key {
            "command" => words(),
            "from" => json!({"enum": auth::systems()}),
            _ => text(),
        });
        made["minProperties"] = json!(1);
        made["maxProperties"] = json!(1);
        made
    };
    let shapes: Vec<Value> = auth::shapes()
        .into_iter()
        .map(|(method, keys, required)| {
            let required: Vec<&str> = ["method"]
                .into_iter()
                .chain(required.iter().copied())
                .collect();
            object(keys, &required, |key| match (method, key) {
                (_, "method") => json!({"const": method}),
                (_, "mount" | "path") => json!({"$ref": "#/$defs/path"}),
                ("jwt", "token") => said(one(identity), "Where the identity token is, else found"),
                (_, "token" | "password") => {
                    said(one(source), "Where it is: it is never written here")
                }
                (_, "username") => json!({"anyOf": [text(), one(source)]}),
                (_, "command" | "secret_id_command") => words(),
                (_, "keep") => flag(),
                (_, "port") => json!({"type": "integer", "minimum": 1, "maximum": 65535}),
                (_, "mode") => json!({"enum": ["browser", "direct", "device"]}),
                (_, "second_factor") => json!({"enum": ["push", "totp", "google-totp", "none"]}),
                (_, "data") => json!({"type": "object"}),
                _ => text(),
            })
        })
        .collect();
    let methods = auth::shapes().map(|(method, ..)| method);
    json!({
        "type": "object",
        "required": ["method"],
        "properties": {"method": {"enum": methods}},
        "oneOf": shapes
    })
}

fn target() -> Value {
    let long = object(&target::TARGET, &["secrets"], |key| match key {
        "profile" | "target" => text(),
        "secrets" => json!({"anyOf": [
            {"const": "none"},
            {"type": "object", "minProperties": 1, "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
             "additionalProperties": {"$ref": "#/$defs/secret"}}
        ]}),
        "env" => said(
            named("^[A-Za-z_][A-Za-z0-9_]*$", &text()),
            "Variables for the command: templates",
        ),
        "fields" => said(
            named(
                "^[A-Za-z0-9_.-]+$",
                &json!({"anyOf": [text(), object(&target::FIELD, &["file"], |_| text())]}),
            ),
            "Keys of the output: templates, or files that hold what a template makes",
        ),
        "delivery" => json!({"enum": ["file", "env"]}),
        "parse_cache" => said(
            json!({"enum": ["keep", "off"]}),
            "What becomes of dbt's parse cache when the lease brings a new user",
        ),
        "expect" => object(&expect::EXPECT, &[], |key| match key {
            "port" => json!({"type": "integer", "minimum": 1, "maximum": 65535}),
            _ => text(),
        }),
        _ => any(),
    });
    json!({"anyOf": [{"const": "none"}, {"$ref": "#/$defs/path"}, long]})
}

fn secret() -> Value {
    let engines: Vec<&str> = ["kv1", "kv2"].into_iter().chain(engines::names()).collect();
    let long = object(&target::SECRET, &["path"], |key| match key {
        "path" | "mount" => json!({"$ref": "#/$defs/path"}),
        "engine" => json!({"enum": engines}),
        "version" => said(
            json!({"type": "integer", "minimum": 1}),
            "A version of a KV version 2",
        ),
        "data" => said(
            json!({"type": "object"}),
            "What is written: the engine's parameters",
        ),
        "ttl" => json!({"$ref": "#/$defs/duration"}),
        _ => any(),
    });
    json!({"anyOf": [{"$ref": "#/$defs/path"}, long]})
}

/// A mapping with the keys of a table.
fn object(keys: &Keys, required: &[&str], value: impl Fn(&str) -> Value) -> Value {
    let properties: Map<String, Value> = keys
        .known
        .iter()
        .map(|key| ((*key).to_owned(), value(key)))
        .collect();
    let mut made =
        json!({"type": "object", "properties": properties, "additionalProperties": false});
    if !required.is_empty() {
        made["required"] = json!(required);
    }
    made
}

/// A mapping whose keys are names.
fn named(pattern: &str, value: &Value) -> Value {
    json!({"type": "object", "propertyNames": {"pattern": pattern}, "additionalProperties": value})
}

fn said(mut schema: Value, description: &str) -> Value {
    schema["description"] = json!(description);
    schema
}

fn text() -> Value {
    json!({"type": "string"})
}

fn flag() -> Value {
    json!({"type": "boolean"})
}

fn any() -> Value {
    json!({})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_that_the_file_takes_is_in_it_and_no_other() {
        let schema = schema();
        let keys = |schema: &Value| -> Vec<String> {
            schema["properties"]
                .as_object()
                .expect("a mapping")
                .keys()
                .cloned()
                .collect()
        };
        assert_eq!(keys(&schema), load::TOP.known);
        assert_eq!(keys(&schema["properties"]["vault"]), server::VAULT.known);
        let defs = &schema["$defs"];
        assert_eq!(keys(&defs["environment"]), server::ENVIRONMENT.known);
        assert_eq!(keys(&defs["target"]["anyOf"][2]), target::TARGET.known);
        assert_eq!(keys(&defs["secret"]["anyOf"][1]), target::SECRET.known);
        for (at, (method, known, _)) in auth::shapes().into_iter().enumerate() {
            assert_eq!(keys(&defs["auth"]["oneOf"][at]), known.known, "{method}");
        }
    }
}

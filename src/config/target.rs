//! A target: the short form (a path, `none`) and the long one.
#![forbid(unsafe_code)]

use super::error::ConfigError;
use super::walk::{Cursor, Keys, Object, is_variable_name};
use super::{
    Bridge, BridgeName, Delivery, Expect, FieldValue, KvEngine, Lending, Lent, LentSecret,
    Operation, SecretRequest, Target, bridge_name, expect, literal, path, template,
};

const TARGET: Keys = Keys {
    known: &[
        "profile", "target", "secrets", "env", "fields", "delivery", "expect",
    ],
    later: &["ttl", "parse_cache", "keep", "gate"],
    elsewhere: &[
        ("path", IN_A_SECRET),
        ("engine", IN_A_SECRET),
        ("mount", IN_A_SECRET),
        ("data", IN_A_SECRET),
        (
            "auth",
            "a login belongs to the environment, beside `targets`",
        ),
        (
            "protected",
            "an environment is protected, not a target: write it beside `targets`",
        ),
    ],
};
const SECRET: Keys = Keys {
    known: &["path", "engine", "mount", "data", "ttl"],
    later: &["version", "wrap"],
    elsewhere: &[],
};
const IN_A_SECRET: &str = "a secret's keys stand under its name: `secrets: {warehouse: {path: …}}`";
const FIELD: Keys = Keys {
    known: &["file"],
    later: &["mode"],
    elsewhere: &[],
};

/// The secret of the short form.
const SHORT: &str = "warehouse";
const SHAPE: &str = "`none`, a path such as `database/creds/ROLE`, or a mapping with `secrets`";

/// Reads a target.
pub(super) fn read(key: &str, cursor: &Cursor<'_>) -> Result<Target, ConfigError> {
    if key.is_empty() || key.chars().any(char::is_control) {
        return Err(cursor.bad(
            "not a target's name",
            "write the target's name as in profiles.yml",
        ));
    }
    if cursor.is_null() {
        return Err(cursor.wrong(SHAPE));
    }
    if cursor.is_text() {
        let lending = if cursor.text(SHAPE)? == "none" {
            Lending::None
        } else {
            short(cursor)?
        };
        return Ok(Target {
            key: key.to_owned(),
            profile: None,
            target: key.to_owned(),
            lending,
            expect: Expect::default(),
            at: cursor.at(),
        });
    }
    let object = cursor.object(&TARGET, SHAPE)?;
    let (profile, target) = match (object.get("profile"), object.get("target")) {
        (None, None) => (None, key.to_owned()),
        (Some(profile), Some(target)) => (Some(name(profile)?), name(target)?),
        (Some(_), None) => {
            object.need(
                "target",
                "name the profile's target beside it: `{profile: P, target: T, secrets: …}`",
            )?;
            (None, String::new())
        }
        (None, Some(_)) => {
            object.need("profile", "name the profile beside it; a target of the project's own profile is the key itself")?;
            (None, String::new())
        }
    };
    let lending = lending(&object)?;
    let expect = object
        .get("expect")
        .map(|cursor| expect::read(cursor, &lending))
        .transpose()?
        .unwrap_or_default();
    Ok(Target {
        key: key.to_owned(),
        profile,
        target,
        lending,
        expect,
        at: cursor.at(),
    })
}

fn name(cursor: &Cursor<'_>) -> Result<String, ConfigError> {
    let text = cursor.text("a name as in profiles.yml")?;
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(cursor.bad("not a name", "write it as in profiles.yml"));
    }
    Ok(text.to_owned())
}

fn short(cursor: &Cursor<'_>) -> Result<Lending, ConfigError> {
    let (path, shape, engine) = path::request(cursor, None, None)?;
    let request = SecretRequest {
        name: SHORT.to_owned(),
        path,
        operation: Operation::Read,
        shape,
    };
    let secrets = vec![LentSecret {
        request,
        ttl: None,
        engine,
        at: cursor.at(),
    }];
    Ok(Lending::Lent(Lent {
        secrets,
        env: Vec::new(),
        fields: Vec::new(),
        delivery: Delivery::File,
    }))
}

fn lending(target: &Object<'_>) -> Result<Lending, ConfigError> {
    let hint = "write `secrets: {warehouse: database/creds/ROLE}`, or `secrets: none`";
    let secrets = target.need("secrets", hint)?;
    if secrets.is_text() && secrets.text("")? == "none" {
        if let Some(cursor) = target.get("expect") {
            let hint = "remove it: what it guards is the lease";
            return Err(cursor.bad("nothing to guard, since `secrets` is `none`", hint));
        }
        return match ["env", "fields", "delivery"]
            .iter()
            .find_map(|key| target.get(key))
        {
            None => Ok(Lending::None),
            Some(cursor) => {
                Err(cursor.bad("nothing to deliver, since `secrets` is `none`", "remove it"))
            }
        };
    }
    let entries = secrets.entries("a mapping of secrets by name, or `none`")?;
    if entries.is_empty() {
        return Err(secrets.bad("no secret", hint));
    }
    let secrets = entries
        .iter()
        .map(|(name, cursor)| secret(name, cursor))
        .collect::<Result<Vec<_>, _>>()?;
    let names: Vec<&str> = secrets
        .iter()
        .map(|secret| secret.request.name.as_str())
        .collect();
    let env = match target.get("env") {
        Some(cursor) => cursor
            .entries("a mapping of variables, for example `DBT_ENV_SECRET_PASSWORD: \"{{ vault.warehouse.password }}\"`")?
            .iter()
            .map(|(name, cursor)| bridge(name, cursor, &names))
            .collect::<Result<Vec<_>, _>>()?,
        None => Vec::new(),
    };
    let fields = match target.get("fields") {
        Some(cursor) => cursor
            .entries("a mapping of the output's keys, for example `password: \"{{ vault.warehouse.password }}\"`")?
            .iter()
            .map(|(key, cursor)| field(key, cursor, &names))
            .collect::<Result<Vec<_>, _>>()?,
        None => Vec::new(),
    };
    if let (true, true, Some(second)) = (env.is_empty(), fields.is_empty(), entries.get(1)) {
        return Err(second.1.bad(
            "several secrets, and nothing says where their fields go",
            "add `fields:` (keys of the output) or `env:` (variables); only a single secret's fields find the adapter's keys by themselves",
        ));
    }
    let delivery = delivery(target, !env.is_empty(), !fields.is_empty())?;
    Ok(Lending::Lent(Lent {
        secrets,
        env,
        fields,
        delivery,
    }))
}

fn delivery(target: &Object<'_>, has_env: bool, has_fields: bool) -> Result<Delivery, ConfigError> {
    let Some(cursor) = target.get("delivery") else {
        return Ok(if has_env && !has_fields {
            Delivery::Env
        } else {
            Delivery::File
        });
    };
    match cursor.text("`file` or `env`")? {
        "file" => Ok(Delivery::File),
        "env" if has_fields => Err(cursor.bad(
            "`env` writes nothing into profiles.yml, but there are `fields:`",
            "say `delivery: file`, or move the fields to `env:` and read them by env_var() in profiles.yml",
        )),
        "env" if !has_env => Err(cursor.bad(
            "`env` without variables: dbt would get nothing",
            "add `env: {DBT_ENV_SECRET_PASSWORD: \"{{ vault.warehouse.password }}\"}`",
        )),
        "env" => Ok(Delivery::Env),
        "proxy" => Err(cursor.value_not_yet("proxy", "say `file` or `env`")),
        _ => Err(cursor.bad("not a delivery", "say `file` or `env`")),
    }
}

fn secret(name: &str, cursor: &Cursor<'_>) -> Result<LentSecret, ConfigError> {
    if !is_variable_name(name) {
        return Err(cursor.bad(
            "not a name that `{{ vault.NAME.FIELD }}` can say",
            "letters, digits and `_`, no digit first",
        ));
    }
    let shape = "a path, or a mapping with `path`";
    if cursor.is_text() {
        let (path, shape, engine) = path::request(cursor, None, None)?;
        let request = SecretRequest {
            name: name.to_owned(),
            path,
            operation: Operation::Read,
            shape,
        };
        return Ok(LentSecret {
            request,
            ttl: None,
            engine,
            at: cursor.at(),
        });
    }
    let object = cursor.object(&SECRET, shape)?;
    let engine = object.get("engine").map(kv_engine).transpose()?;
    let path = object.need("path", "write `path: database/creds/ROLE`")?;
    let at = path.at();
    let (path, shape, engine) = path::request(path, engine, object.get("mount"))?;
    let operation = match object.get("data") {
        None => Operation::Read,
        Some(cursor) if engine.is_some() => {
            return Err(cursor.bad("KV secrets are read, not written", "remove `data`"));
        }
        Some(cursor) => match cursor.json()? {
            serde_json::Value::Object(body) => Operation::Write(body),
            _ => return Err(cursor.wrong("a mapping, for example `{common_name: dbt-prod}`")),
        },
    };
    let lent = LentSecret {
        request: SecretRequest {
            name: name.to_owned(),
            path,
            operation,
            shape,
        },
        ttl: object.get("ttl").map(Cursor::duration).transpose()?,
        engine,
        at,
    };
    match object.get("ttl") {
        Some(cursor) if !lent.may_lease() => Err(cursor.bad(
            "there is no lease that could live so long: KV secrets and static roles have none",
            "remove `ttl`",
        )),
        _ => Ok(lent),
    }
}

fn kv_engine(cursor: &Cursor<'_>) -> Result<KvEngine, ConfigError> {
    match cursor.text("`kv1` or `kv2`")? {
        "kv1" => Ok(KvEngine::V1),
        "kv2" => Ok(KvEngine::V2),
        "kv" => Err(cursor.bad(
            "KV without its version",
            "say `kv1` or `kv2`; `vault secrets list -detailed` tells",
        )),
        _ => Err(cursor.bad(
            "not an engine that has to be said",
            "say `kv1` or `kv2`, and leave `engine` out for all others",
        )),
    }
}

fn bridge(name: &str, cursor: &Cursor<'_>, secrets: &[&str]) -> Result<Bridge, ConfigError> {
    if !is_variable_name(name) {
        return Err(cursor.bad(
            "not the name of a variable",
            "letters, digits and `_`, no digit first",
        ));
    }
    if let BridgeName::Refused(reason) = bridge_name(name) {
        return Err(cursor.bad(
            &format!("`env:` must not set it, since it {reason}"),
            "use a name that begins with `DBT_ENV_SECRET_`",
        ));
    }
    let template = template::read(cursor, secrets)?;
    let is_secret = name.starts_with("DBT_ENV_SECRET_") || secret_key(name);
    refuse_constant(cursor, is_secret, &template)?;
    Ok(Bridge {
        name: name.to_owned(),
        template,
        at: cursor.at(),
    })
}

fn field(
    key: &str,
    cursor: &Cursor<'_>,
    secrets: &[&str],
) -> Result<(String, FieldValue), ConfigError> {
    let segment = |segment: &str| {
        !segment.is_empty()
            && segment
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    };
    if !key.split('.').all(segment) {
        return Err(cursor.bad("not a key of an output", "write the key, for example `password`, or a path with dots: `keyfile_json.private_key`"));
    }
    if key == "type" {
        return Err(cursor.bad("the adapter's type is not leased", "say it in profiles.yml"));
    }
    if cursor.is_text() {
        let template = template::read(cursor, secrets)?;
        refuse_constant(cursor, secret_key(key), &template)?;
        return Ok((key.to_owned(), FieldValue::Text(template)));
    }
    let expected = "a text, or `{file: \"{{ vault.NAME.FIELD }}\"}` for a key that wants a path";
    if cursor
        .entries(expected)?
        .iter()
        .all(|(inner, _)| *inner != "file")
    {
        return Err(cursor.bad(
            "a mapping below a key",
            "write the key path with dots: `keyfile_json.private_key: \"…\"`",
        ));
    }
    let object = cursor.object(&FIELD, expected)?;
    let file = object.need("file", expected)?;
    let template = template::read(file, secrets)?;
    refuse_constant(file, true, &template)?;
    Ok((key.to_owned(), FieldValue::File(template)))
}

/// dbt B14: what holds one of these words is a secret.
fn secret_key(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    literal::secret_name(&key)
        || ["pass", "secret", "token", "pwd"]
            .iter()
            .any(|word| key.contains(word))
}

fn refuse_constant(
    cursor: &Cursor<'_>,
    is_secret: bool,
    template: &str,
) -> Result<(), ConfigError> {
    if is_secret && template::is_constant(template) {
        return Err(cursor.secret(
            "holds a value of its own, not one from Vault",
            "write a template: \"{{ vault.NAME.FIELD }}\"",
        ));
    }
    Ok(())
}

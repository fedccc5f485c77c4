//! A target: the short form (a path, `none`) and the long one.
#![forbid(unsafe_code)]

use super::engines::{self, Asked};
use super::error::ConfigError;
use super::walk::{Cursor, Keys, Object, is_variable_name};
use super::{
    Bridge, BridgeName, Delivery, Expect, FieldValue, KvEngine, Lending, Lent, LentSecret,
    Operation, ParseCache, SecretRequest, Target, bridge_name, expect, literal, path, template,
};

pub(super) const TARGET: Keys = Keys {
    known: &[
        "profile",
        "target",
        "secrets",
        "env",
        "fields",
        "delivery",
        "expect",
        "parse_cache",
    ],
    later: &["ttl", "keep", "gate"],
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
pub(super) const SECRET: Keys = Keys {
    known: &["path", "engine", "mount", "version", "data", "ttl"],
    later: &["wrap"],
    elsewhere: &[],
};
const IN_A_SECRET: &str = "a secret's keys stand under its name: `secrets: {warehouse: {path: …}}`";
pub(super) const FIELD: Keys = Keys {
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
    let secrets = vec![by_path(SHORT, cursor)?];
    Ok(Lending::Lent(Lent {
        secrets,
        env: Vec::new(),
        fields: Vec::new(),
        delivery: Delivery::File,
        parse_cache: ParseCache::default(),
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
        return match ["env", "fields", "delivery", "parse_cache"]
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
        parse_cache: target
            .get("parse_cache")
            .map_or_else(|| Ok(ParseCache::default()), parse_cache)?,
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

fn parse_cache(cursor: &Cursor<'_>) -> Result<ParseCache, ConfigError> {
    let shape = "`keep` or `off`";
    match cursor.text(shape)? {
        "keep" => Ok(ParseCache::Keep),
        "off" => Ok(ParseCache::Off),
        _ => Err(cursor.bad("not a way with the parse cache", "say `keep` or `off`")),
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
        return by_path(name, cursor);
    }
    let object = cursor.object(&SECRET, shape)?;
    let engine = object.get("engine").map(engine).transpose()?;
    let path = object.need("path", "write `path: database/creds/ROLE`")?;
    let located = path::request(path, engine, object.get("mount"))?;
    let query = match object.get("version") {
        None => Vec::new(),
        Some(cursor) if located.kv == Some(KvEngine::V2) => {
            let version = cursor.whole("a version's number, from 1")?;
            if version == 0 {
                return Err(cursor.bad(
                    "no version's number",
                    "write the number, from 1; the newest is read without `version`",
                ));
            }
            vec![("version", version.to_string())]
        }
        Some(cursor) => {
            return Err(cursor.bad(
                "only a KV version 2 keeps versions",
                "remove `version`, or say `engine: kv2`",
            ));
        }
    };
    let operation = operation(path, &located, object.get("data"))?;
    let lent = LentSecret {
        request: SecretRequest {
            name: name.to_owned(),
            path: located.path,
            operation,
            shape: located.shape,
            query,
            known: located.known,
        },
        ttl: object.get("ttl").map(Cursor::duration).transpose()?,
        engine: located.kv,
        at: path.at(),
    };
    let Some(cursor) = object.get("ttl") else {
        return Ok(lent);
    };
    match &lent.request.operation {
        Operation::Write(body) if lent.asks_for_ttl() && body.contains_key("ttl") => {
            Err(cursor.bad("`data` holds a `ttl` too", "keep one of them"))
        }
        _ if lent.asks_for_ttl() || lent.may_lease() => Ok(lent),
        _ => Err(cursor.bad(
            &match lent.request.known.and_then(engines::EnginePath::ends) {
                Some(ends) => format!("there is no lease that could live so long ({ends})"),
                None => "there is no lease that could live so long: KV secrets and static roles have none".to_owned(),
            },
            "remove `ttl`",
        )),
    }
}

/// A secret of which its path alone is said.
fn by_path(name: &str, cursor: &Cursor<'_>) -> Result<LentSecret, ConfigError> {
    let located = path::request(cursor, None, None)?;
    let operation = operation(cursor, &located, None)?;
    Ok(LentSecret {
        request: SecretRequest {
            name: name.to_owned(),
            path: located.path,
            operation,
            shape: located.shape,
            query: Vec::new(),
            known: located.known,
        },
        ttl: None,
        engine: located.kv,
        at: cursor.at(),
    })
}

/// How a path is asked: what its engine takes, else a read unless there is `data`.
fn operation(
    path: &Cursor<'_>,
    located: &path::Located,
    data: Option<&Cursor<'_>>,
) -> Result<Operation, ConfigError> {
    let body = match data {
        None => None,
        Some(cursor) if located.kv.is_some() => {
            return Err(cursor.bad("KV secrets are read, not written", "remove `data`"));
        }
        Some(cursor) => match cursor.json()? {
            serde_json::Value::Object(body) => Some((cursor, body)),
            _ => return Err(cursor.wrong("a mapping, for example `{common_name: dbt-prod}`")),
        },
    };
    if let Some(known) = located.known {
        let lacks = |key: &&&str| {
            body.as_ref()
                .is_none_or(|(_, body)| !body.contains_key(**key))
        };
        if let Some(key) = known.needs.iter().find(lacks) {
            return Err(path.bad(
                &format!("the engine `{}` needs `{key}` there", known.engine),
                &format!("write `{{path: {}, data: {{{key}: …}}}}`", located.path),
            ));
        }
    }
    match (located.known.map(|known| known.asked), body) {
        (Some(Asked::Read), Some((cursor, _))) => Err(cursor.bad(
            "the engine takes no data there: it is read",
            "remove `data`",
        )),
        (_, Some((_, body))) => Ok(Operation::Write(body)),
        (Some(Asked::Write), None) => Ok(Operation::Write(serde_json::Map::new())),
        (_, None) => Ok(Operation::Read),
    }
}

fn engine(cursor: &Cursor<'_>) -> Result<path::Engine, ConfigError> {
    let names = || format!("kv1, kv2, {}", engines::names().join(", "));
    match cursor.text("an engine's name")? {
        "kv1" => Ok(path::Engine::Kv(KvEngine::V1)),
        "kv2" => Ok(path::Engine::Kv(KvEngine::V2)),
        "kv" => Err(cursor.bad(
            "KV without its version",
            "say `kv1` or `kv2`; `vault secrets list -detailed` tells",
        )),
        name => match engines::names().into_iter().find(|known| *known == name) {
            Some(known) => Ok(path::Engine::Named(known)),
            None => Err(cursor.bad(
                "not an engine that dbt-lease knows",
                &format!("engines: {}; leave `engine` out for another", names()),
            )),
        },
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

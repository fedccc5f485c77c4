//! Paths of Vault's API: canonical, so that two spellings of one path can never pass for two (`%2D`, `//`, `..`).
#![forbid(unsafe_code)]

use super::error::ConfigError;
use super::walk::Cursor;
use super::{KvEngine, Shape};

/// Reads a path or a mount: segments of `[A-Za-z0-9._@-]+`, none of them `.` or `..`.
pub(super) fn canonical<'a>(cursor: &Cursor<'a>, what: &str) -> Result<&'a str, ConfigError> {
    let text = cursor.text(what)?;
    match problem(text) {
        None => Ok(text),
        Some(problem) => Err(cursor.bad(
            &problem,
            "write it as Vault's API has it below /v1/, for example `database/creds/dbt-prod`: segments of letters, digits and `._@-`",
        )),
    }
}

/// What is wrong with a path, if anything.
pub(super) fn problem(text: &str) -> Option<String> {
    if text.is_empty() {
        return Some("an empty path".to_owned());
    }
    if text.starts_with('/') {
        return Some("a path that begins with `/`".to_owned());
    }
    if text.ends_with('/') {
        return Some("a path that ends with `/`".to_owned());
    }
    for segment in text.split('/') {
        match segment {
            "" => return Some("a path with an empty segment (`//`)".to_owned()),
            "." | ".." => return Some(format!("a path with the segment `{segment}`")),
            _ => {}
        }
        if let Some(odd) = segment
            .chars()
            .find(|c| !c.is_ascii_alphanumeric() && !"._@-".contains(*c))
        {
            return Some(format!(
                "a path with the character `{}`",
                odd.escape_debug()
            ));
        }
    }
    (text.split('/').next() == Some("v1") && text.contains('/'))
        .then(|| "a path that begins with `v1/`".to_owned())
}

/// The path of a request, and where its answer holds the fields.
///
/// Without `engine:` a path is taken as it stands. It is KV version 2 when it is the literal form that DESIGN names,
/// `MOUNT/data/…`: the second segment is `data` and something follows it (with `mount: a/b`, what follows the mount does).
/// No other engine of Vault has `data` there.
pub(super) fn request(
    path: &Cursor<'_>,
    engine: Option<KvEngine>,
    mount: Option<&Cursor<'_>>,
) -> Result<(String, Shape, Option<KvEngine>), ConfigError> {
    let text = canonical(
        path,
        "a path of Vault's API, for example `database/creds/dbt-prod`",
    )?;
    let mounted = match mount {
        Some(cursor) => {
            let mount = canonical(
                cursor,
                "where the KV engine is mounted, for example `secret`",
            )?;
            Some((cursor, mount))
        }
        None => None,
    };
    let rest = match mounted {
        Some((_, mount)) => text
            .strip_prefix(mount)
            .and_then(|rest| rest.strip_prefix('/')),
        None => text.split_once('/').map(|(_, rest)| rest),
    };
    let is_literal = rest.is_some_and(|rest| {
        rest.strip_prefix("data/")
            .is_some_and(|key| !key.is_empty())
    });
    match (engine, mounted) {
        (None, Some((cursor, _))) if !is_literal => Err(cursor.bad(
            "a mount without its engine",
            "say `engine: kv1` or `engine: kv2` beside it",
        )),
        (None, _) if is_literal => Ok((text.to_owned(), Shape::KvV2, Some(KvEngine::V2))),
        (None, _) => Ok((text.to_owned(), Shape::Plain, None)),
        (Some(KvEngine::V2), _) if is_literal => Err(path.bad(
            "holds the `data/` of KV version 2 already",
            "leave `data/` out of the path, or leave `engine: kv2` out",
        )),
        (Some(engine), mounted) => {
            let mount = match mounted {
                Some((_, mount)) => mount,
                None => text.split('/').next().unwrap_or(text),
            };
            let key = match (rest, mounted) {
                (Some(key), _) if !key.is_empty() => key,
                // `mount: a/b` with a path that is relative to it.
                (None, Some(_)) => text,
                _ => {
                    let hint = "write MOUNT/KEY, for example `secret/dbt/prod`";
                    return Err(path.bad("a mount without a key below it", hint));
                }
            };
            Ok(match engine {
                KvEngine::V1 => (format!("{mount}/{key}"), Shape::Plain, Some(engine)),
                KvEngine::V2 => (format!("{mount}/data/{key}"), Shape::KvV2, Some(engine)),
            })
        }
    }
}

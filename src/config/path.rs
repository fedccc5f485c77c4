//! Paths of Vault's API: canonical, so that two spellings of one path can never pass for two (`%2D`, `//`, `..`).
#![forbid(unsafe_code)]

use super::engines::{self, EnginePath};
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

/// `engine:`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Engine {
    /// `kv1`, `kv2`
    Kv(KvEngine),
    /// One of [`engines`].
    Named(&'static str),
}

/// A secret's path, and what is known of it.
pub(super) struct Located {
    /// Below `/v1/`.
    pub(super) path: String,
    /// Where its answer holds the fields.
    pub(super) shape: Shape,
    /// The KV version, where it is KV.
    pub(super) kv: Option<KvEngine>,
    /// The engine's path.
    pub(super) known: Option<&'static EnginePath>,
}

/// The path of a request, and where its answer holds the fields.
///
/// Without `engine:` a path is taken as it stands. It is KV version 2 when it is the literal form that DESIGN names,
/// `MOUNT/data/…`: the second segment is `data` and something follows it (with `mount: a/b`, what follows the mount does).
/// No other engine of Vault has `data` there. An engine that is mounted where it is by default is known by that.
pub(super) fn request(
    path: &Cursor<'_>,
    engine: Option<Engine>,
    mount: Option<&Cursor<'_>>,
) -> Result<Located, ConfigError> {
    let text = canonical(
        path,
        "a path of Vault's API, for example `database/creds/dbt-prod`",
    )?;
    let mounted = match mount {
        Some(cursor) => {
            let mount = canonical(cursor, "where the engine is mounted, for example `secret`")?;
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
    let plain = |path: String, known| Located {
        path,
        shape: Shape::Plain,
        kv: None,
        known,
    };
    match (engine, mounted) {
        (None, Some((cursor, _))) if !is_literal => Err(cursor.bad(
            "a mount without its engine",
            &format!(
                "say `engine:` beside it: kv1, kv2, {}",
                engines::names().join(", ")
            ),
        )),
        (None, _) if is_literal => Ok(Located {
            path: text.to_owned(),
            shape: Shape::KvV2,
            kv: Some(KvEngine::V2),
            known: None,
        }),
        (None, _) => {
            let known = text
                .split_once('/')
                .and_then(|(engine, rest)| engines::below(engine, rest));
            Ok(plain(text.to_owned(), known))
        }
        (Some(Engine::Named(engine)), mounted) => {
            let (whole, rest) = match (rest, mounted) {
                (Some(rest), _) => (text.to_owned(), rest),
                // `mount: a/b` with a path that is relative to it.
                (None, Some((_, mount))) => (format!("{mount}/{text}"), text),
                (None, None) => (text.to_owned(), ""),
            };
            match engines::below(engine, rest) {
                Some(known) => Ok(plain(whole, Some(known))),
                None => Err(path.bad(
                    &format!("not a path that gives a credential of the engine `{engine}`"),
                    &format!(
                        "below its mount these are known: {}; leave `engine` out for another",
                        engines::of_engine(engine)
                            .iter()
                            .map(|path| path.below)
                            .collect::<Vec<_>>()
                            .join(", ")
                    ),
                )),
            }
        }
        (Some(Engine::Kv(KvEngine::V2)), _) if is_literal => Err(path.bad(
            "holds the `data/` of KV version 2 already",
            "leave `data/` out of the path, or leave `engine: kv2` out",
        )),
        (Some(Engine::Kv(engine)), mounted) => {
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
            let (path, shape) = match engine {
                KvEngine::V1 => (format!("{mount}/{key}"), Shape::Plain),
                KvEngine::V2 => (format!("{mount}/data/{key}"), Shape::KvV2),
            };
            Ok(Located {
                path,
                shape,
                kv: Some(engine),
                known: None,
            })
        }
    }
}

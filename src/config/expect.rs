//! `expect:`: where an output must lead before anything is lent for it.
#![forbid(unsafe_code)]

use super::error::ConfigError;
use super::walk::{Cursor, Keys};
use super::{Expect, Lending};

pub(super) const EXPECT: Keys = Keys {
    known: &["host", "port", "sslmode"],
    later: &[],
    elsewhere: &[(
        "target",
        "the target is chosen by its name; `expect` compares what its output says",
    )],
};
const SHAPE: &str =
    "a mapping, for example `{host: db.example.com, port: 5432, sslmode: verify-full}`";

/// Reads it.
pub(super) fn read(cursor: &Cursor<'_>, lending: &Lending) -> Result<Expect, ConfigError> {
    let object = cursor.object(&EXPECT, SHAPE)?;
    let text = |key: &str, example: &str| {
        let Some(cursor) = object.get(key) else {
            return Ok(None);
        };
        let text = cursor.text(example)?;
        if text.is_empty() || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(cursor.bad("empty, or with white space", &format!("write {example}")));
        }
        if text.contains("{{") || text.contains("{%") {
            let hint = "write the value itself: what is compared with profiles.yml must not depend on anything else";
            return Err(cursor.bad("a template", hint));
        }
        Ok(Some(text.to_owned()))
    };
    let expect = Expect {
        host: text(
            "host",
            "the host as the output says it, for example `db.example.com`",
        )?,
        port: object.get("port").map(port).transpose()?,
        sslmode: text(
            "sslmode",
            "the mode as the output says it, for example `verify-full`",
        )?,
        at: Some(cursor.at()),
    };
    if (&expect.host, expect.port, &expect.sslmode) == (&None, None, &None) {
        return Err(cursor.bad("nothing to compare", &format!("write {SHAPE}")));
    }
    // What the lease itself sets cannot be known beforehand.
    let leased = |key: &str| match lending {
        Lending::Lent(lent) => lent.fields.iter().any(|(path, _)| path == key),
        Lending::None => false,
    };
    match ["host", "port", "sslmode"]
        .into_iter()
        .find_map(|key| object.get(key).filter(|_| leased(key)))
    {
        Some(cursor) => Err(cursor.bad(
            "set by `fields:` too, so the output's own value does not count",
            "remove it here, or there",
        )),
        None => Ok(expect),
    }
}

fn port(cursor: &Cursor<'_>) -> Result<u16, ConfigError> {
    let number = cursor.whole("a port, for example 5432")?;
    u16::try_from(number)
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(|| cursor.bad("not a port", "write a number from 1 to 65535"))
}

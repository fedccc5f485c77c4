//! `extends: ../dbt-lease.yml`: a part that several projects share.
//!
//! What the extending file says wins. Mappings are merged where their keys are names or settings: the file's own keys, `vault`,
//! `environments`, an environment, its `targets`. What is one thing is taken whole from one file: a login, a target, a setting's value; so
//! no login and no credential is mixed of two files. An environment that the extended file protects stays protected.
//!
//! A file that is extended may itself extend another. Relative paths of files start at the file that says them, and each error names it.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use serde_yaml::Value;

use super::error::ConfigError;
use super::load;
use super::walk::{Cursor, Document};

/// More files than this in a row are a mistake.
const LONGEST: usize = 8;

/// Reads what a document extends, and what that extends, and gives all of it in one.
pub(super) fn resolve(document: Document) -> Result<Document, ConfigError> {
    let mut chain = vec![load::absolute(document.file())];
    resolve_in(document, &mut chain)
}

fn resolve_in(document: Document, chain: &mut Vec<PathBuf>) -> Result<Document, ConfigError> {
    let root = document.root();
    let Ok(entries) = root.entries("") else {
        return Ok(document);
    };
    let Some((_, cursor)) = entries.iter().find(|(key, _)| *key == "extends") else {
        return Ok(document);
    };
    let file = target(cursor, document.file())?;
    if chain.contains(&file) {
        let problem = format!("leads back to `{}`", file.display());
        return Err(cursor.bad(&problem, "a shared part extends nothing that extends it"));
    }
    if chain.len() == LONGEST {
        return Err(cursor.bad(
            &format!("the {}th file in a row", LONGEST + 1),
            "let the files extend one shared part directly",
        ));
    }
    let text = load::read(&file)?;
    chain.push(file.clone());
    let base = Document::parse(&file, &text)?;
    load::check_version(&base.root())?;
    let base = resolve_in(base, chain)?;
    refuse_lost_protection(&root, &base.root())?;
    Ok(document.over(base))
}

fn target(cursor: &Cursor<'_>, from: &Path) -> Result<PathBuf, ConfigError> {
    const HINT: &str = "write the path of the shared part from this file's directory, for example `../dbt-lease.yml`";
    let text = cursor.text("the path of a file, for example `../dbt-lease.yml`")?;
    if text.trim().is_empty() || text.contains("://") {
        return Err(cursor.bad("not the path of a file", HINT));
    }
    let file = from.parent().unwrap_or(Path::new("/")).join(text);
    match std::fs::canonicalize(&file) {
        Ok(file) => Ok(file),
        Err(error) => Err(cursor.bad(
            &format!("`{}` cannot be found: {error}", file.display()),
            HINT,
        )),
    }
}

/// The shared part's word on protection is the last one.
fn refuse_lost_protection(own: &Cursor<'_>, base: &Cursor<'_>) -> Result<(), ConfigError> {
    for (name, environment) in environments(own) {
        let lifted =
            protection(&environment).filter(|cursor| cursor.flag().is_ok_and(|flag| !flag));
        let Some(lifted) = lifted else { continue };
        let protects = environments(base)
            .into_iter()
            .find(|(other, _)| *other == name)
            .and_then(|(_, environment)| protection(&environment))
            .is_some_and(|cursor| cursor.flag().unwrap_or(false));
        if protects {
            return Err(lifted.bad(
                "the file that is extended protects this environment",
                "leave `protected` out, or use another environment",
            ));
        }
    }
    Ok(())
}

fn environments<'a>(root: &Cursor<'a>) -> Vec<(&'a str, Cursor<'a>)> {
    let entries = root.entries("").unwrap_or_default();
    entries
        .into_iter()
        .find(|(key, _)| *key == "environments")
        .and_then(|(_, cursor)| cursor.entries("").ok())
        .unwrap_or_default()
}

fn protection<'a>(environment: &Cursor<'a>) -> Option<Cursor<'a>> {
    let entries = environment.entries("").ok()?;
    entries
        .into_iter()
        .find(|(key, _)| *key == "protected")
        .map(|(_, cursor)| cursor)
}

/// Whether the mappings of two files at this key path are merged.
fn is_merged(path: &[String]) -> bool {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    matches!(
        path.as_slice(),
        [] | ["vault"] | ["environments"] | ["environments", _] | ["environments", _, "targets"]
    )
}

/// The values of two files in one, and the key paths of what comes from the base alone.
pub(super) fn merged(own: &Value, base: &Value) -> (Value, Vec<Vec<String>>) {
    let mut from_base = Vec::new();
    let value = merge(own, base, &mut Vec::new(), &mut from_base);
    (value, from_base)
}

fn merge(
    own: &Value,
    base: &Value,
    path: &mut Vec<String>,
    from_base: &mut Vec<Vec<String>>,
) -> Value {
    let (Value::Mapping(own_entries), Value::Mapping(base_entries)) = (own, base) else {
        return own.clone();
    };
    if !is_merged(path) {
        return own.clone();
    }
    let mut made = serde_yaml::Mapping::new();
    for (key, base) in base_entries {
        // Each file's own; that of the base has been followed.
        if path.is_empty() && key.as_str() == Some("extends") {
            continue;
        }
        path.push(key.as_str().unwrap_or("?").to_owned());
        let value = match own_entries.get(key) {
            Some(own) => merge(own, base, path, from_base),
            None => {
                from_base.push(path.clone());
                base.clone()
            }
        };
        path.pop();
        made.insert(key.clone(), value);
    }
    for (key, own) in own_entries {
        if !made.contains_key(key) {
            made.insert(key.clone(), own.clone());
        }
    }
    Value::Mapping(made)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use crate::config::{Auth, Config, ConfigError, Lending, SecretId};
    use crate::variables::Variables;

    const SHARED: &str = "version: 1
vault: {address: 'https://v:8200', namespace: data, ca_cert: certs/ca.pem}
environments:
  production:
    protected: true
    auth: {method: approle, role_id: r, secret_id_file: ids/production}
    targets:
      prod: database/creds/shared
      other: database/creds/other
  staging:
    auth: {method: approle, role_id: s, secret_id_file: ids/staging}
    targets: {}
";

    /// A directory with `shared.yml` and `shop/dbt-lease.yml`.
    fn files(shared: &str, own: &str) -> tempfile::TempDir {
        let place = tempfile::tempdir().expect("a directory");
        fs::create_dir(place.path().join("shop")).expect("made");
        fs::write(place.path().join("shared.yml"), shared).expect("written");
        fs::write(place.path().join("shop/dbt-lease.yml"), own).expect("written");
        place
    }

    fn load(place: &Path) -> Result<Config, ConfigError> {
        Config::load(&place.join("shop/dbt-lease.yml"), &Variables::default())
    }

    /// What is said of it, the place as `PLACE`.
    fn said(place: &tempfile::TempDir, error: &ConfigError) -> String {
        let real = place.path().canonicalize().expect("there");
        error
            .to_string()
            .replace(&real.display().to_string(), "PLACE")
    }

    fn paths(config: &Config) -> Vec<(&str, &str, &str)> {
        config
            .targets()
            .filter_map(|(environment, target)| match &target.lending {
                Lending::Lent(lent) => Some((
                    environment.name.as_str(),
                    target.target.as_str(),
                    lent.secrets[0].request.path.as_str(),
                )),
                Lending::None => None,
            })
            .collect()
    }

    #[test]
    fn names_and_settings_are_merged_and_what_is_one_thing_is_taken_whole() {
        let own = "version: 1
extends: ../shared.yml
vault: {namespace: data/shop}
environments:
  production:
    targets: {prod: database/creds/shop}
  staging:
    auth: {method: approle, role_id: mine, secret_id_file: ids/mine}
    targets: {staging: database/creds/staging}
";
        let place = files(SHARED, own);
        let config = load(place.path()).expect("a good dbt-lease.yml");
        assert_eq!(
            paths(&config),
            [
                ("production", "prod", "database/creds/shop"),
                ("production", "other", "database/creds/other"),
                ("staging", "staging", "database/creds/staging"),
            ]
        );
        let production = &config.environments[0];
        assert!(production.protected);
        let server = production.server.as_ref().expect("an address");
        assert_eq!(server.address, "https://v:8200");
        assert_eq!(server.namespace.as_deref(), Some("data/shop"));
        // A relative path starts at the file that says it.
        let root = place.path().canonicalize().expect("there");
        assert_eq!(server.ca_cert, Some(root.join("certs/ca.pem")));
        let secret_ids: Vec<_> = config
            .environments
            .iter()
            .map(|environment| match &environment.auth {
                Some(Auth::AppRole(approle)) => approle.secret_id.clone(),
                _ => panic!("an AppRole"),
            })
            .collect();
        assert_eq!(
            secret_ids,
            [
                SecretId::File(root.join("ids/production")),
                SecretId::File(root.join("shop/ids/mine"))
            ]
        );
        assert_eq!(config.extends, [root.join("shared.yml")]);
        let line = |at: usize| config.targets().nth(at).expect("a target").1.at.to_string();
        assert_eq!(
            line(0),
            root.join("shop/dbt-lease.yml:6").display().to_string()
        );
        assert_eq!(line(1), root.join("shared.yml:9").display().to_string());
    }

    #[test]
    fn trust_is_tied_to_all_of_it() {
        let own = "version: 1\nextends: ../shared.yml\nenvironments: {staging: {targets: {staging: database/creds/staging}}}\n";
        let place = files(SHARED, own);
        let before = load(place.path())
            .expect("a good dbt-lease.yml")
            .fingerprint;
        let moved = files(SHARED, own);
        assert_eq!(
            load(moved.path())
                .expect("a good dbt-lease.yml")
                .fingerprint,
            before
        );
        // Also by what is not seen in the whole, since another file says it too.
        for (shared, own) in [
            (
                SHARED.replace("database/creds/other", "database/creds/another"),
                own.to_owned(),
            ),
            (
                SHARED.to_owned(),
                own.replace("creds/staging", "creds/stage"),
            ),
            (
                SHARED.to_owned(),
                own.replace("../shared.yml", "../shop/../shared.yml"),
            ),
        ] {
            let place = files(&shared, &own);
            let after = load(place.path())
                .expect("a good dbt-lease.yml")
                .fingerprint;
            assert_ne!(after, before);
        }
    }

    #[test]
    fn a_mistake_is_told_where_it_stands() {
        let own = "version: 1\nextends: ../shared.yml\n";
        for (shared, own, words) in [
            (
                SHARED.replace("protected: true", "protection: true"),
                own.to_owned(),
                "PLACE/shared.yml:5: unknown key `protection`",
            ),
            (
                SHARED.replace("version: 1", "version: 2"),
                own.to_owned(),
                "PLACE/shared.yml:1: `version`: a version that this",
            ),
            (
                SHARED.to_owned(),
                format!("{own}environments: {{production: {{protected: false}}}}\n"),
                "PLACE/shop/dbt-lease.yml:3: `environments.production.protected`: the file that is extended protects",
            ),
            (
                SHARED.to_owned(),
                format!(
                    "{own}environments: {{production: {{auth: {{method: approle, role_id_env: A, secret_id: x}}}}}}\n"
                ),
                "PLACE/shop/dbt-lease.yml:3: `environments.production.auth.secret_id` holds a secret",
            ),
            (
                SHARED.replace("version: 1", "version: 1\nextends: shop/dbt-lease.yml"),
                own.to_owned(),
                "PLACE/shared.yml:2: `extends`: leads back to `PLACE/shop/dbt-lease.yml`",
            ),
            (
                SHARED.replace("version: 1", "version: 1\nextends: ./shared.yml"),
                own.to_owned(),
                "PLACE/shared.yml:2: `extends`: leads back to `PLACE/shared.yml`",
            ),
            (
                SHARED.replace("role_id: s", "role_id: hvs.CAESIJabcdef"),
                own.to_owned(),
                "PLACE/shared.yml:11: `environments.staging.auth.role_id` holds a Vault token",
            ),
        ] {
            let place = files(&shared, &own);
            let error = load(place.path()).expect_err(words);
            let text = said(&place, &error);
            assert!(text.starts_with(words), "{text}");
            assert!(!text.contains("CAESIJ"), "{text}");
        }
    }

    #[test]
    fn a_long_row_of_files_is_refused() {
        let place = files("version: 1\n", "version: 1\nextends: ../0.yml\n");
        for number in 0..9 {
            let text = format!("version: 1\nextends: ./{}.yml\n", number + 1);
            fs::write(place.path().join(format!("{number}.yml")), text).expect("written");
        }
        let error = load(place.path()).expect_err("too many");
        assert_eq!(
            said(&place, &error),
            "PLACE/6.yml:2: `extends`: the 9th file in a row"
        );
    }
}

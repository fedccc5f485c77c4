//! `bridge` on profiles of many adapters, against the real PyYAML and dbt: nothing changes but the credentials, dbt renders the same values,
//! and a second time there is nothing to do.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use dbt_lease::bridge::{Bridged, Options, bridge};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use crate::oracle::ask;

/// The variables that are set; all others are missing.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("USER", "ada"),
    ("PGUSER", "pg-user"),
    ("PGPASSWORD", "pg-password"),
    ("DBT_ENV_SECRET_USER", "a-user"),
    ("DBT_ENV_SECRET_PASSWORD", "p{{w}}'\"#"),
    ("MOTHERDUCK_TOKEN", "md-0123"),
    (
        "KEYFILE_JSON",
        "{'type': 'service_account', 'private_key': 'x'}",
    ),
    ("PIN", "1234"),
    ("PORT", "5432"),
    ("SCHEMA", "analytics"),
];

/// All profiles.yml of these folders.
fn files(folders: &[&str]) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = folders
        .iter()
        .flat_map(|folder| {
            let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
            std::fs::read_dir(directory).expect("fixtures are there")
        })
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    files
}

fn bridged(document: &str, options: Options) -> Bridged {
    bridge(
        Path::new("profiles.yml"),
        document.as_bytes(),
        None,
        options,
    )
    .expect("it is bridged")
}

/// The leaves of an encoded value by their dotted paths.
fn leaves(value: &Json, path: &str, found: &mut BTreeMap<String, Json>) {
    let below = |key: &str| {
        if path.is_empty() {
            key.to_owned()
        } else {
            format!("{path}.{key}")
        }
    };
    match (value.get("map").and_then(Json::as_array), value) {
        (Some(entries), _) => {
            for entry in entries {
                let key = entry[0]
                    .as_str()
                    .map_or_else(|| entry[0].to_string(), str::to_owned);
                leaves(&entry[1], &below(&key), found);
            }
        }
        (None, Json::Array(items)) => {
            for (at, item) in items.iter().enumerate() {
                leaves(item, &below(&at.to_string()), found);
            }
        }
        _ => {
            found.insert(path.to_owned(), value.clone());
        }
    }
}

fn render(document: &str, profile: &str, target: &str, env: &BTreeMap<String, String>) -> Json {
    ask(
        &json!({"kind": "profile_render", "document": document, "profile": profile, "target": target, "env": env}),
    )
}

/// What is wrong with a bridge, by the real PyYAML and dbt.
struct Judge {
    outputs: usize,
    rendered: usize,
    variables: usize,
    wrong: Vec<String>,
}

impl Judge {
    fn new() -> Self {
        Self {
            outputs: 0,
            rendered: 0,
            variables: 0,
            wrong: Vec::new(),
        }
    }

    fn judge(&mut self, what: &str, old: &str, options: Options) {
        let made = bridged(old, options);
        let new = &made.text;
        self.variables += made.variables.len();
        let names: BTreeSet<&str> = made
            .variables
            .iter()
            .map(|variable| variable.name.as_str())
            .collect();
        let edits = ask(&json!({"kind": "edits", "old": old, "new": new}));
        if edits["other"] != json!([]) {
            self.wrong.push(format!(
                "{what}: more than credentials has changed: {edits}"
            ));
        }
        for text in edits["texts"].as_array().into_iter().flatten() {
            let text = text.as_str().unwrap_or_default().replace('"', "'");
            let is_lone = names.iter().any(|name| {
                text == format!("{{{{ env_var('{name}') }}}}")
                    || text == format!("{{{{ env_var('{name}', '') }}}}")
            });
            if !is_lone {
                self.wrong
                    .push(format!("{what}: `{text}` is no lone variable"));
            }
        }
        let again = bridged(new, options);
        let places = |made: &Bridged| -> Vec<(String, String, Option<String>, String)> {
            made.variables
                .iter()
                .map(|variable| {
                    (
                        variable.name.clone(),
                        variable.profile.clone(),
                        variable.target.clone(),
                        variable.key.clone(),
                    )
                })
                .collect()
        };
        if !again.edits.is_empty() || places(&again) != places(&made) {
            self.wrong
                .push(format!("{what}: a second time something changes"));
        }
        self.renders_the_same(what, old, &made);
    }

    fn renders_the_same(&mut self, what: &str, old: &str, made: &Bridged) {
        let environment: BTreeMap<String, String> = ENVIRONMENT
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let targets = ask(&json!({"kind": "targets", "document": old}))["targets"].clone();
        for pair in targets.as_array().expect("targets") {
            let (profile, target) = (
                pair[0].as_str().expect("text"),
                pair[1].as_str().expect("text"),
            );
            self.outputs += 1;
            let before = render(old, profile, target, &environment);
            if before.get("refused").is_some() {
                continue;
            }
            self.rendered += 1;
            let mut values = BTreeMap::new();
            leaves(&before["output"], "", &mut values);
            let mut after = environment.clone();
            for variable in made.variables.iter().filter(|variable| {
                variable.profile == profile && variable.target.as_deref() == Some(target)
            }) {
                let Some(value) = values.get(&variable.key).and_then(Json::as_str) else {
                    self.wrong.push(format!(
                        "{what}: {profile}.{target} has no text `{}`",
                        variable.key
                    ));
                    continue;
                };
                let known = after.insert(variable.name.clone(), value.to_owned());
                if known.is_some_and(|known| known != value) {
                    self.wrong.push(format!(
                        "{what}: {} would need two values in {profile}.{target}",
                        variable.name
                    ));
                }
            }
            let rendered = render(&made.text, profile, target, &after);
            if rendered != before {
                self.wrong.push(format!(
                    "{what}: {profile}.{target} renders otherwise:\n  {before}\n  {rendered}"
                ));
            }
        }
    }
}

#[test]
fn bridged_profiles_of_every_adapter_change_in_nothing_but_their_credentials() {
    let mut judge = Judge::new();
    let (mut profiles, mut adapters) = (0, BTreeSet::new());
    for file in files(&["fixtures/bridge", "fixtures/profiles"]) {
        let document = std::fs::read_to_string(&file).expect("readable");
        let name = file
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let loaded = ask(&json!({"kind": "targets", "document": document}));
        let names: BTreeSet<&str> = loaded["targets"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|pair| pair[0].as_str())
            .collect();
        profiles += names.len();
        for options in [
            Options::default(),
            Options {
                rename: true,
                keep_user: false,
            },
            Options {
                rename: false,
                keep_user: true,
            },
        ] {
            judge.judge(&format!("{name} {options:?}"), &document, options);
        }
        adapters.extend(
            bridged(&document, Options::default())
                .variables
                .into_iter()
                .filter_map(|variable| variable.adapter),
        );
    }
    assert!(judge.wrong.is_empty(), "{}", judge.wrong.join("\n"));
    assert!(
        profiles >= 60 && adapters.len() >= 25 && judge.rendered >= 300,
        "{profiles} profiles, {} adapters, {} of {} rendered",
        adapters.len(),
        judge.rendered,
        judge.outputs
    );
}

#[test]
fn bridged_profiles_as_people_write_them_render_the_same() {
    let mut judge = Judge::new();
    judge.judge(
        "profiles.yml",
        include_str!("profiles.yml"),
        Options::default(),
    );
    assert!(judge.wrong.is_empty(), "{}", judge.wrong.join("\n"));
    assert!(judge.variables >= 100, "{}", judge.variables);
}

/// A credential as it may be written, in block style.
fn scalar() -> impl Strategy<Value = String> {
    let text = "[a-z0-9 '\"\\\\#:{}%&*!|>@`,\\[\\]?=~^é-]{0,12}";
    prop_oneof![
        "[a-z][a-z0-9_.#-]{0,10}".prop_map(|text| text),
        text.prop_map(|text| format!("'{}'", text.replace('\'', "''"))),
        text.prop_map(|text| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))),
        text.prop_map(|text| format!("|-\n          x{text}\n          y")),
        text.prop_map(|text| format!(">  # folded\n          x{text}\n\n          y\n")),
        Just("!!str 0123".to_owned()),
        Just("\"{{ env_var('PGPASSWORD') }}\"".to_owned()),
        Just("\"{{ env_var('UNSET', 'default') }}\"".to_owned()),
        Just("x-{{ env_var('USER') }}-y".to_owned()),
    ]
}

/// What may stand around a line.
fn comment() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just("\n".to_owned()),
        "      # [a-z:'\"{}é ]{0,20}\n".prop_map(|text| text),
        "  #[a-z:'\" ]{0,12}\n\n".prop_map(|text| text),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn any_quotes_comments_and_anchors_stay_as_they_were(
        scalars in prop::collection::vec(scalar(), 4),
        comments in prop::collection::vec(comment(), 6),
        anchored in any::<bool>(),
        merged in any::<bool>(),
        crlf in any::<bool>(),
        order in any::<bool>(),
    ) {
        let [user, password, token, other] = [&scalars[0], &scalars[1], &scalars[2], &scalars[3]];
        let anchor = if anchored { "&pw " } else { "" };
        let alias = if anchored { "*pw" } else { other };
        let (first, second) = (format!("        user: {user}\n"), format!("        password: {anchor}{password}\n"));
        let pair = if order { format!("{second}{}{first}", comments[0]) } else { format!("{first}{}{second}", comments[0]) };
        let merge = if merged { "        <<: *dev\n" } else { "        type: postgres\n" };
        let document = format!(
            "{c1}p:\n{c2}    outputs:\n      dev: &dev\n        type: postgres\n{pair}{c3}        port: 5432 # {user_line}\n      prod:\n{merge}        token: {token}\n{c4}        pass: {alias}\n{c5}  # end\n",
            c1 = comments[1], c2 = comments[2], c3 = comments[3], c4 = comments[4], c5 = comments[5], user_line = "the port",
        );
        // Two spellings in one output are refused.
        let document = if merged { document.replace("        pass: ", "        passphrase: ") } else { document };
        let document = if crlf { document.replace('\n', "\r\n") } else { document };
        let loads = ask(&json!({"kind": "targets", "document": document})).get("refused").is_none();
        let made = bridge(Path::new("profiles.yml"), document.as_bytes(), None, Options::default());
        if !loads {
            prop_assert!(made.is_err());
            return Ok(());
        }
        // A template that does not end is refused where dbt refuses it.
        if let Err(error) = &made {
            prop_assert!(["template", "bad_profile"].contains(&error.kind()), "{}\n{}", error, document);
            return Ok(());
        }
        let mut judge = Judge::new();
        judge.judge("random", &document, Options::default());
        prop_assert!(judge.wrong.is_empty(), "{}\n{}", judge.wrong.join("\n"), document);
    }
}

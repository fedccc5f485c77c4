//! The table of dbt's command line, compared with the click definitions of the installed dbt.

use dbt_lease::dbt::Engine;
use dbt_lease::dbt::options::{Accepts, Kind};
use serde_json::{Value as Json, json};

use crate::oracle::ask;

#[test]
fn the_table_is_that_of_the_installed_dbt() {
    let theirs = ask(&json!({"kind": "options"}));
    let version = theirs["version"].as_str().expect("a version");
    let rules = Engine::of_version(version).rules;
    assert!(
        version.starts_with(&format!("{}.", rules.line)),
        "there is no table for dbt {version}"
    );
    let commands: Vec<Json> = rules
        .commands()
        .iter()
        .map(|command| {
            let options: Vec<Json> = command
                .options
                .iter()
                .map(|option| {
                    let kind = match option.kind {
                        Kind::Flag => "Flag",
                        Kind::Value => "Value",
                        Kind::Greedy => "Greedy",
                    };
                    let accepts = match option.accepts {
                        Accepts::Any => json!("Any"),
                        Accepts::Int => json!("Int"),
                        Accepts::Bool => json!("Bool"),
                        Accepts::Path(wanted) => {
                            let forms = [
                                ("existing", wanted.exists),
                                ("file", wanted.file),
                                ("directory", wanted.directory),
                            ];
                            let holding = forms.iter().filter(|(_, holds)| *holds);
                            json!({ "Path": holding.map(|(form, _)| form).collect::<Vec<_>>() })
                        }
                        Accepts::Mapping => json!("Mapping"),
                        Accepts::Moment => json!("Moment"),
                        Accepts::Choice(words) => json!({ "Choice": words }),
                        Accepts::Word(words) => json!({ "Word": words }),
                        Accepts::Sample => json!("Sample"),
                    };
                    json!({
                        "name": option.name, "opts": option.opts, "off": option.off, "kind": kind,
                        "accepts": accepts, "variables": option.variables,
                    })
                })
                .collect();
            json!({
                "words": command.words, "group": command.group, "alone": command.alone,
                "arguments": command.arguments, "required": command.required, "options": options,
            })
        })
        .collect();
    assert_eq!(theirs["commands"], json!(commands));
    let twins: Vec<[&str; 2]> = rules
        .twins()
        .iter()
        .map(|(new, old)| [*new, *old])
        .collect();
    assert_eq!(theirs["twins"], json!(twins));
}

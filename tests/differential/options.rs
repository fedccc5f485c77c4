//! The table of dbt's command line, compared with the click definitions of the installed dbt.

use dbt_lease::dbt::options::{Accepts, Kind};
use dbt_lease::dbt::options_1_12::{COMMANDS, TWINS};
use serde_json::{Value as Json, json};

use crate::oracle::ask;

#[test]
fn the_table_is_that_of_the_installed_dbt() {
    let theirs = ask(&json!({"kind": "options"}));
    let commands: Vec<Json> = COMMANDS
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
                        Accepts::Existing => json!("Existing"),
                        Accepts::Choice(words) => json!(words),
                    };
                    json!({
                        "name": option.name, "opts": option.opts, "off": option.off, "kind": kind,
                        "accepts": accepts, "variables": option.variables,
                    })
                })
                .collect();
            json!({
                "words": command.words, "group": command.group, "alone": command.alone,
                "arguments": command.arguments, "options": options,
            })
        })
        .collect();
    assert_eq!(theirs["commands"], json!(commands));
    let twins: Vec<[&str; 2]> = TWINS.iter().map(|(new, old)| [*new, *old]).collect();
    assert_eq!(theirs["twins"], json!(twins));
}

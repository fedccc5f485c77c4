//! Expressions made at random from what profiles use: equal to dbt's, or refused by us.

use dbt_lease::dbt::jinja::{JinjaError, Scope, Secrets, render};
use serde_json::json;

use crate::jinja::{encoded, environment, lookup_in, vars};
use crate::oracle::ask;
use crate::random::Random;

const ATOMS: &[&str] = &[
    "env_var('A')",
    "env_var('PORT')",
    "env_var('NOT', 'd')",
    "env_var('NOT', 5)",
    "env_var('NOT', none)",
    "env_var('EMPTY')",
    "env_var('FLOAT')",
    "env_var('LIST')",
    "var('s')",
    "var('i')",
    "var('l')",
    "var('m')",
    "var('b')",
    "var('n')",
    "foo",
    "x",
    "none",
    "true",
    "false",
    "5",
    "0",
    "-1",
    "2.5",
    "'a'",
    "'5'",
    "''",
    "\"q'\"",
    "[1, 'a']",
    "(1, 2)",
    "{'a': 1}",
    "[]",
    "'True'",
    "'{}-{}'",
    "\"[1, 'a', null]\"",
    "\"{'a': 1}\"",
    "'  p '",
];
const BINARY: &[&str] = &[
    " + ", " - ", " * ", " / ", " // ", " % ", " ** ", " ~ ", " == ", " != ", " < ", " >= ",
    " in ", " not in ", " and ", " or ",
];
const SUFFIXES: &[&str] = &[
    " | int",
    " | float",
    " | as_number",
    " | as_bool",
    " | as_native",
    " | as_text",
    " | capitalize",
    " | list",
    ".capitalize()",
    ".format(5, 'a')",
    " | lower",
    " | upper",
    " | trim",
    " | default('z')",
    " | default('z', true)",
    " | string",
    " | length",
    " | first",
    " | last",
    " | join('-')",
    " | replace('a', 'b')",
    "[0]",
    "[-1]",
    "[1:]",
    "[:2]",
    "['a']",
    ".a",
    ".upper()",
    ".split('a')",
    ".get('a')",
    ".strip()",
    ".startswith('a')",
    " is defined",
    " is none",
    " is not string",
    " is number",
];
const TEXTS: &[&str] = &["", "", "", "a", " ", "\n", "5", "{# c #}", "\r\n", "é"];

fn expression(random: &mut Random, depth: usize) -> String {
    let choice = if depth == 0 { 0 } else { random.below(8) };
    match choice {
        0 | 1 => random.one(ATOMS).to_owned(),
        2 | 3 => format!("{}{}", expression(random, depth - 1), random.one(SUFFIXES)),
        4 => format!(
            "{}{}{}",
            expression(random, depth - 1),
            random.one(BINARY),
            expression(random, depth - 1)
        ),
        5 => format!("({})", expression(random, depth - 1)),
        6 => {
            let test = expression(random, depth - 1);
            let (yes, no) = (expression(random, depth - 1), expression(random, depth - 1));
            if random.below(4) == 0 {
                format!("{yes} if {test}")
            } else {
                format!("{yes} if {test} else {no}")
            }
        }
        _ => format!(
            "{}{}",
            random.one(&["not ", "-", "- "]),
            expression(random, depth - 1)
        ),
    }
}

fn template(random: &mut Random) -> String {
    let mut text = random.one(TEXTS).to_owned();
    for _ in 0..=random.below(2) {
        let inner = expression(random, 3);
        let piece = match random.below(8) {
            0 => format!(
                "{{% if {inner} %}}{}{{% else %}}{{{{ {} }}}}{{% endif %}}",
                random.one(TEXTS),
                expression(random, 1)
            ),
            1 => format!("{{% set x = {inner} %}}{{{{ x }}}}"),
            2 => format!("{{{{- {inner} -}}}}"),
            _ => format!("{{{{ {inner} }}}}"),
        };
        text.push_str(&piece);
        text.push_str(random.one(TEXTS));
    }
    text
}

#[test]
fn random_templates_are_equal_or_refused() {
    let mut random = Random::new();
    let environment = environment();
    let lookup = lookup_in(&environment);
    let (vars_json, vars) = vars();
    let scope = Scope {
        env_var: &lookup,
        secrets: Secrets::Placeholder,
        vars: &vars,
        vault: None,
    };
    let (mut valued, mut failed, mut refused, mut wrong) = (0, 0, 0, Vec::new());
    let count = std::env::var("DBT_LEASE_TEST_CASES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1500);
    for _ in 0..count {
        let text = template(&mut random);
        let ours = match render(&text, &scope) {
            Err(JinjaError::Uncertain { .. }) => {
                refused += 1;
                continue;
            }
            ours => ours,
        };
        let theirs =
            ask(&json!({"kind": "template", "text": text, "env": environment, "vars": vars_json}));
        let same = match &ours {
            Ok(rendered) => theirs
                .get("value")
                .is_some_and(|value| *value == encoded(&rendered.value)),
            Err(_) => theirs.get("refused").is_some(),
        };
        match (same, ours.is_ok()) {
            (true, true) => valued += 1,
            (true, false) => failed += 1,
            (false, _) => wrong.push(format!("{text}\n  dbt:  {theirs}\n  ours: {ours:?}")),
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong of {count}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(
        valued * 4 > count,
        "{valued} values, {failed} failures, {refused} refused of {count}"
    );
}

/// What a text that is converted may be made of.
const PIECES: &[&str] = &[
    "1", "0", "23", "5.", ".5", "e3", "1e", "-", "+", "_", "0x", "1f", "0b1", "j", "a", "b",
    "True", "None", "null", "set()", "'", "\"", "'a'", "\"b\"", "[", "]", "(", ")", "{", "}", ",",
    ":", ", ", ": ", " ", "\t", "\n", "\\", "\\n", "\\'", "#", "é", "٣", ";", ".", "=", "r'",
    "lambda", "not ", " and ", "if", "*", "%", "\u{a0}", "\r", "\u{c}", "...", "1_0", "00", "07",
];

#[test]
fn random_texts_are_converted_as_dbt_converts_them() {
    let mut random = Random::new();
    let vars = dbt_lease::dbt::jinja::Vars::Known(Vec::new());
    let (mut certain, mut wrong) = (0, Vec::new());
    let count = std::env::var("DBT_LEASE_TEST_CASES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1500);
    for case in 0..count {
        let text: String = (0..1 + random.below(7))
            .map(|_| random.one(PIECES))
            .collect();
        let filter = ["as_native", "as_number", "as_bool", "int", "float"][case % 5];
        let template = format!("{{{{ env_var('A') | {filter} }}}}");
        let environment = std::collections::BTreeMap::from([("A", text.as_str())]);
        let lookup = lookup_in(&environment);
        let scope = Scope {
            env_var: &lookup,
            secrets: Secrets::Placeholder,
            vars: &vars,
            vault: None,
        };
        let ours = match render(&template, &scope) {
            Err(JinjaError::Uncertain { .. }) => continue,
            ours => ours,
        };
        let theirs =
            ask(&json!({"kind": "template", "text": template, "env": environment, "vars": {}}));
        let same = match &ours {
            Ok(rendered) => theirs
                .get("value")
                .is_some_and(|value| *value == encoded(&rendered.value)),
            Err(_) => theirs.get("refused").is_some(),
        };
        certain += 1;
        if !same {
            wrong.push(format!(
                "{text:?} | {filter}\n  dbt:  {theirs}\n  ours: {ours:?}"
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong of {count}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(certain * 3 > count, "{certain} certain of {count}");
}

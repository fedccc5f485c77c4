//! Any text as a value of profiles.yml.
#![no_main]

use dbt_lease::dbt::jinja::{LookupOwned, Scope, Secrets, Vars, render};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let lookup = |name: &str| match name {
        "A" => LookupOwned::Text("a".to_owned()),
        "DBT_ENV_SECRET_S" => LookupOwned::Text("s3cret".to_owned()),
        "UNKNOWN" => LookupOwned::Unknown,
        _ => LookupOwned::Missing,
    };
    let vars = Vars::Known(Vec::new());
    let scope = Scope {
        env_var: &lookup,
        secrets: Secrets::Placeholder,
        vars: &vars,
        vault: None,
    };
    let _ = render(text, &scope);
});

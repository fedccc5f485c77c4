//! Templates of profiles.yml, evaluated by us and by dbt: equal, or refused by us.

use std::collections::BTreeMap;

use dbt_lease::dbt::jinja::{JinjaError, LookupOwned, Scope, Secrets, Value, Vars, render};
use serde_json::{Value as Json, json};

use crate::oracle::ask;

const ENVIRONMENT: &[(&str, &str)] = &[
    ("A", "alpha"),
    ("PORT", "5432"),
    ("PADDED", " 12 "),
    ("FLOAT", "1.5e3"),
    ("TRUE", "True"),
    ("LOW", "true"),
    ("EMPTY", ""),
    ("LIST", "[1, 'a', (2,)]"),
    ("ZERO", "0123"),
    ("BRANCH", "feature/Größe-1"),
    ("LINES", "one\r\ntwo\n"),
    ("BRACES", "a{{ 1 }}b"),
    ("DBT_TARGET", "dev"),
    ("DBT_ENV_SECRET_S", "s3cr\net{{x}}"),
    ("DBT_ENV_SECRET_T", "t"),
];

/// Whole templates whose point is their form.
const TEMPLATES: &[&str] = &[
    "", "plain", "plain\n", "two\n\n", "a\r\nb\r", "{{ 5432 }}", "{{ 5432 }}\n", "x{{ 5432 }}", "{{ true }}", "{{ none }}",
    "{{ [1, 'a'] }}", "{{ (1,) }}", "{{ {'a': 1} }}", "{{ 1.0 }}{{ 2 }}", "{{ '' }}", "{# c #}", "{# c #}{{ env_var('PORT') | int }}",
    "{{ env_var('A') }}{# c #}", "a{# c #}b", "{{- env_var('A') -}}", "  {{- env_var('A') }}", "{{ env_var('A') -}}  \n",
    "{% if env_var('A') == 'alpha' %}prod{% else %}dev{% endif %}", "{% if env_var('A') == 'x' %}prod{% elif true %}dev{% endif %}",
    "{% if false %}x{% endif %}", "{% if true %}{{ 5 }}{% endif %}", "{% if true %}{{ env_var('PORT') | int }}{% endif %}",
    "{%- if true -%}  x  {%- endif -%}", "{% set x = env_var('A') %}{{ x }}", "{% set x = 5 %}{{ x }}", "{% set x = 5 %}{{ x }}y",
    "{% set x = 5 %}\n{{ x }}", "{% set x = none %}{{ x }}", "{{ x }}{% set x = 1 %}", "{% set x, y = 1, 2 %}{{ x }}",
    "{% if true %}{% set x = 'in' %}{% endif %}{{ x }}", "{% for i in [1] %}{{ i }}{% endfor %}", "{% raw %}{{ x }}{% endraw %}",
    "{{ env_var('A')", "{{ }}", "{% bogus %}", "{{ 'a' 'b' }}", "{{ 1, 2 }}", "DOMAIN\\{{ env_var('A') }}", "{{ \"a\\n\\\"b\\u007b\" }}",
    "{{ 'a\\d' }}", "{{ '\\x41' }}", "{{ '\\u00e9' }}", "{{ '\\ud83d\\ude00' }}", "{{ 0x10 }}", "{{ 017 }}", "{{ 1_000 }}", "{{ 1e3 }}", "{{ .5 }}", "{{ 1.50 }}",
    "{{ +5 }}", "{{ -5 }}", "{{ - 5 | abs }}", "{{ 'é' }}", "é{{ 1 }}", "}}", "%}", "#}", "{ { x }}", "{{ '}}' }}", "{{ {'a': {'b': 1}}['a']['b'] }}",
    "{{ {'a': 1}.a }}", "{{ {'a': 1}.b }}", "{{ {'a': 1}.items }}", "{{ {'items': 1}.items }}", "{{ {'items': 1}['items'] }}", "{{ {'a': 1, 'a': 2} }}", "{{ {1: 2} }}",
    "{{ env_var('DBT_ENV_SECRET_S') }}", "x{{ env_var('DBT_ENV_SECRET_S') }}y", "{{ env_var('DBT_ENV_SECRET_S') | upper }}",
    "{{ env_var('DBT_ENV_SECRET_S') | length }}", "{{ env_var('DBT_ENV_SECRET_S') == 's' }}", "{{ env_var('DBT_ENV_SECRET_S') }}{{ env_var('DBT_ENV_SECRET_T') }}",
    "{{ env_var('DBT_ENV_SECRET_T') }}{{ env_var('DBT_ENV_SECRET_T') }}", "{{ env_var('DBT_ENV_SECRET_T') }}\n{{ env_var('DBT_ENV_SECRET_T') }}", "{{ [env_var('DBT_ENV_SECRET_T')] }}",
    "{{ env_var('DBT_ENV_SECRET_NOT') }}", "{{ env_var('DBT_ENV_SECRET_NOT', 'd') }}", "DBT_ENV_SECRET_S", "{{ 'DBT_ENV_SECRET_S' }}", "{{ env_var('DBT_ENV_SECRET_T') | as_native }}",
    "{{ env_var('DBT_ENV_SECRET_T') | int }}", "$$$DBT_SECRET_START$$$DBT_ENV_SECRET_T$$$DBT_SECRET_END$$$", "{{ env_var('DBT_ENV_SECRET_T') | replace('DBT', 'X') }}",
    "{{ env_var('BRACES') }}", "{{ env_var('LINES') }}", "{{ env_var('LINES') }}\n", "x {{ env_var('LINES') }}", "{{ env_var('BRANCH') }}", "{{ [env_var('BRANCH')] }}",
    "{{ env_var('DBT_ENGINE_TARGET') }}", "{{ target.name }}", "{{ this }}", "{{ foo }}", "x{{ foo }}", "{{ foo.bar }}", "{{ foo() }}", "{{ foo['x'] }}", "{{ foo | default('d') }}",
    "{{ foo or 'x' }}", "{{ env_var }}", "{{ var }}", "{{ modules.datetime }}", "{{ flags.TARGET }}", "{{ env_var(foo) }}", "{{ env_var(1) }}", "{{ env_var('A', 'b', 'c') }}",
    "{{ env_var(var='A') }}", "{{ env_var('NOT', default='d') }}", "{{ env_var('NOT', none) }}", "{{ env_var('NOT', '') }}", "{{ env_var('NOT', 5) }}", "{{ env_var('NOT', [1]) }}", "{{ env_var('NOT', foo) }}",
    "{{ env_var() }}", "{{ env_var('A', bogus=1) }}", "{{ env_var('NOT') }}", "{{ env_var('NOT') | default('d') }}", "{{ env_var('EMPTY') }}", "{{ env_var('EMPTY', 'd') }}", "{{ env_var('EMPTY') or 'd' }}",
    "{{ var('s') }}", "{{ var('i') }}", "{{ var('i') }}x", "{{ var('n') }}", "{{ var('b') }}", "{{ var('l') }}", "{{ var('m') }}", "{{ var('m').k }}", "{{ var('m')['k'] }}", "{{ var('l')[0] }}", "{{ var('l')[-1] }}", "{{ var('l')[9] }}",
    "{{ var('f') }}", "{{ var('t') }}", "{{ var('not') }}", "{{ var('not', 'd') }}", "{{ var('not', none) }}", "{{ var('not', default=5) }}", "{{ var.has_var('s') }}", "{{ var(1) }}", "{{ var('s', 'd') }}",
    "{{ env_var('A')[:3] }}", "{{ env_var('A')[1:] }}", "{{ env_var('A')[-2:] }}", "{{ env_var('A')[::2] }}", "{{ env_var('A')[0] }}", "{{ env_var('A')[99] }}", "{{ env_var('A')['upper'] }}", "{{ env_var('A').upper }}",
    "{{ 'abc'[1:2] }}", "{{ 'abc'[none:2] }}", "{{ [1,2,3][1:] }}", "{{ 5[1:] }}", "{{ env_var('A') if true }}", "{{ 5 if true }}", "{{ 5 if false }}", "{{ 5 if false else 6 }}", "{{ 5 if true else foo }}", "{{ foo if true else 5 }}x",
    "{{ true and 5 }}", "{{ false and foo }}", "{{ foo and 5 }}", "{{ 0 or 'x' }}", "{{ not foo }}", "{{ not 5 }}", "{{ none or none }}", "{{ (5) }}", "{{ [] }}", "{{ {} }}", "{{ () }}", "{{ [none, true, 1.5, 'a\"b', \"c'd\"] }}",
    "{{ self }}", "{{ loop }}", "{{ return('x') }}", "{{ fromjson('{}') }}", "{{ tojson({}) }}", "{{ range(3) }}", "{{ dict(a=1) }}", "{{ namespace(a=1).a }}", "{{ log('x') }}", "{{ dbt_version }}", "{{ _x }}",
    "{{ env_var('A') is defined }}", "{{ foo is defined }}", "{{ foo is not defined }}", "{{ 5 is defined }}", "{{ 5 is number }}", "{{ true is number }}", "{{ 'a' is string }}", "{{ none is none }}", "{{ 5 is divisibleby 2 }}", "{{ 5 is divisibleby(2) }}", "{{ 'A' is upper }}", "{{ 1 is integer }}", "{{ true is integer }}", "{{ true is boolean }}", "{{ 1 is true }}", "{{ {} is mapping }}", "{{ 1.5 is float }}", "{{ foo is none }}", "{{ 5 is bogus }}",
    "{{ 1 < 2 < 3 }}", "{{ 1 < 2 > 5 }}", "{{ 1 == 1.0 }}", "{{ true == 1 }}", "{{ '1' == 1 }}", "{{ 'a' < 'b' }}", "{{ 'a' < 1 }}", "{{ foo < 1 }}", "{{ foo == bar }}", "{{ foo == '' }}", "{{ none == none }}", "{{ [1] == [1.0] }}", "{{ [1] < [2] }}", "{{ 'é' > 'z' }}", "{{ {} == {} }}",
    "{{ 'a' in 'abc' }}", "{{ 'a' not in 'abc' }}", "{{ 1 in [1, 2] }}", "{{ true in [1] }}", "{{ 'a' in ['a'] }}", "{{ 'a' in {'a': 1} }}", "{{ 1 in 'abc' }}", "{{ foo in 'abc' }}", "{{ 'a' in foo }}", "{{ 'a' in none }}", "{{ 'a' in 5 }}", "{{ [] in {} }}", "{{ '' in 'abc' }}", "{{ foo in [bar] }}",
    "{{ 'a' ~ 1 ~ none ~ true ~ 1.5 }}", "{{ 'a' ~ foo }}", "{{ 'a' + 'b' }}", "{{ 'a' + 1 }}", "{{ 1 + 'a' }}", "{{ 1 + true }}", "{{ 1 + 1.5 }}", "{{ [1] + [2] }}", "{{ (1,) + (2,) }}", "{{ none + 1 }}", "{{ foo + 1 }}", "{{ 1 + foo }}", "{{ 7 // 2 }}", "{{ -7 // 2 }}", "{{ -7 % 3 }}", "{{ 7 % -3 }}", "{{ 7 / 2 }}", "{{ 4 / 2 }}", "{{ 1 / 0 }}", "{{ 1 // 0 }}", "{{ 2 ** 10 }}", "{{ 2 ** -1 }}", "{{ 2 ** 3 ** 2 }}", "{{ -2 ** 2 }}", "{{ 'a' * 3 }}", "{{ '%s' % 'x' }}", "{{ 99999999999999999999 + 1 }}", "{{ 10 ** 50 }}", "{{ -foo }}", "{{ -'a' }}", "{{ -true }}", "{{ 'a' - 'b' }}", "{{ 1e400 }}", "{{ 0.1 + 0.2 }}", "{{ 1 - 2 - 3 }}", "{{ 1 + 2 ~ 3 }}", "{{ 1 ~ 2 + 3 }}", "{{ 'a' ~ 'b' + 'c' }}", "{{ 10 / 3 }}", "{{ 1.0 * 3 }}", "{{ 5.0 // 2 }}",
    "{{ 1 if foo is defined else 2 }}", "{{ 'prod' if env_var('BRANCH') == 'main' else 'dev' }}", "{{ 'prod' if env_var('NOT', 'main') == 'main' else 'dev' }}", "{{ 'ci' if env_var('BRANCH').startswith('feature/') else 'dev' }}", "{{ env_var('BRANCH').split('/')[1] }}", "{{ env_var('BRANCH').split('/') }}", "{{ env_var('BRANCH').split() }}", "{{ env_var('A').split('') }}", "{{ env_var('A').upper() }}", "{{ env_var('BRANCH').upper() }}", "{{ env_var('A').title() }}", "{{ env_var('A').strip('a') }}", "{{ env_var('PADDED').strip() }}", "{{ env_var('PADDED').lstrip() }}", "{{ env_var('PADDED').rstrip() }}", "{{ env_var('A').replace('a', 'b') }}", "{{ env_var('A').replace('a', 'b', 1) }}", "{{ env_var('A').endswith('a') }}", "{{ env_var('A').startswith(1) }}", "{{ env_var('A').format() }}", "{{ env_var('A').bogus() }}", "{{ none.upper() }}", "{{ foo.upper() }}", "{{ {'a': 1}.get('a') }}", "{{ {'a': 1}.get('b') }}", "{{ {'a': 1}.get('b', 2) }}", "{{ {'prod': 'p', 'dev': 'd'}[env_var('DBT_TARGET')] }}", "{{ {'prod': 'p'}.get(env_var('DBT_TARGET'), 'x') }}",
    "{{ 'a' | as_text }}", "{{ 5 | as_text }}", "{{ ('5' | as_number) ~ '1' }}", "{{ ('5' | as_number) + 1 }}", "{{ [ '5' | as_number ] }}", "{{ '5' | as_number | string }}", "{{ '5' | as_native | trim }}", "{{ ' 5' | as_number }}", "x{{ '5' | as_number }}", "{{ '5' | as_number | int }}", "{{ 'True' | as_bool }}", "{{ true | as_bool }}", "{{ foo | as_native }}", "{{ foo | as_number }}", "{{ none | as_native }}", "{{ [1] | as_native }}", "{{ 5 | as_native }}", "{{ 'a' | as_native | as_text }}", "{{ '5' | as_text | as_native }}",
];

/// Filters, each put behind each variable and some constants.
const FILTERS: &[&str] = &[
    "int", "int(7)", "int(none)", "int(default='x')", "int(0, 16)", "float", "float(1)", "as_number", "as_bool", "as_native", "as_text", "lower", "upper", "trim", "trim('a')", "replace('a', 'b')", "replace('', '-')", "replace('a', 'b', 1)", "default('d')", "default('d', true)", "default", "d(5)", "length", "count", "string", "first", "last", "join", "join(', ')", "title", "capitalize", "list", "abs", "bogus", "lower | upper | trim", "int | string", "int + 1",
];

const VALUES: &[&str] = &[
    "env_var('A')", "env_var('PORT')", "env_var('PADDED')", "env_var('FLOAT')", "env_var('TRUE')", "env_var('LOW')", "env_var('EMPTY')", "env_var('LIST')", "env_var('ZERO')", "env_var('BRANCH')", "env_var('NOT')", "env_var('NOT', 5)", "foo", "'12'", "12", "1.9", "-1.9", "none", "true", "[1, 2]", "{'a': 1}", "'1_0'", "'inf'", "'nan'", "'1e5'", "'٣'",
];

/// What `as_native` may meet.
const LITERALS: &[&str] = &[
    "", " ", "5", "-5", "+5", "- 5", "--5", "5 ", " 5", "\t5", "05", "00", "0", "0_0", "1_000", "1__0", "_1", "1_", "0x1F", "0X1f", "0x", "0o17", "0b101", "017", "1.", ".5", ".", "1.5", "01.5", "1e3", "1E3", "1e", "1e+3", "1e-3", "1.e3", "1e400", "1_0.5", "1j", "5;", "5 ;", "5,", "5, 6", "(5)", "(5,)", "()", "[]", "[1]", "[1,]", "[,]", "[1, [2, 'a']]", "{}", "{'a': 1}", "{'a'}", "{1: 2}", "{'a': 1, 'a': 2}", "'a'", "\"a\"", "'a' 'b'", "''", "''''''", "'a", "b'a'", "u'a'", "r'a'", "f'a'", "'a\\n'", "True", "true", "TRUE", "False", "None", "none", "null", "Truex", "True ", "True, 1", "set()", "not 5", "a", "a.b", "a-b", "a b", "a(1)", "1-2", "1+2", "1 2", "2024-01-01", "2024-1-1", "2024-10-10", "10:30", "1:2", "10.0.0.1", "1.2.3", "1..2", "...", "Ellipsis", "inf", "nan", "-inf", "#c", "5#c", "5\n", "\n5", "a\nb", "é", "٣", "1é", "(1", "1)", "lambda: 1", "yes", "no", "1if 1else 2", "0xg", "0b2", "1-", "-", "1--2", "1:", ":1", "9999999999999999999999999999999999999999999",
];

fn environment() -> BTreeMap<&'static str, &'static str> {
    ENVIRONMENT.iter().copied().collect()
}

fn vars() -> (Json, Vars) {
    let json = json!({
        "s": "text", "i": 5, "n": null, "b": true, "l": [1, "two"], "m": {"k": "v"}, "f": 1.5, "t": "{{ 1 }}"
    });
    let text = Value::text;
    let known = vec![
        (text("s"), text("text")),
        (text("i"), Value::Int(5)),
        (text("n"), Value::None),
        (text("b"), Value::Bool(true)),
        (text("l"), Value::List(vec![Value::Int(1), text("two")])),
        (text("m"), Value::Dict(vec![(text("k"), text("v"))])),
        (text("f"), Value::Float(1.5)),
        (text("t"), text("{{ 1 }}")),
    ];
    (json, Vars::Known(known))
}

fn hex(value: f64) -> Json {
    ask(&json!({"kind": "literal", "text": format!("{value:e}")}))["value"].clone()
}

fn encoded(value: &Value) -> Json {
    match value {
        Value::None => Json::Null,
        Value::Bool(value) => json!(value),
        Value::Int(value) => json!({"int": value.to_string()}),
        Value::Float(value) if value.is_finite() => hex(*value),
        Value::Float(value) if value.is_nan() => json!({"float": "nan"}),
        Value::Float(value) => json!({"float": if *value > 0.0 { "inf" } else { "-inf" }}),
        Value::Str(text, _) => json!(text.as_str()),
        Value::List(items) => items.iter().map(encoded).collect(),
        Value::Tuple(items) => json!({"tuple": items.iter().map(encoded).collect::<Vec<_>>()}),
        Value::Dict(entries) => {
            let entries: Vec<_> = entries.iter().map(|(key, value)| [encoded(key), encoded(value)]).collect();
            json!({"dict": entries})
        }
        Value::Undefined(_) => json!({"undefined": true}),
    }
}

#[test]
fn templates_are_equal_or_refused() {
    let environment = environment();
    let lookup = |name: &str| match environment.get(name) {
        Some(value) => LookupOwned::Text((*value).to_owned()),
        None => LookupOwned::Missing,
    };
    let (vars_json, vars) = vars();
    let scope = Scope { env_var: &lookup, secrets: Secrets::Placeholder, vars: &vars, vault: None };
    let mut templates: Vec<String> = TEMPLATES.iter().map(|text| (*text).to_owned()).collect();
    for value in VALUES {
        templates.extend(FILTERS.iter().map(|filter| format!("{{{{ {value} | {filter} }}}}")));
        templates.push(format!("a{{{{ {value} }}}}"));
    }
    for text in LITERALS {
        let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").replace('\t', "\\t");
        templates.push(format!("{{{{ \"{text}\" | as_native }}}}"));
        templates.push(format!("{{{{ \"{text}\" | as_number }}}}"));
    }
    let (mut equal, mut refused, mut wrong) = (0, Vec::new(), Vec::new());
    for text in &templates {
        let theirs = ask(&json!({"kind": "template", "text": text, "env": environment, "vars": vars_json}));
        let ours = render(text, &scope);
        let same = match &ours {
            Err(JinjaError::Uncertain { construct }) => {
                refused.push(format!("{text}: {construct}"));
                continue;
            }
            Err(JinjaError::EnvVarMissing { .. }) => theirs["refused"] == "EnvVarMissingError",
            Err(JinjaError::Failed { .. }) => theirs.get("refused").is_some(),
            Ok(rendered) => theirs.get("value").is_some_and(|value| *value == encoded(&rendered.value)),
        };
        if same {
            equal += 1;
        } else {
            wrong.push(format!("{text}\n  dbt:  {theirs}\n  ours: {ours:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} wrong of {}:\n{}", wrong.len(), templates.len(), wrong.join("\n"));
    assert!(
        templates.len() >= 400 && refused.len() * 4 < templates.len(),
        "{equal} equal, {} refused of {}:\n{}",
        refused.len(),
        templates.len(),
        refused.join("\n")
    );
}

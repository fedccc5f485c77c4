//! `load` against PyYAML's CSafeLoader, `emit` against dbt's own rendering of a profile.

use std::path::Path;
use std::rc::Rc;
use std::sync::LazyLock;

use dbt_lease::dbt::yaml::{Mapping, Merging, Node, Value, YamlError, emit, load, load_merging};
use serde_json::{Value as Json, json};
use zeroize::Zeroizing;

use crate::oracle::ask;

/// What profiles.yml files do not show, and YAML allows.
const SYNTHETIC: [&str; 9] = [
    "a: [!!str, y, !!null ]\nb: |\n  x\u{2028}  y\nc: 'x\u{2028}y \u{85} z'\nd: x\u{2029}  y\ne: x\u{85}  y\r  z\r\n",
    "a: &a {x: 1, y: 2, <<: {z: 3, x: 9}}\nb: {<<: *a, y: 5}\nc: {<<: [*a, {w: 1, x: 0}], v: 1}\nd: {\"<<\": *a, <<: {}}\n",
    "=: lone\n1: a\n1.0: b\ntrue: c\n'1': d\nnull: e\n~: f\n0x1: g\n2024-01-01: h\n2024-01-01 00:00:00: i\n.nan: j\n.NaN: k\n-0.0: l\n0: m\n",
    "ints: [0, -0, 017, 0x1F, 0b101, 1_000, 1:30, 190:20:30, 08, 0o17, 12345678901234567890123, +1, 0_, -0x_f]\n\
     floats: [1., .5, -.5, 1e3, 1.5e+3, 1_0.5, 190:20:30.15, .inf, -.INF, .NaN, +.5, 1.e+1, 1e+16, 0.1]\n\
     others: [yes, No, ON, off, y, n, ~, null, Null, 2001-12-14t21:59:43.10-05:00, 2001-1-1 1:2:3, 2024-02-29]\n",
    "? |\n  block key\n: - one\n  - two: 2\n    three: 3\n  -\n    - nested\n    - ? a\n      : b\n? 'a b'\n: no\n",
    "text: |+2\n    keep\n\n   this\n\nfolded: >-\n  one\n  two\n\n   more\n  end\nstrip: |-\n  x\n\nempty: |\nlast: >\n  y\n",
    "%YAML 1.1\n%TAG !e! tag:yaml.org,2002:\n---\na: !!str 1\nb: !e!int '2'\nc: !!float 3\nd: ! 'yes'\ne: !!bool Yes\nf: !!null ''\n\
     g: !!timestamp 2024-1-3\nh: !<tag:yaml.org,2002:str> x\ni: !!binary aGk=\nj: !!set {a, b}\nk: !!omap [a: 1, b: 2]\nn: !!omap []\no: !!pairs []\nl: !!pairs [a: 1]\nm: !!str {=: v}\n...\n",
    "flow: {a: [1, 2, {b: c}], \"d\":e, ? f : g, h, 'i': , ? : k}\nlist: [a: 1, b, ? c : d, [], {}, 'x''y', \"\\x41\\u00e9\\U0001F600\\\n  z\"]\n",
    "a:\n- 1\n- \n- - 2\n  - 3\nb: &anchor\n  c: d\ne: *anchor\nf: &text word\ng: *text\n*text : h\n# end",
];

/// What a scalar is swapped for, or a line gets added.
const SCALARS: [&str; 58] = [
    "yes",
    "NO",
    "~",
    "",
    "=",
    "<<",
    "1:30",
    "017",
    "08",
    "0x1F",
    "0b1",
    "0b_",
    "1_000",
    "-0",
    "1e3",
    "1.5e+3",
    ".5",
    "-.5",
    ".inf",
    ".NaN",
    "2024-01-31",
    "2024-13-01",
    "2001-12-14 21:59:43.1 Z",
    "{{ x }}",
    "{{ env_var('X') }}",
    "\"{{ env_var('X') }}\"",
    "{% if x %}",
    "'it''s'",
    "\"\\x41\\n\"",
    "\"open",
    "'open",
    "[a, b",
    "{a: b",
    "[]",
    "{}",
    "[a: b]",
    "{a, b: }",
    "&a x",
    "*a",
    "*b",
    "!x y",
    "!!int 12",
    "!!int abc",
    "!!str yes",
    "!!binary aGk=",
    "!!set {a}",
    "! 12",
    "|",
    ">-",
    "|2",
    "- a",
    "? a",
    "a: b: c",
    "@x",
    "`x`",
    "%x",
    "a #b",
    "12345678901234567890123",
];

/// What is put in at any place.
const SIGNS: [&str; 34] = [
    "\t", " ", "  ", "\n", "\r", "\r\n", "\u{85}", "\u{2028}", "\u{feff}", ":", ": ", " :", "-",
    "- ", "?", "? ", "#", " #", "'", "\"", "{", "}", "[", "]", ",", "&a ", "*a ", "!", "!!str ",
    "<<: *a", "---\n", "...\n", "\u{e9}", "\\",
];

/// A fixed sequence of numbers (SplitMix64), so that a failure comes back.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }

    fn pick<'a, T: ?Sized>(&mut self, items: &[&'a T]) -> &'a T {
        items[self.below(items.len())]
    }
}

fn fixtures() -> Vec<(String, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/profiles");
    let entries = std::fs::read_dir(directory).expect("fixtures/profiles is there");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("it can be listed").path())
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("a fixture is text");
            (path.display().to_string(), text)
        })
        .collect()
}

#[test]
fn the_fixtures_and_the_corners_of_yaml_load_as_in_pyyaml() {
    for (name, text) in fixtures() {
        let compared = compare(text.as_bytes());
        assert_eq!(compared, Ok(true), "{name}");
    }
    for text in SYNTHETIC {
        assert_eq!(compare(text.as_bytes()), Ok(true), "{text}");
    }
}

/// libyaml takes a key without `?` up to 1024 characters, not bytes.
#[test]
fn long_keys_end_where_they_end_in_pyyaml() {
    let mut accepted = 0;
    for length in [100, 600, 1_000].into_iter().chain(1_018..1_032) {
        for sign in ["a", "\u{e9}", "\u{1f600}"] {
            let key = sign.repeat(length);
            for document in [
                format!("{key}: x"),
                format!("\"{key}\": x"),
                format!("{{{key}: x}}"),
                format!("[{key}]: x"),
            ] {
                let compared = compare(document.as_bytes());
                assert!(compared.is_ok(), "{length} x {sign}: {compared:?}");
                accepted += usize::from(compared == Ok(true));
            }
        }
    }
    assert!((30..180).contains(&accepted), "{accepted}");
}

/// Words in every case that matters, and 6,000 random texts of the signs that numbers and dates are made of; plain and
/// under each tag that converts.
#[test]
fn scalars_have_the_types_and_values_of_pyyaml() {
    let words = [
        "yes", "no", "true", "false", "on", "off", "null", "~", "y", "n", ".inf", ".nan", "-.inf",
        "+.nan", "=", "<<", "none", "nan", "inf", "infinity",
    ];
    let mut scalars: Vec<String> = words
        .iter()
        .flat_map(|word| {
            let (first, rest) = word.split_at(1);
            [
                word.to_string(),
                word.to_uppercase(),
                first.to_uppercase() + rest,
                first.to_owned() + &rest.to_uppercase(),
            ]
        })
        .collect();
    let digits = [
        "0", "1", "7", "8", "9", "00", "12", "59", "60", "2024", "_", "x", "b", "o", "e", "E",
        "e+", "e-3", "-", "+", ".", ":", "f", "_0",
    ];
    let dates = [
        "2024", "1999", "0000", "-01", "-1", "-12", "-13", "-31", "-29", "-02", "T", "t", " ", "1",
        "01", "23", "24", ":00", ":5", ":59", ":60", ".", ".123", ".1234567", "Z", " Z", "+1",
        "-05:30", "+23:59", "+24",
    ];
    let mut random = Random(3);
    for _ in 0..3_000 {
        let length = random.below(6) + 1;
        scalars.push((0..length).map(|_| random.pick(&digits)).collect());
        // Half of the dates have the right parts in the right order.
        let length = random.below(9) + 1;
        let date: String = (0..length).map(|_| random.pick(&dates)).collect();
        let ordered = [
            &dates[..3],
            &dates[3..10],
            &dates[3..10],
            &dates[10..13],
            &dates[13..17],
            &dates[17..21],
            &dates[17..21],
            &dates[21..24],
            &dates[24..],
        ];
        let time: String = ordered[..[3, 7, 8, 9][random.below(4)]]
            .iter()
            .map(|parts| random.pick(parts))
            .collect();
        scalars.push(if random.below(2) == 0 { date } else { time });
    }
    let mut failures = Vec::new();
    for scalar in scalars {
        let forms = [
            format!("{scalar}\n"),
            format!("a: {scalar}\n{scalar}: b\n1: c\n"),
            format!("! \"{scalar}\\n\""),
            format!("!!int '{scalar}'"),
            format!("!!float '{scalar}'"),
            format!("!!timestamp '{scalar}'"),
            format!("!!bool '{scalar}'"),
        ];
        failures.extend(
            forms
                .into_iter()
                .filter_map(|form| compare(form.as_bytes()).err().map(|error| (form, error))),
        );
    }
    assert!(
        failures.is_empty(),
        "{} differ, first: {:#?}",
        failures.len(),
        &failures[..failures.len().min(12)]
    );
}

/// Merges of merges, with keys that are one object in Python and keys that are not.
#[test]
fn merges_take_the_values_of_the_installed_pyyaml() {
    let keys = ["a", "é", "\u{4e00}", "\"\"", "1", "ab", "threads", "true"];
    let mut random = Random(4);
    let (mut certain, mut failures) = (0, Vec::new());
    for _ in 0..2_000 {
        let mut document = String::new();
        for anchor in 0..5 {
            let mut parts: Vec<String> = (0..=random.below(3))
                .map(|_| format!("{}: {}", random.pick(&keys), random.below(3)))
                .collect();
            for _ in 0..random.below(3).min(anchor) {
                let names: Vec<String> = (0..=random.below(3))
                    .map(|_| format!("*m{}", random.below(anchor)))
                    .collect();
                let merged = match names.as_slice() {
                    [name] if random.below(2) == 0 => name.clone(),
                    names => format!("[{}]", names.join(", ")),
                };
                let at = random.below(parts.len() + 1);
                parts.insert(at, format!("<<: {merged}"));
            }
            document.push_str(&format!("x{anchor}: &m{anchor} {{{}}}\n", parts.join(", ")));
        }
        match compare(document.as_bytes()) {
            Ok(_) => certain += usize::from(load(document.as_bytes()).is_ok()),
            Err(difference) => failures.push(format!("{difference}\n{document}")),
        }
    }
    assert!(
        failures.is_empty(),
        "{} differ: {:#?}",
        failures.len(),
        failures.first()
    );
    assert!(
        (200..1_800).contains(&certain),
        "{certain} without the version"
    );
}

/// 6,000 documents, each with one to three changes.
#[test]
fn mutated_documents_load_as_in_pyyaml_or_are_refused_as_there() {
    let mut bases: Vec<String> = fixtures().into_iter().map(|(_, text)| text).collect();
    bases.extend(SYNTHETIC.map(str::to_owned));
    let mut random = Random(1);
    let (mut loaded, mut failures) = (0, Vec::new());
    for _ in 0..6_000 {
        let mut text = bases[random.below(bases.len())].clone();
        for _ in 0..=random.below(3) {
            text = mutate(&text, &mut random);
        }
        if random.below(50) == 0 {
            text.insert(0, '\u{feff}');
        }
        let mut bytes = text.into_bytes();
        if random.below(4) == 0 {
            bytes.truncate(random.below(bytes.len() + 1));
        }
        match compare(&bytes) {
            Ok(accepted) => loaded += usize::from(accepted),
            Err(difference) => {
                failures.push((String::from_utf8_lossy(&bytes).into_owned(), difference))
            }
        }
    }
    let shown: Vec<_> = failures
        .iter()
        .take(3)
        .map(|(text, difference)| format!("{difference}\n{text}"))
        .collect();
    assert!(
        failures.is_empty(),
        "{} differ, first:\n{}",
        failures.len(),
        shown.join("\n----\n")
    );
    // Both outcomes must be common, or the comparison says little.
    assert!((1_500..4_500).contains(&loaded), "{loaded} of 6000 loaded");
}

fn mutate(text: &str, random: &mut Random) -> String {
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    if lines.is_empty() {
        return random.pick(&SCALARS).to_owned();
    }
    let at = random.below(lines.len());
    let line = lines[at].clone();
    match random.below(12) {
        0 => lines[at] = format!("{}{line}", " ".repeat(random.below(4) + 1)),
        1 => {
            lines[at] = line
                .strip_prefix(&" ".repeat(random.below(3) + 1))
                .unwrap_or(&line)
                .to_owned()
        }
        2 => lines[at] = format!("\t{line}"),
        3 => {
            lines.remove(at);
        }
        4 => lines.insert(at, line),
        5 => {
            let other = random.below(lines.len());
            lines.swap(at, other);
        }
        6..=8 => {
            let scalar = random.pick(&SCALARS);
            lines[at] = match line.split_once(": ") {
                Some((key, _)) => format!("{key}: {scalar}\n"),
                None => format!("{line}{scalar}\n"),
            };
        }
        9 => lines[at] = line.replace(['"', '\''], ""),
        10 => lines[at] = line.replace('\n', "\r\n"),
        _ => {
            let place = random.below(line.chars().count() + 1);
            let byte = line
                .char_indices()
                .nth(place)
                .map_or(line.len(), |(index, _)| index);
            lines[at].insert_str(byte, random.pick(&SIGNS));
        }
    }
    lines.concat()
}

/// Whether both take the document; an error where only one does, or the values differ.
fn compare(document: &[u8]) -> Result<bool, String> {
    let theirs = ask(&json!({"kind": "yaml_load", "document": base64(document)}));
    let known = load_merging(document, Some(*MERGING));
    agrees_or_refuses(&known, &load(document))?;
    match known {
        Ok(node) => {
            let ours = json_of(&node);
            if theirs.get("value") == Some(&ours) {
                Ok(true)
            } else {
                Err(format!("ours {ours}, theirs {theirs}"))
            }
        }
        Err(error) => {
            let endless = theirs.get("endless").is_some() && error.kind() == "yaml_recursive_alias";
            if theirs.get("refused").is_none() && !endless {
                return Err(format!("ours {error}, theirs {theirs}"));
            }
            // Where they name a place, it is ours; a template without quotes we show from its first brace on.
            let place = |key| theirs.get(key).and_then(Json::as_u64);
            let ours = (Some(error.line() as u64), Some(error.column() as u64));
            if place("line").is_some()
                && (place("line"), place("column")) != ours
                && error.kind() != "yaml_unquoted_template"
            {
                return Err(format!("ours {error}, theirs {theirs}"));
            }
            Ok(false)
        }
    }
}

/// How the installed PyYAML merges.
static MERGING: LazyLock<Merging> = LazyLock::new(|| {
    let answer = ask(&json!({"kind": "yaml_version"}));
    let version = answer["version"].as_str().expect("a version");
    Merging::of_version(version).unwrap_or_else(|| panic!("PyYAML {version} is not known"))
});

/// Without the version of PyYAML the values are the same, or the merges are refused.
fn agrees_or_refuses(
    known: &Result<Rc<Node>, YamlError>,
    unknown: &Result<Rc<Node>, YamlError>,
) -> Result<(), String> {
    match (known, unknown) {
        (_, Err(error)) if error.kind() == "yaml_merge_conflict" => Ok(()),
        // The order of keys may be the other version's.
        (Ok(known), Ok(unknown)) if sorted(json_of(known)) == sorted(json_of(unknown)) => Ok(()),
        (Err(known), Err(unknown)) if known == unknown => Ok(()),
        (known, unknown) => Err(format!("by the version {known:?}, without it {unknown:?}")),
    }
}

fn sorted(value: Json) -> Json {
    match value {
        Json::Array(items) => items.into_iter().map(sorted).collect(),
        Json::Object(mut map) => match map.remove("map") {
            Some(Json::Array(pairs)) => {
                let mut pairs: Vec<Json> = pairs.into_iter().map(sorted).collect();
                pairs.sort_by_key(Json::to_string);
                json!({"pairs": pairs})
            }
            _ => Json::Object(map),
        },
        other => other,
    }
}

/// The same JSON as oracle.py's `Encoder` makes.
fn json_of(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Bool(value) => json!(value),
        Value::Int(digits) => json!({"int": digits}),
        Value::Float(value) => json!({"float": python_hex(*value)}),
        Value::Str(text) | Value::Literal(text) => json!(text.as_str()),
        Value::Timestamp(text) => json!({"timestamp": text}),
        Value::List(items) => items.iter().map(|item| json_of(item)).collect(),
        Value::Map(mapping) => {
            let pairs: Vec<_> = mapping
                .0
                .iter()
                .map(|(key, value)| json!([json_of(key), json_of(value)]))
                .collect();
            json!({"map": pairs})
        }
        // Python makes both of them lists of pairs.
        Value::Unusable("!!omap" | "!!pairs") => json!({"unusable": "pairs"}),
        Value::Unusable(tag) => json!({"unusable": tag}),
    }
}

/// Python's `float.hex()`.
fn python_hex(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    let sign = if value.is_sign_negative() { "-" } else { "" };
    if value.is_infinite() {
        return format!("{sign}inf");
    }
    let bits = value.to_bits();
    let (exponent, fraction) = (((bits >> 52) & 0x7ff) as i64, bits & ((1 << 52) - 1));
    match (exponent, fraction) {
        (0, 0) => format!("{sign}0x0.0p+0"),
        (0, _) => format!("{sign}0x0.{fraction:013x}p-1022"),
        _ => format!("{sign}0x1.{fraction:013x}p{:+}", exponent - 1023),
    }
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk
            .iter()
            .chain([&0, &0])
            .take(3)
            .fold(0_usize, |group, byte| group << 8 | usize::from(*byte));
        for place in 0..4 {
            let sign = if place <= chunk.len() {
                ALPHABET[group >> (18 - 6 * place) & 63]
            } else {
                b'='
            };
            text.push(char::from(sign));
        }
    }
    text
}

/// Every triple of the signs that YAML or Jinja know, and random texts: 2,031 in all.
pub(crate) fn hostile_strings() -> Vec<String> {
    let signs = ["{", "}", "%", "#", "-", "'", "\"", "\\", "\n", "\r", " "];
    let mut strings = Vec::new();
    for one in signs {
        for two in signs {
            for three in signs {
                strings.push(format!("{one}{two}{three}"));
            }
        }
    }
    let pieces = [
        "{{",
        "}}",
        "{%",
        "%}",
        "{#",
        "#}",
        "{{ 1 }}",
        "{% raw %}",
        "{% endraw %}",
        "\r\n",
        "\n",
        "\t",
        "\u{7f}",
        "\u{85}",
        "\u{a0}",
        "\u{2028}",
        "\u{feff}",
        "\u{fffe}",
        "\u{ffff}",
        "\u{1}",
        "\u{1b}",
        "\\n",
        "\\u0041",
        "\\",
        "é",
        "😀",
        "漢",
        "0123",
        "1e3",
        "True",
        "None",
        "[1]",
        "(1, 2)",
        ": ",
        " #",
        "- ",
        "!",
        "&a",
        "*a",
        "|",
        ">",
        "'",
        "\"",
        "${X}",
        "%s",
        "a",
        "secret",
        "=",
        "<<",
        "~",
    ];
    let mut random = Random(2);
    for _ in 0..700 {
        let length = random.below(8) + 1;
        strings.push((0..length).map(|_| random.pick(&pieces)).collect());
    }
    strings
}

/// The name says where: the four positions differ in dbt (`password` forgives, nested ones are walked).
#[test]
fn hostile_strings_reach_dbt_unchanged_at_password_user_nested_map_and_list() {
    let mut failures = Vec::new();
    for text in hostile_strings() {
        let literal = || Rc::new(Node::of(Value::Literal(Zeroizing::new(text.clone()))));
        let output = map(&[
            ("type", string("postgres")),
            ("user", literal()),
            ("password", literal()),
            ("keyfile_json", Rc::new(map(&[("private_key", literal())]))),
            (
                "secrets",
                Rc::new(Node::of(Value::List(vec![
                    literal(),
                    Rc::new(map(&[("key", literal())])),
                ]))),
            ),
        ]);
        let document = emit(&profile("p", "t", Rc::new(output))).expect("it can be emitted");
        let answer =
            ask(&json!({"kind": "profile_render", "document": document.as_str(), "profile": "p"}));
        let wanted = json!({"target": "t", "output": {"map": [
            ["type", "postgres"],
            ["user", text],
            ["password", text],
            ["keyfile_json", {"map": [["private_key", text]]}],
            ["secrets", [text, {"map": [["key", text]]}]],
        ]}});
        if answer != wanted {
            failures.push((text, answer));
        }
    }
    assert!(
        failures.is_empty(),
        "{} strings changed, first {:?}",
        failures.len(),
        failures.first()
    );
}

/// Random doubles of every magnitude, ints beyond 64 bits, dates: written by us, read by PyYAML.
#[test]
fn numbers_and_dates_that_are_written_keep_type_and_value() {
    let mut random = Random(4);
    let mut values = vec![
        Value::Float(f64::NAN),
        Value::Float(f64::INFINITY),
        Value::Float(f64::NEG_INFINITY),
        Value::Float(-0.0),
    ];
    for _ in 0..1_000 {
        let bits = (random.below(usize::MAX) as u64) ^ ((random.below(2) as u64) << 63);
        values.push(Value::Float(f64::from_bits(bits)));
        let magnitude = 10_f64.powi(random.below(40) as i32 - 15);
        values.push(Value::Float(magnitude * random.below(100) as f64));
        values.push(Value::Int(format!(
            "-{}{}",
            random.below(9) + 1,
            random.below(usize::MAX)
        )));
        let [day, hour, micros] = [
            random.below(28) + 1,
            random.below(24),
            random.below(1_000_000),
        ];
        values.push(Value::Timestamp(format!("2024-02-{day:02}")));
        values.push(Value::Timestamp(format!(
            "0001-12-{day:02}T{hour:02}:00:59.{:06}-05:30",
            micros.max(1)
        )));
    }
    let list = Node::of(Value::List(
        values
            .into_iter()
            .map(|value| Rc::new(Node::of(value)))
            .collect(),
    ));
    let document = emit(&list).expect("it can be emitted");
    let theirs = ask(&json!({"kind": "yaml_load", "document": base64(document.as_bytes())}));
    assert_eq!(theirs, json!({"value": json_of(&list)}));
}

/// Keys are not rendered, so a template in one stays as it is.
#[test]
fn hostile_keys_reach_dbt_unchanged() {
    let pairs: Vec<_> = hostile_strings()
        .into_iter()
        .map(|text| (text, string("value")))
        .collect();
    let mut mapping = Mapping::default();
    for (key, value) in &pairs {
        mapping.set(key, Rc::clone(value));
    }
    mapping.set(&"k".repeat(5_000), string("long"));
    mapping.set(&"é".repeat(300), Rc::new(map(&[("nested", string("x"))])));
    let wanted = json_of(&Node::of(Value::Map(mapping.clone())));
    let document = emit(&profile("p", "t", Rc::new(Node::of(Value::Map(mapping)))))
        .expect("it can be emitted");
    let answer =
        ask(&json!({"kind": "profile_render", "document": document.as_str(), "profile": "p"}));
    assert_eq!(answer, json!({"target": "t", "output": wanted}));
}

/// Each output of each fixture: the file as it is, and our re-emission of its one output, rendered by dbt.
#[test]
fn outputs_passed_through_render_as_the_files_they_come_from() {
    let environments = [
        json!({}),
        json!({
            "DBT_TARGET": "prod", "USER": "jo", "PGUSER": "{{ 1 }}", "PGPASSWORD": "p{{q", "PGPORT": "6543", "CI": "true",
            "DBT_ENV_SECRET_PASSWORD": "s3cr\"et\n", "S2_PASSWORD": "a\r\nb", "S2_SUFFIX": "", "TRINO_PASSWORD": "'; --",
        }),
    ];
    let mut outputs_seen = 0;
    for (name, text) in fixtures() {
        let root = load_merging(text.as_bytes(), Some(*MERGING)).expect("a fixture loads");
        for (profile_key, body) in &root.map().expect("a map").0 {
            let profile_name = profile_key.text().expect("a text");
            let Some(outputs) = body
                .map()
                .and_then(|body| body.get("outputs"))
                .and_then(|outputs| outputs.map())
            else {
                continue;
            };
            for (target, output) in &outputs.0 {
                outputs_seen += 1;
                let target = target.text().expect("a text");
                let ours = emit(&profile(profile_name, target, Rc::clone(output)))
                    .expect("it can be emitted");
                for env in &environments {
                    let question = |document: &str| {
                        let request = json!({"kind": "profile_render", "document": document, "profile": profile_name, "target": target, "env": env});
                        ask(&request)
                    };
                    assert_eq!(question(&ours), question(&text), "{name}: {target}");
                }
            }
        }
    }
    assert!(outputs_seen > 35, "{outputs_seen}");
}

fn string(text: &str) -> Rc<Node> {
    Rc::new(Node::of(Value::Str(Zeroizing::new(text.to_owned()))))
}

fn map(pairs: &[(&str, Rc<Node>)]) -> Node {
    Node::of(Value::Map(Mapping(
        pairs
            .iter()
            .map(|(key, value)| (string(key), Rc::clone(value)))
            .collect(),
    )))
}

fn profile(name: &str, target: &str, output: Rc<Node>) -> Node {
    let outputs = Rc::new(map(&[(target, output)]));
    map(&[(
        name,
        Rc::new(map(&[("target", string(target)), ("outputs", outputs)])),
    )])
}

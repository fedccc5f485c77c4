//! What `load` and `emit` promise together. That the values are PyYAML's is for tests/differential to say.

use std::rc::Rc;

use proptest::collection::vec;
use proptest::prelude::*;
use zeroize::Zeroizing;

use super::{
    EmitError, Mapping, Mark, Merging, Node, Value, YamlError, emit, last_key, load, load_merging,
};

fn refused(document: &str) -> YamlError {
    load(document.as_bytes()).expect_err(document)
}

fn loaded(document: &str) -> Rc<Node> {
    load(document.as_bytes()).unwrap_or_else(|error| panic!("{error} in {document}"))
}

/// The document again, in our own spelling.
fn again(document: &str) -> String {
    emit(&loaded(document)).expect(document).to_string()
}

fn node(value: Value) -> Rc<Node> {
    Rc::new(Node::of(value))
}

fn literal(text: &str) -> Rc<Node> {
    node(Value::Literal(Zeroizing::new(text.to_owned())))
}

fn map(pairs: Vec<(&str, Rc<Node>)>) -> Node {
    let mut mapping = Mapping::default();
    for (key, value) in pairs {
        mapping.set(key, value);
    }
    Node::of(Value::Map(mapping))
}

#[test]
fn usual_mistakes_have_their_own_names_places_and_cures() {
    #[rustfmt::skip]
    let cases = [
        ("a: 1\nuser: {{ env_var('X') }}\n", "yaml_unquoted_template", 2, "put the template in quotes"),
        ("a: 1\nuser: {{ env_var('X', 'y') }}\n", "yaml_unquoted_template", 2, "put the template in quotes"),
        ("a: 1\nuser: {{ x }}_y\n", "yaml_unquoted_template", 2, "put the template in quotes"),
        ("a: 1\nuser: {% if x %}a{% endif %}\n", "yaml_unquoted_template", 2, "put the template in quotes"),
        ("list:\n  - {{ x }}\n", "yaml_unquoted_template", 2, "put the template in quotes"),
        ("a:\n\tb: 1\n", "yaml_tab", 2, "indent with spaces"),
        ("a:\n  b: 1\n\tc: 2\n", "yaml_tab", 3, "indent with spaces"),
        ("a: &x 1\nb: &x 2\n", "yaml_duplicate_anchor", 2, "`&` goes in quotes"),
        ("a: *x\n", "yaml_undefined_alias", 1, "`*` goes in quotes"),
        ("a: &x {b: *x}\n", "yaml_recursive_alias", 1, "write the node out"),
        ("a: 1\n---\nb: 2\n", "yaml_second_document", 2, "remove the `---`"),
        ("a: !x b\n", "yaml_unknown_tag", 1, "`!` goes in quotes"),
        ("a: !!python/name:os.system b\n", "yaml_unknown_tag", 1, "remove the tag"),
        ("[a]: b\n", "yaml_unhashable_key", 1, "a template goes in quotes"),
        ("a: @b\n", "yaml_syntax", 1, "put the value in quotes"),
        ("a: b: c\n", "yaml_syntax", 1, "in quotes"),
        ("a: =\n", "yaml_bad_value", 1, "in quotes"),
        ("a: 2024-13-01\n", "yaml_bad_value", 1, "in quotes"),
        ("a: !!int abc\n", "yaml_bad_value", 1, "in quotes"),
        ("a: !!seq {}\n", "yaml_bad_value", 1, "remove the tag"),
        ("<<: text\n", "yaml_bad_merge", 1, "name a map"),
        ("a: \u{1}\n", "yaml_control_character", 1, "remove the character"),
        ("a: \"open\n", "yaml_syntax", 2, "close the quote"),
    ];
    for (document, kind, line, hint) in cases {
        let error = refused(document);
        assert_eq!(
            (error.kind(), error.line()),
            (kind, line),
            "{document}: {error}"
        );
        assert!(
            error.hint().is_some_and(|text| text.contains(hint)),
            "{document}: {:?}",
            error.hint()
        );
    }
}

#[test]
fn a_message_reads_like_a_sentence_with_its_place() {
    assert_eq!(
        refused("a:\n  user: {{ x }}\n").to_string(),
        "line 2, column 9: a template that is not in quotes, so YAML reads its braces as a map"
    );
    assert_eq!(
        refused("a: 'b' c\n").to_string(),
        "line 1, column 8: did not find expected key (while parsing a block mapping)"
    );
}

#[test]
fn bytes_that_are_not_utf8_are_refused_where_they_stand() {
    let error = load(b"a: b\npassword: \xe9\n").expect_err("latin-1");
    assert_eq!(
        (error.kind(), error.line(), error.column()),
        ("yaml_not_utf8", 2, 11)
    );
    assert_eq!(
        load(b"\xff\xfea\0").expect_err("UTF-16").kind(),
        "yaml_not_utf8"
    );
}

#[test]
fn an_error_never_shows_text_of_the_file() {
    #[rustfmt::skip]
    let values = [
        "!hunter2", "*hunter2", "&hunter2 x: y", "@hunter2", "%hunter2", "`hunter2", "hunter2: hunter2", "'hunter2", "\"hunter2\\q\"",
        "!!int hunter2", "[hunter2", "{hunter2: [}", "{{ hunter2 }}", "{% hunter2", "? hunter2", "!!hunter2 x", "|hunter2", "\thunter2: x", "hunter2\n b: c",
        "{[hunter2]: x}", "<<hunter2>>: {", "!<hunter2> x", "!!binary hunter2",
    ];
    for value in values {
        for document in [
            format!("password: {value}\n"),
            format!("p:\n  - {value}"),
            value.to_owned(),
        ] {
            if let Err(error) = load(document.as_bytes()) {
                let shown = format!("{error} {error:?} {:?}", error.hint());
                assert!(!shown.contains("hunter2"), "{document}: {shown}");
            }
        }
    }
    let shown = format!(
        "{:?}",
        loaded("a: hunter2\nb: 314159\nc: 314159.5\nhunter2: 3141-05-09")
    );
    assert!(
        !shown.contains("hunter2") && !shown.contains("3141"),
        "{shown}"
    );
}

#[test]
fn a_byte_order_mark_crlf_and_an_explicit_end_are_fine() {
    assert_eq!(
        again("\u{feff}a: 1\r\nb: 2\r\n...\r\n"),
        "\"a\": 1\n\"b\": 2\n"
    );
}

#[test]
fn no_document_is_null() {
    for document in ["", "\n", "# only a comment\n", "---\n", "---\n...\n", "~"] {
        assert!(
            matches!(loaded(document).value, Value::Null),
            "{document:?}"
        );
    }
}

#[test]
fn a_block_scalar_that_ends_the_file_without_a_newline_is_read() {
    assert_eq!(again("a: |\n  x"), "\"a\": \"x\"\n");
    assert_eq!(again("a: >"), "\"a\": \"\"\n");
}

#[test]
fn the_last_of_duplicate_keys_wins_at_the_place_of_the_first() {
    assert_eq!(again("a: 1\nb: 2\na: 3\n"), "\"a\": 3\n\"b\": 2\n");
    assert_eq!(
        again("1: a\n1.0: b\ntrue: c\n'1': d\n"),
        "1: \"c\"\n\"1\": \"d\"\n"
    );
    assert_eq!(
        again(".nan: a\n.NAN: b\n-0.0: c\n0: d\n"),
        ".nan: \"b\"\n-0.0: \"d\"\n"
    );
}

#[test]
fn merged_keys_come_first_and_own_keys_win() {
    assert_eq!(
        again("x: &x {a: 1, b: 2}\ny: {b: 3, c: 4, <<: *x}\n"),
        "\"x\":\n  \"a\": 1\n  \"b\": 2\n\"y\":\n  \"a\": 1\n  \"b\": 3\n  \"c\": 4\n"
    );
    let both = "x: [&x {a: 1, b: 2}, &y {b: 3, c: 4}]\nz: {<<: [*x, *y]}\n";
    let node = load_merging(both.as_bytes(), Some(Merging::FirstWins)).expect("it loads");
    let merged = emit(&node).expect("it can be written").to_string();
    assert!(
        merged.ends_with("\"z\":\n  \"b\": 2\n  \"c\": 4\n  \"a\": 1\n"),
        "{merged}"
    );
    assert_eq!(again("'<<': {a: 1}\n"), "\"<<\":\n  \"a\": 1\n");
}

/// As PyYAML 6.0.4 does, whose own comparisons are a recipe.
#[test]
fn a_merge_follows_the_version_of_pyyaml_or_is_refused_where_versions_differ() {
    assert_eq!(Merging::of_version("5.4.1"), Some(Merging::FirstWins));
    assert_eq!(Merging::of_version("6.0.3"), Some(Merging::FirstWins));
    assert_eq!(Merging::of_version("6.0.4"), Some(Merging::LastWins));
    assert_eq!(Merging::of_version("6.0.5"), None);
    let first = |document: &str, merging| {
        let root = load_merging(document.as_bytes(), Some(merging)).expect(document);
        let map = root.map().and_then(|map| map.get("z")?.map().cloned());
        map.expect(document).0[0].1.text().map(str::to_owned)
    };
    for (document, older, newer, hint) in [
        (
            "x: [&x {port: a}, &y {port: b}]\nz: {<<: [*x, *y]}\n",
            "a",
            "b",
            Some("beside `<<`"),
        ),
        // One character is one object, the first.
        (
            "x: &x {p: a}\ny: &y {<<: *x, p: b}\nz: {<<: *y}\n",
            "b",
            "a",
            Some("beside `<<`"),
        ),
        // What comes by two ways counts where it comes first.
        (
            "x: &x {port: a}\ny: &y {<<: *x, port: b}\nz: {<<: [*y, *x]}\n",
            "b",
            "b",
            None,
        ),
        (
            "x: [&x {port: a}, &y {port: a}]\nz: {<<: [*x, *y]}\n",
            "a",
            "a",
            None,
        ),
        (
            "x: [&x {port: a}, &y {port: b}]\nz: {<<: [*x, *y], port: c}\n",
            "c",
            "c",
            None,
        ),
    ] {
        assert_eq!(
            first(document, Merging::FirstWins).as_deref(),
            Some(older),
            "{document}"
        );
        assert_eq!(
            first(document, Merging::LastWins).as_deref(),
            Some(newer),
            "{document}"
        );
        match (load(document.as_bytes()), hint) {
            (Ok(_), None) => {}
            (Err(error), Some(hint)) => {
                assert_eq!(error.kind(), "yaml_merge_conflict");
                assert!(
                    error.hint().is_some_and(|said| said.contains(hint)),
                    "{error:?}"
                );
            }
            (loaded, _) => panic!("{document}: {loaded:?}"),
        }
    }
}

#[test]
fn an_alias_shares_its_node() {
    let root = loaded("a: &x [1, 2]\nb: *x\n");
    let mapping = root.map().expect("a map");
    let (a, b) = (mapping.get("a").expect("a"), mapping.get("b").expect("b"));
    assert!(Rc::ptr_eq(a, b));
}

#[test]
fn what_dbt_takes_no_value_of_loads_and_is_refused_when_written() {
    let root = loaded("good: 1\nbad:\n  - x\n  - !!binary aGk=\n");
    assert_eq!(
        emit(&root),
        Err(EmitError::Unusable {
            path: "bad.1".to_owned(),
            mark: Mark { line: 4, column: 5 },
            tag: "!!binary"
        })
    );
    assert!(emit(root.map().and_then(|map| map.get("good")).expect("good")).is_ok());
}

#[test]
fn an_alias_bomb_loads_and_is_refused_when_written() {
    let mut bomb = "a0: &a0 [x]\n".to_owned();
    for level in 1..40 {
        let below = format!("*a{}", level - 1);
        bomb += &format!(
            "a{level}: &a{level} [{}]\n",
            [below.as_str(); 10].join(", ")
        );
    }
    assert_eq!(emit(&loaded(&bomb)), Err(EmitError::TooLarge));
    let long = "x".repeat(1 << 20);
    let wide = format!("a: &a {long}\nb: [{}]\n", ["*a"; 100].join(", "));
    assert_eq!(emit(&loaded(&wide)), Err(EmitError::TooLarge));
}

#[test]
fn a_merge_bomb_is_refused() {
    let mut bomb = "a0: &a0 {x: 1}\n".to_owned();
    for level in 1..40 {
        let below = format!("*a{}", level - 1);
        bomb += &format!(
            "a{level}: &a{level} {{<<: [{}]}}\n",
            [below.as_str(); 10].join(", ")
        );
    }
    assert_eq!(refused(&bomb).kind(), "yaml_too_many_nodes");
    let many = format!("a: &a {{x: 1}}\nb: {{{}}}\n", "<<: *a, ".repeat(100_000));
    assert_eq!(refused(&many).kind(), "yaml_too_many_nodes");
}

#[test]
fn nesting_too_deep_is_refused_in_every_spelling() {
    let aliases: String = (1..1_000)
        .map(|level| format!("a{level}: &a{level} [*a{}]\n", level - 1))
        .collect();
    // The last of the chain is merged first, since it stands higher than all others.
    let merges: String = (1..1_000)
        .map(|level| format!("    - &a{level} {{<<: *a{}}}\n", level - 1))
        .collect();
    let documents = [
        "[".repeat(100_000),
        "{a: ".repeat(100_000),
        "- ".repeat(100_000),
        "? ".repeat(100_000),
        "[? ".repeat(100_000),
        (0..2_000)
            .map(|level| format!("{}a:\n", " ".repeat(level)))
            .collect(),
        "[".repeat(300) + &"]".repeat(300),
        format!("a0: &a0 [x]\n{aliases}"),
        format!("deep:\n  - - - &a0 {{}}\n  -\n{merges}high: *a999\n"),
    ];
    for document in documents {
        assert_eq!(
            refused(&document).kind(),
            "yaml_too_deep",
            "{}",
            &document[..40]
        );
    }
    let deepest = "[".repeat(250) + &"]".repeat(250);
    assert!(emit(&loaded(&deepest)).is_ok());
}

#[test]
fn files_beyond_any_real_one_are_refused() {
    assert_eq!(
        load(&vec![b' '; (16 << 20) + 1])
            .expect_err("17 MiB")
            .kind(),
        "yaml_too_large"
    );
    assert_eq!(
        refused(&"- a\n".repeat(1_000_001)).kind(),
        "yaml_too_many_nodes"
    );
    let directives: String = (0..100).map(|name| format!("%TAG !{name}! x\n")).collect();
    assert_eq!(
        refused(&format!("{directives}---\na\n")).kind(),
        "yaml_too_deep"
    );
}

#[test]
fn trees_are_written_in_block_style_with_quoted_keys() {
    let root = map(vec![
        (
            "text",
            node(Value::Str(Zeroizing::new("{{ env_var('X') }}".to_owned()))),
        ),
        ("none", node(Value::Null)),
        ("yes", node(Value::Bool(true))),
        (
            "big",
            node(Value::Int("-123456789012345678901234567890".to_owned())),
        ),
        ("float", node(Value::Float(1e16))),
        ("date", node(Value::Timestamp("2024-01-31".to_owned()))),
        ("empty", node(Value::List(Vec::new()))),
        ("void", node(Value::Map(Mapping::default()))),
        (
            "list",
            node(Value::List(vec![
                Rc::new(map(vec![("a", node(Value::Null)), ("b", literal("x\n"))])),
                node(Value::List(vec![literal("y"), literal("z")])),
            ])),
        ),
        (&"k".repeat(200), Rc::new(map(vec![("a", literal("{"))]))),
    ]);
    let long = "k".repeat(200);
    let expected = format!(
        r#""text": "{{{{ env_var('X') }}}}"
"none": null
"yes": true
"big": -123456789012345678901234567890
"float": 1.0e+16
"date": 2024-01-31
"empty": []
"void": {{}}
"list":
  - "a": null
    "b": "{{{{ \"x\\u000a\" }}}}"
  - - "y"
    - "z"
? "{long}"
:
  "a": "{{"
"#
    );
    assert_eq!(emit(&root).expect("it can be written").as_str(), expected);
}

#[test]
fn values_that_dbt_would_not_let_through_are_refused_by_their_path() {
    let tree = |value| {
        map(vec![(
            "outputs",
            Rc::new(map(vec![("password", literal(value))])),
        )])
    };
    let path = || "outputs.password".to_owned();
    assert_eq!(
        emit(&tree("hunter2 DBT_ENV_SECRET")),
        Err(EmitError::SecretVariableName { path: path() })
    );
    assert_eq!(
        emit(&tree("hunter2\0")),
        Err(EmitError::Nul { path: path() })
    );
    let shown = emit(&tree("hunter2\0")).expect_err("a NUL").to_string();
    assert_eq!(
        shown,
        "the value for `outputs.password` contains a NUL character"
    );
    // The user's own text is the user's own affair.
    assert_eq!(
        again("a: \"DBT_ENV_SECRET\\0\"\n"),
        "\"a\": \"DBT_ENV_SECRET\\x00\"\n"
    );
}

#[test]
fn a_tree_of_our_own_that_is_too_deep_or_has_a_list_as_a_key_is_refused() {
    let deep = (0..1_000).fold(node(Value::Null), |below, _| node(Value::List(vec![below])));
    assert!(matches!(emit(&deep), Err(EmitError::TooDeep { .. })));
    let mapping = Mapping(vec![(node(Value::List(Vec::new())), node(Value::Null))]);
    assert!(matches!(
        emit(&Node::of(Value::Map(mapping))),
        Err(EmitError::Unusable { .. })
    ));
}

/// As PyYAML compares: by value; a NaN is itself.
fn same(one: &Node, other: &Node) -> bool {
    match (&one.value, &other.value) {
        (Value::Null, Value::Null) => true,
        (Value::Bool(one), Value::Bool(other)) => one == other,
        (Value::Int(one), Value::Int(other)) | (Value::Timestamp(one), Value::Timestamp(other)) => {
            one == other
        }
        (Value::Float(one), Value::Float(other)) => {
            one.to_bits() == other.to_bits() || one.is_nan() && other.is_nan()
        }
        (Value::Str(one), Value::Str(other)) => one == other,
        (Value::List(one), Value::List(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Map(one), Value::Map(other)) => {
            one.0.len() == other.0.len()
                && one
                    .0
                    .iter()
                    .zip(&other.0)
                    .all(|(one, other)| same(&one.0, &other.0) && same(&one.1, &other.1))
        }
        _ => false,
    }
}

/// A tree without its `Rc`s, which proptest cannot send between threads.
#[derive(Clone, Debug)]
enum Tree {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    Date(u16, u8, u8),
    List(Vec<Tree>),
    Map(Vec<(String, Tree)>),
}

impl Tree {
    fn node(&self) -> Rc<Node> {
        node(match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(value) => Value::Int(value.to_string()),
            Self::Float(value) => Value::Float(*value),
            Self::Text(text) => Value::Str(Zeroizing::new(text.clone())),
            Self::Date(year, month, day) => {
                Value::Timestamp(format!("{year:04}-{month:02}-{day:02}"))
            }
            Self::List(items) => Value::List(items.iter().map(Self::node).collect()),
            Self::Map(pairs) => {
                map(pairs
                    .iter()
                    .map(|(key, value)| (key.as_str(), value.node()))
                    .collect())
                .value
            }
        })
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[ -~]{0,8}",
        "[{}%#\\-'\"\\\\\n\r :]{0,6}",
        "[a-z]{1000,1400}"
    ]
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        Just(Tree::Null),
        any::<bool>().prop_map(Tree::Bool),
        any::<i128>().prop_map(Tree::Int),
        any::<f64>().prop_map(Tree::Float),
        text().prop_map(Tree::Text),
        (1_u16..10_000, 1_u8..13, 1_u8..29)
            .prop_map(|(year, month, day)| Tree::Date(year, month, day)),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Tree::List),
            vec((text(), inner), 0..5).prop_map(Tree::Map),
        ]
    })
}

/// Pieces that YAML knows, in any order: far deeper into the scanner than random bytes.
fn yamlish() -> impl Strategy<Value = Vec<u8>> {
    #[rustfmt::skip]
    let pieces = [
        "a", "b: ", ": ", ":", "- ", "-", "? ", "[", "]", "{", "}", ",", ", ", "'", "\"", "\\", "|", ">", "|2-", ">+", "\n", "\n  ", "\n    ", "\r", "\t", "#", " #", "&a ",
        "*a", "!", "!!", "!!str ", "!!set ", "!<x", "%TAG ! x", "%YAML 1.1", "---", "...", "<<", "<<: *a", "=", "0", "0x", "1:2", "1.", "2024-01-01", "~", "\\x4", "\\u",
        "\u{85}", "\u{2028}", "\u{feff}", "\u{1}", "é", "😀", " ",
    ];
    vec(proptest::sample::select(pieces.to_vec()), 0..40)
        .prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_bytes_make_load_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = load(&bytes);
    }

    #[test]
    fn no_document_makes_load_or_emit_panic_at_any_cut(bytes in yamlish(), cut in any::<prop::sample::Index>()) {
        let whole = load(&bytes);
        if let Ok(root) = whole {
            let _ = emit(&root);
        }
        let bytes = &bytes[..cut.index(bytes.len() + 1)];
        if let (Err(error), Ok(text)) = (load(bytes), std::str::from_utf8(bytes)) {
            let _ = last_key(text, error.line());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn what_is_emitted_loads_as_it_was(tree in tree()) {
        let root = tree.node();
        let written = emit(&root).expect("it can be written");
        let back = load(written.as_bytes()).expect("it can be read");
        prop_assert!(same(&root, &back), "{}", written.as_str());
        prop_assert!(written.bytes().all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)));
    }
}

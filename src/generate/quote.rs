//! Quoting: how a name stands in each language that is generated, so that it is that name and nothing else there.
//!
//! No text here has a control character: [`super::facts`] refuses those.
#![forbid(unsafe_code)]

/// One word of a POSIX shell; bare where nothing in it is special.
pub fn sh(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:@%+,=".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// One word of fish.
pub fn fish(text: &str) -> String {
    format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"))
}

/// What a recipe's line hands to its shell: make takes `$` for itself.
pub fn make(line: &str) -> String {
    line.replace('$', "$$")
}

/// A line of a recipe of just's.
pub fn just(line: &str) -> String {
    line.replace("{{", "{{{{")
}

/// A double-quoted string of YAML, which a string of JSON is.
pub fn yaml(text: &str) -> String {
    json(text)
}

/// A string of JSON.
pub fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A string of HCL, without its interpolations.
pub fn hcl(text: &str) -> String {
    json(text).replace("${", "$${").replace("%{", "%%{")
}

/// A string of SQL where a backslash is a backslash.
pub fn sql(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// An argument of psql's `\set`, where a backslash is none.
pub fn psql(text: &str) -> String {
    format!("'{}'", text.replace('\\', r"\\").replace('\'', "''"))
}

/// A string of MySQL: a backslash is none there.
pub fn mysql(text: &str) -> String {
    sql(&text.replace('\\', r"\\"))
}

/// An identifier of SQL.
pub fn identifier(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// An identifier of MySQL.
pub fn backticks(text: &str) -> String {
    format!("`{}`", text.replace('`', "``"))
}

/// An identifier of SQL Server.
pub fn brackets(text: &str) -> String {
    format!("[{}]", text.replace(']', "]]"))
}

/// A name of letters, digits and `separator` alone, for what takes no others.
pub fn slug(text: &str, separator: char) -> String {
    let mut made = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            made.push(c.to_ascii_lowercase());
        } else if !made.is_empty() && !made.ends_with(separator) {
            made.push(separator);
        }
    }
    let made = made.trim_end_matches(separator);
    if made.is_empty() {
        "x".to_owned()
    } else {
        made.to_owned()
    }
}

/// Gives each name a form of its own: the second that comes to the same gets a number.
pub fn distinct(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut given: Vec<String> = Vec::new();
    for name in names {
        let mut candidate = name.clone();
        let mut number = 2;
        while given.contains(&candidate) {
            candidate = format!("{name}_{number}");
            number += 1;
        }
        given.push(candidate);
    }
    given
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    fn printed(program: &str, arguments: &[&str]) -> String {
        let output = Command::new(program)
            .args(arguments)
            .output()
            .expect("it starts");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        #[test]
        fn a_shell_reads_the_word_that_was_quoted(text in r"[ -~äß\u{2028}€]{0,24}") {
            let script = format!("printf %s {}", sh(&text));
            prop_assert_eq!(printed("sh", &["-c", &script]), text.clone());
            // What a variable falls back to, as the setup has it.
            let script = format!("[ -n \"${{X-}}\" ] || X={}\nprintf %s \"$X\"", sh(&text));
            prop_assert_eq!(printed("sh", &["-c", &script]), text);
        }

        #[test]
        fn make_and_its_shell_read_the_word_that_was_quoted(text in r"[ -~äß€]{0,24}") {
            let directory = tempfile::tempdir().expect("a directory");
            let file = directory.path().join("Makefile");
            let recipe = make(&format!("printf %s {}", sh(&text)));
            std::fs::write(&file, format!("all:\n\t@{recipe}\n")).expect("written");
            let file = file.to_str().expect("UTF-8");
            prop_assert_eq!(printed("make", &["-s", "-f", file]), text);
        }

        #[test]
        fn yaml_and_json_read_the_string_that_was_quoted(text in r"[ -~äß\u{2028}\u{85}€]{0,24}") {
            let read: String = serde_yaml::from_str(&yaml(&text)).expect("YAML");
            prop_assert_eq!(&read, &text);
            let read: String = serde_json::from_str(&json(&text)).expect("JSON");
            prop_assert_eq!(read, text);
        }

        #[test]
        fn an_identifier_ends_where_it_ends(text in r#"[ -~]{0,24}"#) {
            let within = |quoted: &str, close: char| {
                let inner = &quoted[1..quoted.len() - 1];
                let double: String = [close, close].iter().collect();
                !inner.replace(&double, "").contains(close)
            };
            prop_assert!(within(&identifier(&text), '"'));
            prop_assert!(within(&backticks(&text), '`'));
            prop_assert!(within(&brackets(&text), ']'));
            prop_assert!(within(&sql(&text), '\''));
        }
    }

    #[test]
    fn hcl_has_no_interpolation() {
        assert_eq!(hcl("a${b}%{c}\"\\"), r#""a$${b}%%{c}\"\\""#);
    }

    #[test]
    fn names_that_come_to_the_same_are_told_apart() {
        assert_eq!(slug("Prod env $(x)", '-'), "prod-env-x");
        assert_eq!(slug("日本", '_'), "x");
        assert_eq!(
            distinct(["a", "a", "a"].map(str::to_owned)),
            ["a", "a_2", "a_3"]
        );
    }
}

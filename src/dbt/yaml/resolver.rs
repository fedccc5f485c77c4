//! Which type a plain scalar has: the implicit resolvers of PyYAML 6.0 (`yaml/resolver.py`), YAML 1.1.
#![forbid(unsafe_code)]

use super::timestamp;

/// The type of a node, by its tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    Null,
    Bool,
    Int,
    Float,
    Binary,
    Timestamp,
    Omap,
    Pairs,
    Set,
    Str,
    Seq,
    Map,
    /// `<<`
    Merge,
    /// `=`
    Equals,
    /// Any other tag; dbt has no constructor for it.
    Unknown,
}

impl Tag {
    /// The type that an explicit tag says, in its long form.
    pub(super) fn of_name(name: &str) -> Self {
        match name.strip_prefix("tag:yaml.org,2002:") {
            Some("null") => Self::Null,
            Some("bool") => Self::Bool,
            Some("int") => Self::Int,
            Some("float") => Self::Float,
            Some("binary") => Self::Binary,
            Some("timestamp") => Self::Timestamp,
            Some("omap") => Self::Omap,
            Some("pairs") => Self::Pairs,
            Some("set") => Self::Set,
            Some("str") => Self::Str,
            Some("seq") => Self::Seq,
            Some("map") => Self::Map,
            Some("merge") => Self::Merge,
            Some("value") => Self::Equals,
            _ => Self::Unknown,
        }
    }

    /// The type of a plain scalar. PyYAML looks up the first character, then tries the patterns in this order.
    pub(super) fn of_plain(text: &str) -> Self {
        let Some(first) = text.chars().next() else {
            return Self::Null;
        };
        // Python's `$` also matches before a final newline; a text tagged `!` may have one.
        let body = text.strip_suffix('\n').unwrap_or(text);
        match first {
            '0'..='9' | '-' | '+' | '.' if is_float(body) => Self::Float,
            '0'..='9' | '-' | '+' if is_int(body) => Self::Int,
            '0'..='9' if timestamp::is_implicit(body) => Self::Timestamp,
            '<' if body == "<<" => Self::Merge,
            '=' if body == "=" => Self::Equals,
            '~' if body == "~" => Self::Null,
            'n' | 'N' if matches!(body, "null" | "Null" | "NULL") => Self::Null,
            '!' | '&' | '*' if matches!(body, "!" | "&" | "*") => Self::Unknown,
            _ if is_bool(body) => Self::Bool,
            _ => Self::Str,
        }
    }
}

fn is_bool(text: &str) -> bool {
    #[rustfmt::skip]
    let words = [
        "yes", "Yes", "YES", "no", "No", "NO", "true", "True", "TRUE", "false", "False", "FALSE", "on", "On", "ON", "off",
        "Off", "OFF",
    ];
    text.len() <= 5 && words.contains(&text)
}

/// `[-+]?D[D_]*\.[D_]*(e[-+]D+)?`, `\.D[D_]*(e[-+]D+)?`, `[-+]?D[D_]*(:[0-5]?D)+\.[D_]*`, `[-+]?\.inf`, `\.nan`
fn is_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let Some((whole, rest)) = unsigned.split_once('.') else {
        return false;
    };
    let fraction = rest.trim_start_matches(is_digit_or_underscore);
    if whole.is_empty() {
        return unsigned.len() == text.len()
            && rest.starts_with(is_digit)
            && (fraction.is_empty() || is_exponent(fraction));
    }
    match whole.split_once(':') {
        Some((head, tail)) => {
            is_grouped(head) && tail.split(':').all(is_sixtieth) && fraction.is_empty()
        }
        None => is_grouped(whole) && (fraction.is_empty() || is_exponent(fraction)),
    }
}

/// `[-+]?0b[01_]+`, `[-+]?0[0-7_]+`, `[-+]?(0|[1-9][D_]*)`, `[-+]?0x[H_]+`, `[-+]?[1-9][D_]*(:[0-5]?D)+`
fn is_int(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if let Some(rest) = unsigned.strip_prefix('0') {
        return match rest.as_bytes().first() {
            None => true,
            Some(b'b') => is_run(&rest[1..], |ch| matches!(ch, '0' | '1' | '_')),
            Some(b'x') => is_run(&rest[1..], |ch| ch.is_ascii_hexdigit() || ch == '_'),
            Some(_) => is_run(rest, |ch| matches!(ch, '0'..='7' | '_')),
        };
    }
    match unsigned.split_once(':') {
        Some((head, tail)) => is_grouped(head) && tail.split(':').all(is_sixtieth),
        None => is_grouped(unsigned),
    }
}

/// `D[D_]*`
fn is_grouped(text: &str) -> bool {
    text.starts_with(is_digit) && text.chars().all(is_digit_or_underscore)
}

/// `[0-5]?D`
fn is_sixtieth(text: &str) -> bool {
    match text.as_bytes() {
        [unit] => unit.is_ascii_digit(),
        [ten, unit] => matches!(ten, b'0'..=b'5') && unit.is_ascii_digit(),
        _ => false,
    }
}

/// `[eE][-+]D+`
fn is_exponent(text: &str) -> bool {
    text.strip_prefix(['e', 'E'])
        .and_then(|rest| rest.strip_prefix(['-', '+']))
        .is_some_and(|digits| is_run(digits, is_digit))
}

fn is_run(text: &str, member: impl Fn(char) -> bool) -> bool {
    !text.is_empty() && text.chars().all(member)
}

fn is_digit(ch: char) -> bool {
    ch.is_ascii_digit()
}

fn is_digit_or_underscore(ch: char) -> bool {
    ch.is_ascii_digit() || ch == '_'
}

#[cfg(test)]
mod tests {
    use super::Tag;

    #[test]
    fn plain_scalars_have_the_types_of_yaml_1_1() {
        #[rustfmt::skip]
        let cases = [
            (Tag::Null, "~ null Null NULL"),
            (Tag::Bool, "yes Yes YES no No NO on On ON off OFF true True TRUE false"),
            (Tag::Int, "0 -0 5432 +1 017 0_ 0b1 0b_ 0x1F -0x_ 1_000 1:30 190:20:30 1__"),
            (Tag::Float, "1. 1.0 -1.5 .5 1.5e+3 1_0.5 190:20:30.15 .inf -.INF .NaN 0:00. 1._"),
            (Tag::Timestamp, "2024-01-31 2001-1-1T1:02:03 2001-12-14t21:59:43.10-05:00 2024-13-99"),
            (Tag::Merge, "<<"),
            (Tag::Equals, "="),
            (Tag::Str, "y n Y N nUll tRue 08 0o17 1e3 1.5e3 -.5 +.nan 0b2 0x 1:60 :30 2024-1-1 - . .e5 a 1a 0: 10.0.0.1"),
        ];
        for (tag, texts) in cases {
            for text in texts.split(' ') {
                assert_eq!(Tag::of_plain(text), tag, "{text}");
            }
        }
        assert_eq!(Tag::of_plain(""), Tag::Null);
        assert_eq!(Tag::of_plain("2001-12-14 21:59:43 +1"), Tag::Timestamp);
    }

    #[test]
    fn a_final_newline_does_not_hide_the_type() {
        assert_eq!(Tag::of_plain("12\n"), Tag::Int);
        assert_eq!(Tag::of_plain("12\n\n"), Tag::Str);
        assert_eq!(Tag::of_plain("\n"), Tag::Str);
    }
}

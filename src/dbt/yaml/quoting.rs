//! Strings that YAML and Jinja hand through unchanged.
#![forbid(unsafe_code)]

use super::buffer::Buffer;

/// A double-quoted YAML scalar on one line. What is not printable ASCII is escaped, so no line break of YAML's and no
/// character that its reader refuses is left.
pub(super) fn yaml(text: &str, out: &mut Buffer) {
    out.push('"');
    text.chars().for_each(|ch| yaml_char(ch, out));
    out.push('"');
}

/// A string that dbt must see as it is: plain where Jinja leaves it alone, else a Jinja string literal.
pub(super) fn literal(text: &str, out: &mut Buffer) {
    if !is_special(text) {
        return yaml(text, out);
    }
    out.push('"');
    out.push_str(r#"{{ \""#);
    text.chars().for_each(|ch| jinja_char(ch, out));
    out.push_str(r#"\" }}"#);
    out.push('"');
}

/// Whether Jinja would change the text: it reads templates, makes every line break `\n` and drops the last one.
fn is_special(text: &str) -> bool {
    is_template(text) || text.contains('\r') || text.ends_with('\n')
}

/// Whether Jinja finds anything of its own in the text.
pub(super) fn is_template(text: &str) -> bool {
    ["{{", "{%", "{#"]
        .iter()
        .any(|special| text.contains(special))
}

/// One character inside a YAML double-quoted scalar.
fn yaml_char(ch: char, out: &mut Buffer) {
    match ch {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        ' '..='~' => out.push(ch),
        _ => {
            let code = u32::from(ch);
            let (letter, width) = match code {
                0..=0xff => ('x', 2),
                0x100..=0xffff => ('u', 4),
                _ => ('U', 8),
            };
            out.push('\\');
            out.push(letter);
            hex(code, width, out);
        }
    }
}

/// One character inside a Jinja string inside a YAML double-quoted scalar. `\uNNNN` means the same to Jinja2 and to
/// minijinja, and leaves no character with which a text could end the expression.
fn jinja_char(ch: char, out: &mut Buffer) {
    match ch {
        '"' | '\\' | '{' | '}' | '%' | '#' | '\0'..='\x1f' | '\x7f' => {
            out.push_str("\\\\u");
            hex(u32::from(ch), 4, out);
        }
        _ => yaml_char(ch, out),
    }
}

/// Hexadecimal digits, without a `String` on the way.
fn hex(code: u32, width: u32, out: &mut Buffer) {
    for place in (0..width).rev() {
        let digit = (code >> (place * 4)) & 0xf;
        out.push(char::from_digit(digit, 16).unwrap_or('0'));
    }
}

#[cfg(test)]
mod tests {
    use super::{Buffer, literal, yaml};

    fn written(write: fn(&str, &mut Buffer), text: &str) -> String {
        let mut out = Buffer::new();
        write(text, &mut out);
        out.into_text().to_string()
    }

    #[test]
    fn yaml_strings_are_printable_ascii_on_one_line() {
        assert_eq!(written(yaml, "a \"b\" \\ c"), r#""a \"b\" \\ c""#);
        assert_eq!(
            written(yaml, "\0\n\r\x7fé\u{2028}😀"),
            r#""\x00\x0a\x0d\x7f\xe9\u2028\U0001f600""#
        );
        assert_eq!(
            written(yaml, "{{ env_var('X') }}"),
            r#""{{ env_var('X') }}""#
        );
    }

    #[test]
    fn literals_are_plain_where_jinja_leaves_them_alone() {
        assert_eq!(written(literal, "p}}a%s{s#\nx"), r#""p}}a%s{s#\x0ax""#);
    }

    #[test]
    fn literals_become_jinja_strings_where_jinja_would_change_them() {
        assert_eq!(written(literal, "{{"), r#""{{ \"\\u007b\\u007b\" }}""#);
        assert_eq!(written(literal, "a\n"), r#""{{ \"a\\u000a\" }}""#);
        assert_eq!(
            written(literal, "\"\\é\r"),
            r#""{{ \"\\u0022\\u005c\xe9\\u000d\" }}""#
        );
    }
}

//! What makes texts of texts: title case, truncation, `%` formatting. Where Unicode's tables or rare forms decide, nothing
//! is certain.
#![forbid(unsafe_code)]

use super::super::dotenv::is_python_space;
use super::filters::{Arguments, bound};
use super::value::Marker;
use super::{JinjaError, Value};

/// Jinja's filter `title`: each word's first character upper, the rest lower; words end at spaces, `-` and opening brackets.
pub(super) fn title(text: &str) -> Result<Value, JinjaError> {
    titled(text, |ch| is_python_space(ch) || "-({[<".contains(ch))
}

/// Python's `str.title()`: words are runs of letters.
pub(super) fn title_method(text: &str) -> Result<Value, JinjaError> {
    titled(text, |ch| !ch.is_ascii_alphabetic())
}

fn titled(text: &str, between: impl Fn(char) -> bool) -> Result<Value, JinjaError> {
    if !text.is_ascii() {
        return Err(JinjaError::uncertain("`title` beyond ASCII"));
    }
    let mut first = true;
    let titled = text.chars().map(|ch| {
        let changed = if first {
            ch.to_ascii_uppercase()
        } else {
            ch.to_ascii_lowercase()
        };
        first = between(ch);
        changed
    });
    Ok(Value::text(titled.collect::<String>()))
}

/// Jinja's filter `truncate`, with its leeway of five characters.
pub(super) fn truncated(value: Value, arguments: &Arguments) -> Result<Value, JinjaError> {
    let unusual = || JinjaError::uncertain("`truncate` of an unusual kind");
    let [length, killwords, end, leeway] =
        bound(arguments, ["length", "killwords", "end", "leeway"])?;
    let count = |value: Option<&Value>, default: usize| match value {
        None => Ok(default),
        Some(Value::Int(count)) => usize::try_from(*count).map_err(|_| unusual()),
        Some(_) => Err(unusual()),
    };
    let (length, leeway) = (count(length, 255)?, count(leeway, 5)?);
    let end = match end {
        None => "...",
        Some(Value::Str(end, _)) => end.as_str(),
        Some(_) => return Err(unusual()),
    };
    let Value::Str(text, _) = &value else {
        return Err(unusual());
    };
    let kept = length
        .checked_sub(end.chars().count())
        .ok_or_else(unusual)?;
    if text.chars().count() <= length.saturating_add(leeway) {
        return Ok(value);
    }
    let short: String = text.chars().take(kept).collect();
    let short = if killwords.is_some_and(Value::is_true) {
        &short
    } else {
        short
            .rsplit_once(' ')
            .map_or(short.as_str(), |(before, _)| before)
    };
    Ok(Value::text(format!("{short}{end}")))
}

/// Python's `'…%s…' % (a, b)`, with `%s`, `%d` and `%%` alone.
pub(super) fn percent(text: &str, values: &[Value]) -> Result<Value, JinjaError> {
    let unusual = || JinjaError::uncertain("`%` formatting of an unusual kind");
    let mut made = zeroize::Zeroizing::new(String::new());
    let mut values = values.iter();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        made.push_str(before);
        let form = after.chars().next().ok_or_else(unusual)?;
        rest = &after[form.len_utf8()..];
        if form == '%' {
            made.push('%');
            continue;
        }
        let value = values
            .next()
            .ok_or_else(|| JinjaError::failed("not enough arguments for format string"))?;
        match (form, value) {
            ('s', Value::Str(..) | Value::Int(_) | Value::Bool(_) | Value::None)
            | ('d', Value::Int(_)) => made.push_str(&value.shown()?),
            _ => return Err(unusual()),
        }
    }
    if values.next().is_some() {
        return Err(JinjaError::failed(
            "not all arguments converted during string formatting",
        ));
    }
    made.push_str(rest);
    Ok(Value::Str(made, Marker::Plain))
}

/// Python's `between.join(items)`.
pub(super) fn joined(between: &str, items: &[Value]) -> Result<Value, JinjaError> {
    let texts = items
        .iter()
        .map(|item| {
            item.as_text()
                .ok_or_else(|| JinjaError::failed("sequence item: expected str instance"))
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Value::text(texts.join(between)))
}

/// Python's `urllib.parse.quote` with `/` left alone, as Jinja's `urlencode` has it for texts.
pub(super) fn url_quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' | b'-' | b'~' | b'/' => {
                quoted.push(char::from(byte));
            }
            other => quoted.push_str(&format!("%{other:02X}")),
        }
    }
    quoted
}

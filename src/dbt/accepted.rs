//! What click takes for an option's value before dbt sees it. Where we cannot say for certain, it may be taken.
#![forbid(unsafe_code)]

use std::path::Path;

use super::dotenv::is_python_space;
use super::options::{Accepts, Kind, Opt};
use super::yaml::{self, Merging};

/// The characters beyond ASCII that Python folds to letters of ASCII's.
const FOLDED: [char; 11] = ['ſ', '\u{212a}', 'ß', 'ẞ', 'ﬀ', 'ﬁ', 'ﬂ', 'ﬃ', 'ﬄ', 'ﬅ', 'ﬆ'];

/// Whether click may take the text of a variable, not empty, for an option.
pub(super) fn may_stand_in_a_variable(option: &Opt, text: &str) -> bool {
    match option.kind {
        Kind::Flag => may_be_bool(text),
        Kind::Value if option.accepts == Accepts::Bool => may_be_bool(text),
        Kind::Value => fits(option.accepts, text),
        // click splits the variable's text at white space.
        Kind::Greedy => {
            text.contains(|c: char| c.is_control())
                || text
                    .split(' ')
                    .filter(|word| !word.is_empty())
                    .all(|word| fits(option.accepts, word))
        }
    }
}

/// What one of click's truth words says; none where the text is no such word.
fn truth(text: &str) -> Option<bool> {
    const ON: [&str; 6] = ["1", "true", "t", "yes", "y", "on"];
    const OFF: [&str; 6] = ["0", "false", "f", "no", "n", "off"];
    let text = text.trim_matches(is_python_space);
    let is_of = |words: [&str; 6]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    is_of(ON).then_some(true).or(is_of(OFF).then_some(false))
}

/// Whether the text is one of click's truth words.
fn may_be_bool(text: &str) -> bool {
    truth(text).is_some()
}

/// Whether the text is a truth word of click's that says yes.
pub(super) fn is_on(text: &str) -> bool {
    truth(text) == Some(true)
}

/// Whether click may take a value.
pub(super) fn fits(accepts: Accepts, value: &str) -> bool {
    match accepts {
        Accepts::Any | Accepts::Path(_) | Accepts::Bool => true,
        Accepts::Mapping => is_mapping(value),
        Accepts::Moment => !value.is_ascii() || moment(value).is_some(),
        Accepts::Int => may_be_int(value),
        Accepts::Choice(choices) => choices.contains(&value),
        Accepts::Word(choices) => {
            value.contains(FOLDED) || choices.iter().any(|one| one.eq_ignore_ascii_case(value))
        }
        Accepts::Sample => may_be_sample(value),
    }
}

/// Whether dbt may take the text as `--sample`: what a mapping holds we do not judge.
fn may_be_sample(text: &str) -> bool {
    if !text.is_ascii() || text.trim_start().starts_with('{') {
        return true;
    }
    let Some((number, grain)) = text.split_once(' ') else {
        return false;
    };
    let grain = grain.to_ascii_lowercase();
    may_be_int(number)
        && matches!(
            grain.trim_end_matches('s'),
            "hour" | "day" | "month" | "year"
        )
}

/// Whether Python's `int()` may take the text: we do not judge other digits than ASCII's.
fn may_be_int(text: &str) -> bool {
    if text.contains(|c: char| !c.is_ascii() && (c.is_numeric() || c.is_whitespace())) {
        return true;
    }
    let space = |c: char| c.is_ascii_whitespace() || matches!(c, '\x0b' | '\x1c'..='\x1f');
    let text = text.trim_matches(space);
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    digits
        .split('_')
        .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether the text is a YAML mapping.
fn is_mapping(text: &str) -> bool {
    // Which map wins in it does not make it another.
    yaml::load_merging(text.as_bytes(), Some(Merging::FirstWins))
        .is_ok_and(|root| root.map().is_some())
}

/// A moment as click reads it: `2024-01-31`, or with `T` or white space and `12:30:00`, no number needing its zeros but
/// the year. It can be compared.
pub(super) fn moment(text: &str) -> Option<[u16; 6]> {
    let (date, time) =
        match text.split_once(|c: char| matches!(c, 'T' | 't') || c.is_ascii_whitespace()) {
            // The day may stand behind a space.
            Some((date, rest)) if date.ends_with('-') => match rest.split_once(['T', 't', ' ']) {
                Some((day, time)) => (format!("{date}{day}"), Some(time)),
                None => (format!("{date}{rest}"), None),
            },
            Some((date, time)) => (date.to_owned(), Some(time.trim_start())),
            None => (text.to_owned(), None),
        };
    let [year, month, day] = numbers(&date, '-')?;
    let [hour, minute, second] = time.map_or(Some([0; 3]), |time| numbers(time, ':'))?;
    let is_date = date.find('-') == Some(4) && yaml::is_date(year.into(), month.into(), day.into());
    (is_date && hour < 24 && minute < 60 && second < 60)
        .then_some([year, month, day, hour, minute, second])
}

fn numbers(text: &str, between: char) -> Option<[u16; 3]> {
    let mut parts = text.split(between);
    let mut found = [0; 3];
    for number in &mut found {
        let digits = parts.next()?;
        let width = if digits.len() == 4 { 4 } else { 2 };
        if digits.is_empty()
            || digits.len() > width
            || !digits.bytes().all(|byte| byte.is_ascii_digit())
        {
            return None;
        }
        *number = digits.parse().ok()?;
    }
    parts.next().is_none().then_some(found)
}

/// Why click does not take this path, if it does not.
pub(super) fn unfit_path(accepts: Accepts, path: &Path) -> Option<&'static str> {
    let Accepts::Path(wanted) = accepts else {
        return None;
    };
    match std::fs::metadata(path) {
        Err(_) if wanted.exists => Some("does not exist"),
        Ok(found) if !wanted.file && found.is_file() => Some("is a file"),
        Ok(found) if !wanted.directory && found.is_dir() => Some("is a directory"),
        _ => None,
    }
}

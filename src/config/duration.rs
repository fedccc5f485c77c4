//! Durations: `90`, `45s`, `30m`, `2h`, `1d` in dbt-lease.yml; Go's form (`1m30s`) in Vault's variables.
#![forbid(unsafe_code)]

use std::time::Duration;

/// What a duration looks like, for messages.
pub(super) const EXAMPLES: &str = "90 (seconds), 45s, 30m, 2h or 1d";

/// Reads dbt-lease.yml's form; none where it is another, nothing at all, or beyond what a clock can count.
pub fn parse(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return None,
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    of_seconds(digits.parse::<u64>().ok()?.checked_mul(factor)?)
}

/// A whole number of seconds, as long as it is more than none and less than a century.
pub(super) fn of_seconds(seconds: u64) -> Option<Duration> {
    const CENTURY: u64 = 100 * 366 * 24 * 60 * 60;
    (1..CENTURY)
        .contains(&seconds)
        .then(|| Duration::from_secs(seconds))
}

/// Reads VAULT_CLIENT_TIMEOUT's form (Go's `parseutil.ParseDurationSecond`): seconds, or `1h2m3.5s`, `500ms`.
pub(super) fn parse_go(text: &str) -> Option<Duration> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().and_then(of_seconds);
    }
    let mut rest = text;
    let mut seconds = 0.0_f64;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let value: f64 = rest[..number].parse().ok()?;
        rest = &rest[number..];
        let unit = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        seconds += value
            * match &rest[..unit] {
                "ms" => 0.001,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                "d" => 86400.0,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|duration| !duration.is_zero())
}

#[cfg(test)]
mod tests {
    use super::{parse, parse_go};
    use std::time::Duration;

    #[test]
    fn the_five_forms() {
        for (text, seconds) in [
            ("90", 90),
            ("45s", 45),
            ("30m", 1800),
            ("2h", 7200),
            ("1d", 86400),
        ] {
            assert_eq!(parse(text), Some(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn nothing_else_is_a_duration() {
        for text in [
            "",
            "s",
            "0",
            "0s",
            "-1",
            "+1",
            "1.5h",
            "1h30m",
            "2 h",
            "2H",
            "1w",
            "99999999999999999999",
            "9999999999d",
            "½h",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn go_durations_of_vault_variables() {
        assert_eq!(parse_go("60"), Some(Duration::from_secs(60)));
        assert_eq!(parse_go("1m30s"), Some(Duration::from_secs(90)));
        assert_eq!(parse_go("500ms"), Some(Duration::from_millis(500)));
        for text in ["", "0", "s", "5x", "1m30", "-5s", "1..5s", "9e9s"] {
            assert_eq!(parse_go(text), None, "{text}");
        }
    }
}

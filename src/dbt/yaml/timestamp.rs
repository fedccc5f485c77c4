//! Dates and datetimes: PyYAML's pattern, Python's bounds, Python's isoformat.
#![forbid(unsafe_code)]

/// A date, or a datetime with or without an offset, as Python's `datetime` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Timestamp {
    /// Python's isoformat.
    pub(super) text: String,
    /// Microseconds since year 0 in UTC, where it has an offset: two such are equal when their instants are.
    pub(super) instant: Option<i64>,
}

/// Whether a plain scalar is taken for a timestamp: a lone date has two digits in month and day.
pub(super) fn is_implicit(text: &str) -> bool {
    Fields::read(text)
        .is_some_and(|fields| fields.time.is_some() || text.len() == "2024-01-31".len())
}

/// The value; `None` where Python raises.
pub(super) fn parse(text: &str) -> Option<Timestamp> {
    let fields = Fields::read(text.strip_suffix('\n').unwrap_or(text))?;
    let days = days_before(fields.year, fields.month, fields.day)?;
    let mut text = format!("{:04}-{:02}-{:02}", fields.year, fields.month, fields.day);
    let Some(time) = fields.time else {
        return Some(Timestamp {
            text,
            instant: None,
        });
    };
    if time.hour > 23 || time.minute > 59 || time.second > 59 {
        return None;
    }
    text.push_str(&format!(
        "T{:02}:{:02}:{:02}",
        time.hour, time.minute, time.second
    ));
    if time.micros != 0 {
        text.push_str(&format!(".{:06}", time.micros));
    }
    let Some(offset) = time.offset_minutes else {
        return Some(Timestamp {
            text,
            instant: None,
        });
    };
    if offset.abs() >= 24 * 60 {
        return None;
    }
    let sign = if offset < 0 { '-' } else { '+' };
    text.push_str(&format!(
        "{sign}{:02}:{:02}",
        offset.abs() / 60,
        offset.abs() % 60
    ));
    let minutes = i64::from(days) * 24 * 60 + i64::from(time.hour) * 60 + i64::from(time.minute)
        - i64::from(offset);
    let instant = (minutes * 60 + i64::from(time.second)) * 1_000_000 + i64::from(time.micros);
    Some(Timestamp {
        text,
        instant: Some(instant),
    })
}

struct Fields {
    year: u32,
    month: u32,
    day: u32,
    time: Option<Time>,
}

struct Time {
    hour: u32,
    minute: u32,
    second: u32,
    micros: u32,
    offset_minutes: Option<i32>,
}

impl Fields {
    /// PyYAML's `timestamp_regexp`.
    fn read(text: &str) -> Option<Self> {
        let mut rest = text;
        let year = digits(&mut rest, 4, 4)?;
        sign(&mut rest, '-')?;
        let month = digits(&mut rest, 1, 2)?;
        sign(&mut rest, '-')?;
        let day = digits(&mut rest, 1, 2)?;
        if rest.is_empty() {
            return Some(Self {
                year,
                month,
                day,
                time: None,
            });
        }
        rest = match rest.strip_prefix(['T', 't']) {
            Some(rest) => rest,
            None => {
                let after = rest.trim_start_matches([' ', '\t']);
                (after.len() < rest.len()).then_some(after)?
            }
        };
        let hour = digits(&mut rest, 1, 2)?;
        sign(&mut rest, ':')?;
        let minute = digits(&mut rest, 2, 2)?;
        sign(&mut rest, ':')?;
        let second = digits(&mut rest, 2, 2)?;
        let micros = match sign(&mut rest, '.') {
            Some(()) => fraction(&mut rest),
            None => 0,
        };
        rest = match rest.trim_start_matches([' ', '\t']) {
            // Blanks belong to the offset: without one they are left over.
            "" => rest,
            after => after,
        };
        let offset_minutes = match rest.chars().next() {
            None => None,
            Some('Z') => {
                rest = &rest[1..];
                Some(0)
            }
            Some(direction @ ('-' | '+')) => {
                rest = &rest[1..];
                let mut minutes = digits(&mut rest, 1, 2)? * 60;
                if sign(&mut rest, ':').is_some() {
                    minutes += digits(&mut rest, 2, 2)?;
                }
                let minutes = i32::try_from(minutes).ok()?;
                Some(if direction == '-' { -minutes } else { minutes })
            }
            Some(_) => return None,
        };
        let time = Time {
            hour,
            minute,
            second,
            micros,
            offset_minutes,
        };
        rest.is_empty().then_some(Self {
            year,
            month,
            day,
            time: Some(time),
        })
    }
}

/// Takes `least` to `most` digits off the front.
fn digits(rest: &mut &str, least: usize, most: usize) -> Option<u32> {
    let count = rest
        .bytes()
        .take(most)
        .take_while(u8::is_ascii_digit)
        .count();
    if count < least {
        return None;
    }
    let (digits, after) = rest.split_at(count);
    *rest = after;
    digits.parse().ok()
}

fn sign(rest: &mut &str, wanted: char) -> Option<()> {
    *rest = rest.strip_prefix(wanted)?;
    Some(())
}

/// Takes all digits off the front; microseconds are the first six.
fn fraction(rest: &mut &str) -> u32 {
    let count = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, after) = rest.split_at(count);
    *rest = after;
    digits
        .bytes()
        .chain(std::iter::repeat(b'0'))
        .take(6)
        .fold(0, |micros, digit| micros * 10 + u32::from(digit - b'0'))
}

/// Whether Python knows such a date.
pub fn is_date(year: u32, month: u32, day: u32) -> bool {
    days_before(year, month, day).is_some()
}

/// Days before a date, from an arbitrary day on; `None` where Python knows no such date.
fn days_before(year: u32, month: u32, day: u32) -> Option<u32> {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let lengths = [
        31,
        if leap { 29 } else { 28 },
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ];
    let index = usize::try_from(month.checked_sub(1)?).ok()?;
    if year == 0 || day == 0 || day > *lengths.get(index)? {
        return None;
    }
    let past = year - 1;
    Some(
        past * 365 + past / 4 - past / 100
            + past / 400
            + lengths[..index].iter().sum::<u32>()
            + day,
    )
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn dates_become_isoformat() {
        #[rustfmt::skip]
        let cases = [
            ("2024-01-31", "2024-01-31"),
            ("2024-1-3", "2024-01-03"),
            ("2024-02-29 1:02:03", "2024-02-29T01:02:03"),
            ("2001-12-14t21:59:43.10-05:00", "2001-12-14T21:59:43.100000-05:00"),
            ("2001-12-14 21:59:43.1234567 Z", "2001-12-14T21:59:43.123456+00:00"),
            ("2001-12-14 21:59:43. -0:30", "2001-12-14T21:59:43-00:30"),
        ];
        for (text, iso) in cases {
            assert_eq!(
                parse(text).map(|time| time.text).as_deref(),
                Some(iso),
                "{text}"
            );
        }
    }

    #[test]
    fn what_python_has_no_date_for_is_refused() {
        #[rustfmt::skip]
        let cases = [
            "2024-13-01", "2023-02-29", "0000-01-01", "2024-01-00", "2024-01-01T24:00:00", "2024-01-01T00:60:00",
            "2024-01-01T00:00:00+24", "2024-01-01T00:00:00 ", "2024-01-01 ", "24-01-01",
        ];
        for text in cases {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn equal_instants_are_equal_keys() {
        let instant = |text| parse(text).and_then(|time| time.instant);
        assert_eq!(
            instant("2001-12-14t21:59:43.10-05:00"),
            instant("2001-12-15T02:59:43.1Z")
        );
        assert_ne!(
            instant("2001-12-14T21:59:43Z"),
            instant("2001-12-14T21:59:44Z")
        );
    }
}

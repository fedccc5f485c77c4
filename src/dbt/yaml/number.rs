//! Numbers as PyYAML converts them: `int()` and `float()` of Python, after the rules of YAML 1.1.
#![forbid(unsafe_code)]

/// Python refuses to convert more decimal digits than these, both ways.
const MAX_DIGITS: usize = 4300;

/// PyYAML's `construct_yaml_int`: decimal digits with an optional `-`; `None` where Python raises.
pub(super) fn int(text: &str) -> Option<String> {
    let text = text.replace('_', "");
    let (negative, text) = split_sign(&text);
    let magnitude = if text == "0" {
        Whole {
            negative: false,
            natural: Natural::default(),
        }
    } else if let Some(digits) = text.strip_prefix("0b") {
        python_int(digits, 2)?
    } else if let Some(digits) = text.strip_prefix("0x") {
        python_int(digits, 16)?
    } else if text.starts_with('0') {
        python_int(text, 8)?
    } else if text.contains(':') {
        sexagesimal(text)?
    } else {
        python_int(text, 10)?
    };
    let digits = magnitude.natural.to_decimal();
    if digits.len() > MAX_DIGITS {
        return None;
    }
    let negative = (negative != magnitude.negative) && digits != "0";
    Some(if negative {
        format!("-{digits}")
    } else {
        digits
    })
}

/// PyYAML's `construct_yaml_float`; `None` where Python raises.
pub(super) fn float(text: &str) -> Option<f64> {
    let text = text.replace('_', "").to_lowercase();
    let (negative, text) = split_sign(&text);
    let magnitude = match text {
        ".inf" => f64::INFINITY,
        ".nan" => return Some(f64::NAN),
        _ if text.contains(':') => {
            let mut sum = 0.0;
            let mut base = Natural::one();
            for part in text.rsplit(':') {
                // Python converts the base, an int, to the nearest double, and raises beyond the largest.
                let factor: f64 = base.to_decimal().parse().ok()?;
                if factor.is_infinite() {
                    return None;
                }
                sum += python_float(part)? * factor;
                base.multiply_add(60, 0);
            }
            sum
        }
        _ => python_float(text)?,
    };
    Some(if negative { -magnitude } else { magnitude })
}

/// PyYAML's `construct_yaml_bool`.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text.to_lowercase().as_str() {
        "yes" | "true" | "on" => Some(true),
        "no" | "false" | "off" => Some(false),
        _ => None,
    }
}

/// A double in Python's repr, with the `.0` that YAML 1.1 wants before a bare exponent.
pub(super) fn float_text(value: f64) -> String {
    if value.is_nan() {
        return ".nan".to_owned();
    }
    if value.is_infinite() {
        return if value < 0.0 { "-.inf" } else { ".inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = format!("{value}");
        return if plain.contains('.') {
            plain
        } else {
            format!("{plain}.0")
        };
    }
    let point = if mantissa.contains('.') { "" } else { ".0" };
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}{point}e{sign}{:02}", exponent.abs())
}

/// The int that a double equals, if it does: such two are one key of a Python dict.
pub(super) fn as_int(value: f64) -> Option<String> {
    if !value.is_finite() || value.fract() != 0.0 {
        return None;
    }
    Some(if value == 0.0 {
        "0".to_owned()
    } else {
        format!("{value:.0}")
    })
}

fn split_sign(text: &str) -> (bool, &str) {
    match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    }
}

struct Whole {
    negative: bool,
    natural: Natural,
}

/// `int(text, base)` for ASCII digits: blanks around, a sign and the base's own prefix are allowed.
fn python_int(text: &str, base: u32) -> Option<Whole> {
    let (negative, text) = split_sign(text.trim());
    let prefixes = match base {
        2 => ["0b", "0B"],
        8 => ["0o", "0O"],
        16 => ["0x", "0X"],
        _ => ["", ""],
    };
    let digits = prefixes
        .iter()
        .find_map(|prefix| text.strip_prefix(prefix))
        .unwrap_or(text);
    if digits.is_empty() || digits.len() > MAX_DIGITS * 4 || base == 10 && digits.len() > MAX_DIGITS
    {
        return None;
    }
    let mut natural = Natural::default();
    for digit in digits.chars() {
        natural.multiply_add(base, digit.to_digit(base)?);
    }
    Some(Whole { negative, natural })
}

/// `1:30` is 90. Only an explicit tag lets a part have a sign of its own; then the sum must fit into 128 bits.
fn sexagesimal(text: &str) -> Option<Whole> {
    // Each part behind the first is worth a digit and three quarters.
    if text.matches(':').count() > MAX_DIGITS {
        return None;
    }
    let parts: Vec<Whole> = text
        .split(':')
        .map(|part| python_int(part, 10))
        .collect::<Option<_>>()?;
    if parts.iter().any(|part| part.negative) {
        let sum = parts.iter().try_fold(0_i128, |sum, part| {
            let magnitude: i128 = part.natural.to_decimal().parse().ok()?;
            sum.checked_mul(60)?
                .checked_add(if part.negative { -magnitude } else { magnitude })
        })?;
        let magnitude = python_int(&sum.unsigned_abs().to_string(), 10)?;
        return Some(Whole {
            negative: sum < 0,
            ..magnitude
        });
    }
    let mut sum = Natural::default();
    for part in &parts {
        sum.multiply_add(60, 0);
        sum.add(&part.natural);
    }
    Some(Whole {
        negative: false,
        natural: sum,
    })
}

fn python_float(text: &str) -> Option<f64> {
    text.trim().parse().ok()
}

/// A natural number in limbs of nine decimal digits, the lowest first.
#[derive(Default)]
struct Natural(Vec<u32>);

const LIMB: u64 = 1_000_000_000;

impl Natural {
    fn one() -> Self {
        Self(vec![1])
    }

    fn multiply_add(&mut self, factor: u32, summand: u32) {
        let mut carry = u64::from(summand);
        for limb in &mut self.0 {
            let value = u64::from(*limb) * u64::from(factor) + carry;
            *limb = (value % LIMB) as u32;
            carry = value / LIMB;
        }
        if carry > 0 {
            self.0.push(carry as u32);
        }
    }

    fn add(&mut self, other: &Self) {
        let mut carry = 0;
        for index in 0..self.0.len().max(other.0.len()) {
            if index == self.0.len() {
                self.0.push(0);
            }
            let value = self.0[index] + other.0.get(index).copied().unwrap_or(0) + carry;
            self.0[index] = value % LIMB as u32;
            carry = value / LIMB as u32;
        }
        if carry > 0 {
            self.0.push(carry);
        }
    }

    fn to_decimal(&self) -> String {
        let mut text: String = self
            .0
            .iter()
            .rev()
            .map(|limb| format!("{limb:09}"))
            .collect();
        let zeros = text.bytes().take_while(|byte| *byte == b'0').count();
        text.drain(..zeros);
        if text.is_empty() {
            "0".to_owned()
        } else {
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{float, float_text, int};

    #[test]
    fn ints_of_yaml_1_1() {
        #[rustfmt::skip]
        let cases = [
            ("0", "0"), ("-0", "0"), ("5432", "5432"), ("+7", "7"), ("-7", "-7"), ("017", "15"), ("-017", "-15"), ("0x1F", "31"),
            ("0b101", "5"), ("1_000", "1000"), ("1:30", "90"), ("-1:30", "-90"), ("190:20:30", "685230"), ("0_", "0"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("0xffffffffffffffffffff", "1208925819614629174706175"), (" 12\n", "12"), ("0o17", "15"),
            ("1000000000", "1000000000"), ("59:1000000000", "1000003540"),
        ];
        for (text, value) in cases {
            assert_eq!(int(text).as_deref(), Some(value), "{text}");
        }
        for text in [
            "",
            "-",
            "_",
            "0b_",
            "0x",
            "08",
            "abc",
            "1:x",
            "1.5",
            &"9".repeat(4301),
        ] {
            assert_eq!(int(text), None, "{text}");
        }
        assert_eq!(
            int(&"9".repeat(4300)).map(|digits| digits.len()),
            Some(4300)
        );
    }

    #[test]
    fn floats_of_yaml_1_1() {
        #[rustfmt::skip]
        let cases = [
            ("1.", 1.0), ("1_0.5", 10.5), ("-.5", -0.5), ("1.5e+3", 1500.0), ("190:20:30.15", 685_230.15), ("-.INF", f64::NEG_INFINITY),
            ("1e3", 1000.0), ("7", 7.0),
        ];
        for (text, value) in cases {
            assert_eq!(float(text), Some(value), "{text}");
        }
        assert!(float(".NaN").is_some_and(f64::is_nan));
        for text in ["", "-", "abc", ".", "1:x"] {
            assert_eq!(float(text), None, "{text}");
        }
    }

    #[test]
    fn floats_are_written_as_python_writes_them() {
        #[rustfmt::skip]
        let cases = [
            (1.0, "1.0"), (-0.0, "-0.0"), (0.1, "0.1"), (1e16, "1.0e+16"), (1e15, "1000000000000000.0"), (1.5e-7, "1.5e-07"),
            (0.0001, "0.0001"), (0.00001, "1.0e-05"), (1e300, "1.0e+300"), (f64::INFINITY, ".inf"), (f64::NEG_INFINITY, "-.inf"),
        ];
        for (value, text) in cases {
            assert_eq!(float_text(value), text);
        }
        assert_eq!(float_text(f64::NAN), ".nan");
    }
}

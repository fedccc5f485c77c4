//! `!!binary`: only to know what Python would refuse, and which keys are the same; dbt takes no bytes as a value.
#![forbid(unsafe_code)]

/// Python's `binascii.a2b_base64` in its lenient mode; `None` where it raises, and where the text is not ASCII.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() {
        return None;
    }
    let mut bytes = Vec::new();
    let (mut position, mut pads, mut left) = (0, 0, 0_u8);
    for byte in text.bytes() {
        if byte == b'=' {
            if position >= 2 {
                pads += 1;
                if position + pads >= 4 {
                    return Some(bytes);
                }
            }
            continue;
        }
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => continue,
        };
        pads = 0;
        match position {
            0 => left = value,
            1 => {
                bytes.push(left << 2 | value >> 4);
                left = value & 0x0f;
            }
            2 => {
                bytes.push(left << 4 | value >> 2);
                left = value & 0x03;
            }
            _ => bytes.push(left << 6 | value),
        }
        position = (position + 1) % 4;
    }
    (position == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn base64_is_read_as_python_reads_it() {
        assert_eq!(decode("aGk=").as_deref(), Some(&b"hi"[..]));
        assert_eq!(decode("aG k=\n").as_deref(), Some(&b"hi"[..]));
        assert_eq!(decode("aGk"), None);
        assert_eq!(decode("a"), None);
        assert_eq!(decode("é"), None);
        assert_eq!(decode("==aGk=xx").as_deref(), Some(&b"hi"[..]));
    }
}

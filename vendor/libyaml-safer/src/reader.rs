use crate::{Error, Mark, Result};

/// The rest of the input. It is a `str`, so it is UTF-8 by its type.
pub(crate) struct Input<'input>(&'input str);

impl<'input> Input<'input> {
    pub(crate) fn new(input: &'input str) -> Self {
        Self(input)
    }

    /// The character at this offset, counted in characters; `None` behind the end of the input.
    #[inline]
    pub(crate) fn get(&self, offset: usize) -> Option<char> {
        let bytes = self.0.as_bytes();
        match bytes.get(..=offset) {
            Some(ahead) if ahead.is_ascii() => Some(char::from(ahead[offset])),
            _ => self.0.chars().nth(offset),
        }
    }

    /// Consumes one character.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<char> {
        let mut rest = self.0.chars();
        let front = rest.next();
        self.0 = rest.as_str();
        front
    }
}

/// Refuses what libyaml's reader refuses: control characters, U+FFFE, U+FFFF.
pub(crate) fn check(input: &str) -> Result<()> {
    let mut mark = Mark::default();
    for ch in input.chars() {
        if !is_allowed(ch) {
            return Err(Error::reader("control characters are not allowed", mark));
        }
        mark.index += 1;
        if ch == '\n' {
            mark.line += 1;
            mark.column = 0;
        } else {
            mark.column += 1;
        }
    }
    Ok(())
}

fn is_allowed(ch: char) -> bool {
    matches!(ch,
        '\x09' | '\x0A' | '\x0D' | '\x20'..='\x7E'
        | '\u{0085}' | '\u{00A0}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
}

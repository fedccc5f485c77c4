use crate::{Error, Mark, Result};

/// The rest of the input, one character at a time. The input is a `str`, so it is UTF-8 by its type.
pub(crate) struct Input<'input> {
    rest: core::str::Chars<'input>,
    /// The next characters, decoded: the scanner looks at most four ahead.
    ahead: [char; LOOKAHEAD],
    /// How many of them there are.
    len: usize,
}

/// `--- ` and `... ` are the longest that the scanner looks at.
const LOOKAHEAD: usize = 8;

impl<'input> Input<'input> {
    pub(crate) fn new(input: &'input str) -> Self {
        let mut new = Self {
            rest: input.chars(),
            ahead: ['\0'; LOOKAHEAD],
            len: 0,
        };
        while new.len < LOOKAHEAD && new.pull() {}
        new
    }

    /// The character at this offset; `None` behind the end of the input.
    #[inline]
    pub(crate) fn get(&self, offset: usize) -> Option<&char> {
        self.ahead[..self.len].get(offset)
    }

    /// Consumes one character.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<char> {
        let front = *self.get(0)?;
        self.ahead.copy_within(1.., 0);
        self.len -= 1;
        self.pull();
        Some(front)
    }

    fn pull(&mut self) -> bool {
        match self.rest.next() {
            Some(ch) => {
                self.ahead[self.len] = ch;
                self.len += 1;
                true
            }
            None => false,
        }
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

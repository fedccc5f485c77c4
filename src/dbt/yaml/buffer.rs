//! A text that grows without leaving copies behind.
#![forbid(unsafe_code)]

use zeroize::Zeroizing;

/// A text in the making. When it must grow, the old allocation is wiped (`String` would free it as it is).
pub(super) struct Buffer(Zeroizing<String>);

impl Buffer {
    pub(super) fn new() -> Self {
        Self(Zeroizing::new(String::with_capacity(128)))
    }

    pub(super) fn push_str(&mut self, text: &str) {
        self.reserve(text.len());
        self.0.push_str(text);
    }

    pub(super) fn push(&mut self, ch: char) {
        self.reserve(ch.len_utf8());
        self.0.push(ch);
    }

    fn reserve(&mut self, more: usize) {
        let needed = self.0.len() + more;
        if needed > self.0.capacity() {
            let mut larger =
                Zeroizing::new(String::with_capacity(needed.max(self.0.capacity() * 2)));
            larger.push_str(&self.0);
            self.0 = larger;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn into_text(self) -> Zeroizing<String> {
        self.0
    }
}

//! The person at the terminal, where there is one: who types a password or a code, and is told what a login waits for.
#![forbid(unsafe_code)]

use std::pin::Pin;

use crate::secret::Secret;

/// What a person answers; none where there is none, or nothing was typed.
pub type Answer<'a> = Pin<Box<dyn Future<Output = Option<Secret>> + 'a>>;

/// Somebody who can be asked.
pub trait Person {
    /// Asks for one line that is not shown while it is typed.
    fn ask<'a>(&'a self, question: &'a str) -> Answer<'a>;

    /// Whether anybody is there.
    fn is_there(&self) -> bool;

    /// Shows an address that the person is to open, and opens it in the browser where that can be.
    fn open(&self, url: &str);

    /// Says something that the login waits for; false where nobody sees it.
    fn tell(&self, text: &str) -> bool;
}

/// Nobody: CI, services, pipes.
#[derive(Clone, Copy, Debug)]
pub struct Nobody;

impl Person for Nobody {
    fn ask<'a>(&'a self, _: &'a str) -> Answer<'a> {
        Box::pin(std::future::ready(None))
    }

    fn is_there(&self) -> bool {
        false
    }

    fn open(&self, _: &str) {}

    fn tell(&self, _: &str) -> bool {
        false
    }
}

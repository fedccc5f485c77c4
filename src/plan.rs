//! The plan: target → environment → login and secrets, and the rules that keep environments apart.
#![forbid(unsafe_code)]

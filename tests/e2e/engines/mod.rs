//! Secrets engines: what they give, to which adapters, under the least policy, and how it ends.

mod adapters;
mod certificate;
mod contract;
mod directory;
mod real;
mod stub;

use serde_json::Value;

/// Seconds from one RFC 3339 stamp to another.
fn seconds_between(from: &Value, to: &Value) -> u64 {
    let time = |stamp: &Value| {
        humantime::parse_rfc3339(stamp.as_str().expect("a stamp")).expect("RFC 3339")
    };
    time(to)
        .duration_since(time(from))
        .expect("the other is later")
        .as_secs()
}

//! Any bytes as profiles.yml: what is read is written, and reads back; what is not has a key to show.
#![no_main]

use dbt_lease::dbt::yaml::{emit, last_key, load};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| match load(bytes) {
    Ok(node) => {
        if let Ok(text) = emit(&node) {
            let again = load(text.as_bytes()).expect("what we write reads back");
            let twice = emit(&again).expect("and can be written again");
            assert_eq!(twice.to_string(), text.to_string());
        }
    }
    Err(error) => {
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        let _ = last_key(text, error.line());
    }
});

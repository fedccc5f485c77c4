//! The cryptography that the features choose: ring, or AWS-LC's validated module, which has ring's interface.
#![forbid(unsafe_code)]

#[cfg(feature = "fips")]
pub(crate) use aws_lc_rs::{digest, hmac, pbkdf2};
#[cfg(not(feature = "fips"))]
pub(crate) use ring::{digest, hmac, pbkdf2};
use rustls::crypto::CryptoProvider;

/// What rustls works with.
pub(crate) fn provider() -> CryptoProvider {
    #[cfg(feature = "fips")]
    let provider = rustls::crypto::default_fips_provider();
    #[cfg(not(feature = "fips"))]
    let provider = rustls::crypto::ring::default_provider();
    provider
}

/// SHA-256 of bytes, 64 hexadecimal digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// Bytes as small hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

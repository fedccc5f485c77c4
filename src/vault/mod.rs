//! The only module that talks to Vault.
#![forbid(unsafe_code)]

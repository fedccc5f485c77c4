//! SCRAM-SHA-256 (RFC 5802, RFC 7677), the client's side, without channel binding.
#![forbid(unsafe_code)]

use std::io;
use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::wire::not_postgres;
use crate::crypto::{digest, hmac, pbkdf2};
use crate::secret::Secret;

/// The mechanism's name.
pub(super) const MECHANISM: &str = "SCRAM-SHA-256";
/// What stands before the first message: no channel binding, no other identity.
const HEADER: &str = "n,,";
/// A server could keep us busy for hours with more; PostgreSQL's default is 4096.
const MOST_ITERATIONS: u32 = 1_000_000;

/// One exchange.
pub(super) struct Scram {
    first_bare: String,
    nonce: String,
    server_signature: Option<hmac::Tag>,
}

impl Scram {
    pub(super) fn begin() -> io::Result<Self> {
        let mut random = [0; 18];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        Ok(Self::with_nonce(STANDARD.encode(random)))
    }

    fn with_nonce(nonce: String) -> Self {
        Self {
            // PostgreSQL takes the user's name from the start-up message.
            first_bare: format!("n=,r={nonce}"),
            nonce,
            server_signature: None,
        }
    }

    pub(super) fn client_first(&self) -> String {
        format!("{HEADER}{}", self.first_bare)
    }

    /// The proof that we know the password, for this server's challenge.
    pub(super) fn client_final(
        &mut self,
        password: &Secret,
        server_first: &str,
    ) -> io::Result<String> {
        // Beyond ASCII the password would have to be prepared first (RFC 4013).
        if !password
            .expose()
            .bytes()
            .all(|byte| (b' '..=b'~').contains(&byte))
        {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "the password has other characters than ASCII",
            ));
        }
        let part = |name: &str| {
            server_first
                .split(',')
                .find_map(|part| part.strip_prefix(name))
                .ok_or_else(not_postgres)
        };
        let nonce = part("r=")?;
        let salt = STANDARD.decode(part("s=")?).map_err(|_| not_postgres())?;
        let iterations = part("i=")?
            .parse::<NonZeroU32>()
            .ok()
            .filter(|iterations| iterations.get() <= MOST_ITERATIONS)
            .ok_or_else(not_postgres)?;
        if !nonce.starts_with(&self.nonce) {
            return Err(not_postgres());
        }
        let mut salted = Zeroizing::new([0; digest::SHA256_OUTPUT_LEN]);
        pbkdf2::derive(
            pbkdf2::PBKDF2_HMAC_SHA256,
            iterations,
            &salt,
            password.expose().as_bytes(),
            salted.as_mut_slice(),
        );
        let salted = hmac::Key::new(hmac::HMAC_SHA256, salted.as_slice());
        let client_key = hmac::sign(&salted, b"Client Key");
        let stored_key = digest::digest(&digest::SHA256, client_key.as_ref());
        let without_proof = format!("c={},r={nonce}", STANDARD.encode(HEADER));
        let said = format!("{},{server_first},{without_proof}", self.first_bare);
        let sign =
            |key: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), said.as_bytes());
        let proof: Zeroizing<Vec<u8>> = client_key
            .as_ref()
            .iter()
            .zip(sign(stored_key.as_ref()).as_ref())
            .map(|(key, signature)| key ^ signature)
            .collect::<Vec<u8>>()
            .into();
        self.server_signature = Some(sign(hmac::sign(&salted, b"Server Key").as_ref()));
        Ok(format!(
            "{without_proof},p={}",
            STANDARD.encode(proof.as_slice())
        ))
    }

    /// Whether the server has proven that it knows the password too.
    pub(super) fn is_the_server(&self, server_final: &str) -> bool {
        let said = server_final
            .split(',')
            .find_map(|part| part.strip_prefix("v="))
            .and_then(|text| STANDARD.decode(text).ok());
        match (&self.server_signature, said) {
            (Some(expected), Some(said)) => expected.as_ref() == said.as_slice(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7677, section 3: user `user`, password `pencil`. PostgreSQL leaves the user's name empty, so the first message differs and
    /// with it the proof; here the RFC's own is put in its place.
    #[test]
    fn the_rfcs_own_exchange_comes_out() {
        let mut scram = Scram {
            first_bare: "n=user,r=rOprNGfwEbeRWgbNEkqO".to_owned(),
            ..Scram::with_nonce("rOprNGfwEbeRWgbNEkqO".to_owned())
        };
        let server_first = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let last = scram
            .client_final(&Secret::new("pencil".to_owned()), server_first)
            .expect("answered");
        assert_eq!(
            last,
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert!(scram.is_the_server("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
        assert!(!scram.is_the_server("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5="));
        assert!(!scram.is_the_server("e=invalid-proof"));
    }

    #[test]
    fn a_challenge_that_is_none_of_ours_or_without_an_end_is_not_answered() {
        for server_first in [
            "r=another-nonce,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "r=nonce-and-more,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=1000001",
            "r=nonce-and-more,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=0",
            "r=nonce-and-more,i=4096",
        ] {
            let mut scram = Scram::with_nonce("nonce".to_owned());
            let answered = scram.client_final(&Secret::new("pencil".to_owned()), server_first);
            assert!(answered.is_err(), "{server_first}");
        }
    }
}

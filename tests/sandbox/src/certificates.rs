//! A certificate authority of one server's own, a certificate for 127.0.0.1, localhost and vault.example, and one for a client.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

/// PEM files, mode 0600 as the directory that they lie in is 0700.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// The authority that signed the others.
    pub ca: PathBuf,
    /// The server's certificate, for 127.0.0.1, localhost, and vault.example (behind a proxy).
    pub server: PathBuf,
    /// Its key.
    pub server_key: PathBuf,
    /// A client's certificate, named `dbt-lease`.
    pub client: PathBuf,
    /// Its key.
    pub client_key: PathBuf,
}

impl Certificates {
    /// Makes all of them in `directory`.
    pub(crate) fn make(directory: &Path) -> Self {
        Self::try_make(directory)
            .unwrap_or_else(|error| panic!("cannot make certificates: {error}"))
    }

    fn try_make(directory: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        let mut params = CertificateParams::new([])?;
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "dbt-lease sandbox CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let leaf = |names: &[&str], purpose| -> Result<(String, String), rcgen::Error> {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let mut params = CertificateParams::new(names.clone())?;
            params
                .distinguished_name
                .push(rcgen::DnType::CommonName, names[0].as_str());
            params.extended_key_usages = vec![purpose];
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            let key = KeyPair::generate()?;
            Ok((params.signed_by(&key, &issuer)?.pem(), key.serialize_pem()))
        };
        let write = |name: &str, text: &str| -> std::io::Result<PathBuf> {
            let path = directory.join(name);
            fs::write(&path, text)?;
            Ok(path)
        };
        let (server, server_key) = leaf(
            &["localhost", "127.0.0.1", "vault.example"],
            ExtendedKeyUsagePurpose::ServerAuth,
        )?;
        let (client, client_key) = leaf(&["dbt-lease"], ExtendedKeyUsagePurpose::ClientAuth)?;
        Ok(Self {
            ca: write("ca.pem", &issuer.pem())?,
            server: write("server.pem", &server)?,
            server_key: write("server.key", &server_key)?,
            client: write("client.pem", &client)?,
            client_key: write("client.key", &client_key)?,
        })
    }
}

/// A certificate that signs itself, valid between two times, and its key: PEM.
///
/// # Panics
/// Where it cannot be made.
pub fn certificates_at(begins: SystemTime, ends: SystemTime) -> (String, String) {
    let mut params = CertificateParams::new([]).expect("no names are right ones");
    (params.not_before, params.not_after) = (begins.into(), ends.into());
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    (certificate.pem(), key.serialize_pem())
}

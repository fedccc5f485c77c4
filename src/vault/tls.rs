//! Whom we trust over https, and how we show ourselves.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

use reqwest::{Certificate, Identity};
use rustls::RootCertStore;
use zeroize::Zeroizing;

use super::error::VaultError;
use crate::config::{ClientPem, Server};
use crate::crypto;

/// The built-in cryptography becomes the process's provider: reqwest without one of its own asks rustls for the default. A second
/// call, or somebody else's provider, changes nothing.
pub(crate) fn install_provider() {
    let _ = crypto::provider().install_default();
}

/// The authorities that a server's certificate may stem from: the file, else the text, else the directory, else the machine's own
/// (SSL_CERT_FILE, SSL_CERT_DIR or the distribution's), which cost 2.6 ms and are not read where a CA is given.
pub(crate) fn authorities(server: &Server) -> Result<Vec<Certificate>, VaultError> {
    if let Some(file) = &server.ca_cert {
        return certificates("ca_cert", file);
    }
    if let Some(pem) = &server.ca_pem {
        let found = Certificate::from_pem_bundle(pem.as_bytes()).unwrap_or_default();
        if found.is_empty() {
            let variable = Path::new("BAO_CACERT_BYTES, VAULT_CACERT_BYTES");
            return Err(settings(
                "ca_cert",
                variable,
                "it holds no certificate in PEM",
            ));
        }
        return Ok(found);
    }
    if let Some(dir) = &server.ca_path {
        return directory(dir);
    }
    Ok(machine_roots())
}

/// The machine's own roots: SSL_CERT_FILE, SSL_CERT_DIR or the distribution's.
pub(crate) fn machine_roots() -> Vec<Certificate> {
    let mut store = RootCertStore::empty();
    rustls_native_certs::load_native_certs()
        .certs
        .into_iter()
        // One root that webpki cannot read must not cost all the others.
        .filter(|der| store.add(der.clone()).is_ok())
        .filter_map(|der| Certificate::from_der(&der).ok())
        .collect()
}

/// The client certificate with its key, where one is given.
pub(crate) fn identity(server: &Server) -> Result<Option<Identity>, VaultError> {
    let (cert, key) = match (&server.client_cert, &server.client_key) {
        (None, None) => return server.client_pem.as_ref().map(by_value).transpose(),
        (Some(cert), Some(key)) => (cert, key),
        (Some(cert), None) => {
            return Err(settings(
                "client_cert",
                cert,
                "it needs client_key beside it",
            ));
        }
        (None, Some(key)) => {
            return Err(settings(
                "client_key",
                key,
                "it needs client_cert beside it",
            ));
        }
    };
    // The certificate alone is read first, so that a mistake is said of the right file.
    certificates("client_cert", cert)?;
    let mut pem = read("client_key", key)?;
    pem.push(b'\n');
    pem.extend_from_slice(&read("client_cert", cert)?);
    Identity::from_pem(&pem).map(Some).map_err(|_| {
        settings(
            "client_key",
            key,
            "it holds no private key in PEM (an encrypted key cannot be used)",
        )
    })
}

/// Certificate and key that came in variables.
fn by_value(pem: &ClientPem) -> Result<Identity, VaultError> {
    let both = Zeroizing::new(format!("{}\n{}", pem.key.expose(), pem.certificate));
    Identity::from_pem(both.as_bytes()).map_err(|_| {
        let variables = Path::new("BAO_CLIENT_CERT_BYTES, BAO_CLIENT_KEY_BYTES");
        settings(
            "client_cert",
            variables,
            "they hold no certificate with its private key in PEM",
        )
    })
}

fn directory(dir: &Path) -> Result<Vec<Certificate>, VaultError> {
    let entries = fs::read_dir(dir).map_err(|error| unreadable("ca_path", dir, &error))?;
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    let mut found = Vec::new();
    for path in paths.iter().filter(|path| path.is_file()) {
        // Such directories hold other files too: revocation lists, a README.
        found.extend(certificates("ca_path", path).unwrap_or_default());
    }
    if found.is_empty() {
        return Err(settings(
            "ca_path",
            dir,
            "none of its files holds a certificate in PEM",
        ));
    }
    Ok(found)
}

fn certificates(setting: &'static str, path: &Path) -> Result<Vec<Certificate>, VaultError> {
    let pem = read(setting, path)?;
    let found = Certificate::from_pem_bundle(&pem).unwrap_or_default();
    if found.is_empty() {
        return Err(settings(setting, path, "it holds no certificate in PEM"));
    }
    Ok(found)
}

fn read(setting: &'static str, path: &Path) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    fs::read(path)
        .map(Zeroizing::new)
        .map_err(|error| unreadable(setting, path, &error))
}

fn unreadable(setting: &'static str, path: &Path, error: &std::io::Error) -> VaultError {
    settings(setting, path, &error.to_string())
}

fn settings(setting: &'static str, path: &Path, problem: &str) -> VaultError {
    VaultError::Settings {
        setting,
        value: path.display().to_string(),
        problem: problem.to_owned(),
    }
}

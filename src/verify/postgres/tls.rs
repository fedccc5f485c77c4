//! TLS to PostgreSQL as libpq's `sslmode` has it.
#![forbid(unsafe_code)]

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme, StreamOwned,
};

use super::Login;
use super::wire::{Stream, not_postgres};
use crate::crypto;

/// `sslmode`, as far as one attempt tells them apart: `allow` is tried as `prefer`, with TLS first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Sslmode {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl FromStr for Sslmode {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Ok(match text {
            "disable" => Self::Disable,
            "allow" | "prefer" => Self::Prefer,
            "require" => Self::Require,
            "verify-ca" => Self::VerifyCa,
            "verify-full" => Self::VerifyFull,
            _ => return Err(()),
        })
    }
}

/// The connection with TLS around it, where the mode and the server want that.
pub(super) fn secured(mut stream: TcpStream, login: &Login) -> io::Result<Box<dyn Stream>> {
    if login.sslmode == Sslmode::Disable {
        return Ok(Box::new(stream));
    }
    // SSLRequest: its length and its number.
    stream.write_all(&[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f])?;
    let mut answer = [0];
    stream.read_exact(&mut answer)?;
    match answer[0] {
        b'S' => {}
        b'N' if login.sslmode == Sslmode::Prefer => return Ok(Box::new(stream)),
        b'N' => return Err(io::Error::other("the server has no TLS")),
        _ => return Err(not_postgres()),
    }
    let provider = Arc::new(crypto::provider());
    let verifier = verifier(login, &provider)?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    let name = ServerName::try_from(login.host.clone()).map_err(io::Error::other)?;
    let connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    Ok(Box::new(StreamOwned::new(connection, stream)))
}

fn verifier(
    login: &Login,
    provider: &Arc<CryptoProvider>,
) -> io::Result<Arc<dyn ServerCertVerifier>> {
    // As libpq: `require` with a root certificate verifies the chain.
    let wants_chain = matches!(login.sslmode, Sslmode::VerifyCa | Sslmode::VerifyFull)
        || login.sslrootcert.is_some();
    if !wants_chain {
        return Ok(Arc::new(Lenient {
            provider: Arc::clone(provider),
            chain: None,
        }));
    }
    let file = login.sslrootcert.as_deref().ok_or_else(|| {
        io::Error::other("`sslmode` verifies the server, and no `sslrootcert` says by whom")
    })?;
    let roots = Arc::new(roots(file)?);
    let chain = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider))
        .build()
        .map_err(io::Error::other)?;
    if login.sslmode == Sslmode::VerifyFull {
        return Ok(chain);
    }
    Ok(Arc::new(Lenient {
        provider: Arc::clone(provider),
        chain: Some(chain),
    }))
}

fn roots(file: &Path) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let certificates = if file == Path::new("system") {
        rustls_native_certs::load_native_certs().certs
    } else {
        CertificateDer::pem_file_iter(file)
            .and_then(Iterator::collect)
            .map_err(|error| io::Error::other(format!("`{}`: {error}", file.display())))?
    };
    roots.add_parsable_certificates(certificates);
    if roots.is_empty() {
        return Err(io::Error::other(format!(
            "`{}` holds no certificate",
            file.display()
        )));
    }
    Ok(roots)
}

/// Verifies no name, and the chain only where there is one to verify by: `prefer`, `require`, `verify-ca`. The SCRAM exchange in it still
/// proves that the server knows the password.
#[derive(Debug)]
struct Lenient {
    provider: Arc<CryptoProvider>,
    chain: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else {
            return Ok(ServerCertVerified::assertion());
        };
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            cert,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            cert,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

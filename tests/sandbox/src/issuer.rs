//! An issuer of identity tokens, as a CI system has one: a signing key, its public half as PEM and as JWKS with OIDC discovery, and the
//! endpoints at which GitHub Actions, Azure DevOps and Google's metadata server give tokens.
//!
//! OpenBao verifies the tokens for itself; the endpoints are a stub that answers in the shapes of the systems' documentation.
#![forbid(unsafe_code)]

use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

use crate::web::{Received, Reply, Web};

/// What must be shown to the endpoints of GitHub and Azure.
pub const REQUEST_TOKEN: &str = "request-token-of-the-job";

/// A running issuer.
#[derive(Debug)]
pub struct Issuer {
    signer: Arc<Signer>,
    web: Web,
    next: Arc<Mutex<Vec<Reply>>>,
}

#[derive(Debug)]
struct Signer {
    key: EcdsaKeyPair,
    issuer: String,
    random: SystemRandom,
}

impl Issuer {
    /// A new key, and a server on 127.0.0.1.
    ///
    /// # Panics
    /// Where loopback has no free port.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let signer = Arc::new(Signer::new(format!("http://{address}")));
        let next = Arc::new(Mutex::new(Vec::new()));
        let (own, queue) = (Arc::clone(&signer), Arc::clone(&next));
        let web = Web::on(listener, move |request| {
            let queued = (!request.path.starts_with("/.well-known") && request.path != "/jwks")
                .then(|| queue.lock().expect("no test holds it").pop())
                .flatten();
            queued.unwrap_or_else(|| own.answer(request))
        });
        Self { signer, web, next }
    }

    /// Its name in its tokens, which is where it is found.
    pub fn address(&self) -> &str {
        &self.signer.issuer
    }

    /// A token that lives an hour, with these claims over its own (`iss`, `sub`, `iat`, `exp`).
    pub fn token(&self, claims: Value) -> String {
        self.signer.token(claims)
    }

    /// The public key, PEM.
    pub fn public_key(&self) -> String {
        // SubjectPublicKeyInfo of a point on P-256: all but the point is fixed.
        let mut der = vec![
            0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
            0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
        ];
        der.extend_from_slice(self.signer.key.public_key().as_ref());
        format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            STANDARD.encode(der)
        )
    }

    /// Gives these answers next, the last first, whatever is asked for.
    ///
    /// # Panics
    /// Where another test panicked in it.
    pub fn answer_next(&self, replies: impl IntoIterator<Item = Reply>) {
        let mut next = self.next.lock().expect("no test holds it");
        next.extend(replies);
    }

    /// What it was asked, but for its keys.
    pub fn received(&self) -> Vec<Received> {
        let mut received = self.web.received();
        received
            .retain(|request| !request.path.starts_with("/.well-known") && request.path != "/jwks");
        received
    }
}

impl Signer {
    fn new(issuer: String) -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
            .expect("a key is made");
        let key =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random)
                .expect("its own key");
        Self {
            key,
            issuer,
            random,
        }
    }

    fn token(&self, claims: Value) -> String {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970")
            .as_secs();
        let mut all = json!({
            "iss": self.issuer,
            "sub": "repo:acme/jaffle:environment:production",
            "iat": now,
            "nbf": now,
            "exp": now + 3600,
        });
        all.as_object_mut()
            .expect("a map")
            .extend(claims.as_object().expect("claims are a map").clone());
        let header = json!({"alg": "ES256", "typ": "JWT", "kid": "key-1"});
        let signed = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header.to_string()),
            URL_SAFE_NO_PAD.encode(all.to_string())
        );
        let signature = self
            .key
            .sign(&self.random, signed.as_bytes())
            .expect("it signs");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }

    fn answer(&self, request: &Received) -> Reply {
        let path = request.path.split('?').next().unwrap_or_default();
        let audience = request.parameter("audience");
        let bearer = request.header("authorization");
        let known = bearer.split_once(' ').is_some_and(|(kind, token)| {
            kind.eq_ignore_ascii_case("bearer") && token == REQUEST_TOKEN
        });
        match path {
            "/.well-known/openid-configuration" => Reply::json(&json!({
                "issuer": self.issuer,
                "jwks_uri": format!("{}/jwks", self.issuer),
                "authorization_endpoint": format!("{}/none", self.issuer),
                "token_endpoint": format!("{}/none", self.issuer),
                "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["ES256"],
            })),
            "/jwks" => {
                let point = self.key.public_key().as_ref();
                let (x, y) = point[1..].split_at(32);
                Reply::json(&json!({"keys": [{
                    "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "key-1",
                    "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
                }]}))
            }
            "/github" | "/azure" if !known => Reply::new(401, "{\"message\":\"bad credentials\"}"),
            "/github" if request.method == "GET" => {
                Reply::json(&json!({"value": self.token(json!({"aud": audience}))}))
            }
            "/azure"
                if request.method == "POST" && !request.parameter("api-version").is_empty() =>
            {
                Reply::json(&json!({
                    "oidcToken": self.token(json!({"aud": "api://AzureADTokenExchange"}))
                }))
            }
            "/computeMetadata/v1/instance/service-accounts/default/identity"
                if request.header("metadata-flavor") == "Google" =>
            {
                Reply::new(200, self.token(json!({"aud": audience})))
            }
            _ => Reply::new(404, "no such page"),
        }
    }
}

//! AWS Signature Version 4 of one kind of request: a POST of a form to `/`, without a query.
//!
//! As AWS documents it ("Create a signed AWS API request"); the tests hold it against botocore's own signer.
#![forbid(unsafe_code)]

use std::time::SystemTime;

use zeroize::Zeroizing;

use super::credentials::Credentials;
use crate::crypto::hmac::{HMAC_SHA256, Key, sign};
use crate::crypto::{hex, sha256};

/// What every such request has.
pub(super) const CONTENT_TYPE: &str = "application/x-www-form-urlencoded; charset=utf-8";

/// A request to sign.
pub(super) struct Signing<'a> {
    pub(super) credentials: &'a Credentials,
    pub(super) region: &'a str,
    pub(super) service: &'a str,
    /// With its port, where that is not the scheme's own.
    pub(super) host: &'a str,
    pub(super) body: &'a str,
    /// Headers that are signed beside the usual ones.
    pub(super) extra: &'a [(&'static str, &'a str)],
}

impl Signing<'_> {
    /// All headers of the signed request.
    pub(super) fn headers(&self, now: SystemTime) -> Vec<(&'static str, Zeroizing<String>)> {
        // `2026-11-24T14:25:06Z`, whole seconds, less its dashes and colons.
        let stamp = humantime::format_rfc3339_seconds(now)
            .to_string()
            .replace(['-', ':'], "");
        let plain = |text: &str| Zeroizing::new(text.to_owned());
        let mut headers = vec![
            ("Content-Type", plain(CONTENT_TYPE)),
            ("Host", plain(self.host)),
            ("X-Amz-Date", plain(&stamp)),
        ];
        if let Some(token) = &self.credentials.session_token {
            headers.push(("X-Amz-Security-Token", plain(token.expose())));
        }
        headers.extend(self.extra.iter().map(|(name, value)| (*name, plain(value))));

        let mut canonical: Vec<(String, &str)> = headers
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim()))
            .collect();
        canonical.sort();
        let names = canonical
            .iter()
            .map(|(name, _)| name.as_str())
            .collect::<Vec<_>>()
            .join(";");
        let mut request = Zeroizing::new("POST\n/\n\n".to_owned());
        for (name, value) in &canonical {
            request.push_str(&format!("{name}:{value}\n"));
        }
        request.push_str(&format!("\n{names}\n{}", sha256(self.body.as_bytes())));

        let day = &stamp[..8];
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let to_sign = format!(
            "AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{}",
            sha256(request.as_bytes())
        );
        let mut key =
            Zeroizing::new(format!("AWS4{}", self.credentials.secret_key.expose()).into_bytes());
        for part in [day, self.region, self.service, "aws4_request"] {
            key = mac(&key, part);
        }
        let signature = hex(&mac(&key, &to_sign));
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            self.credentials.access_key
        );
        headers.push(("Authorization", Zeroizing::new(authorization)));
        headers
    }
}

fn mac(key: &[u8], text: &str) -> Zeroizing<Vec<u8>> {
    let key = Key::new(HMAC_SHA256, key);
    Zeroizing::new(sign(&key, text.as_bytes()).as_ref().to_vec())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::secret::Secret;

    /// The key derivation of AWS's own documentation ("Examples of how to derive a signing key").
    #[test]
    fn the_key_is_derived_as_aws_s_example_has_it() {
        let mut key = Zeroizing::new(b"AWS4wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_vec());
        for part in ["20150830", "us-east-1", "iam", "aws4_request"] {
            key = mac(&key, part);
        }
        assert_eq!(
            hex(&key),
            "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9"
        );
    }

    #[test]
    fn headers_are_signed_in_order_and_the_secret_stands_nowhere() {
        let credentials = Credentials {
            access_key: "AKIDEXAMPLE".to_owned(),
            secret_key: Secret::new("secret-key".to_owned()),
            session_token: Some(Secret::new("session".to_owned())),
            source: String::new(),
        };
        let headers = Signing {
            credentials: &credentials,
            region: "us-east-1",
            service: "sts",
            host: "sts.amazonaws.com",
            body: "x",
            extra: &[("X-Vault-AWS-IAM-Server-ID", "vault.example.com")],
        }
        .headers(UNIX_EPOCH + Duration::from_secs(1_440_938_160));
        let text = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}\n", value.as_str()))
            .collect::<String>();
        assert!(text.contains("X-Amz-Date: 20150830T123600Z\n"), "{text}");
        assert!(
            text.contains(
                "Credential=AKIDEXAMPLE/20150830/us-east-1/sts/aws4_request, \
                 SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-vault-aws-iam-server-id, Signature="
            ),
            "{text}"
        );
        assert!(!text.contains("secret-key"));
    }
}

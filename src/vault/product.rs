//! Which product answers, as far as it shows without a further request: no answer's header names it, nor its version.
#![forbid(unsafe_code)]

use super::auth::Token;

/// `vault` or `openbao`, by how the server writes its tokens: HashiCorp Vault has written `hvs.` since 1.10; OpenBao, and a Vault
/// before that, write `s.`. None for a token whose text the user chose.
pub fn of(token: &Token) -> Option<&'static str> {
    let (prefix, _) = token.value.expose().split_once('.')?;
    match prefix {
        "hvs" | "hvb" | "hvr" => Some("vault"),
        "s" | "b" | "r" => Some("openbao"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::of;
    use crate::secret::Secret;
    use crate::vault::stub::token;

    #[test]
    fn the_form_of_the_token_tells() {
        for (text, product) in [
            ("hvs.CAESIJ", Some("vault")),
            ("hvb.AAAAAQ", Some("vault")),
            ("s.k9huPq2xNyq0H9KdaBLLbRe4", Some("openbao")),
            ("root", None),
        ] {
            let mut token = token(true);
            token.value = Secret::new(text.to_owned());
            assert_eq!(of(&token), product, "{text}");
        }
    }
}

//! A program that prints a token of Vault's.
#![forbid(unsafe_code)]

use super::{Surroundings, Token, source, token};
use crate::config::Printed;
use crate::vault::client::Client;
use crate::vault::error::VaultError;

/// Has the token printed, and asks Vault what it is.
pub(super) async fn login(
    client: &Client,
    around: &Surroundings<'_>,
    login: &Printed,
) -> Result<Token, VaultError> {
    let found = source::read("token", &login.command, around.variables).await?;
    token::look_up(client, found, source::place(&login.command)).await
}

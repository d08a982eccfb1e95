//! Takes client credentials of the operator's, gives tokens for what is not spoken to over HTTP.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use tokio::time::Instant;

use super::Outgoing;
use super::client::{Client, Reach, client};
use super::credential::Credential;
use crate::config::{Credential as Words, Secret, SecretUse};
use crate::manifest::Origin;

/// A token endpoint, and who the host is there.
pub struct Tokens {
    credential: Credential,
    principal: String,
}

impl Outgoing {
    /// Of one endpoint: its address, the client's id and secret, and a scope. None where the
    /// address is none. `name` stands in what is told of it.
    pub fn tokens(
        &self,
        name: &str,
        (token_url, client_id, client_secret, scope): (&str, &str, &Secret, &str),
    ) -> Option<Tokens> {
        let endpoint: Client<Full<Bytes>> = client(&self.trust, Reach::Anywhere);
        let secret = SecretUse {
            origin: Origin::parse(token_url)?,
            credential: Words::ClientCredentials {
                token_url: token_url.to_owned(),
                client_id: client_id.to_owned(),
                client_secret: client_secret.clone(),
                scope: scope.to_owned(),
            },
        };
        Some(Tokens {
            credential: Credential::new(name, &secret, endpoint),
            principal: client_id.to_owned(),
        })
    }
}

impl Tokens {
    /// A new one, and for how long it is good.
    ///
    /// # Errors
    /// Why there is none, without anything secret in it.
    pub async fn fresh(&self) -> Result<(String, Duration), String> {
        let fetched = self.credential.fetch().await;
        let token = fetched.map_err(|error| error.to_string())?;
        let text = token.header.to_str().map_err(|error| error.to_string())?;
        let text = text.strip_prefix("Bearer ").unwrap_or(text).to_owned();
        Ok((text, token.ends.saturating_duration_since(Instant::now())))
    }

    /// Who the host is there.
    pub fn principal(&self) -> &str {
        &self.principal
    }
}

//! Takes a secret of the operator's, gives the header that a request for its origin gets.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::client::Client;
use crate::config::{Credential as Words, SecretUse};
use crate::host::chain;
use crate::manifest::Origin;

/// A token is renewed so long before it ends.
const EARLY: Duration = Duration::from_secs(60);
/// What a token without a word about its life is good for.
const UNTOLD: Duration = Duration::from_secs(300);
const MAX_ANSWER: usize = 64 << 10;
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no header: for the guest and the log, without anything secret in it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the secret {0} holds what no header may")]
    NoHeader(String),
    #[error("the token endpoint of {name} cannot be reached: {reason}")]
    Unreachable { name: String, reason: String },
    #[error("the token endpoint of {name} answered {status}{said}")]
    Refused {
        name: String,
        status: StatusCode,
        said: String,
    },
    #[error("the token endpoint of {0} answered with no token")]
    NoToken(String),
}

/// A secret, and the token that it was exchanged for.
pub(super) struct Credential {
    name: String,
    pub(super) origin: Origin,
    words: Words,
    token: Mutex<Option<Token>>,
    client: Client<Full<Bytes>>,
}

pub(super) struct Token {
    pub(super) header: HeaderValue,
    pub(super) ends: Instant,
}

#[derive(Deserialize)]
struct Answer {
    access_token: Option<String>,
    /// A number, or one as text.
    expires_in: Option<serde_json::Value>,
    error: Option<String>,
}

impl Credential {
    pub(super) fn new(name: &str, secret: &SecretUse, client: Client<Full<Bytes>>) -> Self {
        Self {
            name: name.to_owned(),
            origin: secret.origin.clone(),
            words: secret.credential.clone(),
            token: Mutex::default(),
            client,
        }
    }

    /// The header's name, which the guest's own one makes way for.
    pub(super) fn header_name(&self) -> HeaderName {
        match &self.words {
            Words::Header { name, .. } => name.parse().unwrap_or(AUTHORIZATION),
            Words::Bearer { .. } | Words::ClientCredentials { .. } => AUTHORIZATION,
        }
    }

    /// The header's value. Asks for a token when there is none, once for all who wait.
    pub(super) async fn header(&self) -> Result<HeaderValue, Error> {
        match &self.words {
            Words::Header { value, .. } => self.sensitive(value.expose()),
            Words::Bearer { token } => self.sensitive(&format!("Bearer {}", token.expose())),
            Words::ClientCredentials { .. } => {
                let mut token = self.token.lock().await;
                if let Some(token) = &*token
                    && Instant::now() < token.ends
                {
                    return Ok(token.header.clone());
                }
                let fresh = self.fetch().await?;
                let header = fresh.header.clone();
                *token = Some(fresh);
                Ok(header)
            }
        }
    }

    /// The origin did not take this header: the next request gets a new token.
    pub(super) async fn was_refused(&self, header: &HeaderValue) {
        let mut token = self.token.lock().await;
        if token.as_ref().is_some_and(|token| token.header == header) {
            *token = None;
        }
    }

    fn sensitive(&self, text: &str) -> Result<HeaderValue, Error> {
        let mut value =
            HeaderValue::from_str(text).map_err(|_| Error::NoHeader(self.name.clone()))?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// A new token, whatever there was before.
    pub(super) async fn fetch(&self) -> Result<Token, Error> {
        let unreachable = |reason: String| Error::Unreachable {
            name: self.name.clone(),
            reason,
        };
        let request = self.request().map_err(unreachable)?;
        let asking = async {
            let answer = self.client.request(request).await;
            let answer = answer.map_err(|error| unreachable(chain(&error)))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
            let body = body.map_err(|error| unreachable(error.to_string()))?;
            Ok((status, body.to_bytes()))
        };
        let (status, body) = tokio::time::timeout(PATIENCE, asking)
            .await
            .map_err(|_| unreachable(format!("no answer in {PATIENCE:?}")))??;
        let answer: Option<Answer> = serde_json::from_slice(&body).ok();
        if !status.is_success() {
            let said = answer.and_then(|answer| answer.error);
            return Err(Error::Refused {
                name: self.name.clone(),
                status,
                said: said.map_or(String::new(), |said| format!(" ({said})")),
            });
        }
        let no_token = || Error::NoToken(self.name.clone());
        let answer = answer.ok_or_else(no_token)?;
        let token = answer.access_token.ok_or_else(no_token)?;
        let seconds = answer.expires_in.and_then(|value| match value {
            serde_json::Value::Number(number) => number.as_u64(),
            serde_json::Value::String(text) => text.parse().ok(),
            _ => None,
        });
        let life = seconds.map_or(UNTOLD, Duration::from_secs);
        // Of a short life at least a half.
        let good = life.saturating_sub(EARLY).max(life / 2);
        tracing::info!(secret = self.name, ?good, "a new token");
        Ok(Token {
            header: self.sensitive(&format!("Bearer {token}"))?,
            ends: Instant::now() + good.min(Duration::from_secs(24 * 60 * 60)),
        })
    }

    /// RFC 6749, section 4.4.2, with the client's secret in the body as Entra ID wants it.
    fn request(&self) -> Result<Request<Full<Bytes>>, String> {
        let Words::ClientCredentials {
            token_url,
            client_id,
            client_secret,
            scope,
        } = &self.words
        else {
            return Err("it is no client secret".to_owned());
        };
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "client_credentials")
            .append_pair("client_id", client_id)
            .append_pair("client_secret", client_secret.expose())
            .append_pair("scope", scope)
            .finish();
        let url: Uri = token_url.parse().map_err(|error| format!("{error}"))?;
        Request::builder()
            .method(Method::POST)
            .uri(url)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .body(Full::from(form))
            .map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::plugin::http::client::{Reach, client, trust};

    #[tokio::test]
    async fn a_bearer_token_is_sent_as_one_and_shown_to_nobody() {
        let text = "[secret.crm]\norigin = \"https://a.com\"\nbearer = \"${KEY}\"\n";
        let lookup = |_: &str| Some("k3y".to_owned());
        let folder = std::path::Path::new("");
        let config = Config::parse(text, "sluice.toml", folder, &lookup).expect("a config");
        let secret = config.secrets.get("crm").expect("the secret");
        let trust = trust("http.ca", None).expect("trust");
        let credential = Credential::new("crm", secret, client(&trust, Reach::Anywhere));
        assert_eq!(credential.header_name(), AUTHORIZATION);
        let header = credential.header().await.expect("a header");
        assert_eq!(header.as_bytes(), b"Bearer k3y");
        assert!(!format!("{header:?} {secret:?}").contains("k3y"));
    }
}

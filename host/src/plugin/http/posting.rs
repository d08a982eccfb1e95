//! Takes a request of the host's own, gives the answer of whom the operator named, the secret put into it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{HeaderMap, Request, StatusCode};
use tokio::time::timeout;

use super::Outgoing;
use super::client::{Client, Reach, client};
use super::credential::Credential;
use crate::host::chain;

/// Bytes of an answer that are read: what says why not.
const MAX_ANSWER: usize = 64 << 10;

/// Requests to one address of the operator's.
pub struct Posting {
    client: Client<Full<Bytes>>,
    credential: Option<Arc<Credential>>,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// The beginning of its body, as text.
    pub said: String,
}

impl Outgoing {
    /// For requests that show this secret.
    pub fn posting(&self, secret: Option<&str>) -> Posting {
        Posting {
            client: client(&self.trust, Reach::Anywhere),
            credential: secret.and_then(|name| self.credentials.get(name).cloned()),
        }
    }
}

impl Posting {
    /// Sends it and reads the answer, within `patience`.
    ///
    /// # Errors
    /// Why there is no answer, without anything secret in it.
    pub async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
        patience: Duration,
    ) -> Result<Answer, String> {
        let exchange = async {
            let mut shown = None;
            if let Some(credential) = &self.credential {
                let header = credential.header().await;
                let header = header.map_err(|error| error.to_string())?;
                let headers = request.headers_mut();
                headers.insert(credential.header_name(), header.clone());
                shown = Some((credential, header));
            }
            let response = self.client.request(request).await;
            let response = response.map_err(|error| chain(&error))?;
            let (head, body) = response.into_parts();
            if let (StatusCode::UNAUTHORIZED, Some((credential, header))) = (head.status, shown) {
                credential.was_refused(&header).await;
            }
            let said = Limited::new(body, MAX_ANSWER).collect().await;
            let said = said.map(|body| body.to_bytes()).unwrap_or_default();
            Ok(Answer {
                status: head.status,
                headers: head.headers,
                said: String::from_utf8_lossy(&said).into_owned(),
            })
        };
        let late = |_| Err(format!("no answer within {patience:?}"));
        timeout(patience, exchange).await.unwrap_or_else(late)
    }
}

//! Takes what is wrong with a request, gives its answer: `application/problem+json` (RFC 9457).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::publisher;

/// Largest body of a request, in bytes.
pub const MAX_BODY: usize = 1 << 20;

/// Why a request is not answered with 2xx.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Nothing is served at the path.
    #[error(
        "there is nothing here; POST to /dataverse/<environment>, /fno/<environment>, /eventgrid/<environment> or /cloudevents/<environment>"
    )]
    NotFound,
    /// The path takes other methods.
    #[error("this path takes {0}")]
    Method(&'static str),
    /// No source of this environment, or not its key. The answer does not say which.
    #[error(
        "no source of this environment takes the request's key; compare the key with [[gateway.source]] in sluice.toml"
    )]
    Unauthorized,
    /// Event Grid's handshake for a subscription or an origin that the config does not name.
    #[error("{0}")]
    Forbidden(String),
    /// The body's media type or encoding is not read here.
    #[error("{0}")]
    MediaType(String),
    /// The body is too big.
    #[error(
        "the body is over {MAX_BODY} bytes (1 MiB), the most that is taken; send less, or send a reference"
    )]
    TooLarge,
    /// The body did not come in time.
    #[error("the body did not come within {0} seconds")]
    TooSlow(u64),
    /// The connection broke off in the middle of the body.
    #[error("the body broke off: {0}")]
    Broken(String),
    /// A batch holds something that is no CloudEvent.
    #[error(
        "event {index} of the batch (counted from 0) is no CloudEvent: {error}; nothing of the batch was taken"
    )]
    Batch {
        /// Which one.
        index: usize,
        /// What is wrong with it.
        error: String,
    },
    /// Too much at once, from this source or from all of them.
    #[error("{0}; send again after a second")]
    Busy(&'static str),
    /// The broker does not have it.
    #[error("{0}; nothing is lost if you send again after a second")]
    Unavailable(#[from] publisher::Error),
    /// The spool cannot take it either.
    #[error("{0}; send again after a second")]
    Spool(String),
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
}

impl Problem {
    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::MediaType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Broken(_) | Self::Batch { .. } => StatusCode::BAD_REQUEST,
            Self::Busy(_) | Self::Unavailable(_) | Self::Spool(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    /// Whether the rest of the request is left unread, so that the connection cannot go on.
    fn ends_connection(&self) -> bool {
        matches!(self, Self::TooLarge | Self::TooSlow(_) | Self::Broken(_))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        let body = Body {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or_default(),
            status: status.as_u16(),
            detail: self.to_string(),
            index: match self {
                Self::Batch { index, .. } => Some(index),
                _ => None,
            },
        };
        let mut response = (status, axum::Json(body)).into_response();
        let headers = response.headers_mut();
        let problem = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, problem);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Key realm=\"sluicegate\"");
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Self::Method(allowed) = &self {
            headers.insert(header::ALLOW, HeaderValue::from_static(allowed));
        }
        if status == StatusCode::UNSUPPORTED_MEDIA_TYPE {
            let identity = HeaderValue::from_static("identity");
            headers.insert(header::ACCEPT_ENCODING, identity);
        }
        if self.ends_connection() {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

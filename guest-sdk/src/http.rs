//! Requests to the origins that the manifest's `http` grants. Needs `http = ["https://…"]` under
//! `[capabilities]`.
//!
//! ```no_run
//! use sluicegate_guest::*;
//!
//! #[consumer]
//! fn handle(event: Event, delivery: Delivery) -> Outcome {
//!     let answer = http::post("https://api.contoso.com/orders")
//!         .header("idempotency-key", &delivery.idempotency_key)
//!         .json(&event.json::<serde_json::Value>()?)?
//!         .send()?;
//!     log::info(format!("answered {}", answer.status()));
//!     Ok(())
//! }
//! ```
//!
//! The host adds the credential that the operator has set for the origin; a plug-in never sees it.
//! Redirects are not followed.
//!
//! # What `?` makes of an error
//!
//! A later call can help, or it cannot, and the status says which:
//!
//! | | becomes |
//! |---|---|
//! | 429 and 503 | `retry`, after what `Retry-After` says |
//! | 401, 408 and every other 5xx | `retry` |
//! | no answer: connection, name, certificate, time | `retry` |
//! | every other status from 300 on | `reject` |
//! | an address that is no URL, an origin that is not granted | `reject` |
//!
//! The same holds of an error that has this one among its sources. Whether the other side has
//! done what an unanswered request asks for is not known: send
//! [`Delivery::idempotency_key`](crate::Delivery::idempotency_key) where it can be told by it.

use std::fmt::Display;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Failure, host};

/// Bytes of an answer's body that an error shows.
const SHOWN: usize = 500;

/// A request that is being described.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a request does nothing until it is sent"]
pub struct Request {
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) timeout: Option<Duration>,
}

/// A `GET`.
pub fn get(url: impl Into<String>) -> Request {
    Request::new("GET", url)
}

/// A `POST`.
pub fn post(url: impl Into<String>) -> Request {
    Request::new("POST", url)
}

/// A `PUT`.
pub fn put(url: impl Into<String>) -> Request {
    Request::new("PUT", url)
}

/// A `PATCH`.
pub fn patch(url: impl Into<String>) -> Request {
    Request::new("PATCH", url)
}

/// A `DELETE`.
pub fn delete(url: impl Into<String>) -> Request {
    Request::new("DELETE", url)
}

impl Request {
    /// A request without headers and body.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            url: url.into(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout: None,
        }
    }

    /// `GET`, `POST`, …
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The headers that the plug-in set, in their order; the host adds a credential.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let headers = self.headers.iter();
        headers.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The body that is sent.
    pub fn sent_body(&self) -> &[u8] {
        &self.body
    }

    /// Adds a header.
    pub fn header(mut self, name: impl Into<String>, value: impl Display) -> Self {
        self.headers.push((name.into(), value.to_string()));
        self
    }

    /// Sets the body, with its media type.
    pub fn body(self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let mut request = self.header("content-type", content_type);
        request.body = body.into();
        request
    }

    /// Sets the body to this value as JSON.
    ///
    /// # Errors
    /// When the value cannot be written as JSON.
    pub fn json<T: Serialize + ?Sized>(self, value: &T) -> Result<Self, serde_json::Error> {
        let body = serde_json::to_vec(value)?;
        Ok(self.body("application/json", body))
    }

    /// Waits so long for the answer at most, and never longer than the call may take.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sends it and waits for the whole answer.
    ///
    /// # Errors
    /// When there is no answer, or its status is not a success. See the module on what `?` makes
    /// of that.
    pub fn send(&self) -> Result<Response, Error> {
        let (scheme, rest) = self.url.split_once("://").ok_or_else(|| self.no_url())?;
        let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
        let path = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(path);
        if authority.is_empty() {
            return Err(self.no_url());
        }
        let path = match path.strip_prefix('?') {
            _ if path.is_empty() => "/".to_owned(),
            Some(query) => format!("/?{query}"),
            None => path.to_owned(),
        };
        let address = Address {
            scheme,
            authority,
            path: &path,
        };
        host::send(self, &address)?.successful()
    }

    fn no_url(&self) -> Error {
        Error::Url {
            url: self.url.clone(),
        }
    }
}

/// The parts of a URL.
pub(crate) struct Address<'a> {
    pub(crate) scheme: &'a str,
    pub(crate) authority: &'a str,
    /// With the query.
    pub(crate) path: &'a str,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// The status, such as 204.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The first value of a header, whatever the case of its name; none where it is not text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut named = self.headers.iter();
        let (_, value) = named.find(|(found, _)| found.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body, read as JSON.
    ///
    /// # Errors
    /// When it is not JSON of this type.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }

    /// What `Retry-After` asks for, in seconds or as a date, which is told from the answer's own.
    pub fn retry_after(&self) -> Option<Duration> {
        let value = self.header("retry-after")?.trim();
        if let Ok(seconds) = value.parse() {
            return Some(Duration::from_secs(seconds));
        }
        let until = httpdate::parse_http_date(value).ok()?;
        let now = httpdate::parse_http_date(self.header("date")?).ok()?;
        Some(until.duration_since(now).unwrap_or_default())
    }

    fn successful(self) -> Result<Self, Error> {
        match self.status {
            ..300 => Ok(self),
            429 => Err(Error::TooManyRequests {
                after: self.retry_after(),
                response: Box::new(self),
            }),
            503 => Err(Error::Unavailable {
                after: self.retry_after(),
                response: Box::new(self),
            }),
            _ => Err(Error::Status(Box::new(self))),
        }
    }

    /// As much of the body as a person wants to read in an error.
    fn excerpt(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let mut shown: String = text.trim().chars().take(SHOWN).collect();
        if shown.len() < text.trim().len() {
            shown.push('…');
        }
        shown
    }
}

/// Why a request was not answered with a success.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The other side is asked too much (429).
    #[error("answered 429: {}", .response.excerpt())]
    TooManyRequests {
        /// Not before; none where it does not say.
        after: Option<Duration>,
        /// The answer.
        response: Box<Response>,
    },
    /// The other side cannot be had now (503).
    #[error("answered 503: {}", .response.excerpt())]
    Unavailable {
        /// Not before; none where it does not say.
        after: Option<Duration>,
        /// The answer.
        response: Box<Response>,
    },
    /// Another status that is no success.
    #[error("answered {}: {}", .0.status(), .0.excerpt())]
    Status(Box<Response>),
    /// There was no answer, or it broke off; whether the request was heard is not known.
    #[error("no answer from {origin}: {reason}")]
    NoAnswer {
        /// Scheme, host and port.
        origin: String,
        /// What the host saw.
        reason: String,
    },
    /// The origin is not granted, or stands for an address that is not.
    #[error(
        "{origin} may not be asked ({reason}); `http` under [capabilities] in plugin.toml, and \
         the operator's file, say which origins may"
    )]
    NotGranted {
        /// Scheme, host and port.
        origin: String,
        /// What the host said.
        reason: String,
    },
    /// The address is no URL.
    #[error("{url:?} is no address; expected https://<host>[:<port>]/<path>")]
    Url {
        /// The address.
        url: String,
    },
    /// A part of the request cannot be sent.
    #[error("the request has {what} that cannot be sent: {value:?}")]
    Request {
        /// Which part.
        what: &'static str,
        /// The part.
        value: String,
    },
}

impl Error {
    /// The answer, where there is one.
    pub fn response(&self) -> Option<&Response> {
        match self {
            Self::TooManyRequests { response, .. }
            | Self::Unavailable { response, .. }
            | Self::Status(response) => Some(response),
            _ => None,
        }
    }

    /// What the host shall do about it; `message` is for the operator.
    pub(crate) fn failure(&self, message: String) -> Failure {
        let retry = |after| Failure::Retry {
            after,
            message: message.clone(),
        };
        match self {
            Self::TooManyRequests { after, .. } | Self::Unavailable { after, .. } => retry(*after),
            Self::NoAnswer { .. } => retry(None),
            Self::Status(response) => match response.status {
                401 | 408 | 500.. => retry(None),
                _ => Failure::Reject { message },
            },
            Self::NotGranted { .. } | Self::Url { .. } | Self::Request { .. } => {
                Failure::Reject { message }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outcome;

    fn answer(status: u16, headers: &[(&str, &str)]) -> Response {
        let header = |(name, value): &(&str, &str)| ((*name).to_owned(), value.as_bytes().to_vec());
        Response {
            status,
            headers: headers.iter().map(header).collect(),
            body: b"because".to_vec(),
        }
    }

    #[derive(Debug, thiserror::Error)]
    #[error("the order was not sent")]
    struct NotSent(#[source] Error);

    fn outcome(status: u16, headers: &[(&str, &str)]) -> Outcome {
        answer(status, headers).successful()?;
        Ok(())
    }

    fn failure(status: u16, headers: &[(&str, &str)]) -> Failure {
        outcome(status, headers).expect_err("no success")
    }

    fn retry(seconds: impl Into<Option<u64>>, message: &str) -> Failure {
        Failure::Retry {
            after: seconds.into().map(Duration::from_secs),
            message: message.to_owned(),
        }
    }

    #[test]
    fn a_status_tells_whether_a_later_call_can_help() {
        assert_eq!(outcome(204, &[]), Ok(()));
        for (status, seconds) in [(429, Some(7)), (503, Some(7)), (500, None), (401, None)] {
            let message = format!("answered {status}: because");
            let failure = failure(status, &[("Retry-After", "7")]);
            assert_eq!(failure, retry(seconds, &message));
        }
        for status in [302, 400, 403, 404, 412] {
            let failure = failure(status, &[("retry-after", "7")]);
            assert!(matches!(failure, Failure::Reject { .. }), "{failure}");
        }
    }

    #[test]
    fn a_date_to_wait_for_is_told_from_that_of_the_answer() {
        let until = ("retry-after", "Wed, 25 Nov 2026 10:00:30 GMT");
        let now = ("date", "Wed, 25 Nov 2026 10:00:00 GMT");
        let later = ("date", "Wed, 25 Nov 2026 10:00:31 GMT");
        let message = "answered 429: because";
        assert_eq!(failure(429, &[until, now]), retry(30, message));
        assert_eq!(failure(429, &[until, later]), retry(0, message));
        assert_eq!(failure(429, &[until]), retry(None, message));
        assert_eq!(
            failure(429, &[("retry-after", "soon"), now]),
            retry(None, message)
        );
    }

    #[test]
    fn an_error_around_it_is_as_good() {
        let wrapped = || -> Outcome {
            let answered = answer(429, &[("retry-after", "3")]).successful();
            answered.map_err(NotSent)?;
            Ok(())
        };
        let message = "the order was not sent: answered 429: because";
        assert_eq!(wrapped(), Err(retry(3, message)));
    }

    #[test]
    fn what_is_no_address_is_rejected() {
        for url in ["", "api.contoso.com/x", "https://", "https:///x"] {
            let error = get(url).send().expect_err("no address");
            let failure = Failure::from(error);
            assert!(matches!(failure, Failure::Reject { .. }), "{failure}");
        }
    }
}

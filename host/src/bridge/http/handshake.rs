//! Takes a receiver's address, gives its word that it wants events from here (CloudEvents webhook 1.0, section 4).

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{HeaderMap, Method, Request};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::config::bridge::Handshake;
use crate::plugin::http::posting::Posting;

const REQUEST_ORIGIN: &str = "webhook-request-origin";
const ALLOWED_ORIGIN: &str = "webhook-allowed-origin";
const ALLOWED_RATE: &str = "webhook-allowed-rate";
const MINUTE: Duration = Duration::from_secs(60);

/// What the receiver allows.
#[derive(Debug)]
pub(super) struct Allowed {
    /// From one request to the next.
    pace: Duration,
    next: Mutex<Instant>,
}

impl Allowed {
    /// When the next request may leave.
    pub(super) fn turn(&self) -> Instant {
        let mut next = self.next.lock();
        let turn = (*next).max(Instant::now());
        *next = turn + self.pace;
        turn
    }
}

/// Asks, once for all requests.
///
/// # Errors
/// Why there is no permission.
pub(super) async fn ask(
    posting: &Posting,
    url: &str,
    handshake: &Handshake,
    patience: Duration,
) -> Result<Allowed, String> {
    let request = Request::builder()
        .method(Method::OPTIONS)
        .uri(url)
        .header(REQUEST_ORIGIN, &handshake.origin)
        .body(Full::new(Bytes::new()));
    let request = request.map_err(|error| error.to_string())?;
    let answer = posting.send(request, patience).await?;
    if !answer.status.is_success() {
        return Err(format!(
            "the receiver answered {} to the handshake of {}",
            answer.status, handshake.origin
        ));
    }
    allowed(&answer.headers, &handshake.origin)
}

fn allowed(headers: &HeaderMap, origin: &str) -> Result<Allowed, String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let found = text(ALLOWED_ORIGIN).unwrap_or_default().trim();
    if found != "*" && !found.eq_ignore_ascii_case(origin) {
        return Err(format!(
            "the receiver does not allow {origin}: found {ALLOWED_ORIGIN}: {found:?}, expected \
             that name or *"
        ));
    }
    let rate = text(ALLOWED_RATE).and_then(|rate| rate.trim().parse::<u32>().ok());
    let pace = rate.filter(|rate| 0 < *rate).map(|rate| MINUTE / rate);
    Ok(Allowed {
        pace: pace.unwrap_or_default(),
        next: Mutex::new(Instant::now()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(origin: &'static str, rate: &'static str) -> HeaderMap {
        let pairs = [(ALLOWED_ORIGIN, origin), (ALLOWED_RATE, rate)];
        let pairs = pairs.into_iter().map(|(name, value)| {
            let name = hyper::header::HeaderName::from_static(name);
            (name, value.parse().expect("a header"))
        });
        pairs.collect()
    }

    #[test]
    fn only_who_is_named_may_send() {
        assert!(allowed(&headers("*", "*"), "a.example").is_ok());
        assert!(allowed(&headers("A.example", "*"), "a.example").is_ok());
        let error = allowed(&headers("b.example", "*"), "a.example").expect_err("another one");
        assert!(error.contains("b.example"), "{error}");
        assert!(allowed(&HeaderMap::new(), "a.example").is_err());
    }

    #[test]
    fn requests_keep_the_rate_that_is_allowed() {
        let allowed = allowed(&headers("*", "120"), "a.example").expect("allowed");
        let (first, second) = (allowed.turn(), allowed.turn());
        assert_eq!(second - first, Duration::from_millis(500));
    }
}

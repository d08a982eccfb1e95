//! Takes Event Grid's questions whether it may send here, gives the answers.
//!
//! Two handshakes: an event with a code that is to be sent back (Event Grid schema), and an
//! `OPTIONS` request (CloudEvents webhook specification, section 4). Who answers them for a
//! stranger lends a hand in flooding somebody, so both need the key of the source, and the
//! names that the config gives where it gives some.

use axum::Json;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Serialize;

use super::problem::Problem;
use super::source::Source;
use super::understand::Form;
use crate::event::excerpt;

const REQUEST_ORIGIN: &str = "webhook-request-origin";
const REQUEST_RATE: &str = "webhook-request-rate";
const ALLOWED_ORIGIN: HeaderName = HeaderName::from_static("webhook-allowed-origin");
const ALLOWED_RATE: HeaderName = HeaderName::from_static("webhook-allowed-rate");
const SUBSCRIPTION: &str = "aeg-subscription-name";
const EVENT_TYPE: &str = "aeg-event-type";

#[derive(Serialize)]
struct Validation {
    #[serde(rename = "validationResponse")]
    code: String,
}

/// The answer to `OPTIONS`. One that is no handshake is told what the path takes.
pub(super) fn options(source: &Source, headers: &HeaderMap) -> Result<Response, Problem> {
    let mut response = StatusCode::OK.into_response();
    let answer = response.headers_mut();
    answer.insert(header::ALLOW, HeaderValue::from_static("POST, OPTIONS"));
    let Some(origin) = headers.get(REQUEST_ORIGIN) else {
        return Ok(response);
    };
    let named = origin
        .to_str()
        .is_ok_and(|origin| source.names_origin(origin));
    if !named {
        let origin = String::from_utf8_lossy(origin.as_bytes());
        return Err(Problem::Forbidden(format!(
            "the origin {} is not among the source's origins in sluice.toml",
            excerpt(&origin)
        )));
    }
    answer.insert(ALLOWED_ORIGIN, origin.clone());
    if headers.contains_key(REQUEST_RATE) {
        answer.insert(ALLOWED_RATE, HeaderValue::from_static("*"));
    }
    Ok(response)
}

/// The answer to Event Grid's validation event. None when the body is none.
pub(super) fn validation(
    source: &Source,
    form: Form,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Option<Response>, Problem> {
    let says_so = |value: &HeaderValue| {
        value
            .as_bytes()
            .eq_ignore_ascii_case(b"SubscriptionValidation")
    };
    // The header is Event Grid's own; without it a body costs a look only when it is short.
    const SHORT: usize = 4 << 10;
    let is_asked = match headers.get(EVENT_TYPE) {
        Some(value) => says_so(value),
        None => body.len() <= SHORT,
    };
    if form != Form::EventGrid || !is_asked {
        return Ok(None);
    }
    let Some(code) = code(body) else {
        return Ok(None);
    };
    let name = headers
        .get(SUBSCRIPTION)
        .and_then(|name| name.to_str().ok());
    if !source.names_subscription(name) {
        return Err(Problem::Forbidden(format!(
            "the subscription {} is not among the source's subscriptions in sluice.toml",
            excerpt(name.unwrap_or("without a name"))
        )));
    }
    let origin = source.origin();
    tracing::info!(
        environment = origin.environment,
        subscription = name,
        "Event Grid's validation event was answered"
    );
    Ok(Some(Json(Validation { code }).into_response()))
}

/// The code of a validation event, which comes alone.
fn code(body: &Bytes) -> Option<String> {
    let items = sluicegate_d365::event_grid("validation", body).ok()?;
    match items.as_slice() {
        [only] => only.validation_code(),
        _ => None,
    }
}

//! Takes an HTTP request's headers and body, gives its CloudEvents (HTTP binding 1.0.2, section 3).

use async_nats::HeaderMap as Attributes;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use serde_json::value::RawValue;

use crate::decode::{self, Error};
use crate::event::{Event, excerpt};

const EVENT: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";

/// How a request carries its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// One event in the JSON event format.
    Structured,
    /// A JSON array of such events.
    Batch,
    /// Attributes in `ce-*` headers, the body is the data.
    Binary,
}

/// How this request does; none when it carries no CloudEvents in a format that is read.
pub fn mode(headers: &HeaderMap) -> Option<Mode> {
    let essence = essence(headers).unwrap_or_default();
    match essence.as_str() {
        EVENT => Some(Mode::Structured),
        BATCH => Some(Mode::Batch),
        other if other.starts_with("application/cloudevents") => None,
        _ => headers
            .contains_key("ce-specversion")
            .then_some(Mode::Binary),
    }
}

/// The media type of the body in lower case, without parameters.
pub fn essence(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let essence = value.split(';').next().unwrap_or_default().trim();
    Some(essence.to_ascii_lowercase())
}

/// The events of a batch, each for itself: one that is bad does not hide the others.
///
/// # Errors
/// [`Error::Json`] when the body is no JSON array.
pub fn batch(body: &Bytes) -> Result<Vec<Result<Event, Error>>, Error> {
    let elements: Vec<&RawValue> = serde_json::from_slice(body).map_err(|error| Error::Json {
        reason: format!("a batch is a JSON array: {}", excerpt(&error.to_string())),
    })?;
    let read = |element: &&RawValue| decode::structured(&body.slice_ref(element.get().as_bytes()));
    Ok(elements.iter().map(read).collect())
}

/// The event of a request in binary mode.
///
/// # Errors
/// [`Error`], as of a NATS message with the same headers.
pub fn binary(headers: &HeaderMap, body: &Bytes) -> Result<Event, Error> {
    let mut attributes = Attributes::new();
    for (name, value) in headers {
        let name = name.as_str();
        if !name.starts_with("ce-") && name != "content-type" {
            continue;
        }
        let value = std::str::from_utf8(value.as_bytes()).map_err(|_| Error::Encoding {
            attribute: excerpt(name),
            found: excerpt(&String::from_utf8_lossy(value.as_bytes())),
        })?;
        attributes.append(name, value);
    }
    decode::binary(&attributes, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            let value = value.parse().expect("a header value");
            (axum::http::HeaderName::from_static(name), value)
        });
        pairs.collect()
    }

    #[test]
    fn the_mode_is_told_by_the_headers() {
        let of = |pairs: &[(&'static str, &'static str)]| mode(&headers(pairs));
        let charset = "Application/CloudEvents+JSON; charset=utf-8";
        assert_eq!(of(&[("content-type", charset)]), Some(Mode::Structured));
        let batch = "application/cloudevents-batch+json";
        assert_eq!(of(&[("content-type", batch)]), Some(Mode::Batch));
        let binary = [("content-type", "text/plain"), ("ce-specversion", "1.0")];
        assert_eq!(of(&binary), Some(Mode::Binary));
        assert_eq!(
            of(&[("content-type", "application/cloudevents+avro")]),
            None
        );
        assert_eq!(of(&[("content-type", "application/json")]), None);
    }

    #[test]
    fn binary_mode_decodes_values_and_takes_the_media_type() {
        let headers = headers(&[
            ("content-type", "text/plain; charset=utf-8"),
            ("ce-specversion", "1.0"),
            ("ce-id", "1"),
            ("ce-source", "/x"),
            ("ce-type", "t"),
            ("ce-subject", "Euro%20%E2%82%AC"),
            ("ce-traceparent", "00-x"),
            ("x-other", "no attribute"),
        ]);
        let event = binary(&headers, &Bytes::from_static(b"\xff")).expect("an event");
        assert_eq!(event.subject.as_deref(), Some("Euro €"));
        assert_eq!(
            event.datacontenttype.as_deref(),
            Some("text/plain; charset=utf-8")
        );
        assert_eq!(event.data.as_deref(), Some(&b"\xff"[..]));
        assert_eq!(event.extensions.len(), 1);
    }

    #[test]
    fn every_event_of_a_batch_is_read_for_itself() {
        let body = Bytes::from_static(
            br#" [ {"specversion":"1.0","id":"1","source":"/x","type":"t","data":{"a": 1.0}}, {"id":"2"} , 3 ]"#,
        );
        let events = batch(&body).expect("an array");
        assert_eq!(events.len(), 3);
        let first = events[0].as_ref().expect("an event");
        assert_eq!(first.data.as_deref(), Some(&br#"{"a": 1.0}"#[..]));
        assert!(events[1].is_err() && events[2].is_err());
        assert!(batch(&Bytes::from_static(b"{}")).is_err());
        assert!(batch(&Bytes::from_static(b"[]")).expect("empty").is_empty());
    }
}

//! Takes a NATS message's headers and payload, gives an Event.
//!
//! The mode is that of the CloudEvents NATS binding, section 3: structured when the
//! header `content-type` starts with `application/cloudevents`, else binary. Both
//! readers are tolerant where senders are known to stray (attribute values that nobody
//! percent-encoded, `content-type` for `ce-datacontenttype`) and strict about the event
//! itself: what they return has passed [`event::validate`].

use async_nats::HeaderMap;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::claim_check;
use crate::event::{self, Event, excerpt};

pub use self::binary::attribute_name;

mod binary;
mod json;
#[cfg(test)]
mod tests;

/// Why a message is not a CloudEvent. Texts of `found` are cut to 80 characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// `content-type` names a batch.
    #[error(
        "header content-type: found {found:?}, a batch; expected one event a message, since the NATS binding has no batch mode"
    )]
    Batch {
        /// The header's value.
        found: String,
    },
    /// `content-type` names an event format that this host does not read.
    #[error(
        "header content-type: found {found:?}; expected application/cloudevents+json, the only event format that is read"
    )]
    Format {
        /// The header's value.
        found: String,
    },
    /// A required attribute is missing, or JSON `null`.
    #[error("attribute {attribute}: found none; expected it in every event")]
    Missing {
        /// Name of the attribute.
        attribute: &'static str,
    },
    /// Another version of CloudEvents.
    #[error("attribute specversion: found {found:?}, expected \"1.0\"")]
    SpecVersion {
        /// The attribute's value.
        found: String,
    },
    /// A header or a member occurs twice; which one is meant cannot be told.
    #[error("attribute {attribute:?}: found twice, expected at most once")]
    Duplicate {
        /// Name of the header or member.
        attribute: String,
    },
    /// A header's percent-encoding does not give UTF-8.
    #[error("attribute {attribute:?}: found {found:?}; expected percent-encoded UTF-8")]
    Encoding {
        /// Name of the attribute.
        attribute: String,
        /// The header's value.
        found: String,
    },
    /// A structured event that is not a JSON object.
    #[error(
        "payload: found text that is not a JSON object ({reason}); expected a CloudEvent in JSON"
    )]
    Json {
        /// What the parser said, with line and column.
        reason: String,
    },
    /// A member's JSON value has a type that the attribute cannot have.
    #[error("attribute {attribute:?}: found {found}, expected {expected}")]
    Type {
        /// Name of the member.
        attribute: String,
        /// The JSON value.
        found: String,
        /// What is allowed.
        expected: &'static str,
    },
    /// `data` and `data_base64` in one event.
    #[error("data: found both members data and data_base64, expected at most one of them")]
    TwoData,
    /// `data_base64` is not base64.
    #[error("data_base64: found {found:?}, expected base64 with padding (RFC 4648 section 4)")]
    Base64 {
        /// The member's value.
        found: String,
    },
    /// The body was put into the object store, and is not there any more.
    #[error(
        "attribute dataref: {reference} is not in the object store any more, and it was the event's data"
    )]
    TakenOut {
        /// The attribute's value.
        reference: String,
    },
    /// The event breaks a rule that does not depend on how it was sent.
    #[error(transparent)]
    Event(#[from] event::Error),
}

/// Decodes one message, whichever mode it is in. In binary mode `data` shares the
/// payload's memory; in structured mode it does so when it is JSON. An empty payload in
/// binary mode is an event without data.
///
/// # Errors
/// [`Error`]: what the sender did wrong, fit for a dead letter.
pub fn decode(headers: Option<&HeaderMap>, payload: &Bytes) -> Result<Event, Error> {
    match headers.and_then(structured_content_type) {
        Some(content_type) => {
            check_format(content_type)?;
            structured(payload)
        }
        None => {
            let event = binary::read(headers, payload)?;
            event::validate(&event)?;
            if event.data.is_none()
                && let Some(reference) = event.text("dataref")
                && claim_check::object(&reference).is_some()
            {
                return Err(Error::TakenOut {
                    reference: excerpt(&reference),
                });
            }
            Ok(event)
        }
    }
}

/// Decodes one event whose attributes are `ce-*` headers, whatever `content-type` says:
/// binary mode, its mode told by other means.
///
/// # Errors
/// [`Error`], as in [`decode`].
pub fn binary(headers: &HeaderMap, payload: &Bytes) -> Result<Event, Error> {
    let event = binary::read(Some(headers), payload)?;
    event::validate(&event)?;
    Ok(event)
}

/// Decodes one event in the JSON event format (`application/cloudevents+json`).
///
/// `data` is the member's text byte for byte when the content is JSON, the string's
/// content when `datacontenttype` is another type, the decoded bytes of `data_base64`.
/// An event with JSON `data` and no `datacontenttype` gets `application/json`, which the
/// format says it is exactly equivalent to (section 3.1).
///
/// # Errors
/// [`Error`], as in [`decode`].
pub fn structured(json: &Bytes) -> Result<Event, Error> {
    let event = json::read(json)?;
    event::validate(&event)?;
    Ok(event)
}

/// Whether a JSON text says of itself that it is an event in the JSON event format.
pub fn is_event(json: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Probe<'a> {
        #[serde(borrow)]
        specversion: Option<&'a RawValue>,
    }
    serde_json::from_slice::<Probe<'_>>(json).is_ok_and(|probe| probe.specversion.is_some())
}

/// Whether a message is in structured mode: its attributes are in its payload.
pub fn is_structured(headers: &HeaderMap) -> bool {
    structured_content_type(headers).is_some()
}

/// One attribute of a message in binary mode, by its headers alone.
pub fn attribute(headers: &HeaderMap, name: &str) -> Option<String> {
    binary::header(headers, &format!("ce-{name}")).and_then(binary::decode_value)
}

/// The value of an attribute's header, with its escapes undone; none where they are wrong.
pub fn decoded(value: &str) -> Option<String> {
    binary::decode_value(value)
}

fn structured_content_type(headers: &HeaderMap) -> Option<&str> {
    binary::header(headers, "content-type").filter(|value| {
        value
            .get(..MEDIA_TYPE.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(MEDIA_TYPE))
    })
}

const MEDIA_TYPE: &str = "application/cloudevents";

fn check_format(content_type: &str) -> Result<(), Error> {
    let essence = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    match essence.strip_prefix(MEDIA_TYPE).unwrap_or_default() {
        "" | "+json" => Ok(()),
        batch if batch.starts_with("-batch") => Err(Error::Batch {
            found: excerpt(content_type),
        }),
        _ => Err(Error::Format {
            found: excerpt(content_type),
        }),
    }
}

//! Takes an AMQP message, gives headers and a body as the gateway's readers know them.
//!
//! `cloudEvents:id` (AMQP binding of CloudEvents, section 3.1) becomes `ce-id`, what Dataverse
//! writes under `http://schemas.microsoft.com/xrm/2011/Claims/` the header by which its webhooks
//! say the same.

use std::borrow::Cow;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut as _, Bytes, BytesMut};
use chrono::{DateTime, SecondsFormat};
use fe2o3_amqp::types::messaging::annotations::AnnotationKey;
use fe2o3_amqp::types::messaging::{
    ApplicationProperties, Body, Message, MessageAnnotations, MessageId, Properties,
};
use fe2o3_amqp::types::primitives::{SimpleValue, Symbol, Timestamp, Uuid, Value};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// What a header's value cannot hold, and what its readers would decode.
const VALUE: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');
/// Both prefixes of the binding.
const PREFIXES: [&str; 2] = ["cloudEvents:", "cloudEvents_"];
const CLAIMS: &str = "http://schemas.microsoft.com/xrm/2011/Claims/";
/// Dataverse left parts of a body over 192 KB out. The name's beginning is not documented.
const SIZE_EXCEEDED: &str = "MessageMaxSizeExceeded";

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Inward {
    /// As of a request.
    pub(super) headers: HeaderMap,
    /// The body's bytes; of an AMQP value that is no text, its encoding.
    pub(super) body: Bytes,
    /// Why the body is none that anybody here reads.
    pub(super) unread: Option<String>,
}

/// Reads a message; nothing fails, since what cannot be read is to become a dead letter.
pub(super) fn read(message: Message<Body<Value>>) -> Inward {
    let mut headers = HeaderMap::new();
    let properties = message.properties.unwrap_or_default();
    let named = message.application_properties.unwrap_or_default();
    properties_of(&properties, &mut headers);
    named_of(&named, &mut headers);
    if let Some(annotations) = &message.message_annotations {
        annotations_of(annotations, &mut headers);
    }
    // The session orders its messages; an event that says nothing itself is ordered by it.
    if headers.contains_key("ce-specversion")
        && !headers.contains_key("ce-partitionkey")
        && let Some(session) = &properties.group_id
    {
        put(&mut headers, "ce-partitionkey", session);
    }
    let (body, unread) = match message.body {
        Body::Data(sections) => {
            let mut sections = sections.into_iter().map(|data| data.0.into_vec());
            let first = sections.next().unwrap_or_default();
            let mut all = BytesMut::from(Bytes::from(first));
            sections.for_each(|section| all.put_slice(&section));
            (all.freeze(), None)
        }
        Body::Value(value) => match value.0 {
            Value::String(text) => (Bytes::from(text), None),
            Value::Binary(bytes) => (Bytes::from(bytes.into_vec()), None),
            other => unreadable("an AMQP value that is no text", serde_amqp::to_vec(&other)),
        },
        Body::Sequence(list) => {
            let values: Vec<Value> = list.into_iter().flat_map(|part| part.0).collect();
            unreadable("an AMQP sequence", serde_amqp::to_vec(&values))
        }
        Body::Empty => (Bytes::new(), None),
    };
    Inward {
        headers,
        body,
        unread,
    }
}

fn unreadable(what: &str, bytes: Result<Vec<u8>, serde_amqp::Error>) -> (Bytes, Option<String>) {
    let reason = format!("body: found {what}, expected a data section or text");
    (Bytes::from(bytes.unwrap_or_default()), Some(reason))
}

fn properties_of(properties: &Properties, headers: &mut HeaderMap) {
    let symbols = [
        (header::CONTENT_TYPE, &properties.content_type),
        (header::CONTENT_ENCODING, &properties.content_encoding),
    ];
    for (name, value) in symbols {
        if let Some(Symbol(value)) = value
            && let Ok(value) = HeaderValue::from_str(value)
        {
            headers.insert(name, value);
        }
    }
    if let Some(id) = &properties.message_id {
        let id = match id {
            MessageId::String(text) => Cow::Borrowed(text.as_str()),
            MessageId::Ulong(number) => Cow::Owned(number.to_string()),
            MessageId::Uuid(id) => Cow::Owned(uuid(id)),
            MessageId::Binary(bytes) => Cow::Owned(STANDARD.encode(bytes)),
        };
        put(headers, "x-ms-service-bus-message-id", &id);
    }
    if let Some(session) = &properties.group_id {
        put(headers, "x-ms-service-bus-session-id", session);
    }
}

fn named_of(named: &ApplicationProperties, headers: &mut HeaderMap) {
    for (name, value) in named.as_inner() {
        let Some(value) = text(value) else {
            continue;
        };
        if let Some(attribute) = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)) {
            put(headers, &format!("ce-{attribute}"), &value);
        } else if let Some(claim) = name.strip_prefix(CLAIMS) {
            if let Some(header) = claimed(claim) {
                put(headers, header, &value);
            }
        } else if name.ends_with(SIZE_EXCEEDED) {
            put(headers, "x-ms-dynamics-msg-size-exceeded", &value);
        } else if name == "traceparent" || name == "tracestate" {
            put(headers, name, &value);
        } else if name == "Diagnostic-Id" && !headers.contains_key("traceparent") {
            // The name that Azure's older clients have for it.
            put(headers, "traceparent", &value);
        }
    }
}

/// The webhook's header for a claim. Its `User` is the account that a step runs as; the event's
/// `d365user` is who began.
fn claimed(claim: &str) -> Option<&'static str> {
    match claim {
        "Organization" => Some("x-ms-dynamics-organization"),
        "EntityLogicalName" => Some("x-ms-dynamics-entity-name"),
        "RequestName" => Some("x-ms-dynamics-request-name"),
        "InitiatingUser" => Some("x-ms-dynamics-user"),
        "User" => Some("x-ms-dynamics-run-as-user"),
        "InitiatingUserAgent" => Some("x-ms-dynamics-initiating-user-agent"),
        SIZE_EXCEEDED => Some("x-ms-dynamics-msg-size-exceeded"),
        _ => None,
    }
}

/// What Service Bus notes on a message, for who looks at its dead letter.
fn annotations_of(annotations: &MessageAnnotations, headers: &mut HeaderMap) {
    let named = [
        ("x-opt-sequence-number", "x-ms-service-bus-sequence-number"),
        ("x-opt-enqueued-time", "x-ms-service-bus-enqueued-time"),
    ];
    for (name, header) in named {
        match annotations.get(&name as &dyn AnnotationKey) {
            Some(Value::Long(number)) => put(headers, header, &number.to_string()),
            Some(Value::Timestamp(at)) => {
                if let Some(at) = rfc3339(at) {
                    put(headers, header, &at);
                }
            }
            _ => {}
        }
    }
}

/// Sets a header; of two spellings of an attribute the first stays. A name that is none for a
/// header is none for an attribute either.
fn put(headers: &mut HeaderMap, name: &str, value: &str) {
    let encoded = utf8_percent_encode(value, VALUE).to_string();
    let name = HeaderName::from_bytes(name.as_bytes());
    if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(&encoded)) {
        headers.entry(name).or_insert(value);
    }
}

/// The canonical text of CloudEvents' type system for a property.
fn text(value: &SimpleValue) -> Option<Cow<'_, str>> {
    let text = match value {
        SimpleValue::String(text) => return Some(Cow::Borrowed(text)),
        SimpleValue::Symbol(Symbol(text)) => return Some(Cow::Borrowed(text)),
        SimpleValue::Bool(value) => value.to_string(),
        SimpleValue::Ubyte(value) => value.to_string(),
        SimpleValue::Ushort(value) => value.to_string(),
        SimpleValue::Uint(value) => value.to_string(),
        SimpleValue::Ulong(value) => value.to_string(),
        SimpleValue::Byte(value) => value.to_string(),
        SimpleValue::Short(value) => value.to_string(),
        SimpleValue::Int(value) => value.to_string(),
        SimpleValue::Long(value) => value.to_string(),
        SimpleValue::Float(value) => value.to_string(),
        SimpleValue::Double(value) => value.to_string(),
        SimpleValue::Char(value) => value.to_string(),
        SimpleValue::Timestamp(at) => rfc3339(at)?,
        SimpleValue::Uuid(id) => uuid(id),
        SimpleValue::Binary(bytes) => STANDARD.encode(bytes),
        SimpleValue::Null
        | SimpleValue::Decimal32(_)
        | SimpleValue::Decimal64(_)
        | SimpleValue::Decimal128(_)
        | SimpleValue::Described(_) => return None,
    };
    Some(Cow::Owned(text))
}

fn uuid(id: &Uuid) -> String {
    uuid::Uuid::from_bytes(*id.as_inner()).to_string()
}

fn rfc3339(at: &Timestamp) -> Option<String> {
    let at = DateTime::from_timestamp_millis(at.milliseconds())?;
    Some(at.to_rfc3339_opts(SecondsFormat::Millis, true))
}

#[cfg(test)]
mod tests {
    use fe2o3_amqp::types::messaging::{AmqpValue, Batch, Data};
    use fe2o3_amqp::types::primitives::Binary;

    use super::*;

    fn message(named: &[(&str, SimpleValue)], body: Body<Value>) -> Message<Body<Value>> {
        let mut properties = ApplicationProperties::default();
        for (name, value) in named {
            let name = (*name).to_owned();
            properties.as_inner_mut().insert(name, value.clone());
        }
        Message::builder()
            .application_properties(properties)
            .properties(
                Properties::builder()
                    .message_id("m-1".to_owned())
                    .group_id("account/7".to_owned())
                    .content_type("application/json")
                    .build(),
            )
            .body(body)
            .build()
    }

    fn data(parts: &[&[u8]]) -> Body<Value> {
        let parts = parts.iter().map(|part| Data(Binary::from(part.to_vec())));
        Body::Data(Batch::new(parts.collect::<Vec<_>>()))
    }

    fn string(text: &str) -> SimpleValue {
        SimpleValue::String(text.to_owned())
    }

    #[track_caller]
    fn assert_header(inward: &Inward, name: &str, value: Option<&str>) {
        let found = inward.headers.get(name);
        let found = found.map(|found| found.to_str().expect("text"));
        assert_eq!(found, value, "{name}");
    }

    #[test]
    fn properties_of_the_binding_become_headers() {
        let at = SimpleValue::Timestamp(Timestamp::from_milliseconds(1_700_000_000_123));
        let named = [
            ("cloudEvents:specversion", string("1.0")),
            ("cloudEvents_id", string("grün %")),
            ("cloudEvents:time", at),
            ("cloudEvents:depth", SimpleValue::Int(-7)),
            ("other", string("left out")),
        ];
        let inward = read(message(&named, data(&[b"{\"a\"", b":1}"])));
        assert_header(&inward, "ce-specversion", Some("1.0"));
        assert_header(&inward, "ce-id", Some("gr%C3%BCn%20%25"));
        assert_header(&inward, "ce-time", Some("2023-11-14T22:13:20.123Z"));
        assert_header(&inward, "ce-depth", Some("-7"));
        assert_header(&inward, "ce-partitionkey", Some("account/7"));
        assert_header(&inward, "content-type", Some("application/json"));
        assert_header(&inward, "other", None);
        assert_eq!(&inward.body[..], b"{\"a\":1}");
        assert_eq!(inward.unread, None);
    }

    #[test]
    fn an_event_keeps_its_own_partition_key() {
        let named = [
            ("cloudEvents:specversion", string("1.0")),
            ("cloudEvents:partitionkey", string("mine")),
        ];
        let inward = read(message(&named, data(&[])));
        assert_header(&inward, "ce-partitionkey", Some("mine"));
        assert_header(&read(message(&[], data(&[]))), "ce-partitionkey", None);
    }

    #[test]
    fn claims_of_dataverse_become_the_webhooks_headers() {
        let claim = |name: &str| format!("{CLAIMS}{name}");
        let (organization, entity) = (claim("Organization"), claim("EntityLogicalName"));
        let (request, user) = (claim("RequestName"), claim("User"));
        let named = [
            (organization.as_str(), string("contoso.crm.dynamics.com")),
            (entity.as_str(), string("account")),
            (request.as_str(), string("Update")),
            (user.as_str(), string("7f0b")),
            (
                "http://schemas.microsoft.com/xrm/2011/MessageMaxSizeExceeded",
                SimpleValue::Bool(true),
            ),
        ];
        let inward = read(message(&named, data(&[b"{}"])));
        for (name, value) in [
            ("x-ms-dynamics-organization", "contoso.crm.dynamics.com"),
            ("x-ms-dynamics-entity-name", "account"),
            ("x-ms-dynamics-request-name", "Update"),
            ("x-ms-dynamics-run-as-user", "7f0b"),
            ("x-ms-dynamics-msg-size-exceeded", "true"),
            ("x-ms-service-bus-message-id", "m-1"),
        ] {
            assert_header(&inward, name, Some(value));
        }
    }

    #[test]
    fn text_is_a_body_and_other_values_are_kept_as_they_are_encoded() {
        let text = Body::Value(AmqpValue(Value::String("{}".to_owned())));
        assert_eq!(&read(message(&[], text)).body[..], b"{}");
        let number = read(message(&[], Body::Value(AmqpValue(Value::Bool(true)))));
        assert_eq!(&number.body[..], b"\x41");
        assert!(
            number
                .unread
                .is_some_and(|reason| reason.contains("no text"))
        );
    }
}

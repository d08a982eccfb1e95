//! Takes an event, gives an AMQP message (AMQP binding of CloudEvents).
//!
//! `message-id` is made of the event's source and id, so that a target with duplicate detection
//! drops what is sent a second time; `group-id` is the partition key, which Service Bus takes for
//! its session and keeps the order of.

use std::borrow::Cow;

use fe2o3_amqp::types::messaging::{ApplicationProperties, Data, Header, Message, Properties};
use fe2o3_amqp::types::primitives::{Binary, SimpleValue, Symbol};
use sha2::{Digest as _, Sha256};

use crate::encode;
use crate::event::{AttributeValue, Event};
use crate::hex::hex;

/// Characters that Service Bus takes in an id, and in a session's.
const LONGEST: usize = 128;
const STRUCTURED: &str = "application/cloudevents+json; charset=utf-8";

/// The message of an event: attributes as `cloudEvents:…` properties and data as it is, or, when
/// `structured`, all of it as JSON.
pub(super) fn message(event: &Event, structured: bool) -> Message<Data> {
    let (content_type, named, body) = if structured {
        let body = encode::structured(event).into_bytes();
        (Some(STRUCTURED), None, body)
    } else {
        let body = event.data.as_deref().unwrap_or_default().to_vec();
        (
            event.datacontenttype.as_deref(),
            Some(attributes(event)),
            body,
        )
    };
    let properties = Properties {
        message_id: Some(bounded(&event.message_id()).into_owned().into()),
        content_type: content_type.map(Symbol::from),
        group_id: Some(bounded(event.partition_key()).into_owned()),
        ..Properties::default()
    };
    Message::builder()
        .header(Header {
            durable: true,
            ..Header::default()
        })
        .properties(properties)
        .application_properties(named)
        .data(Binary::from(body))
        .build()
}

/// Text that is short enough to be an id; in place of what is longer, its hash.
fn bounded(text: &str) -> Cow<'_, str> {
    match text.chars().count() <= LONGEST {
        true => Cow::Borrowed(text),
        false => Cow::Owned(hex(&Sha256::digest(text.as_bytes()))),
    }
}

/// Without `datacontenttype`, which is the message's own property.
fn attributes(event: &Event) -> ApplicationProperties {
    let mut named = ApplicationProperties::default();
    let mut put = |name: &str, value: SimpleValue| {
        let name = format!("cloudEvents:{name}");
        named.as_inner_mut().insert(name, value);
    };
    put("specversion", SimpleValue::String("1.0".to_owned()));
    for (name, value) in encode::core_attributes(event) {
        if name != "datacontenttype" {
            put(name, SimpleValue::String(value.to_owned()));
        }
    }
    for (name, value) in &event.extensions {
        let value = match value {
            AttributeValue::Boolean(value) => SimpleValue::Bool(*value),
            AttributeValue::Integer(value) => SimpleValue::Int(*value),
            AttributeValue::Text(value) => SimpleValue::String(value.clone()),
        };
        put(name, value);
    }
    named
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;
    use bytes::Bytes;
    use fe2o3_amqp::types::messaging::{Batch, Body};

    use super::super::read;
    use super::*;
    use crate::http_binding;

    fn event() -> Event {
        Event {
            id: "ä 1%".to_owned(),
            source: "/dataverse/contoso".to_owned(),
            event_type: "d365.dataverse.account.update".to_owned(),
            subject: Some("account/7".to_owned()),
            time: Some("2026-11-30T14:00:00.1234567+01:00".to_owned()),
            datacontenttype: Some("application/json".to_owned()),
            dataschema: None,
            extensions: vec![
                ("d365depth".to_owned(), AttributeValue::Integer(1)),
                (
                    "partitionkey".to_owned(),
                    AttributeValue::Text("k".repeat(200)),
                ),
            ],
            data: Some(Bytes::from_static(b"{\"a\": 1.0}")),
        }
    }

    fn back(message: Message<Data>) -> (HeaderMap, Bytes) {
        let message = message.map_body(|data| Body::Data(Batch::new(vec![data])));
        let inward = read::read(message);
        (inward.headers, inward.body)
    }

    #[test]
    fn what_is_written_is_read_as_the_same_event() {
        let mut event = event();
        let (headers, body) = back(message(&event, false));
        let read = http_binding::binary(&headers, &body).expect("an event");
        // All attributes are text in a header, and come in the order of their names.
        event.extensions = vec![
            ("d365depth".to_owned(), AttributeValue::Text("1".to_owned())),
            event.extensions[1].clone(),
        ];
        assert_eq!(read, event);
    }

    #[test]
    fn structured_mode_is_one_json_object() {
        let event = event();
        let (headers, body) = back(message(&event, true));
        assert_eq!(headers["content-type"], STRUCTURED);
        assert_eq!(body, encode::structured(&event).as_bytes());
        assert!(!headers.contains_key("ce-id"));
    }

    #[test]
    fn ids_are_as_short_as_service_bus_wants_them() {
        let mut event = event();
        let properties = |event: &Event| message(event, false).properties.expect("properties");
        let found = properties(&event);
        assert_eq!(
            found.message_id,
            Some("/dataverse/contoso#ä 1%".to_owned().into())
        );
        assert_eq!(found.group_id.map(|id| id.len()), Some(64));
        event.id = "x".repeat(500);
        let long = properties(&event).message_id;
        event.id.push('y');
        assert_ne!(properties(&event).message_id, long);
    }
}

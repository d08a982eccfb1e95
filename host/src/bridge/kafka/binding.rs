//! Takes an event, gives a Kafka record; takes a record, gives what the gateway would be sent
//! (CloudEvents Kafka binding, section 3).

use axum::http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_TYPE};
use bytes::Bytes;
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};

use crate::config::bridge::KafkaMode;
use crate::decode;
use crate::encode::{self, core_attributes};
use crate::event::{AttributeValue, Event};
use crate::http_binding::{self, Mode};

/// What stands before an attribute's name in a header's key.
const PREFIX: &str = "ce_";
/// A header's value is its text here and percent-encoded over HTTP, where it is decoded again:
/// nothing that looks encoded or quoted may be left.
const VALUE: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');
/// The same of a name; none of these is in an attribute's.
const NAME: &AsciiSet = &VALUE
    .add(b'(')
    .add(b')')
    .add(b',')
    .add(b'/')
    .add(b':')
    .add(b';')
    .add(b'<')
    .add(b'=')
    .add(b'>')
    .add(b'?')
    .add(b'@')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'{')
    .add(b'}');

/// What is written to a topic, beside its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Keys and values, as they are.
    pub headers: Vec<(String, String)>,
    /// None for an event without data in binary mode.
    pub value: Option<Bytes>,
}

/// The record of an event.
///
/// The event is to have passed [`crate::event::validate`].
pub fn record(event: &Event, mode: KafkaMode) -> Record {
    match mode {
        KafkaMode::Binary => binary(event),
        KafkaMode::Structured => Record {
            headers: vec![(
                CONTENT_TYPE.as_str().to_owned(),
                "application/cloudevents+json; charset=UTF-8".to_owned(),
            )],
            value: Some(encode::structured(event).into()),
        },
    }
}

fn binary(event: &Event) -> Record {
    let mut headers = vec![(format!("{PREFIX}specversion"), "1.0".to_owned())];
    for (name, value) in core_attributes(event) {
        let key = match name {
            "datacontenttype" => CONTENT_TYPE.as_str().to_owned(),
            name => format!("{PREFIX}{name}"),
        };
        headers.push((key, value.to_owned()));
    }
    for (name, value) in &event.extensions {
        headers.push((format!("{PREFIX}{name}"), text(value)));
    }
    Record {
        headers,
        value: event.data.clone(),
    }
}

fn text(value: &AttributeValue) -> String {
    match value {
        AttributeValue::Text(text) => text.clone(),
        AttributeValue::Boolean(_) | AttributeValue::Integer(_) => value.to_string(),
    }
}

/// Headers and body of the request by which the gateway would be sent this record.
///
/// Events of one record key are to stay in order, so that the key is the partition key of a
/// CloudEvent that has none.
pub fn request<'a>(
    headers: impl IntoIterator<Item = (&'a str, Option<&'a [u8]>)>,
    key: Option<&[u8]>,
    value: Bytes,
) -> (HeaderMap, Bytes) {
    let mut request = HeaderMap::new();
    for (name, value) in headers {
        append(&mut request, name, value.unwrap_or_default());
    }
    let key = key
        .and_then(|key| std::str::from_utf8(key).ok())
        .filter(|key| !key.is_empty());
    let (Some(key), Some(mode)) = (key, http_binding::mode(&request)) else {
        return (request, value);
    };
    match mode {
        Mode::Binary => {
            if !request.contains_key("ce-partitionkey") {
                append(&mut request, "ce_partitionkey", key.as_bytes());
            }
            (request, value)
        }
        Mode::Structured => match decode::structured(&value) {
            Ok(event) if event.extension("partitionkey").is_none() => keyed(event, key),
            // One that is bad is told to be so by whoever reads it next.
            Ok(_) | Err(_) => (request, value),
        },
        Mode::Batch => (request, value),
    }
}

/// The event as a request in binary mode, with this partition key.
fn keyed(mut event: Event, key: &str) -> (HeaderMap, Bytes) {
    let key = AttributeValue::Text(key.to_owned());
    event.extensions.push(("partitionkey".to_owned(), key));
    let Record { headers, value } = binary(&event);
    let mut request = HeaderMap::new();
    for (name, value) in &headers {
        append(&mut request, name, value.as_bytes());
    }
    (request, value.unwrap_or_default())
}

/// A header that cannot be written as it is becomes one that no attribute has: whoever reads it
/// then says so.
fn append(request: &mut HeaderMap, name: &str, value: &[u8]) {
    let attribute = name.strip_prefix(PREFIX);
    let name = match attribute {
        Some(name) => format!("ce-{}", percent_encode(name.as_bytes(), NAME)),
        // Over HTTP this is an attribute, and here it is none.
        None if name.starts_with("ce-") => return,
        None => percent_encode(name.as_bytes(), NAME).to_string(),
    };
    let value = match attribute {
        Some(_) => HeaderValue::try_from(percent_encode(value, VALUE).to_string()).ok(),
        None => HeaderValue::from_bytes(value).ok(),
    };
    if let (Ok(name), Some(value)) = (HeaderName::try_from(name), value) {
        request.append(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        Event {
            id: "1".to_owned(),
            source: "/dataverse/contoso".to_owned(),
            event_type: "d365.dataverse.account.update".to_owned(),
            subject: Some("account/Zürich \"100%\" %20".to_owned()),
            time: Some("2026-05-04T11:30:00.10+02:00".to_owned()),
            datacontenttype: Some("application/json; charset=utf-8".to_owned()),
            extensions: vec![
                (
                    "d365user".to_owned(),
                    AttributeValue::Text("\"x\"".to_owned()),
                ),
                (
                    "partitionkey".to_owned(),
                    AttributeValue::Text("account/1".to_owned()),
                ),
            ],
            data: Some(Bytes::from_static(br#"{"amount":1.10}"#)),
            ..Event::default()
        }
    }

    fn read(record: &Record, key: Option<&str>) -> Event {
        let headers = record.headers.iter();
        let headers = headers.map(|(name, value)| (name.as_str(), Some(value.as_bytes())));
        let value = record.value.clone().unwrap_or_default();
        let (headers, body) = request(headers, key.map(str::as_bytes), value);
        match http_binding::mode(&headers).unwrap() {
            Mode::Structured => decode::structured(&body).unwrap(),
            Mode::Binary => http_binding::binary(&headers, &body).unwrap(),
            Mode::Batch => panic!("a batch"),
        }
    }

    #[test]
    fn a_record_in_either_mode_is_read_as_the_event_that_it_was() {
        for mode in [KafkaMode::Binary, KafkaMode::Structured] {
            let record = record(&event(), mode);
            assert_eq!(read(&record, Some("account/1")), event(), "{mode:?}");
        }
    }

    #[test]
    fn values_stand_as_they_are_and_the_media_type_has_its_own_header() {
        let record = record(&event(), KafkaMode::Binary);
        let header = |name: &str| {
            let mut found = record.headers.iter().filter(|(key, _)| key == name);
            let value = found.next().map(|(_, value)| value.as_str());
            assert!(found.next().is_none());
            value
        };
        assert_eq!(header("ce_specversion"), Some("1.0"));
        assert_eq!(header("ce_subject"), Some("account/Zürich \"100%\" %20"));
        assert_eq!(header("ce_partitionkey"), Some("account/1"));
        assert_eq!(
            header("content-type"),
            Some("application/json; charset=utf-8")
        );
        assert_eq!(header("ce_datacontenttype"), None);
    }

    #[test]
    fn an_event_without_data_is_a_record_without_a_value() {
        let event = Event {
            data: None,
            ..event()
        };
        assert_eq!(record(&event, KafkaMode::Binary).value, None);
        assert!(record(&event, KafkaMode::Structured).value.is_some());
    }

    #[test]
    fn the_record_key_is_the_partition_key_of_what_has_none() {
        let mut event = event();
        event.extensions.pop();
        for mode in [KafkaMode::Binary, KafkaMode::Structured] {
            let record = record(&event, mode);
            assert_eq!(read(&record, Some("k 1")).partition_key(), "k 1");
            assert_eq!(read(&record, Some("")), event, "{mode:?}");
            assert_eq!(read(&record, None), event, "{mode:?}");
        }
    }

    #[test]
    fn what_cannot_be_a_header_is_one_that_no_attribute_has() {
        let headers: [(&str, Option<&[u8]>); 5] = [
            ("ce_my ext", Some(b"x")),
            ("ce-id", Some(b"over HTTP it would be one")),
            ("ce_id", Some(b"\xff")),
            ("other", Some(b"\n")),
            ("none", None),
        ];
        let (headers, _) = request(headers, None, Bytes::new());
        let name = |header: &str| headers.get(header).map(|value| value.as_bytes());
        assert_eq!(name("ce-my%20ext"), Some(&b"x"[..]));
        assert_eq!(name("ce-id"), Some(&b"%FF"[..]));
        assert_eq!(name("other"), None);
        assert_eq!(name("none"), Some(&b""[..]));
    }
}

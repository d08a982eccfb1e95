//! Takes an Event, gives a NATS message in binary mode, or structured JSON.
//!
//! An event also speaks the serializer traits of the CloudEvents SDK, but never goes through
//! its `Event`: that one turns `time` into UTC (offset and digits are lost), `dataschema`
//! into a normalised URL and JSON data into a `Value` (layout and the spelling of numbers
//! are lost), and forgets the order of extensions. Here an attribute reaches the
//! serializer as the text that it is, and data as its bytes.

use std::borrow::Cow;

use async_nats::{HeaderMap, HeaderName, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cloudevents::event::SpecVersion;
use cloudevents::message::{
    BinaryDeserializer, BinarySerializer, MessageAttributeValue, Result, StructuredDeserializer,
    StructuredSerializer,
};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::ser::{SerializeMap, Serializer};
use serde_json::value::RawValue;

use crate::event::{AttributeValue, CORE, Event, media};

#[cfg(test)]
mod tests;

/// What the NATS binding percent-encodes in a value (section 3.1.3.2): blank, `"`, `%`
/// and all outside U+0021 to U+007E. The crate takes what is not ASCII by itself.
const VALUE: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');
/// A valid event's names need no encoding. Another's become headers that no reader takes
/// for attributes, since the client library panics on what cannot be a header name.
const NAME: &AsciiSet = &VALUE.add(b':');

/// A NATS message in binary mode: `ce-*` headers, and `data` as the payload, not copied.
/// An event without data and one with empty data give the same message.
///
/// The event is to have passed [`crate::event::validate`].
pub fn binary(event: Event) -> (HeaderMap, Bytes) {
    let Event {
        id,
        source,
        event_type,
        subject,
        time,
        datacontenttype,
        dataschema,
        extensions,
        data,
    } = event;
    let mut headers = HeaderMap::new();
    let core = [
        Some(SpecVersion::V10.to_string()),
        Some(id),
        Some(source),
        Some(event_type),
        subject,
        time,
        datacontenttype,
        dataschema,
    ];
    for (name, value) in CORE.into_iter().zip(core) {
        if let Some(value) = value {
            put(&mut headers, name, value);
        }
    }
    for (name, value) in extensions {
        let value = match value {
            AttributeValue::Text(text) => text,
            AttributeValue::Boolean(_) | AttributeValue::Integer(_) => value.to_string(),
        };
        put(&mut headers, &name, value);
    }
    (headers, data.unwrap_or_default())
}

/// The event in the JSON event format, on one line.
///
/// `data` is a member of the same bytes when it is JSON by `datacontenttype` (or by
/// itself, when there is none) on one line with nothing around it; a string when it is
/// text; `data_base64` otherwise. So no byte is lost, whatever it is.
///
/// The event is to have passed [`crate::event::validate`].
pub fn structured(event: &Event) -> String {
    json(event, by_type)
}

/// The same, and whoever reads it gets the very same event: data without a
/// `datacontenttype` is always `data_base64`, since a reader gives an event with `data` and
/// no type the type `application/json`.
pub fn exactly(event: &Event) -> String {
    json(event, by_its_own_type)
}

fn json(event: &Event, content: Choice) -> String {
    let mut out = Vec::new();
    write_json(event, content, &mut out).expect("text and numbers always become JSON in memory");
    String::from_utf8(out).expect("serde_json writes UTF-8")
}

/// A NATS message that the SDK can write to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message {
    /// The headers.
    pub headers: HeaderMap,
    /// The payload.
    pub payload: Bytes,
}

impl Message {
    fn with(mut self, attribute: &str, value: &str) -> Self {
        put(&mut self.headers, attribute, value.to_owned());
        self
    }
}

fn put(headers: &mut HeaderMap, attribute: &str, value: String) {
    let encoded = match Cow::from(utf8_percent_encode(&value, VALUE)) {
        // Nothing in it has to be encoded. The only byte of a value may come encoded from a
        // table, borrowed too.
        Cow::Borrowed(encoded) if encoded.len() == value.len() => None,
        encoded => Some(encoded.into_owned()),
    };
    let value = HeaderValue::from(encoded.unwrap_or(value));
    match header(attribute) {
        Some(name) => headers.insert(name, value),
        None => {
            let name = format!("ce-{}", utf8_percent_encode(attribute, NAME));
            headers.insert(name, value);
        }
    }
}

/// The header of an attribute that most events have, made without a copy of its name.
fn header(attribute: &str) -> Option<HeaderName> {
    let name = match attribute {
        "specversion" => "ce-specversion",
        "id" => "ce-id",
        "source" => "ce-source",
        "type" => "ce-type",
        "subject" => "ce-subject",
        "time" => "ce-time",
        "datacontenttype" => "ce-datacontenttype",
        "partitionkey" => "ce-partitionkey",
        "correlationid" => "ce-correlationid",
        "causationid" => "ce-causationid",
        "traceparent" => "ce-traceparent",
        "d365depth" => "ce-d365depth",
        "d365user" => "ce-d365user",
        "d365organization" => "ce-d365organization",
        "d365entityname" => "ce-d365entityname",
        "d365requestname" => "ce-d365requestname",
        _ => return None,
    };
    Some(HeaderName::from_static(name))
}

/// NATS binding, section 3.1. Nothing fails.
impl BinarySerializer<Message> for Message {
    fn set_spec_version(self, version: SpecVersion) -> Result<Self> {
        Ok(self.with("specversion", version.as_str()))
    }

    fn set_attribute(self, name: &str, value: MessageAttributeValue) -> Result<Self> {
        Ok(self.with(name, &value.to_string()))
    }

    fn set_extension(self, name: &str, value: MessageAttributeValue) -> Result<Self> {
        self.set_attribute(name, value)
    }

    fn end_with_data(mut self, bytes: Vec<u8>) -> Result<Message> {
        self.payload = bytes.into();
        Ok(self)
    }

    fn end(self) -> Result<Message> {
        Ok(self)
    }
}

/// NATS binding, section 3.2. Nothing fails.
impl StructuredSerializer<Message> for Message {
    fn set_structured_event(mut self, bytes: Vec<u8>) -> Result<Message> {
        self.headers
            .insert("content-type", "application/cloudevents+json");
        self.payload = bytes.into();
        Ok(self)
    }
}

impl BinaryDeserializer for &Event {
    fn deserialize_binary<R, V: BinarySerializer<R>>(self, serializer: V) -> Result<R> {
        let serializer = write_attributes(self, serializer)?;
        match &self.data {
            Some(data) => serializer.end_with_data(data.to_vec()),
            None => serializer.end(),
        }
    }
}

impl StructuredDeserializer for &Event {
    fn deserialize_structured<R, V: StructuredSerializer<R>>(self, serializer: V) -> Result<R> {
        serializer.set_structured_event(structured(self).into_bytes())
    }
}

fn write_attributes<R, V: BinarySerializer<R>>(event: &Event, serializer: V) -> Result<V> {
    let mut serializer = serializer.set_spec_version(SpecVersion::V10)?;
    for (name, value) in core_attributes(event) {
        let value = MessageAttributeValue::String(value.to_owned());
        serializer = serializer.set_attribute(name, value)?;
    }
    for (name, value) in &event.extensions {
        let value = match value {
            AttributeValue::Boolean(value) => MessageAttributeValue::Boolean(*value),
            AttributeValue::Integer(value) => MessageAttributeValue::Integer((*value).into()),
            AttributeValue::Text(value) => MessageAttributeValue::String(value.clone()),
        };
        serializer = serializer.set_extension(name, value)?;
    }
    Ok(serializer)
}

/// Those that the event has, without `specversion`.
pub(crate) fn core_attributes(event: &Event) -> impl Iterator<Item = (&'static str, &str)> {
    let core = [
        Some(&event.id),
        Some(&event.source),
        Some(&event.event_type),
        event.subject.as_ref(),
        event.time.as_ref(),
        event.datacontenttype.as_ref(),
        event.dataschema.as_ref(),
    ];
    let names = CORE.into_iter().skip(1);
    names
        .zip(core)
        .filter_map(|(name, value)| Some((name, value?.as_str())))
}

fn write_json(event: &Event, content: Choice, out: &mut Vec<u8>) -> serde_json::Result<()> {
    let mut json = serde_json::Serializer::new(out);
    let mut map = json.serialize_map(None)?;
    map.serialize_entry("specversion", "1.0")?;
    for (name, value) in core_attributes(event) {
        map.serialize_entry(name, value)?;
    }
    for (name, value) in &event.extensions {
        match value {
            AttributeValue::Boolean(value) => map.serialize_entry(name, value)?,
            AttributeValue::Integer(value) => map.serialize_entry(name, value)?,
            AttributeValue::Text(value) => map.serialize_entry(name, value)?,
        }
    }
    match event.data.as_deref().map(|data| content(event, data)) {
        Some(Content::Json(raw)) => map.serialize_entry("data", raw)?,
        Some(Content::Text(text)) => map.serialize_entry("data", text)?,
        Some(Content::Binary(data)) => {
            map.serialize_entry("data_base64", &STANDARD.encode(data))?
        }
        None => {}
    }
    map.end()
}

/// Which way an event's data goes.
type Choice = for<'a> fn(&Event, &'a [u8]) -> Content<'a>;

/// How data stands in the JSON format so that a reader gets the same bytes back.
enum Content<'a> {
    Json(&'a RawValue),
    Text(&'a str),
    Binary(&'a [u8]),
}

fn by_type<'a>(event: &Event, data: &'a [u8]) -> Content<'a> {
    let text = std::str::from_utf8(data).ok();
    let content = match event.datacontenttype.as_deref() {
        Some(media_type) if media::is_json(media_type) => text.and_then(as_json),
        Some(media_type) if media::is_text(media_type) => text.map(Content::Text),
        Some(_) => None,
        // Without a type a reader takes the member `data` for JSON, and `null` for none.
        None => text.filter(|text| *text != "null").and_then(as_json),
    };
    content.unwrap_or(Content::Binary(data))
}

fn by_its_own_type<'a>(event: &Event, data: &'a [u8]) -> Content<'a> {
    match event.datacontenttype {
        Some(_) => by_type(event, data),
        None => Content::Binary(data),
    }
}

/// Blanks around a JSON value are not part of it and would be lost; a line break
/// would end the record in a file of one event a line.
fn as_json(text: &str) -> Option<Content<'_>> {
    let raw: &RawValue = serde_json::from_str(text).ok()?;
    (raw.get().len() == text.len() && !text.contains(['\n', '\r'])).then_some(Content::Json(raw))
}

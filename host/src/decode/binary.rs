//! Takes `ce-*` headers and a payload, gives an Event (NATS binding, section 3.1).

use std::borrow::Cow;

use async_nats::{HeaderMap, HeaderValue};
use bytes::Bytes;
use percent_encoding::percent_decode_str;

use super::Error;
use crate::event::{AttributeValue, Event, excerpt};

const PREFIX: &str = "ce-";

/// Which attribute a header is, in whatever case it is written; none when it is none.
pub fn attribute_name(header: &str) -> Option<&str> {
    let (prefix, name) = header.split_at_checked(PREFIX.len())?;
    prefix.eq_ignore_ascii_case(PREFIX).then_some(name)
}

/// Reads the event without checking attribute values.
pub(super) fn read(headers: Option<&HeaderMap>, payload: &Bytes) -> Result<Event, Error> {
    let mut read = Read::default();
    for (key, values) in headers.into_iter().flat_map(HeaderMap::iter) {
        let key: &str = key.as_ref();
        if let Some(name) = attribute_name(key) {
            read.attribute(name, values)?;
        }
    }
    let specversion = read.specversion.ok_or(Error::Missing {
        attribute: "specversion",
    })?;
    if specversion != "1.0" {
        return Err(Error::SpecVersion {
            found: excerpt(&specversion),
        });
    }
    // The header map has no order of its own; a fixed one makes decoding repeatable.
    read.extensions.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok(Event {
        id: read.id.ok_or(Error::Missing { attribute: "id" })?,
        source: read.source.ok_or(Error::Missing {
            attribute: "source",
        })?,
        event_type: read
            .event_type
            .ok_or(Error::Missing { attribute: "type" })?,
        subject: read.subject,
        time: read.time,
        // Without the binding's own header, what HTTP would call it; never encoded there.
        datacontenttype: read.datacontenttype.or_else(|| {
            headers
                .and_then(|headers| header(headers, "content-type"))
                .map(str::to_owned)
        }),
        dataschema: read.dataschema,
        extensions: read.extensions,
        data: (!payload.is_empty()).then(|| payload.clone()),
    })
}

/// The attributes as they are found, each in the place where the event has it.
#[derive(Default)]
struct Read {
    specversion: Option<String>,
    id: Option<String>,
    source: Option<String>,
    event_type: Option<String>,
    subject: Option<String>,
    time: Option<String>,
    datacontenttype: Option<String>,
    dataschema: Option<String>,
    extensions: Vec<(String, AttributeValue)>,
}

impl Read {
    /// One `ce-*` header, its name in any case and without the prefix.
    fn attribute(&mut self, name: &str, values: &[HeaderValue]) -> Result<(), Error> {
        let is_lower = !name.bytes().any(|byte| byte.is_ascii_uppercase());
        let name = match is_lower {
            true => Cow::Borrowed(name),
            false => Cow::Owned(name.to_ascii_lowercase()),
        };
        let duplicate = || Error::Duplicate {
            attribute: excerpt(&name),
        };
        let [value] = values else {
            return Err(duplicate());
        };
        let value = value.as_str();
        let decoded = decode_value(value).ok_or_else(|| Error::Encoding {
            attribute: excerpt(&name),
            found: excerpt(value),
        })?;
        let place = match name.as_ref() {
            "specversion" => &mut self.specversion,
            "id" => &mut self.id,
            "source" => &mut self.source,
            "type" => &mut self.event_type,
            "subject" => &mut self.subject,
            "time" => &mut self.time,
            "datacontenttype" => &mut self.datacontenttype,
            "dataschema" => &mut self.dataschema,
            _ => {
                if self.extensions.iter().any(|(other, _)| *other == name) {
                    return Err(duplicate());
                }
                let extension = (name.into_owned(), AttributeValue::Text(decoded));
                self.extensions.push(extension);
                return Ok(());
            }
        };
        if place.is_some() {
            return Err(duplicate());
        }
        *place = Some(decoded);
        Ok(())
    }
}

/// The first value of a header, its name in any case. Of two spellings of the name the
/// first in byte order counts, since the map has no order of its own.
pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let spellings = headers
        .iter()
        .map(|(key, values)| (AsRef::<str>::as_ref(key), values));
    let (_, values) = spellings
        .filter(|(key, _)| key.eq_ignore_ascii_case(name))
        .min_by_key(|(key, _)| *key)?;
    values.first().map(|value| value.as_str())
}

/// Unquotes, then percent-decodes once. `None` when the bytes are not UTF-8.
/// A `%` without two hexadecimal digits stands for itself: the sender did not encode.
pub(super) fn decode_value(value: &str) -> Option<String> {
    // Nearly every value is what it is.
    if !value.bytes().any(|byte| matches!(byte, b'%' | b'"')) {
        return Some(value.to_owned());
    }
    let value = unquote(value);
    percent_decode_str(&value)
        .decode_utf8()
        .ok()
        .map(Cow::into_owned)
}

/// A value that is one quoted string as in RFC 7230 section 3.2.6 loses its quotes and
/// its backslashes; any other is what it is.
fn unquote(value: &str) -> Cow<'_, str> {
    let Some(inner) = value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    else {
        return Cow::Borrowed(value);
    };
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => return Cow::Borrowed(value),
            '\\' => match chars.next() {
                Some(escaped) => out.push(escaped),
                None => return Cow::Borrowed(value),
            },
            _ => out.push(c),
        }
    }
    Cow::Owned(out)
}

//! Takes `ce-*` headers and a payload, gives an Event (NATS binding, section 3.1).

use std::borrow::Cow;

use async_nats::HeaderMap;
use bytes::Bytes;
use percent_encoding::percent_decode_str;

use super::Error;
use crate::event::{AttributeValue, Event, excerpt};

const PREFIX: &str = "ce-";

/// Reads the event without checking attribute values.
pub(super) fn read(headers: Option<&HeaderMap>, payload: &Bytes) -> Result<Event, Error> {
    let mut attributes = headers.map(attributes).transpose()?.unwrap_or_default();
    let mut take = |name: &'static str| {
        let position = attributes.iter().position(|(key, _)| key == name)?;
        Some(attributes.swap_remove(position).1)
    };
    let specversion = take("specversion").ok_or(Error::Missing {
        attribute: "specversion",
    })?;
    if specversion != "1.0" {
        return Err(Error::SpecVersion {
            found: excerpt(&specversion),
        });
    }
    let mut event = Event {
        id: take("id").ok_or(Error::Missing { attribute: "id" })?,
        source: take("source").ok_or(Error::Missing {
            attribute: "source",
        })?,
        event_type: take("type").ok_or(Error::Missing { attribute: "type" })?,
        subject: take("subject"),
        time: take("time"),
        // Without the binding's own header, what HTTP would call it; never encoded there.
        datacontenttype: take("datacontenttype").or_else(|| {
            headers
                .and_then(|headers| header(headers, "content-type"))
                .map(str::to_owned)
        }),
        dataschema: take("dataschema"),
        extensions: Vec::new(),
        data: (!payload.is_empty()).then(|| payload.clone()),
    };
    // The header map has no order of its own; a fixed one makes decoding repeatable.
    attributes.sort_unstable();
    event.extensions = attributes
        .into_iter()
        .map(|(name, value)| (name, AttributeValue::Text(value)))
        .collect();
    Ok(event)
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

/// Every `ce-*` header, its name lower-cased and without the prefix, its value decoded.
fn attributes(headers: &HeaderMap) -> Result<Vec<(String, String)>, Error> {
    let mut attributes: Vec<(String, String)> = Vec::new();
    for (key, values) in headers.iter() {
        let key: &str = key.as_ref();
        let Some((prefix, name)) = key.split_at_checked(PREFIX.len()) else {
            continue;
        };
        if !prefix.eq_ignore_ascii_case(PREFIX) {
            continue;
        }
        let name = name.to_ascii_lowercase();
        let repeated = attributes.iter().any(|(other, _)| *other == name);
        let [value] = values.as_slice() else {
            return Err(Error::Duplicate {
                attribute: excerpt(&name),
            });
        };
        if repeated {
            return Err(Error::Duplicate {
                attribute: excerpt(&name),
            });
        }
        let value = value.as_str();
        let decoded = decode_value(value).ok_or_else(|| Error::Encoding {
            attribute: excerpt(&name),
            found: excerpt(value),
        })?;
        attributes.push((name, decoded));
    }
    Ok(attributes)
}

/// Unquotes, then percent-decodes once. `None` when the bytes are not UTF-8.
/// A `%` without two hexadecimal digits stands for itself: the sender did not encode.
pub(super) fn decode_value(value: &str) -> Option<String> {
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

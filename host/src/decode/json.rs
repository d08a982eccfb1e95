//! Takes the JSON event format, gives an Event (`json-format.md` 1.0.2).

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Error;
use crate::event::{AttributeValue, Event, excerpt};

/// Reads the event without checking attribute values beyond their JSON type.
pub(super) fn read(json: &Bytes) -> Result<Event, Error> {
    let mut members = serde_json::from_slice::<Members<'_>>(json)
        .map_err(|error| Error::Json {
            reason: excerpt(&error.to_string()),
        })?
        .into_unique()?;
    let mut take = |name: &'static str| {
        let position = members.iter().position(|(key, _)| key == name)?;
        Some(members.swap_remove(position).1)
    };
    let mut text = |name: &'static str| take(name).map(|raw| string(name, raw)).transpose();

    let required =
        |name: &'static str, value: Option<String>| value.ok_or(Error::Missing { attribute: name });
    let specversion = required("specversion", text("specversion")?)?;
    if specversion != "1.0" {
        return Err(Error::SpecVersion {
            found: excerpt(&specversion),
        });
    }
    let mut event = Event {
        id: required("id", text("id")?)?,
        source: required("source", text("source")?)?,
        event_type: required("type", text("type")?)?,
        subject: text("subject")?,
        time: text("time")?,
        datacontenttype: text("datacontenttype")?,
        dataschema: text("dataschema")?,
        extensions: Vec::new(),
        data: None,
    };
    match (take("data"), take("data_base64")) {
        (Some(_), Some(_)) => return Err(Error::TwoData),
        (Some(raw), None) => set_data(&mut event, json, raw)?,
        (None, Some(raw)) => event.data = Some(base64(raw)?),
        (None, None) => {}
    }
    members.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    event.extensions = members
        .into_iter()
        .map(|(name, raw)| {
            let value = match extension(&name, raw)? {
                // A string by its own specification; senders with numeric keys stray. As
                // text it orders the event as it would after a hop in binary mode.
                value if name == "partitionkey" => AttributeValue::Text(value.to_string()),
                value => value,
            };
            Ok((name.into_owned(), value))
        })
        .collect::<Result<_, Error>>()?;
    Ok(event)
}

/// `null` is a JSON value where the content is said to be JSON, and no data elsewhere.
fn set_data(event: &mut Event, json: &Bytes, raw: &RawValue) -> Result<(), Error> {
    let is_null = raw.get() == "null";
    if event.datacontenttype.is_none() && !is_null {
        event.datacontenttype = Some("application/json".to_owned());
    }
    event.data = if event.is_json() {
        // A slice of the payload: no digit, escape or blank of the source is touched.
        Some(json.slice_ref(raw.get().as_bytes()))
    } else if is_null {
        None
    } else {
        Some(Bytes::from(string("data", raw)?))
    };
    Ok(())
}

fn base64(raw: &RawValue) -> Result<Bytes, Error> {
    let text = string("data_base64", raw)?;
    STANDARD
        .decode(&text)
        .map(Bytes::from)
        .map_err(|_| Error::Base64 {
            found: excerpt(&text),
        })
}

fn string(attribute: &str, raw: &RawValue) -> Result<String, Error> {
    // Also fails on a string with half a surrogate pair, which is no Unicode text.
    serde_json::from_str(raw.get()).map_err(|_| wrong_type(attribute, raw, "a JSON string"))
}

fn extension(name: &str, raw: &RawValue) -> Result<AttributeValue, Error> {
    let json = raw.get();
    match json.as_bytes().first() {
        Some(b'"') => string(name, raw).map(AttributeValue::Text),
        Some(b't' | b'f') => Ok(AttributeValue::Boolean(json == "true")),
        // Rust's syntax for whole numbers is JSON's, and JSON has been checked.
        Some(b'-' | b'0'..=b'9') => json.parse().map(AttributeValue::Integer).map_err(|_| {
            wrong_type(
                name,
                raw,
                "a whole number from -2147483648 to 2147483647 (send others as strings)",
            )
        }),
        _ => Err(wrong_type(
            name,
            raw,
            "a JSON string, boolean or whole number",
        )),
    }
}

fn wrong_type(attribute: &str, raw: &RawValue, expected: &'static str) -> Error {
    // One line, whatever the layout of the JSON.
    let found = excerpt(raw.get()).replace(char::is_control, " ");
    Error::Type {
        attribute: excerpt(attribute),
        found,
        expected,
    }
}

/// The members of a JSON object in their order, values as they stand in the text.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    /// JSON parsers disagree on which of two members counts, so two are an error.
    /// A `null` attribute is an absent one (section 2.2); for `data`, [`set_data`] decides.
    fn into_unique(self) -> Result<Vec<(Cow<'a, str>, &'a RawValue)>, Error> {
        let mut names: Vec<&str> = self.0.iter().map(|(name, _)| name.as_ref()).collect();
        names.sort_unstable();
        if let Some([name, _]) = names.array_windows().find(|[one, other]| one == other) {
            return Err(Error::Duplicate {
                attribute: excerpt(name),
            });
        }
        let mut members = self.0;
        members.retain(|(name, raw)| name == "data" || raw.get() != "null");
        Ok(members)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some((Name(name), raw)) = map.next_entry()? {
            members.push((name, raw));
        }
        Ok(Members(members))
    }
}

/// A member's name, borrowed unless it has escapes (a bare `Cow` always copies).
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

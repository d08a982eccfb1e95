//! Takes a message of the event store, gives a CloudEvent on one line that holds all of it, and the message back.
//!
//! The line is the event in the JSON event format, so that any reader of CloudEvents can read
//! it. What an event does not say of its message stands in extension attributes:
//!
//! | extension | |
//! |---|---|
//! | `sluicesubject` | the subject on which it stands, with the slot |
//! | `sluicesequence` | where it stands, as text: the integers of CloudEvents have 32 bits |
//! | `sluicestored` | when the broker took it |
//! | `sluiceheaders` | headers that are no attributes, as a form: `x-own=1&x-own=2` |
//! | `sluiceraw` | `true`: the message is no event, or one that has such extensions of its own; the line is an envelope, and its data is the payload |
//!
//! The mode of a message is told by its `content-type`, which is among those headers.

use std::str::FromStr as _;

use async_nats::header::NATS_MESSAGE_ID;
use async_nats::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;

use super::Stored;
use crate::claim_check;
use crate::decode::{self, attribute_name, is_structured};
use crate::encode;
use crate::event::{AttributeValue, Event, excerpt};
use crate::gateway::outgoing::Outgoing;

#[cfg(test)]
mod tests;

const SUBJECT: &str = "sluicesubject";
const SEQUENCE: &str = "sluicesequence";
const STORED: &str = "sluicestored";
const HEADERS: &str = "sluiceheaders";
const RAW: &str = "sluiceraw";
const OURS: [&str; 5] = [SUBJECT, SEQUENCE, STORED, HEADERS, RAW];

/// Whose event an envelope is.
const ENVELOPE_SOURCE: &str = "/sluicegate/events";
const ENVELOPE_TYPE: &str = "sluicegate.message";

const DATAREF: &str = "dataref";
/// Of the broker's own; what they asked for was done when the message was stored.
const BROKERS: &str = "Nats-";
/// But for this one, where it is not the gateway's.
const MESSAGE_ID: &str = "Nats-Msg-Id";

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is no event.
    #[error("it is no CloudEvent: {0}")]
    NoEvent(#[from] decode::Error),
    /// It says to stand where the event store has nothing.
    #[error(
        "{SUBJECT}: found {found:?}, expected a subject of the event store such as \
         d365.dataverse.contoso.record.account.update.3; leave the attribute out to have the \
         subject made of type and source"
    )]
    Subject {
        /// The attribute's value.
        found: String,
    },
    /// The headers are none that a message can have.
    #[error("{HEADERS}: found {found:?}, {reason}; leave it out, or export the event again")]
    Header {
        /// Name or value.
        found: String,
        /// Why not.
        reason: &'static str,
    },
}

/// What stands on a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A message that was exported.
    Message(Box<Outgoing>),
    /// An event from elsewhere: nothing says on which subject it belongs.
    Event(Box<Event>),
}

/// The line of a message, without a line break.
pub fn line(stored: &Stored) -> String {
    match &stored.event {
        Ok(event) if !OURS.iter().any(|name| event.extension(name).is_some()) => {
            encode::exactly(&with_facts(event.clone(), stored))
        }
        Ok(_) | Err(_) => encode::exactly(&envelope(stored)),
    }
}

/// Reads a line.
///
/// # Errors
/// [`Error`], which says what to do.
pub fn read(line: &Bytes) -> Result<Line, Error> {
    let mut event = decode::structured(line)?;
    let mut facts = take_facts(&mut event);
    let Some(subject) = facts.take(SUBJECT) else {
        return Ok(Line::Event(Box::new(event)));
    };
    let subject = subject_of(subject)?;
    let headers = headers_of(facts.take(HEADERS))?;
    let outgoing = if facts.is_raw() {
        raw(event, subject, headers)
    } else if is_structured(&headers) {
        structured(&event, subject, headers)
    } else {
        binary(event, subject, headers)?
    };
    Ok(Line::Message(Box::new(outgoing)))
}

/// An event's attributes without the reference to a body that the line has itself.
pub(crate) fn without_reference(mut event: Event, stored: &Stored) -> Event {
    if !stored.payload.is_empty() {
        event.extensions.retain(|(name, value)| {
            let is_ours =
                matches!(value, AttributeValue::Text(text) if claim_check::object(text).is_some());
            name != DATAREF || !is_ours
        });
    }
    event
}

fn with_facts(event: Event, stored: &Stored) -> Event {
    let mut event = without_reference(event, stored);
    // Those of a structured message say nothing.
    let attributes_are_headers = !is_structured(&stored.headers);
    add_facts(&mut event, stored, |name| {
        !(attributes_are_headers && attribute_name(name).is_some())
    });
    event
}

/// A message that is no event, as the data of one.
fn envelope(stored: &Stored) -> Event {
    let Stored {
        sequence,
        stored: time,
        payload,
        ..
    } = stored;
    let mut event = Event {
        id: format!("{sequence}-{time}"),
        source: ENVELOPE_SOURCE.to_owned(),
        event_type: ENVELOPE_TYPE.to_owned(),
        time: Some(time.clone()),
        data: (!payload.is_empty()).then(|| payload.clone()),
        extensions: vec![(RAW.to_owned(), AttributeValue::Boolean(true))],
        ..Event::default()
    };
    add_facts(&mut event, stored, |_| true);
    event
}

fn add_facts(event: &mut Event, stored: &Stored, is_kept: impl Fn(&str) -> bool) {
    let message_id = event.message_id();
    let mut add = |name: &str, text: String| {
        let extension = (name.to_owned(), AttributeValue::Text(text));
        event.extensions.push(extension);
    };
    add(SUBJECT, stored.subject.clone());
    add(SEQUENCE, stored.sequence.to_string());
    add(STORED, stored.stored.clone());
    let mut form = form_urlencoded::Serializer::new(String::new());
    for (name, values) in by_name(&stored.headers) {
        for value in values {
            let value = value.as_str();
            let is_whole = !stored.payload.is_empty() && claim_check::object(value).is_some();
            let is_reference = name.eq_ignore_ascii_case(claim_check::HEADER) && is_whole;
            let is_done = name.starts_with(BROKERS) && (name != MESSAGE_ID || value == message_id);
            if !is_reference && !is_done && is_kept(name) {
                form.append_pair(name, value);
            }
        }
    }
    let headers = form.finish();
    if !headers.is_empty() {
        add(HEADERS, headers);
    }
}

/// The map has no order of its own; values of one name have.
fn by_name(headers: &HeaderMap) -> Vec<(&str, &[HeaderValue])> {
    let mut sorted: Vec<(&str, &[HeaderValue])> = headers
        .iter()
        .map(|(name, values)| (name.as_ref(), values.as_slice()))
        .collect();
    sorted.sort_unstable_by_key(|(name, _)| *name);
    sorted
}

/// Attributes of ours that were taken out of an event.
struct Facts(Vec<(String, AttributeValue)>);

fn take_facts(event: &mut Event) -> Facts {
    let is_ours = |(name, _): &mut (String, AttributeValue)| OURS.contains(&name.as_str());
    Facts(event.extensions.extract_if(.., is_ours).collect())
}

impl Facts {
    fn take(&mut self, name: &str) -> Option<AttributeValue> {
        let place = self.0.iter().position(|(other, _)| other == name)?;
        Some(self.0.swap_remove(place).1)
    }

    fn is_raw(&mut self) -> bool {
        // A converter may have made text of it.
        self.take(RAW)
            .is_some_and(|value| value.to_string() == "true")
    }
}

fn subject_of(value: AttributeValue) -> Result<String, Error> {
    let text = value.to_string();
    let is_token = |token: &str| {
        !token.is_empty() && !token.contains(['*', '>']) && !token.contains(char::is_whitespace)
    };
    let mut tokens = text.split('.');
    let is_subject = tokens.next() == Some("d365")
        && 1 < text.split('.').count()
        && tokens.all(is_token)
        && !text.contains(char::is_control);
    if !is_subject {
        let found = excerpt(&text);
        return Err(Error::Subject { found });
    }
    Ok(text)
}

fn headers_of(form: Option<AttributeValue>) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    let form = form.map(|form| form.to_string()).unwrap_or_default();
    for (name, value) in form_urlencoded::parse(form.as_bytes()) {
        let refused = |found: &str, reason| Error::Header {
            found: excerpt(found),
            reason,
        };
        if name.starts_with(BROKERS) && name != MESSAGE_ID {
            return Err(refused(&name, "which is the broker's own"));
        }
        let header = HeaderName::from_str(&name)
            .map_err(|_| refused(&name, "which cannot be the name of a header"))?;
        let text = HeaderValue::from_str(&value)
            .map_err(|_| refused(&value, "which cannot be the value of a header"))?;
        headers.append(header, text);
    }
    Ok(headers)
}

fn raw(event: Event, subject: String, mut headers: HeaderMap) -> Outgoing {
    identify(&mut headers, &event);
    Outgoing {
        subject,
        headers,
        key: String::new(),
        payload: event.data.unwrap_or_default(),
    }
}

fn structured(event: &Event, subject: String, mut headers: HeaderMap) -> Outgoing {
    identify(&mut headers, event);
    Outgoing {
        subject,
        headers,
        key: event.partition_key().to_owned(),
        payload: encode::exactly(event).into(),
    }
}

fn binary(event: Event, subject: String, headers: HeaderMap) -> Result<Outgoing, Error> {
    let mut outgoing = Outgoing::event(event, subject);
    for (name, values) in headers.iter() {
        let text: &str = name.as_ref();
        if attribute_name(text).is_some() {
            return Err(Error::Header {
                found: excerpt(text),
                reason: "which is an attribute, and has a member of its own",
            });
        }
        for value in values {
            match text {
                MESSAGE_ID => outgoing.headers.insert(NATS_MESSAGE_ID, value.clone()),
                _ => outgoing.headers.append(name.clone(), value.clone()),
            }
        }
    }
    Ok(outgoing)
}

/// What the broker knows a message by that says nothing else.
fn identify(headers: &mut HeaderMap, event: &Event) {
    if headers.get(NATS_MESSAGE_ID).is_none() {
        headers.insert(NATS_MESSAGE_ID, event.message_id());
    }
}

//! Takes what Event Grid posts, gives each event of it with its attributes and its data.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::attribute::{clean, cleaned, segment, uri_reference};
use crate::event_grid::{is_validation, not_an_event, validation_code};
use crate::map::{Mapped, map, present, short_environment};
use crate::members::Reader;
use crate::subject::{Origin, Subject};
use crate::{Error, EventGridEvent, Members, json};

/// The most events that Event Grid puts into one delivery.
const MOST_EVENTS: usize = 5000;

/// One event of a delivery. Its texts are parts of the body, byte for byte.
#[derive(Debug)]
pub struct EventGridItem<'a> {
    /// The whole event as it stands in the body, to be kept where it cannot be mapped.
    pub raw: &'a str,
    /// Its `data`, which is the CloudEvent's; `None` when missing or null.
    pub data: Option<&'a str>,
    /// The CloudEvent's attributes, or what is wrong with this event, and where:
    /// `[2].id is missing; accepted is a text that is not blank`.
    pub mapped: Result<Mapped, Error>,
}

impl EventGridItem<'_> {
    /// The code that Event Grid wants back, if this is how it asks whether the endpoint wants
    /// its events: answer 200 with `{"validationResponse": code}`.
    #[must_use]
    pub fn validation_code(&self) -> Option<String> {
        let event = self.mapped.as_ref().ok()?;
        if !is_validation(&event.event_type) {
            return None;
        }
        let data = json(self.data?.as_bytes()).ok()?;
        validation_code(&event.event_type, &data).map(str::to_owned)
    }
}

/// Maps a delivery in the Event Grid schema: a list of events, or one event alone. Items come
/// in the order of the list, a bad one in its place.
///
/// An event whose `data` is a body that [`map`] takes gets just the attributes that `map`
/// gives it, and `eventgridid` and `eventgridtopic` besides. Any other gets its own `id`, type,
/// subject and time; source is the topic made a URI-reference, else
/// `/eventgrid/<environment>`; `partitionkey` is the subject, else the id; `dataversion`; and
/// the NATS subject of [`Subject::of_type`].
///
/// # Errors
/// For the whole: [`Error::Json`]; [`Error::Shape`] for what is neither list nor object;
/// [`Error::TooMany`] over 5,000 events; [`Error::TooLong`] for the environment.
/// For one item: [`Error::Shape`] where `id` or `eventType` is missing, blank or no text, and
/// [`Error::Json`] where a part of it is nested over 127 levels or has half a surrogate pair.
pub fn event_grid<'a>(environment: &str, body: &'a [u8]) -> Result<Vec<EventGridItem<'a>>, Error> {
    short_environment(environment)?;
    let body = json::without_mark(body);
    let elements: Vec<&RawValue> = match body.trim_ascii_start().first() {
        Some(b'[') => serde_json::from_slice(body)?,
        Some(b'{') => vec![serde_json::from_slice(body)?],
        _ => {
            let accepted = "a list of events in the Event Grid schema";
            return Err(Error::shape("the body", &json(body)?, accepted));
        }
    };
    if elements.len() > MOST_EVENTS {
        return Err(Error::TooMany {
            what: "events in one delivery",
            count: elements.len(),
            limit: MOST_EVENTS,
        });
    }
    Ok(elements
        .into_iter()
        .enumerate()
        .map(|(index, element)| item(environment, index, element.get()))
        .collect())
}

fn item<'a>(environment: &str, index: usize, raw: &'a str) -> EventGridItem<'a> {
    match members(raw) {
        Ok((members, data)) => EventGridItem {
            raw,
            data,
            mapped: EventGridEvent::from_members(Reader(members))
                .and_then(|event| mapped(environment, &event, data))
                .map_err(|error| error.within(&format!("[{index}]"))),
        },
        Err(error) => EventGridItem {
            raw,
            data: None,
            mapped: Err(error.within(&format!("[{index}]"))),
        },
    }
}

/// The members of an event, its data apart, as text.
fn members(raw: &str) -> Result<(Members, Option<&str>), Error> {
    if !raw.starts_with('{') {
        return Err(not_an_event(&json(raw.as_bytes())?));
    }
    let mut members: BTreeMap<String, &RawValue> = serde_json::from_str(raw)?;
    let data = members.remove("data").or_else(|| {
        let name = members
            .keys()
            .find(|name| name.eq_ignore_ascii_case("data"))?
            .clone();
        members.remove(&name)
    });
    let others = members
        .into_iter()
        .map(|(name, value)| Ok((name, json(value.get().as_bytes())?)))
        .collect::<Result<Members, Error>>()?;
    let data = data.map(RawValue::get).filter(|data| *data != "null");
    Ok((others, data))
}

/// The attributes of an event with this data.
fn mapped(environment: &str, event: &EventGridEvent, data: Option<&str>) -> Result<Mapped, Error> {
    let filled = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
    let topic = filled(&event.topic);
    match data.map(|data| map(environment, data.as_bytes())) {
        Some(Ok(mut mapped)) => {
            mapped.extensions.extend(present([
                ("eventgridid", Some(event.id.clone())),
                ("eventgridtopic", topic),
            ]));
            return Ok(mapped);
        }
        Some(Err(Error::Json(unreadable))) => return Err(Error::Json(unreadable)),
        // No body of Dynamics 365.
        Some(Err(_)) | None => {}
    }
    let id = clean(&event.id).into_owned();
    let event_type = clean(&event.event_type).into_owned();
    let subject = filled(&event.subject).map(cleaned);
    let partition_key = subject.clone().unwrap_or_else(|| id.clone());
    let source = match topic {
        Some(topic) => uri_reference(&topic),
        None => format!("/{}/{}", Origin::EventGrid, segment(environment)),
    };
    let place = Subject::of_type(Origin::EventGrid, environment, &event_type, &partition_key);
    Ok(Mapped {
        id,
        source,
        event_type,
        subject,
        time: event.time().map(|time| time.rfc3339()),
        extensions: present([
            ("partitionkey", Some(partition_key.clone())),
            ("dataversion", filled(&event.data_version)),
        ]),
        partition_key,
        nats_subject: place.to_string(),
    })
}

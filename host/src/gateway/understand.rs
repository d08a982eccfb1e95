//! Takes a request's headers and body, gives the events in it and what nobody understands.

use axum::http::HeaderMap;
use bytes::Bytes;
use sluicegate_d365::{self as d365, EventGridItem, Mapped, Subject};

use super::extensions::{self, is_size_exceeded};
use super::problem::Problem;
use super::source::Origin;
use crate::config::SourceKind;
use crate::decode;
use crate::event::{self, AttributeValue, Event};
use crate::http_binding::{self, Mode};

/// Bytes of all attributes of an event.
const MAX_ATTRIBUTES: usize = 16 << 10;

/// One thing that a body held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// An event, and its subject in the event store.
    Event(Box<Event>, String),
    /// Something that no event can be made of.
    Undecodable {
        /// Its bytes, a part of the body.
        bytes: Bytes,
        /// What is wrong with it.
        error: String,
    },
}

/// How a body is to be read, by the headers alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// What Dynamics 365 sends itself: an execution context or a business event.
    D365,
    /// What Event Grid delivers: one event or several, in its own schema or as CloudEvents.
    /// Each is taken for itself: only its sender could take a batch apart, and Event Grid
    /// does not.
    EventGrid,
    /// CloudEvents; a batch is taken whole or not at all.
    CloudEvents(Mode),
}

/// How this request's body is to be read.
///
/// # Errors
/// [`Problem::MediaType`], which says what is read.
pub fn form(kind: SourceKind, headers: &HeaderMap) -> Result<Form, Problem> {
    identity(headers)?;
    let essence = http_binding::essence(headers);
    let found = essence.as_deref().unwrap_or("no content-type");
    let refused = |expected: &str| {
        let text = format!("content-type: found {found}; expected {expected}");
        Err(Problem::MediaType(text))
    };
    let is_json = essence.as_deref().is_none_or(|essence| {
        essence == "application/json" || essence == "text/json" || essence.ends_with("+json")
    });
    match (kind, http_binding::mode(headers)) {
        (SourceKind::Dataverse | SourceKind::Fno, None) if is_json => Ok(Form::D365),
        (SourceKind::Dataverse | SourceKind::Fno, _) => refused("application/json"),
        (SourceKind::EventGrid, Some(Mode::Binary)) => Ok(Form::CloudEvents(Mode::Binary)),
        (SourceKind::EventGrid, Some(_)) => Ok(Form::EventGrid),
        (SourceKind::EventGrid, None) if is_json => Ok(Form::EventGrid),
        (SourceKind::EventGrid, None) => {
            refused("application/json (Event Grid schema) or application/cloudevents+json")
        }
        (SourceKind::CloudEvents, Some(mode)) => Ok(Form::CloudEvents(mode)),
        (SourceKind::CloudEvents, None) => refused(
            "application/cloudevents+json, application/cloudevents-batch+json, or ce-* headers",
        ),
    }
}

/// A compressed body could be a thousand times as big as it looks.
fn identity(headers: &HeaderMap) -> Result<(), Problem> {
    let coding = headers.get_all(axum::http::header::CONTENT_ENCODING);
    for value in coding {
        let text = String::from_utf8_lossy(value.as_bytes());
        if !text.trim().eq_ignore_ascii_case("identity") {
            let found = event::excerpt(&text);
            return Err(Problem::MediaType(format!(
                "content-encoding: found {found}; compressed bodies are not taken, send it plain"
            )));
        }
    }
    Ok(())
}

/// Reads a body.
///
/// # Errors
/// [`Problem::Batch`]: a CloudEvents batch is taken whole or not at all.
pub fn understand(
    origin: &Origin<'_>,
    form: Form,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Vec<Item>, Problem> {
    let one = |read: Result<(Event, String), String>| {
        vec![match read {
            Ok((event, subject)) => Item::Event(Box::new(event), subject),
            Err(error) => Item::Undecodable {
                bytes: body.clone(),
                error,
            },
        }]
    };
    match form {
        Form::D365 => Ok(one(d365_event(origin, headers, body))),
        Form::EventGrid => Ok(event_grid(origin, body)),
        Form::CloudEvents(Mode::Structured) => {
            let event = decode::structured(body);
            Ok(one(placed(origin, event)))
        }
        Form::CloudEvents(Mode::Binary) => {
            let event = http_binding::binary(headers, body);
            Ok(one(placed(origin, event)))
        }
        Form::CloudEvents(Mode::Batch) => match http_binding::batch(body) {
            Err(error) => Ok(one(Err(error.to_string()))),
            Ok(events) => {
                let items = events.into_iter().enumerate().map(|(index, event)| {
                    let (event, subject) =
                        placed(origin, event).map_err(|error| Problem::Batch { index, error })?;
                    Ok(Item::Event(Box::new(event), subject))
                });
                items.collect()
            }
        },
    }
}

fn placed(
    origin: &Origin<'_>,
    event: Result<Event, decode::Error>,
) -> Result<(Event, String), String> {
    let event = event.map_err(|error| error.to_string())?;
    bounded(&event)?;
    let from = match origin.kind {
        SourceKind::EventGrid => d365::Origin::EventGrid,
        SourceKind::Dataverse | SourceKind::Fno | SourceKind::CloudEvents => d365::Origin::Custom,
    };
    let (event_type, key) = (&event.event_type, event.partition_key());
    let subject = Subject::of_type(from, origin.environment, event_type, key).to_string();
    Ok((event, subject))
}

/// A CloudEvent of Event Grid; one around a Dynamics 365 body is what that body is by itself.
fn unwrapped(
    origin: &Origin<'_>,
    event: Result<Event, decode::Error>,
) -> Result<(Event, String), String> {
    let event = event.map_err(|error| error.to_string())?;
    let data = event.data.clone().unwrap_or_default();
    let Ok(mut mapped) = d365::map(origin.environment, &data) else {
        return placed(origin, Ok(event));
    };
    extensions::set(&mut mapped.extensions, "eventgridid", &event.id);
    extensions::set(&mut mapped.extensions, "eventgridtopic", &event.source);
    event_of(mapped, Some(data))
}

/// A delivery of Event Grid, in either schema.
fn event_grid(origin: &Origin<'_>, body: &Bytes) -> Vec<Item> {
    let whole = |error: String| {
        vec![Item::Undecodable {
            bytes: body.clone(),
            error,
        }]
    };
    let items = match d365::event_grid(origin.environment, body) {
        Ok(items) => items,
        Err(error) => return whole(error.to_string()),
    };
    let item = |item: &EventGridItem<'_>| {
        let bytes = body.slice_ref(item.raw.as_bytes());
        let read = if decode::is_event(item.raw.as_bytes()) {
            unwrapped(origin, decode::structured(&bytes))
        } else {
            of_schema(item, body)
        };
        match read {
            Ok((event, subject)) => Item::Event(Box::new(event), subject),
            Err(error) => Item::Undecodable { bytes, error },
        }
    };
    items.iter().map(item).collect()
}

fn of_schema(item: &EventGridItem<'_>, body: &Bytes) -> Result<(Event, String), String> {
    let mapped = item.mapped.as_ref().map_err(|error| error.to_string())?;
    let data = item.data.map(|data| body.slice_ref(data.as_bytes()));
    event_of(mapped.clone(), data)
}

fn d365_event(
    origin: &Origin<'_>,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<(Event, String), String> {
    let mut mapped = d365::map(origin.environment, body).map_err(|error| error.to_string())?;
    if is_size_exceeded(headers) {
        extensions::set(&mut mapped.extensions, "d365truncated", "true");
    }
    extensions::carry(headers, &mut mapped.extensions);
    event_of(mapped, Some(body.clone()))
}

/// The event of a mapped body.
///
/// # Errors
/// What is wrong with it as a CloudEvent.
pub fn event_of(mapped: Mapped, data: Option<Bytes>) -> Result<(Event, String), String> {
    let event = Event {
        id: mapped.id,
        source: mapped.source,
        event_type: mapped.event_type,
        subject: mapped.subject,
        time: mapped.time,
        datacontenttype: data.is_some().then(|| "application/json".to_owned()),
        dataschema: None,
        extensions: mapped
            .extensions
            .into_iter()
            .map(|(name, value)| (name, AttributeValue::Text(value)))
            .collect(),
        data,
    };
    event::validate(&event).map_err(|error| error.to_string())?;
    bounded(&event)?;
    Ok((event, mapped.nats_subject))
}

/// Attributes become headers of one message, which the broker bounds together with its body.
fn bounded(event: &Event) -> Result<(), String> {
    let texts = [&event.id, &event.source, &event.event_type];
    let optional = [
        &event.subject,
        &event.time,
        &event.datacontenttype,
        &event.dataschema,
    ];
    let fixed: usize = texts
        .into_iter()
        .chain(optional.into_iter().flatten())
        .map(String::len)
        .sum();
    let extensions = event.extensions.iter().map(|(name, value)| match value {
        AttributeValue::Text(text) => name.len() + text.len(),
        AttributeValue::Boolean(_) | AttributeValue::Integer(_) => name.len() + 12,
    });
    let size = fixed + extensions.sum::<usize>();
    if MAX_ATTRIBUTES < size {
        return Err(format!(
            "the attributes take {size} bytes together, expected at most {MAX_ATTRIBUTES}"
        ));
    }
    Ok(())
}

//! Takes an `Event`, gives what the guest sees of it, and back.

use bytes::Bytes;

use super::bindings::sluicegate::plugin::types;
use crate::event::{AttributeValue, Event};

/// The attributes of an event, borrowed as the guest's ABI wants them.
///
/// The list has to stand somewhere while the call borrows it.
pub(super) fn extensions(event: &Event) -> Vec<(&str, types::AttributeValueParam<'_>)> {
    event
        .extensions
        .iter()
        .map(|(name, value)| (name.as_str(), attribute(value)))
        .collect()
}

/// The guest's view of an event; the body is copied once, into the guest's memory.
pub(super) fn event<'a>(
    event: &'a Event,
    extensions: &'a [(&'a str, types::AttributeValueParam<'a>)],
) -> types::EventParam<'a> {
    types::EventParam {
        id: &event.id,
        source: &event.source,
        type_: &event.event_type,
        subject: event.subject.as_deref(),
        time: event.time.as_deref(),
        datacontenttype: event.datacontenttype.as_deref(),
        dataschema: event.dataschema.as_deref(),
        extensions,
        data: event.data.as_deref(),
    }
}

/// The event that a guest emitted, as it came: what it left empty is empty.
pub(super) fn emitted(event: types::EventResult) -> Event {
    let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
    Event {
        id: event.id,
        source: event.source,
        event_type: event.type_,
        subject: filled(event.subject),
        time: filled(event.time),
        datacontenttype: filled(event.datacontenttype),
        dataschema: filled(event.dataschema),
        extensions: event
            .extensions
            .into_iter()
            .map(|(name, value)| (name, owned(value)))
            .collect(),
        data: event.data.map(Bytes::from),
    }
}

fn attribute(value: &AttributeValue) -> types::AttributeValueParam<'_> {
    match value {
        AttributeValue::Boolean(value) => types::AttributeValueParam::Boolean(*value),
        AttributeValue::Integer(value) => types::AttributeValueParam::Integer(*value),
        AttributeValue::Text(value) => types::AttributeValueParam::Text(value),
    }
}

fn owned(value: types::AttributeValueResult) -> AttributeValue {
    match value {
        types::AttributeValueResult::Boolean(value) => AttributeValue::Boolean(value),
        types::AttributeValueResult::Integer(value) => AttributeValue::Integer(value),
        types::AttributeValueResult::Text(value) => AttributeValue::Text(value),
    }
}

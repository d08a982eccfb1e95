//! Takes events that a plug-in emits and those that are recorded of it, gives where they differ.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::digest::first;
use crate::event::{CORE, Event};

/// What differs from run to run: when it was emitted, and what the way there adds.
const PASSING: [&str; 4] = ["time", "traceparent", "tracestate", "sluicehops"];
/// Places of one event that are told,
const PLACES: usize = 20;
/// and bytes of a value.
const VALUE: usize = 1 << 10;

/// What counts of an emitted event, as JSON: `subject`, without the slot, and `event`.
pub(super) type Output = Value;

/// Makes an event comparable; `ignored` are JSON pointers into it, such as `/event/data/at`.
pub(super) fn output(subject: &str, event: &Event, ignored: &[String]) -> Output {
    let mut attributes = Map::new();
    let extensions = event.extensions.iter().map(|(name, _)| name.as_str());
    let names = CORE.into_iter().chain(extensions);
    for name in names.filter(|name| !PASSING.contains(name)) {
        if let Some(value) = event.text(name) {
            attributes.insert(name.to_owned(), Value::String(value.into_owned()));
        }
    }
    if let Some(data) = &event.data {
        let (name, value) = match serde_json::from_slice(data) {
            Ok(value) => ("data", value),
            Err(_) => match std::str::from_utf8(data) {
                Ok(text) => ("data", Value::String(text.to_owned())),
                Err(_) => ("data_base64", Value::String(STANDARD.encode(data))),
            },
        };
        attributes.insert(name.to_owned(), value);
    }
    let subject = subject.rsplit_once('.').map_or(subject, |(rest, _)| rest);
    let mut output = Value::Object(Map::from_iter([
        ("subject".to_owned(), subject.into()),
        ("event".to_owned(), Value::Object(attributes)),
    ]));
    for pointer in ignored {
        leave_out(&mut output, pointer);
    }
    output
}

fn leave_out(output: &mut Value, pointer: &str) {
    let Some((parent, name)) = pointer.rsplit_once('/') else {
        return;
    };
    if let Some(Value::Object(members)) = output.pointer_mut(parent) {
        members.remove(&name.replace("~1", "/").replace("~0", "~"));
    }
}

/// The same for outputs that are the same, however their JSON is laid out.
pub(super) fn fingerprint(output: &Output) -> u128 {
    // Members of an object are kept in the order of their names.
    u128::from_be_bytes(first(&Sha256::digest(output.to_string())))
}

/// A place at which what is recorded and what the shadow did differ.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// `emitted[0].event.data.limit`
    pub place: String,
    /// As it is recorded; none where nothing is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub then: Option<Value>,
    /// As the shadow has it; none where it has nothing.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub now: Option<Value>,
}

/// Where two lists of outputs differ.
pub(super) fn places(then: &[Output], now: &[Output]) -> Vec<Place> {
    let mut places = Vec::new();
    for at in 0..then.len().max(now.len()) {
        walk(
            &format!("emitted[{at}]"),
            then.get(at),
            now.get(at),
            &mut places,
        );
    }
    places.truncate(PLACES);
    places
}

fn walk(place: &str, then: Option<&Value>, now: Option<&Value>, places: &mut Vec<Place>) {
    if PLACES <= places.len() || then == now {
        return;
    }
    match (then, now) {
        (Some(Value::Object(one)), Some(Value::Object(other))) => {
            let more = other.keys().filter(|name| !one.contains_key(*name));
            for name in one.keys().chain(more) {
                let place = format!("{place}.{name}");
                walk(&place, one.get(name), other.get(name), places);
            }
        }
        (Some(Value::Array(one)), Some(Value::Array(other))) => {
            for at in 0..one.len().max(other.len()) {
                let place = format!("{place}[{at}]");
                walk(&place, one.get(at), other.get(at), places);
            }
        }
        (then, now) => places.push(Place {
            place: place.to_owned(),
            then: then.map(cut),
            now: now.map(cut),
        }),
    }
}

/// A value as it is told: a long one as the beginning of its text.
fn cut(value: &Value) -> Value {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if text.len() <= VALUE {
        return value.clone();
    }
    let kept = text
        .get(..text.floor_char_boundary(VALUE))
        .unwrap_or_default();
    Value::String(format!("{kept}… ({} bytes)", text.len()))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::*;
    use crate::event::AttributeValue;

    fn event(data: &'static str) -> Event {
        Event {
            id: "1".to_owned(),
            source: "/sluicegate/watch".to_owned(),
            event_type: "t".to_owned(),
            time: Some("2026-11-01T00:00:00Z".to_owned()),
            extensions: vec![
                ("sluicehops".to_owned(), AttributeValue::Integer(1)),
                ("level".to_owned(), AttributeValue::Integer(7)),
            ],
            data: Some(Bytes::from_static(data.as_bytes())),
            ..Event::default()
        }
    }

    const SUBJECT: &str = "d365.custom.x.business.y.raised.3";

    #[test]
    fn layout_time_and_slot_do_not_count_and_digits_do() {
        let one = output(SUBJECT, &event("{\"b\":1,\"a\":2.50}"), &[]);
        let mut later = event("{ \"a\": 2.50, \"b\": 1 }");
        later.time = None;
        later.extensions.reverse();
        later.extensions.retain(|(name, _)| name != "sluicehops");
        // As a text, which is how the broker keeps it.
        for (_, value) in &mut later.extensions {
            *value = AttributeValue::Text(value.to_string());
        }
        let other = output("d365.custom.x.business.y.raised.4", &later, &[]);
        assert_eq!(fingerprint(&one), fingerprint(&other));
        assert!(places(std::slice::from_ref(&one), &[other]).is_empty());
        let digits = output(SUBJECT, &event("{\"a\":2.5,\"b\":1}"), &[]);
        let found = places(&[one], &[digits]);
        let place = found.first().expect("a place");
        assert_eq!(place.place, "emitted[0].event.data.a");
        assert_eq!(
            place.then.as_ref().map(Value::to_string).as_deref(),
            Some("2.50")
        );
    }

    #[test]
    fn what_is_ignored_does_not_count() {
        let ignored = [
            "/event/data/at".to_owned(),
            "/event/data/no/such".to_owned(),
        ];
        let one = output(SUBJECT, &event("{\"at\":1,\"n\":1}"), &ignored);
        let other = output(SUBJECT, &event("{\"at\":2,\"n\":1}"), &ignored);
        assert_eq!(one, other);
    }

    #[test]
    fn an_event_too_many_and_one_too_few_are_places() {
        let one = output(SUBJECT, &event("{}"), &[]);
        let found = places(std::slice::from_ref(&one), &[]);
        assert_eq!(found.len(), 1);
        assert!(found.iter().all(|place| place.now.is_none()));
        let found = places(&[], &[one]);
        assert!(found.iter().all(|place| place.then.is_none()));
    }

    #[test]
    fn what_is_told_is_bounded() {
        let long = "x".repeat(VALUE * 2);
        let wide: Vec<Value> = (0..100).map(|_| json!(long)).collect();
        let found = places(&[json!({ "event": wide })], &[json!({ "event": [] })]);
        assert_eq!(found.len(), PLACES);
        for place in found {
            let told = place.then.expect("a value").to_string();
            assert!(told.len() < VALUE + 100, "{}", told.len());
        }
    }
}

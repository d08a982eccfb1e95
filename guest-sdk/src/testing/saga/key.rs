//! Takes an event and what the manifest says of its type, gives the key of its saga.

use serde_json::Value;
use sluicegate_saga::matches;

use crate::Event;

/// Bytes of a key.
const MAX_KEY: usize = 512;

/// What an event is for a saga.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum As {
    /// It begins one.
    Start,
    /// It begins one, or is of one that has begun.
    Both,
    /// It is of one.
    On,
}

/// The key of an event's saga, and what it is for that.
pub(super) fn find(
    starts: &[(String, String)],
    on: &[(String, String)],
    event: &Event,
) -> (String, As) {
    let of_type = |rule: &&(String, String)| matches(&rule.0, event.event_type());
    let start = starts.iter().find(of_type);
    let places: Vec<&str> = match start {
        Some((_, place)) => vec![place],
        None => on
            .iter()
            .filter(of_type)
            .map(|(_, place)| &**place)
            .collect(),
    };
    assert!(
        !places.is_empty(),
        "no saga hears of the type {:?}: name it with starts(…) or on(…), as in plugin.toml",
        event.event_type()
    );
    // A type may have its key in several places.
    match places.iter().find_map(|place| at(place, event)) {
        Some(key) => {
            let of = match (start.is_some(), on.iter().any(|rule| of_type(&rule))) {
                (true, false) => As::Start,
                (true, true) => As::Both,
                (false, _) => As::On,
            };
            (key, of)
        }
        None => panic!(
            "the event of type {:?} has no key at {}: {}",
            event.event_type(),
            places.join(" or "),
            String::from_utf8_lossy(event.data())
        ),
    }
}

fn at(place: &str, event: &Event) -> Option<String> {
    let key = match place.strip_prefix("data:") {
        None => event.text(place)?.into_owned(),
        Some(pointer) => match event.json::<Value>().ok()?.pointer(pointer)? {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
        },
    };
    let is_key = (1..=MAX_KEY).contains(&key.len()) && !key.contains(char::is_control);
    is_key.then_some(key)
}

//! Takes what a saga asks of itself, or a person of it, gives the event that says so, and back.

use sluicegate_d365::slot;
use sluicegate_saga::{Own, Saga};

use crate::clock;
use crate::event::{AttributeValue, Event};
use crate::plugin::instance::Call;
use crate::plugin::store::Emitted;
use crate::route::SAGA_PREFIX;

/// How the types of these events begin. No other event may have one.
pub const OWN_TYPE: &str = "sluicegate.saga.";

/// What an event asks of a saga; none where it is another event.
///
/// # Errors
/// When it cannot be read.
pub fn read(event: &Event) -> Result<Option<Own>, String> {
    if !event.event_type.starts_with(OWN_TYPE) {
        return Ok(None);
    }
    let data = event.data.as_deref().unwrap_or_default();
    let own = serde_json::from_slice(data);
    let own = own.map_err(|error| format!("what is asked of the saga cannot be read: {error}"));
    own.map(Some)
}

/// What a saga asks of itself, in the course of a call.
pub(super) fn event(plugin: &str, call: &Call, saga: &Saga, own: &Own) -> Emitted {
    let (name, id) = match own {
        Own::Next { run, number } => ("next", format!("{run}.{number}")),
        Own::Timeout { run, number } => ("timeout", format!("{run}.{number}.timeout")),
        Own::Forget { run } => ("forget", format!("{run}.forget")),
        // Persons ask so, and name the event themselves.
        Own::Cancel { .. } => ("cancel", format!("{}.{}.cancel", saga.run, saga.number)),
        Own::Retry { .. } => ("retry", format!("{}.{}.retry", saga.run, saga.number)),
    };
    let text = |name: &str, value: &str| (name.to_owned(), AttributeValue::Text(value.to_owned()));
    let mut extensions = vec![
        text("partitionkey", &call.key),
        text("correlationid", &saga.correlation),
        text("causationid", &call.event.id),
    ];
    let carried = call.event.text("traceparent").map(Into::into);
    if let Some(traceparent) = call.span.traceparent().or(carried) {
        extensions.push(text("traceparent", &traceparent));
    }
    let hops = AttributeValue::Integer(saga.hops);
    extensions.push(("sluicehops".to_owned(), hops));
    // One that begins when another with its key is forgotten is another one.
    let id = format!("{}#{}.{id}", call.key, saga.began);
    emitted(plugin, &call.key, (name, id), own, extensions)
}

/// What a person asks of a saga; `id` is new each time.
pub fn ask(plugin: &str, key: &str, id: &str, own: &Own) -> (String, Event) {
    let name = match own {
        Own::Cancel { .. } => "cancel",
        Own::Retry { .. } => "retry",
        Own::Next { .. } => "next",
        Own::Timeout { .. } => "timeout",
        Own::Forget { .. } => "forget",
    };
    let key_text = AttributeValue::Text(key.to_owned());
    let extensions = vec![("partitionkey".to_owned(), key_text)];
    let asked = emitted(plugin, key, (name, id.to_owned()), own, extensions);
    (asked.subject, asked.event)
}

fn emitted(
    plugin: &str,
    key: &str,
    (name, id): (&str, String),
    own: &Own,
    extensions: Vec<(String, AttributeValue)>,
) -> Emitted {
    let event = Event {
        id,
        source: format!("/sluicegate/{plugin}/sagas"),
        event_type: format!("{OWN_TYPE}{name}"),
        subject: Some(key.to_owned()),
        time: Some(clock::rfc3339(clock::unix_millis())),
        datacontenttype: Some("application/json".to_owned()),
        dataschema: None,
        extensions,
        data: serde_json::to_vec(own).ok().map(Into::into),
    };
    Emitted {
        subject: format!("{SAGA_PREFIX}{plugin}.{}", slot(key)),
        event,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_read_back() {
        for own in [
            Own::Cancel {
                by: "vera".to_owned(),
                reason: "a mistake".to_owned(),
            },
            Own::Retry {
                by: "vera".to_owned(),
                done: true,
            },
            Own::Next { run: 1, number: 7 },
        ] {
            let (subject, event) = ask("otc", "order/1", "x", &own);
            assert!(subject.starts_with("d365.saga.otc."), "{subject}");
            crate::event::validate(&event).unwrap();
            assert_eq!(read(&event), Ok(Some(own)));
        }
        assert_eq!(read(&Event::default()), Ok(None));
    }
}

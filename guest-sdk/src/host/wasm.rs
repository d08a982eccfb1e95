//! Takes the host's call, gives it to the plug-in's function; takes the SDK's calls, gives
//! them to the component's imports.

mod http;
mod saga;

pub(crate) use http::send;
pub use saga::{compensate, step};

use std::panic::PanicHookInfo;
use std::sync::Once;
use std::time::Duration;

use crate::bindings::projection::sluicegate::plugin::rows;
use crate::bindings::sluicegate::plugin as wit;
use crate::extract::{Call, Handler};
use crate::{Attribute, Delivery, Event, Failure, Migrated, log::Level};

/// What the export calls: `consumer` is the function under `#[consumer]`.
pub fn handle<P>(
    event: wit::types::Event,
    delivery: wit::types::Delivery,
    consumer: impl Handler<P>,
) -> Result<(), wit::types::Failure> {
    speak_up();
    let call = Call::new(event.into(), delivery.into());
    consumer.handle(call).map_err(Into::into)
}

/// What the export calls: `projection` is the function under `#[projection]`.
pub fn apply<P>(
    event: wit::types::Event,
    delivery: wit::types::Delivery,
    projection: impl Handler<P>,
) -> Result<(), wit::types::Failure> {
    handle(event, delivery, projection)
}

/// What the export calls: `migration` is the function under `#[migrate]`.
pub fn migrate(
    from: u16,
    key: String,
    value: Vec<u8>,
    migration: fn(u16, String, Vec<u8>) -> Migrated,
) -> Result<Vec<(String, Vec<u8>)>, String> {
    speak_up();
    migration(from, key, value).map_err(|failure| failure.message().to_owned())
}

fn speak_up() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| std::panic::set_hook(Box::new(report)));
}

/// A trap alone would tell the operator that something was unreachable, and nothing else.
fn report(panic: &PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("a value that is no text");
    match panic.location() {
        Some(place) => log(Level::Error, &format!("panicked at {place}: {message}")),
        None => log(Level::Error, &format!("panicked: {message}")),
    }
}

pub(crate) fn log(level: Level, message: &str) {
    let level = match level {
        Level::Trace => wit::log::Level::Trace,
        Level::Debug => wit::log::Level::Debug,
        Level::Info => wit::log::Level::Info,
        Level::Warn => wit::log::Level::Warn,
        Level::Error => wit::log::Level::Error,
    };
    wit::log::log(level, message);
}

pub(crate) fn config_get(key: &str) -> Option<String> {
    wit::config::get(key)
}

pub(crate) fn state_get(key: &str) -> Option<Vec<u8>> {
    wit::state::get(key)
}

pub(crate) fn state_put(key: &str, value: &[u8]) {
    wit::state::put(key, value);
}

pub(crate) fn state_delete(key: &str) {
    wit::state::delete(key);
}

pub(crate) fn rows_get(table: &str, key: &str) -> Option<Vec<u8>> {
    rows::get(table, key)
}

pub(crate) fn rows_put(table: &str, key: &str, row: &[u8]) {
    rows::put(table, key, row);
}

pub(crate) fn rows_delete(table: &str, key: &str) {
    rows::delete(table, key);
}

pub(crate) fn emit(subject: &str, event: Event) {
    wit::outbox::emit(subject, &event.into());
}

impl From<wit::types::Event> for Event {
    fn from(event: wit::types::Event) -> Self {
        let extensions = event.extensions.into_iter();
        Self {
            id: event.id,
            source: event.source,
            event_type: event.type_,
            subject: event.subject,
            time: event.time,
            data_content_type: event.datacontenttype,
            data_schema: event.dataschema,
            extensions: extensions
                .map(|(name, value)| (name, value.into()))
                .collect(),
            data: event.data,
        }
    }
}

impl From<Event> for wit::types::Event {
    fn from(event: Event) -> Self {
        let extensions = event.extensions.into_iter();
        Self {
            id: event.id,
            source: event.source,
            type_: event.event_type,
            subject: event.subject,
            time: event.time,
            datacontenttype: event.data_content_type,
            dataschema: event.data_schema,
            extensions: extensions
                .map(|(name, value)| (name, value.into()))
                .collect(),
            data: event.data,
        }
    }
}

impl From<wit::types::AttributeValue> for Attribute {
    fn from(value: wit::types::AttributeValue) -> Self {
        match value {
            wit::types::AttributeValue::Boolean(value) => Self::Boolean(value),
            wit::types::AttributeValue::Integer(value) => Self::Integer(value),
            wit::types::AttributeValue::Text(value) => Self::Text(value),
        }
    }
}

impl From<Attribute> for wit::types::AttributeValue {
    fn from(value: Attribute) -> Self {
        match value {
            Attribute::Boolean(value) => Self::Boolean(value),
            Attribute::Integer(value) => Self::Integer(value),
            Attribute::Text(value) => Self::Text(value),
        }
    }
}

impl From<wit::types::Delivery> for Delivery {
    fn from(delivery: wit::types::Delivery) -> Self {
        Self {
            attempt: delivery.attempt,
            idempotency_key: delivery.idempotency_key,
            partition_key: delivery.partition_key,
            sequence: delivery.sequence,
            deadline: Duration::from_millis(delivery.deadline_ms.into()),
            is_replay: delivery.is_replay,
            traceparent: delivery.traceparent,
        }
    }
}

impl From<Failure> for wit::types::Failure {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Retry { after, message } => Self::Retry(wit::types::RetryRequest {
                after_ms: after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
                message,
            }),
            Failure::Reject { message } => Self::Reject(message),
        }
    }
}

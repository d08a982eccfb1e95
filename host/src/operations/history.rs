//! Takes the event store, gives events: one, the newest, those that are looked for, and the story of one.

use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use async_nats::jetstream::stream::{RawMessageErrorKind, Stream};

pub use self::search::{Found, Query, Row, search};
pub use self::stored::Stored;
pub use self::story::{Story, story};
use crate::broker::{EVENTS, ReadError};

pub mod find;
mod search;
pub mod stored;
mod story;

/// Why events cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The stream is not there, or does not answer.
    #[error("{EVENTS} cannot be read: {0}")]
    Events(String),
    /// No such event.
    #[error("there is no event {0}")]
    None(String),
    /// Its body is somewhere else, and cannot be had.
    #[error("its body cannot be had: {0}")]
    Body(String),
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        Self::Events(error.to_string())
    }
}

/// The stream.
///
/// # Errors
/// [`Error::Events`].
pub async fn stream(context: &Context) -> Result<Stream, Error> {
    let stream = context.get_stream(EVENTS).await;
    stream.map_err(|error| {
        Error::Events(format!(
            "{error}; has `sluice run` ever been connected to this broker?"
        ))
    })
}

/// The event with this number.
///
/// # Errors
/// [`Error::None`], which says which numbers there are.
pub async fn one(context: &Context, events: &Stream, sequence: u64) -> Result<Stored, Error> {
    match events.get_raw_message(sequence).await {
        Ok(message) => Stored::read(context, message).await,
        Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => {
            Err(Error::None(missing(events, sequence).await))
        }
        Err(error) => Err(Error::Events(error.to_string())),
    }
}

async fn missing(events: &Stream, sequence: u64) -> String {
    match find::ends(events).await {
        Ok((first, last)) if first <= last => {
            format!("{sequence}; {EVENTS} holds {first} to {last}, with gaps")
        }
        Ok(_) => format!("{sequence}; {EVENTS} is empty"),
        Err(_) => sequence.to_string(),
    }
}

/// Every header and each of its values, sorted: the map has no order of its own.
pub fn sorted(headers: &HeaderMap) -> Vec<(&str, &str)> {
    let mut sorted: Vec<(&str, &str)> = headers
        .iter()
        .flat_map(|(name, values)| {
            let name: &str = name.as_ref();
            values.iter().map(move |value| (name, value.as_str()))
        })
        .collect();
    sorted.sort_unstable();
    sorted
}

//! Takes the event store, gives events: one, the newest, those that are looked for, all of them, and the story of one.

use std::ops::ControlFlow;

use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::jetstream::stream::Stream;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub use self::export::{Bounds, Export};
pub use self::find::ends;
pub use self::search::{Found, MOST, Query, Row, search, search_by};
pub use self::stored::Stored;
pub use self::story::{Story, story};
use super::audit;
use crate::broker::{EVENTS, ReadError, message, read};
use crate::redacted::{self, Mark};

pub(super) mod export;
pub mod find;
pub mod index;
pub mod record;
pub(super) mod search;
pub mod stored;
mod story;

/// Clocks of the broker and of who writes to the audit differ by less.
const SKEW: time::Duration = time::Duration::minutes(1);
/// Events behind a deed that are looked at for an envelope.
const LOOKED_AT: usize = 250_000;

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

/// The event with this number; of one that was redacted, the envelope, which has another number.
///
/// # Errors
/// [`Error::None`], which says which numbers there are.
pub async fn one(context: &Context, events: &Stream, sequence: u64) -> Result<Stored, Error> {
    if let Some(message) = message(events, sequence).await? {
        return Stored::read(context, message).await;
    }
    // A broker that no host of this version was connected to has no audit, and no envelopes.
    let deeds = redacted::deeds(context).await.unwrap_or_default();
    let of_it = |(_, deed): &&(audit::Entry, redacted::Deed)| deed.events.contains(&sequence);
    let Some((entry, deed)) = deeds.iter().find(of_it) else {
        return Err(Error::None(missing(events, sequence).await));
    };
    let envelope = match envelope(events, sequence, &entry.time).await? {
        Some(place) => message(events, place).await?,
        None => None,
    };
    match envelope {
        Some(envelope) => Stored::read(context, envelope).await,
        None => Err(Error::None(format!(
            "{sequence} any more: it was redacted by {}, {}, on {} ({}), and its envelope is not \
             in {EVENTS} either",
            entry.who.name, entry.who.via, entry.time, deed.why
        ))),
    }
}

/// Where the envelope of an event stands that was redacted at this time or later.
async fn envelope(events: &Stream, sequence: u64, time: &str) -> Result<Option<u64>, Error> {
    let start_time = OffsetDateTime::parse(time, &Rfc3339).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let what = pull::Config {
        deliver_policy: DeliverPolicy::ByStartTime {
            start_time: start_time - SKEW,
        },
        headers_only: true,
        ..pull::Config::default()
    };
    let (mut found, mut left) = (None, LOOKED_AT);
    read(events, what, |message| {
        let mark = message.headers.as_ref().and_then(Mark::read);
        if mark.is_some_and(|mark| mark.sequence == sequence) {
            found = message.info().ok().map(|info| info.stream_sequence);
        }
        left -= 1;
        if found.is_some() || left == 0 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })
    .await?;
    Ok(found)
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

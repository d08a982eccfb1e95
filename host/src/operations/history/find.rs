//! Takes an event's id or a number of events, gives the sequence where to read.

use async_nats::jetstream::consumer::pull::{Ordered, OrderedConfig};
use async_nats::jetstream::consumer::{Consumer, DeliverPolicy};
use async_nats::jetstream::stream::Stream;
use futures_util::{StreamExt, stream};

use super::Error;
use crate::decode;

/// How many sequences back the first look goes; each further one goes this times [`FURTHER`].
const FIRST_LOOK: u64 = 10_000;
const FURTHER: u64 = 8;
/// Structured events that are fetched side by side.
const FETCHED: usize = 64;

/// First and last sequence of a stream; last is below first when it is empty.
///
/// # Errors
/// When it does not answer.
pub async fn ends(events: &Stream) -> Result<(u64, u64), Error> {
    let info = events.get_info().await;
    let info = info.map_err(|error| Error::Events(error.to_string()))?;
    Ok((info.state.first_sequence, info.state.last_sequence))
}

/// A reader of what matches `filter` from `start` on, and how many that are now.
///
/// # Errors
/// When the stream cannot be read.
pub async fn reader(
    events: &Stream,
    filter: &str,
    start: u64,
    headers_only: bool,
) -> Result<(Ordered, u64), Error> {
    let consumer: Consumer<OrderedConfig> = events
        .create_consumer(OrderedConfig {
            filter_subject: filter.to_owned(),
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: start.max(1),
            },
            headers_only,
            ..OrderedConfig::default()
        })
        .await
        .map_err(|error| Error::Events(format!("at {start}, on {filter}: {error}")))?;
    let pending = consumer.cached_info().num_pending;
    let messages = consumer.messages().await;
    let messages = messages.map_err(|error| Error::Events(error.to_string()))?;
    Ok((messages, pending))
}

/// The newest event with this id. Headers alone are read, except of structured events, whose
/// id is in their body; the newest part of the stream is looked at first.
/// It is looked for before `before`, and among `most` numbers at the most.
///
/// # Errors
/// When the stream cannot be read.
pub async fn by_id(
    events: &Stream,
    id: &str,
    filter: &str,
    (before, most): (u64, u64),
) -> Result<Option<u64>, Error> {
    let (first, last) = ends(events).await?;
    let (mut end, mut width) = (before.min(last + 1), FIRST_LOOK);
    let first = first.max(end.saturating_sub(most));
    while first < end {
        let start = end.saturating_sub(width).max(first);
        let found = newest_between(events, id, filter, start, end).await?;
        if found.is_some() {
            return Ok(found);
        }
        end = start;
        width = width.saturating_mul(FURTHER);
    }
    Ok(None)
}

/// The newest with this id from `start` to before `end`.
async fn newest_between(
    events: &Stream,
    id: &str,
    filter: &str,
    start: u64,
    end: u64,
) -> Result<Option<u64>, Error> {
    let (mut messages, mut pending) = reader(events, filter, start, true).await?;
    let (mut found, mut structured) = (None, Vec::new());
    while 0 < pending {
        let failed = |error: String| Error::Events(error);
        let message = messages.next().await;
        let message = message.ok_or_else(|| failed("the reader went away".to_owned()))?;
        let message = message.map_err(|error| failed(error.to_string()))?;
        let info = message.info().map_err(|error| failed(error.to_string()))?;
        if end <= info.stream_sequence {
            break;
        }
        pending = info.pending;
        let headers = message.headers.as_ref();
        if headers.is_some_and(decode::is_structured) {
            structured.push(info.stream_sequence);
        } else if headers
            .and_then(|headers| decode::attribute(headers, "id"))
            .as_deref()
            == Some(id)
        {
            found = Some(info.stream_sequence);
            structured.clear();
        }
    }
    let in_body = newest_structured(events, id, structured).await?;
    Ok(in_body.or(found))
}

async fn newest_structured(
    events: &Stream,
    id: &str,
    sequences: Vec<u64>,
) -> Result<Option<u64>, Error> {
    let mut fetched = stream::iter(sequences.into_iter().rev())
        .map(|sequence| events.get_raw_message(sequence))
        .buffered(FETCHED);
    while let Some(message) = fetched.next().await {
        // One that has left the store meanwhile is none that can be shown.
        let Ok(message) = message else { continue };
        let event = decode::decode(Some(&message.headers), &message.payload);
        if event.is_ok_and(|event| event.id == id) {
            return Ok(Some(message.sequence));
        }
    }
    Ok(None)
}

/// Where to start so that the last `wanted` events that match come, and how many come before
/// them. Nothing is read for it: the broker counts.
///
/// # Errors
/// When the stream cannot be read.
pub async fn last(
    events: &Stream,
    filter: &str,
    wanted: u64,
) -> Result<(Ordered, u64, u64), Error> {
    let (first, last) = ends(events).await?;
    let mut width = wanted;
    loop {
        let start = (last + 1).saturating_sub(width).max(first);
        let (messages, pending) = reader(events, filter, start, false).await?;
        if wanted <= pending || start <= first {
            return Ok((messages, pending, pending.saturating_sub(wanted)));
        }
        width = width.saturating_mul(FURTHER);
    }
}

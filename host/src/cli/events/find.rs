//! Takes an event's id or a number of events, gives the sequence where to read.

use anyhow::Context as _;
use async_nats::jetstream::consumer::pull::{Ordered, OrderedConfig};
use async_nats::jetstream::consumer::{Consumer, DeliverPolicy};
use async_nats::jetstream::stream::Stream;
use futures_util::{StreamExt, stream};

use crate::decode;

/// How many sequences back the first look goes; each further one goes this times [`FURTHER`].
const FIRST_LOOK: u64 = 10_000;
const FURTHER: u64 = 8;
/// Structured events that are fetched side by side.
const FETCHED: usize = 64;

/// First and last sequence of a stream; last is below first when it is empty.
pub(super) async fn ends(events: &Stream) -> anyhow::Result<(u64, u64)> {
    let info = events.get_info().await.context("EVENTS does not answer")?;
    Ok((info.state.first_sequence, info.state.last_sequence))
}

/// A reader of what matches `filter` from `start` on, and how many that are now.
pub(super) async fn reader(
    events: &Stream,
    filter: &str,
    start: u64,
    headers_only: bool,
) -> anyhow::Result<(Ordered, u64)> {
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
        .with_context(|| format!("EVENTS cannot be read at {start} with --subject {filter}"))?;
    let pending = consumer.cached_info().num_pending;
    let messages = consumer.messages().await;
    Ok((messages.context("EVENTS cannot be read")?, pending))
}

/// The newest event with this id. Headers alone are read, except of structured events, whose
/// id is in their body; the newest part of the stream is looked at first.
pub(super) async fn by_id(events: &Stream, id: &str, filter: &str) -> anyhow::Result<Option<u64>> {
    let (first, last) = ends(events).await?;
    let (mut end, mut width) = (last + 1, FIRST_LOOK);
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
) -> anyhow::Result<Option<u64>> {
    let (mut messages, mut pending) = reader(events, filter, start, true).await?;
    let (mut found, mut structured) = (None, Vec::new());
    while 0 < pending {
        let message = messages.next().await.context("the reader went away")??;
        let info = message.info().map_err(|error| anyhow::anyhow!("{error}"))?;
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
) -> anyhow::Result<Option<u64>> {
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
pub(super) async fn last(
    events: &Stream,
    filter: &str,
    wanted: u64,
) -> anyhow::Result<(Ordered, u64, u64)> {
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

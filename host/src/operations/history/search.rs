//! Takes what an event is like, gives those that are so, the newest first, and how far back was looked.

use std::ops::ControlFlow;

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::jetstream::stream::Stream;
use futures_util::{StreamExt as _, stream};
use serde::Serialize;
use sluicegate_d365::slot;
use time::OffsetDateTime;

use super::index::Index;
use super::stored::rfc3339;
use super::{Error, Stored, find};
use crate::broker::read;
use crate::claim_check;
use crate::clock;
use crate::decode::{attribute, decode, is_structured};
use crate::event::Event;
use crate::manifest::subject_matches;
use crate::redacted::Mark;
use crate::route::{REPLAY_PREFIX, SAGA_PREFIX};

/// How many numbers the first look goes back; each further one goes this times [`FURTHER`].
const FIRST_LOOK: u64 = 2_000;
const FURTHER: u64 = 4;
/// Numbers that are looked at for one answer.
pub const MOST: u64 = 250_000;
/// Events that are fetched side by side.
const FETCHED: usize = 64;

/// What an event is like; what is empty does not count.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// A subject, `*` and `>` as NATS has them.
    pub subject: String,
    /// Its type; `*` at the end stands for any end.
    pub event_type: String,
    /// Its partition key.
    pub key: String,
    /// Its id.
    pub id: String,
    /// Its correlation id; an event with that very id begins what is correlated.
    pub correlation: String,
    /// Unix milliseconds; not stored before.
    pub since: Option<u64>,
    /// Unix milliseconds; not stored after.
    pub until: Option<u64>,
}

/// An event in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// In the event store.
    pub sequence: u64,
    /// When the broker took it, RFC 3339.
    pub stored: String,
    /// On which it stands.
    pub subject: String,
    /// Its id.
    pub id: String,
    /// Its type.
    pub event_type: String,
    /// Its partition key.
    pub key: String,
    /// What it belongs to.
    pub correlation: String,
    /// What it comes of.
    pub causation: String,
    /// It was redacted, and this is its envelope.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redacted: Option<Mark>,
}

/// What was found.
#[derive(Debug, Default, Serialize)]
pub struct Found {
    /// The newest first.
    pub events: Vec<Row>,
    /// Where to look on: before this number. None when there is nothing before it.
    pub before: Option<u64>,
}

/// Looks back from before `before` until so many are found, or enough was looked at.
///
/// # Errors
/// When the stream cannot be read.
pub async fn search(
    events: &Stream,
    query: &Query,
    before: Option<u64>,
    wanted: usize,
) -> Result<Found, Error> {
    let (first, last) = find::ends(events).await?;
    let end = before.unwrap_or(u64::MAX).min(last + 1);
    let (first, mut end) = bounds(events, query, (first, end)).await?;
    let least = end.saturating_sub(MOST).max(first);
    let mut found = Found::default();
    let mut width = FIRST_LOOK;
    while least < end && found.events.len() < wanted {
        let start = end.saturating_sub(width).max(least);
        let mut rows = between(events, query, start, end).await?;
        rows.reverse();
        found.events.append(&mut rows);
        end = start;
        width = width.saturating_mul(FURTHER);
    }
    found.before = (first < end).then_some(end);
    if wanted < found.events.len() {
        found.events.truncate(wanted);
        found.before = found.events.last().map(|row| row.sequence);
    }
    Ok(found)
}

/// Looks where the index says that something may be, before `before`, until so many are found.
///
/// # Errors
/// When the stream cannot be read.
pub async fn search_by(
    index: &Index,
    events: &Stream,
    query: &Query,
    before: Option<u64>,
    wanted: usize,
) -> Result<Vec<Row>, Error> {
    let (first, last) = find::ends(events).await?;
    let end = before.unwrap_or(u64::MAX).min(last + 1);
    let (first, end) = bounds(events, query, (first, end)).await?;
    let mut found = Vec::new();
    for (start, end) in joined(index.spans(query, first, end)) {
        let mut rows = between(events, query, start, end).await?;
        rows.reverse();
        found.append(&mut rows);
        if wanted <= found.len() {
            break;
        }
    }
    found.truncate(wanted);
    Ok(found)
}

/// Those that lie side by side as one, the newest first: a look costs the broker more than the
/// few thousand numbers that it goes over. The first looks stay narrow: they may have enough.
fn joined(spans: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    let mut width = FIRST_LOOK;
    let mut joined = Vec::<(u64, u64)>::new();
    for (start, end) in spans {
        match joined.last_mut() {
            Some((first, behind)) if *first == end && *behind - start <= width => *first = start,
            _ => {
                width = (width * FURTHER).min(MOST);
                joined.push((start, end));
            }
        }
    }
    joined
}

/// From which number to before which events of the query's times stand, within these.
pub(in crate::operations) async fn bounds(
    events: &Stream,
    query: &Query,
    (first, end): (u64, u64),
) -> Result<(u64, u64), Error> {
    let (mut start, mut behind) = (first, end);
    if let Some(until) = query.until {
        behind = behind.min(
            at_time(events, until.saturating_add(1))
                .await?
                .unwrap_or(end),
        );
    }
    if let Some(since) = query.since {
        start = start.max(at_time(events, since).await?.unwrap_or(end));
    }
    Ok((start, behind))
}

/// The number of the first event that was stored at this time or later.
pub(in crate::operations) async fn at_time(
    events: &Stream,
    unix_millis: u64,
) -> Result<Option<u64>, Error> {
    let nanos = i128::from(unix_millis) * 1_000_000;
    let Ok(start_time) = OffsetDateTime::from_unix_timestamp_nanos(nanos) else {
        return Ok(None);
    };
    let what = pull::Config {
        deliver_policy: DeliverPolicy::ByStartTime { start_time },
        headers_only: true,
        ..pull::Config::default()
    };
    let mut first = None;
    read(events, what, |message| {
        first = message.info().ok().map(|info| info.stream_sequence);
        ControlFlow::Break(())
    })
    .await?;
    Ok(first)
}

/// Those from `start` to before `end`, the oldest first.
async fn between(events: &Stream, query: &Query, start: u64, end: u64) -> Result<Vec<Row>, Error> {
    let what = pull::Config {
        filter_subjects: query.subjects(),
        deliver_policy: DeliverPolicy::ByStartSequence {
            start_sequence: start.max(1),
        },
        headers_only: true,
        ..pull::Config::default()
    };
    let (mut rows, mut in_body) = (Vec::new(), Vec::new());
    let none = HeaderMap::new();
    read(events, what, |message| {
        let Ok(info) = message.info() else {
            return ControlFlow::Continue(());
        };
        if end <= info.stream_sequence {
            return ControlFlow::Break(());
        }
        let headers = message.headers.as_ref().unwrap_or(&none);
        if is_structured(headers) && claim_check::taken_out(headers).is_none() {
            in_body.push(info.stream_sequence);
            return ControlFlow::Continue(());
        }
        let stored = rfc3339(info.published.unix_timestamp_nanos());
        let row = row(info.stream_sequence, stored, &message.subject, |name| {
            attribute(headers, name)
        });
        if query.meets(&row) {
            rows.push(Row {
                redacted: Mark::read(headers),
                ..row
            });
        }
        ControlFlow::Continue(())
    })
    .await?;
    let mut fetched = stream::iter(in_body)
        .map(|sequence| events.get_raw_message(sequence))
        .buffered(FETCHED);
    while let Some(message) = fetched.next().await {
        // One that has left the store meanwhile is none that can be shown.
        let Ok(message) = message else { continue };
        let Ok(event) = decode(Some(&message.headers), &message.payload) else {
            continue;
        };
        let stored = rfc3339(message.time.unix_timestamp_nanos());
        let row = of_event(message.sequence, stored, &message.subject, &event);
        if query.meets(&row) {
            rows.push(row);
        }
    }
    rows.sort_by_key(|row| row.sequence);
    Ok(rows)
}

/// An event in short.
pub(in crate::operations) fn of_event(
    sequence: u64,
    stored: String,
    subject: &str,
    event: &Event,
) -> Row {
    row(sequence, stored, subject, |name| {
        event.text(name).map(std::borrow::Cow::into_owned)
    })
}

pub(in crate::operations) fn row(
    sequence: u64,
    stored: String,
    subject: &str,
    attribute: impl Fn(&str) -> Option<String>,
) -> Row {
    let text = |name| attribute(name).unwrap_or_default();
    let id = text("id");
    let key = attribute("partitionkey").filter(|key| !key.is_empty());
    Row {
        sequence,
        stored,
        subject: subject.to_owned(),
        event_type: text("type"),
        key: key
            .or_else(|| attribute("subject"))
            .unwrap_or_else(|| id.clone()),
        correlation: text("correlationid"),
        causation: text("causationid"),
        redacted: None,
        id,
    }
}

impl Query {
    /// What is asked for, a text each, as records have it.
    pub fn texts(&self) -> Vec<String> {
        let time = |unix_millis: Option<u64>| unix_millis.map(clock::rfc3339).unwrap_or_default();
        [
            ("subject", self.subject.clone()),
            ("type", self.event_type.clone()),
            ("key", self.key.clone()),
            ("id", self.id.clone()),
            ("correlation", self.correlation.clone()),
            ("since", time(self.since)),
            ("until", time(self.until)),
        ]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name}={value}"))
        .collect()
    }

    /// Whether a message is so; when it was stored and where does not count.
    pub fn is_met_by(&self, stored: &Stored) -> bool {
        if self.is_met_by_all() {
            return true;
        }
        let (sequence, at, subject) = (stored.sequence, String::new(), &stored.subject);
        match &stored.event {
            Ok(event) => self.meets(&of_event(sequence, at, subject, event)),
            Err(_) => self.meets(&row(sequence, at, subject, |name| {
                attribute(&stored.headers, name)
            })),
        }
    }

    /// Whether an event on this subject is so; when it was stored does not count.
    pub fn is_met_by_event(&self, subject: &str, event: &Event) -> bool {
        let is_there = self.subject.is_empty() || subject_matches(&self.subject, subject);
        let is_so = || self.meets(&of_event(0, String::new(), subject, event));
        is_there && (self.is_met_by_all() || is_so())
    }

    /// Nothing is asked of attributes.
    fn is_met_by_all(&self) -> bool {
        let asked = [&self.event_type, &self.key, &self.id, &self.correlation];
        asked.iter().all(|text| text.is_empty())
    }

    /// The narrowest subjects that have every event which is so.
    pub(in crate::operations) fn subjects(&self) -> Vec<String> {
        match (self.subject.as_str(), self.key.as_str()) {
            ("", "") => vec!["d365.>".to_owned()],
            ("", key) => {
                let slot = slot(key);
                vec![
                    format!("d365.*.*.*.*.*.{slot}"),
                    format!("{REPLAY_PREFIX}*.{slot}"),
                    format!("{SAGA_PREFIX}*.{slot}"),
                ]
            }
            (subject, _) => vec![subject.to_owned()],
        }
    }

    pub(in crate::operations) fn meets(&self, row: &Row) -> bool {
        let is = |wanted: &str, found: &str| wanted.is_empty() || wanted == found;
        let of_type = match self.event_type.strip_suffix('*') {
            Some(start) => row.event_type.starts_with(start),
            None => is(&self.event_type, &row.event_type),
        };
        let correlated = is(&self.correlation, &row.correlation) || self.correlation == row.id;
        of_type && is(&self.key, &row.key) && is(&self.id, &row.id) && correlated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_looked_at_together_more_of_them_the_further_back() {
        let apart = vec![(20_000, 20_500), (10_000, 14_000), (1, 4_000)];
        assert_eq!(joined(apart.clone()), apart);

        let blocks: Vec<_> = (0..200)
            .rev()
            .map(|n| (n * 1_000, (n + 1) * 1_000))
            .collect();
        let spans = joined(blocks);
        assert_eq!(spans.last().map(|(start, _)| *start), Some(0));
        assert!(spans.is_sorted_by(|(start, _), (_, end)| start == end));
        let widths: Vec<_> = spans.iter().map(|(start, end)| end - start).collect();
        assert_eq!(widths, [8_000, 32_000, 128_000, 32_000]);
    }
}

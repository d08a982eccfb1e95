//! Takes one event, gives its story: who attempted it and how that ended, what it emitted, what it comes of.

use std::collections::HashMap;
use std::ops::ControlFlow;

use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::jetstream::stream::Stream;
use serde::Serialize;
use time::OffsetDateTime;

use super::search::{Row, of_event};
use super::{Error, Stored, find};
use crate::broker::read;
use crate::decode::{attribute, decode};
use crate::journal::{self, Told, read_page};
use crate::ledger::dead_letter as facts;
use crate::operations::letters::Summary;
use crate::redacted::Mark;
use crate::route::REPLAY_PREFIX;

/// Clocks of host and broker differ: pages are looked for from so long before the event on.
const SKEW: time::Duration = time::Duration::minutes(1);
/// Pages whose headers are looked at,
const PAGES: usize = 500_000;
/// and events behind one that are looked at for what it emitted and for its replays.
const BEHIND: u64 = 250_000;

/// All of it.
#[derive(Debug, Serialize)]
pub struct Story {
    /// The event in short; none when the message is no event.
    pub event: Option<Row>,
    /// What it comes of, if that is in the store.
    pub cause: Option<Row>,
    /// Attempts, in their order. Which of them are known, `telemetry.journal` says.
    pub attempts: Vec<Told>,
    /// What it emitted, with the plug-in that did.
    pub emitted: Vec<Emitted>,
    /// Dead letters of it that stand there.
    pub letters: Vec<Summary>,
    /// Where it was sent again: after it was a dead letter, or as a part of history.
    pub again: Vec<Row>,
}

/// An event that one emitted.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Emitted {
    /// By which plug-in.
    pub plugin: String,
    /// Its subject.
    pub subject: String,
    /// Its id.
    pub id: String,
    /// Where it stands; none when it was not found.
    pub sequence: Option<u64>,
}

/// Tells the story of an event; `letters` are the dead letters of it that stand there.
///
/// # Errors
/// When a stream cannot be read.
pub async fn story(
    context: &Context,
    events: &Stream,
    stored: &Stored,
    letters: Vec<Summary>,
) -> Result<Story, Error> {
    let row = stored.event.as_ref().ok().map(|event| Row {
        redacted: stored.redacted.clone(),
        ..of_event(
            stored.sequence,
            stored.stored.clone(),
            &stored.subject,
            event,
        )
    });
    let origin = stored.origin();
    let again = match &row {
        Some(row) if !stored.subject.starts_with(REPLAY_PREFIX) => {
            again(events, row, origin).await?
        }
        Some(_) | None => Vec::new(),
    };
    let stood = |row: &Row| {
        row.redacted
            .as_ref()
            .map_or(row.sequence, |mark| mark.sequence)
    };
    let mut places: Vec<u64> = again.iter().map(stood).collect();
    places.push(origin);
    let attempts = attempts(context, stored, &places).await?;
    let emitted = emitted(events, origin, &attempts).await?;
    let cause = match row.as_ref().filter(|row| !row.causation.is_empty()) {
        Some(row) => cause(events, row).await?,
        None => None,
    };
    Ok(Story {
        event: row,
        cause,
        attempts,
        emitted,
        letters,
        again,
    })
}

/// The same event, where an operator has sent it again after it stood at `origin`.
async fn again(events: &Stream, row: &Row, origin: u64) -> Result<Vec<Row>, Error> {
    let what = behind(origin, vec![format!("{REPLAY_PREFIX}>")]);
    let mut again = Vec::new();
    let none = HeaderMap::new();
    read(events, what, |message| {
        let Ok(info) = message.info() else {
            return ControlFlow::Continue(());
        };
        let headers = message.headers.as_ref().unwrap_or(&none);
        if headers.get(facts::REPLAY).is_some()
            && attribute(headers, "id").as_deref() == Some(&row.id)
        {
            again.push(Row {
                sequence: info.stream_sequence,
                stored: super::stored::rfc3339(info.published.unix_timestamp_nanos()),
                subject: message.subject.to_string(),
                redacted: Mark::read(headers),
                ..row.clone()
            });
        }
        within(row.sequence, info.stream_sequence)
    })
    .await?;
    Ok(again)
}

fn behind(sequence: u64, filter_subjects: Vec<String>) -> pull::Config {
    pull::Config {
        filter_subjects,
        deliver_policy: DeliverPolicy::ByStartSequence {
            start_sequence: sequence + 1,
        },
        headers_only: true,
        ..pull::Config::default()
    }
}

fn within(from: u64, sequence: u64) -> ControlFlow<()> {
    if from + BEHIND < sequence {
        ControlFlow::Break(())
    } else {
        ControlFlow::Continue(())
    }
}

/// The attempts at what stands in these places.
async fn attempts(context: &Context, stored: &Stored, places: &[u64]) -> Result<Vec<Told>, Error> {
    let Ok(pages) = context.get_stream(journal::STREAM).await else {
        // A broker that no host of this version was connected to.
        return Ok(Vec::new());
    };
    let format = &time::format_description::well_known::Rfc3339;
    let mark = stored.redacted.as_ref();
    let since = mark.map_or(&stored.stored, |mark| &mark.stored);
    let start_time = OffsetDateTime::parse(since, format).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let what = pull::Config {
        filter_subject: journal::subject(None),
        deliver_policy: DeliverPolicy::ByStartTime {
            start_time: start_time - SKEW,
        },
        headers_only: true,
        ..pull::Config::default()
    };
    let (mut wanted, mut looked) = (Vec::new(), 0);
    read(&pages, what, |message| {
        looked += 1;
        let number = |name| {
            let value = message.headers.as_ref()?.get(name)?;
            value.as_str().parse::<u64>().ok()
        };
        let speaks = number(journal::FIRST)
            .zip(number(journal::LAST))
            .is_some_and(|(first, last)| places.iter().any(|place| (first..=last).contains(place)));
        if let (true, Ok(info)) = (speaks, message.info()) {
            wanted.push(info.stream_sequence);
        }
        if PAGES < looked {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })
    .await?;
    let mut attempts = Vec::new();
    for number in wanted {
        // One that was let go of meanwhile is a gap in the story.
        let Ok(page) = pages.get_raw_message(number).await else {
            continue;
        };
        let plugin = page.subject.split('.').nth(1).unwrap_or_default();
        attempts.extend(read_page(plugin, &page.payload, |sequence| {
            places.contains(&sequence)
        }));
    }
    attempts.sort_by_key(|told| {
        (
            told.attempt.began,
            told.attempt.sequence,
            told.attempt.attempt,
        )
    });
    Ok(attempts)
}

/// What the attempts that were accepted have emitted.
async fn emitted(events: &Stream, sequence: u64, attempts: &[Told]) -> Result<Vec<Emitted>, Error> {
    let mut emitted: Vec<Emitted> = Vec::new();
    for told in attempts
        .iter()
        .filter(|told| told.attempt.ended == journal::Ended::Done)
    {
        for (subject, id) in &told.attempt.emitted {
            if emitted
                .iter()
                .any(|known| known.id == *id && known.plugin == told.plugin)
            {
                continue;
            }
            emitted.push(Emitted {
                plugin: told.plugin.clone(),
                subject: subject.clone(),
                id: id.clone(),
                sequence: None,
            });
        }
    }
    if emitted.is_empty() {
        return Ok(emitted);
    }
    let mut subjects: Vec<String> = emitted.iter().map(|one| one.subject.clone()).collect();
    subjects.sort_unstable();
    subjects.dedup();
    let mut open: HashMap<String, usize> = HashMap::new();
    for (place, one) in emitted.iter().enumerate() {
        open.insert(one.id.clone(), place);
    }
    let none = HeaderMap::new();
    read(events, behind(sequence, subjects), |message| {
        let Ok(info) = message.info() else {
            return ControlFlow::Continue(());
        };
        let headers = message.headers.as_ref().unwrap_or(&none);
        let place = attribute(headers, "id").and_then(|id| open.remove(&id));
        if let Some(one) = place.and_then(|place| emitted.get_mut(place)) {
            one.sequence = Some(info.stream_sequence);
        }
        if open.is_empty() {
            return ControlFlow::Break(());
        }
        within(sequence, info.stream_sequence)
    })
    .await?;
    Ok(emitted)
}

async fn cause(events: &Stream, row: &Row) -> Result<Option<Row>, Error> {
    let found = find::by_id(events, &row.causation, "d365.>", (row.sequence, BEHIND)).await?;
    let Some(sequence) = found else {
        return Ok(None);
    };
    let Ok(message) = events.get_raw_message(sequence).await else {
        return Ok(None);
    };
    let event = decode(Some(&message.headers), &message.payload).ok();
    let stored = super::stored::rfc3339(message.time.unix_timestamp_nanos());
    Ok(event.map(|event| Row {
        redacted: Mark::read(&message.headers),
        ..of_event(sequence, stored, &message.subject, &event)
    }))
}

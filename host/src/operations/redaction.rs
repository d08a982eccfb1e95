//! Takes what events are like, has the broker erase their data wherever it keeps it, and leaves their envelopes.
//!
//! For each event, in the order of the store: its deed stands in the audit, then its envelope is
//! stored, then it is erased. So a crash leaves the event, or its envelope, or both, and whoever
//! does it again goes on from there.

use async_nats::jetstream::Context;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::Stream;
use bytes::Bytes;
use serde_json::json;

use self::seen::Seen;
use super::blocked::{self, let_go_on};
use super::who::Who;
use super::{audit, fleet, history, letters};
use crate::broker::{DEADLETTER, EVENTS, How, LEDGER, ReadError, delete, message, open};
use crate::claim_check;
use crate::clock;
use crate::redacted::{ACTION, Deed, Mark};

pub use self::plan::{Plan, plan};
pub use self::unread::{Unread, unread};

mod bodies;
mod envelope;
mod plan;
mod seen;
mod unread;

/// Events whose deed is one entry in the audit: it names each, and the audit keeps so many bytes
/// and no more.
const OF_ONE_DEED: usize = 500;

/// Why nothing is redacted, or no more.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The event store cannot be read.
    #[error(transparent)]
    History(#[from] history::Error),
    /// Another stream cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Dead letters cannot be had.
    #[error(transparent)]
    Letters(#[from] letters::Error),
    /// The hosts cannot be asked what they have read.
    #[error(transparent)]
    Fleet(#[from] fleet::Error),
    /// It cannot be written down.
    #[error(transparent)]
    Audit(#[from] audit::Error),
    /// The key that waits for a dead letter could not be told to go on.
    #[error(transparent)]
    Blocked(#[from] blocked::Error),
    /// The object store does not answer.
    #[error(transparent)]
    Body(#[from] claim_check::Error),
    /// The broker does not do it.
    #[error("{what}: {reason}; do it again: it goes on where it stopped")]
    Broker {
        /// What was wanted of the broker.
        what: String,
        /// What it says.
        reason: String,
    },
}

fn broker(what: String) -> impl FnOnce(String) -> Error {
    move |reason| Error::Broker { what, reason }
}

/// Who wants it, why, and how it was looked for.
#[derive(Debug)]
pub struct Order {
    /// Who.
    pub who: Who,
    /// Why: it stands in the audit and on each envelope.
    pub why: String,
    /// The conditions, as the audit has them.
    pub conditions: Vec<String>,
}

/// What was done so far.
#[derive(Debug, Default)]
pub struct Done {
    /// Where each event stood, and where its envelope stands.
    pub events: Vec<(u64, u64)>,
    /// Dead letters that were discarded.
    pub dead_letters: Vec<u64>,
    /// Messages of the ledger that were erased.
    pub copies: usize,
    /// Bodies of the object store that were erased.
    pub bodies: usize,
    /// Those that other events have as well.
    pub shared: Vec<String>,
}

/// Does what was planned; `each` hears how far it is.
///
/// # Errors
/// When something could not be done: what comes behind it is as it was.
pub async fn redact(
    context: &Context,
    order: &Order,
    plan: &Plan,
    mut each: impl FnMut(&Done),
) -> Result<Done, Error> {
    let events = history::stream(context).await?;
    let ledger = open(context, LEDGER).await?;
    let mut done = Done::default();
    for part in plan.events.chunks(OF_ONE_DEED) {
        let places: Vec<u64> = part.iter().map(|seen| seen.sequence).collect();
        let about = match places.as_slice() {
            [one] => format!("event {one}"),
            many => format!("{} events of {EVENTS}", many.len()),
        };
        record(context, order, &about, places, Vec::new()).await?;
        let at = clock::rfc3339(clock::unix_millis());
        for seen in part {
            let mark = Mark {
                sequence: seen.sequence,
                stored: seen.row.stored.clone(),
                by: format!("{}, {}", order.who.name, order.who.via),
                at: at.clone(),
                why: order.why.clone(),
            };
            let known = plan.envelope_of(seen);
            event(context, (&events, &ledger), (&mark, known), &mut done).await?;
            each(&done);
        }
    }
    letters_and_copies(context, order, plan, &mut done, &mut each).await?;
    bodies::erase(context, &plan.bodies, &mut done).await?;
    each(&done);
    Ok(done)
}

async fn record(
    context: &Context,
    order: &Order,
    about: &str,
    events: Vec<u64>,
    dead_letters: Vec<u64>,
) -> Result<(), Error> {
    let deed = Deed {
        why: order.why.clone(),
        conditions: order.conditions.clone(),
        events,
        dead_letters,
    };
    let recorded = audit::record(context, &order.who, ACTION, about, json!(deed));
    Ok(recorded.await?)
}

/// One event: its envelope, then the copy that it came from, then itself.
async fn event(
    context: &Context,
    (events, ledger): (&Stream, &Stream),
    (mark, known): (&Mark, Option<u64>),
    done: &mut Done,
) -> Result<(), Error> {
    let sequence = mark.sequence;
    let Some(message) = message(events, sequence).await? else {
        // It left the store meanwhile.
        return Ok(());
    };
    let place = match known {
        Some(place) => place,
        None => {
            let what = || {
                broker(format!(
                    "the envelope of event {sequence} is not stored, for which a full {EVENTS} \
                     needs more room (events.max_bytes)"
                ))
            };
            let headers = envelope::of(&message, mark);
            let sent = context.publish_with_headers(message.subject.clone(), headers, Bytes::new());
            let ack = sent.await.map_err(|error| what()(error.to_string()))?;
            ack.await
                .map_err(|error| what()(error.to_string()))?
                .sequence
        }
    };
    // Were it erased after the event, a broker that is started between the two would carry it over
    // once more.
    if let Some(copy) = envelope::copy_in_ledger(&message)
        && is_copy(ledger, copy, &message).await?
    {
        done.copies += usize::from(erase(context, LEDGER, copy).await?);
    }
    erase(context, EVENTS, sequence).await?;
    done.events.push((sequence, place));
    Ok(())
}

/// Whether the ledger has this event there: it could have been made anew since.
async fn is_copy(ledger: &Stream, place: u64, event: &StreamMessage) -> Result<bool, Error> {
    let Some(found) = message(ledger, place).await? else {
        return Ok(false);
    };
    let id = |message: &StreamMessage| message.headers.get("ce-id").cloned();
    Ok(found.subject.starts_with("ledger.out.") && id(&found) == id(event))
}

/// Copies first, so that none is carried over again; a key that waits for a dead letter goes on.
async fn letters_and_copies(
    context: &Context,
    order: &Order,
    plan: &Plan,
    done: &mut Done,
    each: &mut impl FnMut(&Done),
) -> Result<(), Error> {
    let numbers: Vec<u64> = plan.letters.iter().map(|seen| seen.sequence).collect();
    if numbers.is_empty() && plan.copies.is_empty() && !plan.events.is_empty() {
        return Ok(());
    }
    for part in numbers.chunks(OF_ONE_DEED) {
        let about = format!("{} dead letters of {DEADLETTER}", part.len());
        record(context, order, &about, Vec::new(), part.to_vec()).await?;
    }
    if numbers.is_empty() {
        let about = "what is left of events that were redacted";
        record(context, order, about, Vec::new(), Vec::new()).await?;
    }
    for copy in &plan.copies {
        done.copies += usize::from(erase(context, LEDGER, *copy).await?);
        each(done);
    }
    let dead_letters = letters::stream(context).await?;
    for Seen { sequence, .. } in &plan.letters {
        let summary = match letters::one(&dead_letters, *sequence).await {
            Ok(letter) => letter.summary,
            Err(letters::Error::None(_)) => continue,
            Err(error) => return Err(error.into()),
        };
        if let Some(place) = summary.blocks {
            let about = format!("{sequence} {}", summary.last_time);
            let (plugin, key) = (&summary.plugin, &summary.partition_key);
            let_go_on(context, plugin, key, place, &about).await?;
        }
        if erase(context, DEADLETTER, *sequence).await? {
            done.dead_letters.push(*sequence);
        }
        each(done);
    }
    Ok(())
}

async fn erase(context: &Context, stream: &str, sequence: u64) -> Result<bool, Error> {
    let erased = delete(context, stream, sequence, How::Erase).await;
    erased.map_err(broker(format!(
        "message {sequence} of {stream} is not erased"
    )))
}

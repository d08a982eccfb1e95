//! Takes a plug-in, gives which of its events have ended, and how.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::stream::Stream;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::Error;
use crate::broker::{LEDGER, ReadError, open};
use crate::ledger::position::{Packed, Position};
use crate::ledger::reason::Reason;
use crate::ledger::subject::retries;
use crate::ledger::waiting;
use crate::operations::letters::{self, Conditions};
use crate::operations::positions::{Positions, partitions};

/// What the broker carries over from the ledger is waited for so long,
const PATIENCE: Duration = Duration::from_secs(10);
/// and asked for so often.
const PAUSE: Duration = Duration::from_millis(50);

/// What is known of a plug-in's work. A shadow that goes on has what was known when it began: what
/// came of its events since then is not among what it knows to be recorded.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Scope {
    /// How far each partition is.
    positions: Vec<Option<Packed>>,
    /// Events that are to be tried again.
    waiting: BTreeSet<u64>,
    /// Events that are dead letters, by their ids, and the reason of each.
    pub letters: BTreeMap<String, String>,
}

impl Scope {
    /// No partition has read on behind this place.
    pub fn last(&self) -> u64 {
        let positions = self.positions.iter().flatten();
        positions.map(|position| position.last).max().unwrap_or(0)
    }

    /// How far each partition is.
    pub(super) fn positions(&self) -> Positions {
        let positions = self.positions.iter();
        let unpacked = positions.map(|position| position.as_ref().map(Position::unpack));
        Positions(unpacked.collect())
    }

    /// Whether an event that the plug-in has read is still to be handled, or it was never called
    /// with it.
    pub fn is_unhandled(&self, sequence: u64, event_id: &str) -> bool {
        let uncalled = [
            Reason::Undecodable,
            Reason::Loop,
            Reason::Expired,
            Reason::AgedOut,
            Reason::Schema,
        ];
        let reason = self.letters.get(event_id);
        let was_called =
            reason.is_none_or(|reason| uncalled.iter().all(|uncalled| uncalled.as_str() != reason));
        self.waiting.contains(&sequence) || !was_called
    }
}

/// Reads it from the ledger, and waits until all that the plug-in emitted is in the event store.
///
/// # Errors
/// When the plug-in has no ledger, or a stream cannot be read.
pub async fn scope(context: &Context, events: &Stream, plugin: &str) -> Result<Scope, Error> {
    let ledger = open(context, LEDGER).await?;
    let partitions = partitions(&ledger, plugin).await?;
    let partitions = partitions.ok_or_else(|| Error::NeverRan(plugin.to_owned()))?;
    let positions = Positions::read(&ledger, plugin, partitions).await?;
    let waiting = waiting::read(&ledger, &retries(Some(plugin))).await?;
    let dead_letters = letters::stream(context).await?;
    let conditions = Conditions::default().and("plugin", plugin);
    let mut letters = BTreeMap::new();
    for letter in letters::all(&dead_letters, &conditions, 1).await? {
        letters.insert(letter.event_id, letter.reason.to_string());
    }
    carried_over(events).await?;
    Ok(Scope {
        positions: positions
            .0
            .iter()
            .map(|position| position.as_ref().map(Position::pack))
            .collect(),
        waiting: waiting.into_keys().map(|(_, place)| place).collect(),
        letters,
    })
}

/// Where the ledger never rests, what was committed a while ago is there all the same.
async fn carried_over(events: &Stream) -> Result<(), Error> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        let info = events.get_info().await;
        let info = info.map_err(|error| ReadError::Messages(error.to_string()))?;
        if info.sources.iter().all(|source| source.lag == 0) {
            break;
        }
        sleep(PAUSE).await;
    }
    Ok(())
}

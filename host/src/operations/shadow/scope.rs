//! Takes a plug-in, gives which of its events have ended, and how.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::stream::{LastRawMessageErrorKind, Stream};
use tokio::time::{Instant, sleep};

use super::Error;
use crate::broker::{LEDGER, ReadError, open};
use crate::ledger::entry::Entry;
use crate::ledger::position::Position;
use crate::ledger::subject::{PartitionName, retries};
use crate::ledger::waiting;
use crate::operations::letters::{self, Conditions};
use crate::ownership::SLOTS;

/// What the broker carries over from the ledger is waited for so long,
const PATIENCE: Duration = Duration::from_secs(10);
/// and asked for so often.
const PAUSE: Duration = Duration::from_millis(50);

/// What is known of a plug-in's work.
#[derive(Debug, Default)]
pub struct Scope {
    /// Every event up to this place has ended, or is to be tried again.
    pub floor: u64,
    /// Events that are.
    pub waiting: BTreeSet<u64>,
    /// Events that are dead letters, by their ids, and the reason of each.
    pub letters: BTreeMap<String, String>,
}

/// Reads it from the ledger, and waits until all that the plug-in emitted is in the event store.
///
/// # Errors
/// When the plug-in has no ledger, or a stream cannot be read.
pub async fn scope(context: &Context, events: &Stream, plugin: &str) -> Result<Scope, Error> {
    let ledger = open(context, LEDGER).await?;
    let mut floor = None;
    for partition in 0..SLOTS {
        let name = PartitionName {
            plugin: plugin.to_owned(),
            partition,
        };
        let Some(found) = position(&ledger, &name).await? else {
            break;
        };
        floor = Some(floor.unwrap_or(u64::MAX).min(found.floor()));
    }
    let floor = floor.ok_or_else(|| Error::NeverRan(plugin.to_owned()))?;
    let waiting = waiting::read(&ledger, &retries(Some(plugin))).await?;
    let dead_letters = letters::stream(context).await?;
    let conditions = Conditions::default().and("plugin", plugin);
    let mut letters = BTreeMap::new();
    for letter in letters::all(&dead_letters, &conditions, 1).await? {
        letters.insert(letter.event_id, letter.reason.to_string());
    }
    carried_over(events).await?;
    Ok(Scope {
        floor,
        waiting: waiting.into_keys().map(|(_, place)| place).collect(),
        letters,
    })
}

async fn position(ledger: &Stream, name: &PartitionName) -> Result<Option<Position>, ReadError> {
    let log = name.log();
    match ledger.get_last_raw_message_by_subject(&log).await {
        Ok(message) => match Entry::decode(&message.payload) {
            Ok(entry) => Ok(Some(Position::unpack(&entry.position))),
            Err(error) => Err(ReadError::Messages(format!("{log}: {error}"))),
        },
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(ReadError::Messages(error.to_string())),
    }
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

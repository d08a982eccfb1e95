//! Takes a partition's name, gives its ledger as the last owner left it, fenced against that owner.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::stream::{LastRawMessageErrorKind, Stream};

use super::batch::{self, Failure};
use super::entry::{self, Entry};
use super::history::{self, Keep};
use super::inbox::Inbox;
use super::message::{self, Retry};
use super::position::Position;
use super::staging::Staging;
use super::state::StateCache;
use super::subject::{self, PartitionName};
use super::{LEAST_TTL, Ledger, waiting};
use crate::broker::read_all;
use crate::clock;
use crate::config::LedgerMode;

/// Why a partition could not be taken over now.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The broker is away or refuses.
    #[error("partition {name}: the ledger cannot be read")]
    Read {
        /// Which one.
        name: String,
        /// What the broker said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The claim was not written.
    #[error("partition {name}: the claim was not written")]
    Write {
        /// Which one.
        name: String,
        /// What the broker said.
        #[source]
        source: Failure,
    },
    /// The newest log message is not ours to read.
    #[error("partition {name}: the newest log message cannot be read")]
    Entry {
        /// Which one.
        name: String,
        /// What is wrong with it.
        #[source]
        source: entry::Error,
    },
}

/// A partition that belongs to this process now.
pub struct Claim {
    /// Its ledger: inbox and state.
    pub ledger: Arc<Ledger>,
    /// Where to read on.
    pub position: Position,
    /// Sequence of the claim's log message.
    pub log: u64,
    /// Events that were written down while they waited, by sequence.
    pub waiting: BTreeMap<u64, Retry>,
}

/// What a claim needs to know.
pub struct Claimant<'a> {
    /// Publishes the claim.
    pub context: &'a Context,
    /// The stream LEDGER.
    pub ledger: &'a Stream,
    /// This process.
    pub owner: [u8; 16],
    /// Without ledger, finished ids are not remembered.
    pub mode: LedgerMode,
    /// How long finished ids are remembered.
    pub dedup_window: Duration,
}

/// Takes a partition over. `start` is where a partition that nobody has ever run begins; what its
/// state keys had before is kept for as long as `keep` says.
///
/// The claim itself is a log message: from then on the commits of the last owner fail, so
/// everything that is read after it is final.
pub async fn claim(
    claimant: &Claimant<'_>,
    name: PartitionName,
    (start, keep): (u64, Keep),
) -> Result<Claim, Error> {
    let (position, expected) = match newest(claimant, &name).await? {
        Some((entry, sequence)) => (Position::unpack(&entry.position), sequence),
        None => (Position::at(start), 0),
    };
    let claim = Entry {
        owner: claimant.owner,
        number: 0,
        position: position.pack(),
        finished: Vec::new(),
    };
    let log = batch::one(
        claimant.context,
        &message::log(&name, expected, claim.encode()),
    )
    .await
    .map_err(|source| Error::Write {
        name: name.to_string(),
        source,
    })?;
    let inbox = match claimant.mode {
        LedgerMode::On => Some(inbox(claimant, &name).await?),
        LedgerMode::Off => None,
    };
    let waiting = waiting::read(claimant.ledger, &name.retries()).await;
    let waiting = waiting.map_err(|error| unread(&name, error))?;
    let state = StateCache::in_ledger(
        claimant.ledger.clone(),
        name.clone(),
        tokio::runtime::Handle::current(),
    );
    history::keep(claimant, &name, keep).await?;
    let staging = match keep.time() {
        None => Staging::new(inbox, Arc::new(state), log),
        Some(keep) => Staging::new(inbox, Arc::new(state.keeping_past()), log)
            .keeping_past(name.clone(), keep),
    };
    Ok(Claim {
        ledger: Arc::new(Ledger::new(
            name,
            staging,
            claimant.dedup_window.max(LEAST_TTL),
        )),
        position,
        log,
        waiting: waiting
            .into_iter()
            .map(|((_, sequence), retry)| (sequence, retry))
            .collect(),
    })
}

/// How many partitions the plug-in's ledger is divided into: as `wanted`, if it is new. Each
/// partition has its own slots, positions and state, so a plug-in that went on with another
/// number would pass some events over, and read state that belongs to other keys.
pub async fn partitions(claimant: &Claimant<'_>, plugin: &str, wanted: u8) -> Result<u8, Error> {
    let name = PartitionName {
        plugin: plugin.to_owned(),
        partition: 0,
    };
    match batch::one(claimant.context, &message::partitions(plugin, wanted)).await {
        Ok(_) => return Ok(wanted),
        Err(Failure::WrongSequence) => {}
        Err(source) => {
            return Err(Error::Write {
                name: name.to_string(),
                source,
            });
        }
    }
    let subject = subject::partitions(plugin);
    let found = claimant.ledger.get_last_raw_message_by_subject(&subject);
    let found = found.await.map_err(|error| unread(&name, error))?;
    let text = String::from_utf8_lossy(&found.payload);
    text.parse().map_err(|_| {
        unread(
            &name,
            format!("{subject} holds {text:?}, expected a number"),
        )
    })
}

async fn newest(
    claimant: &Claimant<'_>,
    name: &PartitionName,
) -> Result<Option<(Entry, u64)>, Error> {
    let log = name.log();
    match claimant.ledger.get_last_raw_message_by_subject(&log).await {
        Ok(message) => match Entry::decode(&message.payload) {
            Ok(entry) => Ok(Some((entry, message.sequence))),
            Err(source) => Err(Error::Entry {
                name: name.to_string(),
                source,
            }),
        },
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(unread(name, error)),
    }
}

/// The ids that were finished within the dedup window.
async fn inbox(claimant: &Claimant<'_>, name: &PartitionName) -> Result<Inbox, Error> {
    let mut inbox = Inbox::new(claimant.dedup_window);
    read_all(
        claimant.ledger,
        &name.log(),
        DeliverPolicy::All,
        |message| {
            let Ok(info) = message.info() else { return };
            let written = u64::try_from(info.published.unix_timestamp_nanos() / 1_000_000);
            let (at, sequence) = (written.unwrap_or(0), info.stream_sequence);
            // The newest entry was readable; an older one of another layout holds ids of
            // a version that this host was upgraded from.
            match Entry::decode(&message.payload) {
                Ok(entry) => entry
                    .finished
                    .into_iter()
                    .for_each(|id| inbox.insert(id, at, sequence)),
                Err(error) => tracing::error!(
                    partition = %name, sequence, %error,
                    "a log entry cannot be read; duplicates of its events are not suppressed"
                ),
            }
        },
    )
    .await
    .map_err(|error| unread(name, error))?;
    inbox.expire(clock::unix_millis());
    Ok(inbox)
}

fn unread(
    name: &PartitionName,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Error {
    Error::Read {
        name: name.to_string(),
        source: error.into(),
    }
}

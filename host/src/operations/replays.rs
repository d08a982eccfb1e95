//! Takes which dead letters, or which part of the event store, are to be sent again and how fast,
//! gives a record that outlives whoever does it: how far it is, who does it, what became of it.
//!
//! A replay of dead letters is the key `replays.<id>` of the KV bucket `sluicegate`. Its set is
//! frozen when it is asked for: the letters that meet its conditions and stand up to `up_to`. A
//! letter never changes, and newer ones have higher numbers; one that is gone when its turn comes
//! was resolved meanwhile, and is left out.
//!
//! One of history is `history-replays.history-…`, where no host of an earlier version looks: it
//! would take the conditions for those of letters. Its set is frozen too: the places from `from`
//! to `up_to`, and what the plug-in heard then.

use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::kv::{self, Operation, UpdateErrorKind};
use futures_util::StreamExt as _;
use serde_json::json;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub use self::adopting::adopt;
pub use self::past::{Past, Wish};
pub use self::record::{Failure, History, Replay, State};
use super::letters;
use super::{Who, audit, fleet, history};
use crate::broker::{ReadError, read_all};
use crate::clock;

mod adopting;
mod ahead;
mod asking;
mod begun;
mod outgoing;
pub(super) mod pace;
mod past;
mod record;
mod running;
mod sending;
mod subscription;
mod watching;

const BUCKET: &str = "sluicegate";
const KEYS: &str = "replays.";
const HISTORY_KEYS: &str = "history-replays.";
/// How the names of those of history begin.
const HISTORY: &str = "history-";
const PATIENCE: Duration = Duration::from_secs(10);
/// Records that are kept of those that have ended.
const KEPT: usize = 100;
/// Failures whose text is kept.
pub const TOLD: usize = 20;
/// Letters or events a second, where nothing else is said.
pub const RATE: u32 = 200;
/// The most that may be asked for.
pub const MAX_RATE: u32 = 20_000;

/// Why a replay cannot be begun, read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bucket does not answer.
    #[error("KV bucket {BUCKET}: {0}")]
    Bucket(String),
    /// No such replay.
    #[error("there is no replay {0}; `sluice dlq replays` lists them")]
    None(String),
    /// It has come to its end.
    #[error("replay {0} has ended: it is {1}")]
    Ended(String, &'static str),
    /// Somebody else does it now.
    #[error("replay {0} is done by somebody else now")]
    Taken(String),
    /// Its letters cannot be read.
    #[error(transparent)]
    Letters(#[from] letters::Error),
    /// It could not be written down.
    #[error(transparent)]
    Audit(#[from] audit::Error),
    /// Its conditions were written by another version.
    #[error(transparent)]
    Conditions(#[from] letters::NoCondition),
    /// So were these.
    #[error("{0:?} is no condition that this version knows")]
    Unknown(String),
    /// The event store cannot be read.
    #[error(transparent)]
    History(#[from] history::Error),
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] ReadError),
    /// The hosts cannot be asked.
    #[error(transparent)]
    Fleet(#[from] fleet::Error),
    /// Nobody would handle it.
    #[error(transparent)]
    Plugin(#[from] subscription::Error),
}

/// Does it until it has ended, is cancelled, or somebody else has it; `stop` leaves the rest to
/// others. `show` hears how far it is.
///
/// # Errors
/// When it is somebody else's now, or the broker does not answer.
pub async fn run(
    replays: &Replays,
    read: Read,
    stop: &CancellationToken,
    show: impl FnMut(&Replay) + Send,
) -> Result<Replay, Error> {
    match read.0.history.clone() {
        None => Box::pin(running::run(replays, read, stop, show)).await,
        Some(history) => {
            let sending = sending::run(replays, read, &history, stop, show);
            Box::pin(sending).await
        }
    }
}

/// Where replays are kept.
#[derive(Debug, Clone)]
pub struct Replays {
    context: Context,
    bucket: kv::Store,
}

/// A record, and the revision at which it was read.
pub type Read = (Replay, u64);

impl Replays {
    /// Opens the bucket.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn open(context: &Context) -> Result<Self, Error> {
        let bucket = context.get_key_value(BUCKET).await;
        let bucket = bucket.map_err(|error| {
            Error::Bucket(format!(
                "{error}; has `sluice run` ever been connected to this broker?"
            ))
        })?;
        Ok(Self {
            context: context.clone(),
            bucket,
        })
    }

    /// One of them.
    ///
    /// # Errors
    /// [`Error::None`].
    pub async fn read(&self, id: &str) -> Result<Read, Error> {
        // What is no name of a key is no name of a replay.
        let is_name = !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let none = || Error::None(id.to_owned());
        let entry = is_name
            .then(|| self.bucket.entry(key(id)))
            .ok_or_else(none)?;
        let entry = timeout(PATIENCE, entry).await;
        let entry = entry
            .map_err(|_| Error::Bucket(format!("no answer in {PATIENCE:?}")))?
            .map_err(|error| Error::Bucket(error.to_string()))?;
        let entry = entry
            .filter(|entry| entry.operation == Operation::Put)
            .ok_or_else(none)?;
        let replay = serde_json::from_slice(&entry.value);
        Ok((
            replay.map_err(|error| Error::Bucket(error.to_string()))?,
            entry.revision,
        ))
    }

    /// All of them, the newest first.
    ///
    /// # Errors
    /// When the bucket does not answer.
    pub async fn all(&self) -> Result<Vec<Replay>, Error> {
        let failed = |error: String| Error::Bucket(error);
        let stream = self.context.get_stream(format!("KV_{BUCKET}")).await;
        let stream = stream.map_err(|error| failed(error.to_string()))?;
        let mut replays: Vec<Replay> = Vec::new();
        for keys in [KEYS, HISTORY_KEYS] {
            let subject = format!("$KV.{BUCKET}.{keys}*");
            let read = read_all(
                &stream,
                &subject,
                DeliverPolicy::LastPerSubject,
                |message| {
                    replays.extend(serde_json::from_slice::<Replay>(&message.payload).ok());
                },
            );
            read.await.map_err(|error| failed(error.to_string()))?;
        }
        replays.sort_by(|one, other| other.asked.cmp(&one.asked));
        Ok(replays)
    }

    /// Stops it: what was sent stays sent, the rest stays what it is.
    ///
    /// # Errors
    /// [`Error::Ended`] when there is no rest.
    pub async fn cancel(&self, who: &Who, id: &str) -> Result<Replay, Error> {
        let (replay, _) = self.read(id).await?;
        let of = match replay.history {
            None => "letters",
            Some(_) => "events",
        };
        let detail = json!({ "finished": replay.finished(), of: replay.total });
        if replay.state != State::Running {
            return Err(Error::Ended(replay.id, replay.state.name()));
        }
        audit::record(
            &self.context,
            who,
            "cancel",
            &format!("replay {id}"),
            detail,
        )
        .await?;
        loop {
            let (mut replay, revision) = self.read(id).await?;
            if replay.state != State::Running {
                return Err(Error::Ended(replay.id, replay.state.name()));
            }
            replay.state = State::Cancelled;
            replay.ended = Some(clock::rfc3339(clock::unix_millis()));
            if self.write(&replay, revision).await?.is_some() {
                return Ok(replay);
            }
        }
    }

    /// Takes it over, whoever does it now.
    ///
    /// # Errors
    /// [`Error::Ended`] when nothing is left to do.
    pub async fn claim(&self, id: &str, by: String) -> Result<Read, Error> {
        let (mut replay, revision) = self.read(id).await?;
        if replay.state != State::Running {
            return Err(Error::Ended(replay.id, replay.state.name()));
        }
        replay.by = by;
        let revision = self.write(&replay, revision).await?;
        let revision = revision.ok_or_else(|| Error::Taken(id.to_owned()))?;
        Ok((replay, revision))
    }

    /// Writes the record if it is still as it was read; gives its new revision.
    async fn write(&self, replay: &Replay, revision: u64) -> Result<Option<u64>, Error> {
        let written = self
            .bucket
            .update(key(&replay.id), encoded(replay)?, revision);
        match written.await {
            Ok(revision) => Ok(Some(revision)),
            Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => Ok(None),
            Err(error) => Err(Error::Bucket(error.to_string())),
        }
    }

    /// Writes down how far it is; gives the new revision. An operator who has stopped it meanwhile
    /// is heard: what is on its way comes to its end, and nothing more is begun.
    async fn report(&self, mine: &mut Replay, mut revision: u64) -> Result<u64, Error> {
        loop {
            if let Some(new) = self.write(mine, revision).await? {
                return Ok(new);
            }
            let (theirs, newer) = self.read(&mine.id).await?;
            if theirs.by != mine.by && !mine.by.is_empty() {
                return Err(Error::Taken(theirs.id));
            }
            mine.state = theirs.state;
            mine.ended = theirs.ended;
            revision = newer;
        }
    }

    /// Told whenever one is written.
    async fn changes(&self) -> Result<kv::Watch, Error> {
        let keys = [KEYS, HISTORY_KEYS].map(|keys| format!("{keys}*"));
        let changes = self.bucket.watch_many_with_history(keys).await;
        changes.map_err(|error| Error::Bucket(error.to_string()))
    }

    async fn forget_old_ones(&self) {
        let Ok(all) = self.all().await else { return };
        let ended = all.iter().filter(|replay| replay.state != State::Running);
        let old: Vec<_> = ended.skip(KEPT).collect();
        // One that stays is forgotten the next time.
        futures_util::stream::iter(old)
            .for_each(|replay| async { drop(self.bucket.purge(key(&replay.id)).await) })
            .await;
    }
}

fn key(id: &str) -> String {
    match id.starts_with(HISTORY) {
        true => format!("{HISTORY_KEYS}{id}"),
        false => format!("{KEYS}{id}"),
    }
}

fn encoded(replay: &Replay) -> Result<bytes::Bytes, Error> {
    let text = serde_json::to_vec(replay).map_err(|error| Error::Bucket(error.to_string()))?;
    Ok(text.into())
}

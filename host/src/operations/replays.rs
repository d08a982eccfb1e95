//! Takes which dead letters are to be sent again and how fast, gives a record that outlives
//! whoever does it: how far it is, who does it, what became of it.
//!
//! A replay is the key `replays.<id>` of the KV bucket `sluicegate`. Its set is frozen when it
//! is asked for: the letters that meet its conditions and stand up to `up_to`. A letter never
//! changes, and newer ones have higher numbers; one that is gone when its turn comes was
//! resolved meanwhile, and is left out.

use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::kv::{self, CreateErrorKind, Operation, UpdateErrorKind};
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::timeout;
use uuid::Uuid;

pub use self::adopting::adopt;
pub use self::running::run;
use super::letters::{self, Conditions};
use super::{Who, audit};
use crate::broker::DEADLETTER;
use crate::clock;

mod adopting;
pub(super) mod pace;
mod running;

const BUCKET: &str = "sluicegate";
const KEYS: &str = "replays.";
const PATIENCE: Duration = Duration::from_secs(10);
/// Records that are kept of those that have ended.
const KEPT: usize = 100;
/// Failures whose text is kept.
pub const TOLD: usize = 20;
/// Letters a second, where nothing else is said.
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
}

/// Where a replay stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It goes on, or will as soon as a host sees that nobody does it.
    Running,
    /// An operator has stopped it: what was sent stays sent, the rest stays where it is.
    Cancelled,
    /// All of its letters were sent, were gone, or failed.
    Done,
}

impl State {
    /// As it is shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Cancelled => "cancelled",
            Self::Done => "done",
        }
    }
}

/// One replay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Replay {
    /// Its name.
    pub id: String,
    /// Who asked for it.
    #[serde(flatten)]
    pub who: Who,
    /// When, RFC 3339.
    pub asked: String,
    /// Which letters, as they were written; none for all.
    pub conditions: Vec<String>,
    /// The number of the newest letter at that time.
    pub up_to: u64,
    /// Letters a second.
    pub rate: u32,
    /// How many letters met the conditions at that time.
    pub total: u64,
    /// Where it stands.
    pub state: State,
    /// Every letter of the set up to this number is finished.
    #[serde(default)]
    pub cursor: u64,
    /// How many were sent again.
    #[serde(default)]
    pub replayed: u64,
    /// How many were not there any more.
    #[serde(default)]
    pub gone: u64,
    /// How many could not be sent, and stay.
    #[serde(default)]
    pub failed: u64,
    /// The first of those, and why.
    #[serde(default)]
    pub failures: Vec<Failure>,
    /// Who does it: `host host-1`, `command line of …`; and which process of theirs.
    #[serde(default)]
    pub by: String,
    /// When it came to its end, RFC 3339.
    #[serde(default)]
    pub ended: Option<String>,
}

/// A letter that could not be sent again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Its number.
    pub letter: u64,
    /// Why.
    pub error: String,
}

impl Replay {
    /// Letters that have had their turn.
    pub fn finished(&self) -> u64 {
        self.replayed + self.gone + self.failed
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

    /// Freezes the set and writes the replay down, and that it was asked for. `by` does it;
    /// where that is empty, the first host that sees it.
    ///
    /// # Errors
    /// When the letters cannot be read or the broker does not take the record.
    pub async fn ask(
        &self,
        who: &Who,
        conditions: &Conditions,
        rate: u32,
        by: String,
    ) -> Result<Read, Error> {
        let dead_letters = letters::stream(&self.context).await?;
        let up_to = dead_letters.cached_info().state.last_sequence;
        let letters = letters::all(&dead_letters, conditions, 1).await?;
        let total = letters.iter().filter(|letter| letter.id <= up_to).count();
        let now = clock::unix_millis();
        let replay = Replay {
            id: format!("{now}-{}", short(Uuid::new_v4())),
            who: who.clone(),
            asked: clock::rfc3339(now),
            conditions: conditions.texts(),
            up_to,
            rate: rate.clamp(1, MAX_RATE),
            total: total as u64,
            state: State::Running,
            cursor: 0,
            replayed: 0,
            gone: 0,
            failed: 0,
            failures: Vec::new(),
            by,
            ended: None,
        };
        let detail = json!({
            "replay": replay.id, "conditions": replay.conditions, "letters": total, "up_to": up_to,
            "rate": replay.rate,
        });
        audit::record(&self.context, who, "replay", DEADLETTER, detail).await?;
        let key = key(&replay.id);
        let created = self.bucket.create(key, encoded(&replay)?).await;
        let revision = created.map_err(|error| match error.kind() {
            CreateErrorKind::AlreadyExists => Error::Taken(replay.id.clone()),
            _ => Error::Bucket(error.to_string()),
        })?;
        self.forget_old_ones().await;
        Ok((replay, revision))
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
        let subject = format!("$KV.{BUCKET}.{KEYS}*");
        let newest = async_nats::jetstream::consumer::DeliverPolicy::LastPerSubject;
        let mut replays: Vec<Replay> = Vec::new();
        let read = crate::broker::read_all(&stream, &subject, newest, |message| {
            replays.extend(serde_json::from_slice::<Replay>(&message.payload).ok());
        });
        read.await.map_err(|error| failed(error.to_string()))?;
        replays.sort_by(|one, other| other.asked.cmp(&one.asked));
        Ok(replays)
    }

    /// Stops it: what was sent stays sent, the rest stays a dead letter.
    ///
    /// # Errors
    /// [`Error::Ended`] when there is no rest.
    pub async fn cancel(&self, who: &Who, id: &str) -> Result<Replay, Error> {
        let (replay, _) = self.read(id).await?;
        let detail = json!({ "finished": replay.finished(), "letters": replay.total });
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

    /// Told whenever one is written.
    async fn changes(&self) -> Result<kv::Watch, Error> {
        let changes = self.bucket.watch_with_history(format!("{KEYS}*")).await;
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
    format!("{KEYS}{id}")
}

fn short(id: Uuid) -> String {
    id.simple().to_string().chars().take(6).collect()
}

fn encoded(replay: &Replay) -> Result<bytes::Bytes, Error> {
    let text = serde_json::to_vec(replay).map_err(|error| Error::Bucket(error.to_string()))?;
    Ok(text.into())
}

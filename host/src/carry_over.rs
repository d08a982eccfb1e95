//! Takes a partition that was just claimed and a build with another version of the state, gives
//! that version what the build makes of the old one's: once, before the first event.
//!
//! The old version's keys stay as they are, so that a build that goes back finds them. How far
//! it came stands in the ledger, behind the same fence as every commit; what an attempt wrote
//! that did not come to its end is deleted by the next one.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::jetstream::stream::{LastRawMessageErrorKind, Stream};
use bytes::Bytes;
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::broker::{ReadError, read};
use crate::clock;
use crate::ledger::Ledger;
use crate::ledger::message::{self, is_tombstone};
use crate::ledger::staging::Settled;
use crate::ledger::subject::{PartitionName, state_key};
use crate::ledger::writer::{self, Writer};
use crate::plugin::call::Failure;
use crate::plugin::generation::Generation;
use crate::plugin::migration::{Entry, Migrator};
use crate::plugin::state_version::{in_ledger, of_key, of_plugin};

/// Keys that are read, given to the plug-in and committed at a time.
const CHUNK: usize = 64;
/// Reads of values under way.
const READS: usize = 32;
/// How often it is said how far it came.
const SAY: Duration = Duration::from_secs(5);

/// Why the state is not carried over.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The plug-in cannot.
    #[error(
        "the state of version {from} cannot be carried over: key {key:?}: {failure}; deploy a \
         build that can, or roll back: no event is lost meanwhile"
    )]
    Plugin {
        /// The version.
        from: u16,
        /// The key as the plug-in says it.
        key: String,
        /// What it said.
        failure: Failure,
    },
    /// Two of its answers are for one key.
    #[error(
        "the state of version {from} cannot be carried over: two of its keys become {key:?}; \
         deploy a build that gives each a key of its own, or roll back: no event is lost meanwhile"
    )]
    Twice {
        /// The version.
        from: u16,
        /// The key as the plug-in says it.
        key: String,
    },
    /// The build does not even start.
    #[error("the build that is to carry the state over does not start: {0}")]
    Start(Failure),
    /// The broker is away or refuses.
    #[error("the ledger cannot be read: {0}")]
    Read(String),
    /// The host stops.
    #[error("the host stops")]
    Stopping,
    /// The partition is another host's.
    #[error(transparent)]
    Write(#[from] writer::Error),
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        Self::Read(error.to_string())
    }
}

/// What stands in the ledger about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    from: u16,
    done: bool,
}

/// Where it is carried over.
pub struct Place<'a> {
    /// The partition's ledger.
    pub ledger: &'a Arc<Ledger>,
    /// Its writer, with nothing under way.
    pub writer: &'a mut Writer,
    /// The stream LEDGER.
    pub stream: &'a Stream,
}

/// Carries the state over, where the build says so and it was not done before.
pub async fn carry_over(mut place: Place<'_>, build: &Arc<Generation>) -> Result<(), Error> {
    let manifest = build.manifest();
    let (to, Some(from)) = (manifest.state_version, manifest.migrate_from) else {
        return Ok(());
    };
    let mark = place.mark(to).await?;
    if mark.is_some_and(|mark| mark.done) {
        return Ok(());
    }
    let name = place.ledger.name().clone();
    let (old, new) = keys(place.stream, &name, from, to).await?;
    if mark.is_none() && !new.is_empty() {
        tracing::warn!(
            partition = %name, from, to, keys = new.len(),
            "the new version has a state already, so nothing is carried over to it"
        );
        place.say(to, Mark { from, done: true });
        return place.flush().await;
    }
    let (begun, total) = (Instant::now(), old.len());
    tracing::info!(partition = %name, from, to, keys = total, "carrying state over");
    place.say(to, Mark { from, done: false });
    for chunk in new.chunks(CHUNK) {
        chunk.iter().for_each(|key| place.write(key, None));
        place.flush().await?;
    }
    place.flush().await?;
    let owned = Arc::clone(build);
    let started = run(move || Migrator::new(&owned)).await?;
    let mut migrator = started.map_err(Error::Start)?;
    let (mut read, mut written, mut said) = (0, HashSet::new(), Instant::now());
    for chunk in old.chunks(CHUNK) {
        let entries = values(place.stream, &name, chunk).await?;
        read += chunk.len();
        let made;
        (migrator, made) = migrate(migrator, from, entries).await?;
        for (key, value) in made {
            if !written.insert(key.clone()) {
                return Err(Error::Twice { from, key });
            }
            place.write(&in_ledger(to, key), Some(value.into()));
        }
        place.flush().await?;
        if SAY <= said.elapsed() {
            said = Instant::now();
            tracing::info!(partition = %name, keys = read, of = total, "carrying state over");
        }
    }
    place.say(to, Mark { from, done: true });
    place.flush().await?;
    tracing::info!(
        partition = %name, from, to, keys = total, written = written.len(),
        took = ?begun.elapsed(), "state carried over"
    );
    Ok(())
}

impl Place<'_> {
    async fn mark(&self, to: u16) -> Result<Option<Mark>, Error> {
        let subject = self.ledger.name().carried(to);
        match self.stream.get_last_raw_message_by_subject(&subject).await {
            Ok(message) => serde_json::from_slice(&message.payload)
                .map(Some)
                .map_err(|error| Error::Read(format!("{subject}: {error}"))),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(Error::Read(error.to_string())),
        }
    }

    fn say(&self, to: u16, mark: Mark) {
        let body = serde_json::to_vec(&mark).unwrap_or_default();
        self.settle(message::carried(self.ledger.name(), to, body));
    }

    /// A key as it stands in the ledger.
    fn write(&self, key: &str, value: Option<Bytes>) {
        self.settle(message::state(self.ledger.name(), key, value));
    }

    fn settle(&self, effect: message::Message) {
        let settled = Settled {
            effects: vec![effect],
            ..Settled::default()
        };
        self.ledger.staging().settle(settled, clock::unix_millis());
    }

    async fn flush(&mut self) -> Result<(), Error> {
        while !self.writer.is_idle() {
            self.writer.start(true).await?;
            self.writer.committed().await?;
        }
        Ok(())
    }
}

/// The keys of both versions, as they stand in the ledger.
async fn keys(
    stream: &Stream,
    name: &PartitionName,
    from: u16,
    to: u16,
) -> Result<(Vec<String>, Vec<String>), Error> {
    let (mut old, mut new) = (Vec::new(), Vec::new());
    let what = pull::Config {
        filter_subject: name.states(),
        deliver_policy: DeliverPolicy::LastPerSubject,
        headers_only: true,
        ..pull::Config::default()
    };
    read(stream, what, |message| {
        let is_gone = message.headers.as_ref().is_some_and(is_tombstone);
        if let (false, Some(key)) = (is_gone, state_key(&message.subject)) {
            match of_key(&key) {
                version if version == from => old.push(key),
                version if version == to => new.push(key),
                _ => {}
            }
        }
        ControlFlow::Continue(())
    })
    .await?;
    Ok((old, new))
}

/// Keys as the plug-in says them, with their values.
async fn values(
    stream: &Stream,
    name: &PartitionName,
    keys: &[String],
) -> Result<Vec<Entry>, Error> {
    let mut found = Vec::with_capacity(keys.len());
    for some in keys.chunks(READS) {
        found.extend(try_join_all(some.iter().map(|key| value(stream, name, key))).await?);
    }
    Ok(found)
}

async fn value(stream: &Stream, name: &PartitionName, key: &str) -> Result<Entry, Error> {
    let subject = name.state(key);
    let found = stream.get_last_raw_message_by_subject(&subject).await;
    let found = found.map_err(|error| Error::Read(error.to_string()))?;
    Ok((of_plugin(key).to_owned(), found.payload.to_vec()))
}

/// What the plug-in makes of these, and the plug-in for the next ones.
async fn migrate(
    mut migrator: Migrator,
    from: u16,
    entries: Vec<Entry>,
) -> Result<(Migrator, Vec<Entry>), Error> {
    run(move || {
        let mut made = Vec::new();
        for (key, value) in entries {
            let answer = migrator.migrate(from, (key.clone(), value));
            made.extend(answer.map_err(|failure| Error::Plugin { from, key, failure })?);
        }
        Ok((migrator, made))
    })
    .await?
}

/// On a thread that may block.
async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Error::Stopping)
}

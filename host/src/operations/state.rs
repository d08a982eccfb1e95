//! Takes a plug-in and a moment, gives its state as it was then.
//!
//! A key's value stands in the ledger until the next one takes its place; where the plug-in's
//! `state_history` says so, what it had before is kept too, written in the same commit. So what a
//! key had at a moment is what the first change after it says, or what it has now if none did.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::jetstream::stream::Stream;
use bytes::Bytes;
use time::OffsetDateTime;

use super::positions::partitions;
use crate::broker::{LEDGER, ReadError, open, read};
use crate::clock;
use crate::ledger::history;
use crate::ledger::message::is_tombstone;
use crate::ledger::subject::{PartitionName, state_key};
use crate::plugin::state_version::{in_ledger, of_key, of_plugin};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The ledger cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It has never run.
    #[error("the ledger knows no plug-in {0}; `sluice plugins` lists those that run")]
    NeverRan(String),
    /// Nobody asked for it to be kept.
    #[error(
        "what the state of {0} was is not kept; set `state_history = \"30d\"` under [limits] of its \
         manifest, or under [plugin.{0}] of the daemon's file: from then on it is"
    )]
    NotKept(String),
    /// It was not kept then, or not for so long.
    #[error("the past of {plugin}'s state is known from {first} on")]
    Before {
        /// Whose.
        plugin: String,
        /// RFC 3339.
        first: String,
    },
    /// Nobody knows that.
    #[error("{0} is still to come")]
    Future(String),
}

/// A key and what it had.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// As the plug-in says it.
    pub key: String,
    /// The `state_version` that it belongs to.
    pub version: u16,
    /// The partition whose it is.
    pub partition: u8,
    /// What it had.
    pub value: Bytes,
}

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Whose state.
    pub plugin: String,
    /// This key alone,
    pub key: Option<String>,
    /// of this `state_version`; without a key, all of them when none is said.
    pub version: Option<u16>,
    /// At this moment, Unix milliseconds; now when none is said.
    pub at: Option<u64>,
}

/// The keys that were there, in their order.
///
/// # Errors
/// When the ledger cannot be read, or does not know.
pub async fn state(context: &Context, query: &Query) -> Result<Vec<Row>, Error> {
    let now = clock::unix_millis();
    if let Some(at) = query.at
        && now < at
    {
        return Err(Error::Future(clock::rfc3339(at)));
    }
    let ledger = open(context, LEDGER).await?;
    let mut rows = Vec::new();
    let found = partitions(&ledger, &query.plugin).await?;
    for partition in 0..found.ok_or_else(|| Error::NeverRan(query.plugin.clone()))? {
        let name = PartitionName {
            plugin: query.plugin.clone(),
            partition,
        };
        if let Some(at) = query.at {
            let kept = history::read(&ledger, &name).await?;
            let kept = kept.ok_or_else(|| Error::NotKept(query.plugin.clone()))?;
            let first = kept.first(now);
            if at < first {
                return Err(Error::Before {
                    plugin: query.plugin.clone(),
                    first: clock::rfc3339(first),
                });
            }
        }
        let found = of_partition(&ledger, &name, query).await?;
        rows.extend(found.into_iter().filter_map(|(key, value)| {
            let version = of_key(&key);
            let is_asked = query.version.is_none_or(|asked| asked == version);
            let row = || Row {
                key: of_plugin(&key).to_owned(),
                version,
                partition,
                value: value.unwrap_or_default(),
            };
            is_asked.then(row)
        }));
    }
    rows.sort_unstable();
    Ok(rows)
}

/// Keys of the ledger and what each had; the state is read first, so that a change while this
/// reads is seen as one.
async fn of_partition(
    ledger: &Stream,
    name: &PartitionName,
    query: &Query,
) -> Result<BTreeMap<String, Option<Bytes>>, Error> {
    let key = query.key.clone();
    let key = key.map(|key| in_ledger(query.version.unwrap_or(1), key));
    let (now, past) = match &key {
        Some(key) => (name.state(key), name.was(key)),
        None => (name.states(), name.past()),
    };
    let mut found = BTreeMap::new();
    let newest = pull::Config {
        filter_subject: now,
        deliver_policy: DeliverPolicy::LastPerSubject,
        ..pull::Config::default()
    };
    read(ledger, newest, |message| {
        let headers = message.headers.as_ref();
        let is_there = !headers.is_some_and(is_tombstone);
        // One that came later and says nothing of before was not there.
        let was_there = query.at.is_none_or(|at| stored(message) <= at);
        if let Some(key) = state_key(&message.subject)
            && is_there
            && was_there
        {
            found.insert(key, Some(message.payload.clone()));
        }
        ControlFlow::Continue(())
    })
    .await?;
    if let Some(at) = query.at {
        let changes = pull::Config {
            filter_subject: past,
            deliver_policy: since(at),
            ..pull::Config::default()
        };
        let mut seen = std::collections::BTreeSet::new();
        read(ledger, changes, |message| {
            if let Some(key) = state_key(&message.subject)
                && at < stored(message)
                && seen.insert(key.clone())
            {
                match message.headers.as_ref().is_some_and(is_tombstone) {
                    true => drop(found.remove(&key)),
                    false => drop(found.insert(key, Some(message.payload.clone()))),
                }
            }
            ControlFlow::Continue(())
        })
        .await?;
    }
    Ok(found)
}

fn stored(message: &async_nats::jetstream::Message) -> u64 {
    let nanos = message
        .info()
        .map(|info| info.published.unix_timestamp_nanos());
    u64::try_from(nanos.unwrap_or_default() / 1_000_000).unwrap_or(0)
}

fn since(unix_millis: u64) -> DeliverPolicy {
    let nanos = i128::from(unix_millis) * 1_000_000;
    match OffsetDateTime::from_unix_timestamp_nanos(nanos) {
        Ok(start_time) => DeliverPolicy::ByStartTime { start_time },
        Err(_) => DeliverPolicy::All,
    }
}

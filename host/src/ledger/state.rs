//! Takes keys, gives the plug-in's values: its own staged and committed writes, filled from where
//! those are kept.
//!
//! Calls run side by side, so state is optimistic: a call notes the version of everything
//! it read, and its writes are accepted only while those versions are still current.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use async_nats::jetstream::stream::{LastRawMessageErrorKind, Stream};
use bytes::Bytes;
use parking_lot::Mutex;

use super::subject::PartitionName;

/// Clean entries are let go when the cache holds more than this.
const MAX_BYTES: usize = 64 << 20;
/// What an entry costs besides its key and value.
const ENTRY_BYTES: usize = 128;

/// What a call read: the keys and the versions it saw.
pub type Reads = HashMap<String, u64>;
/// What a call wrote: `None` deletes.
pub type Writes = BTreeMap<String, Option<Bytes>>;

/// A value could not be read now; a later attempt may succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No answer in time.
    #[error("state key {key:?} could not be read from the ledger within {waited:?}")]
    Timeout {
        /// The key.
        key: String,
        /// How long the read waited.
        waited: Duration,
    },
    /// The broker refused or is away.
    #[error("state key {key:?} could not be read from the ledger")]
    Broker {
        /// The key.
        key: String,
        /// What the broker said.
        #[source]
        source: async_nats::jetstream::stream::LastRawMessageError,
    },
    /// It is kept on this machine, and cannot be read there.
    #[error("state key {key:?} could not be read: {reason}")]
    Local {
        /// The key.
        key: String,
        /// What the store says.
        reason: String,
    },
}

/// Where values are that the cache does not hold.
enum Backing {
    Ledger(Box<Ledger>),
    Local(Box<Fetch>),
}

struct Ledger {
    stream: Stream,
    name: PartitionName,
    runtime: tokio::runtime::Handle,
}

/// Reads a value that is kept on this machine.
type Fetch = dyn Fn(&str) -> Result<Option<Bytes>, String> + Send + Sync;

struct Entry {
    value: Option<Bytes>,
    version: u64,
    /// Accepted writes that are not committed yet; the entry stays until it is 0.
    uncommitted: u32,
    used: u64,
}

#[derive(Default)]
struct Inner {
    entries: HashMap<String, Entry>,
    bytes: usize,
    clock: u64,
    /// Moves when an entry is let go: a value fetched before that may be old by now.
    evictions: u64,
}

/// The values of one partition, shared by its calls.
pub struct StateCache {
    inner: Mutex<Inner>,
    backing: Option<Backing>,
    /// Whoever writes a key has to have read it: what it had is kept too.
    keeps_past: bool,
}

/// What keys had before they were changed; none where they had nothing.
pub type Past = Vec<(String, Option<Bytes>)>;

impl StateCache {
    /// State that lives in memory only, for `sluice test`.
    pub fn in_memory() -> Self {
        Self {
            inner: Mutex::default(),
            backing: None,
            keeps_past: false,
        }
    }

    /// State that is filled from the ledger.
    pub fn in_ledger(ledger: Stream, name: PartitionName, runtime: tokio::runtime::Handle) -> Self {
        Self {
            inner: Mutex::default(),
            backing: Some(Backing::Ledger(Box::new(Ledger {
                stream: ledger,
                name,
                runtime,
            }))),
            keeps_past: false,
        }
    }

    /// The same, and what keys had before is told.
    #[must_use]
    pub fn keeping_past(self) -> Self {
        Self {
            keeps_past: true,
            ..self
        }
    }

    /// Whether what a key had before is to be told.
    pub fn keeps_past(&self) -> bool {
        self.keeps_past
    }

    /// State that is filled from a store on this machine.
    pub fn in_store(
        fetch: impl Fn(&str) -> Result<Option<Bytes>, String> + Send + Sync + 'static,
    ) -> Self {
        Self {
            inner: Mutex::default(),
            backing: Some(Backing::Local(Box::new(fetch))),
            keeps_past: false,
        }
    }

    /// The value and its version. Blocks the calling thread, for `patience` at most, when
    /// the value has to come from the ledger: never call it on a runtime's own thread.
    pub fn get(&self, key: &str, patience: Duration) -> Result<(Option<Bytes>, u64), Error> {
        loop {
            let evictions = {
                let mut inner = self.inner.lock();
                if let Some(found) = inner.touch(key) {
                    return Ok(found);
                }
                inner.evictions
            };
            let fetched = match &self.backing {
                Some(backing) => backing.fetch(key, patience)?,
                None => None,
            };
            let mut inner = self.inner.lock();
            if let Some(found) = inner.touch(key) {
                return Ok(found);
            }
            if inner.evictions == evictions {
                return Ok(inner.fill(key, fetched));
            }
        }
    }

    /// Accepts the writes of a call, if all that it read is still current.
    pub fn accept(&self, reads: &Reads, writes: &Writes) -> bool {
        self.accepted(reads, writes).is_some()
    }

    /// The same; gives what is changed by them, where that is to be told. None when they are
    /// not accepted.
    pub fn accepted(&self, reads: &Reads, writes: &Writes) -> Option<Past> {
        let mut past = Past::new();
        let mut inner = self.inner.lock();
        let current = reads.iter().all(|(key, version)| {
            inner
                .entries
                .get(key)
                .is_some_and(|entry| entry.version == *version)
        });
        if !current {
            return None;
        }
        for (key, value) in writes {
            if self.keeps_past {
                let entry = inner.entries.get(key);
                let before = entry.and_then(|entry| entry.value.clone());
                if before != *value {
                    past.push((key.clone(), before));
                }
            }
            inner.write(key, value.clone());
        }
        Some(past)
    }

    /// The writes to these keys are in the ledger now.
    pub fn committed<'a>(&self, keys: impl Iterator<Item = &'a str>) {
        let mut inner = self.inner.lock();
        for key in keys {
            if let Some(entry) = inner.entries.get_mut(key) {
                entry.uncommitted = entry.uncommitted.saturating_sub(1);
            }
        }
        inner.evict(MAX_BYTES);
    }

    /// Whether this cache lives in memory only and so may not forget.
    fn keeps_all(&self) -> bool {
        self.backing.is_none()
    }
}

impl std::fmt::Debug for StateCache {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("StateCache")
            .field("keeps_all", &self.keeps_all())
            .finish_non_exhaustive()
    }
}

impl Backing {
    fn fetch(&self, key: &str, patience: Duration) -> Result<Option<Bytes>, Error> {
        match self {
            Self::Ledger(ledger) => ledger.fetch(key, patience),
            Self::Local(fetch) => fetch(key).map_err(|reason| Error::Local {
                key: key.to_owned(),
                reason,
            }),
        }
    }
}

impl Ledger {
    fn fetch(&self, key: &str, patience: Duration) -> Result<Option<Bytes>, Error> {
        let subject = self.name.state(key);
        let read = self.stream.get_last_raw_message_by_subject(&subject);
        let answer = self
            .runtime
            .block_on(async { tokio::time::timeout(patience, read).await });
        match answer {
            Err(_elapsed) => Err(Error::Timeout {
                key: key.to_owned(),
                waited: patience,
            }),
            Ok(Ok(message)) if super::message::is_tombstone(&message.headers) => Ok(None),
            Ok(Ok(message)) => Ok(Some(message.payload)),
            Ok(Err(error)) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Ok(Err(source)) => Err(Error::Broker {
                key: key.to_owned(),
                source,
            }),
        }
    }
}

impl Inner {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn touch(&mut self, key: &str) -> Option<(Option<Bytes>, u64)> {
        let now = self.tick();
        let entry = self.entries.get_mut(key)?;
        entry.used = now;
        Some((entry.value.clone(), entry.version))
    }

    fn fill(&mut self, key: &str, value: Option<Bytes>) -> (Option<Bytes>, u64) {
        let version = self.tick();
        self.bytes += cost(key, value.as_ref());
        self.entries.insert(
            key.to_owned(),
            Entry {
                value: value.clone(),
                version,
                uncommitted: 0,
                used: version,
            },
        );
        (value, version)
    }

    fn write(&mut self, key: &str, value: Option<Bytes>) {
        let version = self.tick();
        self.bytes += cost(key, value.as_ref());
        if let Some(entry) = self.entries.get_mut(key) {
            self.bytes -= cost(key, entry.value.as_ref());
            entry.value = value;
            entry.version = version;
            entry.used = version;
            entry.uncommitted += 1;
        } else {
            self.entries.insert(
                key.to_owned(),
                Entry {
                    value,
                    version,
                    uncommitted: 1,
                    used: version,
                },
            );
        }
    }

    /// Lets go of the clean entries that were not used for the longest time, half of them.
    fn evict(&mut self, allowed: usize) {
        if self.bytes <= allowed {
            return;
        }
        let mut used: Vec<u64> = self.entries.values().map(|entry| entry.used).collect();
        let middle = used.len() / 2;
        let (_, pivot, _) = used.select_nth_unstable(middle);
        let pivot = *pivot;
        self.entries
            .retain(|_, entry| 0 < entry.uncommitted || pivot < entry.used);
        self.bytes = self
            .entries
            .iter()
            .map(|(key, entry)| cost(key, entry.value.as_ref()))
            .sum();
        self.evictions += 1;
    }
}

fn cost(key: &str, value: Option<&Bytes>) -> usize {
    ENTRY_BYTES + key.len() + value.map_or(0, Bytes::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;

    fn write(key: &str, value: &str) -> Writes {
        Writes::from([(key.to_owned(), Some(Bytes::from(value.to_owned())))])
    }

    #[test]
    fn a_call_that_read_an_old_value_is_not_accepted() {
        let state = StateCache::in_memory();
        let (none, version) = state.get("total", NOW).expect("memory");
        assert_eq!(none, None);
        let reads = Reads::from([("total".to_owned(), version)]);
        assert!(state.accept(&reads, &write("total", "1")));
        assert!(!state.accept(&reads, &write("total", "1")));
        let (value, version) = state.get("total", NOW).expect("memory");
        assert_eq!(value.as_deref(), Some(b"1".as_slice()));
        let reads = Reads::from([("total".to_owned(), version)]);
        assert!(state.accept(&reads, &write("total", "2")));
    }

    #[test]
    fn what_a_key_had_is_told_where_that_is_wanted_and_it_changes() {
        let state = StateCache::in_memory().keeping_past();
        let accepted = |writes: &Writes| {
            let reads = writes.keys().map(|key| {
                let (_, version) = state.get(key, NOW).expect("memory");
                (key.clone(), version)
            });
            let reads: Reads = reads.collect();
            state.accepted(&reads, writes).expect("current")
        };
        let key = || "total".to_owned();
        assert_eq!(accepted(&write("total", "1")), [(key(), None)]);
        assert_eq!(accepted(&write("total", "1")), []);
        let one = Some(Bytes::from_static(b"1"));
        assert_eq!(accepted(&write("total", "2")), [(key(), one)]);
        let two = Some(Bytes::from_static(b"2"));
        assert_eq!(accepted(&Writes::from([(key(), None)])), [(key(), two)]);
        assert_eq!(accepted(&Writes::from([(key(), None)])), []);
    }

    #[test]
    fn what_is_not_committed_is_never_let_go() {
        let mut inner = Inner::default();
        inner.write("kept", Some(Bytes::from_static(b"new")));
        for n in 0..10 {
            inner.fill(&format!("clean{n}"), None);
        }
        inner.evict(0);
        assert!(inner.entries.contains_key("kept"));
        assert!(inner.entries.len() < 11);
        assert_eq!(inner.evictions, 1);
        let total: usize = inner
            .entries
            .iter()
            .map(|(k, e)| cost(k, e.value.as_ref()))
            .sum();
        assert_eq!(inner.bytes, total);
    }
}

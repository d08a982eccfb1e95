//! Takes what a shadow has done, keeps it in one file: each group of events wholly or not at all.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use redb::{Builder, Database, DatabaseError, ReadableDatabase as _, TableDefinition};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Definition, Difference, Progress, Scope};
use crate::ledger::inbox::InboxId;

const FILE: &str = "shadow.redb";
/// Bytes of the file that are kept in memory.
const CACHE: usize = 64 << 20;

/// `definition`, `scope` and `progress`, as JSON.
const FACTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("facts");
/// The shadow's own state.
const STATE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("state");
/// Events that it has handled, and when the broker stored each; Unix milliseconds.
const SEEN: TableDefinition<'_, InboxId, u64> = TableDefinition::new("seen");
/// What is recorded of the plug-in: what caused it and where it stands, and its fingerprint.
const RECORDED: TableDefinition<'_, (u128, u64), u128> = TableDefinition::new("recorded");
/// By the event's place, as JSON.
const DIFFERENCES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("differences");

const DEFINITION: &str = "definition";
const SCOPE: &str = "scope";
const PROGRESS: &str = "progress";

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be opened, read or written.
    #[error("{}: {reason}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the store, or the disk, says.
        reason: String,
    },
    /// Another process does this replay.
    #[error("{} is in use: another process does this replay", path.display())]
    InUse {
        /// Which.
        path: PathBuf,
    },
}

/// What a group of events changes.
#[derive(Debug, Default)]
pub struct Group {
    /// State: none is the end of a key.
    pub state: BTreeMap<String, Option<Bytes>>,
    /// Events that were handled, and when the broker stored each.
    pub seen: BTreeMap<InboxId, u64>,
    /// What was otherwise.
    pub differences: Vec<Difference>,
}

/// What is recorded of the plug-in, as it is found again: what caused it, where it stands, and
/// its fingerprint; 0 where nothing is left to be compared.
pub(super) type Recorded = ((u128, u64), u128);

/// The file.
pub struct Store {
    path: PathBuf,
    database: Database,
}

impl Store {
    /// Opens the file of this folder, or makes both.
    ///
    /// # Errors
    /// When another process has it open, or the disk does not do it.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(FILE);
        let failed = |reason: String| Error::File {
            path: path.clone(),
            reason,
        };
        std::fs::create_dir_all(folder).map_err(|error| failed(error.to_string()))?;
        let opened = Builder::new().set_cache_size(CACHE).create(&path);
        let database = opened.map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => Error::InUse { path: path.clone() },
            other => failed(other.to_string()),
        })?;
        let store = Self { path, database };
        // So that reading finds every table.
        store.write(|_| Ok(()))?;
        Ok(store)
    }

    /// What the shadow is, if it has begun.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn definition(&self) -> Result<Option<Definition>, Error> {
        self.fact(DEFINITION)
    }

    /// What was known of the plug-in when it began.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn scope(&self) -> Result<Scope, Error> {
        Ok(self.fact(SCOPE)?.unwrap_or_default())
    }

    /// How far it is.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn progress(&self) -> Result<Progress, Error> {
        Ok(self.fact(PROGRESS)?.unwrap_or_default())
    }

    /// Begins with nothing.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn begin(
        &self,
        definition: &Definition,
        scope: &Scope,
        progress: &Progress,
    ) -> Result<(), Error> {
        self.write(|tables| {
            tables.fact(DEFINITION, definition)?;
            tables.fact(SCOPE, scope)?;
            tables.fact(PROGRESS, progress)
        })
    }

    /// A value of the shadow's state.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn state(&self, key: &str) -> Result<Option<Bytes>, Error> {
        self.read(|read| {
            let table = read.open_table(STATE)?;
            let value = table.get(key)?;
            Ok(value.map(|value| Bytes::copy_from_slice(value.value())))
        })
    }

    /// When the broker stored this event, if the shadow has handled it before.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn seen(&self, id: &InboxId) -> Result<Option<u64>, Error> {
        self.read(|read| {
            let table = read.open_table(SEEN)?;
            let at = table.get(id)?;
            Ok(at.map(|at| at.value()))
        })
    }

    /// What is recorded under a cause: places and fingerprints.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn recorded(&self, cause: u128) -> Result<Vec<(u64, u128)>, Error> {
        self.read(|read| {
            let table = read.open_table(RECORDED)?;
            let mut found = Vec::new();
            for row in table.range((cause, 0)..=(cause, u64::MAX))? {
                let (key, fingerprint) = row?;
                found.push((key.value().1, fingerprint.value()));
            }
            Ok(found)
        })
    }

    /// Keeps what is recorded, and how far that is known.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn record(&self, recorded: &[Recorded], progress: &Progress) -> Result<(), Error> {
        self.write(|tables| {
            for (key, fingerprint) in recorded {
                tables.recorded.insert(key, fingerprint)?;
            }
            tables.fact(PROGRESS, progress)
        })
    }

    /// Keeps what a group of events did, and how far the shadow is now.
    ///
    /// # Errors
    /// When the file cannot be written; then nothing of it is kept.
    pub fn commit(&self, group: &Group, progress: &Progress) -> Result<(), Error> {
        self.write(|tables| {
            for (key, value) in &group.state {
                match value {
                    Some(value) => tables.state.insert(key.as_str(), &**value)?,
                    None => tables.state.remove(key.as_str())?,
                };
            }
            for (id, at) in &group.seen {
                tables.seen.insert(id, at)?;
            }
            for difference in &group.differences {
                let text = json(difference);
                tables
                    .differences
                    .insert(difference.sequence, text.as_slice())?;
            }
            tables.fact(PROGRESS, progress)
        })
    }

    /// The differences at these places, in their order, until `each` has enough.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn differences(
        &self,
        places: RangeInclusive<u64>,
        mut each: impl FnMut(Difference) -> bool,
    ) -> Result<(), Error> {
        self.read(|read| {
            let table = read.open_table(DIFFERENCES)?;
            for row in table.range(places.clone())? {
                let (_, text) = row?;
                let difference = serde_json::from_slice(text.value());
                let difference = difference.map_err(std::io::Error::from)?;
                if !each(difference) {
                    break;
                }
            }
            Ok(())
        })
    }

    fn fact<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        self.read(|read| {
            let table = read.open_table(FACTS)?;
            let Some(text) = table.get(name)? else {
                return Ok(None);
            };
            let fact = serde_json::from_slice(text.value());
            Ok(Some(fact.map_err(std::io::Error::from)?))
        })
    }

    fn read<T>(
        &self,
        read: impl FnOnce(&redb::ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, Error> {
        let begun = self.database.begin_read().map_err(redb::Error::from);
        let done = begun.and_then(|transaction| read(&transaction));
        done.map_err(|error| self.failed(&error))
    }

    fn write(
        &self,
        write: impl FnOnce(&mut Tables<'_>) -> Result<(), redb::Error>,
    ) -> Result<(), Error> {
        let done = || -> Result<(), redb::Error> {
            let transaction = self.database.begin_write()?;
            let mut tables = Tables {
                facts: transaction.open_table(FACTS)?,
                state: transaction.open_table(STATE)?,
                seen: transaction.open_table(SEEN)?,
                recorded: transaction.open_table(RECORDED)?,
                differences: transaction.open_table(DIFFERENCES)?,
            };
            write(&mut tables)?;
            drop(tables);
            transaction.commit()?;
            Ok(())
        };
        done().map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &redb::Error) -> Error {
        Error::File {
            path: self.path.clone(),
            reason: error.to_string(),
        }
    }
}

struct Tables<'a> {
    facts: redb::Table<'a, &'static str, &'static [u8]>,
    state: redb::Table<'a, &'static str, &'static [u8]>,
    seen: redb::Table<'a, InboxId, u64>,
    recorded: redb::Table<'a, (u128, u64), u128>,
    differences: redb::Table<'a, u64, &'static [u8]>,
}

impl Tables<'_> {
    fn fact(&mut self, name: &str, fact: &impl Serialize) -> Result<(), redb::Error> {
        self.facts.insert(name, json(fact).as_slice())?;
        Ok(())
    }
}

/// The types that are written here have no way to fail.
fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

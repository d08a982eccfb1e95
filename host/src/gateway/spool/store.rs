//! Takes groups of changes, gives them durable in one file: each group wholly or not at all.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use redb::Database;
use tokio::time::Instant;

use super::reserve::Reserve;
use super::tables::{self, Change, Layout, OpenError, Standing};
use crate::host::chain;

const FILE: &str = "spool.redb";
/// An empty file that is bigger than this gives its room back.
const COMPACT_ABOVE: u64 = 64 << 20;
/// After a failure the file is left alone for a while: opening it reads all of it.
const REST_FIRST: Duration = Duration::from_millis(100);
const REST_LONGEST: Duration = Duration::from_secs(2);

/// The file. After a failure it is closed, and opened again for a later change: the store
/// takes nothing more on a file that has failed.
pub(super) struct Store {
    path: PathBuf,
    database: Option<Database>,
    standing: Standing,
    /// The number that the next record gets.
    next: u64,
    reserve: Reserve,
    rest: Duration,
    /// Nothing is appended before this, and why.
    resting: Option<(Instant, String)>,
}

impl Store {
    /// Whether the folder holds a file.
    pub(super) fn exists(folder: &Path) -> bool {
        folder.join(FILE).exists()
    }

    /// Opens the file in this folder, or makes it. Reads all of it: damage is found here.
    pub(super) fn open(folder: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Folder {
            path: folder.to_owned(),
            source,
        };
        fs::create_dir_all(folder).map_err(failed)?;
        let path = folder.join(FILE);
        let mut store = Self {
            path,
            database: None,
            standing: Standing::default(),
            next: 1,
            reserve: Reserve::new(folder),
            rest: REST_FIRST,
            resting: None,
        };
        let database = tables::open(&store.path, true)?;
        store
            .adopt(&database)
            .map_err(|error| error.at(&store.path))?;
        // The names of a new file and a new folder are durable only with their parents.
        let parent = folder.parent().filter(|parent| parent.is_dir());
        for folder in std::iter::once(folder).chain(parent) {
            File::open(folder)
                .and_then(|folder| folder.sync_all())
                .map_err(failed)?;
        }
        store.database = Some(database);
        Ok(store)
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What the last durable change left.
    pub(super) fn standing(&self) -> Standing {
        self.standing
    }

    /// Makes a group durable; the error says why nothing of it is.
    pub(super) fn apply(&mut self, change: &Change) -> Result<(), String> {
        if let Some((until, error)) = &self.resting
            && Instant::now() < *until
        {
            return Err(error.clone());
        }
        self.attempt(change)
    }

    /// The same for a group that appends nothing: it may use the reserve, and need not wait
    /// until the file has rested.
    pub(super) fn settle(&mut self, change: &Change) -> Result<(), String> {
        match self.attempt(change) {
            Err(_) if self.reserve.give() => self.attempt(change),
            result => result,
        }
    }

    fn attempt(&mut self, change: &Change) -> Result<(), String> {
        let database = self.opened()?;
        match tables::write(&database, change, self.next, self.standing) {
            Ok(standing) => {
                self.database = Some(database);
                self.standing = standing;
                self.next += change.append.len() as u64;
                self.rest = REST_FIRST;
                if standing.records == 0 {
                    self.give_room_back();
                    self.reserve.make();
                }
                Ok(())
            }
            Err(error) => {
                drop(database);
                Err(self.failed(error.to_string()))
            }
        }
    }

    /// The records from a number on: at most so many, and so many bytes (but one at least).
    pub(super) fn read(
        &mut self,
        from: u64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, String> {
        let database = self.opened()?;
        match tables::read(&database, from, max_records, max_bytes) {
            Ok(records) => {
                self.database = Some(database);
                Ok(records)
            }
            Err(error) => {
                drop(database);
                Err(self.failed(error.to_string()))
            }
        }
    }

    fn failed(&mut self, error: String) -> String {
        self.resting = Some((Instant::now() + self.rest, error.clone()));
        self.rest = (self.rest * 2).min(REST_LONGEST);
        error
    }

    /// The database, opened again when a failure has closed it. It is put back by the
    /// caller when all went well.
    fn opened(&mut self) -> Result<Database, String> {
        self.resting = None;
        if let Some(database) = self.database.take() {
            return Ok(database);
        }
        let reopened = tables::open(&self.path, false).map_err(|error| chain(&error));
        let result = reopened.and_then(|database| {
            tables::forget(&database, self.next).map_err(|error| error.to_string())?;
            self.adopt(&database).map_err(|error| error.to_string())?;
            Ok(database)
        });
        match result {
            Ok(database) => {
                tracing::info!(path = %self.path.display(), "the spool was opened again");
                Ok(database)
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Reads how the file stands; writes it into a new one.
    fn adopt(&mut self, database: &Database) -> Result<(), Layout> {
        let (standing, next) = tables::prepare(database)?;
        self.standing = standing;
        self.next = self.next.max(next);
        Ok(())
    }

    /// The file of a spool that was long stays long until somebody says otherwise.
    fn give_room_back(&mut self) {
        let Some(database) = &mut self.database else {
            return;
        };
        let length = fs::metadata(&self.path).map_or(0, |file| file.len());
        if length <= COMPACT_ABOVE {
            return;
        }
        if let Err(error) = database.compact() {
            tracing::warn!(%error, path = %self.path.display(), "the spool's file stays long");
            self.database = None;
        }
    }
}

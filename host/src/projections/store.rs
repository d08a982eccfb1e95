//! Takes what a group of events did to the rows of a projection, gives it a file that has all of it
//! or nothing: the rows, the place, what was refused, what rows had before.
//!
//! One connection writes, on the thread that makes the calls; others read what is committed, each
//! question in a transaction of its own, so that an answer is from one moment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Transaction, params};

use self::read::Readers;
use crate::ledger::inbox::InboxId;
use crate::manifest::Projection;
use crate::plugin::rows::of_place;

mod group;
mod housekeeping;
pub(in crate::projections) mod past;
mod read;
pub(in crate::projections) mod schema;
#[cfg(test)]
mod tests;

pub use self::group::{Change, Group, Refused, Standing};
pub use self::housekeeping::Keep;
pub use self::past::{Known, Moment};

/// Refused events that are kept; the newest are.
const MOST_REFUSED: i64 = 10_000;
/// Bytes of a refusal's text.
const MAX_ERROR: usize = 2 << 10;

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be opened, read or written.
    #[error("{}: {source}", path.display())]
    Sqlite {
        /// Which.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The folder cannot be made or read, or a file in it not be written.
    #[error("{}: {source}", path.display())]
    Disk {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Another version of the host wrote it.
    #[error(
        "{}: the file is of the form {found}, and this version of the host writes {expected}; \
         remove the folder, and the projection is built anew",
        path.display()
    )]
    Form {
        /// Which.
        path: PathBuf,
        /// As it says.
        found: i64,
        /// As this host has it.
        expected: i64,
    },
    /// Somebody else writes it.
    #[error(
        "{}: another process has moved the projection on meanwhile: two hosts have the same \
         data_dir; give each one its own",
        path.display()
    )]
    Taken {
        /// Which.
        path: PathBuf,
    },
    /// The question took too long, and was ended.
    #[error(
        "the question took longer than {0:?} and was ended; an index on the members that it \
         filters and orders by (`indexes` under [projection]) makes it quick"
    )]
    TooLong(std::time::Duration),
}

/// The file of one version of a projection.
pub struct Store {
    path: PathBuf,
    shape: Projection,
    writer: Mutex<Connection>,
    readers: Readers,
    /// The file goes with the last who uses it.
    is_doomed: AtomicBool,
}

impl Store {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// When the disk does not do it, or it is of another form.
    pub fn open(path: &Path, shape: &Projection) -> Result<Self, Error> {
        let failed = |source| Error::Sqlite {
            path: path.to_owned(),
            source,
        };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut writer = Connection::open_with_flags(path, flags).map_err(failed)?;
        let found = schema::prepare(&mut writer, shape).map_err(failed)?;
        if found != schema::FORM {
            return Err(Error::Form {
                path: path.to_owned(),
                found,
                expected: schema::FORM,
            });
        }
        Ok(Self {
            readers: Readers::new(path),
            path: path.to_owned(),
            shape: shape.clone(),
            writer: Mutex::new(writer),
            is_doomed: AtomicBool::new(false),
        })
    }

    /// The tables, and what is kept of them.
    pub fn shape(&self) -> &Projection {
        &self.shape
    }

    /// The file goes when nobody uses it any more.
    pub fn doom(&self) {
        self.is_doomed.store(true, Ordering::Relaxed);
    }

    /// Up to where it is.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn standing(&self) -> Result<Standing, Error> {
        let writer = self.writer.lock();
        schema::standing(&writer).map_err(|source| self.failed(source))
    }

    /// A row as the last commit left it.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn row(&self, place: &str) -> Result<Option<Bytes>, Error> {
        let (table, key) = of_place(place);
        let writer = self.writer.lock();
        let read = || {
            let sql = format!("SELECT row FROM {} WHERE key = ?1", schema::rows(table));
            let mut statement = writer.prepare_cached(&sql)?;
            let row = statement.query_row([key], |row| row.get::<_, Option<String>>(0));
            row.optional()
        };
        let row = read().map_err(|source| self.failed(source))?;
        Ok(row.flatten().map(Bytes::from))
    }

    /// When the store took this event, if the projection has handled it before.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn seen(&self, id: &InboxId) -> Result<Option<u64>, Error> {
        let writer = self.writer.lock();
        let read = || {
            let mut statement = writer.prepare_cached("SELECT at FROM seen WHERE id = ?1")?;
            let at = statement.query_row([id.as_slice()], |row| row.get::<_, i64>(0));
            at.optional()
        };
        let at = read().map_err(|source| self.failed(source))?;
        Ok(at.map(unsigned))
    }

    /// Keeps what a group of events did, and that they have had their turn: all of it, or nothing.
    /// Gives up to where the file is then.
    ///
    /// # Errors
    /// When it cannot be written, or another process has moved it on; then nothing of the group is
    /// kept.
    pub fn commit(&self, before: &Standing, group: &Group) -> Result<Standing, Error> {
        let mut writer = self.writer.lock();
        let now = Standing {
            position: group.after,
            at: group.at.max(before.at),
            applied: before.applied + group.applied,
            refused: before.refused + group.refused.len() as u64,
            lost: before.lost + group.lost,
        };
        let mut write = || {
            let transaction = writer.transaction()?;
            if !schema::move_on(&transaction, before.position, &now)? {
                return Ok(false);
            }
            self.write(&transaction, group)?;
            transaction.commit()?;
            Ok(true)
        };
        match write().map_err(|source| self.failed(source))? {
            true => Ok(now),
            false => Err(Error::Taken {
                path: self.path.clone(),
            }),
        }
    }

    fn write(&self, transaction: &Transaction<'_>, group: &Group) -> rusqlite::Result<()> {
        let mut newest: BTreeMap<&str, &Change> = BTreeMap::new();
        for change in &group.changes {
            newest.insert(&change.place, change);
        }
        for change in newest.into_values() {
            write_row(transaction, change)?;
        }
        if self.shape.history.is_some() {
            past::keep(transaction, &self.shape.tables, &group.changes)?;
        }
        let mut seen = transaction.prepare_cached(
            "INSERT INTO seen (id, at) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET at = ?2",
        )?;
        for (id, at) in &group.seen {
            seen.execute(params![id.as_slice(), signed(*at)])?;
        }
        for refused in &group.refused {
            write_refused(transaction, refused)?;
        }
        Ok(())
    }

    /// The newest refused events, so many at most.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn refused(&self, most: usize) -> Result<Vec<Refused>, Error> {
        self.read(|read| {
            let mut statement = read.prepare_cached(
                "SELECT sequence, id, type, reason, error, stored FROM refused \
                 ORDER BY sequence DESC LIMIT ?1",
            )?;
            let rows = statement.query_map([signed(most as u64)], |row| {
                Ok(Refused {
                    sequence: unsigned(row.get(0)?),
                    id: row.get(1)?,
                    event_type: row.get(2)?,
                    reason: row.get(3)?,
                    error: row.get(4)?,
                    stored: row.get(5)?,
                })
            })?;
            rows.collect()
        })
    }

    /// How many rows each table has.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn counts(&self) -> Result<BTreeMap<String, u64>, Error> {
        self.read(|read| {
            let mut counts = BTreeMap::new();
            for table in &self.shape.tables {
                let count = schema::number(read, &schema::count_of(table))?;
                counts.insert(table.clone(), unsigned(count));
            }
            Ok(counts)
        })
    }

    /// Bytes that the file takes, with what is about to go into it.
    pub fn size(&self) -> u64 {
        let sizes = files(&self.path).into_iter();
        let sizes = sizes.filter_map(|file| std::fs::metadata(file).ok());
        sizes.map(|metadata| metadata.len()).sum()
    }

    fn failed(&self, source: rusqlite::Error) -> Error {
        Error::Sqlite {
            path: self.path.clone(),
            source,
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if self.is_doomed.load(Ordering::Relaxed) {
            remove(&self.path);
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Store").field(&self.path).finish()
    }
}

/// Takes a file away, and what SQLite has beside it.
pub fn remove(path: &Path) {
    for file in files(path) {
        // What is not there any more is gone; what cannot be taken away is tried at the next start.
        let _ = std::fs::remove_file(file);
    }
}

fn files(path: &Path) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|suffix| {
        let mut file = path.as_os_str().to_owned();
        file.push(suffix);
        PathBuf::from(file)
    })
}

/// A row that stays as it was is no change.
fn write_row(transaction: &Transaction<'_>, change: &Change) -> rusqlite::Result<()> {
    let (table, key) = of_place(&change.place);
    let rows = schema::rows(table);
    let row = change.row.as_deref().map(String::from_utf8_lossy);
    let before: Option<Option<String>> = transaction
        .prepare_cached(&format!("SELECT row FROM {rows} WHERE key = ?1"))?
        .query_row([key], |row| row.get(0))
        .optional()?;
    let added = match (before.as_ref().and_then(Option::as_deref), row.as_deref()) {
        (None, None) => return Ok(()),
        (Some(before), Some(now)) if before == now => return Ok(()),
        (Some(_), Some(_)) => 0,
        (None, Some(_)) => 1,
        (Some(_), None) => -1,
    };
    let sql = match before {
        Some(_) => format!("UPDATE {rows} SET row = ?2, changed = ?3 WHERE key = ?1"),
        None => format!("INSERT INTO {rows} (key, row, changed) VALUES (?1, ?2, ?3)"),
    };
    let mut write = transaction.prepare_cached(&sql)?;
    write.execute(params![key, row, signed(change.sequence)])?;
    if added != 0 {
        schema::add(transaction, &schema::count_of(table), added)?;
    }
    Ok(())
}

fn write_refused(transaction: &Transaction<'_>, refused: &Refused) -> rusqlite::Result<()> {
    let mut error = refused.error.as_str();
    if MAX_ERROR < error.len() {
        let end = (0..=MAX_ERROR)
            .rev()
            .find(|end| error.is_char_boundary(*end));
        error = error.get(..end.unwrap_or(0)).unwrap_or_default();
    }
    let mut insert = transaction.prepare_cached(
        "INSERT OR REPLACE INTO refused (sequence, id, type, reason, error, stored) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    insert.execute(params![
        signed(refused.sequence),
        refused.id,
        refused.event_type,
        refused.reason,
        error,
        refused.stored
    ])?;
    let mut keep = transaction.prepare_cached(
        "DELETE FROM refused WHERE sequence <= \
         (SELECT sequence FROM refused ORDER BY sequence DESC LIMIT 1 OFFSET ?1)",
    )?;
    keep.execute([MOST_REFUSED])?;
    Ok(())
}

/// SQLite has no unsigned numbers; no sequence and no time gets so far.
pub(in crate::projections) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(in crate::projections) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

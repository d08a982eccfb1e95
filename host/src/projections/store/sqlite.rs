//! Takes what a group of events did, gives a file of SQLite that has all of it or nothing.
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
use super::group::MOST_REFUSED;
use super::{Change, Error, Group, Refused, Standing, signed, unsigned};
use crate::ledger::inbox::InboxId;
use crate::manifest::Projection;
use crate::plugin::rows::of_place;

mod changes;
mod housekeeping;
mod page;
mod past;
mod read;
mod schema;
mod sql;
#[cfg(test)]
mod tests;

/// The file of one version of a projection.
#[derive(Debug)]
pub struct Sqlite {
    path: PathBuf,
    shape: Projection,
    writer: Mutex<Connection>,
    readers: Readers,
    /// The file goes with the last who uses it.
    is_doomed: AtomicBool,
}

impl Sqlite {
    /// Opens the file, or makes it.
    pub(in crate::projections) fn open(path: &Path, shape: &Projection) -> Result<Self, Error> {
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
                place: path.display().to_string(),
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
    pub(super) fn shape(&self) -> &Projection {
        &self.shape
    }

    /// The file goes when nobody uses it any more.
    pub(super) fn doom(&self) {
        self.is_doomed.store(true, Ordering::Relaxed);
    }

    /// Up to where it is.
    pub(super) fn standing(&self) -> Result<Standing, Error> {
        let writer = self.writer.lock();
        schema::standing(&writer).map_err(|source| self.failed(source))
    }

    /// A row as the last commit left it.
    pub(super) fn row(&self, place: &str) -> Result<Option<Bytes>, Error> {
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

    /// Those of these events that the projection has handled before, and when the store took each.
    pub(super) fn seen(&self, ids: &[InboxId]) -> Result<BTreeMap<InboxId, u64>, Error> {
        let writer = self.writer.lock();
        let read = || {
            let mut statement = writer.prepare_cached("SELECT at FROM seen WHERE id = ?1")?;
            let mut seen = BTreeMap::new();
            for id in ids {
                let at = statement.query_row([id.as_slice()], |row| row.get::<_, i64>(0));
                if let Some(at) = at.optional()? {
                    seen.insert(*id, unsigned(at));
                }
            }
            Ok(seen)
        };
        read().map_err(|source| self.failed(source))
    }

    /// Keeps what a group of events did, and that they have had their turn: all of it, or nothing.
    /// Gives up to where the file is then.
    pub(super) fn commit(&self, before: &Standing, group: &Group) -> Result<Standing, Error> {
        let mut writer = self.writer.lock();
        let now = before.after(group);
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
                place: self.path.display().to_string(),
            }),
        }
    }

    fn write(&self, transaction: &Transaction<'_>, group: &Group) -> rusqlite::Result<()> {
        for change in group.newest() {
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
    pub(super) fn refused(&self, most: usize) -> Result<Vec<Refused>, Error> {
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
    pub(super) fn counts(&self) -> Result<BTreeMap<String, u64>, Error> {
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
    pub(super) fn size(&self) -> u64 {
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

impl Drop for Sqlite {
    fn drop(&mut self) {
        if self.is_doomed.load(Ordering::Relaxed) {
            remove(&self.path);
        }
    }
}

/// Takes a file away, and what SQLite has beside it.
pub(in crate::projections) fn remove(path: &Path) {
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
    let mut insert = transaction.prepare_cached(
        "INSERT OR REPLACE INTO refused (sequence, id, type, reason, error, stored) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    insert.execute(params![
        signed(refused.sequence),
        refused.id,
        refused.event_type,
        refused.reason,
        refused.error_text(),
        refused.stored
    ])?;
    let mut keep = transaction.prepare_cached(
        "DELETE FROM refused WHERE sequence <= \
         (SELECT sequence FROM refused ORDER BY sequence DESC LIMIT 1 OFFSET ?1)",
    )?;
    keep.execute([MOST_REFUSED])?;
    Ok(())
}

//! Takes the spool's file, gives what stands in it, and changes it: one transaction each.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, ReadableTableMetadata,
    StorageError, TableDefinition, WriteTransaction,
};

/// The messages, by number.
const RECORDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("records");
/// What could be neither delivered nor dropped, by the number that it had.
const ASIDE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("aside");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// In [`META`]: the layout of this file.
const FORMAT: &str = "format";
/// In [`META`]: the number that the next message gets. None is given twice.
const NEXT: &str = "next";
/// In [`META`]: what the records take.
const BYTES: &str = "bytes";

const FORMAT_NOW: u64 = 1;
/// The store's page cache.
const CACHE: usize = 16 << 20;
/// What a record takes besides its own bytes, about.
pub(super) const OVERHEAD: u64 = 64;

/// Why the spool's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its folder cannot be made.
    #[error("the spool's folder {} cannot be made or written", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Somebody has it.
    #[error("the spool {} is in use: is another host running on this host.data_dir?", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// It is no spool, one of another version, or damaged.
    #[error(
        "the spool {} cannot be read: {reason}; move the file away to start with an empty one \
         (events that wait in it are then not delivered), or set gateway.spool = false",
        path.display()
    )]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The disk does not give it.
    #[error("the spool {} cannot be opened", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// What one group does.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// New records, in their order.
    pub(super) append: Vec<Vec<u8>>,
    /// Numbers of records that are done with.
    pub(super) remove: Vec<u64>,
    /// Numbers of records that are kept, but out of the way.
    pub(super) aside: Vec<u64>,
}

/// How much there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// Messages that wait for the broker.
    pub records: u64,
    /// What they take, with an overhead for each.
    pub bytes: u64,
    /// Messages that were put aside.
    pub aside: u64,
}

/// Why the tables of a file will not do.
#[derive(Debug, thiserror::Error)]
pub(super) enum Layout {
    #[error("it has format {0}; this version reads {FORMAT_NOW}")]
    Format(u64),
    #[error(transparent)]
    Store(#[from] redb::Error),
}

impl Layout {
    /// The same, said of a file.
    pub(super) fn at(self, path: &Path) -> OpenError {
        match self {
            Layout::Store(error) => open_error(path, error),
            Layout::Format(_) => OpenError::Unusable {
                path: path.to_owned(),
                reason: self.to_string(),
            },
        }
    }
}

/// Opens the file or makes it; `verified`: every page of it is looked at.
pub(super) fn open(path: &Path, verified: bool) -> Result<Database, OpenError> {
    Builder::new()
        .set_cache_size(CACHE)
        .set_check_integrity_on_open(verified)
        .create(path)
        .map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => OpenError::Locked {
                path: path.to_owned(),
            },
            other => open_error(path, other.into()),
        })
}

fn open_error(path: &Path, error: redb::Error) -> OpenError {
    let path = path.to_owned();
    match error {
        redb::Error::Io(source)
            // These two say something about the bytes, not about the disk.
            if !matches!(
                source.kind(),
                ErrorKind::InvalidData | ErrorKind::UnexpectedEof
            ) =>
        {
            OpenError::Io { path, source }
        }
        other => OpenError::Unusable {
            path,
            reason: other.to_string(),
        },
    }
}

/// Makes the tables of a new file; gives how the file stands, and the next number.
pub(super) fn prepare(database: &Database) -> Result<(Standing, u64), Layout> {
    let transaction = database.begin_write().map_err(redb::Error::from)?;
    let opened = || -> Result<Option<u64>, redb::Error> {
        transaction.open_table(RECORDS)?;
        transaction.open_table(ASIDE)?;
        let mut meta = transaction.open_table(META)?;
        let found = meta.get(FORMAT)?.map(|found| found.value());
        if found.is_none() {
            meta.insert(FORMAT, FORMAT_NOW)?;
            meta.insert(NEXT, 1)?;
            meta.insert(BYTES, 0)?;
        }
        Ok(found)
    };
    let found = opened()?;
    let standing = standing(&transaction)?;
    match found {
        None => transaction.commit().map_err(redb::Error::from)?,
        Some(FORMAT_NOW) => transaction.abort().map_err(redb::Error::from)?,
        Some(other) => return Err(Layout::Format(other)),
    }
    Ok(standing)
}

/// A group whose commit failed may be in the file all the same, though its senders were told
/// that it is not: what has a number from `unanswered` on goes.
pub(super) fn forget(database: &Database, unanswered: u64) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    let mut bytes = standing(&transaction)?.0.bytes;
    let mut numbers = Vec::new();
    {
        let mut records = transaction.open_table(RECORDS)?;
        for entry in records.range(unanswered..)? {
            let (number, record) = entry?;
            numbers.push(number.value());
            bytes = bytes.saturating_sub(size(record.value()));
        }
        for number in &numbers {
            records.remove(number)?;
        }
        transaction.open_table(META)?.insert(BYTES, bytes)?;
    }
    if numbers.is_empty() {
        transaction.abort()?;
    } else {
        transaction.commit()?;
    }
    Ok(())
}

fn standing(transaction: &WriteTransaction) -> Result<(Standing, u64), redb::Error> {
    let meta = transaction.open_table(META)?;
    let standing = Standing {
        records: transaction.open_table(RECORDS)?.len()?,
        bytes: value(&meta, BYTES)?,
        aside: transaction.open_table(ASIDE)?.len()?,
    };
    Ok((standing, value(&meta, NEXT)?))
}

fn value(meta: &impl ReadableTable<&'static str, u64>, name: &str) -> Result<u64, StorageError> {
    Ok(meta.get(name)?.map_or(0, |found| found.value()))
}

/// Makes a group durable; gives how the file stands then.
pub(super) fn write(
    database: &Database,
    change: &Change,
    next: u64,
    before: Standing,
) -> Result<Standing, redb::Error> {
    let transaction = database.begin_write()?;
    let mut bytes = before.bytes;
    {
        let mut records = transaction.open_table(RECORDS)?;
        for (number, record) in (next..).zip(&change.append) {
            bytes += size(record);
            records.insert(number, record.as_slice())?;
        }
        for number in &change.remove {
            if let Some(record) = records.remove(number)? {
                bytes = bytes.saturating_sub(size(record.value()));
            }
        }
        let mut aside = transaction.open_table(ASIDE)?;
        for number in &change.aside {
            if let Some(record) = records.remove(number)? {
                bytes = bytes.saturating_sub(size(record.value()));
                aside.insert(number, record.value())?;
            }
        }
        let mut meta = transaction.open_table(META)?;
        meta.insert(NEXT, next + change.append.len() as u64)?;
        meta.insert(BYTES, bytes)?;
    }
    let (standing, _) = standing(&transaction)?;
    // One fsync: the whole group or nothing of it is there after a crash.
    transaction.commit()?;
    Ok(standing)
}

/// The records from a number on: at most so many, and so many bytes (but one at least).
pub(super) fn read(
    database: &Database,
    from: u64,
    max_records: usize,
    max_bytes: usize,
) -> Result<Vec<(u64, Vec<u8>)>, redb::Error> {
    let transaction = database.begin_read()?;
    let mut found: Vec<(u64, Vec<u8>)> = Vec::new();
    let mut bytes = 0;
    for entry in transaction.open_table(RECORDS)?.range(from..)? {
        let (number, record) = entry?;
        bytes += record.value().len();
        if max_records <= found.len() || (max_bytes < bytes && !found.is_empty()) {
            break;
        }
        found.push((number.value(), record.value().to_vec()));
    }
    Ok(found)
}

/// What a record counts for.
pub(super) fn size(record: &[u8]) -> u64 {
    record.len() as u64 + OVERHEAD
}

//! Takes a question, gives its answer from one moment: a few connections that read beside the writer,
//! each question bounded in time.

use std::path::{Path, PathBuf};
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use tokio::time::Instant;

use super::{Error, Sqlite};

/// Connections that wait for a question.
const MAX_IDLE: usize = 4;
/// A question that takes longer is ended.
const PATIENCE: Duration = Duration::from_secs(5);
/// SQLite is looked at each time it has done so many of its steps.
const STEPS: i32 = 20_000;
/// KiB of pages that each keeps.
const CACHE: i64 = 8 << 10;

#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            idle: Mutex::default(),
        }
    }

    fn take(&self) -> rusqlite::Result<Connection> {
        if let Some(idle) = self.idle.lock().pop() {
            return Ok(idle);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let reader = Connection::open_with_flags(&self.path, flags)?;
        reader.busy_timeout(PATIENCE)?;
        reader.pragma_update(None, "query_only", true)?;
        reader.pragma_update(None, "cache_size", -CACHE)?;
        reader.set_prepared_statement_cache_capacity(64);
        Ok(reader)
    }

    fn put_back(&self, reader: Connection) {
        let mut idle = self.idle.lock();
        if idle.len() < MAX_IDLE {
            idle.push(reader);
        }
    }
}

impl Sqlite {
    /// Asks, of what is committed: what the answer is made of is all from one moment. Blocks for
    /// as long as a question may take.
    pub(super) fn read<T>(
        &self,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        let end = Instant::now() + PATIENCE;
        let ask = || {
            let mut reader = self.readers.take()?;
            reader.progress_handler(STEPS, Some(move || end <= Instant::now()))?;
            let transaction = reader.transaction()?;
            let answer = question(&transaction);
            drop(transaction);
            self.readers.put_back(reader);
            answer
        };
        ask().map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => Error::TooLong(PATIENCE),
            _ => self.failed(error),
        })
    }
}

//! Takes a projection's shape, gives the tables of its file.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::super::{Standing, signed, unsigned};
use crate::manifest::Projection;

/// The form of the file, `user_version`.
pub(super) const FORM: i64 = 1;
/// KiB of pages that the writer keeps.
const CACHE: i64 = 32 << 10;
/// Pages of 4 KiB in the log when it is carried into the file: what was written in several groups
/// meanwhile goes there once.
const CARRIED: i64 = 8_192;
/// Bytes of the log that stay on disk after they were carried into the file.
const LOG: i64 = 64 << 20;

const FACTS: &str = "
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS seen (id BLOB PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS seen_at ON seen (at);
CREATE TABLE IF NOT EXISTS refused (
    sequence INTEGER PRIMARY KEY, id TEXT NOT NULL, type TEXT NOT NULL, reason TEXT NOT NULL,
    error TEXT NOT NULL, stored TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS history (
    tbl INTEGER NOT NULL, key TEXT NOT NULL, sequence INTEGER NOT NULL, row TEXT,
    PRIMARY KEY (tbl, key, sequence)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS history_sequence ON history (sequence);
CREATE TABLE IF NOT EXISTS moments (
    at INTEGER NOT NULL, sequence INTEGER NOT NULL, PRIMARY KEY (at, sequence)) WITHOUT ROWID;
INSERT OR IGNORE INTO facts (name, value) VALUES
    ('position', 0), ('at', 0), ('applied', 0), ('refused', 0), ('lost', 0),
    ('since', 0), ('since_at', 0);
";

/// The SQL table of a projection's table. Its name is one of the manifest's, which has letters,
/// digits and `_` only.
pub(super) fn rows(table: &str) -> String {
    format!("\"rows_{table}\"")
}

/// The fact that says how many rows a table has.
pub(super) fn count_of(table: &str) -> String {
    format!("rows:{table}")
}

/// The fact that says up to where tombstones of a table were let go of.
pub(super) fn forgotten_of(table: &str) -> String {
    format!("forgotten:{table}")
}

/// A member of a row, as an index and a question name it: both have to be the same text.
pub(super) fn member(path: &str) -> String {
    format!("json_extract(row, '{}')", pointer(path))
}

/// The member's place in a row. Its words have letters, digits, `_` and `-` only.
pub(super) fn pointer(path: &str) -> String {
    let mut pointer = String::from("$");
    for word in path.split('.') {
        pointer.push_str(&format!(".\"{word}\""));
    }
    pointer
}

/// Makes what is missing, and gives the form that the file is of.
pub(super) fn prepare(writer: &mut Connection, shape: &Projection) -> rusqlite::Result<i64> {
    writer.busy_timeout(std::time::Duration::from_secs(10))?;
    let form = |writer: &Connection| writer.query_row("PRAGMA user_version", [], |row| row.get(0));
    let found: i64 = form(writer)?;
    if found != 0 && found != FORM {
        return Ok(found);
    }
    // A process that is killed loses nothing that was committed; with the power, the last commits
    // may go, place and all.
    writer.pragma_update(None, "journal_mode", "WAL")?;
    writer.pragma_update(None, "synchronous", "NORMAL")?;
    writer.pragma_update(None, "cache_size", -CACHE)?;
    writer.pragma_update(None, "wal_autocheckpoint", CARRIED)?;
    writer.pragma_update(None, "journal_size_limit", LOG)?;
    writer.pragma_update(None, "temp_store", "MEMORY")?;
    writer.set_prepared_statement_cache_capacity(256);
    let transaction = writer.transaction()?;
    transaction.execute_batch(FACTS)?;
    for table in &shape.tables {
        let rows = rows(table);
        transaction.execute_batch(&format!(
            "CREATE TABLE IF NOT EXISTS {rows} (
                 key TEXT PRIMARY KEY, row TEXT, changed INTEGER NOT NULL);
             CREATE INDEX IF NOT EXISTS \"changed_{table}\" ON {rows} (changed);
             CREATE INDEX IF NOT EXISTS \"gone_{table}\" ON {rows} (changed) WHERE row IS NULL;"
        ))?;
        for fact in [count_of(table), forgotten_of(table)] {
            let insert = "INSERT OR IGNORE INTO facts (name, value) VALUES (?1, 0)";
            transaction.execute(insert, [fact])?;
        }
    }
    for (number, index) in shape.indexes.iter().enumerate() {
        transaction.execute_batch(&format!(
            "CREATE INDEX IF NOT EXISTS \"member_{number}\" ON {} ({}, key)",
            rows(&index.table),
            member(&index.member)
        ))?;
    }
    transaction.pragma_update(None, "user_version", FORM)?;
    transaction.commit()?;
    form(writer)
}

pub(super) fn number(read: &Connection, fact: &str) -> rusqlite::Result<i64> {
    let mut statement = read.prepare_cached("SELECT value FROM facts WHERE name = ?1")?;
    let value = statement.query_row([fact], |row| row.get(0)).optional()?;
    Ok(value.unwrap_or(0))
}

pub(super) fn set(write: &Connection, fact: &str, value: u64) -> rusqlite::Result<()> {
    let mut statement = write.prepare_cached("UPDATE facts SET value = ?2 WHERE name = ?1")?;
    statement.execute(params![fact, signed(value)])?;
    Ok(())
}

pub(super) fn add(write: &Connection, fact: &str, more: i64) -> rusqlite::Result<()> {
    let sql = "UPDATE facts SET value = value + ?2 WHERE name = ?1";
    write.prepare_cached(sql)?.execute(params![fact, more])?;
    Ok(())
}

pub(super) fn standing(read: &Connection) -> rusqlite::Result<Standing> {
    let fact = |name| number(read, name).map(unsigned);
    Ok(Standing {
        position: fact("position")?,
        at: fact("at")?,
        applied: fact("applied")?,
        refused: fact("refused")?,
        lost: fact("lost")?,
    })
}

/// Whether the file was where it was taken to be, and is at `now` from here on.
pub(super) fn move_on(write: &Connection, before: u64, now: &Standing) -> rusqlite::Result<bool> {
    let sql = "UPDATE facts SET value = ?2 WHERE name = 'position' AND value = ?1";
    let mut moved = write.prepare_cached(sql)?;
    if moved.execute(params![signed(before), signed(now.position)])? == 0 {
        return Ok(false);
    }
    for (fact, value) in [
        ("at", now.at),
        ("applied", now.applied),
        ("refused", now.refused),
        ("lost", now.lost),
    ] {
        set(write, fact, value)?;
    }
    Ok(true)
}

//! Takes changes of rows, gives what the rows were at any moment that is still kept.
//!
//! Each change is kept under the place of its event. A row at a place is the newest change of it
//! that does not stand behind that place.

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::super::{Change, Known, Moment, number_of, signed, unsigned};
use super::{Sqlite, schema};
use crate::plugin::rows::of_place;

pub(super) fn keep(
    transaction: &Transaction<'_>,
    tables: &[String],
    changes: &[Change],
) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached(
        "INSERT OR REPLACE INTO history (tbl, key, sequence, row) VALUES (?1, ?2, ?3, ?4)",
    )?;
    let mut moment = transaction
        .prepare_cached("INSERT OR IGNORE INTO moments (at, sequence) VALUES (?1, ?2)")?;
    let mut last = None;
    for change in changes {
        let (table, key) = of_place(&change.place);
        let row = change.row.as_deref().map(String::from_utf8_lossy);
        let sequence = signed(change.sequence);
        insert.execute(params![number_of(tables, table), key, sequence, row])?;
        if last.replace(sequence) != Some(sequence) {
            moment.execute([signed(change.at), sequence])?;
        }
    }
    Ok(())
}

impl Sqlite {
    /// Whether the rows of a moment are known, in a question of their own.
    pub(super) fn known(&self, read: &Connection, moment: Moment) -> rusqlite::Result<Known> {
        let since = unsigned(schema::number(read, "since")?);
        let since_at = unsigned(schema::number(read, "since_at")?);
        let sequence = match moment {
            Moment::Sequence(sequence) => sequence,
            Moment::Time(at) if at < since_at => return Ok(Known::Before(since, since_at)),
            Moment::Time(at) => {
                let mut statement = read.prepare_cached(
                    "SELECT sequence FROM moments WHERE at <= ?1 \
                     ORDER BY at DESC, sequence DESC LIMIT 1",
                )?;
                let found = statement.query_row([signed(at)], |row| row.get(0));
                found.optional()?.map_or(since, unsigned)
            }
        };
        Ok(match sequence < since {
            true => Known::Before(since, since_at),
            false => Known::At(sequence),
        })
    }
}

//! Takes how long things are kept, gives room: old ids, tombstones and versions of rows go, some at a time.

use rusqlite::{OptionalExtension as _, Transaction, params};

use super::super::{Error, Keep, millis, signed, unsigned};
use super::{Sqlite, schema};

/// Rows that one round takes away of each kind.
const ROUND: i64 = 5_000;
/// Tombstones of a table that are kept, for those who follow its changes.
const TOMBSTONES: i64 = 100_000;

impl Sqlite {
    /// One round. Gives whether there is more to be done.
    pub(in crate::projections::store) fn keep_house(&self, keep: Keep) -> Result<bool, Error> {
        let mut writer = self.writer.lock();
        let mut round = || {
            let transaction = writer.transaction()?;
            let mut more = forget_ids(&transaction, keep)?;
            for table in &self.shape.tables {
                more |= forget_tombstones(&transaction, table)?;
            }
            if let Some(history) = self.shape.history {
                let age = millis(history);
                more |= forget_versions(&transaction, keep.now.saturating_sub(age))?;
            }
            transaction.commit()?;
            Ok(more)
        };
        round().map_err(|source| self.failed(source))
    }
}

/// By the time of the last event, not of this machine: what was applied long after it was stored
/// may be sent again as long after it was stored.
fn forget_ids(transaction: &Transaction<'_>, keep: Keep) -> rusqlite::Result<bool> {
    let at = unsigned(schema::number(transaction, "at")?);
    let before = at.saturating_sub(millis(keep.ids));
    let mut forget = transaction.prepare_cached(
        "DELETE FROM seen WHERE id IN (SELECT id FROM seen WHERE at < ?1 ORDER BY at LIMIT ?2)",
    )?;
    let gone = forget.execute(params![signed(before), ROUND])?;
    Ok(is_whole_round(gone))
}

fn forget_tombstones(transaction: &Transaction<'_>, table: &str) -> rusqlite::Result<bool> {
    let rows = schema::rows(table);
    let sql = format!(
        "SELECT changed FROM {rows} WHERE row IS NULL ORDER BY changed DESC LIMIT 1 OFFSET ?1"
    );
    let mut last = transaction.prepare_cached(&sql)?;
    let Some(last) = last
        .query_row([TOMBSTONES], |row| row.get::<_, i64>(0))
        .optional()?
    else {
        return Ok(false);
    };
    let sql = format!("DELETE FROM {rows} WHERE row IS NULL AND changed <= ?1");
    transaction.prepare_cached(&sql)?.execute([last])?;
    schema::set(transaction, &schema::forgotten_of(table), unsigned(last))?;
    Ok(false)
}

/// Of each row the newest version at the bound stays, and all behind it.
fn forget_versions(transaction: &Transaction<'_>, before: u64) -> rusqlite::Result<bool> {
    let mut moments = transaction.prepare_cached(
        "SELECT at, sequence FROM moments WHERE at < ?1 ORDER BY at, sequence LIMIT ?2",
    )?;
    let found = moments.query_map(params![signed(before), ROUND], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
    })?;
    let found: Vec<(i64, i64)> = found.collect::<rusqlite::Result<_>>()?;
    let Some((at, bound)) = found.iter().copied().max_by_key(|(_, sequence)| *sequence) else {
        return Ok(false);
    };
    let since = schema::number(transaction, "since")?;
    let mut superseding = transaction.prepare_cached(
        "SELECT tbl, key, max(sequence), row IS NULL FROM history \
         WHERE ?1 < sequence AND sequence <= ?2 GROUP BY tbl, key",
    )?;
    let newest = superseding.query_map([since, bound], |row| {
        let place = (row.get::<_, i64>(0)?, row.get::<_, String>(1)?);
        Ok((place, row.get::<_, i64>(2)?, row.get::<_, bool>(3)?))
    })?;
    let newest: Vec<_> = newest.collect::<rusqlite::Result<_>>()?;
    let mut forget = transaction
        .prepare_cached("DELETE FROM history WHERE tbl = ?1 AND key = ?2 AND sequence < ?3 + ?4")?;
    for ((table, key), sequence, is_tombstone) in newest {
        forget.execute(params![table, key, sequence, i64::from(is_tombstone)])?;
    }
    let mut forget = transaction.prepare_cached("DELETE FROM moments WHERE sequence < ?1")?;
    forget.execute([bound])?;
    schema::set(transaction, "since", unsigned(bound))?;
    schema::set(transaction, "since_at", unsigned(at))?;
    // The last moment stays: the next round would find it alone.
    Ok(is_whole_round(found.len()))
}

fn is_whole_round(gone: usize) -> bool {
    usize::try_from(ROUND).is_ok_and(|round| round <= gone)
}

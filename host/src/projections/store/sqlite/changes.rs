//! Takes a place in a table's changes, gives those behind it.

use rusqlite::params;
use serde_json::value::RawValue;

use super::page::raw;
use super::{Error, Sqlite, schema, signed, unsigned};
use crate::projections::changes::{Gathering, MOST, Place, Told};

impl Sqlite {
    /// What has changed in a table behind a place.
    pub(in crate::projections::store) fn changes(
        &self,
        table: &str,
        (sequence, key): &Place,
    ) -> Result<Told, Error> {
        self.read(|read| {
            let forgotten = schema::number(read, &schema::forgotten_of(table))?;
            let position = schema::standing(read)?.position;
            if *sequence < unsigned(forgotten) {
                return Ok(Told {
                    position,
                    found: None,
                });
            }
            let sql = format!(
                "SELECT key, row, changed FROM {} WHERE ?1 <= changed AND (?1 < changed OR ?2 < key) \
                 ORDER BY changed, key LIMIT {}",
                schema::rows(table),
                MOST + 1
            );
            let mut statement = read.prepare_cached(&sql)?;
            let mut rows = statement.query(params![signed(*sequence), key])?;
            let mut gathering = Gathering::default();
            while let Some(row) = rows.next()? {
                let text: Option<String> = row.get(1)?;
                let text: Option<Box<RawValue>> = text.map(raw).transpose()?;
                if gathering.take(row.get(0)?, text, unsigned(row.get(2)?)) {
                    break;
                }
            }
            Ok(gathering.all(position))
        })
    }
}

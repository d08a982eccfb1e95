//! Takes a place in a table's changes, gives those behind it.

use std::pin::pin;

use futures_util::TryStreamExt as _;
use serde_json::value::RawValue;
use tokio_postgres::types::{ToSql, Type};

use super::page::raw;
use super::{Error, How, Postgres, schema, signed, unsigned};
use crate::projections::changes::{Gathering, MOST, Place, Told};

impl Postgres {
    /// What has changed in a table behind a place.
    pub(in crate::projections::store) fn changes(
        &self,
        table: &str,
        (sequence, key): &Place,
    ) -> Result<Told, Error> {
        let sql = format!(
            "SELECT key, row::text, changed FROM {} WHERE (changed, key) > ($1, $2) \
             ORDER BY changed, key LIMIT {}",
            self.table(table),
            MOST + 1
        );
        let from = signed(*sequence);
        self.ask(How::Reads, async |client| {
            let forgotten = schema::forgotten_of(table);
            let forgotten = schema::fact(client, &self.schema, &forgotten).await?;
            let position = schema::fact(client, &self.schema, "position").await?;
            if *sequence < forgotten {
                return Ok(Told {
                    position,
                    found: None,
                });
            }
            let parameters: [(&(dyn ToSql + Sync), Type); 2] =
                [(&from, Type::INT8), (key, Type::TEXT)];
            let mut rows = pin!(client.query_typed_raw(&sql, parameters).await?);
            let mut gathering = Gathering::default();
            while let Some(row) = rows.try_next().await? {
                let text: Option<String> = row.try_get(1)?;
                let text: Option<Box<RawValue>> = text.map(raw);
                if gathering.take(row.try_get(0)?, text, unsigned(row.try_get(2)?)) {
                    break;
                }
            }
            Ok(gathering.all(position))
        })
    }
}

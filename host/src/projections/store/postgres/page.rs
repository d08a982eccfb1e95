//! Takes a question, gives a page of rows and where it ends.

use std::pin::pin;

use futures_util::TryStreamExt as _;
use serde_json::value::RawValue;
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use super::sql::Sql;
use super::{Error, How, Postgres, schema};
use crate::projections::query::Query;
use crate::projections::query::page::{Filling, Looked, Place};
use crate::projections::store::{Known, Moment, number_of, signed, unsigned};

type Failed = tokio_postgres::Error;

impl Postgres {
    /// A page of a table.
    pub(in crate::projections::store) fn page(
        &self,
        query: &Query,
        table: &str,
        place: Option<Vec<Place>>,
    ) -> Result<Looked, Error> {
        self.ask(How::Reads, async |client| {
            let mut sql = Sql::default();
            let (from, changed) = match query.as_of {
                None => (self.table(table), self.changed_last(client, table).await?),
                Some(moment) => match self.known(client, moment).await? {
                    Known::Before(since, at) => return Ok(Looked::Before(since, at)),
                    Known::At(sequence) => (self.then(&mut sql, table, sequence), sequence),
                },
            };
            let text = sql.question(query, &from, place.as_deref());
            let parameters = sql.parameters.iter().map(|parameter| parameter.typed());
            let parameters: Vec<(&(dyn ToSql + Sync), Type)> = parameters.collect();
            let mut rows = pin!(client.query_typed_raw(&text, parameters).await?);
            let mut filling = Filling::of(query, changed);
            while let Some(row) = rows.try_next().await? {
                let mut place = Vec::new();
                for column in 0..query.order.len() {
                    place.push(place_of(&row, 3 + 3 * column)?);
                }
                let one = (
                    row.try_get(0)?,
                    unsigned(row.try_get(1)?),
                    raw(row.try_get(2)?),
                );
                if filling.take(one, place) {
                    break;
                }
            }
            Ok(filling.found())
        })
    }

    /// The event that changed a table last.
    pub(in crate::projections::store) fn changed(&self, table: &str) -> Result<u64, Error> {
        self.ask(How::Reads, async |client| {
            self.changed_last(client, table).await
        })
    }

    async fn changed_last(&self, client: &Client, table: &str) -> Result<u64, Failed> {
        let sql = format!(
            "SELECT coalesce(max(changed), 0) FROM {}",
            self.table(table)
        );
        let row = client.query_typed_one(&sql, &[]).await?;
        row.try_get(0).map(unsigned)
    }

    /// A table as it was after an event.
    fn then(&self, sql: &mut Sql, table: &str, sequence: u64) -> String {
        let number = sql.whole(number_of(&self.shape.tables, table));
        let sequence = sql.whole(signed(sequence));
        format!(
            "(SELECT DISTINCT ON (key) key, sequence AS changed, row FROM {} \
             WHERE tbl = {number} AND sequence <= {sequence} ORDER BY key, sequence DESC) AS t",
            self.table("@history")
        )
    }

    /// Whether the rows of a moment are known.
    async fn known(&self, client: &Client, moment: Moment) -> Result<Known, Failed> {
        let since = schema::fact(client, &self.schema, "since").await?;
        let since_at = schema::fact(client, &self.schema, "since_at").await?;
        let sequence = match moment {
            Moment::Sequence(sequence) => sequence,
            Moment::Time(at) if at < since_at => return Ok(Known::Before(since, since_at)),
            Moment::Time(at) => {
                let sql = format!(
                    "SELECT sequence FROM {} WHERE at <= $1 ORDER BY at DESC, sequence DESC LIMIT 1",
                    self.table("@moments")
                );
                let at = signed(at);
                let found = client.query_typed_opt(&sql, &[(&at, Type::INT8)]).await?;
                let found = found.map(|row| row.try_get(0)).transpose()?;
                found.map_or(since, unsigned)
            }
        };
        Ok(match sequence < since {
            true => Known::Before(since, since_at),
            false => Known::At(sequence),
        })
    }
}

/// What a member of the order is, from its rank, its number and its text.
fn place_of(row: &tokio_postgres::Row, column: usize) -> Result<Place, Failed> {
    Ok(match row.try_get::<_, i32>(column)? {
        0 => Place::Null,
        1 => Place::Number(row.try_get(column + 1)?),
        _ => Place::Text(row.try_get(column + 2)?),
    })
}

/// A row's text, as it is answered. What PostgreSQL gives is JSON.
pub(super) fn raw(text: String) -> Box<RawValue> {
    RawValue::from_string(text).unwrap_or_default()
}

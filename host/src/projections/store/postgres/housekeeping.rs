//! Takes how long things are kept, gives room: old ids, tombstones and versions of rows go, some at a time.

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error as Failed};

use super::super::{Error, Keep, millis, signed};
use super::{How, Postgres, schema};

/// Rows that one round takes away of each kind.
const ROUND: i64 = 5_000;
/// Tombstones of a table that are kept, for those who follow its changes.
const TOMBSTONES: i64 = 100_000;

type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

impl Postgres {
    /// One round. Gives whether there is more to be done.
    pub(in crate::projections::store) fn keep_house(&self, keep: Keep) -> Result<bool, Error> {
        let more = self.ask(How::Writes, async |client| {
            let mut more = self.forget_ids(client, keep).await?;
            for table in &self.shape.tables {
                self.forget_tombstones(client, table).await?;
            }
            if let Some(history) = self.shape.history {
                let before = keep.now.saturating_sub(millis(history));
                more |= self.forget_versions(client, before).await?;
            }
            Ok(more)
        })?;
        if !more {
            self.weigh()?;
        }
        Ok(more)
    }

    /// By the time of the last event, not of this machine.
    async fn forget_ids(&self, client: &Client, keep: Keep) -> Result<bool, Failed> {
        let at = schema::fact(client, &self.schema, "at").await?;
        let before = signed(at.saturating_sub(millis(keep.ids)));
        let seen = self.table("@seen");
        let sql = format!(
            "DELETE FROM {seen} WHERE id IN \
             (SELECT id FROM {seen} WHERE at < $1 ORDER BY at LIMIT $2)"
        );
        let parameters: [Parameter<'_>; 2] = [(&before, Type::INT8), (&ROUND, Type::INT8)];
        Ok(is_whole_round(
            client.execute_typed(&sql, &parameters).await?,
        ))
    }

    async fn forget_tombstones(&self, client: &Client, table: &str) -> Result<(), Failed> {
        let rows = self.table(table);
        let sql = format!(
            "SELECT changed FROM {rows} WHERE row IS NULL ORDER BY changed DESC LIMIT 1 OFFSET $1"
        );
        let last = client
            .query_typed_opt(&sql, &[(&TOMBSTONES, Type::INT8)])
            .await?;
        let Some(last) = last else { return Ok(()) };
        let last: i64 = last.try_get(0)?;
        let sql = format!("DELETE FROM {rows} WHERE row IS NULL AND changed <= $1");
        client.execute_typed(&sql, &[(&last, Type::INT8)]).await?;
        let forgotten = schema::forgotten_of(table);
        schema::set(client, &self.schema, &[(&forgotten, last)]).await
    }

    /// Of each row the newest version at the bound stays, and all behind it.
    async fn forget_versions(&self, client: &Client, before: u64) -> Result<bool, Failed> {
        let (moments, history) = (self.table("@moments"), self.table("@history"));
        let sql = format!(
            "SELECT at, sequence, count(*) OVER () FROM \
             (SELECT at, sequence FROM {moments} WHERE at < $1 ORDER BY at, sequence LIMIT $2) AS m \
             ORDER BY sequence DESC LIMIT 1"
        );
        let before = signed(before);
        let parameters: [Parameter<'_>; 2] = [(&before, Type::INT8), (&ROUND, Type::INT8)];
        let Some(bound) = client.query_typed_opt(&sql, &parameters).await? else {
            return Ok(false);
        };
        let (at, bound, found): (i64, i64, i64) =
            (bound.try_get(0)?, bound.try_get(1)?, bound.try_get(2)?);
        let since = signed(schema::fact(client, &self.schema, "since").await?);
        let sql = format!(
            "WITH superseding AS (SELECT DISTINCT ON (tbl, key) tbl, key, sequence, \
                 CASE WHEN row IS NULL THEN 1 ELSE 0 END AS gone FROM {history} \
                 WHERE $1 < sequence AND sequence <= $2 ORDER BY tbl, key, sequence DESC) \
             DELETE FROM {history} AS h USING superseding AS s \
             WHERE h.tbl = s.tbl AND h.key = s.key AND h.sequence < s.sequence + s.gone"
        );
        let parameters: [Parameter<'_>; 2] = [(&since, Type::INT8), (&bound, Type::INT8)];
        client.execute_typed(&sql, &parameters).await?;
        let sql = format!("DELETE FROM {moments} WHERE sequence < $1");
        client.execute_typed(&sql, &[(&bound, Type::INT8)]).await?;
        schema::set(client, &self.schema, &[("since", bound), ("since_at", at)]).await?;
        // The last moment stays: the next round would find it alone.
        Ok(u64::try_from(found).is_ok_and(is_whole_round))
    }
}

fn is_whole_round(gone: u64) -> bool {
    u64::try_from(ROUND).is_ok_and(|round| round <= gone)
}

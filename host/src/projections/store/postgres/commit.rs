//! Takes a group of events, gives the statements that keep what it did, in the transaction that moves
//! the place on.

use std::collections::BTreeMap;

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error};

use super::super::group::MOST_REFUSED;
use super::super::{Change, Group, Standing, number_of, signed};
use super::{Postgres, schema};
use crate::plugin::rows::of_place;

type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

impl Postgres {
    /// Gives how many rows each table has more; nothing when the place is another one than it was
    /// taken to be, and then nothing is written. The place's row is locked from here to the end, so
    /// that of two writers one comes after the other, and sees that.
    pub(super) async fn write(
        &self,
        client: &Client,
        (before, now): (&Standing, &Standing),
        group: &Group,
    ) -> Result<Option<BTreeMap<String, i64>>, Error> {
        let sql = format!(
            "UPDATE {} SET value = $2 WHERE name = 'position' AND value = $1",
            self.table("@facts")
        );
        let (from, to) = (signed(before.position), signed(now.position));
        let parameters: [Parameter<'_>; 2] = [(&from, Type::INT8), (&to, Type::INT8)];
        if client.execute_typed(&sql, &parameters).await? == 0 {
            return Ok(None);
        }
        let facts = [
            ("at", signed(now.at)),
            ("applied", signed(now.applied)),
            ("refused", signed(now.refused)),
            ("lost", signed(now.lost)),
        ];
        schema::set(client, &self.schema, &facts).await?;
        let mut tables: BTreeMap<&str, Vec<&Change>> = BTreeMap::new();
        for change in group.newest() {
            let (table, _) = of_place(&change.place);
            tables.entry(table).or_default().push(change);
        }
        let mut added = BTreeMap::new();
        for (table, changes) in tables {
            let more = self.write_rows(client, table, &changes).await?;
            added.insert(table.to_owned(), more);
        }
        if self.shape.history.is_some() && !group.changes.is_empty() {
            self.write_history(client, &group.changes).await?;
        }
        self.write_seen(client, group).await?;
        self.write_refused(client, group).await?;
        Ok(Some(added))
    }

    /// A row that stays as it was is no change.
    async fn write_rows(
        &self,
        client: &Client,
        table: &str,
        changes: &[&Change],
    ) -> Result<i64, Error> {
        let rows = self.table(table);
        let keys: Vec<&str> = changes.iter().map(|one| of_place(&one.place).1).collect();
        let texts: Vec<Option<String>> = changes.iter().map(|one| text(one)).collect();
        let sequences: Vec<i64> = changes.iter().map(|one| signed(one.sequence)).collect();
        let there = format!("SELECT count(*) FROM {rows} WHERE key = ANY($1) AND row IS NOT NULL");
        let there = client
            .query_typed_one(&there, &[(&keys, Type::TEXT_ARRAY)])
            .await?;
        let there: i64 = there.try_get(0)?;
        let sql = format!(
            "INSERT INTO {rows} AS r (key, row, changed) \
             SELECT n.key, n.row::jsonb, n.changed FROM unnest($1, $2, $3) AS n (key, row, changed) \
             WHERE n.row IS NOT NULL OR EXISTS (SELECT FROM {rows} AS o WHERE o.key = n.key) \
             ON CONFLICT (key) DO UPDATE SET row = excluded.row, changed = excluded.changed \
             WHERE r.row IS DISTINCT FROM excluded.row"
        );
        let parameters: [Parameter<'_>; 3] = [
            (&keys, Type::TEXT_ARRAY),
            (&texts, Type::TEXT_ARRAY),
            (&sequences, Type::INT8_ARRAY),
        ];
        client.execute_typed(&sql, &parameters).await?;
        let now = texts.iter().flatten().count();
        let more = i64::try_from(now).unwrap_or(i64::MAX) - there;
        let sql = format!(
            "UPDATE {} SET value = value + $2 WHERE name = $1",
            self.table("@facts")
        );
        let count = schema::count_of(table);
        let parameters: [Parameter<'_>; 2] = [(&count, Type::TEXT), (&more, Type::INT8)];
        client.execute_typed(&sql, &parameters).await?;
        Ok(more)
    }

    async fn write_history(&self, client: &Client, changes: &[Change]) -> Result<(), Error> {
        let number = |one: &Change| number_of(&self.shape.tables, of_place(&one.place).0);
        let numbers: Vec<i64> = changes.iter().map(number).collect();
        let keys: Vec<&str> = changes.iter().map(|one| of_place(&one.place).1).collect();
        let sequences: Vec<i64> = changes.iter().map(|one| signed(one.sequence)).collect();
        let texts: Vec<Option<String>> = changes.iter().map(text).collect();
        let times: Vec<i64> = changes.iter().map(|one| signed(one.at)).collect();
        let sql = format!(
            "INSERT INTO {} (tbl, key, sequence, row) \
             SELECT n.tbl, n.key, n.sequence, n.row::jsonb \
             FROM unnest($1, $2, $3, $4) AS n (tbl, key, sequence, row) \
             ON CONFLICT (tbl, key, sequence) DO UPDATE SET row = excluded.row",
            self.table("@history")
        );
        let parameters: [Parameter<'_>; 4] = [
            (&numbers, Type::INT8_ARRAY),
            (&keys, Type::TEXT_ARRAY),
            (&sequences, Type::INT8_ARRAY),
            (&texts, Type::TEXT_ARRAY),
        ];
        client.execute_typed(&sql, &parameters).await?;
        let sql = format!(
            "INSERT INTO {} (at, sequence) SELECT DISTINCT n.at, n.sequence \
             FROM unnest($1, $2) AS n (at, sequence) ON CONFLICT DO NOTHING",
            self.table("@moments")
        );
        let parameters: [Parameter<'_>; 2] =
            [(&times, Type::INT8_ARRAY), (&sequences, Type::INT8_ARRAY)];
        client.execute_typed(&sql, &parameters).await?;
        Ok(())
    }

    async fn write_seen(&self, client: &Client, group: &Group) -> Result<(), Error> {
        if group.seen.is_empty() {
            return Ok(());
        }
        let ids: Vec<&[u8]> = group.seen.keys().map(|id| &id[..]).collect();
        let times: Vec<i64> = group.seen.values().map(|at| signed(*at)).collect();
        let sql = format!(
            "INSERT INTO {} (id, at) SELECT n.id, n.at FROM unnest($1, $2) AS n (id, at) \
             ON CONFLICT (id) DO UPDATE SET at = excluded.at",
            self.table("@seen")
        );
        let parameters: [Parameter<'_>; 2] =
            [(&ids, Type::BYTEA_ARRAY), (&times, Type::INT8_ARRAY)];
        client.execute_typed(&sql, &parameters).await?;
        Ok(())
    }

    async fn write_refused(&self, client: &Client, group: &Group) -> Result<(), Error> {
        let refused = self.table("@refused");
        let sql = format!(
            "INSERT INTO {refused} (sequence, id, type, reason, error, stored) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (sequence) DO NOTHING"
        );
        for one in &group.refused {
            let sequence = signed(one.sequence);
            // A text of PostgreSQL has no byte of zero in it.
            let texts = [
                &one.id,
                &one.event_type,
                &one.reason,
                one.error_text(),
                &one.stored,
            ]
            .map(|text: &str| text.replace('\0', "\u{fffd}"));
            let mut parameters: Vec<Parameter<'_>> = vec![(&sequence, Type::INT8)];
            parameters.extend(texts.iter().map(|text| (text as _, Type::TEXT)));
            client.execute_typed(&sql, &parameters).await?;
        }
        if !group.refused.is_empty() {
            let sql = format!(
                "DELETE FROM {refused} WHERE sequence <= \
                 (SELECT sequence FROM {refused} ORDER BY sequence DESC LIMIT 1 OFFSET $1)"
            );
            client
                .execute_typed(&sql, &[(&MOST_REFUSED, Type::INT8)])
                .await?;
        }
        Ok(())
    }
}

fn text(change: &Change) -> Option<String> {
    let row = change.row.as_deref()?;
    Some(String::from_utf8_lossy(row).into_owned())
}

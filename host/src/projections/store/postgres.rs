//! Takes what a group of events did, gives a schema of PostgreSQL that has all of it or nothing.
//!
//! Hosts share it. One of them writes; that it is no second one, the place says: a commit moves it on
//! from where the writer had left it, or does nothing at all.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio_postgres::types::Type;

pub(in crate::projections) use self::database::Database;
use self::database::How;
use super::{Error, Group, Refused, Standing, signed, unsigned};
use crate::ledger::inbox::InboxId;
use crate::manifest::Projection;
use crate::plugin::rows::of_place;

mod changes;
mod commit;
mod database;
mod housekeeping;
mod page;
mod schema;
mod sql;
mod tls;
mod versions;

pub(in crate::projections) use self::versions::Versions;

/// The schema of one version of a projection.
#[derive(Debug)]
pub struct Postgres {
    database: Arc<Database>,
    /// As it stands in SQL, in quotes.
    schema: String,
    shape: Projection,
    known: Mutex<Known>,
}

/// What was last seen of it.
#[derive(Debug, Default)]
struct Known {
    counts: BTreeMap<String, u64>,
    bytes: u64,
}

impl Postgres {
    /// Opens the schema of the version of this id, or makes it.
    pub(in crate::projections) fn open(
        database: &Arc<Database>,
        id: &str,
        shape: &Projection,
    ) -> Result<Self, Error> {
        let opened = Self {
            database: Arc::clone(database),
            schema: schema::of_version(id),
            shape: shape.clone(),
            known: Mutex::default(),
        };
        let (schema, shape) = (&opened.schema, shape);
        let form = opened.ask(How::Writes, async |client| {
            schema::prepare(client, schema, shape).await
        })?;
        if form != schema::FORM {
            return Err(Error::Form {
                place: opened.schema,
                found: form,
                expected: schema::FORM,
            });
        }
        opened.weigh()?;
        Ok(opened)
    }

    pub(super) fn shape(&self) -> &Projection {
        &self.shape
    }

    /// A table of the schema, as it stands in SQL.
    fn table(&self, name: &str) -> String {
        format!("{}.\"{name}\"", self.schema)
    }

    fn ask<T>(
        &self,
        how: How,
        what: impl AsyncFnOnce(&tokio_postgres::Client) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, Error> {
        self.database.ask(&self.schema, how, what)
    }

    /// Up to where it is.
    pub(super) fn standing(&self) -> Result<Standing, Error> {
        let facts = self.ask(How::Alone, async |client| {
            schema::facts(client, &self.schema).await
        })?;
        self.count(&facts);
        Ok(schema::standing(&facts))
    }

    fn count(&self, facts: &BTreeMap<String, i64>) {
        let tables = self.shape.tables.iter().map(|table| {
            let count = facts.get(&schema::count_of(table)).copied();
            (table.clone(), unsigned(count.unwrap_or(0)))
        });
        self.known.lock().counts = tables.collect();
    }

    /// A row as the last commit left it.
    pub(super) fn row(&self, place: &str) -> Result<Option<Bytes>, Error> {
        let (table, key) = of_place(place);
        let sql = format!("SELECT row::text FROM {} WHERE key = $1", self.table(table));
        let row: Option<Option<String>> = self.ask(How::Alone, async |client| {
            let row = client.query_typed_opt(&sql, &[(&key, Type::TEXT)]).await?;
            row.map(|row| row.try_get(0)).transpose()
        })?;
        Ok(row.flatten().map(Bytes::from))
    }

    /// Those of these events that the projection has handled before, and when the store took each.
    pub(super) fn seen(&self, ids: &[InboxId]) -> Result<BTreeMap<InboxId, u64>, Error> {
        let ids: Vec<&[u8]> = ids.iter().map(|id| &id[..]).collect();
        let sql = format!(
            "SELECT id, at FROM {} WHERE id = ANY($1)",
            self.table("@seen")
        );
        self.ask(How::Alone, async |client| {
            let rows = client
                .query_typed(&sql, &[(&ids, Type::BYTEA_ARRAY)])
                .await?;
            let mut seen = BTreeMap::new();
            for row in rows {
                // What is there is as long as it was.
                if let Ok(id) = InboxId::try_from(row.try_get::<_, &[u8]>(0)?) {
                    seen.insert(id, unsigned(row.try_get(1)?));
                }
            }
            Ok(seen)
        })
    }

    /// Keeps what a group of events did, and that they have had their turn: all of it, or nothing.
    pub(super) fn commit(&self, before: &Standing, group: &Group) -> Result<Standing, Error> {
        let now = before.after(group);
        let counts = self.ask(How::Writes, async |client| {
            Box::pin(self.write(client, (before, &now), group)).await
        })?;
        let Some(added) = counts else {
            return Err(Error::Taken {
                place: self.schema.clone(),
            });
        };
        let mut known = self.known.lock();
        for (table, added) in added {
            let count = known.counts.entry(table).or_default();
            *count = count.saturating_add_signed(added);
        }
        Ok(now)
    }

    /// The newest refused events, so many at most.
    pub(super) fn refused(&self, most: usize) -> Result<Vec<Refused>, Error> {
        let sql = format!(
            "SELECT sequence, id, type, reason, error, stored FROM {} \
             ORDER BY sequence DESC LIMIT $1",
            self.table("@refused")
        );
        let most = signed(most as u64);
        self.ask(How::Reads, async |client| {
            let rows = client.query_typed(&sql, &[(&most, Type::INT8)]).await?;
            let one = |row: tokio_postgres::Row| {
                Ok(Refused {
                    sequence: unsigned(row.try_get(0)?),
                    id: row.try_get(1)?,
                    event_type: row.try_get(2)?,
                    reason: row.try_get(3)?,
                    error: row.try_get(4)?,
                    stored: row.try_get(5)?,
                })
            };
            rows.into_iter().map(one).collect()
        })
    }

    /// How many rows each table has, as it was last seen.
    pub(super) fn counts(&self) -> BTreeMap<String, u64> {
        self.known.lock().counts.clone()
    }

    /// Bytes on the database's disk, as it was last seen.
    pub(super) fn size(&self) -> u64 {
        self.known.lock().bytes
    }

    /// Looks how big it is.
    fn weigh(&self) -> Result<(), Error> {
        let sql = "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint \
                   FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                   WHERE c.relkind = 'r' AND quote_ident(n.nspname) = $1";
        let bytes = self.ask(How::Alone, async |client| {
            let row = client
                .query_typed_one(sql, &[(&self.schema, Type::TEXT)])
                .await?;
            row.try_get(0)
        })?;
        self.known.lock().bytes = unsigned(bytes);
        Ok(())
    }
}

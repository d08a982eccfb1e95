//! Takes a projection's name, gives which versions there are of it, for all hosts, and which host
//! writes them.

use std::sync::Arc;

use tokio_postgres::types::{ToSql, Type};

use super::database::How;
use super::{Database, Error, schema};
use crate::projections::folder::Written;

/// A host that has not said for so long that it writes, does not write: another one may.
const LEASE: &str = "5 seconds";

type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// Where the versions of one projection are written down.
#[derive(Debug, Clone)]
pub(in crate::projections) struct Versions {
    pub(in crate::projections) database: Arc<Database>,
    name: String,
}

impl Versions {
    pub(in crate::projections) fn open(
        database: &Arc<Database>,
        name: &str,
    ) -> Result<Self, Error> {
        database.ask("sluicegate", How::Writes, async |client| {
            schema::share(client).await
        })?;
        let opened = Self {
            database: Arc::clone(database),
            name: name.to_owned(),
        };
        let sql = "INSERT INTO sluicegate.projections (name, versions) VALUES ($1, $2) \
                   ON CONFLICT (name) DO NOTHING";
        let nothing = text(&Written::default());
        let parameters: [Parameter<'_>; 2] = [(&opened.name, Type::TEXT), (&nothing, Type::TEXT)];
        opened.execute(sql, &parameters)?;
        Ok(opened)
    }

    fn execute(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<u64, Error> {
        self.database.ask("sluicegate", How::Alone, async |client| {
            client.execute_typed(sql, parameters).await
        })
    }

    /// Whether this host writes, and goes on to for a while. By the database's clock.
    pub(in crate::projections) fn claim(&self) -> Result<bool, Error> {
        let sql = format!(
            "UPDATE sluicegate.projections SET writer = $2, until = now() + interval '{LEASE}' \
             WHERE name = $1 AND (writer = $2 OR writer IS NULL OR until < now())"
        );
        let host = &self.database.host;
        let parameters: [Parameter<'_>; 2] = [(&self.name, Type::TEXT), (host, Type::TEXT)];
        Ok(self.execute(&sql, &parameters)? == 1)
    }

    /// Another host may write from here on.
    pub(in crate::projections) fn let_go(&self) -> Result<(), Error> {
        let sql = "UPDATE sluicegate.projections SET writer = NULL WHERE name = $1 AND writer = $2";
        let host = &self.database.host;
        let parameters: [Parameter<'_>; 2] = [(&self.name, Type::TEXT), (host, Type::TEXT)];
        self.execute(sql, &parameters).map(|_| ())
    }

    pub(in crate::projections) fn read(&self) -> Result<Written, Error> {
        let sql = "SELECT versions FROM sluicegate.projections WHERE name = $1";
        let found: Option<String> =
            self.database
                .ask("sluicegate", How::Alone, async |client| {
                    let row = client
                        .query_typed_opt(sql, &[(&self.name, Type::TEXT)])
                        .await?;
                    row.map(|row| row.try_get(0)).transpose()
                })?;
        let Some(found) = found else {
            return Ok(Written::default());
        };
        serde_json::from_str(&found).map_err(|error| Error::Postgres {
            place: "sluicegate.projections".to_owned(),
            reason: error.to_string(),
        })
    }

    /// From here on that is what there is, if `before` was: with the views that lead to what answers.
    pub(in crate::projections) fn write(
        &self,
        before: &Written,
        now: &Written,
    ) -> Result<(), Error> {
        let (from, to) = (text(before), text(now));
        let is_ours = self
            .database
            .ask("sluicegate", How::Writes, async |client| {
                let sql = "UPDATE sluicegate.projections SET versions = $3 \
                       WHERE name = $1 AND versions = $2";
                let parameters: [Parameter<'_>; 3] = [
                    (&self.name, Type::TEXT),
                    (&from, Type::TEXT),
                    (&to, Type::TEXT),
                ];
                if client.execute_typed(sql, &parameters).await? == 0 {
                    return Ok(false);
                }
                for named in now.current.iter().chain(&now.building) {
                    let sql = "INSERT INTO sluicegate.versions (id, projection) VALUES ($1, $2) \
                           ON CONFLICT (id) DO NOTHING";
                    let parameters: [Parameter<'_>; 2] =
                        [(&named.id, Type::TEXT), (&self.name, Type::TEXT)];
                    client.execute_typed(sql, &parameters).await?;
                }
                if let Some(current) = &now.current {
                    self.show(client, &current.id).await?;
                }
                Ok(true)
            })?;
        match is_ours {
            true => Ok(()),
            false => Err(Error::Taken {
                place: format!("the versions of {}", self.name),
            }),
        }
    }

    /// Views by which other tools find the version that answers. What others have built on them
    /// stays.
    async fn show(
        &self,
        client: &tokio_postgres::Client,
        id: &str,
    ) -> Result<(), tokio_postgres::Error> {
        let (own, views) = (schema::of_version(id), schema::of_views(&self.name));
        let sql = "SELECT tablename::text FROM pg_tables \
                   WHERE quote_ident(schemaname) = $1 AND tablename NOT LIKE '@%'";
        let tables = client.query_typed(sql, &[(&own, Type::TEXT)]).await?;
        client
            .batch_execute(&format!("CREATE SCHEMA IF NOT EXISTS {views}"))
            .await?;
        for table in tables {
            let table: String = table.try_get(0)?;
            let view = format!(
                "CREATE OR REPLACE VIEW {views}.\"{table}\" AS \
                 SELECT key, row, changed FROM {own}.\"{table}\" WHERE row IS NOT NULL"
            );
            client.batch_execute(&view).await?;
        }
        Ok(())
    }

    /// The bytes of a version's build; none where nobody has brought them.
    pub(in crate::projections) fn component(&self, id: &str) -> Result<Option<Vec<u8>>, Error> {
        let sql = "SELECT component FROM sluicegate.versions WHERE id = $1";
        let found: Option<Option<Vec<u8>>> =
            self.database
                .ask("sluicegate", How::Alone, async |client| {
                    let row = client.query_typed_opt(sql, &[(&id, Type::TEXT)]).await?;
                    row.map(|row| row.try_get(0)).transpose()
                })?;
        Ok(found.flatten())
    }

    /// Keeps the bytes of a version's build.
    pub(in crate::projections) fn keep_component(
        &self,
        id: &str,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let sql = "INSERT INTO sluicegate.versions (id, projection, component) VALUES ($1, $2, $3) \
                   ON CONFLICT (id) DO UPDATE SET component = excluded.component \
                   WHERE sluicegate.versions.component IS NULL";
        let parameters: [Parameter<'_>; 3] = [
            (&id, Type::TEXT),
            (&self.name, Type::TEXT),
            (&bytes, Type::BYTEA),
        ];
        self.execute(sql, &parameters).map(|_| ())
    }

    /// Takes a version away.
    pub(in crate::projections) fn forget(&self, id: &str) -> Result<(), Error> {
        let drop = format!("DROP SCHEMA IF EXISTS {} CASCADE", schema::of_version(id));
        self.database
            .ask("sluicegate", How::Writes, async |client| {
                client.batch_execute(&drop).await?;
                let sql = "DELETE FROM sluicegate.versions WHERE id = $1";
                client.execute_typed(sql, &[(&id, Type::TEXT)]).await
            })?;
        Ok(())
    }

    /// The versions that are there and that `written` does not name.
    pub(in crate::projections) fn of_nobody(
        &self,
        written: &Written,
    ) -> Result<Vec<String>, Error> {
        let sql = "SELECT id FROM sluicegate.versions WHERE projection = $1";
        let mut found: Vec<String> =
            self.database
                .ask("sluicegate", How::Alone, async |client| {
                    let rows = client.query_typed(sql, &[(&self.name, Type::TEXT)]).await?;
                    rows.iter().map(|row| row.try_get(0)).collect()
                })?;
        let named = || written.current.iter().chain(&written.building);
        found.retain(|id| named().all(|named| named.id != *id));
        Ok(found)
    }
}

/// The types have no way to fail.
fn text(written: &Written) -> String {
    serde_json::to_string(written).unwrap_or_default()
}

//! Takes a projection's shape, gives the tables of its schema, and what is written down of its place.

use std::collections::BTreeMap;

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error};

use super::super::{Standing, unsigned};
use super::sql::{head, member, number, rank};
use crate::manifest::Projection;

/// The form of the schema.
pub(super) const FORM: i64 = 1;
/// Hosts make schemas one after another: `SLUI` in ASCII.
const MAKING: i64 = 0x534c_5549;

/// What all projections share: which versions there are, and how members of rows are compared. Null
/// and absent come before numbers, those before text, and true is 1, as in SQLite.
const SHARED: &str = "
CREATE SCHEMA IF NOT EXISTS sluicegate;
CREATE TABLE IF NOT EXISTS sluicegate.projections (
    name text PRIMARY KEY, versions text NOT NULL, writer text, until timestamptz);
CREATE TABLE IF NOT EXISTS sluicegate.versions (
    id text PRIMARY KEY, projection text NOT NULL, component bytea);
CREATE OR REPLACE FUNCTION sluicegate.rank(jsonb) RETURNS int
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE pg_catalog.jsonb_typeof($1) WHEN 'number' THEN 1 WHEN 'boolean' THEN 1
        WHEN 'string' THEN 2 WHEN 'object' THEN 2 WHEN 'array' THEN 2 ELSE 0 END $$;
CREATE OR REPLACE FUNCTION sluicegate.number(jsonb) RETURNS numeric
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE pg_catalog.jsonb_typeof($1) WHEN 'number' THEN $1::pg_catalog.numeric
        WHEN 'boolean' THEN CASE WHEN $1::bool THEN 1 ELSE 0 END ELSE 0 END $$;
CREATE OR REPLACE FUNCTION sluicegate.string(jsonb) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE pg_catalog.jsonb_typeof($1) WHEN 'string' THEN $1 #>> '{}'
        WHEN 'object' THEN $1::text WHEN 'array' THEN $1::text ELSE '' END $$;
";

const OWN: &str = "
CREATE SCHEMA {schema};
CREATE TABLE {schema}.\"@facts\" (name text PRIMARY KEY, value bigint NOT NULL);
CREATE TABLE {schema}.\"@seen\" (id bytea PRIMARY KEY, at bigint NOT NULL);
CREATE INDEX ON {schema}.\"@seen\" (at);
CREATE TABLE {schema}.\"@refused\" (
    sequence bigint PRIMARY KEY, id text NOT NULL, type text NOT NULL, reason text NOT NULL,
    error text NOT NULL, stored text NOT NULL);
CREATE TABLE {schema}.\"@history\" (
    tbl bigint NOT NULL, key text COLLATE \"C\" NOT NULL, sequence bigint NOT NULL, row jsonb,
    PRIMARY KEY (tbl, key, sequence));
CREATE INDEX ON {schema}.\"@history\" (sequence);
CREATE TABLE {schema}.\"@moments\" (
    at bigint NOT NULL, sequence bigint NOT NULL, PRIMARY KEY (at, sequence));
INSERT INTO {schema}.\"@facts\" (name, value) VALUES
    ('form', 1), ('position', 0), ('at', 0), ('applied', 0), ('refused', 0), ('lost', 0),
    ('since', 0), ('since_at', 0);
";

/// The schema of a version, in quotes. Its id has hexadecimal digits and a number.
pub(super) fn of_version(id: &str) -> String {
    format!("\"sluicegate_{id}\"")
}

/// The schema of a projection's views, in quotes. Its name has lower-case letters, digits and `-`;
/// PostgreSQL's have 63 bytes at most.
pub(super) fn of_views(name: &str) -> String {
    let short = name.get(..56).unwrap_or(name);
    format!("\"sluice_{short}\"")
}

/// The fact that says how many rows a table has.
pub(super) fn count_of(table: &str) -> String {
    format!("rows:{table}")
}

/// The fact that says up to where tombstones of a table were let go of.
pub(super) fn forgotten_of(table: &str) -> String {
    format!("forgotten:{table}")
}

/// Makes what all projections share.
pub(super) async fn share(client: &Client) -> Result<(), Error> {
    one_after_another(client).await?;
    client.batch_execute(SHARED).await
}

async fn one_after_another(client: &Client) -> Result<(), Error> {
    let wait = "SELECT pg_advisory_xact_lock($1)";
    client.query_typed(wait, &[(&MAKING, Type::INT8)]).await?;
    Ok(())
}

/// Makes the schema where it is not there, and gives the form that it is of.
pub(super) async fn prepare(
    client: &Client,
    schema: &str,
    shape: &Projection,
) -> Result<i64, Error> {
    one_after_another(client).await?;
    let there = "SELECT EXISTS (SELECT FROM pg_namespace WHERE quote_ident(nspname) = $1)";
    let there = client
        .query_typed_one(there, &[(&schema, Type::TEXT)])
        .await?;
    if !there.try_get::<_, bool>(0)? {
        client.batch_execute(&making(schema, shape)).await?;
    }
    let facts = facts(client, schema).await?;
    Ok(facts.get("form").copied().unwrap_or(0))
}

/// All that a new schema is made of. Names of tables have lower-case letters, digits and `_`.
fn making(schema: &str, shape: &Projection) -> String {
    let mut making = OWN.replace("{schema}", schema);
    for table in &shape.tables {
        let rows = format!("{schema}.\"{table}\"");
        let (count, forgotten) = (count_of(table), forgotten_of(table));
        making.push_str(&format!(
            "CREATE TABLE {rows} (
                 key text COLLATE \"C\" PRIMARY KEY, row jsonb, changed bigint NOT NULL);
             CREATE INDEX ON {rows} (changed, key);
             CREATE INDEX ON {rows} (changed) WHERE row IS NULL;
             INSERT INTO {schema}.\"@facts\" (name, value)
                 VALUES ('{count}', 0), ('{forgotten}', 0);"
        ));
    }
    for index in &shape.indexes {
        let it = member(&index.member);
        making.push_str(&format!(
            "CREATE INDEX ON {schema}.\"{}\" (({}), ({}), ({}));",
            index.table,
            rank(&it),
            number(&it),
            head(&it)
        ));
    }
    making
}

pub(super) async fn facts(client: &Client, schema: &str) -> Result<BTreeMap<String, i64>, Error> {
    let sql = format!("SELECT name, value FROM {schema}.\"@facts\"");
    let rows = client.query_typed(&sql, &[]).await?.into_iter();
    rows.map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect()
}

/// Of one fact.
pub(super) async fn fact(client: &Client, schema: &str, name: &str) -> Result<u64, Error> {
    let sql = format!("SELECT value FROM {schema}.\"@facts\" WHERE name = $1");
    let row = client.query_typed_opt(&sql, &[(&name, Type::TEXT)]).await?;
    let value = row.map(|row| row.try_get(0)).transpose()?;
    Ok(unsigned(value.unwrap_or(0)))
}

pub(super) async fn set(client: &Client, schema: &str, facts: &[(&str, i64)]) -> Result<(), Error> {
    let sql = format!(
        "UPDATE {schema}.\"@facts\" AS f SET value = n.value \
         FROM unnest($1, $2) AS n (name, value) WHERE f.name = n.name"
    );
    let (names, values): (Vec<&str>, Vec<i64>) = facts.iter().copied().unzip();
    let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
        [(&names, Type::TEXT_ARRAY), (&values, Type::INT8_ARRAY)];
    client.execute_typed(&sql, &parameters).await?;
    Ok(())
}

pub(super) fn standing(facts: &BTreeMap<String, i64>) -> Standing {
    let fact = |name: &str| unsigned(facts.get(name).copied().unwrap_or(0));
    Standing {
        position: fact("position"),
        at: fact("at"),
        applied: fact("applied"),
        refused: fact("refused"),
        lost: fact("lost"),
    }
}

//! Takes a question, gives a page of rows and where it ends.

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, params_from_iter};
use serde_json::value::RawValue;

use super::sql::{Part, behind, condition, expression, order};
use super::{Error, Sqlite, schema, unsigned};
use crate::projections::query::page::{Filling, Looked, Place};
use crate::projections::query::{By, Query};
use crate::projections::store::{Known, number_of, signed};

impl Sqlite {
    /// A page of a table.
    pub(in crate::projections::store) fn page(
        &self,
        query: &Query,
        table: &str,
        place: Option<Vec<Place>>,
    ) -> Result<Looked, Error> {
        let place: Option<Vec<Sql>> = place.map(|place| place.into_iter().map(Sql::from).collect());
        self.read(|read| {
            let mut from = Part {
                text: schema::rows(table),
                parameters: Vec::new(),
            };
            let changed = match query.as_of {
                None => changed(read, table)?,
                Some(moment) => match self.known(read, moment)? {
                    Known::Before(since, at) => return Ok(Looked::Before(since, at)),
                    Known::At(sequence) => {
                        from = then(number_of(&self.shape.tables, table), sequence);
                        sequence
                    }
                },
            };
            rows(query, read, (from, changed), place.as_deref())
        })
    }

    /// The event that changed a table last.
    pub(in crate::projections::store) fn changed(&self, table: &str) -> Result<u64, Error> {
        self.read(|read| changed(read, table))
    }
}

fn rows(
    query: &Query,
    read: &Connection,
    (from, changed): (Part, u64),
    place: Option<&[Sql]>,
) -> rusqlite::Result<Looked> {
    let mut columns = String::from("SELECT key, changed, row");
    for By { member, .. } in &query.order {
        columns.push_str(", ");
        columns.push_str(&expression(member));
    }
    let mut text = format!("{columns} FROM {} WHERE row IS NOT NULL", from.text);
    let mut parameters = from.parameters;
    let conditions = query.conditions.iter().map(condition);
    for part in conditions.chain(place.map(|place| behind(&query.order, place))) {
        text.push_str(" AND ");
        text.push_str(&part.text);
        parameters.extend(part.parameters);
    }
    text.push_str(&order(&query.order));
    text.push_str(&format!(" LIMIT {}", query.limit + 1));
    let mut statement = read.prepare_cached(&text)?;
    let mut found = statement.query(params_from_iter(parameters))?;
    let mut filling = Filling::of(query, changed);
    while let Some(row) = found.next()? {
        let columns = 0..query.order.len();
        let place = columns.map(|column| row.get::<_, Sql>(3 + column).map(Place::from));
        let place = place.collect::<rusqlite::Result<_>>()?;
        let one = (row.get(0)?, unsigned(row.get(1)?), raw(row.get(2)?)?);
        if filling.take(one, place) {
            break;
        }
    }
    Ok(filling.found())
}

/// A row's text, as it is answered.
pub(super) fn raw(text: String) -> rusqlite::Result<Box<RawValue>> {
    RawValue::from_string(text).map_err(|error| {
        let kind = rusqlite::types::Type::Text;
        rusqlite::Error::FromSqlConversionFailure(0, kind, error.into())
    })
}

fn changed(read: &Connection, table: &str) -> rusqlite::Result<u64> {
    let sql = format!(
        "SELECT ifnull(max(changed), 0) FROM {}",
        schema::rows(table)
    );
    let mut statement = read.prepare_cached(&sql)?;
    statement.query_row([], |row| row.get(0)).map(unsigned)
}

/// A table as it was after an event: SQLite gives the other columns of the row that has the
/// greatest sequence.
fn then(table: i64, sequence: u64) -> Part {
    Part {
        text: "(SELECT key, max(sequence) AS changed, row FROM history \
               WHERE tbl = ? AND sequence <= ? GROUP BY key)"
            .to_owned(),
        parameters: vec![Sql::Integer(table), Sql::Integer(signed(sequence))],
    }
}

impl From<Sql> for Place {
    fn from(value: Sql) -> Self {
        match value {
            Sql::Null | Sql::Blob(_) => Self::Null,
            Sql::Integer(number) => Self::Whole(number),
            Sql::Real(number) => Self::Real(number.to_bits()),
            Sql::Text(text) => Self::Text(text),
        }
    }
}

impl From<Place> for Sql {
    fn from(place: Place) -> Self {
        match place {
            Place::Null => Self::Null,
            Place::Whole(number) => Self::Integer(number),
            Place::Real(bits) => Self::Real(f64::from_bits(bits)),
            // Another store's, and so of no cursor of this one.
            Place::Number(digits) => Self::Text(digits),
            Place::Text(text) => Self::Text(text),
        }
    }
}

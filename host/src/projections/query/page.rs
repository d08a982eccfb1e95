//! Takes a question and a version of a projection, gives a page of rows, and where the next begins.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rusqlite::types::Value as Sql;
use rusqlite::{Connection, params_from_iter};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::sql::{Part, behind, condition, expression, order};
use super::{By, KEY, Query, Wrong};
use crate::hex::hex;
use crate::projections::store::{Known, Store, past, schema, unsigned};

/// A row as it is answered.
#[derive(Debug, Serialize, Deserialize)]
pub struct Row {
    /// Its key.
    pub key: String,
    /// The event that changed it last.
    pub sequence: u64,
    /// What it is.
    pub row: Box<RawValue>,
}

/// A part of an answer.
#[derive(Debug, Serialize, Deserialize)]
pub struct Page {
    /// In the order that was asked for.
    pub rows: Vec<Row>,
    /// The cursor of the page behind it; none when there is none.
    pub next: Option<String>,
}

/// Where a page ends, as it goes out.
#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    /// The version of the projection.
    version: String,
    /// The question.
    question: String,
    /// Values of the order's members, and the key.
    place: Vec<Place>,
}

#[derive(Debug, Serialize, Deserialize)]
enum Place {
    Null,
    Whole(i64),
    /// The bits, since no digits are to be lost.
    Real(u64),
    Text(String),
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The question is none.
    #[error(transparent)]
    Wrong(#[from] Wrong),
    /// The cursor is of a version that is not there any more.
    #[error("the projection was built anew since the first page; ask again without the cursor")]
    Rebuilt,
    /// The moment is not known any more: from this place and time on it is.
    #[error("what the rows were is known from event {since} on, which the store took at {at}")]
    Before {
        /// The place.
        since: u64,
        /// RFC 3339.
        at: String,
    },
    /// The rows' past is not kept.
    #[error(
        "what the rows were is not kept; set `history = \"30d\"` under [projection] of the \
         manifest, and the build that says so keeps it"
    )]
    NotKept,
    /// The file cannot be read.
    #[error(transparent)]
    Store(#[from] crate::projections::store::Error),
}

/// What one look gives.
#[derive(Debug)]
pub struct Answer {
    /// The rows.
    pub page: Page,
    /// The event that changed the table last; of a moment, that moment's.
    pub changed: u64,
}

impl Query {
    /// Asks a table of a version, in one transaction. Blocks.
    ///
    /// # Errors
    /// When the question is none, or the file cannot be read.
    pub fn answer(&self, store: &Store, version: &str, table: &str) -> Result<Answer, Error> {
        let place = self.place(version, table)?;
        let shape = store.shape();
        if self.as_of.is_some() && shape.history.is_none() {
            return Err(Error::NotKept);
        }
        let answered = store.read(|read| {
            let mut from = Part {
                text: schema::rows(table),
                parameters: Vec::new(),
            };
            let changed = match self.as_of {
                None => changed(read, table)?,
                Some(moment) => match store.known(read, moment)? {
                    Known::Before(since, at) => return Ok(Err((since, at))),
                    Known::At(sequence) => {
                        from = then(past::number_of(&shape.tables, table), sequence);
                        sequence
                    }
                },
            };
            let (rows, last) = self.rows(read, from, place.as_deref())?;
            Ok(Ok((rows, last, changed)))
        })?;
        let (rows, last, changed) = answered.map_err(|(since, at)| Error::Before {
            since,
            at: crate::clock::rfc3339(at),
        })?;
        let next = last.map(|place| self.cursor(version, table, place));
        Ok(Answer {
            page: Page { rows, next },
            changed,
        })
    }

    /// The rows, and the place of the last one where more stand behind it.
    fn rows(
        &self,
        read: &Connection,
        from: Part,
        place: Option<&[Sql]>,
    ) -> rusqlite::Result<(Vec<Row>, Option<Vec<Sql>>)> {
        let mut columns = String::from("SELECT key, changed, row");
        for By { member, .. } in &self.order {
            columns.push_str(", ");
            columns.push_str(&expression(member));
        }
        let mut text = format!("{columns} FROM {} WHERE row IS NOT NULL", from.text);
        let mut parameters = from.parameters;
        let conditions = self.conditions.iter().map(condition);
        for part in conditions.chain(place.map(|place| behind(&self.order, place))) {
            text.push_str(" AND ");
            text.push_str(&part.text);
            parameters.extend(part.parameters);
        }
        text.push_str(&order(&self.order));
        text.push_str(&format!(" LIMIT {}", self.limit + 1));
        let mut statement = read.prepare_cached(&text)?;
        let mut found = statement.query(params_from_iter(parameters))?;
        let (mut rows, mut bytes, mut last) = (Vec::new(), 0, Vec::new());
        while let Some(row) = found.next()? {
            let text: String = row.get(2)?;
            bytes += text.len();
            if self.limit <= rows.len() || (self.bytes < bytes && !rows.is_empty()) {
                return Ok((rows, Some(last)));
            }
            last.clear();
            for column in 0..self.order.len() {
                last.push(row.get::<_, Sql>(3 + column)?);
            }
            let key: String = row.get(0)?;
            last.push(Sql::Text(key.clone()));
            rows.push(Row {
                key,
                sequence: unsigned(row.get(1)?),
                row: RawValue::from_string(text).map_err(|error| {
                    let kind = rusqlite::types::Type::Text;
                    rusqlite::Error::FromSqlConversionFailure(2, kind, error.into())
                })?,
            });
        }
        Ok((rows, None))
    }

    /// Where the page begins.
    fn place(&self, version: &str, table: &str) -> Result<Option<Vec<Sql>>, Error> {
        let Some(text) = &self.cursor else {
            return Ok(None);
        };
        let wrong = || Wrong("cursor: expected what an answer gave as `next`".to_owned());
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| wrong())?;
        let cursor: Cursor = serde_json::from_slice(&bytes).map_err(|_| wrong())?;
        if cursor.question != self.question(table) {
            let text = "cursor: it is of another question; conditions, order and as-of have to \
                        be those of the first page";
            return Err(Wrong(text.to_owned()).into());
        }
        if cursor.version != version {
            return Err(Error::Rebuilt);
        }
        if cursor.place.len() != self.order.len() + 1 {
            return Err(wrong().into());
        }
        Ok(Some(cursor.place.into_iter().map(Sql::from).collect()))
    }

    fn cursor(&self, version: &str, table: &str, place: Vec<Sql>) -> String {
        let cursor = Cursor {
            version: version.to_owned(),
            question: self.question(table),
            place: place.into_iter().map(Place::from).collect(),
        };
        // The types have no way to fail.
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&cursor).unwrap_or_default())
    }

    fn question(&self, table: &str) -> String {
        let mut digits = hex(&Sha256::digest(self.fingerprint(table)));
        digits.truncate(16);
        digits
    }
}

/// The event that changed a table last.
pub fn changed(read: &Connection, table: &str) -> rusqlite::Result<u64> {
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
    let sequence = Sql::Integer(i64::try_from(sequence).unwrap_or(i64::MAX));
    Part {
        text: "(SELECT key, max(sequence) AS changed, row FROM history \
               WHERE tbl = ? AND sequence <= ? GROUP BY key)"
            .to_owned(),
        parameters: vec![Sql::Integer(table), sequence],
    }
}

/// The row of one key, of a question that says no more than when.
///
/// # Errors
/// When it says more.
pub fn of_key(key: &str, query: &Query) -> Result<Query, Wrong> {
    if !query.conditions.is_empty() || !query.order.is_empty() || query.cursor.is_some() {
        let text = "one row is asked for by its key; allowed beside it are after, wait and as-of";
        return Err(Wrong(text.to_owned()));
    }
    Ok(Query {
        conditions: vec![super::Condition {
            member: KEY.to_owned(),
            operator: super::Operator::Equal,
            values: vec![super::Value::Text(key.to_owned())],
        }],
        limit: 1,
        ..query.clone()
    })
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
            Place::Text(text) => Self::Text(text),
        }
    }
}

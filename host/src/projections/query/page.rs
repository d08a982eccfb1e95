//! Takes a question and a version of a projection, gives a page of rows, and where the next begins.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::{KEY, Query, Wrong};
use crate::hex::hex;
use crate::projections::store::Store;

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

/// What a member is at the end of a page, as the store compares it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::projections) enum Place {
    Null,
    Whole(i64),
    /// The bits, since no digits are to be lost.
    Real(u64),
    /// In digits, as many as there are.
    Number(String),
    Text(String),
}

impl Place {
    /// Whether a page can end there: who asks may have written it.
    fn is_one(&self) -> bool {
        match self {
            Self::Null | Self::Whole(_) | Self::Text(_) => true,
            Self::Real(bits) => f64::from_bits(*bits).is_finite(),
            Self::Number(digits) => {
                digits
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'.'))
                    && serde_json::from_str::<serde_json::Number>(digits).is_ok()
            }
        }
    }
}

/// What a store found.
pub(in crate::projections) enum Looked {
    Found(Found),
    /// The moment is not known any more: from this place and this time on it is.
    Before(u64, u64),
}

/// Rows of a page.
#[derive(Default)]
pub(in crate::projections) struct Found {
    pub(in crate::projections) rows: Vec<Row>,
    /// The place of the last one, where more stand behind it.
    pub(in crate::projections) last: Option<Vec<Place>>,
    /// The event that changed the table last; of a moment, that moment's.
    pub(in crate::projections) changed: u64,
}

/// A page that is being filled.
pub(in crate::projections) struct Filling<'a> {
    query: &'a Query,
    bytes: usize,
    last: Vec<Place>,
    found: Found,
}

impl<'a> Filling<'a> {
    pub(in crate::projections) fn of(query: &'a Query, changed: u64) -> Self {
        Self {
            query,
            bytes: 0,
            last: Vec::new(),
            found: Found {
                changed,
                ..Found::default()
            },
        }
    }

    /// Takes a row and the values of the order's members. Gives whether the page was full before.
    pub(in crate::projections) fn take(
        &mut self,
        (key, sequence, row): (String, u64, Box<RawValue>),
        mut place: Vec<Place>,
    ) -> bool {
        let Self { query, found, .. } = self;
        self.bytes += row.get().len();
        let is_too_much = query.bytes < self.bytes && !found.rows.is_empty();
        if query.limit <= found.rows.len() || is_too_much {
            found.last = Some(std::mem::take(&mut self.last));
            return true;
        }
        place.push(Place::Text(key.clone()));
        self.last = place;
        found.rows.push(Row { key, sequence, row });
        false
    }

    pub(in crate::projections) fn found(self) -> Looked {
        Looked::Found(self.found)
    }
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
        let (rows, last, changed) = match store.page(self, table, place)? {
            Looked::Found(Found {
                rows,
                last,
                changed,
            }) => (rows, last, changed),
            Looked::Before(since, at) => {
                let at = crate::clock::rfc3339(at);
                return Err(Error::Before { since, at });
            }
        };
        let next = last.map(|place| self.cursor(version, table, place));
        Ok(Answer {
            page: Page { rows, next },
            changed,
        })
    }

    /// Where the page begins.
    fn place(&self, version: &str, table: &str) -> Result<Option<Vec<Place>>, Error> {
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
        let is_whole = cursor.place.len() == self.order.len() + 1;
        if !is_whole || !cursor.place.iter().all(Place::is_one) {
            return Err(wrong().into());
        }
        Ok(Some(cursor.place))
    }

    fn cursor(&self, version: &str, table: &str, place: Vec<Place>) -> String {
        let cursor = Cursor {
            version: version.to_owned(),
            question: self.question(table),
            place,
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

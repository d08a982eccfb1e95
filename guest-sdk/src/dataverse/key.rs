//! Takes a column of a key and its value, gives how a URL and a body name them.

use std::iter;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::row::Name;
use super::value::{day, number};
use super::{Error, Row, name};
use crate::d365::{Date, Decimal, Json};

/// Characters that Dataverse finds no row by: "Work with alternate keys" lists all but `#`,
/// "Define alternate keys using Power Apps" has that too.
pub(super) const NOT_IN_KEYS: [char; 11] = ['/', '#', '<', '>', '*', '%', '&', ':', '\\', '?', '+'];

/// What is encoded of a text in a path: all but RFC 3986's unreserved characters, and the two
/// that stand as they are in Microsoft's examples.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'\'')
    .remove(b'@');

/// The value of a key column, by the column's type: these are the types that a key can have.
///
/// Sources: "Work with alternate keys" (types); "Use an alternate key to reference a record",
/// "Use Upsert to Create or Update a record" and "Use elastic tables" (text, whole number,
/// lookup, GUID); the rest as Microsoft's client for .NET writes it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum KeyValue {
    /// `'O''Neil'`: in quotes, a quote inside doubled, percent-encoded. Not empty, and without
    /// `/ # < > * % & : \ ? +`, by which Dataverse finds no row.
    Text(String),
    /// `5`: a whole number, or a choice by the number of its option.
    Integer(i64),
    /// `12.5`.
    Decimal(Decimal),
    /// `2026-11-24`, the day in UTC: a column of dates only.
    Day(Date),
    /// `2026-11-24T09:30:00Z`, in UTC, without fractions of a second.
    ///
    /// Microsoft's client writes it so, although its pages list `:` among the characters that
    /// do not work in keys. Try it on your table first.
    Instant(Date),
    /// `00000000-0000-0000-0000-000000000001`, without quotes.
    Guid(String),
    /// A lookup: the column is given by its navigation property, `primarycontactid`, and
    /// becomes `_primarycontactid_value=<id>`. The row has to be given by its id.
    Lookup(Row),
}

/// How a text is spelled where the key stands.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    /// Percent-encoded.
    Path,
    /// As it is. The pages do not say whether `@odata.bind` is decoded, and users of it report
    /// that it is not; with `%` refused, both readings give the same text.
    Bind,
}

impl KeyValue {
    /// `column=value`.
    pub(super) fn pair(&self, table: &str, column: &str, place: Place) -> Result<String, Error> {
        let value = match self {
            Self::Text(text) => quoted(table, column, text, place)?,
            Self::Integer(value) => value.to_string(),
            Self::Decimal(value) => value.to_string(),
            Self::Day(date) => day(date),
            Self::Instant(date) => second(date),
            Self::Guid(id) => name::guid(table, id)?,
            Self::Lookup(row) => {
                let id = looked_up(table, column, row)?;
                return Ok(format!("_{}_value={id}", column.to_ascii_lowercase()));
            }
        };
        Ok(format!("{column}={value}"))
    }

    /// A member of the body. Text may have any character here.
    pub(super) fn member(&self, table: &str, column: &str) -> Result<(String, Json), Error> {
        let value = match self {
            Self::Text(text) => text.as_str().into(),
            Self::Integer(value) => (*value).into(),
            Self::Decimal(value) => number(*value),
            Self::Day(date) => day(date).into(),
            Self::Instant(date) => second(date).into(),
            Self::Guid(id) => name::guid(table, id)?.into(),
            Self::Lookup(row) => {
                looked_up(table, column, row)?;
                let bind = row.in_bind()?.into();
                return Ok((format!("{column}@odata.bind"), bind));
            }
        };
        Ok((column.to_owned(), value))
    }

    /// Whether column and value can be part of a key at all.
    pub(super) fn check(&self, table: &str, column: &str) -> Result<(), Error> {
        match self {
            Self::Lookup(_) => name::navigation(table, column)?,
            _ => name::column(table, column)?,
        };
        if matches!(self, Self::Text(text) if text.is_empty()) {
            return Err(Error::KeyEmpty {
                table: table.to_owned(),
                column: column.to_owned(),
            });
        }
        Ok(())
    }
}

fn quoted(table: &str, column: &str, text: &str, place: Place) -> Result<String, Error> {
    if let Some(character) = text.chars().find(|c| NOT_IN_KEYS.contains(c)) {
        return Err(Error::KeyCharacter {
            table: table.to_owned(),
            column: column.to_owned(),
            character,
        });
    }
    let doubled = text.replace('\'', "''");
    Ok(match place {
        Place::Path => format!("'{}'", utf8_percent_encode(&doubled, ENCODED)),
        Place::Bind => format!("'{doubled}'"),
    })
}

/// The id of the row that a key's lookup names.
fn looked_up(table: &str, column: &str, row: &Row) -> Result<String, Error> {
    match &row.name {
        Name::Id(id) => name::guid(&row.table, id),
        Name::Key(_) => Err(Error::KeyLookup {
            table: table.to_owned(),
            column: column.to_owned(),
        }),
    }
}

/// RFC 3339 in UTC, cut to the second.
fn second(date: &Date) -> String {
    let whole = date.rfc3339();
    let seconds = whole.chars().take("yyyy-mm-ddThh:mm:ss".len());
    seconds.chain(iter::once('Z')).collect()
}

impl From<&str> for KeyValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for KeyValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i32> for KeyValue {
    fn from(number: i32) -> Self {
        Self::Integer(number.into())
    }
}

impl From<i64> for KeyValue {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<Decimal> for KeyValue {
    fn from(decimal: Decimal) -> Self {
        Self::Decimal(decimal)
    }
}

impl From<Row> for KeyValue {
    fn from(row: Row) -> Self {
        Self::Lookup(row)
    }
}

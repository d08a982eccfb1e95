//! Takes a table and an id or the columns of a key, gives how a URL names that row.

use super::key::Place;
use super::{Error, KeyValue, name};
use crate::d365::Json;

/// Columns that a key can have ("Work with alternate keys", valid key size).
const MOST_COLUMNS: usize = 16;

/// A row of a table, named by its id or by an alternate key.
///
/// Tables go by their entity set name, which as a rule is a plural and whose case counts:
/// `accounts`, `new_shipments`. An event says the logical name, `account`; which set belongs to
/// it stands in the table's definition, as `EntitySetName`.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub(super) table: String,
    pub(super) name: Name,
}

/// What tells the row from others.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Name {
    Id(String),
    Key(Vec<(String, KeyValue)>),
}

impl Row {
    /// The row with this id: a GUID, with or without braces.
    pub fn by_id(table: impl Into<String>, id: impl Into<String>) -> Self {
        Self {
            table: table.into(),
            name: Name::Id(id.into()),
        }
    }

    /// The row with this value in the one column of an alternate key.
    pub fn by_key(
        table: impl Into<String>,
        column: impl Into<String>,
        value: impl Into<KeyValue>,
    ) -> Self {
        Self::by_columns(table, [(column, value.into())])
    }

    /// The row with these values in the columns of an alternate key: all of them, in any order,
    /// 1 to 16.
    ///
    /// ```
    /// # use sluicegate_guest::dataverse::{KeyValue, Row, Upsert};
    /// let joe = [
    ///     ("firstname", KeyValue::from("Joe")),
    ///     ("emailaddress1", "abc@example.com".into()),
    /// ];
    /// let request = Upsert::new(Row::by_columns("contacts", joe)).build()?;
    /// assert_eq!(
    ///     request.path,
    ///     "/api/data/v9.2/contacts(firstname='Joe',emailaddress1='abc@example.com')"
    /// );
    /// # Ok::<(), sluicegate_guest::dataverse::Error>(())
    /// ```
    pub fn by_columns<C: Into<String>>(
        table: impl Into<String>,
        columns: impl IntoIterator<Item = (C, KeyValue)>,
    ) -> Self {
        let columns = columns.into_iter();
        Self {
            table: table.into(),
            name: Name::Key(columns.map(|(name, value)| (name.into(), value)).collect()),
        }
    }

    /// For the path of a request: `accounts(accountnumber='A-1')`.
    pub(super) fn in_path(&self) -> Result<String, Error> {
        self.spell(Place::Path)
    }

    /// For the value of an `@odata.bind`: `/accounts(accountnumber='A-1')`.
    pub(super) fn in_bind(&self) -> Result<String, Error> {
        Ok(format!("/{}", self.spell(Place::Bind)?))
    }

    /// For the body of a create: the key as columns of the new row, an id as none.
    pub(super) fn in_body(&self) -> Result<Vec<(String, Json)>, Error> {
        self.check()?;
        let columns = self.columns().iter();
        columns
            .map(|(column, value)| value.member(&self.table, column))
            .collect()
    }

    /// The columns of the key; none when the row is named by its id.
    pub(super) fn columns(&self) -> &[(String, KeyValue)] {
        match &self.name {
            Name::Id(_) => &[],
            Name::Key(columns) => columns,
        }
    }

    fn spell(&self, place: Place) -> Result<String, Error> {
        self.check()?;
        let inside = match &self.name {
            Name::Id(id) => name::guid(&self.table, id)?,
            Name::Key(columns) => {
                let columns = columns.iter();
                let pairs = columns.map(|(column, value)| value.pair(&self.table, column, place));
                pairs.collect::<Result<Vec<_>, _>>()?.join(",")
            }
        };
        Ok(format!("{}({inside})", self.table))
    }

    fn check(&self) -> Result<(), Error> {
        name::table(&self.table)?;
        let Name::Key(columns) = &self.name else {
            return Ok(());
        };
        if !(1..=MOST_COLUMNS).contains(&columns.len()) {
            return Err(Error::KeySize {
                table: self.table.clone(),
                count: columns.len(),
                limit: MOST_COLUMNS,
            });
        }
        for (at, (column, value)) in columns.iter().enumerate() {
            value.check(&self.table, column)?;
            let mut before = columns.iter().take(at);
            if before.any(|(other, _)| other.eq_ignore_ascii_case(column)) {
                return Err(Error::KeyTwice {
                    table: self.table.clone(),
                    column: column.clone(),
                });
            }
        }
        Ok(())
    }
}

//! Takes what is wrong with a request, gives the sentence that an operator reads in a dead letter.

/// Why a request for Dataverse cannot be built.
///
/// All of it follows from what the plug-in asked for, so that `?` in a handler, which rejects
/// the event, is right. Values stand in no message: they may be personal data.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name that no table can have in a URL.
    #[error(
        "{found:?} is no entity set name: letters, digits and _ are accepted, such as accounts; \
         the table's definition has it as EntitySetName"
    )]
    Table {
        /// The name.
        found: String,
    },
    /// A name that no column can have.
    #[error(
        "{found:?} is no column of {table}: accepted is a logical name, in lower-case letters, \
         digits and _, such as new_amount; for a lookup use bind"
    )]
    Column {
        /// Entity set name of the table.
        table: String,
        /// The name.
        found: String,
    },
    /// A name that no lookup can have.
    #[error(
        "{found:?} is no navigation property of {table}: letters, digits and _ are accepted, \
         such as primarycontactid or new_Customer; $metadata has it, and its case counts"
    )]
    Navigation {
        /// Entity set name of the table.
        table: String,
        /// The name.
        found: String,
    },
    /// A text that is no GUID.
    #[error(
        "the id of a row of {table} is no GUID; accepted are 32 hexadecimal digits as \
         00000000-0000-0000-0000-000000000001, with or without braces"
    )]
    Id {
        /// Entity set name of the table.
        table: String,
    },
    /// A key with a column twice.
    #[error("the key of {table} names the column {column} twice; each has one value")]
    KeyTwice {
        /// Entity set name of the table.
        table: String,
        /// The column.
        column: String,
    },
    /// A key without columns, or with more than one can have.
    #[error("the key of {table} has {count} columns; Dataverse allows 1 to {limit}")]
    KeySize {
        /// Entity set name of the table.
        table: String,
        /// Columns of the key.
        count: usize,
        /// The most that there can be.
        limit: usize,
    },
    /// A key column without a value.
    #[error(
        "the key column {column} of {table} is an empty text, which identifies no row (for an \
         idempotency key: Delivery::default() has none, set one in the test)"
    )]
    KeyEmpty {
        /// Entity set name of the table.
        table: String,
        /// The column.
        column: String,
    },
    /// A text that cannot stand in the key of a URL.
    #[error(
        "the text for the key column {column} of {table} has the character {character:?}; \
         Dataverse finds no row by a key with any of / # < > * % & : \\ ? +, encoded or not: use a \
         key without them, or the row's id"
    )]
    KeyCharacter {
        /// Entity set name of the table.
        table: String,
        /// The column.
        column: String,
        /// The first such character.
        character: char,
    },
    /// A lookup in a key that is given by a key of its own.
    #[error(
        "the key column {column} of {table} is a lookup, and its row is not given by its id; \
         a key takes ids only"
    )]
    KeyLookup {
        /// Entity set name of the table.
        table: String,
        /// The column.
        column: String,
    },
    /// A column of the key that stands in the body too.
    #[error(
        "the column {column} of {table} is set and is part of the key; leave it out of the body: \
         Dataverse takes it from the key, and creates a row with the wrong one when they differ"
    )]
    KeyInBody {
        /// Entity set name of the table.
        table: String,
        /// The column.
        column: String,
    },
    /// A value that JSON cannot say.
    #[error("the value for the column {column} of {table} cannot be written as JSON")]
    Write {
        /// Entity set name of the table.
        table: String,
        /// The column.
        column: String,
        /// What the JSON writer found.
        source: serde_json::Error,
    },
}

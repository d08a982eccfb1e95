//! Takes what a group of events did to the rows of a projection, gives a store that has all of it or
//! nothing: the rows, the place, what was refused, what rows had before.
//!
//! Two stores do the same: a file of SQLite, of this host alone, and a schema in a PostgreSQL that
//! hosts share. What is SQL stands below them, and nowhere else.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;

use self::postgres::Postgres;
use self::sqlite::Sqlite;
use super::changes::Place as ChangesPlace;
use super::changes::Told;
use super::query::Query;
use super::query::page::{Looked, Place};
use crate::ledger::inbox::InboxId;
use crate::manifest::Projection;

mod group;
pub(in crate::projections) mod postgres;
pub(in crate::projections) mod sqlite;

pub use self::group::{Change, Group, Keep, Known, Moment, Refused, Standing};

/// Why a store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened, read or written.
    #[error("{}: {source}", path.display())]
    Sqlite {
        /// Which.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The folder cannot be made or read, or a file in it not be written.
    #[error("{}: {source}", path.display())]
    Disk {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Another version of the host wrote it.
    #[error(
        "{place}: it is of the form {found}, and this version of the host writes {expected}; \
         take it away, and the projection is built anew"
    )]
    Form {
        /// The file, or the schema.
        place: String,
        /// As it says.
        found: i64,
        /// As this host has it.
        expected: i64,
    },
    /// Somebody else writes it.
    #[error(
        "{place}: somebody else has moved the projection on meanwhile; if that is another host \
         with the same data_dir or the same name, give each one its own"
    )]
    Taken {
        /// The file, or the schema.
        place: String,
    },
    /// The question took too long, and was ended.
    #[error(
        "the question took longer than {0:?} and was ended; an index on the members that it \
         filters and orders by (`indexes` under [projection]) makes it quick"
    )]
    TooLong(Duration),
    /// PostgreSQL is away, or on the way there or back something broke.
    #[error("PostgreSQL is not to be had: {0}")]
    Away(String),
    /// The authorities by which it is known cannot be read.
    #[error(transparent)]
    Trust(#[from] crate::plugin::http::TrustError),
    /// It does not do what it is told.
    #[error("PostgreSQL, {place}: {reason}")]
    Postgres {
        /// What was to be used: a schema.
        place: String,
        /// What it says.
        reason: String,
    },
}

/// What one version of a projection has.
#[derive(Debug)]
pub enum Store {
    /// In a file.
    Sqlite(Sqlite),
    /// In a schema.
    Postgres(Postgres),
}

/// Has the one that it is do it.
macro_rules! each {
    ($store:expr, $it:ident => $does:expr) => {
        match $store {
            Self::Sqlite($it) => $does,
            Self::Postgres($it) => $does,
        }
    };
}

impl Store {
    /// The tables, and what is kept of them.
    pub fn shape(&self) -> &Projection {
        each!(self, it => it.shape())
    }

    /// What it has goes when nobody uses it any more. A schema is dropped by whoever keeps the
    /// versions: other hosts may be reading it.
    pub fn doom(&self) {
        match self {
            Self::Sqlite(file) => file.doom(),
            Self::Postgres(_) => {}
        }
    }

    /// Up to where it is. Blocks, as all that follows does, but for [`Store::counts`] and
    /// [`Store::size`].
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn standing(&self) -> Result<Standing, Error> {
        each!(self, it => it.standing())
    }

    /// A row as the last commit left it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn row(&self, place: &str) -> Result<Option<Bytes>, Error> {
        each!(self, it => it.row(place))
    }

    /// Those of these events that the projection has handled before, and when the store took each.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn seen(&self, ids: &[InboxId]) -> Result<BTreeMap<InboxId, u64>, Error> {
        each!(self, it => it.seen(ids))
    }

    /// Keeps what a group of events did, and that they have had their turn: all of it, or nothing.
    /// Gives up to where it is then.
    ///
    /// # Errors
    /// When it cannot be written, or somebody else has moved it on; then nothing of the group is
    /// kept. When the answer is lost it is not known: the place tells.
    pub fn commit(&self, before: &Standing, group: &Group) -> Result<Standing, Error> {
        each!(self, it => it.commit(before, group))
    }

    /// Lets go of what is old, one round of it. Gives whether there is more to be done.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep_house(&self, keep: Keep) -> Result<bool, Error> {
        each!(self, it => it.keep_house(keep))
    }

    /// The newest refused events, so many at most.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn refused(&self, most: usize) -> Result<Vec<Refused>, Error> {
        each!(self, it => it.refused(most))
    }

    /// The event that changed a table last.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn changed(&self, table: &str) -> Result<u64, Error> {
        each!(self, it => it.changed(table))
    }

    /// A page of a table, all of it from one moment.
    pub(super) fn page(
        &self,
        query: &Query,
        table: &str,
        place: Option<Vec<Place>>,
    ) -> Result<Looked, Error> {
        each!(self, it => it.page(query, table, place))
    }

    /// What has changed in a table behind a place.
    pub(super) fn changes(&self, table: &str, place: &ChangesPlace) -> Result<Told, Error> {
        each!(self, it => it.changes(table, place))
    }

    /// How many rows each table has. Does not block for long.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        match self {
            Self::Sqlite(file) => file.counts().unwrap_or_default(),
            Self::Postgres(schema) => schema.counts(),
        }
    }

    /// Bytes on disk. Does not block for long.
    pub fn size(&self) -> u64 {
        each!(self, it => it.size())
    }
}

/// Where a table stands in the history: its number among those of the manifest.
fn number_of(tables: &[String], table: &str) -> i64 {
    let number = tables.iter().position(|own| own == table);
    number
        .and_then(|number| i64::try_from(number).ok())
        .unwrap_or(-1)
}

/// A database has no unsigned numbers; no sequence and no time gets so far.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

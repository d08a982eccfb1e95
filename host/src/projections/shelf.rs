//! Takes a projection's name, gives where its versions are kept and written down: a folder of this
//! host, or the database that hosts share.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::folder::{Folder, Named, Written};
use super::store::postgres::{Database, Postgres, Versions};
use super::store::sqlite::Sqlite;
use super::store::{Error, Store};
use crate::config::Config;
use crate::manifest::Projection;

/// Hosts that follow have looked what answers by then: the version before may go.
const ALL_HAVE_SEEN: Duration = Duration::from_secs(10);

/// Where the versions of one projection are.
#[derive(Debug, Clone)]
pub(super) enum Shelf {
    Folder(Folder),
    Shared(Versions),
}

impl Shelf {
    /// Opens it, or makes it. Blocks, as all that follows does.
    pub(super) fn open(
        config: &Config,
        database: Option<&Arc<Database>>,
        name: &str,
    ) -> Result<Self, Error> {
        Ok(match database {
            None => Self::Folder(Folder::open(&config.host.data_dir, name)?),
            Some(database) => Self::Shared(Versions::open(database, name)?),
        })
    }

    /// Whether others may change what is on it.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self, Self::Shared(_))
    }

    /// Whether it is for this host to write, for the next seconds.
    pub(super) fn claim(&self) -> Result<bool, Error> {
        match self {
            Self::Folder(_) => Ok(true),
            Self::Shared(versions) => versions.claim(),
        }
    }

    /// Another host may write.
    pub(super) fn let_go(&self) -> Result<(), Error> {
        match self {
            Self::Folder(_) => Ok(()),
            Self::Shared(versions) => versions.let_go(),
        }
    }

    pub(super) fn read(&self) -> Result<Written, Error> {
        match self {
            Self::Folder(folder) => folder.read(),
            Self::Shared(versions) => versions.read(),
        }
    }

    /// From here on that is what there is; where others may change it, only if `before` still was.
    pub(super) fn write(&self, before: &Written, now: &Written) -> Result<(), Error> {
        match self {
            Self::Folder(folder) => folder.write(now),
            Self::Shared(versions) => versions.write(before, now),
        }
    }

    /// Opens the rows of a version, or makes room for them.
    pub(super) fn store(&self, named: &Named, shape: &Projection) -> Result<Store, Error> {
        Ok(match self {
            Self::Folder(folder) => Store::Sqlite(Sqlite::open(&folder.database(named), shape)?),
            Self::Shared(Versions { database, .. }) => {
                Store::Postgres(Postgres::open(database, &named.id, shape)?)
            }
        })
    }

    /// The bytes of its build.
    pub(super) fn component(&self, named: &Named) -> Result<Vec<u8>, Error> {
        match self {
            Self::Folder(folder) => folder.component(named),
            Self::Shared(versions) => versions.component(&named.id)?.ok_or_else(|| Error::Disk {
                path: PathBuf::from(&named.id),
                source: std::io::ErrorKind::NotFound.into(),
            }),
        }
    }

    /// Keeps the bytes of its build, for when nobody else has them any more.
    pub(super) fn keep_component(&self, named: &Named, bytes: &[u8]) -> Result<(), Error> {
        match self {
            Self::Folder(folder) => folder.keep_component(named, bytes),
            Self::Shared(versions) => versions.keep_component(&named.id, bytes),
        }
    }

    /// How long a version stays after another one has taken its place.
    pub(super) fn stays(&self) -> Duration {
        match self {
            Self::Folder(_) => Duration::ZERO,
            Self::Shared(_) => ALL_HAVE_SEEN,
        }
    }

    /// Takes away what there is of a version, but for a file that is in use.
    pub(super) fn forget(&self, named: &Named) -> Result<(), Error> {
        match self {
            Self::Folder(folder) => {
                folder.forget_component(named);
                Ok(())
            }
            Self::Shared(versions) => versions.forget(&named.id),
        }
    }

    /// Takes away what `written` does not name.
    pub(super) fn tidy(&self, written: &Written) -> Result<(), Error> {
        match self {
            Self::Folder(folder) => folder.tidy(written),
            Self::Shared(versions) => {
                for id in versions.of_nobody(written)? {
                    tracing::info!(id, "a schema that no version has goes");
                    versions.forget(&id)?;
                }
            }
        }
        Ok(())
    }
}

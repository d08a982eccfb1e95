//! Takes a question for a projection, gives the version that may answer it: waited for, where the
//! question says after what, or as of when.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Context;
use tokio::time::{Instant, timeout};

use super::query::{Query, page};
use super::store::Moment;
use super::version::{self, Version};
use super::{Answer, Shown};
use crate::clock;
use crate::operations::history;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It has no such table.
    #[error("there is no table {table:?}; there are {tables:?}")]
    NoTable {
        /// The table.
        table: String,
        /// Those that there are.
        tables: Vec<String>,
    },
    /// The projection was not so far in time.
    #[error("the projection is at event {position}, and {wanted} is asked for; it is on its way")]
    Behind {
        /// Where it is.
        position: u64,
        /// Where it has to be.
        wanted: u64,
    },
    /// Nobody knows that.
    #[error("{0} is still to come")]
    Future(String),
    /// The end of the event store is not known.
    #[error(
        "the event store does not say where it ends, so it is not known whether the projection has all up to that time: {0}"
    )]
    Unknown(String),
    /// The version does not answer.
    #[error(transparent)]
    Version(#[from] version::Error),
}

impl From<page::Error> for Error {
    fn from(error: page::Error) -> Self {
        Self::Version(error.into())
    }
}

/// What was found.
#[derive(Debug)]
pub struct Found {
    /// The version that answered.
    pub version: Arc<Version>,
    /// The table.
    pub table: String,
    /// Its answer.
    pub answer: Answer,
}

impl Shown {
    /// Asks the version that answers. Without a table the first one is meant.
    ///
    /// # Errors
    /// When the question is none, or the projection is not so far in time.
    pub async fn ask(
        &self,
        context: Option<&Context>,
        table: Option<&str>,
        query: &Query,
    ) -> Result<Found, Error> {
        let version = self.version(context, query).await?;
        let table = self.table(table)?;
        let answer = version.ask(&table, query).await?;
        Ok(Found {
            version,
            table,
            answer,
        })
    }

    /// The name of a table.
    ///
    /// # Errors
    /// When there is no such.
    pub fn table(&self, table: Option<&str>) -> Result<String, Error> {
        let tables = self.versions.borrow().current.store.shape().tables.clone();
        let found = match table {
            Some(table) => tables.iter().find(|own| *own == table),
            None => tables.first(),
        };
        found.cloned().ok_or_else(|| Error::NoTable {
            table: table.unwrap_or_default().to_owned(),
            tables: tables.clone(),
        })
    }

    /// The version that may answer, once it is so far.
    ///
    /// # Errors
    /// When it is not in time.
    pub async fn version(
        &self,
        context: Option<&Context>,
        query: &Query,
    ) -> Result<Arc<Version>, Error> {
        let mut wanted = query.after.unwrap_or(0);
        match query.as_of {
            None => {}
            Some(Moment::Sequence(sequence)) => wanted = wanted.max(sequence),
            Some(Moment::Time(at)) => {
                if clock::unix_millis() < at {
                    return Err(Error::Future(clock::rfc3339(at)));
                }
                let standing = self.versions.borrow().current.standing();
                // What the store took in the same millisecond as the last event, or later, may be
                // on its way.
                if standing.at <= at {
                    wanted = wanted.max(last(context).await?);
                }
            }
        }
        self.reached(wanted, query.wait).await
    }

    /// Waits for the version that answers, whichever that is by then.
    async fn reached(&self, wanted: u64, patience: Duration) -> Result<Arc<Version>, Error> {
        let end = Instant::now() + patience;
        let mut versions = self.versions.clone();
        loop {
            let version = Arc::clone(&versions.borrow_and_update().current);
            let left = end.saturating_duration_since(Instant::now());
            let there = tokio::select! {
                there = version.reached(wanted, left) => there,
                Ok(()) = versions.changed() => continue,
            };
            return match there {
                true => Ok(version),
                false => Err(Error::Behind {
                    position: version.standing().position,
                    wanted,
                }),
            };
        }
    }
}

/// The last place of the event store.
async fn last(context: Option<&Context>) -> Result<u64, Error> {
    const PATIENCE: Duration = Duration::from_secs(2);
    let unknown = |error: String| Error::Unknown(error);
    let context = context.ok_or_else(|| unknown("the broker is away".to_owned()))?;
    let asked = async {
        let events = history::stream(context).await?;
        history::ends(&events).await
    };
    let ends = timeout(PATIENCE, asked).await;
    let ends = ends.map_err(|_| unknown("it does not answer".to_owned()))?;
    let (_, last) = ends.map_err(|error| unknown(error.to_string()))?;
    Ok(last)
}

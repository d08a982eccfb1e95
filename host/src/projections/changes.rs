//! Takes a place in a table's changes, gives those behind it, as they come.
//!
//! Nothing is kept for who listens: what has changed is looked up whenever the version has moved,
//! so one that is slow gets the newest of each row.

use std::sync::Arc;

use serde_json::value::RawValue;
use tokio::sync::watch;

use super::asked::Error;
use super::version::Version;
use super::{Shown, Versions};

/// Changes that are looked up at once.
pub(super) const MOST: usize = 500;
/// And bytes of them.
const MOST_BYTES: usize = 4 << 20;

/// What was told last: the event, and the row.
pub(super) type Place = (u64, String);

/// What a store has behind a place.
pub(super) struct Told {
    /// Up to where it is.
    pub(super) position: u64,
    /// Changes, and whether these are all there are; none when it is not known any more.
    pub(super) found: Option<(Vec<Changed>, bool)>,
}

/// Changes that are being gathered, in the order of events and keys.
#[derive(Default)]
pub(super) struct Gathering {
    found: Vec<Changed>,
    bytes: usize,
    is_cut: bool,
}

impl Gathering {
    /// Takes the next one. Gives whether that was too much.
    pub(super) fn take(&mut self, key: String, row: Option<Box<RawValue>>, sequence: u64) -> bool {
        if let Some(last) = self.found.last_mut() {
            last.is_last = last.sequence < sequence;
        }
        if MOST <= self.found.len() || MOST_BYTES <= self.bytes {
            self.is_cut = true;
            return true;
        }
        self.bytes += row.as_ref().map_or(0, |row| row.get().len());
        self.found.push(Changed {
            key,
            row,
            sequence,
            is_last: true,
        });
        false
    }

    pub(super) fn all(self, position: u64) -> Told {
        Told {
            position,
            found: Some((self.found, !self.is_cut)),
        }
    }
}

/// One change.
#[derive(Debug, Clone)]
pub struct Changed {
    /// The row.
    pub key: String,
    /// What it is; none where it is gone.
    pub row: Option<Box<RawValue>>,
    /// The event that changed it last.
    pub sequence: u64,
    /// Whether all that this event changed has been told.
    pub is_last: bool,
}

/// What is told.
#[derive(Debug)]
pub enum News {
    /// Where one begins to listen.
    Begins,
    /// Rows have changed.
    Changed(Vec<Changed>),
    /// Another version answers, or so many rows are gone that it is not known any more which: all
    /// has to be read anew.
    Rebuilt,
}

/// Who listens to a table.
#[derive(Debug)]
pub struct Listener {
    versions: watch::Receiver<Versions>,
    version: Arc<Version>,
    table: String,
    last: Place,
    /// What is to be told first.
    first: Option<News>,
}

/// Comes behind every key.
const END: &str = "\u{10ffff}";

impl Listener {
    /// Listens from a place on: that of the version of this name; from now on where none is said.
    ///
    /// # Errors
    /// When there is no such table.
    pub fn begin(
        shown: &Shown,
        table: Option<&str>,
        place: Option<(Option<&str>, u64)>,
    ) -> Result<Self, Error> {
        let table = shown.table(table)?;
        let mut versions = shown.versions.clone();
        let version = Arc::clone(&versions.borrow_and_update().current);
        let now = version.standing().position;
        let (from, first) = match place {
            None => (now, News::Begins),
            Some((Some(id), _)) if id != version.id => (now, News::Rebuilt),
            // A place that this host has not reached yet is waited for.
            Some((_, place)) => (place, News::Begins),
        };
        Ok(Self {
            versions,
            version,
            table,
            last: (from, END.to_owned()),
            first: Some(first),
        })
    }

    /// The table.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// Where somebody goes on who has heard everything so far.
    pub fn place(&self) -> String {
        self.place_of(self.last.0)
    }

    /// A place, as it is told.
    pub fn place_of(&self, sequence: u64) -> String {
        format!("{}:{sequence}", self.version.id)
    }

    /// What comes next.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn next(&mut self) -> Result<News, Error> {
        if let Some(first) = self.first.take() {
            return Ok(first);
        }
        loop {
            let mut moves = self.version.moves();
            let position = moves.borrow_and_update().position;
            if self.last.0 < position
                && let Some(news) = self.look().await?
            {
                return Ok(news);
            }
            tokio::select! {
                Ok(()) = self.versions.changed() => {
                    let now = Arc::clone(&self.versions.borrow_and_update().current);
                    if now.id != self.version.id {
                        self.last = (now.standing().position, END.to_owned());
                        self.version = now;
                        return Ok(News::Rebuilt);
                    }
                }
                Ok(()) = moves.changed() => {}
                else => std::future::pending().await,
            }
        }
    }

    async fn look(&mut self) -> Result<Option<News>, Error> {
        let (table, last) = (self.table.clone(), self.last.clone());
        let looked = self.version.look(move |store| store.changes(&table, &last));
        let looked = looked.await?.map_err(super::query::page::Error::from)?;
        let Told { position, found } = looked;
        let Some((found, is_whole)) = found else {
            self.last = (position, END.to_owned());
            return Ok(Some(News::Rebuilt));
        };
        match found.last() {
            Some(last) if !is_whole => self.last = (last.sequence, last.key.clone()),
            Some(_) | None => self.last = (position.max(self.last.0), END.to_owned()),
        }
        Ok((!found.is_empty()).then_some(News::Changed(found)))
    }
}

//! Takes messages that the broker does not take now, gives them back in order when it does: a bounded queue on disk.
//!
//! ```text
//! gate (direct, or into the spool) -> writer (one fsync a group) -> store -> drain
//! ```
//!
//! One thread owns the file. What waits for it at the same time becomes durable together, so
//! the price of an fsync is shared. Whoever got `Ok` has its message on disk.

pub mod gate;
pub(super) mod held;
pub(super) mod pace;
pub mod record;
pub(super) mod refused;
mod reserve;
mod room;
pub(super) mod seen;

pub(super) mod settling;
mod store;
pub mod tables;
mod window;
mod writer;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

use self::record::Record;
use self::room::Room;
use self::store::Store;
use self::tables::{OpenError, Standing};
use self::writer::Order;
use super::outgoing::Outgoing;
use crate::clock;

/// Why the spool did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// What is asked for does not fit any more.
    #[error("the spool is full: {bytes} of gateway.spool_max_bytes = {max_bytes} bytes are taken")]
    Full {
        /// What it holds.
        bytes: u64,
        /// What it may hold.
        max_bytes: u64,
    },
    /// The disk is full or broken. A later order may go well.
    #[error("the spool {} fails: {reason}", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// What the disk or the store says.
        reason: String,
    },
    /// The host is stopping.
    #[error("the spool is closed; the host is stopping")]
    Closed,
}

/// A record as it stands in the file, with its number.
pub(super) type Numbered = (u64, Vec<u8>);

/// What stands at a number.
#[derive(Debug)]
pub struct Found {
    /// Its place in the order.
    pub number: u64,
    /// The message, if this version can read it.
    pub record: Result<Record, record::Error>,
}

/// The queue on disk. Cheap to clone; the file is closed when the last clone is gone.
#[derive(Debug, Clone)]
pub struct Spool {
    orders: mpsc::Sender<Order>,
    room: Arc<Room>,
}

impl Spool {
    /// Opens the spool in this folder, or makes it; at most `max_bytes` of messages.
    ///
    /// # Errors
    /// [`OpenError`], when the file is in use, damaged, foreign or not to be had.
    pub async fn open(
        folder: &Path,
        max_bytes: u64,
        tracker: &TaskTracker,
    ) -> Result<Self, OpenError> {
        let owned = folder.to_owned();
        let opening = tracker.spawn_blocking(move || Store::open(&owned));
        let store = opening.await.unwrap_or_else(|panicked| {
            Err(OpenError::Unusable {
                path: folder.to_owned(),
                reason: panicked.to_string(),
            })
        })?;
        let room = Room::new(max_bytes, store.standing());
        let (orders, incoming) = mpsc::channel(writer::GROUP);
        let shared = Arc::clone(&room);
        tracker.spawn_blocking(move || writer::run(store, &shared, incoming));
        Ok(Self { orders, room })
    }

    /// How many messages wait in this folder: for a host that runs without a spool now and
    /// may have run with one before.
    ///
    /// # Errors
    /// [`OpenError`], when there is a file and it cannot be opened.
    pub async fn left_behind(folder: &Path, tracker: &TaskTracker) -> Result<u64, OpenError> {
        if !Store::exists(folder) {
            return Ok(0);
        }
        let spool = Self::open(folder, 0, tracker).await?;
        Ok(spool.standing().records)
    }

    /// Keeps these messages, all or none, in their order; `true` beside one that the broker
    /// may have already. Gives back when they are on disk.
    ///
    /// # Errors
    /// [`Error`]; then none of them is kept.
    pub async fn append(&self, messages: &[(&Outgoing, bool)]) -> Result<(), Error> {
        let now = clock::unix_millis();
        let records: Vec<Vec<u8>> = messages
            .iter()
            .map(|(outgoing, uncertain)| record::encode(outgoing, now, *uncertain))
            .collect();
        let bytes = records.iter().map(|record| tables::size(record)).sum();
        let place = self.room.promise(bytes).ok_or_else(|| Error::Full {
            bytes: self.standing().bytes,
            max_bytes: self.room.max_bytes(),
        })?;
        self.ask(|done| Order::Append {
            records,
            place,
            done,
        })
        .await
    }

    /// What stands from a number on: at most so many records, and so many bytes (but one
    /// record at least).
    ///
    /// # Errors
    /// [`Error`], when the file cannot be read.
    pub async fn read(
        &self,
        from: u64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Found>, Error> {
        let read = self.ask(|done| Order::Read {
            from,
            max_records,
            max_bytes,
            done,
        });
        let decoded = |(number, bytes): Numbered| Found {
            number,
            record: record::decode(&bytes),
        };
        Ok(read.await?.into_iter().map(decoded).collect())
    }

    /// These are done with. Gives back when that is on disk.
    ///
    /// # Errors
    /// [`Error`]; then all of them are still there.
    pub async fn remove(&self, numbers: Vec<u64>) -> Result<(), Error> {
        self.ask(|done| Order::Remove { numbers, done }).await
    }

    /// These are in nobody's way any more, but stay in the file.
    ///
    /// # Errors
    /// [`Error`]; then all of them are still in the queue.
    pub async fn set_aside(&self, numbers: Vec<u64>) -> Result<(), Error> {
        self.ask(|done| Order::SetAside { numbers, done }).await
    }

    /// Whether nothing waits: neither on disk nor on its way there.
    ///
    /// # Errors
    /// [`Error`], when the file cannot be read.
    pub async fn is_empty(&self) -> Result<bool, Error> {
        // The orders are carried out in turn, so those before this one are done.
        Ok(self.read(0, 1, 0).await?.is_empty())
    }

    /// How much is on disk.
    pub fn standing(&self) -> Standing {
        self.room.standing()
    }

    async fn ask<T>(
        &self,
        order: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Order,
    ) -> Result<T, Error> {
        let (done, answer) = oneshot::channel();
        let sent = self.orders.send(order(done)).await;
        sent.map_err(|_closed| Error::Closed)?;
        answer.await.map_err(|_closed| Error::Closed)?
    }
}

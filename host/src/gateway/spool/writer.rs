//! Takes the orders of everybody who uses the spool, gives each its answer: those that wait at the same time share one fsync.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::room::{Place, Room};
use super::store::Store;
use super::tables::Change;
use super::{Error, Numbered};

/// Orders that one transaction takes at most.
pub(super) const GROUP: usize = 1_024;

/// One thing to do with the file.
#[derive(Debug)]
pub(super) enum Order {
    /// Keep these, all or none.
    Append {
        records: Vec<Vec<u8>>,
        /// The room that they were promised.
        place: Place,
        done: oneshot::Sender<Result<(), Error>>,
    },
    /// These are done with.
    Remove {
        numbers: Vec<u64>,
        done: oneshot::Sender<Result<(), Error>>,
    },
    /// Nobody can do anything with these.
    SetAside {
        numbers: Vec<u64>,
        done: oneshot::Sender<Result<(), Error>>,
    },
    /// From a number on, so many, of so many bytes.
    Read {
        from: u64,
        max_records: usize,
        max_bytes: usize,
        done: oneshot::Sender<Result<Vec<Numbered>, Error>>,
    },
}

/// Carries out orders until nobody can give any. Blocks its thread.
pub(super) fn run(mut store: Store, room: &Arc<Room>, mut orders: mpsc::Receiver<Order>) {
    let mut waiting = Vec::new();
    while 0 < orders.blocking_recv_many(&mut waiting, GROUP) {
        let mut change = Change::default();
        let (mut appended, mut settled) = (Vec::new(), Vec::new());
        let mut reads = Vec::new();
        for order in waiting.drain(..) {
            match order {
                Order::Append {
                    records,
                    place,
                    done,
                } => {
                    change.append.extend(records);
                    appended.push((done, place));
                }
                Order::Remove { numbers, done } => {
                    change.remove.extend(numbers);
                    settled.push(done);
                }
                Order::SetAside { numbers, done } => {
                    change.aside.extend(numbers);
                    settled.push(done);
                }
                read @ Order::Read { .. } => reads.push(read),
            }
        }
        let mut result = Ok(());
        if !appended.is_empty() {
            result = guarded(&mut store, |store| store.apply(&change));
            room.stands(store.standing());
        }
        for (done, place) in appended {
            // The room that it was promised is now counted as taken, or free again.
            drop(place);
            // Whoever has gone meanwhile has the change all the same.
            let _ = done.send(result.clone());
        }
        if !settled.is_empty() && (result.is_err() || change.append.is_empty()) {
            // A full disk is no reason not to empty it.
            change.append.clear();
            result = guarded(&mut store, |store| store.settle(&change));
            room.stands(store.standing());
        }
        for done in settled {
            let _ = done.send(result.clone());
        }
        for read in reads {
            answer(&mut store, read);
        }
    }
}

fn answer(store: &mut Store, read: Order) {
    if let Order::Read {
        from,
        max_records,
        max_bytes,
        done,
    } = read
    {
        let _ = done.send(guarded(store, |store| {
            store.read(from, max_records, max_bytes)
        }));
    }
}

/// The store may panic on pages that were damaged after it had looked at them. That costs
/// one order, not the thread that all of them wait for.
fn guarded<T>(
    store: &mut Store,
    work: impl FnOnce(&mut Store) -> Result<T, String>,
) -> Result<T, Error> {
    let path = store.path().to_owned();
    catch_unwind(AssertUnwindSafe(|| work(store)))
        .unwrap_or_else(|_panic| Err("its pages are damaged".to_owned()))
        .map_err(|reason| Error::Failed { path, reason })
}

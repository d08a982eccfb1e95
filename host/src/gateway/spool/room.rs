//! Takes the size of what wants to be spooled, gives it a place within the bound, or none.

use std::sync::Arc;

use parking_lot::Mutex;

use super::tables::Standing;

/// How full the spool is. Read by the metrics, so it costs nothing to look.
#[derive(Debug)]
pub(super) struct Room {
    max_bytes: u64,
    counts: Mutex<Counts>,
}

#[derive(Debug)]
struct Counts {
    /// What is durable.
    standing: Standing,
    /// Bytes that are promised and not durable yet.
    promised: u64,
}

/// A promise of so many bytes, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    room: Arc<Room>,
    bytes: u64,
}

impl Room {
    pub(super) fn new(max_bytes: u64, standing: Standing) -> Arc<Self> {
        let counts = Counts {
            standing,
            promised: 0,
        };
        Arc::new(Self {
            max_bytes,
            counts: Mutex::new(counts),
        })
    }

    /// What is durable.
    pub(super) fn standing(&self) -> Standing {
        self.counts.lock().standing
    }

    pub(super) fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    pub(super) fn stands(&self, standing: Standing) {
        self.counts.lock().standing = standing;
    }

    /// Promises so many bytes, if there are as many.
    pub(super) fn promise(self: &Arc<Self>, bytes: u64) -> Option<Place> {
        let mut counts = self.counts.lock();
        let taken = counts.standing.bytes.saturating_add(counts.promised);
        if self.max_bytes < taken.saturating_add(bytes) {
            return None;
        }
        counts.promised += bytes;
        drop(counts);
        Some(Place {
            room: Arc::clone(self),
            bytes,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.counts.lock().promised -= self.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_promised_counts_until_it_is_durable_or_given_up() {
        let standing = Standing {
            bytes: 50,
            ..Standing::default()
        };
        let room = Room::new(100, standing);
        let first = room.promise(30).expect("there is room");
        assert!(room.promise(21).is_none());
        let second = room.promise(20).expect("there is room");
        drop(first);
        assert!(room.promise(30).is_some(), "given up");
        room.stands(Standing {
            bytes: 70,
            ..Standing::default()
        });
        drop(second);
        assert!(room.promise(31).is_none());
        assert!(room.promise(30).is_some());
    }
}

//! Takes what a partition holds and what is not read yet, gives what it may take on, and how soon it
//! has to commit.

use std::sync::atomic::Ordering;

use super::{MAX_PARKED_BODIES, Partition};
use crate::cursor::Unread;
use crate::ledger::staging::Waiting;

/// Bodies that are held in memory; reading stops there.
const MAX_BODIES: usize = 4_096;
/// And their bytes.
const MAX_BODY_BYTES: usize = 32 << 20;
/// Bytes of effects that wait for a commit; nothing new is started there.
const MAX_STAGED_BYTES: usize = 32 << 20;
/// Deliveries held in lanes, written down or not; reading stops there.
const MAX_HELD: usize = 200_000;
/// With so many events unread or held it catches up.
const CATCHES_UP: u64 = 500;

impl Partition {
    /// Whether more may be read.
    pub(super) fn has_room(&self) -> bool {
        // What waits for an operator does not wait for the circuit to close.
        let waiting = self.lanes.held() - self.lanes.stuck();
        let ahead = self.breaker.is_closed() || waiting < MAX_PARKED_BODIES;
        !self.draining
            && !self.paused
            && ahead
            && self.bodies.count < MAX_BODIES
            && self.bodies.bytes < MAX_BODY_BYTES
            && self.lanes.held() < MAX_HELD
            && self.commits_keep_up()
    }

    /// While there is much to be worked through, commits in groups are worth more than each
    /// event's time.
    pub(super) fn settles_soon(&self) -> bool {
        let Unread { behind, fed, .. } = &*self.unread;
        let unread = behind.load(Ordering::Relaxed) + fed.load(Ordering::Relaxed);
        self.draining || unread + (self.bodies.count as u64) < CATCHES_UP
    }

    /// While the broker does not take commits, nothing new is started.
    pub(super) fn commits_keep_up(&self) -> bool {
        let Waiting { deliveries, bytes } = self.ledger.staging().waiting();
        deliveries < MAX_BODIES && bytes < MAX_STAGED_BYTES
    }
}

//! Takes messages in the order of the store, gives them to those whom they concern, and lets go of
//! those who do not take them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use crate::cursor::{Read, Unread};
use crate::delivery::Delivery;
use crate::manifest::subject::is_subset;

/// What is kept for a partition whose feed is full: so many messages,
const KEPT: usize = if cfg!(test) { 3 } else { 1_000 };
/// and bytes,
const KEPT_BYTES: usize = 8 << 20;
/// for so long.
const KEPT_FOR: Duration = Duration::from_secs(1);
/// Subjects whose partitions are remembered.
const MANY_ROUTES: usize = 16_384;

/// Names one partition to the tail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(u64);

impl Ticket {
    pub(super) fn new(number: u64) -> Self {
        Self(number)
    }
}

/// A partition that is fed.
pub(in crate::cursor) struct Member {
    pub(in crate::cursor) subjects: Vec<String>,
    /// The highest sequence that it has, or that does not concern it.
    pub(in crate::cursor) last: u64,
    pub(in crate::cursor) feed: mpsc::Sender<Vec<Read>>,
    pub(in crate::cursor) unread: Arc<Unread>,
}

struct Seat {
    member: Member,
    /// The reader reads its subjects, from what it wants next on.
    is_covered: bool,
    /// What did not fit into its feed.
    kept: Vec<Arc<Delivery>>,
    kept_bytes: usize,
    kept_since: Option<Instant>,
    /// Told the highest sequence that it has when it is let go of.
    let_go: oneshot::Sender<u64>,
}

/// Those who are fed.
#[derive(Default)]
pub(super) struct Members {
    seats: HashMap<Ticket, Seat>,
    /// By subject, those whom its messages concern.
    routes: HashMap<String, Arc<[Ticket]>>,
    /// Those that something is kept for.
    full: BTreeSet<Ticket>,
    /// Everything up to here was given to those who are covered.
    position: u64,
    /// What stands behind it.
    behind: u64,
    /// Told when somebody comes or goes.
    changed: Arc<Notify>,
}

impl Members {
    pub(super) fn join(&mut self, ticket: Ticket, member: Member) -> oneshot::Receiver<u64> {
        let (let_go, told) = oneshot::channel();
        let seat = Seat {
            member,
            is_covered: false,
            kept: Vec::new(),
            kept_bytes: 0,
            kept_since: None,
            let_go,
        };
        self.seats.insert(ticket, seat);
        self.changed.notify_one();
        told
    }

    pub(super) fn leave(&mut self, ticket: Ticket) {
        self.remove(ticket);
    }

    /// Tells when somebody comes or goes.
    pub(super) fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Nothing that stands up to here concerns anybody and was not given.
    pub(super) fn move_up(&mut self, position: u64) {
        self.position = self.position.max(position);
    }

    pub(super) fn quiet_up_to(&self, ticket: Ticket) -> Option<u64> {
        let seat = self.seats.get(&ticket)?;
        let is_quiet = seat.is_covered && seat.kept.is_empty();
        is_quiet.then_some(self.position)
    }

    pub(super) fn behind(&self, ticket: Ticket) -> u64 {
        let is_covered = self.seats.get(&ticket).is_some_and(|seat| seat.is_covered);
        if is_covered { self.behind } else { 0 }
    }

    pub(super) fn set_behind(&mut self, behind: u64) {
        self.behind = behind;
    }

    pub(super) fn is_near(&self, last: u64, near: u64) -> bool {
        self.seats.is_empty() || self.position <= last + near
    }

    /// Whether something waits for room in a feed.
    pub(super) fn is_keeping(&self) -> bool {
        !self.full.is_empty()
    }

    /// Who is here, all that they want, and behind which sequence; none where nobody is.
    pub(super) fn wanted(&self) -> (Vec<Ticket>, Vec<String>, Option<u64>) {
        let subjects = self.seats.values().flat_map(|seat| &seat.member.subjects);
        let after = self.seats.values().map(|seat| match seat.is_covered {
            true => self.position,
            false => seat.member.last,
        });
        let tickets = self.seats.keys().copied().collect();
        (tickets, subjects.cloned().collect(), after.min())
    }

    /// These are read for from here on.
    pub(super) fn covered(&mut self, tickets: &[Ticket], position: u64) {
        self.position = position;
        self.routes.clear();
        for ticket in tickets {
            if let Some(seat) = self.seats.get_mut(ticket) {
                seat.is_covered = true;
            }
        }
    }

    /// Gives messages that follow the position to those whom they concern.
    pub(super) fn give(&mut self, deliveries: Vec<Arc<Delivery>>, behind: u64) {
        self.behind = behind;
        for delivery in deliveries {
            for ticket in self.routed(&delivery.subject).iter() {
                if let Some(seat) = self.seats.get_mut(ticket)
                    && seat.keep(&delivery)
                {
                    self.full.insert(*ticket);
                }
            }
            self.position = delivery.sequence;
        }
        self.try_again();
    }

    /// Hands on what is kept, and lets go of those who do not take it.
    pub(super) fn try_again(&mut self) {
        for ticket in std::mem::take(&mut self.full) {
            let Some(seat) = self.seats.get_mut(&ticket) else {
                continue;
            };
            seat.hand_on();
            if seat.kept.is_empty() {
                continue;
            }
            if seat.is_too_slow() {
                self.let_go(ticket);
            } else {
                self.full.insert(ticket);
            }
        }
    }

    pub(super) fn is_wanted(&mut self, subject: &str) -> bool {
        !self.routed(subject).is_empty()
    }

    fn routed(&mut self, subject: &str) -> Arc<[Ticket]> {
        if let Some(tickets) = self.routes.get(subject) {
            return Arc::clone(tickets);
        }
        let wants = |seat: &Seat| {
            let mut subjects = seat.member.subjects.iter();
            seat.is_covered && subjects.any(|wanted| is_subset(subject, wanted))
        };
        let seats = self.seats.iter().filter(|(_, seat)| wants(seat));
        let tickets: Arc<[Ticket]> = seats.map(|(ticket, _)| *ticket).collect();
        if self.routes.len() == MANY_ROUTES {
            self.routes.clear();
        }
        self.routes.insert(subject.to_owned(), Arc::clone(&tickets));
        tickets
    }

    /// The message that follows the position is not to be had here.
    pub(super) fn let_go_of_those_who_want(&mut self, delivery: &Delivery) {
        for ticket in self.routed(&delivery.subject).iter() {
            let seat = self.seats.get(ticket);
            if seat.is_some_and(|seat| seat.member.last < delivery.sequence) {
                self.let_go(*ticket);
            }
        }
        self.position = delivery.sequence;
    }

    pub(super) fn let_go_all(&mut self) {
        let tickets: Vec<Ticket> = self.seats.keys().copied().collect();
        tickets.into_iter().for_each(|ticket| self.let_go(ticket));
    }

    fn let_go(&mut self, ticket: Ticket) {
        let Some(seat) = self.remove(ticket) else {
            return;
        };
        let has = match (seat.kept.first(), seat.is_covered) {
            (Some(first), _) => first.sequence - 1,
            (None, true) => seat.member.last.max(self.position),
            (None, false) => seat.member.last,
        };
        tracing::debug!(subjects = ?seat.member.subjects, after = has, "reads alone from here on");
        let kept = seat.kept.len() as u64;
        let unread = &seat.member.unread;
        unread.fed.fetch_sub(kept, Ordering::Relaxed);
        unread.behind.store(kept, Ordering::Relaxed);
        // Its cursor may have ended meanwhile.
        let _ = seat.let_go.send(has);
    }

    fn remove(&mut self, ticket: Ticket) -> Option<Seat> {
        self.routes.clear();
        self.full.remove(&ticket);
        let seat = self.seats.remove(&ticket)?;
        self.changed.notify_one();
        Some(seat)
    }
}

impl Seat {
    /// Puts the message behind those that wait to be handed on, if the partition does not have it.
    fn keep(&mut self, delivery: &Arc<Delivery>) -> bool {
        if delivery.sequence <= self.member.last {
            return false;
        }
        self.member.last = delivery.sequence;
        self.member.unread.feed(1, Some(delivery));
        self.kept_bytes += delivery.payload.len();
        self.kept.push(Arc::clone(delivery));
        true
    }

    fn hand_on(&mut self) {
        match self.member.feed.try_reserve() {
            Ok(place) => place.send(self.kept.drain(..).map(Read::Delivery).collect()),
            Err(TrySendError::Full(())) => {
                self.kept_since.get_or_insert_with(Instant::now);
                return;
            }
            // A partition that is gone takes its cursor with it, and that leaves.
            Err(TrySendError::Closed(())) => self.kept.clear(),
        }
        self.kept_bytes = 0;
        self.kept_since = None;
    }

    fn is_too_slow(&self) -> bool {
        let is_old = |since: Instant| KEPT_FOR < since.elapsed();
        KEPT < self.kept.len()
            || KEPT_BYTES < self.kept_bytes
            || self.kept_since.is_some_and(is_old)
    }
}

#[cfg(test)]
mod tests;

//! Takes what was sent and how far the plug-in is, gives whether more is to be sent.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::operations::positions::Positions;

/// So many may be sent and not handled.
const MOST: u64 = 500;
/// More than so many may not when one of them has waited for so long: then the plug-in is busy,
/// and what comes live would have to wait behind all of them.
const FEW: u64 = 50;
const LONG: Duration = Duration::from_secs(1);

/// What was sent and is not handled.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// By its place in the event store: on which subject, and since when.
    places: BTreeMap<u64, (String, Instant)>,
    /// By how many the events have grown that wait for another attempt, whichever they are.
    waiting: u64,
}

impl Ahead {
    /// One was sent, and stands there.
    pub(super) fn sent(&mut self, place: u64, subject: String, now: Instant) {
        self.places.entry(place).or_insert((subject, now));
    }

    /// The plug-in is so far, and so many more than at the start wait; gives whether any of what
    /// was sent is handled now.
    pub(super) fn look(&mut self, positions: &Positions, waiting: u64) -> bool {
        let before = self.places.len();
        self.places
            .retain(|place, (subject, _)| !positions.passed(subject, *place));
        self.waiting = waiting;
        self.places.len() < before
    }

    /// How many are not handled.
    pub(super) fn count(&self) -> u64 {
        self.places.len() as u64
    }

    /// Nothing is left to be handled but what the ledger has written down.
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// No more is to be sent now.
    pub(super) fn is_full(&self, now: Instant) -> bool {
        let open = self.count() + self.waiting;
        let oldest = self.places.first_key_value();
        let is_late = oldest.is_some_and(|(_, (_, since))| LONG <= now.duration_since(*since));
        MOST <= open || FEW <= open && is_late
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::position::Position;

    fn ahead(count: u64, now: Instant) -> Ahead {
        let mut ahead = Ahead::default();
        for place in 1..=count {
            ahead.sent(place, "d365.replay.p.3".to_owned(), now);
        }
        ahead
    }

    fn up_to(place: u64) -> Positions {
        Positions(vec![Some(Position::at(place))])
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_handled_makes_room() {
        let now = Instant::now();
        let mut ahead = ahead(MOST, now);
        assert!(ahead.is_full(now));
        assert!(ahead.look(&up_to(1), 0));
        assert!(!ahead.is_full(now));
        assert!(!ahead.look(&up_to(1), 0));
        assert!(ahead.look(&up_to(MOST), 0) && ahead.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn behind_a_busy_plug_in_only_few_wait() {
        let start = Instant::now();
        let (few, some) = (ahead(FEW - 1, start), ahead(FEW, start));
        assert!(!some.is_full(start));
        tokio::time::advance(LONG).await;
        let later = Instant::now();
        assert!(some.is_full(later) && !few.is_full(later));
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_for_another_attempt_counts() {
        let now = Instant::now();
        let mut ahead = ahead(1, now);
        ahead.look(&up_to(0), MOST - 1);
        assert!(ahead.is_full(now));
        ahead.look(&up_to(0), MOST - 2);
        assert!(!ahead.is_full(now));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_sent_twice_stands_in_one_place() {
        let mut ahead = ahead(1, Instant::now());
        ahead.sent(1, "d365.replay.p.3".to_owned(), Instant::now());
        assert_eq!(ahead.count(), 1);
    }
}

//! Takes what was sent and how far the plug-in is, gives whether more is to be sent.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::operations::positions::Positions;

/// So many may be sent and not handled at the most,
const MOST: u64 = 500;
/// and so many always.
const LEAST: u64 = 5;
/// More than so many may not when one of them has waited for so long: then the plug-in is slow, or
/// busy, and what comes live would have to wait behind all of them.
const FEW: u64 = 20;
const LONG: Duration = Duration::from_millis(250);
/// The plug-in is busy when one has waited for so many times what is usual,
const TIMES: u32 = 3;
/// and for so much more.
const MORE: Duration = Duration::from_millis(50);
/// By so much the usual grows with each look, in case the plug-in has become slower.
const SLOWER: Duration = Duration::from_micros(100);

/// What was sent and is not handled.
#[derive(Debug)]
pub(super) struct Ahead {
    /// By its place in the event store: on which subject, and since when.
    places: BTreeMap<u64, (String, Instant)>,
    /// By how many the events have grown that wait for another attempt, whichever they are.
    waiting: u64,
    /// So many may be sent and not handled now.
    may: u64,
    /// The least that the oldest of them had waited, of the last looks.
    usual: Option<Duration>,
    /// It waits for much longer now.
    is_busy: bool,
}

impl Default for Ahead {
    fn default() -> Self {
        Self {
            places: BTreeMap::new(),
            waiting: 0,
            may: MOST,
            usual: None,
            is_busy: false,
        }
    }
}

impl Ahead {
    /// One was sent, and stands there.
    pub(super) fn sent(&mut self, place: u64, subject: String, now: Instant) {
        self.places.entry(place).or_insert((subject, now));
    }

    /// The plug-in is so far, and so many more than at the start wait; gives whether any of what
    /// was sent is handled now.
    pub(super) fn look(&mut self, positions: &Positions, waiting: u64, now: Instant) -> bool {
        let before = self.places.len();
        self.places
            .retain(|place, (subject, _)| !positions.passed(subject, *place));
        self.waiting = waiting;
        self.judge(now);
        self.places.len() < before
    }

    /// Less may be sent while the plug-in is busy, with what comes live or with this, and more
    /// again while it is not.
    fn judge(&mut self, now: Instant) {
        self.is_busy = false;
        if let Some(age) = self.age(now) {
            let usual = self.usual.map_or(age, |usual| age.min(usual + SLOWER));
            self.usual = Some(usual);
            self.is_busy = usual * TIMES + MORE <= age;
        }
        self.may = match self.is_busy {
            true => (self.may.min(self.count()) / 2).max(LEAST),
            false => (self.may + self.may / 4 + 1).min(MOST),
        };
    }

    /// How long the oldest has waited.
    fn age(&self, now: Instant) -> Option<Duration> {
        let (_, (_, since)) = self.places.first_key_value()?;
        Some(now.duration_since(*since))
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
        let is_late = self.age(now).is_some_and(|age| LONG <= age);
        self.may <= open || FEW <= open && is_late
    }

    /// No more is to be sent, and what was is handled soon.
    pub(super) fn is_soon_free(&self) -> bool {
        !self.is_busy && self.may <= self.count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::position::Position;

    const SOON: Duration = Duration::from_millis(20);

    fn send(ahead: &mut Ahead, places: impl IntoIterator<Item = u64>) {
        for place in places {
            ahead.sent(place, "d365.replay.p.3".to_owned(), Instant::now());
        }
    }

    fn ahead(count: u64) -> Ahead {
        let mut ahead = Ahead::default();
        send(&mut ahead, 1..=count);
        ahead
    }

    fn up_to(place: u64) -> Positions {
        Positions(vec![Some(Position::at(place))])
    }

    fn look(ahead: &mut Ahead, place: u64) -> bool {
        ahead.look(&up_to(place), 0, Instant::now())
    }

    fn is_full(ahead: &Ahead) -> bool {
        ahead.is_full(Instant::now())
    }

    /// So many have been sent and none is handled when no more may be.
    fn fill(ahead: &mut Ahead, next: &mut u64) -> u64 {
        while !is_full(ahead) {
            send(ahead, [*next]);
            *next += 1;
        }
        ahead.count()
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_handled_makes_room() {
        let mut ahead = ahead(MOST);
        assert!(is_full(&ahead));
        assert!(look(&mut ahead, 1));
        assert!(!is_full(&ahead));
        assert!(!look(&mut ahead, 1));
        assert!(look(&mut ahead, MOST) && ahead.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn behind_a_slow_plug_in_only_few_wait() {
        let (few, some) = (ahead(FEW - 1), ahead(FEW));
        assert!(!is_full(&some));
        tokio::time::advance(LONG).await;
        assert!(is_full(&some) && !is_full(&few));
    }

    #[tokio::test(start_paused = true)]
    async fn behind_a_plug_in_that_is_busier_than_usual_fewer_and_fewer_wait() {
        let (mut ahead, mut next) = (ahead(100), 101);
        for _ in 0..10 {
            tokio::time::advance(SOON).await;
            let handled = next - 1;
            send(&mut ahead, next..next + 100);
            next += 100;
            tokio::time::advance(SOON).await;
            look(&mut ahead, handled);
        }
        assert_eq!(fill(&mut ahead, &mut next), MOST);
        // Something else has come before all of them.
        let mut handled = next - MOST;
        let mut counts = Vec::new();
        for _ in 0..8 {
            tokio::time::advance(LONG / 2).await;
            handled += ahead.count() / 2;
            look(&mut ahead, handled);
            assert!(!ahead.is_soon_free());
            counts.push(fill(&mut ahead, &mut next));
        }
        assert!(
            counts.is_sorted_by(|before, after| after <= before),
            "{counts:?}"
        );
        assert_eq!(counts.last(), Some(&LEAST));
        // It is over.
        for _ in 0..30 {
            tokio::time::advance(SOON).await;
            look(&mut ahead, next - 1);
            fill(&mut ahead, &mut next);
        }
        assert_eq!(ahead.count(), MOST);
        assert!(ahead.is_soon_free());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_has_become_slower_is_not_taken_for_busy_forever() {
        let (mut ahead, mut next) = (ahead(1), 2);
        tokio::time::advance(SOON).await;
        look(&mut ahead, 0);
        let slower = SOON * 10;
        tokio::time::advance(slower).await;
        look(&mut ahead, 1);
        for _ in 0..2_000 {
            let handled = next - 1;
            fill(&mut ahead, &mut next);
            tokio::time::advance(slower).await;
            look(&mut ahead, handled);
        }
        assert_eq!(ahead.may, MOST);
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_for_another_attempt_counts() {
        let mut ahead = ahead(1);
        ahead.look(&up_to(0), MOST - 1, Instant::now());
        assert!(is_full(&ahead));
        ahead.look(&up_to(0), MOST - 2, Instant::now());
        assert!(!is_full(&ahead));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_sent_twice_stands_in_one_place() {
        let mut ahead = ahead(1);
        send(&mut ahead, [1]);
        assert_eq!(ahead.count(), 1);
    }
}

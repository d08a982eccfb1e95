//! Takes how publishing goes, gives how much of it may be under way, and from when on.

use std::time::Duration;

use tokio::time::Instant;

/// Records that are with the broker at the same time, at most.
pub(in crate::gateway) const IN_FLIGHT: usize = 256;
const WAIT_FIRST: Duration = Duration::from_millis(100);
const WAIT_LONGEST: Duration = Duration::from_secs(2);

/// After a failure one record tries whether the broker takes it; then twice as many for each
/// that it takes.
#[derive(Debug)]
pub(in crate::gateway) struct Pace {
    limit: usize,
    wait: Duration,
    not_before: Instant,
    failing: bool,
}

impl Pace {
    pub(in crate::gateway) fn new(now: Instant) -> Self {
        Self {
            limit: IN_FLIGHT,
            wait: WAIT_FIRST,
            not_before: now,
            failing: false,
        }
    }

    /// How many records may be with the broker now.
    pub(in crate::gateway) fn limit(&self, now: Instant) -> usize {
        if now < self.not_before { 0 } else { self.limit }
    }

    /// When the next may go out.
    pub(in crate::gateway) fn not_before(&self) -> Instant {
        self.not_before
    }

    /// Whether the last answer was a failure.
    pub(in crate::gateway) fn is_failing(&self) -> bool {
        self.failing
    }

    /// The broker took one. True when that ends a trouble.
    pub(in crate::gateway) fn went_well(&mut self) -> bool {
        self.limit = (self.limit * 2).min(IN_FLIGHT);
        self.wait = WAIT_FIRST;
        std::mem::take(&mut self.failing)
    }

    /// The broker did not take one. True when that begins a trouble.
    pub(in crate::gateway) fn failed(&mut self, now: Instant) -> bool {
        self.limit = 1;
        // Those that were under way together fail together, and count once.
        if self.not_before <= now {
            self.not_before = now + self.wait;
            self.wait = (self.wait * 2).min(WAIT_LONGEST);
        }
        !std::mem::replace(&mut self.failing, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_waits_longer_each_time_and_a_burst_counts_once() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        assert_eq!(pace.limit(now), IN_FLIGHT);
        let mut waits = Vec::new();
        for _ in 0..7 {
            for _ in 0..IN_FLIGHT {
                pace.failed(now);
            }
            assert_eq!(pace.limit(now), 0);
            waits.push((pace.not_before() - now).as_millis());
            now = pace.not_before();
            assert_eq!(pace.limit(now), 1);
        }
        assert_eq!(waits, [100, 200, 400, 800, 1600, 2000, 2000]);
        assert!(pace.went_well());
        assert!(!pace.went_well());
        assert_eq!(pace.limit(now), 4);
        assert!(pace.failed(now) && !pace.failed(now));
        assert_eq!(pace.not_before() - now, WAIT_FIRST);
    }
}

//! Takes a rate and bursts, gives when each event is due.

use std::time::Duration;

/// Time between two bursts.
pub(super) const BURST_EVERY: Duration = Duration::from_secs(5);
/// How far apart the times of events are that are sent as fast as it goes.
const UNPACED_STEP: Duration = Duration::from_micros(100);

/// When events are due, counted from the start; without an end.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    /// Events a second; 0 is as fast as it goes.
    rate: f64,
    burst: u64,
    regular: u64,
    bursts: u64,
    of_burst: u64,
}

impl Pace {
    /// `burst` events more at once every [`BURST_EVERY`].
    pub(super) fn new(rate: f64, burst: u64) -> Self {
        Self {
            rate,
            burst,
            regular: 0,
            bursts: 0,
            of_burst: 0,
        }
    }
}

impl Iterator for Pace {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let regular = if self.rate == 0.0 {
            UNPACED_STEP.saturating_mul(u32::try_from(self.regular).unwrap_or(u32::MAX))
        } else {
            Duration::from_secs_f64(self.regular as f64 / self.rate)
        };
        let next_burst = u32::try_from(self.bursts + 1).unwrap_or(u32::MAX);
        let next_burst = BURST_EVERY.saturating_mul(next_burst);
        if 0 < self.burst && next_burst <= regular {
            self.of_burst += 1;
            if self.of_burst == self.burst {
                (self.bursts, self.of_burst) = (self.bursts + 1, 0);
            }
            return Some(next_burst);
        }
        self.regular += 1;
        Some(regular)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(pace: Pace, count: usize) -> Vec<f64> {
        pace.take(count).map(|due| due.as_secs_f64()).collect()
    }

    #[test]
    fn a_rate_spreads_events_evenly() {
        assert_eq!(seconds(Pace::new(2.0, 0), 4), [0.0, 0.5, 1.0, 1.5]);
        assert_eq!(seconds(Pace::new(0.5, 0), 3), [0.0, 2.0, 4.0]);
    }

    #[test]
    fn bursts_come_on_top_all_at_once() {
        let due = seconds(Pace::new(1.0, 3), 15);
        assert_eq!(
            due,
            [
                0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 5.0, 5.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 10.0
            ]
        );
    }

    #[test]
    fn without_a_rate_times_still_differ() {
        let due: Vec<Duration> = Pace::new(0.0, 0).take(3).collect();
        assert!(due.is_sorted() && due.first() != due.last());
    }
}

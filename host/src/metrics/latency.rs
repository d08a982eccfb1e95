//! Takes durations, gives how many were how long: for the console, which shows the last moments.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Buckets: up to 64 µs, and each of the others twice as much as the one before it.
const BUCKETS: usize = 26;
const FIRST: u64 = 64;

/// Counts that only grow. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Latency(Arc<[AtomicU64; BUCKETS]>);

impl Latency {
    /// One more.
    pub fn observe(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = (micros.saturating_sub(1) / FIRST)
            .checked_ilog2()
            .map_or(0, |log| log + 1);
        let bucket = usize::try_from(bucket).unwrap_or(BUCKETS).min(BUCKETS - 1);
        if let Some(count) = self.0.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// As it stands.
    pub fn counts(&self) -> Buckets {
        Buckets(
            self.0
                .iter()
                .map(|count| count.load(Ordering::Relaxed))
                .collect(),
        )
    }
}

/// Counts at a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Buckets(Vec<u64>);

impl Buckets {
    /// Those of both.
    pub fn add(&mut self, other: &Self) {
        self.0.resize(self.0.len().max(other.0.len()), 0);
        for (count, more) in self.0.iter_mut().zip(&other.0) {
            *count += more;
        }
    }

    /// Those that came since an earlier moment.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let before = before.0.iter().copied().chain(std::iter::repeat(0));
        let counts = self.0.iter().zip(before);
        Self(
            counts
                .map(|(now, before)| now.saturating_sub(before))
                .collect(),
        )
    }

    /// The duration that this share of them did not exceed, within a factor of two; none
    /// where there are none.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let total: u64 = self.0.iter().sum();
        if total == 0 {
            return None;
        }
        let rank = ((total as f64 * share).ceil() as u64).max(1);
        let (mut seen, mut upper) = (0, FIRST);
        for count in &self.0 {
            if rank <= seen + count {
                // As if those of a bucket lay in it evenly.
                let lower = if upper == FIRST { 0 } else { upper / 2 };
                let into = (rank - seen) as f64 / *count as f64;
                let micros = lower as f64 + (upper - lower) as f64 * into;
                return Some(Duration::from_micros(micros as u64));
            }
            seen += count;
            upper *= 2;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_right_within_a_factor_of_two() {
        let latency = Latency::default();
        for millis in 1..=1_000 {
            latency.observe(Duration::from_millis(millis));
        }
        let counts = latency.counts();
        for (share, exact) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1_000.0)] {
            let found = counts.quantile(share).expect("a quantile").as_secs_f64() * 1e3;
            assert!(
                exact / 2.0 <= found && found <= exact * 2.0,
                "{share}: {found}"
            );
        }
        let before = counts.clone();
        latency.observe(Duration::from_micros(64));
        latency.observe(Duration::from_micros(65));
        latency.observe(Duration::MAX);
        let new = latency.counts().since(&before);
        assert_eq!(new.0.iter().sum::<u64>(), 3);
        assert_eq!(new.quantile(0.3), Some(Duration::from_micros(64)));
        assert_eq!(new.quantile(0.6), Some(Duration::from_micros(128)));
        assert_eq!(Buckets::default().quantile(0.5), None);
    }
}

//! Takes how long after they were stored events came somewhere, gives a histogram: fine enough to
//! tell a millisecond from two, and without a lock, since every event is in it.

use std::fmt::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// Upper bound of the first bucket, in nanoseconds.
const FIRST: f64 = 16e3;
/// Buckets in which a delay doubles: one is 19 % longer than the one before it.
const AN_OCTAVE: u16 = 4;
/// How often it doubles: up to 17 s.
const OCTAVES: u16 = 20;

/// Counts of delays. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Delays(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Nanoseconds up to which a delay is of a bucket.
    bounds: Vec<u64>,
    /// One more than there are bounds.
    counts: Vec<AtomicU64>,
    /// Of all, in microseconds: nanoseconds of a long backlog would not fit.
    sum: AtomicU64,
}

impl Default for Delays {
    fn default() -> Self {
        let step = |n: u16| FIRST * (f64::from(n) / f64::from(AN_OCTAVE)).exp2();
        let bounds: Vec<u64> = (0..=AN_OCTAVE * OCTAVES).map(|n| step(n) as u64).collect();
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Inner {
            bounds,
            counts,
            sum: AtomicU64::new(0),
        }))
    }
}

impl Delays {
    /// Events that were stored at these times came there `now`, all in Unix nanoseconds. A store
    /// whose clock is ahead of this host's gives delays of 0.
    pub fn observe(&self, stored: impl IntoIterator<Item = u64>, now: u64) {
        let mut micros = 0;
        for stored in stored {
            let delay = now.saturating_sub(stored);
            let bucket = self.0.bounds.partition_point(|bound| *bound < delay);
            if let Some(count) = self.0.counts.get(bucket) {
                count.fetch_add(1, Ordering::Relaxed);
            }
            micros += delay / 1_000;
        }
        self.0.sum.fetch_add(micros, Ordering::Relaxed);
    }
}

impl EncodeMetric for Delays {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), Error> {
        let bounds = self.0.bounds.iter().map(|bound| *bound as f64 / 1e9);
        // As prometheus_client marks the last one.
        let bounds = bounds.chain([f64::MAX]);
        let counts = self.0.counts.iter();
        let counts = counts.map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = self.0.sum.load(Ordering::Relaxed) as f64 / 1e6;
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(delays: &Delays) -> Vec<(usize, u64)> {
        let counts = delays.0.counts.iter().enumerate();
        let counts = counts.map(|(bucket, count)| (bucket, count.load(Ordering::Relaxed)));
        counts.filter(|(_, count)| *count > 0).collect()
    }

    #[test]
    fn each_is_in_the_bucket_whose_bound_it_does_not_exceed() {
        let delays = Delays::default();
        let now = 1_700_000_000_000_000_000;
        let after = |nanos: u64| now - nanos;
        // In any order.
        let each = [
            16_000,
            0,
            16_001,
            19_027,
            19_028,
            32_000,
            16_000,
            40_000_000_000,
        ];
        delays.observe(each.map(after), now);
        // A clock that is behind.
        delays.observe([now + 5], now);
        let expected = [(0, 4), (1, 2), (2, 1), (4, 1), (81, 1)];
        assert_eq!(counts(&delays), expected);
        assert_eq!(delays.0.bounds.len(), 81);
        assert_eq!(delays.0.bounds[80], 16_777_216_000);
        assert_eq!(delays.0.sum.load(Ordering::Relaxed), 40_000_118);
    }
}

//! Takes readings of a histogram, gives what came between them, and its quantiles.

use anyhow::{Context, Result, ensure};

use crate::metrics::Metrics;

/// A histogram without labels, as `/metrics` has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// Upper bounds, and how many values do not exceed each; the last bound is infinite.
    buckets: Vec<(f64, f64)>,
}

impl Metrics {
    /// The histogram of this name.
    ///
    /// # Errors
    /// When there is none.
    pub fn histogram(&self, name: &str) -> Result<Histogram> {
        let bucket = |line: &str| {
            let rest = line.strip_prefix(name)?.strip_prefix("_bucket{le=\"")?;
            let (bound, count) = rest.split_once("\"} ")?;
            Some((bound.parse().ok()?, count.parse().ok()?))
        };
        let buckets: Vec<(f64, f64)> = self.text().lines().filter_map(bucket).collect();
        let last = buckets.last().with_context(|| format!("no {name}"))?;
        ensure!(last.0.is_infinite(), "{name} ends at {}", last.0);
        Ok(Histogram { buckets })
    }
}

impl Histogram {
    /// What came since an earlier reading.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let pairs = self.buckets.iter().zip(&before.buckets);
        Self {
            buckets: pairs
                .map(|((bound, now), (_, then))| (*bound, now - then))
                .collect(),
        }
    }

    /// How many values there are.
    pub fn count(&self) -> f64 {
        self.buckets.last().map_or(0.0, |(_, count)| *count)
    }

    /// How many are in buckets that end at `bound` or before it.
    pub fn up_to(&self, bound: f64) -> f64 {
        let below = self.buckets.iter().rev().find(|(upper, _)| *upper <= bound);
        below.map_or(0.0, |(_, count)| *count)
    }

    /// The value that this share of them does not exceed, as if those of a bucket lay in it
    /// evenly; beyond the last bound that bound, and none where there are no values.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let rank = self.count() * share;
        let (mut lower, mut below) = (0.0, 0.0);
        for (upper, count) in &self.buckets {
            if rank <= *count && below < *count {
                let into = (rank - below) / (count - below);
                let width = if upper.is_finite() {
                    upper - lower
                } else {
                    0.0
                };
                return Some(lower + width * into);
            }
            (lower, below) = (*upper, *count);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(counts: [u32; 3]) -> Result<Histogram> {
        let [a, b, c] = counts;
        let text = format!(
            "# TYPE a_seconds histogram\na_seconds_sum 3\na_seconds_count {c}\n\
             a_seconds_bucket{{le=\"0.1\"}} {a}\na_seconds_bucket{{le=\"0.3\"}} {b}\n\
             a_seconds_bucket{{le=\"+Inf\"}} {c}\nb_seconds_bucket{{le=\"+Inf\"}} 9\n"
        );
        Metrics::new(text).histogram("a_seconds")
    }

    #[test]
    fn what_came_between_two_readings_has_quantiles() -> Result<()> {
        let (before, after) = (reading([5, 10, 10])?, reading([5, 20, 30])?);
        let new = after.since(&before);
        assert_eq!(
            (new.count(), new.up_to(0.1), new.up_to(0.5)),
            (20.0, 0.0, 10.0)
        );
        assert_eq!(
            new.quantile(0.25).map(|value| (value * 1e3).round()),
            Some(200.0)
        );
        assert_eq!(new.quantile(0.5), Some(0.3));
        assert_eq!(new.quantile(0.9), Some(0.3));
        assert_eq!(after.since(&after).quantile(0.5), None);
        assert!(Metrics::new(String::new()).histogram("a_seconds").is_err());
        Ok(())
    }
}

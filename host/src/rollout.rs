//! Takes the builds that are wanted of a plug-in, gives which of them handles a key, and how the one on trial does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use crate::manifest::Manifest;
use crate::plugin::generation::Generation;

/// A canary is taken back after so many events that it failed and the other build handled,
const BROKEN_AT_LEAST: u64 = 3;
/// where they are at least this share of its calls: one in fifty.
const BROKEN_SHARE: u64 = 50;

/// What runs of a plug-in.
#[derive(Debug, Clone)]
pub struct Rollout {
    /// The build of every key that the canary does not have.
    pub generation: Arc<Generation>,
    /// The build that is tried.
    pub canary: Option<Arc<Canary>>,
    /// No call is begun.
    pub paused: bool,
}

/// A build that is tried on a share of the keys.
#[derive(Debug)]
pub struct Canary {
    /// The build.
    pub generation: Arc<Generation>,
    /// Percent of the keys.
    pub percent: f64,
    calls: AtomicU64,
    broken: AtomicU64,
    condemned: AtomicBool,
    verdicts: mpsc::UnboundedSender<Verdict>,
}

/// A canary is worse than the build beside it.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The plug-in.
    pub plugin: String,
    /// The canary.
    pub digest: String,
    /// What it did.
    pub reason: String,
}

impl Canary {
    /// Nothing was tried yet. The channel holds at most one verdict for each canary.
    pub fn new(
        generation: Arc<Generation>,
        percent: f64,
        verdicts: mpsc::UnboundedSender<Verdict>,
    ) -> Self {
        Self {
            generation,
            percent,
            calls: AtomicU64::new(0),
            broken: AtomicU64::new(0),
            condemned: AtomicBool::new(false),
            verdicts,
        }
    }

    /// Whether it has this key. Every host says the same, and a larger share has the keys of
    /// a smaller one.
    pub fn has(&self, key: &str) -> bool {
        !self.condemned.load(Ordering::Relaxed)
            && is_in_share(key, self.generation.digest(), self.percent)
    }

    /// It was called.
    pub fn called(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// It failed an event that the other build has handled.
    pub fn broke(&self, error: &str) {
        let broken = self.broken.fetch_add(1, Ordering::Relaxed) + 1;
        let calls = self.calls.load(Ordering::Relaxed).max(broken);
        if is_worse(calls, broken) && !self.condemned.swap(true, Ordering::Relaxed) {
            let reason = format!(
                "{broken} of its {calls} calls failed where the build beside it did not, the \
                 last one with: {error}"
            );
            let verdict = Verdict {
                plugin: self.generation.manifest().name.clone(),
                digest: self.generation.digest().to_owned(),
                reason,
            };
            // Nobody listens any more when the host stops; the next one that runs it judges anew.
            let _ = self.verdicts.send(verdict);
        }
    }

    /// Calls, and failures that the other build did not have.
    pub fn record(&self) -> (u64, u64) {
        let record = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (record(&self.calls), record(&self.broken))
    }
}

/// State is to be carried over, or other events are read, or wait for each other, or wait for an
/// operator: what lanes and cursor hold is not what the other build wants, and is to be made anew
/// from the ledger.
pub fn needs_a_start(one: &Manifest, other: &Manifest) -> bool {
    (other.migrate_from.is_some() && one.state_version != other.state_version)
        || one.subscribe.subjects != other.subscribe.subjects
        || one.delivery.ordering != other.delivery.ordering
        || one.retry.on_exhausted != other.retry.on_exhausted
        || one.limits.state_history != other.limits.state_history
}

fn is_worse(calls: u64, broken: u64) -> bool {
    BROKEN_AT_LEAST <= broken && calls <= broken.saturating_mul(BROKEN_SHARE)
}

fn is_in_share(key: &str, digest: &str, percent: f64) -> bool {
    let mut hash = Sha256::new();
    hash.update(digest);
    hash.update(key);
    let mut first = [0; 4];
    let digest = hash.finalize();
    first
        .iter_mut()
        .zip(digest)
        .for_each(|(to, from)| *to = from);
    f64::from(u32::from_be_bytes(first)) < percent / 100.0 * f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_share_of_the_keys_is_meant_and_grows_without_a_change_of_place() {
        let keys: Vec<String> = (0..4_000).map(|n| format!("account/{n}")).collect();
        let share = |digest, percent| -> BTreeSet<&String> {
            let has = |key: &&String| is_in_share(key, digest, percent);
            keys.iter().filter(has).collect()
        };
        let small = share("sha256:ab", 5.0);
        assert!((140..260).contains(&small.len()), "{}", small.len());
        assert!(small.is_subset(&share("sha256:ab", 25.0)));
        assert_eq!(share("sha256:ab", 0.0).len(), 0);
        assert!(3_990 < share("sha256:ab", 100.0).len());
        let other = share("sha256:cd", 5.0);
        let both = other.intersection(&small).count();
        assert!(both < 40, "another build has other keys: {both}");
    }

    #[test]
    fn a_few_failures_among_many_calls_are_no_rise() {
        assert!(!is_worse(2, 2));
        assert!(is_worse(3, 3));
        assert!(is_worse(150, 3));
        assert!(!is_worse(151, 3));
        assert!(is_worse(1_000, 20));
    }
}

//! Takes a retry policy, gives the delays between attempts; `None` from the iterator is exhausted.

use std::time::Duration;

use crate::manifest::Retry;

/// The delays of one delivery: the first item is the wait after the first failed attempt.
#[derive(Debug, Clone)]
pub struct Delays<'a> {
    policy: &'a Retry,
    failed: u32,
    unit_random: f64,
}

/// Delays after `failed` attempts have already been burnt.
///
/// `unit_random` in `0.0..1.0` is where in the jitter's band each delay falls; the
/// caller draws it, so that this stays a function.
pub fn delays(policy: &Retry, failed: u32, unit_random: f64) -> Delays<'_> {
    Delays {
        policy,
        failed,
        unit_random,
    }
}

impl Iterator for Delays<'_> {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.failed = self.failed.saturating_add(1);
        if self.policy.max_attempts <= self.failed {
            return None;
        }
        let grown =
            self.policy.initial.as_secs_f64() * self.policy.factor.powf(f64::from(self.failed - 1));
        let capped = grown.min(self.policy.max.as_secs_f64());
        let spread = 1.0 + self.policy.jitter * (2.0 * self.unit_random - 1.0);
        Some(Duration::try_from_secs_f64(capped * spread).unwrap_or(self.policy.max))
    }
}

/// The wait before the next attempt, or `None` when the attempts are used up.
///
/// A guest that asked for a longer wait gets it, up to the policy's `max`.
pub fn next_delay(
    policy: &Retry,
    attempts_burnt: u32,
    asked: Option<Duration>,
    unit_random: f64,
) -> Option<Duration> {
    let own = delays(policy, attempts_burnt.saturating_sub(1), unit_random).next()?;
    Some(match asked {
        Some(asked) => asked.max(own).min(policy.max.max(own)),
        None => own,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::manifest::OnExhausted;

    fn policy(max_attempts: u32, initial_ms: u64, factor: f64, max_ms: u64, jitter: f64) -> Retry {
        Retry {
            max_attempts,
            initial: Duration::from_millis(initial_ms),
            factor,
            max: Duration::from_millis(max_ms),
            jitter,
            on_exhausted: OnExhausted::DeadLetter,
        }
    }

    #[test]
    fn doubles_until_the_cap_and_ends() {
        let policy = policy(5, 1_000, 2.0, 5_000, 0.0);
        let seen: Vec<u64> = delays(&policy, 0, 0.5).map(|d| d.as_secs()).collect();
        assert_eq!(seen, [1, 2, 4, 5]);
    }

    #[test]
    fn one_attempt_means_no_retry() {
        assert_eq!(next_delay(&policy(1, 1, 2.0, 1, 0.0), 1, None, 0.5), None);
    }

    #[test]
    fn the_guest_may_ask_for_longer_within_the_cap() {
        let policy = policy(5, 1_000, 2.0, 10_000, 0.0);
        let asked = |s| next_delay(&policy, 1, Some(Duration::from_secs(s)), 0.5);
        assert_eq!(asked(0), Some(Duration::from_secs(1)));
        assert_eq!(asked(7), Some(Duration::from_secs(7)));
        assert_eq!(asked(70), Some(Duration::from_secs(10)));
    }

    proptest! {
        #[test]
        fn always_one_less_than_the_attempts_and_within_the_band(
            attempts in 1u32..40, initial in 1u64..100_000, factor in 1.0f64..10.0,
            max in 1u64..10_000_000, jitter in 0.0f64..=1.0, random in 0.0f64..1.0,
        ) {
            let policy = policy(attempts, initial, factor, max, jitter);
            let all: Vec<Duration> = delays(&policy, 0, random).collect();
            prop_assert_eq!(all.len() as u32, attempts - 1);
            for delay in all {
                prop_assert!(delay.as_secs_f64() <= policy.max.as_secs_f64() * (1.0 + jitter) + 1e-6);
            }
        }
    }
}

//! Takes how a plug-in's calls end, gives whether new ones may start: where all fail, one tries for all.
//!
//! When what a plug-in depends on is down, it answers every event with "retry", and attempts
//! would be burnt on nothing. So when [`ENOUGH`] different events have failed so for [`LONG`],
//! with nothing between them that came to an end, the circuit opens: little more is read, one
//! call at a time is started, further and further apart, and a failure does not count against
//! its event. The first call that comes to an end closes it again. After [`FORGIVING`] failures
//! count again, so that events which can never succeed do not hold the others up for ever.
//!
//! Without a clock and without I/O.

use std::time::Duration;

use crate::lane::Millis;

/// Different events that failed, without one that came to an end between them.
const ENOUGH: usize = 10;
/// And for how long: a burst of events that all succeed at their second attempt is no outage.
const LONG: Duration = Duration::from_secs(2);
/// Until the first call that tries.
const WAIT_FIRST: Duration = Duration::from_secs(1);
/// Between two of them at most.
const WAIT_LONGEST: Duration = Duration::from_secs(30);
/// How long failures do not count once the circuit is open.
const FORGIVING: Duration = Duration::from_secs(60 * 60);

/// The circuit breaker of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breaker(State);

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Closed {
        /// Some of the events that failed since one came to an end, each once.
        failing: Vec<u64>,
        /// When the first of them did.
        since: Millis,
    },
    Open {
        since: Millis,
        wait: Duration,
        /// When the next call may try; none while one does.
        until: Option<Millis>,
    },
}

/// What a failure means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failed {
    /// It counts against its event.
    Counts,
    /// It does, and it has opened the circuit.
    Opens,
    /// It counts against nobody: the circuit is open. This much later it may be tried again.
    Forgiven(Duration),
}

impl Default for Breaker {
    fn default() -> Self {
        Self(State::Closed {
            failing: Vec::new(),
            since: 0,
        })
    }
}

impl Breaker {
    /// Whether all may go on.
    pub fn is_closed(&self) -> bool {
        matches!(self.0, State::Closed { .. })
    }

    /// Whether a call may start now.
    pub fn may_start(&self, now: Millis) -> bool {
        match self.0 {
            State::Closed { .. } => true,
            State::Open { until, .. } => until.is_some_and(|until| until <= now),
        }
    }

    /// When one may, if that is later than now.
    pub fn opens_up(&self, now: Millis) -> Option<Millis> {
        match self.0 {
            State::Closed { .. } => None,
            State::Open { until, .. } => until.filter(|until| now < *until),
        }
    }

    /// A call has started.
    pub fn started(&mut self) {
        if let State::Open { until, .. } = &mut self.0 {
            *until = None;
        }
    }

    /// A call came to an end, whatever it was: what it needs is there. Tells whether that has
    /// closed the circuit.
    pub fn succeeded(&mut self) -> bool {
        let was_open = !self.is_closed();
        *self = Self::default();
        was_open
    }

    /// The plug-in asked for another attempt at this event.
    pub fn failed(&mut self, event: u64, now: Millis) -> Failed {
        match &mut self.0 {
            State::Closed { failing, since } => {
                if failing.is_empty() {
                    *since = now;
                }
                if failing.len() < ENOUGH && !failing.contains(&event) {
                    failing.push(event);
                }
                if failing.len() < ENOUGH || now < after(*since, LONG) {
                    return Failed::Counts;
                }
                self.0 = State::Open {
                    since: now,
                    wait: WAIT_FIRST,
                    until: Some(after(now, WAIT_FIRST)),
                };
                Failed::Opens
            }
            State::Open { since, wait, until } => {
                // Unless it was under way when the circuit opened.
                if until.is_none() {
                    *wait = (*wait * 2).min(WAIT_LONGEST);
                    *until = Some(after(now, *wait));
                }
                if now < after(*since, FORGIVING) {
                    Failed::Forgiven(*wait)
                } else {
                    Failed::Counts
                }
            }
        }
    }

    /// A call ended without saying anything about what it needs: another tries.
    pub fn said_nothing(&mut self, now: Millis) {
        if let State::Open { until, .. } = &mut self.0 {
            until.get_or_insert(now);
        }
    }
}

fn after(now: Millis, wait: Duration) -> Millis {
    now.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn opened() -> Breaker {
        let mut breaker = Breaker::default();
        for event in 1..50 {
            assert_eq!(breaker.failed(event, 0), Failed::Counts);
        }
        assert_eq!(breaker.failed(1, 1_999), Failed::Counts);
        assert!(breaker.is_closed());
        assert_eq!(breaker.failed(1, START), Failed::Opens);
        breaker
    }

    const START: Millis = 2_000;

    #[test]
    fn one_tries_for_all_further_and_further_apart() {
        let mut breaker = opened();
        let (mut now, mut wait) = (START, 1_000);
        for next in [2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
            assert_eq!(breaker.opens_up(now), Some(now + wait));
            assert!(!breaker.may_start(now + wait - 1));
            now += wait;
            assert!(breaker.may_start(now));
            breaker.started();
            assert!(!breaker.may_start(now), "a second one");
            wait = next;
            let forgiven = Failed::Forgiven(Duration::from_millis(wait));
            assert_eq!(breaker.failed(7, now), forgiven);
        }
        assert!(breaker.succeeded());
        assert!(breaker.is_closed() && breaker.may_start(now));
        assert!(!breaker.succeeded(), "it was closed");
    }

    #[test]
    fn one_event_that_fails_for_ever_opens_nothing() {
        let mut breaker = Breaker::default();
        for now in 0..200 {
            assert_eq!(breaker.failed(1, now * 1_000), Failed::Counts);
        }
    }

    #[test]
    fn one_success_in_ten_keeps_it_closed() {
        let mut breaker = Breaker::default();
        for n in 1..200 {
            if n % 10 == 0 {
                breaker.succeeded();
            } else {
                assert_eq!(breaker.failed(n, n * 1_000), Failed::Counts);
            }
        }
    }

    #[test]
    fn what_was_under_way_neither_counts_nor_waits() {
        let mut breaker = opened();
        assert!(matches!(breaker.failed(11, 2_500), Failed::Forgiven(_)));
        assert_eq!(breaker.opens_up(2_500), Some(3_000));
        breaker.started();
        breaker.said_nothing(3_200);
        assert!(breaker.may_start(3_200));
    }

    #[test]
    fn after_an_hour_failures_count() {
        let mut breaker = opened();
        let hour = START + 3_600_000;
        breaker.started();
        assert!(matches!(breaker.failed(1, hour - 1), Failed::Forgiven(_)));
        breaker.started();
        assert_eq!(breaker.failed(1, hour), Failed::Counts);
        assert!(!breaker.is_closed());
    }

    proptest! {
        /// Whatever happens: unless a call is trying, one may start within the longest wait.
        #[test]
        fn it_never_locks_up(events in prop::collection::vec((0u8..4, 0u64..20), 0..200)) {
            let mut breaker = Breaker::default();
            let (mut now, mut trying) = (0, false);
            for (what, event) in events {
                match what {
                    0 if breaker.may_start(now) => {
                        trying = !breaker.is_closed();
                        breaker.started();
                    }
                    0 => {}
                    1 => {
                        breaker.succeeded();
                        trying = false;
                    }
                    2 => {
                        breaker.failed(event, now);
                        trying = false;
                    }
                    _ => {
                        breaker.said_nothing(now);
                        trying = false;
                    }
                }
                now += 700;
                prop_assert!(trying || breaker.may_start(now + 30_000));
            }
        }
    }
}

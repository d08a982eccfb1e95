//! Takes guests that compute for long, gives them all cores but one, in turns.
//!
//! A call that has computed for longer than [`PATIENCE`] is a long one, and so are the next ones
//! of that build until one is short. Long calls may use every core as long as nobody else wants
//! one; where short calls are made too, one core is left to these, to the host and to the broker.
//! Decision 19 says why it is not done by the priorities of threads.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

/// How long a guest may compute, beyond the tick in which it began, before its call is a long one.
const PATIENCE: Duration = Duration::from_millis(2);
/// A core is left for so long after a short call.
const MEMORY: Duration = Duration::from_secs(1);
/// How long a turn is where others wait: a change of turns is a change of threads.
const TURN: Duration = Duration::from_millis(50);
/// Who was not seen for so long does not compute, but waits in an import.
const STALE: Duration = Duration::from_millis(25);

/// The cores, as far as long calls may have them.
#[derive(Debug)]
pub(super) struct Cores {
    all: usize,
    begun: Instant,
    /// When the last short call ended, in milliseconds since `begun`; 0 for never.
    last_short: AtomicU64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// When each that has a turn was seen last.
    turns: BTreeMap<u64, Instant>,
    line: VecDeque<u64>,
    next: u64,
}

impl State {
    fn computing(&self, now: Instant) -> usize {
        let seen = |last: &&Instant| now.saturating_duration_since(**last) < STALE;
        self.turns.values().filter(seen).count()
    }
}

impl Cores {
    pub(super) fn new(all: usize) -> Arc<Self> {
        Arc::new(Self {
            all,
            begun: Instant::now(),
            last_short: AtomicU64::new(0),
            state: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    /// A short call has ended.
    pub(super) fn short(&self, now: Instant) {
        self.last_short.store(self.millis(now), Ordering::Relaxed);
    }

    /// Waits for a core; none when the deadline comes first.
    pub(super) fn wait(self: &Arc<Self>, deadline: Instant) -> Option<Turn> {
        let mut state = self.state.lock();
        let number = state.next;
        state.next += 1;
        state.line.push_back(number);
        loop {
            let now = Instant::now();
            if state.line.front() == Some(&number) && state.computing(now) < self.allowed(now) {
                state.line.pop_front();
                state.turns.insert(number, now);
                // There may be one for the next as well.
                self.changed.notify_all();
                let cores = Arc::clone(self);
                let begun = now;
                return Some(Turn {
                    cores,
                    number,
                    begun,
                });
            }
            if deadline <= now {
                state.line.retain(|waiting| *waiting != number);
                self.changed.notify_all();
                return None;
            }
            let patience = STALE.min(deadline - now);
            self.changed.wait_for(&mut state, patience);
        }
    }

    fn allowed(&self, now: Instant) -> usize {
        let last = self.last_short.load(Ordering::Relaxed);
        let memory = u64::try_from(MEMORY.as_millis()).unwrap_or(u64::MAX);
        if last == 0 || last + memory < self.millis(now) {
            return self.all;
        }
        self.all.saturating_sub(1).max(1)
    }

    fn millis(&self, now: Instant) -> u64 {
        let millis = now.saturating_duration_since(self.begun).as_millis();
        u64::try_from(millis).unwrap_or(u64::MAX).max(1)
    }
}

/// A core, for as long as this is held.
#[derive(Debug)]
pub(super) struct Turn {
    cores: Arc<Cores>,
    number: u64,
    begun: Instant,
}

impl Turn {
    /// Goes on, or lets those that wait have it first; none when the deadline comes before.
    pub(super) fn pass(self, deadline: Instant) -> Option<Self> {
        let cores = Arc::clone(&self.cores);
        let may_stay = {
            let mut state = cores.state.lock();
            let now = Instant::now();
            state.turns.insert(self.number, now);
            let is_over = TURN <= now.saturating_duration_since(self.begun);
            (state.line.is_empty() || !is_over) && state.computing(now) <= cores.allowed(now)
        };
        if may_stay {
            return Some(self);
        }
        drop(self);
        cores.wait(deadline)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.cores.state.lock().turns.remove(&self.number);
        self.cores.changed.notify_all();
    }
}

/// How long a guest has computed in the call under way, as far as the ticks tell.
#[derive(Debug, Default)]
pub(super) struct Computed {
    since: Option<Duration>,
    is_long: bool,
}

impl Computed {
    /// The epoch moved on while the guest ran. The first tick only notes the time: what needs
    /// less than two pays nothing for being watched. To wait in an import is not to compute.
    pub(super) fn tick(&mut self) {
        let now = Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default();
        let since = *self.since.get_or_insert(now);
        self.is_long |= PATIENCE <= now.saturating_sub(since);
    }

    /// Whether the call is a long one.
    pub(super) fn is_long(&self) -> bool {
        self.is_long
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// Sooner than one that has a turn is taken not to compute.
    fn soon() -> Instant {
        Instant::now() + STALE / 5
    }

    #[test]
    fn a_core_is_left_where_short_calls_are_made_and_only_there() {
        let cores = Cores::new(2);
        let (first, second) = (cores.wait(soon()), cores.wait(soon()));
        assert!(first.is_some() && second.is_some(), "nobody else wants one");
        assert!(cores.wait(soon()).is_none(), "there are two");
        let later = Instant::now() + 4 * STALE;
        let third = cores.wait(later);
        assert!(third.is_some(), "who was not seen does not compute");
        drop((first, second, third));
        cores.short(Instant::now());
        let first = cores.wait(soon());
        assert!(first.is_some(), "one is theirs in any case");
        assert!(cores.wait(soon()).is_none(), "one is left");
        drop(first);
        let first = cores.wait(soon()).expect("it is free");
        let much_later = Instant::now() + 2 * MEMORY;
        assert_eq!(
            cores.allowed(much_later),
            2,
            "nobody has wanted it for a while"
        );
        assert!(first.pass(soon()).is_some());
    }

    #[test]
    fn one_core_is_shared() {
        let cores = Cores::new(1);
        cores.short(Instant::now());
        assert!(cores.wait(soon()).is_some());
    }

    #[test]
    fn those_that_wait_have_their_turns() {
        let cores = Cores::new(1);
        let order: Arc<Mutex<Vec<usize>>> = Arc::default();
        let end = Instant::now() + Duration::from_secs(60);
        let computing: Vec<_> = (0..3)
            .map(|one| {
                let (cores, order) = (Arc::clone(&cores), Arc::clone(&order));
                thread::spawn(move || {
                    let mut turn = cores.wait(end);
                    let begun = Instant::now();
                    while begun.elapsed() < 8 * TURN {
                        order.lock().push(one);
                        let tick = Instant::now();
                        while tick.elapsed() < TURN / 10 {
                            std::hint::spin_loop();
                        }
                        turn = turn.and_then(|turn| turn.pass(end));
                    }
                    turn.is_some()
                })
            })
            .collect();
        for one in computing {
            assert!(one.join().expect("no panic"), "in time");
        }
        let mut order = Arc::into_inner(order).expect("the last").into_inner();
        order.dedup();
        // Each for a while, and then the next one.
        assert!((6..60).contains(&order.len()), "{order:?}");
        let rounds = order
            .windows(3)
            .filter(|three| three[0] != three[2])
            .count();
        assert!(
            order.len() - 6 <= rounds,
            "in the order of the line: {order:?}"
        );
        assert!(cores.state.lock().turns.is_empty());
        assert!(cores.state.lock().line.is_empty());
    }
}

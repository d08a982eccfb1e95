//! Takes deliveries with their keys, gives the ones that may run now: one a lane at a time, in stream order.
//!
//! [`step`] is the whole behaviour of one lane, without a clock and without I/O; [`Lanes`]
//! keeps the queues around it.

use std::collections::{BTreeSet, HashMap, VecDeque};

/// Which lane: a hash of the partition key. Two keys in one lane cost time, never order.
pub type LaneId = u64;

/// Unix time in milliseconds.
pub type Millis = u64;

/// What one lane is doing. It exists only while it holds a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The head waits for a place among the running calls.
    Ready,
    /// The head is with the plug-in.
    Running,
    /// The head failed and waits for its next attempt; nothing overtakes it.
    Parked {
        /// When the next attempt is due.
        due: Millis,
    },
}

/// What can happen to a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// The host took the head to run it.
    Started,
    /// The head has its final outcome.
    Finished {
        /// Whether another delivery waits behind it.
        more: bool,
    },
    /// The head is to be tried again.
    Failed {
        /// When.
        due: Millis,
    },
    /// The wait of the head is over.
    Due,
}

/// The lane's next state: `Ok(None)` when it is empty and goes away, `Err` when the input
/// does not belong to the state, which is a defect of the caller.
pub fn step(state: State, input: Input) -> Result<Option<State>, Illegal> {
    match (state, input) {
        (State::Ready, Input::Started) => Ok(Some(State::Running)),
        (State::Running, Input::Finished { more: true }) => Ok(Some(State::Ready)),
        (State::Running, Input::Finished { more: false }) => Ok(None),
        (State::Running, Input::Failed { due }) => Ok(Some(State::Parked { due })),
        (State::Parked { .. }, Input::Due) => Ok(Some(State::Ready)),
        (state, input) => Err(Illegal { state, input }),
    }
}

/// An input that the state does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a lane in state {state:?} cannot take {input:?}")]
pub struct Illegal {
    state: State,
    input: Input,
}

struct Lane<T> {
    state: State,
    queue: VecDeque<T>,
}

/// All lanes of one partition.
pub struct Lanes<T> {
    lanes: HashMap<LaneId, Lane<T>>,
    ready: VecDeque<LaneId>,
    due: BTreeSet<(Millis, LaneId)>,
    held: usize,
}

impl<T> Default for Lanes<T> {
    fn default() -> Self {
        Self {
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            due: BTreeSet::new(),
            held: 0,
        }
    }
}

impl<T> Lanes<T> {
    /// Puts a delivery at the end of its lane.
    pub fn push(&mut self, id: LaneId, item: T) {
        self.held += 1;
        let lane = self.lanes.entry(id).or_insert_with(|| {
            self.ready.push_back(id);
            Lane {
                state: State::Ready,
                queue: VecDeque::with_capacity(1),
            }
        });
        lane.queue.push_back(item);
    }

    /// Puts a delivery that has failed before at the end of its lane; if it is the head,
    /// the lane is parked until `due`.
    pub fn push_parked(&mut self, id: LaneId, item: T, due: Millis) {
        if self.lanes.contains_key(&id) {
            self.push(id, item);
            return;
        }
        self.held += 1;
        self.due.insert((due, id));
        self.lanes.insert(
            id,
            Lane {
                state: State::Parked { due },
                queue: VecDeque::from([item]),
            },
        );
    }

    /// Has the lane come next whose head comes first by `rank`, of those that may run.
    pub fn prefer(&mut self, rank: impl Fn(&T) -> u32) {
        let head = |id: &LaneId| self.lanes.get(id)?.queue.front().map(&rank);
        let first = self.ready.iter().enumerate();
        let first = first.min_by_key(|(_, id)| head(id)).map(|(at, _)| at);
        if let Some(id) = first.and_then(|at| self.ready.remove(at)) {
            self.ready.push_front(id);
        }
    }

    /// The next lane whose head may run, now marked as running.
    pub fn start_next(&mut self) -> Option<(LaneId, &mut T)> {
        let id = self.ready.pop_front()?;
        let lane = self.lanes.get_mut(&id)?;
        lane.state = moved(lane.state, Input::Started)?;
        Some((id, lane.queue.front_mut()?))
    }

    /// The head of a lane.
    pub fn head(&mut self, id: LaneId) -> Option<&mut T> {
        self.lanes.get_mut(&id)?.queue.front_mut()
    }

    /// Whether a push to this lane now would wait behind a parked head.
    pub fn is_parked(&self, id: LaneId) -> bool {
        self.lanes
            .get(&id)
            .is_some_and(|lane| matches!(lane.state, State::Parked { .. }))
    }

    /// Takes the head off; it has its final outcome.
    pub fn finish(&mut self, id: LaneId) -> Option<T> {
        let lane = self.lanes.get_mut(&id)?;
        let item = lane.queue.pop_front()?;
        self.held -= 1;
        let more = !lane.queue.is_empty();
        match moved(lane.state, Input::Finished { more }) {
            Some(next) => {
                lane.state = next;
                self.ready.push_back(id);
            }
            None => {
                self.lanes.remove(&id);
            }
        }
        Some(item)
    }

    /// Parks the lane; its head is tried again at `due`.
    pub fn park(&mut self, id: LaneId, due: Millis) {
        if let Some(lane) = self.lanes.get_mut(&id)
            && let Some(next) = moved(lane.state, Input::Failed { due })
        {
            lane.state = next;
            self.due.insert((due, id));
        }
    }

    /// Makes ready every lane whose wait is over.
    pub fn wake(&mut self, now: Millis) {
        while let Some(&(due, id)) = self.due.first() {
            if now < due {
                break;
            }
            self.due.pop_first();
            if let Some(lane) = self.lanes.get_mut(&id)
                && let Some(next) = moved(lane.state, Input::Due)
            {
                lane.state = next;
                self.ready.push_back(id);
            }
        }
    }

    /// When the next parked lane is due.
    pub fn next_due(&self) -> Option<Millis> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Lanes that wait for a retry.
    pub fn parked(&self) -> usize {
        self.due.len()
    }

    /// Deliveries in all lanes, running ones included.
    pub fn held(&self) -> usize {
        self.held
    }
}

fn moved(state: State, input: Input) -> Option<State> {
    step(state, input).unwrap_or_else(|illegal| {
        tracing::error!(%illegal, "lane left as it was");
        Some(state)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_parked_head_is_not_overtaken_and_does_not_hold_others() {
        let mut lanes = Lanes::default();
        lanes.push(1, "a1");
        lanes.push(1, "a2");
        lanes.push(2, "b1");
        assert_eq!(
            lanes.start_next().map(|(id, item)| (id, *item)),
            Some((1, "a1"))
        );
        lanes.park(1, 100);
        assert_eq!(
            lanes.start_next().map(|(id, item)| (id, *item)),
            Some((2, "b1"))
        );
        assert_eq!(lanes.start_next(), None);
        lanes.wake(99);
        assert_eq!(lanes.start_next(), None);
        lanes.wake(100);
        assert_eq!(
            lanes.start_next().map(|(id, item)| (id, *item)),
            Some((1, "a1"))
        );
        assert_eq!(lanes.finish(1), Some("a1"));
        assert_eq!(
            lanes.start_next().map(|(id, item)| (id, *item)),
            Some((1, "a2"))
        );
    }

    #[test]
    fn one_that_is_preferred_comes_next_and_the_others_keep_their_order() {
        let mut lanes = Lanes::default();
        for (id, item) in [(1, 5), (2, 3), (3, 3), (4, 9)] {
            lanes.push(id, item);
        }
        lanes.prefer(|item| *item);
        let mut started = Vec::new();
        while let Some((id, _)) = lanes.start_next() {
            started.push(id);
        }
        assert_eq!(started, [2, 1, 3, 4]);
        lanes.prefer(|item| *item);
    }

    #[test]
    fn what_does_not_belong_is_refused() {
        assert!(step(State::Ready, Input::Due).is_err());
        assert!(step(State::Ready, Input::Finished { more: true }).is_err());
        assert!(step(State::Parked { due: 1 }, Input::Started).is_err());
        assert!(step(State::Running, Input::Started).is_err());
    }

    proptest! {
        /// Whatever fails and in whatever order the calls come back: each lane hands its
        /// deliveries over in the order of arrival, one at a time, and ends empty.
        #[test]
        fn order_within_a_lane_holds(
            arrivals in prop::collection::vec(0u64..5, 1..60),
            choices in prop::collection::vec((0usize..64, 0u8..3), 0..300),
        ) {
            let mut lanes = Lanes::default();
            for (n, lane) in arrivals.iter().enumerate() {
                lanes.push(*lane, n);
            }
            let mut running: Vec<(LaneId, usize)> = Vec::new();
            let mut done: HashMap<LaneId, Vec<usize>> = HashMap::new();
            let mut now = 0;
            let mut choices = choices.into_iter();
            while lanes.held() > 0 {
                while let Some((id, item)) = lanes.start_next() {
                    prop_assert!(running.iter().all(|(other, _)| *other != id));
                    running.push((id, *item));
                }
                let (index, fate) = choices.next().unwrap_or((0, 0));
                if running.is_empty() {
                    now = lanes.next_due().expect("something must be due");
                    lanes.wake(now);
                    continue;
                }
                let (id, item) = running.swap_remove(index % running.len());
                if fate == 1 {
                    lanes.park(id, now + 10);
                } else {
                    prop_assert_eq!(lanes.finish(id), Some(item));
                    done.entry(id).or_default().push(item);
                }
            }
            for (lane, seen) in done {
                let expected: Vec<usize> = arrivals.iter().enumerate()
                    .filter(|(_, l)| **l == lane).map(|(n, _)| n).collect();
                prop_assert_eq!(seen, expected);
            }
        }
    }
}

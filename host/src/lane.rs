//! Takes deliveries with their keys, gives the ones that may run now: one a lane at a time, in stream order.
//!
//! [`step`] is the whole behaviour of one lane, without a clock and without I/O; [`Lanes`]
//! keeps the queues around it.

use std::collections::{BTreeSet, HashMap, VecDeque};

#[cfg(test)]
mod tests;

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
    /// The head is a dead letter; nothing overtakes it until an operator has decided.
    Blocked,
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
    /// The head stays where it is, for an operator.
    Blocked,
    /// The operator has decided.
    Released,
}

/// The lane's next state: `Ok(None)` when it is empty and goes away, `Err` when the input
/// does not belong to the state, which is a defect of the caller.
pub fn step(state: State, input: Input) -> Result<Option<State>, Illegal> {
    match (state, input) {
        (State::Ready, Input::Started) => Ok(Some(State::Running)),
        (State::Running, Input::Finished { more: true }) => Ok(Some(State::Ready)),
        (State::Running, Input::Finished { more: false }) => Ok(None),
        (State::Running, Input::Failed { due }) => Ok(Some(State::Parked { due })),
        (State::Running, Input::Blocked) => Ok(Some(State::Blocked)),
        (State::Parked { .. }, Input::Due) | (State::Blocked, Input::Released) => {
            Ok(Some(State::Ready))
        }
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
    /// Lanes that are blocked, and the deliveries in them.
    blocked: usize,
    stuck: usize,
}

impl<T> Default for Lanes<T> {
    fn default() -> Self {
        Self {
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            due: BTreeSet::new(),
            held: 0,
            blocked: 0,
            stuck: 0,
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
        if lane.state == State::Blocked {
            self.stuck += 1;
        }
    }

    /// Puts a delivery that has failed before at the end of its lane; if it is the head,
    /// the lane is parked until `due`.
    pub fn push_parked(&mut self, id: LaneId, item: T, due: Millis) {
        if self.push_in(id, item, State::Parked { due }) {
            self.due.insert((due, id));
        }
    }

    /// Puts a delivery that an operator has to decide about at the end of its lane; if it is
    /// the head, the lane is blocked.
    pub fn push_blocked(&mut self, id: LaneId, item: T) {
        if self.push_in(id, item, State::Blocked) {
            self.blocked += 1;
            self.stuck += 1;
        }
    }

    /// Whether it is the head: then the lane is in this state.
    fn push_in(&mut self, id: LaneId, item: T, state: State) -> bool {
        if self.lanes.contains_key(&id) {
            self.push(id, item);
            return false;
        }
        self.held += 1;
        let queue = VecDeque::from([item]);
        self.lanes.insert(id, Lane { state, queue });
        true
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

    /// The deliveries of a lane, the head first.
    pub fn queue(&mut self, id: LaneId) -> impl Iterator<Item = &mut T> {
        let lane = self.lanes.get_mut(&id);
        lane.into_iter().flat_map(|lane| &mut lane.queue)
    }

    /// Whether a push to this lane now would wait for an operator.
    pub fn is_blocked(&self, id: LaneId) -> bool {
        let lane = self.lanes.get(&id);
        lane.is_some_and(|lane| lane.state == State::Blocked)
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

    /// Blocks the lane: its head stays until [`Lanes::release`].
    pub fn block(&mut self, id: LaneId) {
        if let Some(lane) = self.lanes.get_mut(&id)
            && let Some(next) = moved(lane.state, Input::Blocked)
        {
            lane.state = next;
            self.blocked += 1;
            self.stuck += lane.queue.len();
        }
    }

    /// The head of a blocked lane may run; without a head that is the one, nothing happens.
    pub fn release(&mut self, id: LaneId) {
        if let Some(lane) = self.lanes.get_mut(&id)
            && lane.state == State::Blocked
            && let Some(next) = moved(lane.state, Input::Released)
        {
            lane.state = next;
            self.blocked -= 1;
            self.stuck -= lane.queue.len();
            self.ready.push_back(id);
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

    /// Lanes that wait for an operator.
    pub fn blocked(&self) -> usize {
        self.blocked
    }

    /// Deliveries in blocked lanes, heads included.
    pub fn stuck(&self) -> usize {
        self.stuck
    }

    /// Deliveries in all lanes, running and stuck ones included.
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

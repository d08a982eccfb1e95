//! Takes the results of calls as they come back, gives the groups that are committed: the line where deliveries become serial.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::inbox::{Inbox, InboxId};
use super::message::{self, Message};
use super::state::{Reads, StateCache, Writes};
use super::subject::PartitionName;

/// One delivery's part of a commit.
#[derive(Debug, Default)]
pub struct Settled {
    /// The event's sequence: closed by this commit. `None` where another entry closes it.
    pub sequence: Option<u64>,
    /// The id that is finished by it.
    pub finished: Option<InboxId>,
    /// Where a call has handled it: when the store took it, in Unix nanoseconds.
    pub handled: Option<u64>,
    /// State, outbox, retry, dead letter.
    pub effects: Vec<Message>,
    /// State keys among the effects.
    pub state_keys: Vec<String>,
}

/// What became of a call's result.
#[derive(Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It will be in the next commit, and later calls see its state already.
    Yes,
    /// It read state that has changed since: the call has to be run again.
    Stale,
    /// The event was finished by another delivery meanwhile.
    Duplicate,
}

/// The results of one partition that wait for a commit, in the order in which they count.
#[derive(Debug)]
pub struct Staging {
    inner: Mutex<Inner>,
    /// How much waits, to be asked without the lock: deliveries,
    deliveries: AtomicUsize,
    /// and their bytes.
    bytes: AtomicUsize,
    state: Arc<StateCache>,
    past: Option<Past>,
}

/// Where it is kept what state keys had, and for how long.
#[derive(Debug)]
struct Past {
    name: PartitionName,
    keep: Duration,
}

struct Inner {
    /// None where the ledger is off: nothing is remembered.
    inbox: Option<Inbox>,
    /// With the bytes of their effects.
    group: VecDeque<(Settled, usize)>,
    /// The newest log message that is known; the next one is behind it.
    log: u64,
    /// The log messages below were said to be of no use.
    expired: u64,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Inner")
            .field("group", &self.group.len())
            .field("log", &self.log)
            .finish_non_exhaustive()
    }
}

/// How much waits for a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Deliveries.
    pub deliveries: usize,
    /// Bytes of their effects.
    pub bytes: usize,
}

/// How much one commit may hold.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Deliveries.
    pub deliveries: usize,
    /// Messages besides the log message.
    pub messages: usize,
    /// Bytes of those.
    pub bytes: usize,
}

impl Staging {
    /// What a partition starts with after it was taken over.
    pub fn new(inbox: Option<Inbox>, state: Arc<StateCache>, log: u64) -> Self {
        Self {
            inner: Mutex::new(Inner {
                inbox,
                group: VecDeque::new(),
                log,
                expired: 0,
            }),
            deliveries: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            state,
            past: None,
        }
    }

    /// The same, with what its keys had before kept for so long.
    #[must_use]
    pub fn keeping_past(self, name: PartitionName, keep: Duration) -> Self {
        Self {
            past: Some(Past { name, keep }),
            ..self
        }
    }

    /// The partition's state.
    pub fn state(&self) -> &Arc<StateCache> {
        &self.state
    }

    /// Whether the event was finished before.
    pub fn is_finished(&self, id: &InboxId) -> bool {
        self.inner.lock().is_finished(id)
    }

    /// Takes the result of a call that returned ok, if it still holds.
    pub fn accept(
        &self,
        mut settled: Settled,
        reads: &Reads,
        writes: &Writes,
        now: u64,
    ) -> Accepted {
        let mut inner = self.inner.lock();
        if let Some(id) = &settled.finished
            && inner.is_finished(id)
        {
            return Accepted::Duplicate;
        }
        let Some(changed) = self.state.accepted(reads, writes) else {
            return Accepted::Stale;
        };
        if let Some(Past { name, keep }) = &self.past {
            let was = |(key, value): (String, _)| message::was(name, &key, value, *keep);
            settled.effects.extend(changed.into_iter().map(was));
        }
        self.push(&mut inner, settled, now);
        Accepted::Yes
    }

    /// Takes an end that depends on nothing: a duplicate, a retry, a dead letter.
    pub fn settle(&self, settled: Settled, now: u64) {
        self.push(&mut self.inner.lock(), settled, now);
    }

    fn push(&self, inner: &mut Inner, settled: Settled, now: u64) {
        let bytes = inner.push(settled, now);
        self.deliveries.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// How much waits for a commit.
    pub fn waiting(&self) -> Waiting {
        Waiting {
            deliveries: self.deliveries.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }

    /// Whether nothing does.
    pub fn is_empty(&self) -> bool {
        self.inner.lock().group.is_empty()
    }

    /// The oldest of the waiting deliveries, as many as fit one commit.
    pub fn take(&self, bounds: Bounds) -> Vec<Settled> {
        let mut inner = self.inner.lock();
        let mut group = Vec::new();
        let (mut messages, mut bytes) = (0, 0);
        while let Some((next, size)) = inner.group.front() {
            messages += next.effects.len();
            bytes += size;
            let full = bounds.deliveries <= group.len()
                || bounds.messages < messages
                || bounds.bytes < bytes;
            if full && !group.is_empty() {
                break;
            }
            if let Some((settled, size)) = inner.group.pop_front() {
                self.deliveries.fetch_sub(1, Ordering::Relaxed);
                self.bytes.fetch_sub(size, Ordering::Relaxed);
                group.push(settled);
            }
        }
        group
    }

    /// The log has moved on to this sequence.
    pub fn logged(&self, sequence: u64) {
        self.inner.lock().log = sequence;
    }

    /// Forgets ids older than the dedup window; gives the log sequence below which no
    /// message is needed, when that has moved.
    pub fn expire(&self, now: u64) -> Option<u64> {
        self.inner.lock().expire(now)
    }
}

impl Inner {
    fn is_finished(&self, id: &InboxId) -> bool {
        self.inbox.as_ref().is_some_and(|inbox| inbox.contains(id))
    }

    /// Gives the bytes of its effects.
    fn push(&mut self, mut settled: Settled, now: u64) -> usize {
        match (&mut self.inbox, settled.finished) {
            // The log message will have a higher sequence: as a bound this is safe.
            (Some(inbox), Some(id)) => inbox.insert(id, now, self.log + 1),
            (Some(_), None) => {}
            (None, _) => settled.finished = None,
        }
        let bytes = settled.effects.iter().map(Message::size).sum();
        self.group.push_back((settled, bytes));
        bytes
    }

    fn expire(&mut self, now: u64) -> Option<u64> {
        let needed = match &mut self.inbox {
            Some(inbox) => inbox.expire(now)?,
            // Without ids only the newest log message says anything.
            None => self.log,
        };
        let moved = self.expired < needed;
        self.expired = needed;
        moved.then_some(needed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use async_nats::HeaderMap;
    use bytes::Bytes;

    use super::*;

    fn staging() -> Staging {
        let inbox = Some(Inbox::new(Duration::from_secs(60)));
        Staging::new(inbox, Arc::new(StateCache::in_memory()), 0)
    }

    fn settled(n: u8, effects: usize) -> Settled {
        let effect = Message {
            subject: "ledger.out.x".to_owned(),
            headers: HeaderMap::new(),
            payload: Bytes::new(),
            replaces: false,
        };
        Settled {
            sequence: Some(u64::from(n)),
            finished: Some([n; 16]),
            handled: None,
            effects: vec![effect; effects],
            state_keys: Vec::new(),
        }
    }

    #[test]
    fn of_two_with_one_id_the_first_counts() {
        let staging = staging();
        let (reads, writes) = (Reads::new(), Writes::new());
        assert_eq!(
            staging.accept(settled(1, 1), &reads, &writes, 0),
            Accepted::Yes
        );
        assert_eq!(
            staging.accept(settled(1, 1), &reads, &writes, 0),
            Accepted::Duplicate
        );
        assert_eq!(staging.waiting().deliveries, 1);
    }

    #[test]
    fn without_an_inbox_nothing_is_remembered() {
        let staging = Staging::new(None, Arc::new(StateCache::in_memory()), 7);
        let (reads, writes) = (Reads::new(), Writes::new());
        for _ in 0..2 {
            let accepted = staging.accept(settled(1, 0), &reads, &writes, 0);
            assert_eq!(accepted, Accepted::Yes);
        }
        assert_eq!((staging.expire(0), staging.expire(0)), (Some(7), None));
        staging.logged(9);
        assert_eq!(staging.expire(0), Some(9));
        let bounds = Bounds {
            deliveries: 10,
            messages: 7,
            bytes: 1 << 20,
        };
        let group = staging.take(bounds);
        assert!(group.iter().all(|settled| settled.finished.is_none()));
    }

    #[test]
    fn a_commit_holds_no_more_than_its_bounds_but_one_at_least() {
        let staging = staging();
        for (n, effects) in [(1, 3), (2, 3), (3, 20), (4, 0)] {
            staging.settle(settled(n, effects), 0);
        }
        let bounds = Bounds {
            deliveries: 10,
            messages: 7,
            bytes: 1 << 20,
        };
        let sizes: Vec<usize> = std::iter::from_fn(|| Some(staging.take(bounds).len()))
            .take_while(|size| *size != 0)
            .collect();
        assert_eq!(sizes, [2, 1, 1]);
        assert_eq!(staging.waiting().bytes, 0);
    }
}

//! Takes the messages of a request, gives who has each: the broker, or the spool.
//!
//! **Invariant:** a message never overtakes one of its key that was answered before. From the
//! first message that is spooled on, every other is spooled behind it, until the drain has
//! emptied the spool while nobody is on the way into it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::future::join_all;
use tokio::sync::{Notify, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::time::{Duration, Instant};

use super::{Error, Spool};
use crate::gateway::outgoing::Outgoing;
use crate::gateway::publisher::{self, Publisher, Stored};

/// The next message of a key is not published later than this after the first of a request:
/// a sender waits a second for its answer.
const LAST_START: Duration = Duration::from_millis(800);

/// Who has a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// The broker.
    Stored(Stored),
    /// The disk; the broker will.
    Spooled,
}

/// Why nobody has it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// Neither the broker nor the spool takes it now.
    #[error("{broker}; and {spool}")]
    Both {
        /// What the broker said.
        broker: String,
        /// What the spool said.
        spool: Error,
    },
    /// The broker will not take it, ever.
    #[error("{0}")]
    Refused(String),
}

/// The spool and the way into it.
#[derive(Debug)]
pub struct Spooler {
    spool: Spool,
    /// Held for reading from the look at `spooling` until the message is answered; held for
    /// writing by the drain, to change back.
    gate: RwLock<()>,
    spooling: AtomicBool,
    /// Requests that wait for the broker, not for the spool.
    direct: AtomicUsize,
    /// Told when something was spooled.
    spooled: Notify,
}

/// What came of publishing one message of a request.
enum Attempt {
    /// The broker has it.
    Stored(Stored),
    /// The broker does not have it, or (`uncertain`) nobody knows.
    Missed { uncertain: bool, reason: String },
    /// The broker will not take it, ever.
    Refused(String),
}

impl Spooler {
    /// What was left in the spool goes first.
    pub fn new(spool: Spool) -> Self {
        let waiting = 0 < spool.standing().records;
        Self {
            spool,
            gate: RwLock::new(()),
            spooling: AtomicBool::new(waiting),
            direct: AtomicUsize::new(0),
            spooled: Notify::new(),
        }
    }

    /// The queue itself, for the metrics.
    pub fn spool(&self) -> &Spool {
        &self.spool
    }

    /// Whether messages go to the spool now.
    pub fn is_spooling(&self) -> bool {
        self.spooling.load(Ordering::Acquire)
    }

    /// Has every message of a request published or spooled; what became of them stands in
    /// their order. Those of one key are published one after another. Of those that the
    /// broker does not take now, all are spooled or none.
    ///
    /// # Errors
    /// [`Unavailable`]: none is promised, though the broker may have some. Whoever sends them
    /// again finds those by their ids.
    pub async fn accept(
        &self,
        publisher: &Publisher,
        outgoing: &[Outgoing],
    ) -> Result<Vec<Kept>, Unavailable> {
        let _open: RwLockReadGuard<'_, ()> = self.gate.read().await;
        if self.is_spooling() {
            let all: Vec<(&Outgoing, bool)> = outgoing.iter().map(|one| (one, false)).collect();
            self.spool_behind(&all, "events that came before wait for the broker")
                .await?;
            return Ok(vec![Kept::Spooled; outgoing.len()]);
        }
        let attempts = {
            let _direct = Counted::new(&self.direct);
            publish(publisher, outgoing).await
        };
        let mut accepted = Vec::with_capacity(outgoing.len());
        let mut missed = Vec::new();
        let mut why = String::new();
        for (outgoing, attempt) in outgoing.iter().zip(attempts) {
            match attempt {
                Attempt::Stored(stored) => accepted.push(Kept::Stored(stored)),
                Attempt::Refused(reason) => return Err(Unavailable::Refused(reason)),
                Attempt::Missed { uncertain, reason } => {
                    accepted.push(Kept::Spooled);
                    missed.push((outgoing, uncertain));
                    why = reason;
                }
            }
        }
        if !missed.is_empty() {
            self.spool_behind(&missed, &why).await?;
        }
        Ok(accepted)
    }

    async fn spool_behind(
        &self,
        missed: &[(&Outgoing, bool)],
        why: &str,
    ) -> Result<(), Unavailable> {
        // Before anybody can be told that something was spooled.
        if !self.spooling.swap(true, Ordering::AcqRel) {
            tracing::warn!(
                reason = why,
                "events are spooled until the broker takes them"
            );
        }
        let spooled = self.spool.append(missed).await;
        self.spooled.notify_one();
        spooled.map_err(|spool| Unavailable::Both {
            broker: why.to_owned(),
            spool,
        })
    }

    /// Waits until there may be something to drain.
    pub(in crate::gateway) async fn something_spooled(&self) {
        while !self.is_spooling() {
            self.spooled.notified().await;
        }
    }

    /// Waits until something more was spooled.
    pub(in crate::gateway) async fn something_more(&self) {
        self.spooled.notified().await;
    }

    /// Stops everybody on the way in, once those who are under way have their answers. None
    /// while some of them wait for the broker, since newcomers would wait as long.
    pub(in crate::gateway) async fn shut(&self) -> Option<Shut<'_>> {
        if 0 < self.direct.load(Ordering::Acquire) {
            return None;
        }
        let guard = self.gate.write().await;
        Some(Shut {
            spooler: self,
            _guard: guard,
        })
    }
}

/// Nobody is on the way into the spool until this is dropped.
pub(in crate::gateway) struct Shut<'a> {
    spooler: &'a Spooler,
    _guard: RwLockWriteGuard<'a, ()>,
}

impl Shut<'_> {
    /// The spool is empty: whoever comes now goes to the broker.
    pub(in crate::gateway) fn open_to_the_broker(self) {
        self.spooler.spooling.store(false, Ordering::Release);
    }
}

/// Publishes the keys side by side, in the order of their first messages, and the messages
/// of one key one after another: when one is missed, those behind it must not overtake it.
async fn publish(publisher: &Publisher, outgoing: &[Outgoing]) -> Vec<Attempt> {
    let mut chains: Vec<Vec<usize>> = Vec::with_capacity(outgoing.len());
    let mut chain_of: HashMap<&str, usize> = HashMap::with_capacity(outgoing.len());
    for (index, message) in outgoing.iter().enumerate() {
        let at = *chain_of.entry(&message.key).or_insert(chains.len());
        match chains.get_mut(at) {
            Some(chain) => chain.push(index),
            None => chains.push(vec![index]),
        }
    }
    let last_start = Instant::now() + LAST_START;
    let under_way = chains
        .iter()
        .map(|chain| in_turn(publisher, outgoing, chain, last_start));
    let answered = join_all(under_way).await;
    let mut attempts: Vec<(usize, Attempt)> = answered.into_iter().flatten().collect();
    attempts.sort_unstable_by_key(|(index, _)| *index);
    attempts.into_iter().map(|(_, attempt)| attempt).collect()
}

async fn in_turn(
    publisher: &Publisher,
    outgoing: &[Outgoing],
    chain: &[usize],
    last_start: Instant,
) -> Vec<(usize, Attempt)> {
    let mut attempts = Vec::with_capacity(chain.len());
    let mut missed: Option<String> = None;
    for (at, &index) in chain.iter().enumerate() {
        let Some(message) = outgoing.get(index) else {
            continue;
        };
        if missed.is_none() && 0 < at && last_start < Instant::now() {
            missed = Some("the broker is slow".to_owned());
        }
        let attempt = match &missed {
            Some(reason) => Attempt::Missed {
                uncertain: false,
                reason: reason.clone(),
            },
            None => attempt(publisher, message).await,
        };
        if let Attempt::Missed { reason, .. } = &attempt {
            missed = Some(reason.clone());
        }
        attempts.push((index, attempt));
    }
    attempts
}

async fn attempt(publisher: &Publisher, message: &Outgoing) -> Attempt {
    let missed = |uncertain, error: publisher::Error| Attempt::Missed {
        uncertain,
        reason: error.to_string(),
    };
    match publisher.publish(message.clone()).await {
        Ok(stored) => Attempt::Stored(stored),
        Err(error @ publisher::Error::Refused(_)) => Attempt::Refused(error.to_string()),
        Err(error @ publisher::Error::Unanswered(_)) => missed(true, error),
        Err(error @ (publisher::Error::Away(_) | publisher::Error::Full(_))) => {
            missed(false, error)
        }
    }
}

/// Counts up for as long as it lives.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

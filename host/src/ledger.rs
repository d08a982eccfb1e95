//! Takes what deliveries ended with, gives one commit of position, inbox, state, outbox and dead letters.

pub mod batch;
pub mod claim;
pub mod committer;
pub mod dead_letter;
pub mod entry;
pub mod history;
pub mod inbox;
pub mod message;
pub mod position;
pub mod reason;
pub mod staging;
pub mod state;
pub mod subject;
pub mod waiting;
pub mod writer;

use std::sync::Arc;
use std::time::Duration;

use self::dead_letter::DeadLetter;
use self::inbox::InboxId;
use self::message::Retry;
use self::staging::{Accepted, Settled, Staging};
use self::state::{Reads, StateCache, Writes};
use self::subject::PartitionName;
use crate::clock;
use crate::encode;
use crate::event::Event;
use crate::plugin::store::{Emitted, Timer};

/// What LEDGER keeps of outbox messages and dead letters at least, however short the dedup
/// window is: the streams that source them may be full or late.
pub const LEAST_TTL: Duration = Duration::from_secs(60 * 60);

/// The ledger of one partition, as its calls and its task see it. Nothing here waits for
/// the broker: results are staged, and the partition's task has them committed.
#[derive(Debug)]
pub struct Ledger {
    name: PartitionName,
    staging: Staging,
    /// How long outbox messages and dead letters stay in LEDGER after they were sourced.
    ttl: Duration,
}

/// What a call did, to be committed together.
#[derive(Debug, Default)]
pub struct Effects {
    /// The state that it saw: has to be current still.
    pub reads: Reads,
    /// The state that it writes.
    pub writes: Writes,
    /// The events that it emits, with their subjects.
    pub emitted: Vec<(String, Event)>,
    /// What is to come later.
    pub timers: Vec<Timer>,
}

/// An event whose call returned ok.
#[derive(Debug, Clone, Copy)]
pub struct Closing {
    /// Its place in the event store.
    pub sequence: u64,
    /// What it is finished under.
    pub id: InboxId,
    /// The ledger has its attempts, which have to be taken off.
    pub written_down: bool,
    /// Unix nanoseconds at which the store took it.
    pub stored: u64,
}

impl Ledger {
    /// The ledger of a partition that was just taken over.
    pub fn new(name: PartitionName, staging: Staging, ttl: Duration) -> Self {
        Self { name, staging, ttl }
    }

    /// Whose ledger it is.
    pub fn name(&self) -> &PartitionName {
        &self.name
    }

    /// What waits for a commit.
    pub fn staging(&self) -> &Staging {
        &self.staging
    }

    /// The partition's values.
    pub fn state(&self) -> &Arc<StateCache> {
        self.staging.state()
    }

    /// Whether an event was finished before.
    pub fn is_finished(&self, id: &InboxId) -> bool {
        self.staging.is_finished(id)
    }

    /// Takes the effects of a call that returned ok at `now`, in Unix milliseconds, if they still
    /// hold.
    pub fn accept(&self, closing: Closing, effects: Effects, now: u64) -> Accepted {
        let mut settled = self.closing(closing.sequence, closing.written_down);
        settled.finished = Some(closing.id);
        settled.handled = Some(closing.stored);
        for (key, value) in &effects.writes {
            settled
                .effects
                .push(message::state(&self.name, key, value.clone()));
            settled.state_keys.push(key.clone());
        }
        for (subject, event) in effects.emitted {
            let (headers, payload) = encode::binary(event);
            settled
                .effects
                .push(message::out(&subject, headers, payload, self.ttl));
        }
        for Timer { key, comes } in effects.timers {
            let comes = comes.map(|(due, Emitted { subject, event })| {
                let (headers, payload) = encode::binary(event);
                (due, subject, headers, payload)
            });
            let timer = message::timer(&self.name, &key, comes, self.ttl);
            settled.effects.push(timer);
        }
        let (reads, writes) = (&effects.reads, &effects.writes);
        self.staging.accept(settled, reads, writes, now)
    }

    /// Closes an event that was finished before, or is not to be handled any more.
    pub fn duplicate(&self, sequence: u64, written_down: bool) {
        let settled = self.closing(sequence, written_down);
        self.staging.settle(settled, clock::unix_millis());
    }

    /// Writes an event down that waits: the floor may pass it, and a crash neither resets
    /// nor skips an attempt.
    pub fn write_down(&self, sequence: u64, retry: &Retry) {
        let settled = Settled {
            sequence: Some(sequence),
            effects: vec![message::retry(&self.name, sequence, retry)],
            ..Settled::default()
        };
        self.staging.settle(settled, clock::unix_millis());
    }

    /// Makes an event a dead letter that keeps its key waiting: it stays written down.
    pub fn block(&self, letter: DeadLetter<'_>, id: Option<InboxId>, place: u64, retry: &Retry) {
        let settled = Settled {
            sequence: Some(place),
            finished: id,
            effects: vec![
                letter.message(self.ttl),
                message::retry(&self.name, place, retry),
            ],
            ..Settled::default()
        };
        self.staging.settle(settled, clock::unix_millis());
    }

    /// An operator has decided, by the message `sequence`, about the dead letter in `place`:
    /// it is handled again as `retry` says, or let go of.
    pub fn decide(&self, sequence: Option<u64>, place: u64, retry: Option<&Retry>) {
        let effect = match retry {
            Some(retry) => message::retry(&self.name, place, retry),
            None => message::no_retry(&self.name, place),
        };
        let settled = Settled {
            sequence,
            effects: vec![effect],
            ..Settled::default()
        };
        self.staging.settle(settled, clock::unix_millis());
    }

    /// Closes an event as a dead letter.
    pub fn bury(&self, letter: DeadLetter<'_>, id: Option<InboxId>, written_down: bool) {
        let mut settled = self.closing(letter.sequence, written_down);
        settled.finished = id;
        settled.effects.push(letter.message(self.ttl));
        self.staging.settle(settled, clock::unix_millis());
    }

    fn closing(&self, sequence: u64, written_down: bool) -> Settled {
        let mut settled = Settled {
            sequence: Some(sequence),
            ..Settled::default()
        };
        if written_down {
            settled
                .effects
                .push(message::no_retry(&self.name, sequence));
        }
        settled
    }
}

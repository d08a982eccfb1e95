//! Takes a delivery, gives what a lane holds of it: attempts, key, and the body while there is room.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::clock;
use crate::delivery::{Decoded, Delivery};
use crate::digest::first;
use crate::hex::hex;
use crate::lane::LaneId;
use crate::ledger::dead_letter::{DeadLetter, REPLAY, SUBJECT, is_quiet};
use crate::ledger::inbox::InboxId;
use crate::ledger::message::Retry;
use crate::ledger::reason::Reason;
use crate::plugin::emit::idempotency_key;
use crate::plugin::generation::Generation;
use crate::plugin::instance::Call;
use crate::plugin::runners::Job;
use crate::rollout::Canary;
use crate::route::REPLAY_PREFIX;
use crate::telemetry::traces::Span;

/// One delivery in its lane.
#[derive(Debug)]
pub struct Held {
    /// Its place in the event store, and so in its lane.
    pub sequence: u64,
    /// Where its message stands, when that is a dead letter that was sent again.
    pub replay: Option<u64>,
    /// What keeps it from being run.
    pub hold: Hold,
    /// Attempts that have failed.
    pub attempts: u32,
    /// Those of them that do not count against the event.
    pub forgiven: u32,
    /// Unix milliseconds of the first attempt, or of the arrival.
    pub first: u64,
    /// Unix milliseconds of its arrival in the store, from which its `ttl` counts.
    pub published: u64,
    /// Unix milliseconds of the event's own time, or of its arrival.
    pub event_time: u64,
    /// The partition key.
    pub key: String,
    /// The ledger has its attempts.
    pub written_down: bool,
    /// The message; none when it was let go and has to be read again.
    pub body: Option<Body>,
    /// A build on trial failed it: the build beside it has it from now on.
    pub spared: Option<Spared>,
    /// No attempt is left, for this reason, and a saga is to be told so.
    pub given_up: Option<String>,
}

/// What a build on trial has failed.
#[derive(Debug)]
pub struct Spared {
    /// The build.
    pub canary: Arc<Canary>,
    /// What tells against it, should the other build do better.
    pub error: Option<String>,
}

/// What keeps the head of a lane from being run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Hold {
    /// Nothing.
    #[default]
    Free,
    /// It is a dead letter, and its key waits for an operator.
    Blocked,
    /// It is a dead letter, and the operator has thrown it away.
    Discarded,
}

/// The message of a delivery, and the event in it, if it is one.
#[derive(Debug)]
pub struct Body(Arc<Delivery>);

impl Body {
    /// A message that was read.
    pub fn new(delivery: Arc<Delivery>) -> Self {
        Self(delivery)
    }

    fn decoded(&self) -> Option<&Decoded> {
        self.0.event().ok()
    }

    /// Bytes of the body.
    pub fn size(&self) -> usize {
        self.0.payload.len()
    }

    /// The event's id; empty when the message is no event.
    pub fn event_id(&self) -> &str {
        self.decoded().map_or("", |found| &found.event.id)
    }

    /// What the event belongs to, as its source says.
    pub fn correlation(&self) -> Option<Cow<'_, str>> {
        self.decoded()?.event.text("correlationid")
    }

    /// The dead letter that was sent again, or the replay of history, when this is one.
    fn replay(&self) -> Option<&str> {
        if !self.0.subject.starts_with(REPLAY_PREFIX) {
            return None;
        }
        let header = |name| self.0.headers.as_ref()?.get(name);
        Some(header(REPLAY).map_or("", |value| value.as_str()))
    }

    /// History is only looked at again: nothing of it is to leave.
    fn is_quiet(&self) -> bool {
        self.replay().is_some() && self.0.headers.as_ref().is_some_and(is_quiet)
    }

    /// What the inbox remembers. A replay is not the event's first arrival again, but one
    /// of its own: sending the same dead letter twice has one effect, and so has an event that
    /// one replay of history sends twice.
    fn inbox_id(&self) -> Option<InboxId> {
        let id = self.decoded()?.inbox_id;
        let Some(replay) = self.replay() else {
            return Some(id);
        };
        let mut hash = Sha256::new();
        hash.update("replay");
        hash.update(replay);
        hash.update([0]);
        hash.update(id);
        Some(first(&hash.finalize()))
    }

    fn trace_id(&self) -> String {
        let Some(Decoded { event, inbox_id }) = self.decoded() else {
            return String::new();
        };
        let carried = event.text("traceparent").and_then(|text| {
            let id = text.split('-').nth(1)?;
            let valid = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
            valid.then(|| id.to_owned())
        });
        carried.unwrap_or_else(|| hex(inbox_id))
    }
}

/// The bodies that a partition holds in memory.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bodies {
    /// How many.
    pub count: usize,
    /// And their bytes.
    pub bytes: usize,
}

impl Bodies {
    /// One more.
    pub fn hold(&mut self, body: &Body) {
        self.count += 1;
        self.bytes += body.size();
    }

    /// One of them is not held any more.
    pub fn let_go(&mut self, body: &Body) {
        self.count -= 1;
        self.bytes -= body.size();
    }
}

impl Held {
    /// Failed attempts that count.
    pub fn counted(&self) -> u32 {
        self.attempts.saturating_sub(self.forgiven)
    }

    /// A delivery that was read at `now`.
    pub fn new(sequence: u64, published: u64, now: u64) -> Self {
        Self {
            sequence,
            replay: None,
            hold: Hold::Free,
            attempts: 0,
            forgiven: 0,
            first: now,
            published,
            event_time: published,
            key: String::new(),
            written_down: false,
            body: None,
            spared: None,
            given_up: None,
        }
    }

    /// What an earlier owner has written down of it.
    pub fn resume(&mut self, retry: &Retry) {
        self.attempts = retry.attempts;
        self.first = retry.first;
        self.replay = retry.replay;
        if retry.blocked {
            self.hold = Hold::Blocked;
        }
        self.key.clone_from(&retry.key);
        self.written_down = true;
    }

    /// The event is known now.
    pub fn loaded(&mut self, body: Body) {
        let time = body.decoded();
        let time = time.and_then(|found| found.event.time.as_deref());
        self.event_time = time
            .and_then(clock::parse_rfc3339)
            .unwrap_or(self.published);
        self.body = Some(body);
    }

    /// What is to be written down of it.
    pub fn retry(&self, due: u64) -> Retry {
        Retry {
            attempts: self.counted(),
            due,
            first: self.first,
            key: self.key.clone(),
            blocked: self.hold == Hold::Blocked,
            replay: self.replay,
        }
    }

    /// Where its message stands in the event store.
    pub fn stored_at(&self) -> u64 {
        self.replay.unwrap_or(self.sequence)
    }

    /// The dead letter that it became was sent again, as this message: it takes its place.
    pub fn sent_again(&mut self, sequence: u64, published: u64, body: Body) {
        *self = Self {
            key: std::mem::take(&mut self.key),
            replay: Some(sequence),
            written_down: true,
            ..Self::new(self.sequence, published, clock::unix_millis())
        };
        self.loaded(body);
    }

    /// Whether the event has been in the store for longer than this. A replay is as new as
    /// the operator's wish.
    pub fn is_older_than(&self, ttl: Duration) -> bool {
        let age = clock::unix_millis().saturating_sub(self.published);
        u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX) < age
    }

    /// From the event's own time until now.
    pub fn age(&self) -> Duration {
        Duration::from_millis(clock::unix_millis().saturating_sub(self.event_time))
    }

    /// What it is finished under.
    pub fn inbox_id(&self) -> Option<InboxId> {
        self.body.as_ref()?.inbox_id()
    }

    /// The next call; none while the body is not there.
    pub fn job(&self, lane: LaneId, plugin: &str) -> Option<Job> {
        let body = self.body.as_ref()?;
        let Decoded { event, inbox_id } = body.decoded()?;
        let attempt = self.attempts + 1;
        let mut span = DefaultHasher::new();
        (self.sequence, attempt, plugin).hash(&mut span);
        let span = span.finish().max(1).to_be_bytes();
        let traceparent = ["00-", &body.trace_id(), "-", &hex(&span), "-01"].concat();
        Some(Job {
            ticket: lane,
            inbox: body.inbox_id()?,
            written_down: self.written_down,
            stored: body.0.stored,
            call: Call {
                key: self.key.clone(),
                idempotency_key: idempotency_key(plugin, inbox_id),
                attempt,
                sequence: self.sequence,
                is_replay: body.replay().is_some(),
                traceparent,
                with_effects: !body.is_quiet(),
                hops: None,
                given_up: self.given_up.clone(),
                span: Span::default(),
                event: Arc::clone(event),
            },
        })
    }

    /// Its dead letter.
    pub fn dead_letter<'a>(
        &'a self,
        generation: &'a Generation,
        reason: Reason,
        error: &'a str,
        max_payload: usize,
    ) -> DeadLetter<'a> {
        let delivery = self.body.as_ref().map(|body| &*body.0);
        DeadLetter {
            plugin: &generation.manifest().name,
            version: &generation.manifest().version,
            digest: generation.digest(),
            reason,
            error,
            attempts: self.attempts,
            first: self.first,
            sequence: self.stored_at(),
            blocks: (self.hold == Hold::Blocked).then_some(self.sequence),
            is_quiet: self.body.as_ref().is_some_and(Body::is_quiet),
            subject: delivery.map_or("", original_subject),
            key: &self.key,
            trace_id: self.body.as_ref().map(Body::trace_id).unwrap_or_default(),
            headers: delivery.and_then(|delivery| delivery.headers.as_ref()),
            payload: delivery
                .map(|delivery| delivery.payload.clone())
                .unwrap_or_default(),
            max_payload,
        }
    }
}

/// Where the event was published first.
fn original_subject(delivery: &Delivery) -> &str {
    let header = |name| delivery.headers.as_ref()?.get(name);
    match header(SUBJECT) {
        Some(subject) if delivery.subject.starts_with(REPLAY_PREFIX) => subject.as_str(),
        _ => &delivery.subject,
    }
}

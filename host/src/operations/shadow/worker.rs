//! Takes events one after another, has a shadow's build handle each, compares what it does with what
//! is recorded, and commits in groups.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::stream::Stream;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::compare::{Output, fingerprint, output, places};
use super::recorded::{by_id, by_key};
use super::store::{Group, Store};
use super::{Difference, Error, Kind, Progress, Shadow};
use crate::broker::message;
use crate::delivery::{Decoded, Delivery};
use crate::ledger::inbox::InboxId;
use crate::ledger::reason::Reason;
use crate::ledger::state::StateCache;
use crate::operations::history::Stored;
use crate::operations::positions::{Positions, slot};
use crate::outcome::{self, Outcome};
use crate::ownership::SLOTS;
use crate::plugin::emit::idempotency_key;
use crate::plugin::instance::Call;
use crate::plugin::store::Staged;
use crate::route::{REPLAY_PREFIX, Route, route};
use crate::telemetry::traces::Span;

/// Events that are committed at once,
const GROUP: usize = 1_000;
/// and bytes of what they write,
const GROUP_BYTES: usize = 8 << 20;
/// and how long the first of them waits for that.
const GROUP_TIME: Duration = Duration::from_secs(1);
/// A call that the host could not make is tried so often.
const AGAIN: u32 = 5;

/// How an event ended.
struct Ended {
    /// `done`, or the reason of a dead letter,
    how: &'static str,
    /// and what was wrong.
    error: String,
    staged: Staged,
}

/// What the thread that calls has.
pub(super) struct Worker {
    context: Context,
    events: Stream,
    runtime: Handle,
    shadow: Shadow,
    /// One for each partition: a plug-in's partitions do not share what they keep.
    states: Vec<Arc<StateCache>>,
    /// How far the plug-in is.
    positions: Positions,
    progress: Progress,
    group: Group,
    /// Partitions and keys of the group, each as often as it was written.
    written: Vec<(usize, String)>,
    bytes: usize,
    /// Events of the group.
    count: usize,
    begun: Instant,
}

impl Worker {
    pub(super) fn new(
        context: &Context,
        events: &Stream,
        shadow: Shadow,
        progress: Progress,
    ) -> Self {
        let partitions = usize::from(shadow.generation.manifest().delivery.partitions);
        let states = (0..partitions).map(|partition| {
            let store = Arc::clone(&shadow.store);
            Arc::new(StateCache::in_store(move |key| {
                let value = store.state(&kept_at(partition, key));
                value.map_err(|error| error.to_string())
            }))
        });
        Self {
            context: context.clone(),
            events: events.clone(),
            runtime: Handle::current(),
            states: states.collect(),
            positions: shadow.scope.positions(),
            shadow,
            progress,
            group: Group::default(),
            written: Vec::new(),
            bytes: 0,
            count: 0,
            begun: Instant::now(),
        }
    }

    pub(super) fn work(
        &mut self,
        mut waiting: mpsc::Receiver<Vec<Delivery>>,
        said: &watch::Sender<u64>,
    ) -> Result<(Arc<Store>, Progress), Error> {
        let mut done = 0;
        while let Some(batch) = waiting.blocking_recv() {
            for delivery in batch {
                self.take(&delivery)?;
                done += 1;
                let is_late = GROUP_TIME <= self.begun.elapsed();
                if GROUP <= self.count || GROUP_BYTES <= self.bytes || is_late {
                    self.commit()?;
                }
            }
            said.send_replace(done);
        }
        self.commit()?;
        Ok((Arc::clone(&self.shadow.store), self.progress.clone()))
    }

    fn commit(&mut self) -> Result<(), Error> {
        let group = std::mem::take(&mut self.group);
        self.shadow.store.commit(&group, &self.progress)?;
        let written = std::mem::take(&mut self.written);
        for (partition, key) in &written {
            if let Some(state) = self.states.get(*partition) {
                state.committed(std::iter::once(key.as_str()));
            }
        }
        (self.bytes, self.count, self.begun) = (0, 0, Instant::now());
        Ok(())
    }

    /// One event has its turn.
    fn take(&mut self, delivery: &Delivery) -> Result<(), Error> {
        self.count += 1;
        self.progress.after = delivery.sequence;
        if delivery.is_envelope || delivery.subject.starts_with(REPLAY_PREFIX) {
            return Ok(());
        }
        let report = &mut self.progress.report;
        let Ok(Decoded { event, inbox_id }) = delivery.event() else {
            report.undecodable += 1;
            return Ok(());
        };
        let manifest = self.shadow.generation.manifest();
        let Route::Deliver { key } = route(manifest, &delivery.subject, event) else {
            return Ok(());
        };
        if !self.shadow.query.is_met_by_event(&delivery.subject, event) {
            return Ok(());
        }
        let is_read = self.positions.passed(&delivery.subject, delivery.sequence);
        if !is_read || self.shadow.scope.is_unhandled(delivery.sequence, &event.id) {
            report.unhandled += 1;
            return Ok(());
        }
        if self.came_before(delivery, inbox_id)? {
            self.progress.report.duplicates += 1;
            return Ok(());
        }
        self.group.seen.insert(*inbox_id, delivery.published());
        let plugin = &self.shadow.definition.plugin;
        let mut call = Call {
            event: Arc::clone(event),
            key,
            idempotency_key: idempotency_key(plugin, inbox_id),
            attempt: 1,
            sequence: delivery.sequence,
            is_replay: true,
            traceparent: String::new(),
            with_effects: self.shadow.definition.effects,
            hops: None,
            given_up: None,
            span: Span::default(),
        };
        // The trace is the event's, and the same each time.
        call.traceparent = format!("00-{}-{:016x}-01", call.idempotency_key, delivery.sequence);
        let partition = self.partition(&delivery.subject);
        let ended = self.call(&mut call, partition)?;
        self.progress.report.events += 1;
        self.compare(&call, &ended)
    }

    fn came_before(&self, delivery: &Delivery, id: &InboxId) -> Result<bool, Error> {
        let before = match self.group.seen.get(id) {
            Some(before) => Some(*before),
            None => self.shadow.store.seen(id)?,
        };
        let window = u64::try_from(self.shadow.dedup_window.as_millis()).unwrap_or(u64::MAX);
        let is_new = |before: u64| before.saturating_add(window) < delivery.published();
        Ok(before.is_some_and(|before| !is_new(before)))
    }

    /// Whose share of the slots a subject is in.
    fn partition(&self, subject: &str) -> usize {
        let width = usize::from(SLOTS) / self.states.len().max(1);
        slot(subject).map_or(0, |slot| usize::from(slot) / width.max(1))
    }

    /// Attempts, without any time between them, until it ends.
    fn call(&mut self, call: &mut Call, partition: usize) -> Result<Ended, Error> {
        let state = self.states.get(partition).or(self.states.first()).cloned();
        let state = state.unwrap_or_else(|| Arc::new(StateCache::in_memory()));
        loop {
            let returned = self.shadow.generation.call(call, &state);
            let outcome = match returned.result {
                Ok(()) => Outcome::Done,
                Err(failure) => outcome::of(failure),
            };
            let (how, error) = match outcome {
                Outcome::Done | Outcome::Duplicate => {
                    let staged = returned.staged;
                    state.accept(&staged.reads, &staged.writes);
                    self.keep(partition, &staged);
                    return Ok(Ended {
                        how: "done",
                        error: String::new(),
                        staged,
                    });
                }
                Outcome::Retry { reason, error, .. } if self.attempts(reason) <= call.attempt => {
                    (reason, error)
                }
                Outcome::Again { error } if AGAIN <= call.attempt => {
                    return Err(Error::Host {
                        sequence: call.sequence,
                        reason: error,
                    });
                }
                Outcome::Retry { .. } | Outcome::Again { .. } => {
                    call.attempt += 1;
                    continue;
                }
                Outcome::Dead { reason, error } => (reason, error),
            };
            return Ok(Ended {
                how: how.as_str(),
                error,
                staged: Staged::default(),
            });
        }
    }

    /// What did not come back in time does not the next time either, and each takes that time.
    fn attempts(&self, reason: Reason) -> u32 {
        if reason == Reason::Timeout {
            return 1;
        }
        self.shadow.generation.manifest().retry.max_attempts
    }

    /// What was written goes with the group.
    fn keep(&mut self, partition: usize, staged: &Staged) {
        for (key, value) in &staged.writes {
            self.bytes += key.len() + value.as_ref().map_or(0, bytes::Bytes::len);
            self.written.push((partition, key.clone()));
            let place = kept_at(partition, key);
            self.group.state.insert(place, value.clone());
        }
    }

    fn compare(&mut self, call: &Call, ended: &Ended) -> Result<(), Error> {
        let event = &call.event;
        let letter = self.shadow.scope.letters.get(&event.id);
        let then = letter.map_or("done", String::as_str).to_owned();
        let store = &self.shadow.store;
        let mut recorded = store.recorded(by_key(&call.idempotency_key))?;
        recorded.extend(store.recorded(by_id(&event.id))?);
        recorded.retain(|(place, _)| call.sequence < *place);
        recorded.sort_unstable();
        let ignored = &self.shadow.definition.ignored;
        // What was emitted again, by a replay with effects or without a ledger, is the same event.
        if !ignored.iter().any(|pointer| pointer == "/event/id") {
            let mut seen = HashSet::new();
            recorded.retain(|(_, fingerprint)| seen.insert(*fingerprint));
        }
        let emitted = ended.staged.emitted.iter();
        let now: Vec<Output> = emitted
            .map(|emitted| output(&emitted.subject, &emitted.event, ignored))
            .collect();
        let report = &mut self.progress.report;
        report.recorded += recorded.len() as u64;
        report.emitted += now.len() as u64;
        if recorded.iter().any(|(_, fingerprint)| *fingerprint == 0) {
            report.redacted += 1;
            return Ok(());
        }
        let fingerprints = now.iter().map(fingerprint);
        let is_same = then == ended.how && fingerprints.eq(recorded.iter().map(|(_, one)| *one));
        if is_same {
            report.same += 1;
            return Ok(());
        }
        let kind = match (recorded.is_empty(), now.is_empty()) {
            _ if then != ended.how => Kind::Outcome,
            (true, _) => Kind::EmittedNow,
            (_, true) => Kind::EmittedThen,
            (false, false) => Kind::Changed,
        };
        *report.different.entry(kind).or_default() += 1;
        let was: Vec<Output> = self.outputs(&recorded)?;
        let difference = difference(call, kind, then, ended, &was, &now);
        self.group.differences.push(difference);
        Ok(())
    }

    /// What is recorded, in whole.
    fn outputs(&self, recorded: &[(u64, u128)]) -> Result<Vec<Output>, Error> {
        let mut outputs = Vec::with_capacity(recorded.len());
        for (place, _) in recorded {
            let read = async {
                let Some(message) = message(&self.events, *place).await? else {
                    return Ok(None);
                };
                Ok::<_, Error>(Some(Stored::read(&self.context, message).await?))
            };
            // It left the store meanwhile, and nothing can be said of it.
            let Some(stored) = self.runtime.block_on(read)? else {
                continue;
            };
            if let Ok(event) = &stored.event {
                let ignored = &self.shadow.definition.ignored;
                outputs.push(output(&stored.subject, event, ignored));
            }
        }
        Ok(outputs)
    }
}

/// Where a value of a partition stands in the file.
fn kept_at(partition: usize, key: &str) -> String {
    format!("{partition}/{key}")
}

fn difference(
    call: &Call,
    kind: Kind,
    then: String,
    ended: &Ended,
    was: &[Output],
    now: &[Output],
) -> Difference {
    let event = &call.event;
    Difference {
        sequence: call.sequence,
        id: event.id.clone(),
        event_type: event.event_type.clone(),
        key: call.key.clone(),
        kind,
        then,
        now: ended.how.to_owned(),
        error: ended.error.clone(),
        places: places(was, now),
    }
}

//! Takes events one after another, has the build take each into the rows, commits in groups.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::store::{self, Change, Group, Keep, Refused, Standing};
use super::version::Version;
use crate::backoff::next_delay;
use crate::clock;
use crate::cursor::Read;
use crate::delivery::{Decoded, Delivery};
use crate::ledger::inbox::InboxId;
use crate::ledger::reason::Reason;
use crate::ledger::state::StateCache;
use crate::metrics::{PluginMetrics, ProjectionMetrics};
use crate::outcome::{self, Outcome};
use crate::plugin::emit::idempotency_key;
use crate::plugin::generation::Generation;
use crate::plugin::instance::Call;
use crate::plugin::store::Staged;
use crate::route::{REPLAY_PREFIX, Route, route};
use crate::telemetry::traces::Span;

/// Events that are committed at once, and that are handed over at once,
pub(super) const GROUP: usize = 1_000;
/// and bytes of what they write,
const GROUP_BYTES: usize = 8 << 20;
/// and how long the first of them waits for that,
const GROUP_TIME: Duration = Duration::from_millis(50);
/// and among so many that are old anyway: the more go together, the fewer pages each writes.
const GROUP_TIME_BEHIND: Duration = Duration::from_secs(1);
/// After the host could not do its part.
const AGAIN: Duration = Duration::from_millis(100);
const AGAIN_LONGEST: Duration = Duration::from_secs(5);

/// Why it stopped.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stopped {
    /// It was told to.
    #[error("it was told to")]
    Told,
    /// The file cannot be used.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// What the thread that calls has.
pub(super) struct Worker {
    build: Arc<Generation>,
    version: Arc<Version>,
    state: Arc<StateCache>,
    runtime: Handle,
    stop: CancellationToken,
    dedup_window: Duration,
    metrics: (PluginMetrics, ProjectionMetrics),
    standing: Standing,
    /// Events of this batch that were handled before, or have been since, and when the store took
    /// each.
    seen: BTreeMap<InboxId, u64>,
    group: Group,
    /// Events of the group,
    count: usize,
    /// bytes that they write,
    bytes: usize,
    /// and rows, each as often as it was written.
    written: Vec<String>,
    begun: Instant,
}

impl Worker {
    pub(super) fn new(
        build: &Arc<Generation>,
        version: &Arc<Version>,
        dedup_window: Duration,
        metrics: (PluginMetrics, ProjectionMetrics),
        stop: CancellationToken,
    ) -> Result<Self, store::Error> {
        let store = Arc::clone(&version.store);
        let state = StateCache::in_store(move |place| {
            let row = store.row(place);
            row.map_err(|error| error.to_string())
        });
        let standing = version.store.standing()?;
        // What was committed when nobody heard of it.
        version.moved(standing);
        Ok(Self {
            build: Arc::clone(build),
            version: Arc::clone(version),
            state: Arc::new(state),
            runtime: Handle::current(),
            stop,
            dedup_window,
            metrics,
            standing,
            seen: BTreeMap::new(),
            group: Group::default(),
            count: 0,
            bytes: 0,
            written: Vec::new(),
            begun: Instant::now(),
        })
    }

    /// Up to where it is.
    pub(super) fn position(&self) -> u64 {
        self.standing.position
    }

    /// Has events take their turn, and commits. Blocks for as long as that takes. What it does not
    /// get to is read again from where the file stands.
    pub(super) fn work(&mut self, reads: Vec<Read>) -> Result<(), Stopped> {
        let is_behind = GROUP <= reads.len();
        let patience = match is_behind {
            true => GROUP_TIME_BEHIND,
            false => GROUP_TIME,
        };
        self.begun = Instant::now();
        self.look_back(&reads)?;
        for read in reads {
            if self.stop.is_cancelled() {
                self.commit()?;
                return Err(Stopped::Told);
            }
            match read {
                Read::Delivery(delivery) => self.take(&delivery)?,
                Read::Lost { from, to } => self.lose(from, to),
            }
            let is_late = patience <= self.begun.elapsed();
            if GROUP <= self.count || GROUP_BYTES <= self.bytes || is_late {
                self.commit()?;
            }
        }
        Ok(self.commit()?)
    }

    /// There was nothing for it up to this place.
    pub(super) fn move_up(&mut self, sequence: u64) -> Result<(), store::Error> {
        if self.standing.position < sequence {
            self.group.after = sequence;
            self.count += 1;
            self.commit()?;
        }
        Ok(())
    }

    /// Lets go of what is old.
    pub(super) fn keep_house(&self) -> Result<(), store::Error> {
        let keep = Keep {
            now: clock::unix_millis(),
            ids: self.dedup_window,
        };
        while self.version.store.keep_house(keep)? {
            if self.stop.is_cancelled() {
                break;
            }
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), store::Error> {
        let group = std::mem::take(&mut self.group);
        let begun = Instant::now();
        if 0 < self.count {
            let now = self.version.store.commit(&self.standing, &group)?;
            self.metrics.1.committed(&group, begun.elapsed());
            self.standing = now;
            let written = std::mem::take(&mut self.written);
            self.state.committed(written.iter().map(String::as_str));
            self.version.moved(now);
        }
        (self.bytes, self.count, self.begun) = (0, 0, Instant::now());
        Ok(())
    }

    /// Events that left the store unread are not passed in silence.
    fn lose(&mut self, from: u64, to: u64) {
        tracing::error!(
            projection = %self.build.manifest().name, from, to,
            "the events left the store before the projection had read them; those of its subjects \
             among them are missing from its rows: events.max_age is shorter than its backlog"
        );
        self.count += 1;
        self.group.after = to;
        self.group.lost += to.saturating_sub(from).saturating_add(1);
    }

    /// One event has its turn.
    fn take(&mut self, delivery: &Delivery) -> Result<(), Stopped> {
        if delivery.sequence <= self.standing.position {
            return Ok(());
        }

        let is_for_others = delivery.is_envelope || delivery.subject.starts_with(REPLAY_PREFIX);
        let decoded = match delivery.event() {
            _ if is_for_others => {
                self.passed(delivery);
                return Ok(());
            }
            Ok(decoded) => decoded,
            Err(error) => {
                self.metrics.0.delivered.inc();
                self.refuse(delivery, None, Reason::Undecodable, error.to_string());
                self.passed(delivery);
                return Ok(());
            }
        };
        let Decoded { event, inbox_id } = decoded;
        let key = match route(self.build.manifest(), &delivery.subject, event) {
            Route::Deliver { key } => key,
            // What goes round does not go on from here.
            Route::Loop { .. } => event.partition_key().to_owned(),
            Route::Skip => {
                self.passed(delivery);
                return Ok(());
            }
        };
        self.metrics.0.delivered.inc();
        if self.came_before(delivery, inbox_id) {
            self.metrics.0.duplicate.inc();
            self.passed(delivery);
            return Ok(());
        }
        let mut call = Call {
            event: Arc::clone(event),
            key,
            idempotency_key: idempotency_key(&self.build.manifest().name, inbox_id),
            attempt: 1,
            sequence: delivery.sequence,
            is_replay: false,
            traceparent: String::new(),
            with_effects: false,
            hops: None,
            given_up: None,
            span: Span::default(),
        };
        // The trace is the event's, and the same each time.
        call.traceparent = format!("00-{}-{:016x}-01", call.idempotency_key, delivery.sequence);
        if self.call(delivery, &mut call)? {
            self.group.seen.insert(*inbox_id, delivery.published());
            self.seen.insert(*inbox_id, delivery.published());
        }
        self.passed(delivery);
        Ok(())
    }

    fn passed(&mut self, delivery: &Delivery) {
        self.count += 1;
        self.group.after = delivery.sequence;
        self.group.at = delivery.published();
    }

    /// Asks the store once which of these it has handled before.
    fn look_back(&mut self, reads: &[Read]) -> Result<(), store::Error> {
        let ids = reads.iter().filter_map(|read| match read {
            Read::Delivery(delivery) if !delivery.is_envelope => delivery.event().ok(),
            Read::Delivery(_) | Read::Lost { .. } => None,
        });
        let ids: Vec<InboxId> = ids.map(|decoded| decoded.inbox_id).collect();
        self.seen = self.version.store.seen(&ids)?;
        Ok(())
    }

    fn came_before(&self, delivery: &Delivery, id: &InboxId) -> bool {
        let window = u64::try_from(self.dedup_window.as_millis()).unwrap_or(u64::MAX);
        let is_new = |before: u64| before.saturating_add(window) < delivery.published();
        self.seen.get(id).is_some_and(|before| !is_new(*before))
    }

    /// Attempts, until it ends: whether it was handled. The events behind it wait: their order
    /// matters.
    fn call(&mut self, delivery: &Delivery, call: &mut Call) -> Result<bool, Stopped> {
        let mut again = AGAIN;
        loop {
            let returned = self.build.call(call, &self.state);
            let (metrics, _) = &self.metrics;
            metrics.called(returned.duration, returned.memory);
            let outcome = match returned.result {
                Ok(()) => Outcome::Done,
                Err(failure) => outcome::of(failure),
            };
            let (reason, error, delay) = match outcome {
                Outcome::Done | Outcome::Duplicate => {
                    self.keep(delivery, &returned.staged);
                    return Ok(true);
                }
                Outcome::Dead { reason, error } => (reason, error, None),
                Outcome::Retry {
                    after,
                    reason,
                    error,
                } => {
                    let policy = &self.build.manifest().retry;
                    let delay = next_delay(policy, call.attempt, after, rand::random());
                    (reason, error, delay)
                }
                Outcome::Again { error } => {
                    let sequence = call.sequence;
                    tracing::warn!(
                        projection = %self.build.manifest().name, sequence, error,
                        "this host cannot do its part; the event is tried again"
                    );
                    self.wait(again, error)?;
                    again = (again * 2).min(AGAIN_LONGEST);
                    continue;
                }
            };
            match delay {
                None => {
                    self.refuse(delivery, Some(call), reason, error);
                    return Ok(false);
                }
                Some(delay) => {
                    metrics.retry.inc();
                    tracing::warn!(
                        projection = %self.build.manifest().name, sequence = call.sequence,
                        attempt = call.attempt, error, "the event is tried again in {delay:?}"
                    );
                    let held = format!("event {} is tried again: {error}", call.sequence);
                    self.wait(delay, held)?;
                    call.attempt = call.attempt.saturating_add(1);
                }
            }
        }
    }

    /// What is done is committed first: nobody waits for it meanwhile.
    fn wait(&mut self, delay: Duration, why: String) -> Result<(), Stopped> {
        self.commit()?;
        self.version.stands(Some(why));
        let stop = self.stop.clone();
        let is_told = self.runtime.block_on(async {
            tokio::select! {
                () = sleep(delay) => false,
                () = stop.cancelled() => true,
            }
        });
        self.version.stands(None);
        match is_told {
            true => Err(Stopped::Told),
            false => Ok(()),
        }
    }

    /// What was written goes with the group.
    fn keep(&mut self, delivery: &Delivery, staged: &Staged) {
        self.state.accept(&staged.reads, &staged.writes);
        self.metrics.0.done.inc();
        self.group.applied += 1;
        for (place, row) in &staged.writes {
            self.bytes += place.len() + row.as_ref().map_or(0, bytes::Bytes::len);
            self.written.push(place.clone());
            self.group.changes.push(Change {
                place: place.clone(),
                sequence: delivery.sequence,
                at: delivery.published(),
                row: row.clone(),
            });
        }
    }

    fn refuse(&mut self, delivery: &Delivery, call: Option<&Call>, reason: Reason, error: String) {
        let event = call.map(|call| &call.event);
        tracing::warn!(
            projection = %self.build.manifest().name, sequence = delivery.sequence,
            reason = reason.as_str(), error,
            "the event was refused: its rows are as if it had never come"
        );
        self.group.refused.push(Refused {
            sequence: delivery.sequence,
            id: event.map(|event| event.id.clone()).unwrap_or_default(),
            event_type: event
                .map(|event| event.event_type.clone())
                .unwrap_or_default(),
            reason: reason.as_str().to_owned(),
            error,
            stored: clock::rfc3339(delivery.published()),
        });
    }
}

//! Takes a call, gives the answer of one live instance of a component, and what it staged.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use wasmtime::Store;

use super::bindings::sluicegate::plugin::types;
use super::cores::{Computed, Turn};
use super::guest::Guest;
use super::steps::{Answer, Asked};
use super::store::{CallContext, Meter, NEXT_TICK, Staged, StoreData};
use crate::event::Event;
use crate::ledger::state::StateCache;
use crate::telemetry::traces::Span;

/// One call.
#[derive(Debug, Clone)]
pub struct Call {
    /// The event.
    pub event: Arc<Event>,
    /// Its partition key.
    pub key: String,
    /// Stable across attempts, hosts and replays.
    pub idempotency_key: String,
    /// 1 for the first.
    pub attempt: u32,
    /// In the event store.
    pub sequence: u64,
    /// From the dead letters or the history.
    pub is_replay: bool,
    /// W3C trace context.
    pub traceparent: String,
    /// Whether its requests leave, and what it emits: not those of history that is only looked
    /// at again.
    pub with_effects: bool,
    /// Plug-ins that what it emits has passed, where that is not said by the event.
    pub hops: Option<i32>,
    /// No attempt is left, for this reason: a saga is told so.
    pub given_up: Option<String>,
    /// The span of this attempt, from its begin on.
    pub span: Span,
}

/// A live instance and its store.
pub struct Instance {
    store: Store<StoreData>,
    guest: Guest,
    calls: u32,
    _alive: Alive,
}

/// Counts an instance for as long as it is in memory.
struct Alive(Arc<AtomicUsize>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Instance {
    /// One that is counted in `alive`.
    pub(super) fn new(store: Store<StoreData>, guest: Guest, alive: &Arc<AtomicUsize>) -> Self {
        alive.fetch_add(1, Ordering::Relaxed);
        Self {
            _alive: Alive(Arc::clone(alive)),
            store,
            guest,
            calls: 0,
        }
    }

    /// How often it was called.
    pub(super) fn calls(&self) -> u32 {
        self.calls
    }

    pub(super) fn meter(&self) -> &Meter {
        &self.store.data().meter
    }

    /// Whether the call that ended was a long one.
    pub(super) fn was_long(&self) -> bool {
        self.store.data().computed.is_long()
    }

    /// The core that it computes on is not its own any more.
    pub(super) fn give_way(&mut self) {
        self.store.data_mut().turn = None;
    }

    /// `turn` is that of a call that is taken to be a long one.
    pub(super) fn begin(
        &mut self,
        call: &Call,
        state: &Arc<StateCache>,
        deadline: Instant,
        turn: Option<Turn>,
    ) {
        let data = self.store.data_mut();
        data.staged = Staged::default();
        data.meter.refused = None;
        data.deadline = deadline;
        data.requests
            .begin(deadline, call.span.clone(), call.with_effects);
        data.lines
            .begin(Some(Arc::clone(&call.event)), call.span.clone());
        data.call = Some(CallContext {
            event: Arc::clone(&call.event),
            key: call.key.clone(),
            idempotency_key: call.idempotency_key.clone(),
            state: Arc::clone(state),
            hops: call.hops,
            span: call.span.clone(),
        });
        data.computed = Computed::default();
        data.turn = turn;
        self.store.set_epoch_deadline(NEXT_TICK);
        self.calls += 1;
    }

    pub(super) fn handle(
        &mut self,
        call: &Call,
        timeout: Duration,
    ) -> wasmtime::Result<Result<(), types::Failure>> {
        self.guest.handle(&mut self.store, call, timeout)
    }

    /// Runs a step of a saga, or a compensation.
    pub(super) fn step(
        &mut self,
        call: &Call,
        asked: &Asked<'_>,
        timeout: Duration,
    ) -> wasmtime::Result<Result<Answer, types::Failure>> {
        self.guest.step(&mut self.store, call, (asked, timeout))
    }

    pub(super) fn end(&mut self) -> (Staged, usize) {
        let data = self.store.data_mut();
        data.call = None;
        data.requests.end();
        (data.take_staged(), data.meter.used())
    }
}

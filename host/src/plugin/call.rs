//! Takes a generation and an event, gives the guest's answer and what it staged.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sluicegate_saga::Build;
use tokio::time::Instant;
use wasmtime::{Store, Trap};
use wasmtime_wasi::{I32Exit, ResourceTableError};

use super::bindings::sluicegate::plugin::types;
use super::generation::Generation;
use super::instance::{Call, Instance};
use super::lines::cut;
use super::store::{Abort, MAX_MESSAGE, Meter, NEXT_TICK, Staged, StoreData};
use super::wasi::MAX_HANDLES;
use crate::ledger::state::StateCache;
use crate::manifest::Isolation;

/// An instance is retired after this many calls, so that what it leaks stays small.
const MAX_CALLS: u32 = 10_000;

/// What came back.
#[derive(Debug)]
pub struct Returned {
    /// The guest's answer, or what ended the call.
    pub result: Result<(), Failure>,
    /// What it staged, whatever the answer.
    pub staged: Staged,
    /// Linear memory of the instance, in bytes.
    pub memory: usize,
    /// How long the call took, with the start of the instance where it was a new one.
    pub duration: Duration,
}

impl Returned {
    /// Of a call that was not made.
    fn refused(failure: Failure, duration: Duration) -> Self {
        Self {
            result: Err(failure),
            staged: Staged::default(),
            memory: 0,
            duration,
        }
    }
}

/// Why a call did not end well.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The guest asks for another attempt.
    #[error("{message}")]
    Retry {
        /// Not before.
        after: Option<Duration>,
        /// The guest's words.
        message: String,
    },
    /// The guest says that no attempt can help.
    #[error("{0}")]
    Reject(String),
    /// The guest broke.
    #[error("{0}")]
    Trap(String),
    /// The guest did not come back in time.
    #[error("the call took longer than {0:?}")]
    Timeout(Duration),
    /// The guest wanted more memory than it may have.
    #[error(
        "the plug-in needs {wanted} bytes of memory and limits.memory allows {allowed}; where the \
         event is not to blame, raise `memory` in [limits]"
    )]
    Memory {
        /// Bytes that it asked for.
        wanted: usize,
        /// Bytes that it may have.
        allowed: usize,
    },
    /// The guest used more of something else than it may.
    #[error("{0}")]
    Limit(String),
    /// The guest used a capability that it was not granted.
    #[error("{0}")]
    Forbidden(String),
    /// The event's body is not one that the guest is to be called with.
    #[error("{0}")]
    Misfit(String),
    /// The host could not do its part; not the guest's fault.
    #[error("{0}")]
    Host(String),
    /// The saga began with another build, and is to end on it.
    #[error("the saga is one of version {}, {}", .0.version, .0.digest)]
    Build(Build),
}

impl Generation {
    /// Runs the guest on one event, on this thread. What becomes of a saga is decided here.
    pub fn call(&self, call: &Call, state: &Arc<StateCache>) -> Returned {
        match self.as_read(&call.event) {
            Ok(None) => self.called(call, state),
            Ok(Some(event)) => {
                let call = Call {
                    event,
                    ..call.clone()
                };
                self.called(&call, state)
            }
            Err(failure) => Returned::refused(failure, Duration::ZERO),
        }
    }

    fn called(&self, call: &Call, state: &Arc<StateCache>) -> Returned {
        if self.manifest().saga.is_some() {
            return self.move_saga(call, state);
        }
        let run = |instance: &mut Instance, timeout| instance.handle(call, timeout);
        self.enter(call, state, run).0
    }

    /// Runs the guest by one of its exports. What it gives is there where the result is well.
    pub(super) fn enter<T>(
        &self,
        call: &Call,
        state: &Arc<StateCache>,
        run: impl FnOnce(&mut Instance, Duration) -> wasmtime::Result<Result<T, types::Failure>>,
    ) -> (Returned, Option<T>) {
        let started = Instant::now();
        let timeout = self.manifest().delivery.timeout;
        let deadline = started + timeout;
        let refused = |failure| (Returned::refused(failure, started.elapsed()), None);
        let Some(linked) = self.linked() else {
            return refused(no_guest());
        };
        let mut turn = None;
        if self.is_long().load(Ordering::Relaxed) {
            turn = linked.cores().wait(deadline);
            if turn.is_none() {
                return refused(Failure::Timeout(timeout));
            }
        }
        let found = linked.take_warm();
        let mut instance = match found.map_or_else(|| self.start(deadline), Ok) {
            Ok(instance) => instance,
            Err(failure) => return refused(failure),
        };
        instance.begin(call, state, deadline, turn);
        let answer = run(&mut instance, timeout);
        let (staged, memory) = instance.end();
        let was_long = instance.was_long();
        self.is_long().store(was_long, Ordering::Relaxed);
        let ended = Instant::now();
        if !was_long {
            linked.cores().short(ended);
        }
        let (result, given) = match answer {
            Ok(Ok(given)) => (Ok(()), Some(given)),
            Ok(Err(failure)) => (Err(guest_failure(failure)), None),
            Err(error) => {
                let meter = instance.meter();
                (Err(failure(&staged, meter, &error, timeout)), None)
            }
        };
        let broken = matches!(
            result,
            Err(Failure::Trap(_)
                | Failure::Timeout(_)
                | Failure::Memory { .. }
                | Failure::Limit(_)
                | Failure::Forbidden(_)
                | Failure::Host(_))
        );
        let grown = memory > self.manifest().limits.memory / 4 * 3;
        let warm = self.manifest().limits.isolation == Isolation::Warm;
        if warm && !broken && !grown && instance.calls() < MAX_CALLS {
            instance.give_way();
            linked.put_back(instance);
        }
        if 0 < staged.said.suppressed {
            tracing::warn!(
                plugin = %self.manifest().name, suppressed = staged.said.suppressed,
                "the plug-in logged more lines than one call may"
            );
        }
        let returned = Returned {
            result,
            staged,
            memory,
            duration: ended - started,
        };
        (returned, given)
    }

    /// A new instance; its start function runs within the call's deadline.
    pub(super) fn start(&self, deadline: Instant) -> Result<Instance, Failure> {
        let linked = self.linked().ok_or_else(no_guest)?;
        let (store, guest) = self.started(deadline, |store| {
            let instance = linked.pre().instantiate(&mut *store)?;
            linked.entry().of(store, &instance)
        })?;
        Ok(Instance::new(store, guest, self.alive()))
    }

    /// A new store, and what is instantiated in it.
    pub(super) fn started<T>(
        &self,
        deadline: Instant,
        instantiate: impl FnOnce(&mut Store<StoreData>) -> wasmtime::Result<T>,
    ) -> Result<(Store<StoreData>, T), Failure> {
        let timeout = deadline.saturating_duration_since(Instant::now());
        let mut store = self.linked().ok_or_else(no_guest)?.store(deadline);
        store.limiter(|data| &mut data.meter);
        store.epoch_deadline_callback(|mut store| Ok(store.data_mut().tick()));
        store.set_epoch_deadline(NEXT_TICK);
        match instantiate(&mut store) {
            Ok(guest) => Ok((store, guest)),
            Err(error) => {
                let staged = store.data_mut().take_staged();
                Err(failure(&staged, &store.data().meter, &error, timeout))
            }
        }
    }
}

/// A bridge is not called: its runners hand the event to its sink.
fn no_guest() -> Failure {
    Failure::Host("a bridge has no component to call".to_owned())
}

fn guest_failure(failure: types::Failure) -> Failure {
    match failure {
        types::Failure::Retry(request) => Failure::Retry {
            after: request.after_ms.map(Duration::from_millis),
            message: cut(request.message, MAX_MESSAGE),
        },
        types::Failure::Reject(message) => Failure::Reject(cut(message, MAX_MESSAGE)),
    }
}

/// What ended a call that did not come back with an answer.
pub(super) fn failure(
    staged: &Staged,
    meter: &Meter,
    error: &wasmtime::Error,
    timeout: Duration,
) -> Failure {
    if let Some(abort) = error.downcast_ref::<Abort>() {
        return match abort {
            Abort::Limit(text) => Failure::Limit(text.clone()),
            Abort::Forbidden(text) => Failure::Forbidden(text.clone()),
            Abort::Unavailable(error) => Failure::Host(error.to_string()),
            Abort::Deadline => Failure::Timeout(timeout),
        };
    }
    if let Some(&Trap::Interrupt) = error.downcast_ref::<Trap>() {
        return Failure::Timeout(timeout);
    }
    if let Some(wanted) = meter.refused {
        return Failure::Memory {
            wanted,
            allowed: meter.limit(),
        };
    }
    if error.is::<wasmtime::PoolConcurrencyLimitError>() {
        return Failure::Host("no instance is free in the pool".to_owned());
    }
    // All that WASI tells of an exit is whether it was meant as a success.
    let mut text = match error.downcast_ref() {
        Some(I32Exit(0)) => {
            "the plug-in called exit, with success; only a return from `handle` is one".to_owned()
        }
        Some(I32Exit(_)) => "the plug-in called exit, with a failure".to_owned(),
        None if matches!(error.downcast_ref(), Some(ResourceTableError::Full)) => {
            format!("the instance holds {MAX_HANDLES} handles of WASI, and more are not allowed")
        }
        None => error.root_cause().to_string(),
    };
    // The last error line of the guest is the panic message that its hook wrote; the
    // traceback of an exception stands on standard error.
    let said = &staged.said;
    let lines = said.lines.iter().rev();
    let mut errors = lines.filter(|(level, _)| *level == tracing::Level::ERROR);
    let logged = errors.next().map_or("", |(_, line)| line.as_str());
    for words in [logged, said.last_words.as_str()] {
        if !words.is_empty() {
            text.push_str(": ");
            text.push_str(words);
        }
    }
    Failure::Trap(text)
}

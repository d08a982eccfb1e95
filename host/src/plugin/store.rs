//! Takes one call's context, gives the data behind a wasmtime store: what the imports act on, and its limits.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::{Duration, Instant};
use wasmtime::{ResourceLimiter, UpdateDeadline};

use super::cores::{Computed, Cores, Turn};
use super::http::Requests;
use super::lines::{Lines, Said};
use super::wasi::Wasi;
use crate::event::Event;
use crate::ledger::state::{Reads, StateCache, Writes};
use crate::telemetry::traces::Span;

/// Lines that one call may log; the rest is counted.
pub const MAX_LOG_LINES: usize = 200;
/// Lines of level error that it may log beyond those.
pub const MAX_LAST_WORDS: usize = 8;
/// Bytes of one log line; the rest is cut.
pub const MAX_LOG_LINE: usize = 8 << 10;
/// Events that one call may emit.
pub const MAX_EMITTED: usize = 200;
/// State keys that one call may write.
pub const MAX_STATE_WRITES: usize = 200;
/// Bytes of one state value, and of one emitted event's body: what a message can carry.
pub const MAX_VALUE: usize = 900 << 10;
/// Bytes of a state key.
pub const MAX_KEY: usize = 512;
/// Bytes that one call may stage in all: what one commit can carry.
pub const MAX_STAGED: usize = 3 << 20;
/// State keys that one call may read,
pub const MAX_STATE_READS: usize = 1_000;
/// and the bytes of their values.
pub const MAX_STATE_READ: usize = 16 << 20;
/// Bytes of what a guest says about its failure.
pub const MAX_MESSAGE: usize = 8 << 10;
/// A guest is looked at whenever the epoch moves on.
pub(super) const NEXT_TICK: u64 = 1;
/// Elements of all tables of an instance.
const MAX_TABLE_ELEMENTS: usize = 200_000;

/// What the plug-in and its event are called in the log.
#[derive(Debug, Clone)]
pub struct Labels {
    /// The plug-in's name.
    pub plugin: String,
    /// The plug-in's version.
    pub version: String,
}

/// Everything that one call may see and does.
#[derive(Debug)]
pub struct CallContext {
    /// The event that is handled.
    pub event: Arc<Event>,
    /// Its partition key, which emitted events inherit.
    pub key: String,
    /// Stable across attempts, hosts and replays.
    pub idempotency_key: String,
    /// The plug-in's values.
    pub state: Arc<StateCache>,
    /// Plug-ins that what it emits has passed; none where the event says so.
    pub hops: Option<i32>,
    /// Of the attempt; emitted events come under it.
    pub span: Span,
}

/// An event that is to leave with the commit.
#[derive(Debug, Clone, PartialEq)]
pub struct Emitted {
    /// With the slot: `d365.custom.contoso.business.order.raised.7`.
    pub subject: String,
    /// Complete and valid.
    pub event: Event,
}

/// An event that is to come at a time of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Timer {
    /// Whose: one that is to come later takes the place of one before.
    pub key: String,
    /// When, in Unix milliseconds, and what; none where nothing is to come any more.
    pub comes: Option<(u64, Emitted)>,
}

/// What one call staged and said. Nothing of it has taken effect yet.
#[derive(Debug, Default)]
pub struct Staged {
    /// The state that was read, for the check at acceptance.
    pub reads: Reads,
    /// Bytes of the values that were read.
    pub read: usize,
    /// The state that is to be written.
    pub writes: Writes,
    /// The events that are to leave.
    pub emitted: Vec<Emitted>,
    /// What a saga is to be woken by, later.
    pub timers: Vec<Timer>,
    /// What became of it: `began`, and how it is where that has changed.
    pub became: Vec<&'static str>,
    /// Bytes of writes and emitted events.
    pub bytes: usize,
    /// What it said; filled when the call has ended.
    pub said: Said,
}

/// Why an import ended the call.
#[derive(Debug, thiserror::Error)]
pub enum Abort {
    /// More than a call may use.
    #[error("{0}")]
    Limit(String),
    /// A capability that the manifest does not have or the operator took away.
    #[error("{0}")]
    Forbidden(String),
    /// The broker could not be asked; not the plug-in's doing.
    #[error(transparent)]
    Unavailable(#[from] crate::ledger::state::Error),
    /// The call's time was over while it waited.
    #[error("the call's time is over")]
    Deadline,
}

/// The data of a store.
#[derive(Debug)]
pub struct StoreData {
    /// The call under way.
    pub call: Option<CallContext>,
    /// When it, or the start of the instance, is over.
    pub deadline: Instant,
    /// How long it has computed.
    pub(super) computed: Computed,
    /// Where its turn is from when that is long,
    pub(super) cores: Arc<Cores>,
    /// and its turn.
    pub(super) turn: Option<Turn>,
    /// What it staged.
    pub staged: Staged,
    /// What it says.
    pub lines: Arc<Lines>,
    /// Its WASI, from its first use on.
    pub wasi: Option<Wasi>,
    /// What it may send, and has sent.
    pub(super) requests: Requests,
    /// Of its state.
    pub state_version: u16,
    /// The plug-in's config.
    pub config: Arc<BTreeMap<String, String>>,
    /// Granted subjects for emitted events.
    pub emit: Arc<[String]>,
    /// The tables of a projection.
    pub tables: Arc<[String]>,
    /// What it is called in the log.
    pub labels: Arc<Labels>,
    /// Its memory and tables.
    pub meter: Meter,
}

impl StoreData {
    /// The call under way. An import that runs while the component is instantiated has none,
    /// and none one that runs while state is carried over.
    pub fn call(&self) -> Result<&CallContext, Abort> {
        self.call.as_ref().ok_or_else(|| {
            Abort::Forbidden(
                "state and outbox cannot be used but while an event is handled".to_owned(),
            )
        })
    }

    /// The epoch moved on while the guest ran.
    pub(super) fn tick(&mut self) -> UpdateDeadline {
        if self.deadline <= Instant::now() {
            return UpdateDeadline::Interrupt;
        }
        self.computed.tick();
        if self.computed.is_long() {
            self.turn = match self.turn.take() {
                Some(turn) => turn.pass(self.deadline),
                None => self.cores.wait(self.deadline),
            };
            if self.turn.is_none() {
                return UpdateDeadline::Interrupt;
            }
        }
        UpdateDeadline::Continue(NEXT_TICK)
    }

    /// A call begins that handles no event.
    pub(super) fn begin_bare(&mut self, deadline: Instant) {
        self.staged = Staged::default();
        self.meter.refused = None;
        self.deadline = deadline;
        self.computed = Computed::default();
        self.turn = None;
        self.lines.begin(None, Span::default());
    }

    /// What was staged and said so far.
    pub fn take_staged(&mut self) -> Staged {
        Staged {
            said: self.lines.end(),
            ..std::mem::take(&mut self.staged)
        }
    }

    /// Stages a write, within the limits.
    pub fn write(&mut self, key: String, value: Option<Bytes>) -> Result<(), Abort> {
        let size = key.len() + value.as_ref().map_or(0, Bytes::len);
        self.stage(size)?;
        let writes = &mut self.staged.writes;
        if MAX_STATE_WRITES <= writes.len() && !writes.contains_key(&key) {
            return Err(Abort::Limit(format!(
                "the call writes more than {MAX_STATE_WRITES} state keys"
            )));
        }
        writes.insert(key, value);
        Ok(())
    }

    /// Notes what was read, within the limits: what a call has read is kept for its end.
    pub fn read(&mut self, key: String, version: u64, size: usize) -> Result<(), Abort> {
        self.staged.read = self.staged.read.saturating_add(size);
        if MAX_STATE_READS <= self.staged.reads.len() && !self.staged.reads.contains_key(&key) {
            return Err(Abort::Limit(format!(
                "the call reads more than {MAX_STATE_READS} state keys"
            )));
        }
        if MAX_STATE_READ < self.staged.read {
            return Err(Abort::Limit(format!(
                "the call reads more than {MAX_STATE_READ} bytes of state"
            )));
        }
        // The first version that the call saw counts: a later one makes the call stale.
        self.staged.reads.entry(key).or_insert(version);
        Ok(())
    }

    /// Counts bytes that are to be staged, within the limit.
    pub fn stage(&mut self, size: usize) -> Result<(), Abort> {
        self.staged.bytes = self.staged.bytes.saturating_add(size);
        if MAX_STAGED < self.staged.bytes {
            return Err(Abort::Limit(format!(
                "the call stages more than {MAX_STAGED} bytes of state and events"
            )));
        }
        Ok(())
    }
}

/// Counts linear memory against the manifest's limit.
#[derive(Debug)]
pub struct Meter {
    limit: usize,
    used: usize,
    elements: usize,
    /// A growth was refused: what the guest does next, usually a trap, comes from that.
    pub refused: Option<usize>,
}

impl Meter {
    /// Allows `limit` bytes over all memories of the component.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            used: 0,
            elements: 0,
            refused: None,
        }
    }

    /// Bytes of linear memory in use.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Bytes that are allowed.
    pub fn limit(&self) -> usize {
        self.limit
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let wanted = self.used.saturating_sub(current).saturating_add(desired);
        if self.limit < wanted {
            self.refused = Some(wanted);
            return Ok(false);
        }
        self.used = wanted;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let elements = self
            .elements
            .saturating_sub(current)
            .saturating_add(desired);
        if MAX_TABLE_ELEMENTS < elements {
            return Ok(false);
        }
        self.elements = elements;
        Ok(true)
    }
}

/// How long an import may wait for the broker: what is left of the call.
pub fn patience(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

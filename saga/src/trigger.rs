//! What may happen to a saga, what is to be called then, and what follows.

use serde::{Deserialize, Serialize};

use crate::record::{Compensation, Early, Wait};

/// What has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trigger {
    /// An event that begins a saga. Where one is under way it is of interest only if it is waited
    /// for.
    Begin(Happened),
    /// An event.
    Event(Happened),
    /// What it asked of itself, or a person of it; `sequence` is its place in the event store.
    Own {
        /// What.
        own: Own,
        /// Where it stands.
        sequence: u64,
    },
}

/// An event from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happened {
    /// Its type.
    pub event_type: String,
    /// Its place in the event store.
    pub sequence: u64,
    /// Bytes of it in the JSON format.
    pub size: usize,
}

/// What a saga asks of itself, or a person of it. It travels as an event of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Own {
    /// To go on: a step, an early event or a compensation.
    Next {
        /// The saga's run,
        run: u32,
        /// and the number under which it asked.
        number: u64,
    },
    /// A wait is over.
    Timeout {
        /// The saga's run,
        run: u32,
        /// and the number of the timer.
        number: u64,
    },
    /// To be forgotten: it has ended long ago.
    Forget {
        /// The saga's run.
        run: u32,
    },
    /// A person wants it to be undone.
    Cancel {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// A person wants a compensation that did not work to be run again.
    Retry {
        /// Who.
        by: String,
        /// It was done by hand: the next one is run.
        #[serde(default)]
        done: bool,
    },
}

/// What is to be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due {
    /// A step.
    Step {
        /// Its name.
        name: String,
        /// The event that it gets.
        event: Given,
    },
    /// A compensation.
    Compensation(Compensation),
    /// Nothing.
    Nothing(Nothing, Vec<Action>),
}

/// The event of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// None.
    None,
    /// The one that has happened.
    This,
    /// One that came early.
    Early(Box<Early>),
}

/// Why nothing is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nothing {
    /// It is of no interest, and nothing has changed.
    Stale,
    /// The saga has changed.
    Changed,
    /// The event is to be kept in the saga, by [`crate::Saga::keep`].
    Keep,
    /// The saga is to be forgotten.
    Forget,
}

/// What a step gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advance {
    /// What the saga keeps from now on.
    pub state: Vec<u8>,
    /// What undoes it.
    pub compensations: Vec<Compensation>,
    /// What is next.
    pub next: Next,
}

/// What comes after a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Another step, in a call and a commit of its own.
    Step(String),
    /// To wait.
    Wait(Waiting),
    /// The good end.
    Done,
    /// It cannot go on: what was done is undone.
    Fail(String),
    /// The event was not meant: as if it had not come.
    Ignore,
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Waiting {
    /// Any of these.
    pub events: Vec<Wait>,
    /// How long.
    pub timeout: Option<Timeout>,
}

/// How long one waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeout {
    /// Milliseconds.
    pub after: u64,
    /// The step that is run then.
    pub step: String,
}

/// What has to leave with the saga's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// At once.
    Send(Own),
    /// At a time, in Unix milliseconds; it takes the place of one that was to leave later.
    Schedule(u64, Own),
    /// What was to leave later is not to.
    Unschedule,
}

/// Whether a type is the one, or begins as it does before its `*`.
pub fn matches(pattern: &str, event_type: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => event_type.starts_with(start),
        None => pattern == event_type,
    }
}

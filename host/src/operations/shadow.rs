//! Takes a part of the event store and a build of a plug-in, gives what that build does with it
//! otherwise than is recorded.
//!
//! ```text
//! scope -> recorded (what the plug-in emitted, onto disk) -> running (calls) -> compare -> store
//! ```
//!
//! Calls are made one after another, in the order of the store, by this process; nothing that
//! they emit leaves it, and what they write is the shadow's own. All of it stands in one file,
//! committed in groups together with the place, so that a shadow goes on where it was killed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::compare::Place;
pub use self::running::{Shadow, Step, run};
pub use self::scope::{Scope, scope};
pub use self::store::Store;
use super::history;
use super::{fleet, letters};
use crate::broker::ReadError;

mod compare;
mod recorded;
mod running;
mod scope;
mod store;
mod worker;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The event store cannot be read.
    #[error(transparent)]
    History(#[from] history::Error),
    /// The ledger cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Dead letters cannot be read.
    #[error(transparent)]
    Letters(#[from] letters::Error),
    /// The hosts cannot be asked.
    #[error(transparent)]
    Fleet(#[from] fleet::Error),
    /// The file of the shadow cannot be used.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// There is nothing that it could be compared with.
    #[error(
        "the ledger knows no plug-in {0}: it has never run here, so nothing is recorded of it; \
         `sluice plugins` lists those that run"
    )]
    NeverRan(String),
    /// This host cannot do its part.
    #[error("event {sequence}: {reason}")]
    Host {
        /// Where it stands.
        sequence: u64,
        /// What is wrong.
        reason: String,
    },
    /// The thread that makes the calls broke.
    #[error("the thread that makes the calls broke: {0}")]
    Broke(String),
}

/// What a shadow is made of. One of the same name that goes on has the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// Whose history.
    pub plugin: String,
    /// `sha256:<hex>` of the build.
    pub digest: String,
    /// Its version.
    pub version: String,
    /// Which events, as they were asked for.
    pub conditions: Vec<String>,
    /// Config values that are not those of the manifest.
    pub config: BTreeMap<String, String>,
    /// Places of an output that do not count, JSON pointers.
    pub ignored: Vec<String>,
    /// Whether HTTP requests leave.
    pub effects: bool,
}

/// How far a shadow is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The events that count are behind this place,
    pub from: u64,
    /// and not behind this one.
    pub to: u64,
    /// Outputs up to this place are known.
    pub recorded: u64,
    /// All of them are.
    pub all_recorded: bool,
    /// Events up to this place have had their turn.
    pub after: u64,
    /// All have.
    pub ended: bool,
    /// What was found so far.
    pub report: Report,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Events that the shadow was given.
    pub events: u64,
    /// Those with which it did what is recorded.
    pub same: u64,
    /// Those with which it did not, by the kind of difference.
    pub different: BTreeMap<Kind, u64>,
    /// Events that it emitted,
    pub emitted: u64,
    /// and those that are recorded of the plug-in.
    pub recorded: u64,
    /// Events that came before under the same id, and were not handled again.
    pub duplicates: u64,
    /// Events of which an output was redacted: nothing can be compared.
    pub redacted: u64,
    /// Messages that are no events.
    pub undecodable: u64,
    /// Events that the plug-in is still to try again, or was never called with: too old, too many
    /// hops.
    pub unhandled: u64,
}

impl Report {
    /// Events with which the shadow did something else than is recorded.
    pub fn differences(&self) -> u64 {
        self.different.values().sum()
    }
}

/// How what a build did with an event differs from what is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// One of them is a dead letter, or each is for another reason.
    Outcome,
    /// It emits, and nothing is recorded.
    EmittedNow,
    /// It emits nothing, and something is recorded.
    EmittedThen,
    /// Both emit, and not the same.
    Changed,
}

impl Kind {
    /// For people.
    pub fn text(self) -> &'static str {
        match self {
            Self::Outcome => "end otherwise",
            Self::EmittedNow => "emit now, and did not",
            Self::EmittedThen => "emitted, and do not now",
            Self::Changed => "emit something else",
        }
    }
}

/// An event with which the shadow did something else than is recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Where the event stands.
    pub sequence: u64,
    /// Its id.
    pub id: String,
    /// Its type.
    pub event_type: String,
    /// Its partition key.
    pub key: String,
    /// In which way.
    pub kind: Kind,
    /// How it ended: `done`, or the reason of a dead letter.
    pub then: String,
    /// How it ends in the shadow,
    pub now: String,
    /// and what was wrong; empty when nothing was.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// Where what is emitted differs.
    pub places: Vec<Place>,
}

//! Takes what events did, gives it as it is committed: changes, refusals, and the place.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ledger::inbox::InboxId;

/// Refused events that are kept; the newest are.
pub(super) const MOST_REFUSED: i64 = 10_000;
/// Bytes of a refusal's text.
const MAX_ERROR: usize = 2 << 10;

/// What one event did to a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The table and the key, as they are staged.
    pub place: String,
    /// The event's place in the store.
    pub sequence: u64,
    /// When the store took it, Unix milliseconds.
    pub at: u64,
    /// The row, or none any more.
    pub row: Option<Bytes>,
}

/// An event that the projection could not take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Its place in the store.
    pub sequence: u64,
    /// Its id; empty where the message is no event.
    pub id: String,
    /// Its type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The class: as those of dead letters, or `undecodable`.
    pub reason: String,
    /// What was wrong.
    pub error: String,
    /// When the store took it, RFC 3339.
    pub stored: String,
}

impl Refused {
    /// What was wrong, as much of it as is kept.
    pub(super) fn error_text(&self) -> &str {
        let error = self.error.as_str();
        let mut ends = (0..=MAX_ERROR.min(error.len())).rev();
        let end = ends.find(|end| error.is_char_boundary(*end));
        error.get(..end.unwrap_or(0)).unwrap_or_default()
    }
}

/// What a group of events changes.
#[derive(Debug, Default)]
pub struct Group {
    /// Of the last event that had its turn: its place,
    pub after: u64,
    /// and when the store took it.
    pub at: u64,
    /// In the order of the events.
    pub changes: Vec<Change>,
    /// Events that were handled, and when the store took each.
    pub seen: BTreeMap<InboxId, u64>,
    /// Events that could not be.
    pub refused: Vec<Refused>,
    /// Events that were handled.
    pub applied: u64,
    /// Places that had left the store before they were read.
    pub lost: u64,
}

impl Group {
    /// Of each row the last change.
    pub(super) fn newest(&self) -> impl Iterator<Item = &Change> {
        let mut newest: BTreeMap<&str, &Change> = BTreeMap::new();
        for change in &self.changes {
            newest.insert(&change.place, change);
        }
        newest.into_values()
    }
}

/// Up to where a version is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// All events up to this place have had their turn.
    pub position: u64,
    /// When the store took the last of them; Unix milliseconds.
    pub at: u64,
    /// How many were handled,
    pub applied: u64,
    /// how many could not be,
    pub refused: u64,
    /// and how many had left the store before.
    pub lost: u64,
}

impl Standing {
    /// Where it is when it has this too.
    pub(super) fn after(&self, group: &Group) -> Self {
        Self {
            position: group.after,
            at: group.at.max(self.at),
            applied: self.applied + group.applied,
            refused: self.refused + group.refused.len() as u64,
            lost: self.lost + group.lost,
        }
    }
}

/// How long things are kept.
#[derive(Debug, Clone, Copy)]
pub struct Keep {
    /// The time now, Unix milliseconds.
    pub now: u64,
    /// An event that comes again within this time is not handled again.
    pub ids: Duration,
}

/// A moment that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// After this event of the store.
    Sequence(u64),
    /// At this time, Unix milliseconds: after the last event that the store had by then.
    Time(u64),
}

/// Whether a moment is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// It is: after this event.
    At(u64),
    /// Not any more: from this place and this time on it is.
    Before(u64, u64),
}

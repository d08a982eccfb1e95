//! Takes what events did, gives it as it is committed: changes, refusals, and the place.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ledger::inbox::InboxId;

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

/// Up to where a file is.
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

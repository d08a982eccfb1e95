//! `[events]`: limits of the stream EVENTS.

use std::collections::BTreeMap;
use std::time::Duration;

use super::DAY;

/// `[events]`: limits of the stream EVENTS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Events {
    /// Bytes; a full stream refuses new events.
    pub max_bytes: u64,
    /// Events that are older leave the stream.
    pub max_age: Duration,
    /// How long the broker remembers message ids; not more than `max_age`.
    pub dedup_window: Duration,
    /// Kinds whose events leave earlier, once every plug-in has handled them: `record`,
    /// `business`, `custom`, `system`; not later than `max_age`.
    pub keep: BTreeMap<String, Duration>,
    /// Streams that are there already. Not read yet.
    pub sources: Vec<StreamSource>,
}

/// One stream that EVENTS takes messages from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSource {
    /// Name of the stream.
    pub stream: String,
    /// Which of its subjects.
    pub filter: String,
    /// The subjects they get: a destination of a NATS subject transform.
    pub to: String,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            max_bytes: 10 << 30,
            max_age: 30 * DAY,
            dedup_window: Duration::from_secs(600),
            keep: BTreeMap::new(),
            sources: Vec::new(),
        }
    }
}

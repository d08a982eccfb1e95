//! Takes nothing, gives what the host says about one call.

use std::time::Duration;

/// What the host says about this call.
///
/// `Delivery::default()` is a first attempt without a key, for unit tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// 1 for the first attempt.
    pub attempt: u32,
    /// The same for every attempt, host and crash. Give it to systems outside that can
    /// suppress a repeat: what is done there is done at least once, not exactly once.
    pub idempotency_key: String,
    /// Events of one key are handled one at a time, in stream order.
    pub partition_key: String,
    /// Sequence of the event in the event store.
    pub sequence: u64,
    /// The time that this call may take; a longer one is ended and counts as failed.
    pub deadline: Duration,
    /// An operator sent this event again, from the dead letters or the history.
    pub is_replay: bool,
    /// W3C trace context of this attempt.
    pub traceparent: Option<String>,
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            attempt: 1,
            idempotency_key: String::new(),
            partition_key: String::new(),
            sequence: 0,
            deadline: Duration::from_secs(5),
            is_replay: false,
            traceparent: None,
        }
    }
}

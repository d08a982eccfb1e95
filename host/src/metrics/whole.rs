//! Takes what a look at the whole host and its streams says, gives gauges.

use std::time::Duration;

use super::{Metrics, Stream, gauge};

impl Metrics {
    /// What `/readyz` says now.
    pub fn ready(&self, ready: bool) {
        self.ready.set(i64::from(ready));
    }

    /// How long the store keeps an event.
    pub fn events_stay(&self, max_age: Duration) {
        self.events_max_age.set(max_age.as_secs_f64());
    }

    /// A stream's messages, their bytes, and how many bytes they may be.
    pub fn stream(&self, stream: &'static str, (messages, bytes): (u64, u64), limit: Option<u64>) {
        let label = Stream { stream };
        self.stream_messages
            .get_or_create(&label)
            .set(gauge(messages));
        self.stream_bytes.get_or_create(&label).set(gauge(bytes));
        match limit {
            Some(limit) => {
                self.stream_limit.get_or_create(&label).set(gauge(limit));
            }
            None => {
                self.stream_limit.remove(&label);
            }
        }
    }
}

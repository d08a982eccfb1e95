//! Takes what the watch over schemas sees, gives its metrics.

use super::{Kind, Metrics, What};
use crate::schemas::fitting::Seen;

impl Metrics {
    /// A member was added, removed or retyped, and nobody had said so before.
    pub fn schema_drifted(&self, kind: &'static str) {
        self.schema_drift.get_or_create(&Kind { kind }).inc();
    }

    /// A body fits no version of its schema.
    pub fn schema_misfit(&self, seen: Seen) {
        let what = What {
            what: seen.as_str(),
        };
        self.schema_misfits.get_or_create(&what).inc();
    }

    /// A body was looked at.
    pub fn schema_body_checked(&self) {
        let what = What { what: "checked" };
        self.schema_bodies.get_or_create(&what).inc();
    }

    /// A body was not looked at: there were too many.
    pub fn schema_body_left_out(&self) {
        let what = What { what: "left-out" };
        self.schema_bodies.get_or_create(&what).inc();
    }
}

//! Takes the traffic, gives it as a bad network would: some of it twice, some of it out of order.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;

use super::traffic::{Body, Plan, Traffic};

/// A body that overtakes is sent up to so many places later than its own.
const HELD_BACK: u64 = 8;
/// The second copy of a body comes up to so many places behind the first.
const AGAIN_AFTER: u64 = 50;

/// The traffic with the faults that the plan asks for. The bodies are those of [`Traffic`].
#[derive(Debug)]
pub(super) struct Faults {
    traffic: Traffic,
    /// Of its own, so that the same seed gives the same bodies whatever the faults.
    rng: ChaCha8Rng,
    duplicates: f64,
    reorder: f64,
    made: u64,
    /// When the newest of them was due.
    now: Duration,
    /// By the number of the body behind which each is sent, and a number that keeps two apart.
    late: BTreeMap<(u64, u64), Body>,
    put_off: u64,
    is_over: bool,
}

impl Faults {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            traffic: Traffic::new(plan),
            rng: ChaCha8Rng::seed_from_u64(!plan.seed),
            duplicates: plan.duplicates,
            reorder: plan.reorder,
            made: 0,
            now: Duration::ZERO,
            late: BTreeMap::new(),
            put_off: 0,
            is_over: false,
        }
    }

    fn happens(&mut self, percent: f64) -> bool {
        self.rng.random_bool((percent / 100.0).clamp(0.0, 1.0))
    }

    fn later(&mut self, body: Body, most: u64) {
        let place = self.made + self.rng.random_range(1..=most);
        self.put_off += 1;
        self.late.insert((place, self.put_off), body);
    }
}

impl Iterator for Faults {
    type Item = Body;

    fn next(&mut self) -> Option<Body> {
        loop {
            let is_due = |place: u64| self.is_over || place <= self.made;
            if let Some(entry) = self.late.first_entry()
                && is_due(entry.key().0)
            {
                let body = entry.remove();
                return Some(Body {
                    due: self.now,
                    ..body
                });
            }
            let Some(body) = self.traffic.next() else {
                if self.late.is_empty() {
                    return None;
                }
                self.is_over = true;
                continue;
            };
            self.made += 1;
            self.now = body.due;
            if self.happens(self.duplicates) {
                self.later(body.clone(), AGAIN_AFTER);
            }
            if self.happens(self.reorder) {
                self.later(body, HELD_BACK);
                continue;
            }
            return Some(body);
        }
    }
}

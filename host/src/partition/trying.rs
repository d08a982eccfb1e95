//! Takes what a build on trial made of a delivery, gives it to the build beside it where it failed, and the trial its evidence.

use std::sync::Arc;
use std::time::Duration;

use super::{Partition, millis};
use crate::backoff;
use crate::clock;
use crate::held::{Held, Spared};
use crate::lane::LaneId;
use crate::ledger::reason::Reason;
use crate::outcome::Outcome;
use crate::plugin::runners::Runners;
use crate::rollout::Canary;

/// A build that has a share of the keys.
pub(super) struct Trial {
    canary: Arc<Canary>,
    pub(super) runners: Arc<Runners>,
}

impl Trial {
    /// Whether the delivery is for it. What it has failed once is not.
    pub(super) fn has(&self, held: &Held) -> bool {
        held.spared.is_none() && self.canary.has(&held.key)
    }
}

impl Partition {
    /// Begins a trial, or ends one: what waits for its runners is the plug-in's build's.
    pub(super) fn try_out(&mut self, canary: Option<&Arc<Canary>>) {
        let is_same = match (&self.trial, canary) {
            (Some(trial), Some(canary)) => Arc::ptr_eq(&trial.canary, canary),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if is_same {
            return;
        }
        let trial = canary.map(|canary| Trial {
            canary: Arc::clone(canary),
            runners: self.runners((Arc::clone(&canary.generation), Some(Arc::clone(canary)))),
        });
        if let Some(before) = std::mem::replace(&mut self.trial, trial) {
            self.submit_again(&before.runners);
        }
    }

    /// Takes the outcome of a call, gives it back unless a build on trial has failed: then the
    /// delivery is the other build's, and the attempt counts for nothing.
    pub(super) fn judged(
        &mut self,
        canary: Option<Arc<Canary>>,
        lane: LaneId,
        outcome: Outcome,
    ) -> Option<Outcome> {
        let Some(canary) = canary else {
            self.compare(lane, &outcome);
            return Some(outcome);
        };
        let (delay, error, counts) = match &outcome {
            Outcome::Done => {
                canary.called();
                return Some(outcome);
            }
            Outcome::Duplicate | Outcome::Again { .. } => return Some(outcome),
            Outcome::Retry {
                after,
                reason: Reason::Exhausted,
                error,
            } => (Some(*after), error, false),
            Outcome::Retry { error, .. } | Outcome::Dead { error, .. } => (None, error, true),
        };
        canary.called();
        self.spare(canary, lane, delay, (error, counts));
        None
    }

    /// `delay` is how long the guest asked for when it asked for another attempt.
    fn spare(
        &mut self,
        canary: Arc<Canary>,
        lane: LaneId,
        delay: Option<Option<Duration>>,
        (error, counts): (&str, bool),
    ) {
        let now = clock::unix_millis();
        self.breaker.said_nothing(now);
        self.in_flight = self.in_flight.saturating_sub(1);
        let Some(held) = self.lanes.head(lane) else {
            return;
        };
        let build = &canary.generation;
        tracing::warn!(
            plugin = %build.manifest().name, version = %build.manifest().version,
            digest = build.digest(), sequence = held.sequence, error,
            "the canary failed; the build beside it gets the event, and the attempt does not count"
        );
        held.attempts += 1;
        held.forgiven += 1;
        let error = counts.then(|| error.to_owned());
        held.spared = Some(Spared { canary, error });
        let mut due = now;
        if let Some(after) = delay {
            let policy = &self.parts.generation.manifest().retry;
            let attempts = held.counted() + 1;
            let wait = backoff::next_delay(policy, attempts, after, rand::random());
            due += wait.map_or(0, millis);
            self.ledger.write_down(held.sequence, &held.retry(due));
            held.written_down = true;
        }
        self.parts.metrics.retry.inc();
        self.lanes.park(lane, due);
    }

    /// The build beside the canary had what that one failed.
    fn compare(&mut self, lane: LaneId, outcome: &Outcome) {
        let Some(held) = self.lanes.head(lane) else {
            return;
        };
        let Some(spared) = &mut held.spared else {
            return;
        };
        match outcome {
            Outcome::Done => {
                if let Some(error) = spared.error.take() {
                    spared.canary.broke(&error);
                }
            }
            // Then it is the event, or what stands behind both.
            Outcome::Retry { .. } | Outcome::Dead { .. } => spared.error = None,
            Outcome::Duplicate | Outcome::Again { .. } => {}
        }
    }
}

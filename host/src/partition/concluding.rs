//! Takes a call's outcome, gives what becomes of its lane: closed, tried again, or a dead letter.

use std::sync::Arc;

use tokio::time::Duration;

use super::{Partition, millis};
use crate::backoff;
use crate::breaker::Failed;
use crate::clock;
use crate::held::{Body, Held};
use crate::lane::LaneId;
use crate::ledger::reason::Reason;
use crate::outcome::Outcome;
use crate::plugin::generation::Generation;
use crate::plugin::runners::Finished;
use crate::plugin::traced;

/// After trouble of the host's own, the same attempt follows this much later.
const AGAIN: Duration = Duration::from_millis(250);

/// What follows an attempt that failed.
#[derive(PartialEq, Eq)]
enum Next {
    Attempt,
    /// None is left.
    None,
}

impl Partition {
    /// A call came back: its outcome decides what becomes of the lane.
    pub(super) fn conclude(&mut self, finished: Finished) {
        let Finished {
            ticket: lane,
            outcome,
            generation,
            canary,
            span,
        } = finished;
        let Some(outcome) = self.judged(canary, lane, outcome) else {
            return;
        };
        match outcome {
            Outcome::Done => {
                self.came_to_an_end();
                self.parts.metrics.done.inc();
                self.finish(lane);
            }
            Outcome::Duplicate => {
                self.breaker.said_nothing(clock::unix_millis());
                self.parts.metrics.duplicate.inc();
                self.finish(lane);
            }
            Outcome::Again { error } => self.again(lane, &error),
            Outcome::Retry {
                after,
                reason,
                error,
            } => {
                if self.retry(&generation, lane, after, reason, &error) == Next::None {
                    traced::buried(&span, reason);
                }
            }
            Outcome::Dead { reason, error } => {
                if reason == Reason::Rejected {
                    self.came_to_an_end();
                } else {
                    self.breaker.said_nothing(clock::unix_millis());
                }
                if let Some(held) = self.lanes.head(lane) {
                    held.attempts += 1;
                }
                traced::buried(&span, reason);
                self.end_dead(&generation, lane, reason, &error);
            }
        }
    }

    pub(super) fn bury(&mut self, held: &Held, reason: Reason, error: &str) {
        let by = Arc::clone(&self.parts.generation);
        self.bury_by(&by, held, reason, error);
    }

    fn bury_by(&mut self, by: &Generation, held: &Held, reason: Reason, error: &str) {
        let letter = self.parts.dead_letter(by, held, reason, error);
        self.ledger.bury(letter, held.inbox_id(), held.written_down);
    }

    fn finish(&mut self, lane: LaneId) -> Option<Held> {
        self.in_flight = self.in_flight.saturating_sub(1);
        let held = self.lanes.finish(lane)?;
        if let Some(body) = &held.body {
            self.bodies.let_go(body);
        }
        self.parts.metrics.handled_after(held.age());
        Some(held)
    }

    /// The event is not to be handled any more, and nobody is to be told.
    pub(super) fn finish_unhandled(&mut self, lane: LaneId) {
        if let Some(held) = self.finish(lane) {
            self.ledger.duplicate(held.sequence, held.written_down);
        }
    }

    /// `by` is the build that could not handle it.
    pub(super) fn finish_dead(
        &mut self,
        by: &Generation,
        lane: LaneId,
        reason: Reason,
        error: &str,
    ) {
        if let Some(held) = self.finish(lane) {
            self.bury_by(by, &held, reason, error);
        }
    }

    /// The same attempt again, soon: what went wrong was the host's own.
    pub(super) fn again(&mut self, lane: LaneId, error: &str) {
        tracing::warn!(plugin = %self.manifest().name, %error, "the attempt is repeated");
        self.breaker.said_nothing(clock::unix_millis());
        self.in_flight = self.in_flight.saturating_sub(1);
        self.lanes.park(lane, clock::unix_millis() + millis(AGAIN));
    }

    fn retry(
        &mut self,
        by: &Generation,
        lane: LaneId,
        after: Option<Duration>,
        reason: Reason,
        error: &str,
    ) -> Next {
        let now = clock::unix_millis();
        let Some(held) = self.lanes.head(lane) else {
            return Next::Attempt;
        };
        held.attempts += 1;
        // The plug-in says that it is not the event's fault.
        let failed = if reason == Reason::Exhausted {
            self.breaker.failed(held.sequence, now)
        } else {
            self.breaker.said_nothing(now);
            Failed::Counts
        };
        let delay = match failed {
            Failed::Forgiven(wait) => {
                held.forgiven += 1;
                Some(wait)
            }
            Failed::Counts | Failed::Opens => {
                let policy = &self.parts.generation.manifest().retry;
                backoff::next_delay(policy, held.counted(), after, rand::random())
            }
        };
        if failed == Failed::Opens {
            tracing::error!(
                plugin = %self.parts.generation.manifest().name, %error,
                "every event is asked to be tried again: the circuit is open; one call at a \
                 time is made until one comes to an end, and attempts do not count"
            );
            self.parts.tell_breaker("breaker-opened", Some(error));
        }
        let Some(delay) = delay else {
            self.end_dead(by, lane, reason, error);
            return Next::None;
        };
        let due = now + millis(delay);
        self.ledger.write_down(held.sequence, &held.retry(due));
        held.written_down = true;
        tracing::info!(
            plugin = %self.parts.generation.manifest().name,
            event = held.body.as_ref().map_or("", Body::event_id),
            correlation = held.body.as_ref().and_then(Body::correlation).as_deref(),
            attempt = held.attempts, retry_in = ?delay, %error, "the event will be tried again"
        );
        self.parts.metrics.retry.inc();
        self.in_flight = self.in_flight.saturating_sub(1);
        self.lanes.park(lane, due);
        Next::Attempt
    }

    fn came_to_an_end(&mut self) {
        if self.breaker.succeeded() {
            let plugin = &self.parts.generation.manifest().name;
            tracing::info!(plugin, "a call came to an end: the circuit is closed again");
            self.parts.tell_breaker("breaker-closed", None);
        }
    }
}

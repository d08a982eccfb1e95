//! Takes deliveries of a bridge, gives their outcomes: each waits for the target's word, beside the others.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::time::{Instant, timeout};

use super::call::Failure;
use super::runners::{Job, Runners, Told};
use super::traced;
use crate::bridge::sink::Sink;
use crate::clock;
use crate::ledger::staging::Accepted;
use crate::ledger::{Closing, Effects};
use crate::outcome::{self, Outcome};

impl Runners {
    /// Hands one event over. How many are on their way, the partition bounds.
    pub(super) async fn hand_over(self: Arc<Self>, sink: Arc<Sink>, mut job: Job) {
        let began = (Instant::now(), clock::unix_millis());
        traced::begin(&self.traces, &mut job.call, self.build());
        // A defect of the host's must not leave the lane waiting for ever.
        let sent = AssertUnwindSafe(self.sent(&sink, &job))
            .catch_unwind()
            .await;
        let outcome = sent.unwrap_or_else(|_| Outcome::Again {
            error: "the host panicked while it sent the event".to_owned(),
        });
        self.conclude(job, outcome, Told::default(), began);
    }

    async fn sent(&self, sink: &Sink, job: &Job) -> Outcome {
        if self.ledger.is_finished(&job.inbox) {
            self.ledger.duplicate(job.call.sequence, job.written_down);
            return Outcome::Duplicate;
        }
        let started = Instant::now();
        let patience = self.generation.manifest().delivery.timeout;
        let result = match self.generation.as_read(&job.call.event) {
            Err(failure) => Err(failure),
            // History that is only looked at again stays here.
            Ok(_) if !job.call.with_effects => Ok(()),
            // A bridge reads no version: it hands on what came.
            Ok(_) => timeout(patience, sink.send(&job.call))
                .await
                .unwrap_or(Err(Failure::Timeout(patience))),
        };
        let ended = clock::unix_nanos();
        self.metrics.called(started.elapsed(), 0);
        if let Err(failure) = result {
            return outcome::of(failure);
        }
        let closing = Closing {
            sequence: job.call.sequence,
            id: job.inbox,
            written_down: job.written_down,
            stored: job.stored,
        };
        match self
            .ledger
            .accept(closing, Effects::default(), ended / 1_000_000)
        {
            Accepted::Yes => {
                self.metrics.handled(job.stored, ended);
                Outcome::Done
            }
            Accepted::Duplicate => {
                self.ledger.duplicate(job.call.sequence, job.written_down);
                Outcome::Duplicate
            }
            Accepted::Stale => Outcome::Again {
                error: "what it had read was changed meanwhile".to_owned(),
            },
        }
    }
}

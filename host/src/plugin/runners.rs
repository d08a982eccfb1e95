//! Takes deliveries that may run, gives their outcomes: the calls of one partition, beside each other.
//!
//! A runner is a thread that works on the queue until it is empty. Each partition has its
//! own few, so a plug-in that spins keeps its own runners busy and nobody else's; the
//! operating system shares the cores between them.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::Level;

use super::call::{Failure, Returned};
use super::generation::Generation;
use super::instance::Call;
use super::store::Staged;
use super::traced;
use crate::builds::Builds;
use crate::clock;
use crate::journal::{self, Attempt};
use crate::ledger::inbox::InboxId;
use crate::ledger::staging::Accepted;
use crate::ledger::{Closing, Effects, Ledger};
use crate::metrics::PluginMetrics;
use crate::outcome::{self, Outcome};
use crate::rollout::Canary;
use crate::telemetry::traces::{Span, Traces};

/// Runs of one call in a row because of state that others change; then others are let first.
const MAX_RERUNS: usize = 100;

/// The target under which each attempt is told of when it ends.
pub const TOLD: &str = "delivery";

/// And each event that one emitted.
pub const EMITTED: &str = "emitted";

/// A delivery on its way through a call.
#[derive(Debug)]
pub struct Job {
    /// Whose it is: given back with the outcome.
    pub ticket: u64,
    /// What it is finished under in the inbox.
    pub inbox: InboxId,
    /// Attempts are written down in the ledger and have to be taken off.
    pub written_down: bool,
    /// Unix nanoseconds at which the store took the event.
    pub stored: u64,
    /// The call.
    pub call: Call,
}

/// What is told of a call: what it said, and subject and id of what it emitted.
#[derive(Debug, Default)]
pub(super) struct Told {
    lines: Vec<(u8, String)>,
    emitted: Vec<(String, String)>,
}

impl Told {
    fn of(staged: &Staged) -> Self {
        let level = |level: Level| match level {
            Level::ERROR => 1,
            Level::WARN => 2,
            Level::INFO => 3,
            Level::DEBUG => 4,
            Level::TRACE => 5,
        };
        let lines = staged.said.lines.iter();
        let emitted = staged.emitted.iter();
        Self {
            lines: lines.map(|(at, line)| (level(*at), line.clone())).collect(),
            emitted: emitted
                .map(|one| (one.subject.clone(), one.event.id.clone()))
                .collect(),
        }
    }
}

/// A delivery after its call.
#[derive(Debug)]
pub struct Finished {
    /// Whose it is: given back with the outcome.
    pub ticket: u64,
    /// What became of it; `Done` and `Duplicate` are settled already.
    pub outcome: Outcome,
    /// The build that was called.
    pub generation: Arc<Generation>,
    /// Where it is on trial.
    pub canary: Option<Arc<Canary>>,
    /// Of the attempt, which has ended.
    pub span: Span,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    running: usize,
}

/// The queue of one partition and the runners that work on it.
pub struct Runners {
    pub(super) generation: Arc<Generation>,
    canary: Option<Arc<Canary>>,
    journal: journal::Writer,
    pub(super) ledger: Arc<Ledger>,
    builds: Builds,
    pub(super) metrics: PluginMetrics,
    pub(super) traces: Traces,
    queue: Mutex<Queue>,
    max_running: usize,
    finished: UnboundedSender<Finished>,
    tracker: TaskTracker,
}

impl Runners {
    /// Runners of this generation, which may be on trial, whose outcomes go to `finished`. That
    /// channel needs no bound: it holds no more than the deliveries that are in flight.
    pub fn new(
        (generation, canary): (Arc<Generation>, Option<Arc<Canary>>),
        journal: journal::Writer,
        (ledger, builds): (Arc<Ledger>, Builds),
        (metrics, traces): (PluginMetrics, Traces),
        finished: UnboundedSender<Finished>,
        tracker: TaskTracker,
    ) -> Arc<Self> {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let max_running = cores.min(generation.manifest().delivery.max_in_flight);
        Arc::new(Self {
            generation,
            canary,
            journal,
            ledger,
            builds,
            metrics,
            traces,
            queue: Mutex::default(),
            max_running,
            finished,
            tracker,
        })
    }

    /// Puts a delivery in the queue, and starts another runner when there is a place.
    pub fn submit(self: &Arc<Self>, job: Job) {
        if let Some(sink) = self.generation.sink() {
            let handing_over = Arc::clone(self).hand_over(Arc::clone(sink), job);
            self.tracker.spawn(handing_over);
            return;
        }
        let mut queue = self.queue.lock();
        queue.jobs.push_back(job);
        // A runner that has nothing to do ends, so those that are running are busy.
        if queue.running < self.max_running {
            queue.running += 1;
            let runners = Arc::clone(self);
            self.tracker.spawn_blocking(move || runners.work());
        }
    }

    /// Takes back the deliveries that no runner has begun with. Those that run end as they are.
    pub fn withdraw(&self) -> VecDeque<Job> {
        std::mem::take(&mut self.queue.lock().jobs)
    }

    fn work(&self) {
        loop {
            let mut job = {
                let mut queue = self.queue.lock();
                match queue.jobs.pop_front() {
                    Some(job) => job,
                    None => {
                        queue.running -= 1;
                        return;
                    }
                }
            };
            let began = (Instant::now(), clock::unix_millis());
            let mut told = Told::default();
            traced::begin(&self.traces, &mut job.call, self.build());
            // A defect of the host's must not leave the lane waiting for ever.
            let outcome = catch_unwind(AssertUnwindSafe(|| self.run(&job, &mut told)))
                .unwrap_or_else(|_| Outcome::Again {
                    error: "the host panicked around the call".to_owned(),
                });
            self.conclude(job, outcome, told, began);
        }
    }

    /// The attempt is over: it is told of, and the partition goes on with what became of it.
    pub(super) fn conclude(
        &self,
        mut job: Job,
        outcome: Outcome,
        told: Told,
        (started, began): (Instant, u64),
    ) {
        traced::end(&job.call.span, &outcome);
        if tracing::enabled!(target: TOLD, tracing::Level::DEBUG) {
            self.tell(&job, &outcome, started);
        }
        if self.journal.wants(&outcome) {
            self.write_down(&job, &outcome, told, (began, started.elapsed()));
        }
        // Nobody listens any more when the partition was given up; then nothing of
        // this may count, and nothing does.
        let _ = self.finished.send(Finished {
            ticket: job.ticket,
            outcome,
            generation: Arc::clone(&self.generation),
            canary: self.canary.clone(),
            span: std::mem::take(&mut job.call.span),
        });
    }

    /// The build, and whether it is on trial.
    pub(super) fn build(&self) -> (&Generation, bool) {
        (&self.generation, self.canary.is_some())
    }

    /// For `sluice dev`, which shows each attempt as it ends; else nobody listens.
    fn tell(&self, job: &Job, outcome: &Outcome, started: Instant) {
        let Job { call, .. } = job;
        let plugin = &self.generation.manifest().name;
        tracing::debug!(
            target: TOLD, %plugin, event = %call.event.id, r#type = %call.event.event_type,
            key = %call.key, attempt = call.attempt, took = ?started.elapsed(),
            outcome = outcome.name(), after = outcome.after().map(tracing::field::debug), error = outcome.error(), "told"
        );
    }

    /// For the event's story.
    fn write_down(&self, job: &Job, outcome: &Outcome, told: Told, (began, took): (u64, Duration)) {
        let attempt = Attempt {
            sequence: job.call.sequence,
            attempt: job.call.attempt,
            began,
            micros: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            ended: outcome.into(),
            error: outcome.error().to_owned(),
            lines: told.lines,
            emitted: told.emitted,
        };
        self.journal.record(&attempt.bounded());
    }

    fn run(&self, job: &Job, told: &mut Told) -> Outcome {
        let mut generation = Arc::clone(&self.generation);
        for _ in 0..MAX_RERUNS {
            if self.ledger.is_finished(&job.inbox) {
                self.ledger.duplicate(job.call.sequence, job.written_down);
                return Outcome::Duplicate;
            }
            if generation.manifest().saga.is_some() && !self.builds.keeps(&generation) {
                let error = "the build is on its way to the object store, for its sagas".to_owned();
                return Outcome::Again { error };
            }
            let Returned {
                result,
                mut staged,
                duration,
                memory,
            } = generation.call(&job.call, self.ledger.state());
            let ended = clock::unix_nanos();
            self.metrics.called(duration, memory);
            if !job.call.with_effects {
                staged.emitted.clear();
            }
            // Nothing is copied where nobody is told.
            if self.journal.is_on() || tracing::enabled!(target: EMITTED, Level::DEBUG) {
                *told = Told::of(&staged);
            }
            match result {
                Ok(()) => {}
                Err(Failure::Build(build)) => {
                    let plugin = &self.generation.manifest().name;
                    if let Some(found) = self.builds.find(plugin, &build) {
                        generation = found;
                        continue;
                    }
                    return outcome::of(Failure::Build(build));
                }
                Err(failure) => return outcome::of(failure),
            }
            let became = std::mem::take(&mut staged.became);
            let effects = Effects {
                reads: staged.reads,
                writes: staged.writes,
                emitted: staged
                    .emitted
                    .into_iter()
                    .map(|one| (one.subject, one.event))
                    .collect(),
                timers: staged.timers,
            };
            let closing = Closing {
                sequence: job.call.sequence,
                id: job.inbox,
                written_down: job.written_down,
                stored: job.stored,
            };
            match self.ledger.accept(closing, effects, ended / 1_000_000) {
                Accepted::Yes => {
                    self.metrics.handled(job.stored, ended);
                    for what in became {
                        self.metrics.saga(what);
                    }
                    for (subject, _) in &told.emitted {
                        let plugin = &self.generation.manifest().name;
                        tracing::debug!(target: EMITTED, %plugin, subject, "emitted");
                    }
                    return Outcome::Done;
                }
                Accepted::Duplicate => {
                    self.ledger.duplicate(job.call.sequence, job.written_down);
                    return Outcome::Duplicate;
                }
                // As if the deliveries had run one after another: this one comes after
                // the one whose write it missed.
                Accepted::Stale => {
                    traced::ran_again(&job.call.span);
                    self.metrics.reran.inc();
                }
            }
        }
        Outcome::Again {
            error: format!("what it had read was changed meanwhile, {MAX_RERUNS} times in a row"),
        }
    }
}

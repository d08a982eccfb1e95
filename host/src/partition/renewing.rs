//! Takes what is wanted of the plug-in now, gives the same partition with that: nothing waits for it.

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

use super::{Partition, Parts};
use crate::ledger::Ledger;
use crate::plugin::generation::Generation;
use crate::plugin::runners::{Finished, Runners};
use crate::rollout::{Canary, Rollout, needs_a_start};

impl Partition {
    /// From now on calls are the new build's. Those that run end on the old one, which goes with
    /// the last of them; those that wait for a runner are the new one's.
    pub(super) fn renew(&mut self) {
        let begun = Instant::now();
        let rollout = Arc::clone(&self.parts.rollouts.borrow_and_update());
        let next = &rollout.generation;
        if Arc::ptr_eq(next, &self.parts.generation) {
            return self.follow(&rollout);
        }
        let (plugin, version) = (&next.manifest().name, &next.manifest().version);
        let partition = self.ledger.name().to_string();
        tracing::info!(
            %plugin, %version, digest = next.digest(), partition, "a new build takes over"
        );
        if needs_a_start(self.manifest(), next.manifest()) {
            self.renewing = Some(begun);
            self.draining = true;
            return;
        }
        self.parts.generation = Arc::clone(next);
        let runners = self.runners((Arc::clone(next), None));
        let before = std::mem::replace(&mut self.runners, runners);
        self.submit_again(&before);
        self.parts.metrics.renewed(begun.elapsed());
        self.follow(&rollout);
    }

    /// Has what waits for a runner of these run by the plug-in's build.
    pub(super) fn submit_again(&self, before: &Runners) {
        for job in before.withdraw() {
            self.runners.submit(job);
        }
    }

    pub(super) fn runners(&self, build: (Arc<Generation>, Option<Arc<Canary>>)) -> Arc<Runners> {
        self.parts
            .runners(build, &self.ledger, self.finished.0.clone())
    }

    /// What is tried, and whether calls are begun at all.
    pub(super) fn follow(&mut self, rollout: &Rollout) {
        self.try_out(rollout.canary.as_ref());
        if self.paused != rollout.paused {
            let (plugin, partition) = (&self.manifest().name, self.ledger.name().to_string());
            let what = if rollout.paused { "paused" } else { "resumed" };
            tracing::info!(plugin, partition, "{what}");
            self.paused = rollout.paused;
        }
    }
}

impl Parts {
    /// The runners of a build, which may be on trial.
    pub(super) fn runners(
        &self,
        build: (Arc<Generation>, Option<Arc<Canary>>),
        ledger: &Arc<Ledger>,
        finished: UnboundedSender<Finished>,
    ) -> Arc<Runners> {
        let (generation, canary) = &build;
        if generation.manifest().saga.is_some() {
            // Seen to before the first of them begins.
            self.builds.keeps(generation);
        }
        let manifest = generation.manifest();
        let digests = (manifest.version.as_str(), generation.digest());
        let journal = self.journal.writer(&self.name, digests, canary.is_some());
        Runners::new(
            build,
            journal,
            (Arc::clone(ledger), self.builds.clone()),
            (self.metrics.clone(), self.traces.clone()),
            finished,
            self.tracker.clone(),
        )
    }
}

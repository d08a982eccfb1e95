//! Takes a new build of the plug-in, gives the same partition with that build: nothing waits for it.

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

use super::{Partition, Parts};
use crate::ledger::Ledger;
use crate::manifest::Manifest;
use crate::plugin::runners::{Finished, Runners};

impl Partition {
    /// From now on calls are the new build's. Those that run end on the old one, which goes with
    /// the last of them; those that wait for a runner are the new one's.
    pub(super) fn renew(&mut self) {
        let begun = Instant::now();
        let next = Arc::clone(&self.parts.generations.borrow_and_update());
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
        self.parts.generation = next;
        let runners = self.parts.runners(&self.ledger, self.finished.0.clone());
        let before = std::mem::replace(&mut self.runners, runners);
        for job in before.withdraw() {
            self.runners.submit(job);
        }
        self.parts.metrics.renewed(begun.elapsed());
    }
}

impl Parts {
    /// The runners of the build that is the plug-in now.
    pub(super) fn runners(
        &self,
        ledger: &Arc<Ledger>,
        finished: UnboundedSender<Finished>,
    ) -> Arc<Runners> {
        Runners::new(
            Arc::clone(&self.generation),
            Arc::clone(ledger),
            self.metrics.clone(),
            finished,
            self.tracker.clone(),
        )
    }
}

/// Other events are read, or wait for each other, or wait for an operator: what lanes and
/// cursor hold is made anew from the ledger.
fn needs_a_start(old: &Manifest, new: &Manifest) -> bool {
    old.subscribe.subjects != new.subscribe.subjects
        || old.delivery.ordering != new.delivery.ordering
        || old.retry.on_exhausted != new.retry.on_exhausted
}

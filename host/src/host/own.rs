//! Takes a plug-in, gives the runs of its partitions on this host: waited for, claimed, worked on, let go of.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{Error, Shared, WAIT_FIRST, chain, ended_by_itself, pause};
use crate::broker::Broker;
use crate::health;
use crate::leases::{Leases, Turn};
use crate::ledger::claim::{self, Claim, Claimant, claim};
use crate::ledger::committer::Commit;
use crate::ledger::subject::PartitionName;
use crate::ledger::writer::{self, Grouping, Writer};
use crate::ownership::{Share, shares};
use crate::partition::{Partition, Parts};
use crate::plugin::generation::Generation;
use crate::route;

/// A host that is to let go of a partition waits for the calls that run, each of which ends
/// within its timeout; this is for their commit.
const LET_GO: Duration = Duration::from_secs(5);
/// After another host took a partition over that this one holds to be its own: by then they
/// see the same hosts.
const AFTER_FENCE: Duration = Duration::from_secs(1);

/// What the partitions of a host work with.
#[derive(Clone)]
pub(super) struct Owning {
    pub(super) shared: Shared,
    pub(super) broker: Broker,
    pub(super) commits: mpsc::Sender<Commit>,
    pub(super) leases: Leases,
}

impl Owning {
    /// Says that the partitions of a plug-in are going to run, here or elsewhere.
    pub(super) fn announce(&self, generation: &Generation) {
        for share in shares(generation.manifest()) {
            let label = named(generation, &share).to_string();
            let starting = health::Partition::Starting;
            self.shared.health.partition(label, starting);
        }
    }

    /// Runs the partitions of a plug-in whenever they are this host's, until it stops.
    pub(super) async fn plugin(self, generation: Arc<Generation>) -> Result<(), Error> {
        let plugin = generation.manifest().name.clone();
        let shares = shares(generation.manifest());
        let wanted = generation.manifest().delivery.partitions;
        let Some(found) = self.divided(&plugin, wanted).await else {
            return Ok(());
        };
        if found != wanted {
            let error = format!(
                "its ledger is divided into {found} partitions, and the manifest says \
                 partitions = {wanted}; set it to {found} again, or give the plug-in a new name: \
                 positions and state belong to the partitions that they were written in"
            );
            tracing::error!(plugin, error, "plug-in refused; the others run");
            let health = &self.shared.health;
            for share in &shares {
                health.forget(&named(&generation, share).to_string());
            }
            health.refused(plugin, error);
            return Ok(());
        }
        self.leases.offer(&plugin, wanted);
        let mut partitions = JoinSet::new();
        for share in shares {
            let name = named(&generation, &share);
            let partition = self.clone().partition(Arc::clone(&generation), share, name);
            partitions.spawn(partition);
        }
        // Their senders are what the committer waits for.
        drop(self);
        while let Some(ended) = partitions.join_next().await {
            ended.map_err(|panicked| ended_by_itself("a partition", &panicked))?;
        }
        Ok(())
    }

    /// Runs one partition whenever it is this host's.
    async fn partition(self, generation: Arc<Generation>, share: Share, name: PartitionName) {
        let label = name.to_string();
        let (health, drain) = (&self.shared.health, &self.shared.drain);
        let patience = generation.manifest().delivery.timeout + LET_GO;
        let mut turns = self.leases.turns(name.clone());
        loop {
            let ours = turns.ours(patience, |turn| {
                let state = match turn {
                    Turn::Of(_) => health::Partition::Elsewhere,
                    Turn::Ours | Turn::After(_) | Turn::Unknown => health::Partition::Starting,
                };
                health.partition(label.clone(), state);
            });
            tokio::select! {
                () = ours => {}
                () = drain.cancelled() => return,
            }
            let Some(claim) = self.take_over(&name).await else {
                return;
            };
            self.leases.runs(&name, true);
            health.partition(label.clone(), health::Partition::Running);
            let ending = drain.child_token();
            let partition = self.started(Arc::clone(&generation), &share, &name, claim);
            let mut running = pin!(partition.run(ending.clone()));
            let result = tokio::select! {
                result = &mut running => result,
                () = turns.lost() => {
                    ending.cancel();
                    running.await
                }
            };
            self.leases.runs(&name, false);
            match result {
                Ok(()) if drain.is_cancelled() => {
                    tracing::info!(partition = label, "partition drained");
                    return;
                }
                Ok(()) => tracing::info!(partition = label, "partition let go of"),
                Err(writer::Error::Stopped) => return,
                Err(writer::Error::Fenced(fenced)) => {
                    tracing::warn!(partition = label, "{fenced}; this host leaves it");
                    health.partition(label.clone(), health::Partition::Starting);
                    tokio::select! {
                        () = tokio::time::sleep(AFTER_FENCE) => {}
                        () = drain.cancelled() => return,
                    }
                }
            }
        }
    }

    /// The partition at work, from where the claim says.
    fn started(
        &self,
        generation: Arc<Generation>,
        share: &Share,
        name: &PartitionName,
        claim: Claim,
    ) -> Partition {
        let (shared, broker) = (&self.shared, &self.broker);
        let grouping = Grouping {
            events: shared.config.ledger.commit_events,
            delay: shared.config.ledger.commit_delay,
        };
        let writer = Writer::new(
            Arc::clone(&claim.ledger),
            self.commits.clone(),
            shared.owner,
            claim.log,
            claim.position.clone(),
            grouping,
        );
        let parts = Parts {
            subjects: route::subjects(generation.manifest(), &share.slots),
            generation,
            context: broker.context.clone(),
            events: broker.events.clone(),
            ledger_stream: broker.ledger.clone(),
            max_payload: broker.max_payload(),
            metrics: shared.metrics.plugin(&name.plugin),
            tracker: shared.tracker.clone(),
        };
        tracing::info!(
            partition = %name,
            floor = claim.position.floor(),
            waiting = claim.waiting.len(),
            "partition taken over"
        );
        Partition::new(parts, claim, writer)
    }

    /// Claims a partition, as often as it takes. None when the host is stopping.
    async fn take_over(&self, name: &PartitionName) -> Option<Claim> {
        let attempt = || async move {
            let info = self.broker.events.get_info().await;
            let first = info
                .map_err(|error| error.to_string())?
                .state
                .first_sequence;
            // A plug-in that nobody has ever run begins with the oldest event.
            let start = first.saturating_sub(1);
            let claimed = claim(&self.claimant(), name.clone(), start).await;
            claimed.map_err(|error| chain(&error))
        };
        self.insist(&name.to_string(), attempt).await
    }

    /// Into how many partitions the plug-in's ledger is divided. None when the host is stopping.
    async fn divided(&self, plugin: &str, wanted: u8) -> Option<u8> {
        let attempt = || async move {
            let found = claim::partitions(&self.claimant(), plugin, wanted).await;
            found.map_err(|error| chain(&error))
        };
        self.insist(plugin, attempt).await
    }

    /// Tries as often as it takes. None when the host is stopping.
    async fn insist<T, F>(&self, name: &str, attempt: impl Fn() -> F) -> Option<T>
    where
        F: Future<Output = Result<T, String>>,
    {
        let mut wait = WAIT_FIRST;
        loop {
            let error = tokio::select! {
                result = attempt() => match result {
                    Ok(value) => return Some(value),
                    Err(error) => error,
                },
                () = self.shared.drain.cancelled() => return None,
            };
            tracing::warn!(partition = name, %error, retry_in = ?wait, "not taken over yet");
            pause(&self.shared, &mut wait).await?;
        }
    }

    fn claimant(&self) -> Claimant<'_> {
        Claimant {
            context: &self.broker.context,
            ledger: &self.broker.ledger,
            owner: self.shared.owner,
            mode: self.shared.config.ledger.mode,
            dedup_window: self.shared.config.ledger.dedup_window,
        }
    }
}

fn named(generation: &Generation, share: &Share) -> PartitionName {
    PartitionName {
        plugin: generation.manifest().name.clone(),
        partition: share.partition,
    }
}

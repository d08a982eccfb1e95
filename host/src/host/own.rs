//! Takes a plug-in, gives the runs of its partitions on this host: waited for, claimed, worked on, let go of.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Error, Shared, WAIT_FIRST, chain, ended_by_itself, pause};
use crate::broker::Broker;
use crate::builds::Builds;
use crate::carry_over::{self, Place, carry_over};
use crate::cursor::Tail;
use crate::deployment;
use crate::health;
use crate::leases::{Leases, Turn};
use crate::ledger::Ledger;
use crate::ledger::claim::{self, Claim, Claimant, claim};
use crate::ledger::committer::Commit;
use crate::ledger::history::Keep;
use crate::ledger::subject::PartitionName;
use crate::ledger::writer::{self, Grouping, Writer};
use crate::manifest::Manifest;
use crate::ownership::{Share, shares};
use crate::partition::{Ended, Partition, Parts};
use crate::plugin::engine::Engine;
use crate::plugin::generation::Generation;
use crate::projections;
use crate::rollout::Rollout;
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
    /// Reads for those who have caught up.
    pub(super) tail: Tail,
    /// What sagas began with.
    pub(super) builds: Builds,
    pub(super) engine: Arc<Engine>,
    /// Called when the plug-in, or the host, is to end.
    pub(super) ending: CancellationToken,
}

impl Owning {
    /// Says that the partitions of a plug-in are going to run, here or elsewhere.
    pub(super) fn announce(&self, generation: &Generation) {
        if generation.manifest().projection.is_some() {
            let label = projections::label(&generation.manifest().name);
            let starting = health::Partition::Starting;
            return self.shared.health.partition(label, starting);
        }
        for share in shares(generation.manifest()) {
            let label = named(&generation.manifest().name, &share).to_string();
            let starting = health::Partition::Starting;
            self.shared.health.partition(label, starting);
        }
    }

    /// Says that a plug-in does not run here, since it wants to be divided otherwise than its
    /// ledger is.
    pub(super) fn refuse(&self, plugin: &str, found: u8, wanted: u8) {
        let error = format!(
            "its ledger is divided into {found} partitions, and the manifest says \
             partitions = {wanted}; set it to {found} again, or give the plug-in a new name: \
             positions and state belong to the partitions that they were written in"
        );
        tracing::error!(plugin, error, "plug-in refused; what runs goes on");
        self.shared.health.refused(plugin.to_owned(), error);
    }

    /// Runs the partitions of a plug-in whenever they are this host's, until it ends.
    pub(super) async fn plugin(self, rollouts: watch::Receiver<Arc<Rollout>>) -> Result<(), Error> {
        let is_projection = rollouts.borrow().generation.manifest().projection.is_some();
        if is_projection {
            let parts = self.projection();
            Box::pin(projections::keep(parts, rollouts, self.ending)).await;
            return Ok(());
        }
        // The first build is not to be kept for as long as the plug-in runs.
        let (plugin, wanted, shares) = {
            let rollout = rollouts.borrow();
            let manifest = rollout.generation.manifest();
            let wanted = manifest.delivery.partitions;
            (manifest.name.clone(), wanted, shares(manifest))
        };
        let names: Vec<PartitionName> = shares.iter().map(|share| named(&plugin, share)).collect();
        let Some(found) = self.divided(&plugin, wanted).await else {
            return Ok(());
        };
        if found != wanted {
            self.refuse(&plugin, found, wanted);
            self.forget(&names);
            return Ok(());
        }
        self.leases.offer(&plugin, wanted);
        let mut partitions = JoinSet::new();
        for (share, name) in shares.into_iter().zip(names.clone()) {
            let partition = self.clone().partition(rollouts.clone(), share, name);
            partitions.spawn(partition);
        }
        drop(rollouts);
        while let Some(ended) = partitions.join_next().await {
            ended.map_err(|panicked| ended_by_itself("a partition", &panicked))?;
        }
        if !self.shared.drain.is_cancelled() {
            self.leases.withdraw(&plugin);
            self.forget(&names);
        }
        Ok(())
    }

    /// What a projection works with.
    fn projection(&self) -> projections::Parts {
        let (shared, broker) = (&self.shared, &self.broker);
        projections::Parts {
            config: Arc::clone(&shared.config),
            context: broker.context.clone(),
            events: broker.events.clone(),
            tail: self.tail.clone(),
            engine: Arc::clone(&self.engine),
            metrics: shared.metrics.clone(),
            health: shared.health.clone(),
            tracker: shared.tracker.clone(),
            projections: shared.projections.clone(),
        }
    }

    fn forget(&self, names: &[PartitionName]) {
        for name in names {
            let label = deployment::label_of_state(&name.to_string());
            self.shared.health.accepted(&label);
            self.shared.health.forget(&name.to_string());
        }
    }

    /// Runs one partition whenever it is this host's.
    async fn partition(
        self,
        mut rollouts: watch::Receiver<Arc<Rollout>>,
        share: Share,
        name: PartitionName,
    ) {
        let label = name.to_string();
        let (health, ending) = (&self.shared.health, &self.ending);
        let mut turns = self.leases.turns(name.clone());
        let mut paused_since: Option<Instant> = None;
        let mut wait = WAIT_FIRST;
        loop {
            let timeout = rollouts.borrow().generation.manifest().delivery.timeout;
            let ours = turns.ours(timeout + LET_GO, |turn| {
                let state = match turn {
                    Turn::Of(_) => health::Partition::Elsewhere,
                    Turn::Ours | Turn::After(_) | Turn::Unknown => health::Partition::Starting,
                };
                health.partition(label.clone(), state);
            });
            tokio::select! {
                () = ours => {}
                () = ending.cancelled() => return,
            }
            let generation = Arc::clone(&rollouts.borrow_and_update().generation);
            let keep = keep(generation.manifest());
            let Some(claim) = self.take_over(&name, keep).await else {
                return;
            };
            self.leases.runs(&name, true);
            let mut writer = self.writer(&claim);
            let carried = tokio::select! {
                // For most builds there is nothing to carry over, and nothing to wait for.
                biased;
                carried = self.carried_over(&generation, &claim.ledger, &mut writer) => carried,
                () = turns.lost() => Err(None),
                () = ending.cancelled() => Err(None),
            };
            if let Err(error) = carried {
                self.leases.runs(&name, false);
                if let Some(error) = error {
                    tracing::error!(partition = label, error, "the partition waits");
                    health.refused(deployment::label_of_state(&label), error);
                }
                tokio::select! {
                    on = pause(ending, &mut wait) => if on.is_none() {
                        return;
                    },
                    // Another build may be able to.
                    Ok(()) = rollouts.changed() => wait = WAIT_FIRST,
                }
                continue;
            }
            wait = WAIT_FIRST;
            health.accepted(&deployment::label_of_state(&label));
            health.runs(label.clone(), generation.manifest().state_version);
            let let_go = ending.child_token();
            let partition = self.started(generation, &rollouts, &share, (claim, writer));
            if let Some(since) = paused_since.take() {
                let metrics = self.shared.metrics.plugin(&name.plugin);
                metrics.renewed(since.elapsed());
            }
            let mut running = pin!(partition.run(let_go.clone()));
            let result = tokio::select! {
                result = &mut running => result,
                () = turns.lost() => {
                    let_go.cancel();
                    running.await
                }
            };
            self.leases.runs(&name, false);
            match result {
                Ok(_) if ending.is_cancelled() => {
                    tracing::info!(partition = label, "partition drained");
                    return;
                }
                Ok(Ended::Renewed(since)) => {
                    tracing::info!(partition = label, "partition made anew");
                    paused_since = Some(since);
                }
                Ok(Ended::Drained) => tracing::info!(partition = label, "partition let go of"),
                Err(writer::Error::Stopped) => return,
                Err(writer::Error::Fenced(fenced)) => {
                    tracing::warn!(partition = label, "{fenced}; this host leaves it");
                    health.partition(label.clone(), health::Partition::Starting);
                    tokio::select! {
                        () = tokio::time::sleep(AFTER_FENCE) => {}
                        () = ending.cancelled() => return,
                    }
                }
            }
        }
    }

    /// What commits for the partition.
    fn writer(&self, claim: &Claim) -> Writer {
        let config = &self.shared.config.ledger;
        let grouping = Grouping {
            events: config.commit_events,
            delay: config.commit_delay,
        };
        Writer::new(
            Arc::clone(&claim.ledger),
            self.commits.clone(),
            self.shared.owner,
            claim.log,
            claim.position.clone(),
            grouping,
            self.shared.metrics.settling(),
        )
    }

    /// Has the state carried over, where the build wants that. The error says why not; there is
    /// none to say when the partition is another host's by now.
    async fn carried_over(
        &self,
        generation: &Arc<Generation>,
        ledger: &Arc<Ledger>,
        writer: &mut Writer,
    ) -> Result<(), Option<String>> {
        if generation.manifest().migrate_from.is_some() {
            let label = ledger.name().to_string();
            let carrying = health::Partition::CarryingOver;
            self.shared.health.partition(label, carrying);
        }
        let place = Place {
            ledger,
            writer,
            stream: &self.broker.ledger,
        };
        carry_over(place, generation).await.map_err(|error| {
            let is_others = matches!(error, carry_over::Error::Write(_));
            (!is_others).then(|| format!("{}: {}", generation.digest(), chain(&error)))
        })
    }

    /// The partition at work, from where the claim says.
    fn started(
        &self,
        generation: Arc<Generation>,
        rollouts: &watch::Receiver<Arc<Rollout>>,
        share: &Share,
        (claim, writer): (Claim, Writer),
    ) -> Partition {
        let (shared, broker) = (&self.shared, &self.broker);
        let name = claim.ledger.name();
        let parts = Parts {
            subjects: route::subjects(generation.manifest(), &share.slots),
            generation,
            rollouts: rollouts.clone(),
            context: broker.context.clone(),
            events: broker.events.clone(),
            tail: self.tail.clone(),
            ledger_stream: broker.ledger.clone(),
            max_payload: broker.max_payload(),
            builds: self.builds.clone(),
            metrics: shared.metrics.plugin(&name.plugin),
            journal: shared.journal.clone(),
            name: name.clone(),
            traces: shared.traces.clone(),
            said: shared.said.clone(),
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
    async fn take_over(&self, name: &PartitionName, keep: Keep) -> Option<Claim> {
        let attempt = || async move {
            let info = self.broker.events.get_info().await;
            let first = info
                .map_err(|error| error.to_string())?
                .state
                .first_sequence;
            // A plug-in that nobody has ever run begins with the oldest event.
            let start = first.saturating_sub(1);
            let claimed = claim(&self.claimant(), name.clone(), (start, keep)).await;
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
                () = self.ending.cancelled() => return None,
            };
            tracing::warn!(partition = name, %error, retry_in = ?wait, "not taken over yet");
            pause(&self.ending, &mut wait).await?;
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

fn named(plugin: &str, share: &Share) -> PartitionName {
    PartitionName {
        plugin: plugin.to_owned(),
        partition: share.partition,
    }
}

/// For how long the plug-in's state is to be known.
fn keep(manifest: &Manifest) -> Keep {
    let has_state = manifest.capabilities.state || manifest.saga.is_some();
    match (has_state, manifest.limits.state_history) {
        (false, _) => Keep::NoState,
        (true, None) => Keep::Nothing,
        (true, Some(time)) => Keep::For(time),
    }
}

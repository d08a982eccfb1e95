//! Takes a partition that is this host's, gives its runs: claimed, worked on, drained or lost.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::{Shared, WAIT_FIRST, chain, pause};
use crate::broker::Broker;
use crate::health;
use crate::ledger::claim::{Claim, Claimant, claim};
use crate::ledger::committer::Commit;
use crate::ledger::subject::PartitionName;
use crate::ledger::writer::{self, Grouping, Writer};
use crate::ownership::Share;
use crate::partition::{Partition, Parts};
use crate::plugin::generation::Generation;
use crate::route;

/// Takes one partition over and runs it.
pub(super) async fn own(
    shared: Shared,
    broker: Broker,
    commits: mpsc::Sender<Commit>,
    generation: Arc<Generation>,
    share: Share,
    name: PartitionName,
) {
    let label = name.to_string();
    let Some(claim) = take_over(&shared, &broker, &name).await else {
        return;
    };
    let grouping = Grouping {
        events: shared.config.ledger.commit_events,
        delay: shared.config.ledger.commit_delay,
    };
    let writer = Writer::new(
        Arc::clone(&claim.ledger),
        commits,
        shared.owner,
        claim.log,
        claim.position.clone(),
        grouping,
    );
    let metrics = shared.metrics.plugin(&name.plugin);
    let parts = Parts {
        subjects: route::subjects(generation.manifest(), &share.slots),
        generation,
        context: broker.context.clone(),
        events: broker.events.clone(),
        ledger_stream: broker.ledger.clone(),
        max_payload: broker.max_payload(),
        metrics,
        tracker: shared.tracker.clone(),
    };
    tracing::info!(
        partition = label,
        floor = claim.position.floor(),
        waiting = claim.waiting.len(),
        "partition taken over"
    );
    let partition = Partition::new(parts, claim, writer);
    let running = health::Partition::Running;
    shared.health.partition(label.clone(), running);
    match partition.run(shared.drain.clone()).await {
        Ok(()) => tracing::info!(partition = label, "partition drained"),
        Err(writer::Error::Stopped) => {}
        Err(writer::Error::Fenced(fenced)) => {
            tracing::error!(partition = label, "{fenced}; this host leaves it");
            let taken = health::Partition::TakenOver;
            shared.health.partition(label, taken);
        }
    }
}

/// Claims a partition, as often as it takes. None when the host is stopping.
async fn take_over(shared: &Shared, broker: &Broker, name: &PartitionName) -> Option<Claim> {
    let claimant = Claimant {
        context: &broker.context,
        ledger: &broker.ledger,
        owner: shared.owner,
        dedup_window: shared.config.ledger.dedup_window,
    };
    let mut wait = WAIT_FIRST;
    loop {
        let attempt = async {
            let info = broker.events.get_info().await;
            let first = info
                .map_err(|error| error.to_string())?
                .state
                .first_sequence;
            // A plug-in that nobody has ever run begins with the oldest event.
            let claimed = claim(&claimant, name.clone(), first.saturating_sub(1)).await;
            claimed.map_err(|error| chain(&error))
        };
        let error = tokio::select! {
            claimed = attempt => match claimed {
                Ok(claim) => return Some(claim),
                Err(error) => error,
            },
            () = shared.drain.cancelled() => return None,
        };
        tracing::warn!(partition = %name, %error, retry_in = ?wait, "not taken over yet");
        pause(shared, &mut wait).await?;
    }
}

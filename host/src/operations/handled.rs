//! Takes the plug-ins that run, gives up to where every one of them is through with the event store.

use std::collections::BTreeMap;

use async_nats::jetstream::Context;

use super::fleet;
use super::positions::Positions;
use crate::broker::{LEDGER, ReadError, open};
use crate::ledger::subject::retries;
use crate::ledger::waiting;

/// Why that cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The ledger cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The hosts cannot be asked.
    #[error(transparent)]
    Fleet(#[from] fleet::Error),
    /// Not all of them answer.
    #[error("{0} does not answer, so it cannot be told what its plug-ins still wait for")]
    Silent(String),
    /// There are none.
    #[error("no host runs, so it cannot be told which plug-ins still wait for these events")]
    Nobody,
}

/// How far plug-ins are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handled {
    /// No plug-in still reads, or wants, what stands up to here.
    pub up_to: u64,
    /// The one that does behind it.
    pub by: Option<String>,
}

/// Asks the hosts which plug-ins run, and the ledger how far each is. Those count too that do not
/// hear of what is to leave: where the store begins behind the place of a plug-in, that says it
/// has lost events, since nobody knows of what kind those were.
///
/// # Errors
/// When that cannot be told.
pub async fn handled(context: &Context) -> Result<Handled, Error> {
    let (answers, silent) = fleet::answers(context).await?;
    if !silent.is_empty() {
        return Err(Error::Silent(silent.join(", ")));
    }
    if answers.is_empty() {
        return Err(Error::Nobody);
    }
    let mut known: BTreeMap<String, u8> = BTreeMap::new();
    let mut projected: BTreeMap<String, u64> = BTreeMap::new();
    for entry in answers.into_iter().flat_map(|answer| answer.plugins) {
        if let Some(projection) = entry.projection {
            // Each host has a place of its own, and so has a version that is being built.
            let building = projection.building.map_or(u64::MAX, |one| one.position);
            let place = projection.current.position.min(building);
            let least = projected.entry(entry.plugin).or_insert(u64::MAX);
            *least = place.min(*least);
            continue;
        }
        let partitions = entry.limits.map_or(1, |limits| limits.partitions);
        let most = known.entry(entry.plugin).or_default();
        *most = partitions.max(*most).max(1);
    }
    let ledger = open(context, LEDGER).await?;
    let mut handled = Handled {
        up_to: u64::MAX,
        by: None,
    };
    for (plugin, up_to) in projected {
        if up_to < handled.up_to {
            handled = Handled {
                up_to,
                by: Some(plugin),
            };
        }
    }
    for (plugin, partitions) in known {
        let mut up_to = Positions::read(&ledger, &plugin, partitions).await?.floor();
        for ((_, place), retry) in waiting::read(&ledger, &retries(Some(&plugin))).await? {
            let first = retry.replay.unwrap_or(place).min(place);
            up_to = up_to.min(first.saturating_sub(1));
        }
        if up_to < handled.up_to {
            handled = Handled {
                up_to,
                by: Some(plugin),
            };
        }
    }
    Ok(handled)
}

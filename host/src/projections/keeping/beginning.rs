//! Takes what is written down of a projection, gives its keeper, with the version that answers open.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::super::folder::Written;
use super::super::opening::{Parts, before, blocking, open};
use super::super::running::Running;
use super::super::shelf::Shelf;
use super::super::store::Error;
use super::super::{Shown, Versions};
use super::sharing::Part;
use super::{AGAIN, ASK, Keeper};
use crate::metrics::Standing;
use crate::rollout::Rollout;

/// Opens what there is, and begins what there is not.
pub(super) async fn begin(
    parts: &Parts,
    name: &str,
    rollouts: &mut watch::Receiver<Arc<Rollout>>,
) -> Result<Keeper, Error> {
    let wanted = Arc::clone(&rollouts.borrow_and_update().generation);
    let (shelf, owns, mut written) = take(parts, name).await?;
    let found = written.clone();
    let named = match written.current.clone() {
        Some(named) => named,
        None => {
            let named = written.name(&wanted);
            written.current = Some(named.clone());
            named
        }
    };
    let build = match named.is_of(&wanted) {
        true => Ok(Arc::clone(&wanted)),
        false => before(parts, &shelf, &named).await,
    };
    let (build, stands) = match build {
        Ok(build) => (Some(build), None),
        Err(error) => {
            tracing::warn!(
                projection = name,
                digest = named.digest,
                error,
                "the build before cannot be run; its rows stand still until the new one has them"
            );
            (None, Some(error))
        }
    };
    // The shape of the file is the build's that made it.
    let shaped = build.as_ref().unwrap_or(&wanted);
    let version = open(parts, &shelf, &named, shaped).await?;
    version.stands(stands);
    if owns {
        let (shelf, now) = (shelf.clone(), written.clone());
        blocking(parts, move || shelf.write(&found, &now)).await?;
    }
    let current = Running::start(parts, version, build.filter(|_| owns));
    let versions = Versions {
        current: Arc::clone(&current.version),
        building: None,
        follows: !owns,
    };
    let (versions, seen) = watch::channel(versions);
    let (rebuild, rebuilds) = mpsc::channel(1);
    let shown = Shown {
        versions: seen,
        rebuild,
    };
    let mut keeper = Keeper {
        _shown: parts.projections.show(name, shown),
        metrics: parts.metrics.projection(name),
        parts: parts.clone(),
        name: name.to_owned(),
        shelf,
        part: Part::new(owns),
        written,
        gone: Vec::new(),
        current,
        building: None,
        versions,
        rebuilds,
        wanted,
        reported: Standing::default(),
        held_until: None,
        asked_at: Instant::now(),
        again_at: Instant::now(),
        paused: false,
    };
    if owns {
        keeper.settle().await?;
    }
    Ok(keeper)
}

/// What is written down, and whether this host writes. One that does not waits for the first version
/// of the one that does.
async fn take(parts: &Parts, name: &str) -> Result<(Shelf, bool, Written), Error> {
    let (config, database) = (Arc::clone(&parts.config), parts.projections.database());
    let of = name.to_owned();
    let shelf = move || Shelf::open(&config, database.as_ref(), &of);
    let shelf = blocking(parts, shelf).await?;
    let end = Instant::now() + AGAIN;
    loop {
        let it = shelf.clone();
        let taking = blocking(parts, move || {
            let owns = it.claim()?;
            let written = it.read()?;
            if owns {
                it.tidy(&written)?;
            }
            Ok((owns, written))
        });
        let (owns, written) = taking.await?;
        if owns || written.current.is_some() {
            return Ok((shelf, owns, written));
        }
        if end <= Instant::now() {
            return Err(Error::Away(
                "another host is to begin with it, and has not yet".to_owned(),
            ));
        }
        tokio::time::sleep(ASK).await;
    }
}

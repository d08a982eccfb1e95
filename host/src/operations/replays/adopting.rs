//! Takes replays that nobody does (any more), does them: one host each.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::kv::Operation;
use futures_util::StreamExt as _;
use tokio::time::{Instant, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::{Error, Read, Replay, Replays, State, run};

/// A replay of which nothing was heard for so long is nobody's. No clock is compared with
/// another's.
const SILENCE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(250);
const TRY_AGAIN: Duration = Duration::from_secs(2);

/// Does what nobody does, until `stop`. `by` is this host, and this process of it.
pub async fn adopt(context: Context, by: String, stop: CancellationToken) {
    while !stop.is_cancelled() {
        // One that goes on at the stop hands over what is left by itself.
        if let Err(error) = watch(&context, &by, &stop).await {
            tracing::debug!(%error, "replays cannot be watched at the moment");
        }
        tokio::select! {
            () = sleep(TRY_AGAIN) => {}
            () = stop.cancelled() => {}
        }
    }
}

async fn watch(context: &Context, by: &str, stop: &CancellationToken) -> Result<(), Error> {
    let replays = Replays::open(context).await?;
    let mut changes = replays.changes().await?;
    let mut heard: HashMap<String, (Replay, u64, Instant)> = HashMap::new();
    let mut look = interval(LOOK);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            change = changes.next() => {
                let Some(change) = change else { return Ok(()) };
                let change = change.map_err(|error| Error::Bucket(error.to_string()))?;
                let replay = serde_json::from_slice::<Replay>(&change.value).ok();
                let replay = replay.filter(|replay| {
                    change.operation == Operation::Put && replay.state == State::Running
                });
                match replay {
                    Some(replay) => heard.insert(
                        change.key, (replay, change.revision, Instant::now()),
                    ),
                    None => heard.remove(&change.key),
                };
            }
            _ = look.tick() => {
                let orphan = heard.values().find(|(replay, _, at)| {
                    replay.by.is_empty() || SILENCE < at.elapsed()
                });
                let Some((replay, revision, _)) = orphan.cloned() else { continue };
                heard.remove(&super::key(&replay.id));
                take(&replays, (replay, revision), by, stop).await;
            }
        }
    }
}

/// Does one, if no other host was faster.
async fn take(replays: &Replays, (mut replay, revision): Read, by: &str, stop: &CancellationToken) {
    by.clone_into(&mut replay.by);
    let id = replay.id.clone();
    let done = async {
        let Some(revision) = replays.write(&replay, revision).await? else {
            return Ok(None);
        };
        tracing::info!(
            replay = id,
            finished = replay.finished(),
            of = replay.total,
            "replaying dead letters"
        );
        run(replays, (replay, revision), stop, |_| {})
            .await
            .map(Some)
    };
    match done.await {
        Ok(Some(replay)) => tracing::info!(
            replay = id,
            state = replay.state.name(),
            replayed = replay.replayed,
            gone = replay.gone,
            failed = replay.failed,
            "replay"
        ),
        Ok(None) => {}
        Err(error) => {
            tracing::warn!(replay = id, %error, "a replay was interrupted; a host goes on with it")
        }
    }
}

//! Takes replays that nobody does (any more), does them: one host each.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::kv::Operation;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::{Error, Read, Replay, Replays, State, run};

/// A replay of which nothing was heard for so long is nobody's. No clock is compared with
/// another's.
const SILENCE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(250);
const TRY_AGAIN: Duration = Duration::from_secs(2);
/// Replays that one host does at once: one of history can take days.
const AT_ONCE: usize = 8;

/// Those that this host does, each with its name when it has ended.
#[derive(Default)]
struct Doing {
    names: HashSet<String>,
    ends: FuturesUnordered<BoxFuture<'static, String>>,
}

impl Doing {
    fn begin(&mut self, id: String, doing: impl Future<Output = ()> + Send + 'static) {
        self.names.insert(id.clone());
        self.ends.push(Box::pin(async move {
            doing.await;
            id
        }));
    }

    /// Waits for the next end; for ever while none is done.
    async fn ended(&mut self) {
        match self.ends.next().await {
            Some(id) => drop(self.names.remove(&id)),
            None => std::future::pending().await,
        }
    }
}

/// Does what nobody does, until `stop`. `by` is this host, and this process of it.
pub async fn adopt(context: Context, by: String, stop: CancellationToken) {
    let mut doing = Doing::default();
    while !stop.is_cancelled() {
        if let Err(error) = watch(&context, &by, &stop, &mut doing).await {
            tracing::debug!(%error, "replays cannot be watched at the moment");
        }
        let again = sleep(TRY_AGAIN);
        tokio::pin!(again);
        loop {
            tokio::select! {
                () = &mut again => break,
                () = stop.cancelled() => break,
                () = doing.ended() => {}
            }
        }
    }
    // Each hands over what is left by itself.
    while !doing.ends.is_empty() {
        doing.ended().await;
    }
}

async fn watch(
    context: &Context,
    by: &str,
    stop: &CancellationToken,
    doing: &mut Doing,
) -> Result<(), Error> {
    let replays = Replays::open(context).await?;
    let mut changes = replays.changes().await?;
    let mut heard: HashMap<String, (Replay, u64, Instant)> = HashMap::new();
    let mut look = interval(LOOK);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = doing.ended() => {}
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
            _ = look.tick(), if doing.names.len() < AT_ONCE => {
                let orphan = heard.values().find(|(replay, _, at)| {
                    let is_nobodys = replay.by.is_empty() || SILENCE < at.elapsed();
                    is_nobodys && !doing.names.contains(&replay.id)
                });
                let Some((replay, revision, _)) = orphan.cloned() else { continue };
                heard.remove(&super::key(&replay.id));
                let (id, replays) = (replay.id.clone(), replays.clone());
                let (by, stop) = (by.to_owned(), stop.clone());
                doing.begin(id, async move {
                    take(&replays, (replay, revision), by, &stop).await;
                });
            }
        }
    }
}

/// Does one, if no other host was faster.
async fn take(
    replays: &Replays,
    (mut replay, revision): Read,
    by: String,
    stop: &CancellationToken,
) {
    replay.by = by;
    let (id, what) = (replay.id.clone(), replay.things());
    let done = async {
        let Some(revision) = replays.write(&replay, revision).await? else {
            return Ok(None);
        };
        tracing::info!(
            replay = id,
            finished = replay.finished(),
            of = replay.total,
            "replaying {what}"
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

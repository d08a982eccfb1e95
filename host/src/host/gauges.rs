//! Takes a host and its streams, gives gauges of the whole: whether it is ready, and how full they are.

use std::time::Duration;

use async_nats::jetstream::Context;
use tokio::time::{MissedTickBehavior, interval};

use super::Shared;
use crate::broker::{DEADLETTER, EVENTS, LEDGER};

const EVERY: Duration = Duration::from_secs(1);
/// The broker is asked for each stream.
const STREAMS_EVERY: Duration = Duration::from_secs(5);

/// Until the host has stopped.
pub(super) async fn run(shared: Shared) {
    let looking = async { tokio::join!(readiness(&shared), streams(&shared)) };
    tokio::select! {
        _ = looking => {}
        () = shared.abort.cancelled() => {}
    }
}

async fn readiness(shared: &Shared) {
    let mut tick = interval(EVERY);
    loop {
        tick.tick().await;
        shared.metrics.ready(shared.health.readiness().ready);
    }
}

async fn streams(shared: &Shared) {
    let mut broker = shared.broker.subscribe();
    let mut tick = interval(STREAMS_EVERY);
    // One that is slow to answer is not asked twice for that.
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let context = match broker.wait_for(Option::is_some).await {
            Ok(context) => context.clone(),
            Err(_) => return,
        };
        let Some(context) = context else { return };
        tick.tick().await;
        for name in [EVENTS, LEDGER, DEADLETTER] {
            look(shared, &context, name).await;
        }
    }
}

/// A broker that does not answer leaves the gauges as they are.
async fn look(shared: &Shared, context: &Context, name: &'static str) {
    let Ok(stream) = context.get_stream(name).await else {
        return;
    };
    let info = stream.cached_info();
    let limit = u64::try_from(info.config.max_bytes);
    let limit = limit.ok().filter(|limit| 0 < *limit);
    let (messages, bytes) = (info.state.messages, info.state.bytes);
    shared.metrics.stream(name, (messages, bytes), limit);
    if name == EVENTS {
        shared.metrics.events_stay(info.config.max_age);
    }
}

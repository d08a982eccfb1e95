//! Takes the bridges in, gives each at work: begun anew after each failure, until the host stops.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::intake::Intake;
use super::source::Source;
use crate::config::Config;
use crate::config::bridge::Direction;
use crate::gateway::publisher::Publisher;
use crate::health::Health;
use crate::ledger::LEAST_TTL;
use crate::metrics::Metrics;
use crate::plugin::engine::Engine;
use crate::schemas::Watcher;

const WAIT_FIRST: Duration = Duration::from_millis(200);
const WAIT_LONGEST: Duration = Duration::from_secs(30);

/// What bridges share with the host.
#[derive(Clone)]
pub struct Surroundings {
    /// Counts what comes in.
    pub metrics: Metrics,
    /// Says which bridge does not work.
    pub health: Health,
    /// Looks at the bodies of what comes in.
    pub schemas: Watcher,
    /// Knows their tasks.
    pub tracker: TaskTracker,
    /// Nothing more is read.
    pub drain: CancellationToken,
    /// Nothing more is waited for.
    pub abort: CancellationToken,
}

/// Runs the bridges in until the host stops and what they have read is settled.
pub async fn run(
    (config, engine): (Arc<Config>, Arc<Engine>),
    publisher: Publisher,
    around: Surroundings,
) {
    let ttl = config.ledger.dedup_window.max(LEAST_TTL);
    let outgoing = match engine.outgoing() {
        Ok(outgoing) => outgoing,
        Err(error) => {
            tracing::error!(%error, "no bridge in is run");
            return;
        }
    };
    let mut running = Vec::new();
    for bridge in &config.bridges {
        let Direction::In(inward) = &bridge.direction else {
            continue;
        };
        let Some(source) = Source::open(bridge, outgoing) else {
            continue;
        };
        let intake = Intake::new(
            (&bridge.name, inward),
            (&publisher, &around.schemas),
            ttl,
            (around.metrics.bridge(&bridge.name), around.health.clone()),
            (&around.tracker, &around.abort),
        );
        let task = keep_running(source, intake, around.clone());
        running.push(around.tracker.spawn(task));
    }
    for task in running {
        if let Err(panicked) = task.await {
            tracing::error!(error = %panicked, "a bridge ended by itself");
        }
    }
}

async fn keep_running(source: Source, intake: Intake, around: Surroundings) {
    let mut wait = WAIT_FIRST;
    loop {
        let run = source.run(&intake, around.drain.clone());
        let ended = tokio::select! {
            ended = Box::pin(run) => ended,
            () = around.abort.cancelled() => return,
        };
        let error = match ended {
            Ok(()) if around.drain.is_cancelled() => return,
            Ok(()) => "it ended by itself".to_owned(),
            Err(error) => error,
        };
        // One that had a connection failed for a new reason.
        if intake.worked() {
            wait = WAIT_FIRST;
        }
        tracing::warn!(bridge = intake.name(), error, retry_in = ?wait, "the bridge does not work");
        intake.fails(error);
        tokio::select! {
            () = sleep(wait) => wait = (wait * 2).min(WAIT_LONGEST),
            () = around.drain.cancelled() => return,
        }
    }
}

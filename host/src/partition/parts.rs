//! Takes what a partition is given to work with, gives the dead letters that it makes of it.

use std::sync::Arc;

use async_nats::jetstream::Context;
use async_nats::jetstream::stream::Stream;
use serde_json::json;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::builds::Builds;
use crate::clock;
use crate::cursor::Tail;
use crate::held::{Body, Held};
use crate::journal::Journal;
use crate::ledger::dead_letter::DeadLetter;
use crate::ledger::reason::Reason;
use crate::ledger::subject::PartitionName;
use crate::metrics::PluginMetrics;
use crate::plugin::generation::Generation;
use crate::rollout::Rollout;
use crate::system_events::{SystemEvent, SystemEvents};
use crate::telemetry::traces::Traces;

/// What a partition works with.
pub struct Parts {
    /// The plug-in, as it is now.
    pub generation: Arc<Generation>,
    /// What takes its place, is tried beside it, or pauses it.
    pub rollouts: watch::Receiver<Arc<Rollout>>,
    /// For bodies that are in the object store.
    pub context: Context,
    /// The event store.
    pub events: Stream,
    /// The ledger's stream, for letting go of old log messages.
    pub ledger_stream: Stream,
    /// What feeds those that have caught up.
    pub tail: Tail,
    /// The subjects of this share.
    pub subjects: Vec<String>,
    /// Largest message of the broker, in bytes.
    pub max_payload: usize,
    /// Where the builds are that sagas began with.
    pub builds: Builds,
    /// Of the plug-in.
    pub metrics: PluginMetrics,
    /// Where attempts are written down,
    pub journal: Journal,
    /// as those of this partition.
    pub name: PartitionName,
    /// Where the spans of attempts go.
    pub traces: Traces,
    /// Where what happens to the plug-in is told as an event.
    pub said: SystemEvents,
    /// Where tasks and calls are spawned.
    pub tracker: TaskTracker,
}

impl Parts {
    /// The dead letter of a delivery, said aloud and counted.
    pub(super) fn dead_letter<'a>(
        &self,
        by: &'a Generation,
        held: &'a Held,
        reason: Reason,
        error: &'a str,
    ) -> DeadLetter<'a> {
        tracing::warn!(
            plugin = %by.manifest().name,
            event = held.body.as_ref().map_or("", Body::event_id),
            correlation = held.body.as_ref().and_then(Body::correlation).as_deref(),
            sequence = held.sequence, attempts = held.attempts, reason = reason.as_str(), %error,
            "dead letter"
        );
        self.metrics.buried(reason);
        held.dead_letter(by, reason, error, self.max_payload)
    }

    /// The circuit breaker has opened, with the error that opened it, or closed again.
    pub(super) fn tell_breaker(&self, name: &str, error: Option<&str>) {
        let plugin = &self.generation.manifest().name;
        let (partition, now) = (self.name.to_string(), clock::unix_millis());
        self.said.raise(SystemEvent {
            name: name.to_owned(),
            id: format!("{name}/{partition}/{now}"),
            about: plugin.clone(),
            data: json!({ "plugin": plugin, "partition": partition, "error": error }),
        });
    }
}

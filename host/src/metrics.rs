//! Takes what the stages report, gives Prometheus text. Every metric is declared here, once.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::ledger::reason::Reason;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Plugin {
    plugin: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PluginOutcome {
    plugin: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PluginReason {
    plugin: String,
    reason: &'static str,
}

/// All metrics of a host. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    deliveries: Family<Plugin, Counter>,
    outcomes: Family<PluginOutcome, Counter>,
    dead_letters: Family<PluginReason, Counter>,
    reruns: Family<Plugin, Counter>,
    call_duration: Family<Plugin, Histogram>,
    end_to_end: Family<Plugin, Histogram>,
    commit_events: Histogram,
    commit_duration: Histogram,
    lanes_parked: Family<Plugin, Gauge>,
    in_flight: Family<Plugin, Gauge>,
    lag: Family<Plugin, Gauge>,
    memory: Family<Plugin, Gauge>,
}

fn seconds() -> Histogram {
    // 50 µs to 26 s.
    Histogram::new(exponential_buckets(50e-6, 2.0, 20))
}

fn counts() -> Histogram {
    Histogram::new(exponential_buckets(1.0, 2.0, 12))
}

impl Default for Metrics {
    fn default() -> Self {
        let deliveries = Family::default();
        let outcomes = Family::default();
        let dead_letters = Family::default();
        let reruns = Family::default();
        let call_duration = Family::new_with_constructor(seconds as fn() -> Histogram);
        let end_to_end = Family::new_with_constructor(seconds as fn() -> Histogram);
        let (commit_events, commit_duration) = (counts(), seconds());
        let (lanes_parked, in_flight, lag, memory) = (
            Family::default(),
            Family::default(),
            Family::default(),
            Family::default(),
        );

        let mut registry = Registry::with_prefix("sluicegate");
        let all = &mut registry;
        all.register(
            "deliveries",
            "Events that were read for a plug-in",
            Family::clone(&deliveries),
        );
        all.register(
            "outcomes",
            "What became of deliveries: done, duplicate, retry, dead",
            Family::clone(&outcomes),
        );
        all.register(
            "dead_letters",
            "Dead letters by reason",
            Family::clone(&dead_letters),
        );
        all.register(
            "reruns",
            "Calls that ran again because state they had read was changed meanwhile",
            Family::clone(&reruns),
        );
        all.register_with_unit(
            "call_duration",
            "Time of one call of the guest",
            Unit::Seconds,
            Family::clone(&call_duration),
        );
        all.register_with_unit(
            "end_to_end",
            "From the event's own time to its outcome",
            Unit::Seconds,
            Family::clone(&end_to_end),
        );
        all.register(
            "commit_events",
            "Deliveries that one commit settles",
            commit_events.clone(),
        );
        all.register_with_unit(
            "commit_duration",
            "Time of one commit to the ledger",
            Unit::Seconds,
            commit_duration.clone(),
        );
        all.register(
            "lanes_parked",
            "Lanes that wait for a retry",
            Family::clone(&lanes_parked),
        );
        all.register(
            "in_flight",
            "Deliveries with the plug-in now",
            Family::clone(&in_flight),
        );
        all.register(
            "lag_events",
            "Events in the store that were not read yet",
            Family::clone(&lag),
        );
        all.register_with_unit(
            "plugin_memory",
            "Linear memory of the instance that was called last",
            Unit::Bytes,
            Family::clone(&memory),
        );
        Self {
            registry: Arc::new(registry),
            deliveries,
            outcomes,
            dead_letters,
            reruns,
            call_duration,
            end_to_end,
            commit_events,
            commit_duration,
            lanes_parked,
            in_flight,
            lag,
            memory,
        }
    }
}

impl Metrics {
    /// The text of `/metrics`.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String has no way to fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    /// A commit was answered.
    pub fn committed(&self, deliveries: usize, duration: Duration) {
        self.commit_events
            .observe(f64::from(u32::try_from(deliveries).unwrap_or(u32::MAX)));
        self.commit_duration.observe(duration.as_secs_f64());
    }

    /// The metrics of one plug-in, with the labels looked up once.
    pub fn plugin(&self, plugin: &str) -> PluginMetrics {
        let label = Plugin {
            plugin: plugin.to_owned(),
        };
        let outcome = |outcome| {
            let label = PluginOutcome {
                plugin: plugin.to_owned(),
                outcome,
            };
            self.outcomes.get_or_create(&label).clone()
        };
        PluginMetrics {
            delivered: self.deliveries.get_or_create(&label).clone(),
            done: outcome("done"),
            duplicate: outcome("duplicate"),
            retry: outcome("retry"),
            dead: outcome("dead"),
            reran: self.reruns.get_or_create(&label).clone(),
            call_duration: self.call_duration.get_or_create(&label).clone(),
            end_to_end: self.end_to_end.get_or_create(&label).clone(),
            lanes_parked: self.lanes_parked.get_or_create(&label).clone(),
            in_flight: self.in_flight.get_or_create(&label).clone(),
            lag: self.lag.get_or_create(&label).clone(),
            memory: self.memory.get_or_create(&label).clone(),
            dead_letters: self.dead_letters.clone(),
            label,
        }
    }
}

/// The metrics of one plug-in.
#[derive(Clone, Debug)]
pub struct PluginMetrics {
    label: Plugin,
    /// Events that were read.
    pub delivered: Counter,
    /// Handled.
    pub done: Counter,
    /// Finished before.
    pub duplicate: Counter,
    /// Another attempt follows.
    pub retry: Counter,
    /// Calls that ran again because of stale state.
    pub reran: Counter,
    dead: Counter,
    call_duration: Histogram,
    end_to_end: Histogram,
    lanes_parked: Gauge,
    in_flight: Gauge,
    lag: Gauge,
    memory: Gauge,
    dead_letters: Family<PluginReason, Counter>,
}

impl PluginMetrics {
    /// From the event's time to its outcome.
    pub fn handled_after(&self, latency: Duration) {
        self.end_to_end.observe(latency.as_secs_f64());
    }

    /// A delivery was dead-lettered.
    pub fn buried(&self, reason: Reason) {
        self.dead.inc();
        let label = PluginReason {
            plugin: self.label.plugin.clone(),
            reason: reason.as_str(),
        };
        self.dead_letters.get_or_create(&label).inc();
    }

    /// A call came back.
    pub fn called(&self, duration: Duration, memory: usize) {
        self.call_duration.observe(duration.as_secs_f64());
        self.memory.set(gauge(memory));
    }

    /// What a partition holds changed: its gauges are sums over the plug-in's partitions,
    /// so each partition reports what it adds.
    pub fn standing(&self, before: Standing, now: Standing) {
        self.lanes_parked.inc_by(now.parked - before.parked);
        self.in_flight.inc_by(now.in_flight - before.in_flight);
        self.lag.inc_by(now.lag - before.lag);
    }
}

/// What one partition holds at a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// Lanes that wait for a retry.
    pub parked: i64,
    /// Deliveries with the plug-in.
    pub in_flight: i64,
    /// Events in the store that were not read yet.
    pub lag: i64,
}

fn gauge(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_are_those_of_the_docs() {
        let metrics = Metrics::default();
        let plugin = metrics.plugin("p");
        plugin.delivered.inc();
        plugin.buried(Reason::AgedOut);
        plugin.called(Duration::from_millis(3), 65_536);
        plugin.handled_after(Duration::from_millis(3));
        plugin.reran.inc();
        let now = Standing {
            parked: 1,
            in_flight: 2,
            lag: 3,
        };
        plugin.standing(Standing::default(), now);
        metrics.committed(3, Duration::from_millis(2));
        let text = metrics.text();
        for line in [
            "sluicegate_deliveries_total{plugin=\"p\"} 1",
            "sluicegate_outcomes_total{plugin=\"p\",outcome=\"dead\"} 1",
            "sluicegate_dead_letters_total{plugin=\"p\",reason=\"aged-out\"} 1",
            "sluicegate_call_duration_seconds_count{plugin=\"p\"} 1",
            "sluicegate_end_to_end_seconds_count{plugin=\"p\"} 1",
            "sluicegate_commit_events_count 1",
            "sluicegate_commit_duration_seconds_count 1",
            "sluicegate_lanes_parked{plugin=\"p\"} 1",
            "sluicegate_in_flight{plugin=\"p\"} 2",
            "sluicegate_lag_events{plugin=\"p\"} 3",
            "sluicegate_plugin_memory_bytes{plugin=\"p\"} 65536",
            "sluicegate_reruns_total{plugin=\"p\"} 1",
        ] {
            assert!(text.contains(line), "{line} is not in:\n{text}");
        }
    }
}

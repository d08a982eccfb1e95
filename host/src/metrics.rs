//! Takes what the stages report, gives Prometheus text. Every metric is declared here, once.

use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

pub use self::bridge::BridgeMetrics;
use self::declared::Declared;
pub use self::delays::Delays;
pub use self::gateway::{SourceCounts, SourceMetrics};
pub use self::latency::{Buckets, Latency};
pub use self::plugin::{Age, Counted, Counts, PluginMetrics, Standing};
pub use self::projection::ProjectionMetrics;

mod bridge;
mod declared;
mod delays;
mod gateway;
mod latency;
mod plugin;
mod projection;
mod schema;
mod whole;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Plugin {
    plugin: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PluginPartition {
    plugin: String,
    partition: u8,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Cursor {
    cursor: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Stream {
    stream: &'static str,
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

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PluginWhat {
    plugin: String,
    what: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct What {
    what: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Source {
    kind: &'static str,
    environment: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Answered {
    kind: &'static str,
    environment: String,
    status: u16,
}

/// All metrics of a host. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    deliveries: Family<Plugin, Counter>,
    outcomes: Family<PluginOutcome, Counter>,
    dead_letters: Family<PluginReason, Counter>,
    reruns: Family<Plugin, Counter>,
    messages_read: Family<Cursor, Counter>,
    call_duration: Family<Plugin, Histogram>,
    end_to_end: Family<Plugin, Histogram>,
    commit_events: Histogram,
    commit_duration: Histogram,
    handling: Delays,
    settling: Delays,
    lanes_parked: Family<Plugin, Gauge>,
    lanes_blocked: Family<Plugin, Gauge>,
    events_blocked: Family<Plugin, Gauge>,
    circuits_open: Family<Plugin, Gauge>,
    in_flight: Family<Plugin, Gauge>,
    lag: Family<Plugin, Gauge>,
    lag_age: Family<PluginPartition, Age>,
    memory: Family<Plugin, Gauge>,
    generations: Family<Plugin, Gauge>,
    reloads: Family<Plugin, Counter>,
    reload_pause: Family<Plugin, Histogram>,
    canaries_taken_back: Family<Plugin, Counter>,
    sagas: Family<PluginWhat, Counter>,
    journal_left_out: Counter,
    gateway_requests: Family<Answered, Counter>,
    gateway_received: Family<Source, Counter>,
    gateway_published: Family<Source, Counter>,
    gateway_duration: Family<Source, Histogram>,
    spool_events: Gauge,
    spool_bytes: Gauge,
    /// Beside the histogram, which cannot be read back.
    latency: Family<Plugin, Latency>,
    sources: Arc<Mutex<Vec<SourceMetrics>>>,
    ready: Gauge,
    events_max_age: Gauge<f64, AtomicU64>,
    stream_messages: Family<Stream, Gauge>,
    stream_bytes: Family<Stream, Gauge>,
    stream_limit: Family<Stream, Gauge>,
    projections: projection::All,
    bridges: bridge::All,
    schema_drift: Family<Kind, Counter>,
    schema_bodies: Family<What, Counter>,
    schema_misfits: Family<What, Counter>,
    /// Spans that the collector took.
    pub spans_exported: Counter,
    /// Spans that were recorded and never got there.
    pub spans_dropped: Counter,
}

fn seconds() -> Histogram {
    // 50 µs to 26 s.
    Histogram::new(exponential_buckets(50e-6, 2.0, 20))
}

fn durations<L: Clone + Hash + Eq>() -> Family<L, Histogram> {
    Family::new_with_constructor(seconds)
}

fn counts() -> Histogram {
    Histogram::new(exponential_buckets(1.0, 2.0, 12))
}

impl Default for Metrics {
    fn default() -> Self {
        let mut all = Declared::default();
        Self {
            deliveries: all.register("deliveries", "Events that were read for a plug-in", Family::default()),
            outcomes: all.register("outcomes", "What became of deliveries: done, duplicate, retry, dead", Family::default()),
            dead_letters: all.register("dead_letters", "Dead letters by reason", Family::default()),
            reruns: all.register("reruns", "Calls that ran again because state they had read was changed meanwhile", Family::default()),
            messages_read: all.register("messages_read", "Messages that the broker sent from the event store: to a plug-in's own cursor, and to the one that all share who have caught up", Family::default()),
            call_duration: all.register_with_unit("call_duration", "Time of one call of the guest", Unit::Seconds, durations()),
            end_to_end: all.register_with_unit("end_to_end", "From the event's own time to its outcome", Unit::Seconds, durations()),
            commit_events: all.register("commit_events", "Deliveries that one commit settles", counts()),
            commit_duration: all.register_with_unit("commit_duration", "Time of one commit to the ledger", Unit::Seconds, seconds()),
            handling: all.register_with_unit("handling_delay", "From when the store took an event until the call that handled it had ended", Unit::Seconds, Delays::default()),
            settling: all.register_with_unit("settling_delay", "From when the store took an event until the commit of the call that handled it was durable", Unit::Seconds, Delays::default()),
            lanes_parked: all.register("lanes_parked", "Lanes that wait for a retry", Family::default()),
            lanes_blocked: all.register("lanes_blocked", "Lanes that wait until a dead letter is replayed or discarded", Family::default()),
            events_blocked: all.register("events_blocked", "Events that were read and wait behind such a dead letter", Family::default()),
            circuits_open: all.register("circuits_open", "Partitions whose circuit breaker is open", Family::default()),
            in_flight: all.register("in_flight", "Deliveries with the plug-in now", Family::default()),
            lag: all.register("lag_events", "Events in the store that were not read yet", Family::default()),
            lag_age: all.register_with_unit("lag", "How long ago the store took the oldest event that was not read yet", Unit::Seconds, Family::default()),
            memory: all.register_with_unit("plugin_memory", "Linear memory of the instance that was called last", Unit::Bytes, Family::default()),
            generations: all.register("generations", "Builds of the plug-in that are in memory: more than one while calls end on an older one", Family::default()),
            reloads: all.register("reloads", "Builds that took the place of another one while the plug-in ran", Family::default()),
            reload_pause: all.register_with_unit("reload_pause", "For how long a partition began no call because a build took over", Unit::Seconds, durations()),
            canaries_taken_back: all.register("canaries_taken_back", "Canaries that this host took back because they did worse than the build beside them", Family::default()),
            sagas: all.register("sagas", "Sagas that began, came to their end, were undone, or wait for a person", Family::default()),
            journal_left_out: all.register("journal_left_out", "Attempts that were not written down because the broker did not take pages", Counter::default()),
            gateway_requests: all.register("gateway_requests", "Requests that the gateway answered, by status", Family::default()),
            gateway_received: all.register("gateway_events_received", "Events that came in requests of a source", Family::default()),
            gateway_published: all.register("gateway_events_published", "Events of a source that were made durable", Family::default()),
            gateway_duration: all.register_with_unit("gateway_request_duration", "From a request's headers to its answer", Unit::Seconds, durations()),
            spool_events: all.register("gateway_spool_events", "Events on disk that the broker does not have yet", Gauge::default()),
            spool_bytes: all.register_with_unit("gateway_spool_size", "What they take on disk", Unit::Bytes, Gauge::default()),
            latency: Family::default(),
            sources: Arc::default(),
            ready: all.register("ready", "1 while /readyz says 200", Gauge::default()),
            events_max_age: all.register_with_unit("events_max_age", "How long an event stays in the store", Unit::Seconds, Gauge::default()),
            stream_messages: all.register("stream_messages", "Messages in a stream of the broker", Family::default()),
            stream_bytes: all.register_with_unit("stream_size", "What they take there", Unit::Bytes, Family::default()),
            stream_limit: all.register_with_unit("stream_limit", "What they may take; without a limit there is no such line", Unit::Bytes, Family::default()),
            bridges: bridge::All {
                stored: all.register("bridge_stored", "Messages that came in over a bridge and that the event store took", Family::default()),
                repeated: all.register("bridge_repeated", "Messages that came in over a bridge and that the event store had already", Family::default()),
                refused: all.register("bridge_refused", "Times that the event store did not take a message of a bridge, which is tried again", Family::default()),
                connected: all.register("bridge_connected", "Whether a bridge in has a connection: 1 or 0", Family::default()),
            },
            projections: projection::All {
                position: all.register("projection_position", "Place in the event store up to which a projection has everything: of the version that answers, and of the one that is built", Family::default()),
                behind: all.register("projection_lag_events", "Events in the store that a version of a projection has not taken in yet", Family::default()),
                rows: all.register("projection_rows", "Rows of a table of a projection", Family::default()),
                applied: all.register("projection_applied", "Events that a projection took in; those of a version that is built are counted too", Family::default()),
                refused: all.register("projection_refused", "Events that a projection could not take in", Family::default()),
                lost: all.register("projection_lost", "Places that had left the event store before a projection read them", Family::default()),
                commit: all.register_with_unit("projection_commit_duration", "Time of one commit of a projection: rows and place", Unit::Seconds, durations()),
            },
            schema_drift: all.register("schema_drift", "Members that live bodies had added, removed or retyped, each counted once", Family::default()),
            schema_bodies: all.register("schema_bodies", "Bodies of types with a schema: looked at for drift, or left out because there were too many", Family::default()),
            schema_misfits: all.register("schema_misfits", "Events whose body fits no version of its schema: on their way into the event store, or before a call", Family::default()),
            spans_exported: all.register("trace_spans_exported", "Spans that the collector took", Counter::default()),
            spans_dropped: all.register("trace_spans_dropped", "Spans that were dropped because the collector did not take them in time", Counter::default()),
            registry: Arc::new(all.into()),
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

    /// Counts what is read from the event store: for one plug-in, or for all.
    pub fn messages_read(&self, is_shared: bool) -> Counter {
        let cursor = if is_shared { "shared" } else { "own" };
        self.messages_read.get_or_create(&Cursor { cursor }).clone()
    }

    /// An attempt was not written down.
    pub fn journal_left_out(&self) {
        self.journal_left_out.inc();
    }

    /// A commit was answered.
    pub fn committed(&self, deliveries: usize, duration: Duration) {
        self.commit_events
            .observe(f64::from(u32::try_from(deliveries).unwrap_or(u32::MAX)));
        self.commit_duration.observe(duration.as_secs_f64());
    }

    /// How long after the store took an event its commit was durable.
    pub fn settling(&self) -> Delays {
        self.settling.clone()
    }

    /// What stands in the gateway's spool.
    pub fn spooled(&self, events: u64, bytes: u64) {
        self.spool_events.set(gauge(events));
        self.spool_bytes.set(gauge(bytes));
    }

    /// Events in the gateway's spool.
    pub fn spool_events(&self) -> u64 {
        u64::try_from(self.spool_events.get()).unwrap_or(0)
    }

    /// What each source of the gateway has sent.
    pub fn sources(&self) -> Vec<SourceCounts> {
        self.sources
            .lock()
            .iter()
            .map(SourceMetrics::counts)
            .collect()
    }

    /// A build of the plug-in is in memory until what this gives is dropped.
    pub fn generation(&self, plugin: &str) -> Counted {
        let label = Plugin {
            plugin: plugin.to_owned(),
        };
        Counted::new(self.generations.get_or_create(&label).clone())
    }

    /// A build took the place of another one.
    pub fn reloaded(&self, plugin: &str) {
        let label = Plugin {
            plugin: plugin.to_owned(),
        };
        self.reloads.get_or_create(&label).inc();
    }

    /// A canary did worse than the build beside it.
    pub fn taken_back(&self, plugin: &str) {
        let label = Plugin {
            plugin: plugin.to_owned(),
        };
        self.canaries_taken_back.get_or_create(&label).inc();
    }

    /// The metrics of one bridge in.
    pub fn bridge(&self, name: &str) -> BridgeMetrics {
        self.bridges.of(name, &self.dead_letters)
    }

    /// The metrics of one projection.
    pub fn projection(&self, name: &str) -> ProjectionMetrics {
        self.projections.of(name)
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
            read: self.messages_read(false),
            reran: self.reruns.get_or_create(&label).clone(),
            call_duration: self.call_duration.get_or_create(&label).clone(),
            handling: self.handling.clone(),
            latency: self.latency.get_or_create(&label).clone(),
            end_to_end: self.end_to_end.get_or_create(&label).clone(),
            lanes_parked: self.lanes_parked.get_or_create(&label).clone(),
            lanes_blocked: self.lanes_blocked.get_or_create(&label).clone(),
            events_blocked: self.events_blocked.get_or_create(&label).clone(),
            in_flight: self.in_flight.get_or_create(&label).clone(),
            lag: self.lag.clone(),
            circuits_open: self.circuits_open.get_or_create(&label).clone(),
            memory: self.memory.get_or_create(&label).clone(),
            reload_pause: self.reload_pause.get_or_create(&label).clone(),
            lag_age: self.lag_age.clone(),
            dead_letters: self.dead_letters.clone(),
            sagas: self.sagas.clone(),
            label,
        }
    }
}

fn gauge<T>(value: T) -> i64
where
    i64: TryFrom<T>,
{
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::reason::Reason;

    #[test]
    fn names_and_labels_are_those_of_the_docs() {
        let metrics = Metrics::default();
        let plugin = metrics.plugin("p");
        plugin.delivered.inc();
        plugin.buried(Reason::AgedOut);
        plugin.called(Duration::from_millis(3), 65_536);
        plugin.handled_after(Duration::from_millis(3));
        plugin.handled(1_000_000, 4_000_000);
        metrics
            .settling()
            .observe([1_000_000, 2_000_000], 9_000_000);
        plugin.reran.inc();
        plugin.read.inc_by(2);
        metrics.messages_read(true).inc_by(3);
        plugin.renewed(Duration::from_micros(60));
        metrics.reloaded("p");
        metrics.taken_back("p");
        plugin.is_saga();
        plugin.saga("parked");
        let kept = metrics.generation("p");
        drop(metrics.generation("p"));
        let now = Standing {
            parked: 1,
            blocked: 4,
            stuck: 5,
            in_flight: 2,
            lag: 3,
            open: 1,
        };
        let is_told = |metrics: &Metrics| metrics.text().contains("sluicegate_lag_events{");
        assert!(!is_told(&metrics), "nobody knows it yet");
        plugin.standing(Standing::default(), now);
        let source = metrics.source("fno", "contoso");
        source.answered(202, Duration::from_millis(1));
        source.received.inc();
        source.undecodable.inc();
        source.published.inc();
        metrics.spooled(4, 5);
        metrics.journal_left_out();
        metrics.committed(3, Duration::from_millis(2));
        plugin.age(2).set(1.5);
        metrics.ready(true);
        metrics.events_stay(Duration::from_secs(60));
        metrics.stream("EVENTS", (6, 7), Some(8));
        metrics.spans_exported.inc_by(6);
        metrics.spans_dropped.inc_by(7);
        let text = metrics.text();
        for line in [
            "sluicegate_deliveries_total{plugin=\"p\"} 1",
            "sluicegate_outcomes_total{plugin=\"p\",outcome=\"dead\"} 1",
            "sluicegate_dead_letters_total{plugin=\"p\",reason=\"aged-out\"} 1",
            "sluicegate_call_duration_seconds_count{plugin=\"p\"} 1",
            "sluicegate_end_to_end_seconds_count{plugin=\"p\"} 1",
            "sluicegate_handling_delay_seconds_count 1",
            "sluicegate_handling_delay_seconds_sum 0.003",
            "sluicegate_handling_delay_seconds_bucket{le=\"0.002896309\"} 0",
            "sluicegate_handling_delay_seconds_bucket{le=\"0.003444311\"} 1",
            "sluicegate_settling_delay_seconds_count 2",
            "sluicegate_settling_delay_seconds_bucket{le=\"+Inf\"} 2",
            "sluicegate_commit_events_count 1",
            "sluicegate_commit_duration_seconds_count 1",
            "sluicegate_lanes_parked{plugin=\"p\"} 1",
            "sluicegate_lanes_blocked{plugin=\"p\"} 4",
            "sluicegate_events_blocked{plugin=\"p\"} 5",
            "sluicegate_in_flight{plugin=\"p\"} 2",
            "sluicegate_lag_events{plugin=\"p\"} 3",
            "sluicegate_circuits_open{plugin=\"p\"} 1",
            "sluicegate_plugin_memory_bytes{plugin=\"p\"} 65536",
            "sluicegate_reruns_total{plugin=\"p\"} 1",
            "sluicegate_messages_read_total{cursor=\"own\"} 2",
            "sluicegate_messages_read_total{cursor=\"shared\"} 3",
            "sluicegate_reloads_total{plugin=\"p\"} 1",
            "sluicegate_canaries_taken_back_total{plugin=\"p\"} 1",
            "sluicegate_sagas_total{plugin=\"p\",what=\"parked\"} 1",
            "sluicegate_sagas_total{plugin=\"p\",what=\"began\"} 0",
            "sluicegate_reload_pause_seconds_count{plugin=\"p\"} 1",
            "sluicegate_generations{plugin=\"p\"} 1",
            "sluicegate_gateway_requests_total{kind=\"fno\",environment=\"contoso\",status=\"202\"} 1",
            "sluicegate_gateway_events_received_total{kind=\"fno\",environment=\"contoso\"} 1",
            "sluicegate_gateway_events_published_total{kind=\"fno\",environment=\"contoso\"} 1",
            "sluicegate_gateway_request_duration_seconds_count{kind=\"fno\",environment=\"contoso\"} 1",
            "sluicegate_dead_letters_total{plugin=\"gateway\",reason=\"undecodable\"} 1",
            "sluicegate_journal_left_out_total 1",
            "sluicegate_gateway_spool_events 4",
            "sluicegate_gateway_spool_size_bytes 5",
            "sluicegate_lag_seconds{plugin=\"p\",partition=\"2\"} 1.5",
            "sluicegate_ready 1",
            "sluicegate_events_max_age_seconds 60.0",
            "sluicegate_stream_messages{stream=\"EVENTS\"} 6",
            "sluicegate_stream_size_bytes{stream=\"EVENTS\"} 7",
            "sluicegate_stream_limit_bytes{stream=\"EVENTS\"} 8",
            "sluicegate_trace_spans_exported_total 6",
            "sluicegate_trace_spans_dropped_total 7",
        ] {
            assert!(text.contains(line), "{line} is not in:\n{text}");
        }
        drop(kept);
        assert!(
            metrics
                .text()
                .contains("sluicegate_generations{plugin=\"p\"} 0")
        );
    }
}

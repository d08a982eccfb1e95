//! Takes what happens to a plug-in's deliveries, gives its metrics, the labels looked up once.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use serde::{Deserialize, Serialize};

use super::{Buckets, Delays, Latency, Plugin, PluginPartition, PluginReason, PluginWhat, gauge};
use crate::ledger::reason::Reason;

/// A gauge of seconds.
pub type Age = Gauge<f64, AtomicU64>;

/// The metrics of one plug-in.
#[derive(Clone, Debug)]
pub struct PluginMetrics {
    pub(super) label: Plugin,
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
    /// Messages that were read for one plug-in alone, all plug-ins together.
    pub read: Counter,
    pub(super) dead: Counter,
    pub(super) call_duration: Histogram,
    pub(super) handling: Delays,
    pub(super) end_to_end: Histogram,
    pub(super) latency: Latency,
    pub(super) lanes_parked: Gauge,
    pub(super) lanes_blocked: Gauge,
    pub(super) events_blocked: Gauge,
    pub(super) in_flight: Gauge,
    /// Nothing is said of the plug-in before it is known.
    pub(super) lag: Family<Plugin, Gauge>,
    pub(super) circuits_open: Gauge,
    pub(super) memory: Gauge,
    pub(super) reload_pause: Histogram,
    pub(super) lag_age: Family<PluginPartition, Age>,
    pub(super) dead_letters: Family<PluginReason, Counter>,
    pub(super) sagas: Family<PluginWhat, Counter>,
}

impl PluginMetrics {
    /// From the event's time to its outcome.
    pub fn handled_after(&self, latency: Duration) {
        self.end_to_end.observe(latency.as_secs_f64());
        self.latency.observe(latency);
    }

    /// The call that handled an event had ended `now`, both in Unix nanoseconds.
    pub fn handled(&self, stored: u64, now: u64) {
        self.handling.observe([stored], now);
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

    /// What became of a saga.
    pub fn saga(&self, what: &'static str) {
        self.sagas_that(what).inc();
    }

    /// The plug-in is a saga: what may become of one is counted from 0 on.
    pub fn is_saga(&self) {
        for what in ["began", "done", "compensated", "parked"] {
            drop(self.sagas_that(what));
        }
    }

    fn sagas_that(&self, what: &'static str) -> Counter {
        let label = PluginWhat {
            plugin: self.label.plugin.clone(),
            what,
        };
        self.sagas.get_or_create(&label).clone()
    }

    /// A build took over, and for so long no call was begun.
    pub fn renewed(&self, pause: Duration) {
        self.reload_pause.observe(pause.as_secs_f64());
    }

    /// From the events' own time to their outcome.
    pub fn latency(&self) -> Buckets {
        self.latency.counts()
    }

    /// All of it, as it stands now.
    pub fn counts(&self) -> Counts {
        Counts {
            done: self.done.get(),
            duplicate: self.duplicate.get(),
            retry: self.retry.get(),
            dead: self.dead.get(),
            in_flight: self.in_flight.get(),
            parked: self.lanes_parked.get(),
            blocked: self.lanes_blocked.get(),
            lag: self.lag.get(&self.label).map_or(0, |lag| lag.get()),
            circuits_open: self.circuits_open.get(),
            memory_bytes: self.memory.get(),
        }
    }

    /// How old the oldest event is that a partition has not read yet.
    pub fn age(&self, partition: u8) -> Age {
        let label = PluginPartition {
            plugin: self.label.plugin.clone(),
            partition,
        };
        self.lag_age.get_or_create(&label).clone()
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
        self.lanes_blocked.inc_by(now.blocked - before.blocked);
        self.events_blocked.inc_by(now.stuck - before.stuck);
        self.in_flight.inc_by(now.in_flight - before.in_flight);
        self.lag
            .get_or_create(&self.label)
            .inc_by(now.lag - before.lag);
        self.circuits_open.inc_by(now.open - before.open);
    }
}

/// What became of a plug-in's deliveries on this host, and what it holds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Counts {
    /// Handled.
    pub done: u64,
    /// Finished before.
    pub duplicate: u64,
    /// Attempts after which another followed.
    pub retry: u64,
    /// Dead letters.
    pub dead: u64,
    /// With the plug-in now.
    pub in_flight: i64,
    /// Lanes that wait for a retry.
    pub parked: i64,
    /// Lanes that wait for an operator.
    pub blocked: i64,
    /// Events in the store that were not read yet.
    pub lag: i64,
    /// Partitions whose circuit is open.
    #[serde(default)]
    pub circuits_open: i64,
    /// Linear memory of the instance that was called last.
    pub memory_bytes: i64,
}

/// Counts in a gauge for as long as it is there.
#[derive(Debug)]
pub struct Counted(Gauge);

impl Counted {
    pub(super) fn new(gauge: Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// What one partition holds at a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// Lanes that wait for a retry.
    pub parked: i64,
    /// Lanes that wait for an operator.
    pub blocked: i64,
    /// Events behind the dead letters of those.
    pub stuck: i64,
    /// Deliveries with the plug-in.
    pub in_flight: i64,
    /// Events in the store that were not read yet.
    pub lag: i64,
    /// 1 while its circuit breaker is open.
    pub open: i64,
}

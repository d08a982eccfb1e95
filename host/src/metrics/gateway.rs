//! Takes what happens at a source of the gateway, gives its metrics, the labels looked up once.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use serde::{Deserialize, Serialize};

use super::{Answered, Metrics, PluginReason, Source};
use crate::gateway::outgoing::GATEWAY;
use crate::ledger::reason::Reason;

const ACCEPTED: u16 = 202;

/// The metrics of one source.
#[derive(Clone, Debug)]
pub struct SourceMetrics {
    label: Source,
    /// Events that came in.
    pub received: Counter,
    /// Events that were made durable.
    pub published: Counter,
    /// Bodies that nobody understood, in the counter of all dead letters.
    pub undecodable: Counter,
    duration: Histogram,
    /// Requests that were answered 202, looked up once.
    accepted: Counter,
    requests: Family<Answered, Counter>,
}

impl Metrics {
    /// The metrics of one source of the gateway.
    pub fn source(&self, kind: &'static str, environment: &str) -> SourceMetrics {
        let label = Source {
            kind,
            environment: environment.to_owned(),
        };
        let undecodable = PluginReason {
            plugin: GATEWAY.to_owned(),
            reason: Reason::Undecodable.as_str(),
        };
        let accepted = self.gateway_requests.get_or_create(&Answered {
            kind,
            environment: environment.to_owned(),
            status: ACCEPTED,
        });
        let metrics = SourceMetrics {
            accepted: accepted.clone(),
            received: self.gateway_received.get_or_create(&label).clone(),
            undecodable: self.dead_letters.get_or_create(&undecodable).clone(),
            published: self.gateway_published.get_or_create(&label).clone(),
            duration: self.gateway_duration.get_or_create(&label).clone(),
            requests: self.gateway_requests.clone(),
            label,
        };
        self.sources.lock().push(metrics.clone());
        metrics
    }
}

/// What a source has sent to this host since it was started.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SourceCounts {
    /// `dataverse`, `fno`, …
    pub kind: String,
    /// Its environment.
    pub environment: String,
    /// Events that came in.
    pub received: u64,
    /// Events that were made durable.
    pub published: u64,
}

impl SourceMetrics {
    pub(super) fn counts(&self) -> SourceCounts {
        SourceCounts {
            kind: self.label.kind.to_owned(),
            environment: self.label.environment.clone(),
            received: self.received.get(),
            published: self.published.get(),
        }
    }

    /// A request was answered.
    pub fn answered(&self, status: u16, duration: Duration) {
        self.duration.observe(duration.as_secs_f64());
        if status == ACCEPTED {
            self.accepted.inc();
            return;
        }
        let label = Answered {
            kind: self.label.kind,
            environment: self.label.environment.clone(),
            status,
        };
        self.requests.get_or_create(&label).inc();
    }
}

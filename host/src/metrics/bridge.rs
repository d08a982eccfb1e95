//! Takes what happens to a bridge in, gives its metrics, the labels looked up once.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::PluginReason;
use crate::gateway::outgoing::GATEWAY;
use crate::ledger::reason::Reason;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct Bridge {
    bridge: String,
}

/// Those of all bridges in. Those out are counted as plug-ins are.
#[derive(Clone, Debug)]
pub(super) struct All {
    pub(super) stored: Family<Bridge, Counter>,
    pub(super) repeated: Family<Bridge, Counter>,
    pub(super) refused: Family<Bridge, Counter>,
    pub(super) connected: Family<Bridge, Gauge>,
}

/// The metrics of one bridge in.
#[derive(Clone, Debug)]
pub struct BridgeMetrics {
    stored: Counter,
    repeated: Counter,
    refused: Counter,
    connected: Gauge,
    /// Messages that nobody understood, in the counter of all dead letters.
    pub undecodable: Counter,
}

impl All {
    pub(super) fn of(&self, name: &str, dead: &Family<PluginReason, Counter>) -> BridgeMetrics {
        let label = Bridge {
            bridge: name.to_owned(),
        };
        let undecodable = PluginReason {
            plugin: GATEWAY.to_owned(),
            reason: Reason::Undecodable.as_str(),
        };
        BridgeMetrics {
            stored: self.stored.get_or_create(&label).clone(),
            repeated: self.repeated.get_or_create(&label).clone(),
            refused: self.refused.get_or_create(&label).clone(),
            connected: self.connected.get_or_create(&label).clone(),
            undecodable: dead.get_or_create(&undecodable).clone(),
        }
    }
}

impl BridgeMetrics {
    /// The event store has one more.
    pub fn stored(&self) {
        self.stored.inc();
    }

    /// The event store had it already.
    pub fn repeated(&self) {
        self.repeated.inc();
    }

    /// The event store did not take it now.
    pub fn refused(&self) {
        self.refused.inc();
    }

    /// Whether there is one, as was last said.
    pub fn is_connected(&self) -> bool {
        0 < self.connected.get()
    }

    /// Whether there is a connection.
    pub fn connected(&self, is_there: bool) {
        self.connected.set(i64::from(is_there));
    }
}

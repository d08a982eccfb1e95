//! Takes what stands in another broker, gives it to an intake, and settles it there when that has it.

use tokio_util::sync::CancellationToken;

use super::erased;
use super::intake::Intake;
use super::kafka::Reads;
use super::service_bus::Receives;
use crate::config::bridge::{Bridge, Peer};
use crate::plugin::http::Outgoing;

/// Where the events of a bridge come from.
pub enum Source {
    /// A queue or a subscription over AMQP 1.0.
    ServiceBus(Receives),
    /// A topic of a broker that speaks the Kafka protocol.
    Kafka(Reads),
}

impl Source {
    /// Opens no connection yet. None where nothing comes from that kind.
    pub fn open(bridge: &Bridge, outgoing: &Outgoing) -> Option<Self> {
        match &bridge.peer {
            Peer::Http(_) => None,
            Peer::ServiceBus(queue) => Some(Self::ServiceBus(Receives::new(queue))),
            Peer::Kafka(kafka) => Some(Self::Kafka(Reads::new(bridge, kafka, outgoing))),
        }
    }

    /// Reads until `stop`; then what was handed over is waited for and settled.
    ///
    /// # Errors
    /// Why it cannot go on. Whoever runs it begins anew after a while.
    pub async fn run(&self, intake: &Intake, stop: CancellationToken) -> Result<(), String> {
        match self {
            Self::ServiceBus(receives) => erased(receives.run(intake, &stop)).await,
            Self::Kafka(reads) => erased(reads.run(intake, stop)).await,
        }
    }
}

//! Takes an event, gives the word of a bridge's target that it has it.

use std::time::Duration;

use tokio_util::task::TaskTracker;

use super::erased;
use super::http::Posts;
use super::kafka::Writes;
use super::service_bus::Sends;
use crate::config::bridge::{Bridge, Peer};
use crate::plugin::call::Failure;
use crate::plugin::http::Outgoing;
use crate::plugin::instance::Call;

/// Where the events of a bridge go.
pub enum Sink {
    /// Whoever takes CloudEvents over HTTP.
    Http(Posts),
    /// A queue or a topic over AMQP 1.0.
    ServiceBus(Box<Sends>),
    /// A topic of a broker that speaks the Kafka protocol.
    Kafka(Box<Writes>),
}

/// The event is not to blame: another attempt follows.
pub(super) fn retry(message: impl Into<String>) -> Failure {
    Failure::Retry {
        after: None,
        message: message.into(),
    }
}

impl Sink {
    /// Opens no connection yet. `timeout` is what one event may take.
    pub fn open(
        bridge: &Bridge,
        outgoing: &Outgoing,
        (timeout, tracker): (Duration, &TaskTracker),
    ) -> Self {
        match &bridge.peer {
            Peer::Http(http) => Self::Http(Posts::new(http, outgoing, timeout, tracker)),
            Peer::ServiceBus(queue) => Self::ServiceBus(Box::new(Sends::new(queue))),
            Peer::Kafka(kafka) => {
                Self::Kafka(Box::new(Writes::new(bridge, kafka, outgoing, timeout)))
            }
        }
    }

    /// Hands one event over. Many are on their way at a time, those of one key one after another.
    ///
    /// # Errors
    /// [`Failure::Reject`] for what the target will never take, [`Failure::Retry`] for anything
    /// else.
    pub async fn send(&self, call: &Call) -> Result<(), Failure> {
        match self {
            Self::Http(posts) => erased(posts.send(call)).await,
            Self::ServiceBus(sends) => erased(sends.send(call)).await,
            Self::Kafka(writes) => erased(writes.send(call)).await,
        }
    }
}

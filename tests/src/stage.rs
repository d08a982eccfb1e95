//! Takes guests and settings, gives what most tests start from: a broker, a host, a connection.

use anyhow::Result;
use async_nats::jetstream;

use crate::broker::Broker;
use crate::host::{Host, Setup};
use crate::outputs::{Echo, carried_over, echoes};

/// A broker with a ready host on it.
#[derive(Debug)]
pub struct Stage {
    // Dropped in this order: the host before its broker.
    /// The host.
    pub host: Host,
    /// A connection of the test's own, past every proxy.
    pub jetstream: jetstream::Context,
    /// The broker.
    pub broker: Broker,
}

impl Stage {
    /// Starts a broker, and a host with these guests and these lines in its `sluice.toml`.
    ///
    /// # Errors
    /// When one of them does not come up.
    pub async fn with(guests: &[&str], sections: &str) -> Result<Self> {
        let broker = Broker::start().await?;
        let mut setup = Setup::new(broker.url()).with(sections);
        for guest in guests {
            setup = setup.guest(guest)?;
        }
        Self::of(broker, setup).await
    }

    /// Starts a host on a broker that is there.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn of(broker: Broker, setup: Setup) -> Result<Self> {
        let jetstream = broker.jetstream().await?;
        Ok(Self {
            host: setup.start().await?,
            jetstream,
            broker,
        })
    }

    /// Waits until `plugin` has nothing left to do, ends the host, which commits what is
    /// left, and gives all outputs: none can come after that.
    ///
    /// # Errors
    /// When the plug-in does not come to rest in 30 s, or the host does not end well.
    pub async fn last_echoes(&mut self, plugin: &str) -> Result<Vec<Echo>> {
        self.host.settled(plugin, 30).await?;
        self.host.stop().await?;
        carried_over(&self.jetstream).await?;
        echoes(&self.jetstream).await
    }
}

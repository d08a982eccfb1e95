//! Takes guests and settings, gives what most tests start from: a broker, a host, a connection.

use anyhow::{Result, ensure};
use async_nats::jetstream;
use serde_json::Value;

use crate::broker::Broker;
use crate::gateway::Source;
use crate::host::Host;
use crate::outputs::{Echo, Stored, carried_over, count, echoes, named};
use crate::setup::Setup;
use crate::wire::Request;

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

    /// Starts a broker, and a host without plug-ins that takes what these sources send.
    ///
    /// # Errors
    /// When one of them does not come up.
    pub async fn taking(sources: &[&Source]) -> Result<Self> {
        let broker = Broker::start().await?;
        let setup = Setup::new(broker.url());
        let setup = sources
            .iter()
            .fold(setup, |setup, source| setup.source(source));
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

    /// Sends what has to be taken as one event, and gives it as it is stored; the answer has
    /// to say of it what is there.
    ///
    /// # Errors
    /// When it is not taken, or the answer and the store differ.
    pub async fn taken(&self, request: &Request) -> Result<Stored> {
        let told = self.host.gateway().ask(request).await?.one()?;
        let stored = named(&self.jetstream, &told).await?;
        for (member, value) in [
            ("id", stored.attribute("id")?),
            ("type", stored.attribute("type")?),
            ("subject", stored.subject.clone()),
        ] {
            let said = told.get(member).and_then(Value::as_str);
            ensure!(said == Some(value.as_str()), "{member} is {value}: {told}");
        }
        let id = format!(
            "{}#{}",
            stored.attribute("source")?,
            stored.attribute("id")?
        );
        let found = stored.header("Nats-Msg-Id")?;
        ensure!(found == id, "Nats-Msg-Id is {found:?} instead of {id:?}");
        Ok(stored)
    }

    /// How many events are in the store.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn events(&self) -> Result<usize> {
        count(&self.jetstream, "EVENTS", "d365.>").await
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

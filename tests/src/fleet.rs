//! Takes a setup, gives several hosts of it on one broker, each behind a wire of its own.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use async_nats::jetstream;
use serde_json::Value;

use crate::broker::Broker;
use crate::host::Host;
use crate::proxy::Proxy;
use crate::setup::Setup;
use crate::sluice::sluice;
use crate::wait::until;

/// Several hosts on one broker.
#[derive(Debug)]
pub struct Fleet {
    // Dropped in this order: the hosts before their wires and the broker.
    /// In the order in which they joined: `host-1`, `host-2`, …
    pub hosts: Vec<Host>,
    /// What stands between each and the broker.
    pub wires: Vec<Proxy>,
    /// A connection of the test's own, past every wire.
    pub jetstream: jetstream::Context,
    /// The broker.
    pub broker: Broker,
    guests: Vec<String>,
    sections: String,
    variables: Vec<(String, String)>,
}

/// Which hosts say that they run a partition: each partition's name, `emit-one/0`, and theirs.
pub type Shares = BTreeMap<String, Vec<String>>;

impl Fleet {
    /// Starts a broker and `count` hosts with these guests and these lines in `sluice.toml`.
    ///
    /// # Errors
    /// When one of them does not come up.
    pub async fn of(count: usize, guests: &[&str], sections: &str) -> Result<Self> {
        Self::with(count, guests, sections, &[]).await
    }

    /// The same with these variables in the hosts' environment.
    ///
    /// # Errors
    /// When one of them does not come up.
    pub async fn with(
        count: usize,
        guests: &[&str],
        sections: &str,
        variables: &[(&str, &str)],
    ) -> Result<Self> {
        let broker = Broker::start().await?;
        let mut fleet = Self {
            hosts: Vec::new(),
            wires: Vec::new(),
            jetstream: broker.jetstream().await?,
            broker,
            guests: guests.iter().map(ToString::to_string).collect(),
            sections: sections.to_owned(),
            variables: variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        };
        for _ in 0..count {
            fleet.join().await?;
        }
        Ok(fleet)
    }

    /// One more host.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn join(&mut self) -> Result<()> {
        let wire = Proxy::before(self.broker.port()).await?;
        let name = format!("host-{}", self.hosts.len() + 1);
        let mut setup = Setup::new(wire.url()).named(&name).with(&self.sections);
        for guest in &self.guests {
            setup = setup.guest(guest)?;
        }
        for (name, value) in &self.variables {
            setup = setup.variable(name, value);
        }
        self.hosts.push(setup.start().await?);
        self.wires.push(wire);
        Ok(())
    }

    /// What `sluice hosts` says of those that are alive.
    ///
    /// # Errors
    /// When it does not.
    pub async fn shares(&self) -> Result<Shares> {
        let url = self.broker.url();
        let said = sluice(&["hosts", "--json", "--nats", &url]).await?.ok()?;
        let mut shares = Shares::new();
        for host in said.json()?.as_array().context("no list of hosts")? {
            let text = |name: &str| host.get(name).and_then(Value::as_str).unwrap_or_default();
            if host.get("alive").and_then(Value::as_bool) != Some(true) {
                continue;
            }
            let running = host.get("running").and_then(Value::as_array);
            for partition in running.context("no list of partitions")? {
                let partition = partition.as_str().unwrap_or_default().to_owned();
                shares
                    .entry(partition)
                    .or_default()
                    .push(text("name").to_owned());
            }
        }
        Ok(shares)
    }

    /// Waits until each of `partitions` partitions is run by one host, all of `hosts` run some,
    /// and none runs more than its share.
    ///
    /// # Errors
    /// With who runs what, after `seconds`.
    pub async fn spread(&self, partitions: usize, hosts: &[&str], seconds: u64) -> Result<Shares> {
        until(
            &format!("{partitions} partitions on {hosts:?}"),
            seconds,
            async || {
                let shares = self.shares().await?;
                let mut loads: BTreeMap<&str, usize> = BTreeMap::new();
                for running in shares.values() {
                    let [one] = running.as_slice() else {
                        anyhow::bail!("a partition has two hosts: {shares:?}");
                    };
                    *loads.entry(one).or_default() += 1;
                }
                let most = partitions.div_ceil(hosts.len());
                let is_even = loads.values().all(|load| *load <= most);
                ensure!(
                    shares.len() == partitions && loads.keys().eq(hosts) && is_even,
                    "{shares:?}"
                );
                Ok(shares)
            },
        )
        .await
    }
}

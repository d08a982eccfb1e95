//! Takes the flags that say where the broker is, gives a connection.

use std::path::PathBuf;

use anyhow::Context as _;
use async_nats::ServerAddr;
use async_nats::jetstream::Context;
use async_nats::jetstream::stream::Stream;

use crate::broker;
use crate::config::{Config, Server};

const URL: &str = "NATS_URL";

/// Where the broker is.
#[derive(Debug, clap::Args)]
pub(super) struct Target {
    /// Address of the broker; without it the variable NATS_URL, or that of the `sluice dev` or
    /// the embedded nats-server of this folder, or nats://127.0.0.1:4222.
    #[arg(long, conflicts_with = "config")]
    nats: Option<String>,
    /// Take the broker from the daemon's file, whatever NATS_URL says.
    #[arg(long)]
    config: Option<PathBuf>,
}

impl Target {
    /// Connects once; an error says where it tried.
    pub(super) async fn connect(&self) -> anyhow::Result<Context> {
        let mut config = match &self.config {
            Some(path) => Config::load(path)?,
            None => Config::default(),
        };
        let named = match (&self.nats, &self.config) {
            (Some(url), _) => Some(("--nats", url.clone())),
            (None, None) => std::env::var(URL)
                .ok()
                .filter(|url| !url.is_empty())
                .map(|url| (URL, url)),
            (None, Some(_)) => None,
        };
        if let Some((place, url)) = &named {
            config.nats.server = Server::parse(url).with_context(|| {
                format!("{place}: {url:?} is no address such as nats://127.0.0.1:4222")
            })?;
        }
        let addresses = match &config.nats.server {
            Server::Addresses(addresses) => addresses.clone(),
            Server::Embedded => vec![embedded(&config)?],
        };
        let addresses = match (named, &self.config) {
            // What a daemon with a nats-server of its own has written down here.
            (None, None) => embedded(&config).map_or(addresses, |address| vec![address]),
            _ => addresses,
        };
        Ok(broker::connect(&config.nats, &addresses, "sluice command line").await?)
    }
}

/// A stream that the daemon makes at its first start.
pub(super) async fn stream(context: &Context, name: &str) -> anyhow::Result<Stream> {
    context.get_stream(name).await.with_context(|| {
        format!("stream {name} is not there; has `sluice run` ever been connected to this broker?")
    })
}

fn embedded(config: &Config) -> anyhow::Result<ServerAddr> {
    let file = config.host.data_dir.join("nats.url");
    let url = std::fs::read_to_string(&file).with_context(|| {
        format!(
            "nats.url is \"embedded\", and {} cannot be read; is the daemon running?",
            file.display()
        )
    })?;
    Ok(url.trim().parse()?)
}

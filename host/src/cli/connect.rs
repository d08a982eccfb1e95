//! Takes the flags that say where the broker is, gives a connection.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use async_nats::ServerAddr;
use async_nats::jetstream::Context;
use async_nats::jetstream::stream::Stream;

use crate::broker;
use crate::config::{Config, Server};

const URL: &str = "NATS_URL";
const FILE: &str = "SLUICE_CONFIG";
/// Among the broker's clients.
const NAME: &str = "sluice command line";

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
    /// Where nothing is said, the daemon's file: that of the variable, or the one of this folder.
    pub(super) fn or_daemons_file(mut self) -> Self {
        let named = std::env::var_os(FILE).map(PathBuf::from);
        let here = || Some(PathBuf::from("sluice.toml")).filter(|file| file.is_file());
        if self.nats.is_none() && self.config.is_none() {
            self.config = named.or_else(here);
        }
        self
    }

    /// The daemon's file, where one is named.
    pub(super) fn file(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// Connects once; an error says where it tried.
    pub(super) async fn connect(&self) -> anyhow::Result<Context> {
        self.connect_by(self.read_config()?).await
    }

    /// The same, by a file that was read already.
    pub(super) async fn connect_by(&self, config: Config) -> anyhow::Result<Context> {
        let (config, place) = self.place(config)?;
        let connected = broker::connect(&config.nats, &place.addresses, NAME).await;
        place.said(connected)
    }

    /// The same, but the connection breaks for good: see [`broker::connect_once`].
    pub(super) async fn connect_once(&self) -> anyhow::Result<Context> {
        let (config, place) = self.place(self.read_config()?)?;
        let connected = broker::connect_once(&config.nats, &place.addresses, NAME).await;
        place.said(connected)
    }

    fn read_config(&self) -> anyhow::Result<Config> {
        Ok(match &self.config {
            Some(path) => Config::load(path)?,
            None => Config::default(),
        })
    }

    /// Where that is.
    fn place(&self, mut config: Config) -> anyhow::Result<(Config, Place)> {
        let variable = || std::env::var(URL).ok().filter(|url| !url.is_empty());
        let named = match (&self.nats, &self.config) {
            (Some(url), _) => Some(("--nats", url.clone())),
            (None, None) => variable().map(|url| (URL, url)),
            (None, Some(_)) => None,
        };
        if let Some((place, url)) = &named {
            config.nats.server = Server::parse(url).with_context(|| {
                format!("{place}: {url:?} is no address such as nats://127.0.0.1:4222")
            })?;
        }
        let is_named = named.is_some() || self.config.is_some();
        // What a daemon with a nats-server of its own has written down here.
        let here = embedded(&config).ok().filter(|_| !is_named);
        let said_in = here.is_some().then(|| nats_url(&config));
        let addresses = match (&config.nats.server, here) {
            (_, Some(address)) => vec![address],
            (Server::Addresses(addresses), None) => addresses.clone(),
            (Server::Embedded, None) => vec![embedded(&config)?],
        };
        Ok((config, Place { addresses, said_in }))
    }
}

/// Where a broker is.
struct Place {
    addresses: Vec<ServerAddr>,
    /// The file of this folder in which a daemon has said so.
    said_in: Option<PathBuf>,
}

impl Place {
    fn said(&self, connected: Result<Context, broker::Error>) -> anyhow::Result<Context> {
        Ok(match &self.said_in {
            None => connected?,
            Some(file) => connected.with_context(|| {
                let file = file.display();
                format!("{file} says where the broker of this folder was; --nats says another")
            })?,
        })
    }
}

/// A stream that the daemon makes at its first start.
pub(super) async fn stream(context: &Context, name: &str) -> anyhow::Result<Stream> {
    context.get_stream(name).await.with_context(|| {
        format!("stream {name} is not there; has `sluice run` ever been connected to this broker?")
    })
}

fn embedded(config: &Config) -> anyhow::Result<ServerAddr> {
    let file = nats_url(config);
    let url = std::fs::read_to_string(&file).with_context(|| {
        format!(
            "nats.url is \"embedded\", and {} cannot be read; is the daemon running?",
            file.display()
        )
    })?;
    Ok(url.trim().parse()?)
}

fn nats_url(config: &Config) -> PathBuf {
    config.host.data_dir.join("nats.url")
}

//! Takes why a host cannot run, gives it in words.

use crate::broker;
use crate::config;
use crate::gateway;
use crate::load;
use crate::nats_server;
use crate::plugin::http;
use crate::projections::store;
use crate::telemetry::traces;
use crate::tls;

/// Why a host cannot run, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The admin port cannot be had.
    #[error("admin.listen: {address} cannot be bound; is another host running?")]
    Listen {
        /// From the config.
        address: std::net::SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file of `admin.tls` cannot be used.
    #[error("admin.tls: {0}")]
    AdminTls(tls::Error),
    /// The data folder cannot be used.
    #[error("host.data_dir: {} cannot be written", path.display())]
    DataDir {
        /// From the config.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The plug-in folder cannot be read.
    #[error("host.plugins_dir: {}", path.display())]
    PluginsDir {
        /// From the config.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: Box<load::Error>,
    },
    /// No engine on this machine.
    #[error("the WebAssembly engine cannot be started: {0}")]
    Engine(String),
    /// The operator's words do not fit a bridge.
    #[error(transparent)]
    Bridge(config::Error),
    /// Plug-ins' requests could trust nobody.
    #[error(transparent)]
    Trust(http::TrustError),
    /// Nowhere to keep the rows of projections.
    #[error(transparent)]
    Projections(#[from] store::Error),
    /// Nowhere to export traces to.
    #[error(transparent)]
    Traces(#[from] traces::Error),
    /// No gateway.
    #[error(transparent)]
    Gateway(#[from] gateway::Error),
    /// No nats-server of its own.
    #[error(transparent)]
    NatsServer(#[from] nats_server::Error),
    /// The broker will not do, and waiting does not help.
    #[error(transparent)]
    Broker(#[from] broker::Error),
    /// A part of the host ended by itself.
    #[error("{task} ended by itself: {reason}")]
    TaskEnded {
        /// Which part.
        task: String,
        /// What it said.
        reason: String,
    },
}

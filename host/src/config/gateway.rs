//! `[gateway]`: HTTP in.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::Secret;

/// `[gateway]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// Where the gateway listens.
    pub listen: SocketAddr,
    /// Whether events are kept on disk while the broker is away.
    pub spool: bool,
    /// Bytes that the spool may hold.
    pub spool_max_bytes: u64,
    /// HTTPS with these files; plain HTTP without.
    pub tls: Option<GatewayTls>,
    /// `[[gateway.source]]`, no two of the same kind and environment.
    pub sources: Vec<GatewaySource>,
}

/// `tls = { cert = "…", key = "…" }`: PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayTls {
    /// The gateway's certificate, and those between it and the root.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// One `[[gateway.source]]`: who may send what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewaySource {
    /// Environment in path and subject, `[a-z0-9_-]{1,63}`.
    pub environment: String,
    /// Which wire format.
    pub kind: SourceKind,
    /// How a sender shows that it may.
    pub auth: Auth,
    /// Requests under way at once; more are answered 503.
    pub max_in_flight: usize,
    /// Event Grid subscriptions whose validation is answered. `None`: any that has the key.
    pub subscriptions: Option<Vec<String>>,
    /// Origins whose `OPTIONS` handshake is answered. `None`: any that has the key.
    pub origins: Option<Vec<String>>,
}

/// Wire format of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SourceKind {
    /// Webhooks of Dataverse.
    Dataverse,
    /// Business events of finance and operations.
    Fno,
    /// Event Grid's two schemas.
    EventGrid,
    /// CloudEvents over HTTP.
    CloudEvents,
}

impl SourceKind {
    /// As it stands in the config, in paths and in labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dataverse => "dataverse",
            Self::Fno => "fno",
            Self::EventGrid => "eventgrid",
            Self::CloudEvents => "cloudevents",
        }
    }
}

/// How a sender shows that it may send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// Not at all; written `"none-i-am-sure"`.
    None,
    /// By a key that comes with each request.
    Key {
        /// Where the key stands.
        place: Place,
        /// The key.
        key: Secret,
    },
}

/// Where a request carries its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A parameter of the query.
    Query(String),
    /// A header.
    Header(String),
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8365)),
            spool: false,
            spool_max_bytes: 1 << 30,
            tls: None,
            sources: Vec::new(),
        }
    }
}

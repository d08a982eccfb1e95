//! `[gateway]`: HTTP in. Read and checked; served by a later version.

use std::net::{Ipv4Addr, SocketAddr};

use super::Secret;

/// `[gateway]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// Where the gateway listens.
    pub listen: SocketAddr,
    /// Whether events are kept on disk while the broker is away.
    pub spool: bool,
    /// `[[gateway.source]]`, no two of the same kind and environment.
    pub sources: Vec<GatewaySource>,
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
}

/// Wire format of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
            sources: Vec::new(),
        }
    }
}

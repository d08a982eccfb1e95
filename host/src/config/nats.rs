//! `[nats]`: where the broker is and how to speak to it.

use std::fmt;
use std::path::PathBuf;

use async_nats::ServerAddr;

/// `[nats]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nats {
    /// The broker.
    pub server: Server,
    /// A NATS credentials file.
    pub credentials: Option<PathBuf>,
    /// Files for TLS.
    pub tls: Tls,
    /// Copies of every stream: 1, 3 or 5.
    pub replicas: usize,
}

/// The broker: servers of one cluster, or one that the host starts as its child.
#[derive(Clone, PartialEq, Eq)]
pub enum Server {
    /// Started by the host; `url = "embedded"`.
    Embedded,
    /// Addresses, at least one; they may hold a password.
    Addresses(Vec<ServerAddr>),
}

/// `tls = { ca = "…", cert = "…", key = "…" }`: PEM files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// Certificates to trust besides the system's.
    pub ca: Option<PathBuf>,
    /// The client's certificate; there when `key` is.
    pub cert: Option<PathBuf>,
    /// The client's key.
    pub key: Option<PathBuf>,
}

impl Server {
    /// Parses `embedded` or addresses separated by commas. `None` when one of them is
    /// not a NATS address.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "embedded" {
            return Some(Self::Embedded);
        }
        let addresses = text.split(',').map(|address| {
            let address: ServerAddr = address.trim().parse().ok()?;
            (!address.host().is_empty()).then_some(address)
        });
        addresses.collect::<Option<_>>().map(Self::Addresses)
    }

    pub(super) fn has_credentials(&self) -> bool {
        match self {
            Self::Embedded => false,
            Self::Addresses(addresses) => addresses
                .iter()
                .any(|address| address.has_user_pass() || address.password().is_some()),
        }
    }
}

impl Default for Nats {
    fn default() -> Self {
        Self {
            server: Server::default(),
            credentials: None,
            tls: Tls::default(),
            replicas: 1,
        }
    }
}

/// A server of one's own machine on the port that NATS is known by.
impl Default for Server {
    fn default() -> Self {
        Self::parse("nats://127.0.0.1:4222").unwrap_or(Self::Embedded)
    }
}

/// Without user names and passwords, fit for logs.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded => f.write_str("embedded"),
            Self::Addresses(addresses) => {
                for (position, address) in addresses.iter().enumerate() {
                    let comma = if position == 0 { "" } else { "," };
                    let host = address.host();
                    let (open, close) = if host.contains(':') {
                        ("[", "]")
                    } else {
                        ("", "")
                    };
                    let (scheme, port) = (address.scheme(), address.port());
                    write!(f, "{comma}{scheme}://{open}{host}{close}:{port}")?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({self})")
    }
}

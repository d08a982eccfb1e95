//! Takes a request, gives the answer: connections, names that are looked up once, TLS.

use std::collections::BTreeSet;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use std::vec;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls_native_certs::load_native_certs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tower_service::Service;

use super::address::is_public;
use crate::manifest::Origin;

const CONNECT: Duration = Duration::from_secs(5);
/// A connection that nobody used for so long is closed.
const IDLE: Duration = Duration::from_secs(60);
const IDLE_A_PLACE: usize = 8;

/// A client for bodies of this kind.
pub(super) type Client<B> = HyperClient<HttpsConnector<HttpConnector<Resolver>>, B>;

/// Why there is no trust.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operator's own authorities.
    #[error("{key}: {} {reason}", path.display())]
    Ca {
        /// Of the configuration.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No cipher, no version.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] tokio_rustls::rustls::Error),
}

/// Whom requests trust: the system's authorities, and those of the file that this key names.
pub(crate) fn trust(key: &'static str, ca: Option<&Path>) -> Result<Arc<ClientConfig>, Error> {
    let mut roots = RootCertStore::empty();
    let found = load_native_certs();
    for error in &found.errors {
        tracing::debug!(%error, "an authority of the system is left out");
    }
    let (_, ignored) = roots.add_parsable_certificates(found.certs);
    tracing::debug!(trusted = roots.len(), ignored, "the system's authorities");
    if let Some(path) = ca {
        let problem = |reason: String| Error::Ca {
            key,
            path: path.to_owned(),
            reason,
        };
        let certificates = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| problem(format!("cannot be read: {error}")))?;
        if certificates.is_empty() {
            return Err(problem("has no certificate in it".to_owned()));
        }
        for certificate in certificates {
            roots
                .add(certificate)
                .map_err(|error| problem(format!("has one that is none: {error}")))?;
        }
    }
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// A client whose names may stand for what `reach` says.
pub(super) fn client<B>(trust: &ClientConfig, reach: Reach) -> Client<B>
where
    B: hyper::body::Body + Send,
    B::Data: Send,
{
    let mut connector = HttpConnector::new_with_resolver(Resolver(Arc::new(reach)));
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT));
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(trust.clone())
        .https_or_http()
        .enable_http1()
        .wrap_connector(connector);
    HyperClient::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(IDLE_A_PLACE)
        .build(connector)
}

/// Where a name may lead.
#[derive(Debug, Clone)]
pub(super) enum Reach {
    /// Anywhere: the operator named it.
    Anywhere,
    /// Addresses of the internet only, but for these names.
    Public {
        /// They may stand for private addresses.
        but: BTreeSet<String>,
    },
}

impl Reach {
    /// The internet, what is granted by its address or as this machine, and what the operator
    /// allows.
    pub(super) fn of(grants: &[Origin], private: &[String]) -> Self {
        let by_name = grants.iter().map(|grant| grant.host.clone());
        let by_name = by_name.filter(|host| is_local(host) || literal(host).is_some());
        Self::Public {
            but: by_name.chain(private.iter().cloned()).collect(),
        }
    }

    /// Whether `host` may lead to `address`.
    pub(super) fn allows(&self, host: &str, address: IpAddr) -> bool {
        match self {
            Self::Anywhere => true,
            Self::Public { but } => {
                let host = host.to_ascii_lowercase();
                is_public(address)
                    || (but.contains(&host) && (!is_local(&host) || address.is_loopback()))
            }
        }
    }
}

/// The name of this machine.
fn is_local(host: &str) -> bool {
    host == "localhost"
}

/// The address that a host of a URL is, if it is one.
pub(super) fn literal(host: &str) -> Option<IpAddr> {
    let inner = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    inner.unwrap_or(host).parse().ok()
}

/// An address is not what the name may stand for.
#[derive(Debug, thiserror::Error)]
#[error(
    "{host} stands for {found}, which is no address of the internet; where that is meant, the \
     operator adds {host:?} to `private` of [http]"
)]
pub(super) struct Prohibited {
    pub(super) host: String,
    pub(super) found: String,
}

/// The system's own lookup, and what it gives that is allowed. The connection goes to an address
/// of that answer: nothing is looked up a second time.
#[derive(Debug, Clone)]
pub(super) struct Resolver(Arc<Reach>);

type Found = vec::IntoIter<SocketAddr>;
type AnyError = Box<dyn std::error::Error + Send + Sync>;

impl Service<Name> for Resolver {
    type Response = Found;
    type Error = AnyError;
    type Future = Pin<Box<dyn Future<Output = Result<Found, AnyError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), AnyError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let reach = Arc::clone(&self.0);
        Box::pin(async move {
            let host = name.as_str();
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host, 0)).await?.collect();
            let allowed = found.iter().filter(|at| reach.allows(host, at.ip()));
            let allowed: Vec<SocketAddr> = allowed.copied().collect();
            match (allowed.is_empty(), found.first()) {
                (true, Some(first)) => {
                    let (host, found) = (host.to_owned(), first.ip().to_string());
                    Err(Prohibited { host, found }.into())
                }
                _ => Ok(allowed.into_iter()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_private_is_reached_by_name_only() {
        let grants = [
            "https://contoso.com",
            "https://localhost:8443",
            "https://10.1.2.3",
        ];
        let grants: Vec<Origin> = grants
            .iter()
            .filter_map(|text| Origin::parse(text))
            .collect();
        let reach = Reach::of(&grants, &["crm.corp.local".to_owned()]);
        for (host, address, allowed) in [
            ("contoso.com", "20.1.2.3", true),
            ("contoso.com", "10.1.2.3", false),
            ("contoso.com", "127.0.0.1", false),
            ("localhost", "127.0.0.1", true),
            ("localhost", "10.1.2.3", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.4", "10.1.2.4", false),
            ("CRM.corp.local", "10.9.9.9", true),
        ] {
            let address = address.parse().expect(address);
            assert_eq!(reach.allows(host, address), allowed, "{host} {address}");
        }
        assert!(Reach::Anywhere.allows("x", "127.0.0.1".parse().expect("an address")));
    }
}

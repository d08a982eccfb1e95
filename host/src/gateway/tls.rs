//! Takes `gateway.tls`, gives what a connection is secured with.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::Error;
use crate::config::GatewayTls;

/// Reads certificate and key; TLS 1.2 and 1.3.
pub(super) fn acceptor(tls: &GatewayTls) -> Result<TlsAcceptor, Error> {
    let problem = |path: &Path, reason: String| Error::Tls {
        path: path.to_owned(),
        reason,
    };
    let chain = CertificateDer::pem_file_iter(&tls.cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| problem(&tls.cert, format!("cannot be read as PEM: {error}")))?;
    if chain.is_empty() {
        let reason = "holds no certificate; expected PEM with BEGIN CERTIFICATE";
        return Err(problem(&tls.cert, reason.to_owned()));
    }
    let key = PrivateKeyDer::from_pem_file(&tls.key)
        .map_err(|error| problem(&tls.key, format!("cannot be read as a PEM key: {error}")))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| problem(&tls.cert, error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| problem(&tls.cert, format!("does not go with the key: {error}")))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

//! Takes nothing, gives a certificate for this machine, and connections that trust it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedKey, DnType, IsCa, Issuer, KeyPair,
    generate_simple_self_signed,
};
use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::wire::Connection;

/// The name that the certificate is for.
const NAME: &str = "gateway.test";

/// A certificate that signs itself, and its key.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The certificate, PEM.
    pub cert: String,
    /// The key, PEM.
    pub key: String,
}

impl Identity {
    /// A new one.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new() -> Result<Self> {
        Self::of(&[NAME])
    }

    /// One for these names and addresses.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn of(names: &[&str]) -> Result<Self> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names)?;
        Ok(Self {
            cert: cert.pem(),
            key: signing_key.serialize_pem(),
        })
    }

    /// One that is good from 30 days before until `seconds` after now, or before it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn until(seconds: i64) -> Result<Self> {
        let mut params = CertificateParams::new(vec![NAME.to_owned()])?;
        let far = Duration::from_secs(30 * 24 * 60 * 60);
        let span = Duration::from_secs(seconds.unsigned_abs());
        let end = match seconds < 0 {
            true => SystemTime::now() - span,
            false => SystemTime::now() + span,
        };
        params.not_before = (SystemTime::now() - far).into();
        params.not_after = end.into();
        let key = KeyPair::generate()?;
        Ok(Self {
            cert: params.self_signed(&key)?.pem(),
            key: key.serialize_pem(),
        })
    }

    /// What takes connections in and shows this certificate.
    ///
    /// # Errors
    /// When the certificate does not do.
    pub fn acceptor(&self) -> Result<TlsAcceptor> {
        let cert = CertificateDer::from_pem_slice(self.cert.as_bytes())?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes())?;
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![cert], key)?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// A connection to a port of this machine, which has to show this certificate.
    ///
    /// # Errors
    /// When it shows another one, or none.
    pub async fn connect(&self, port: u16) -> Result<Connection> {
        self.connect_as(port, None).await
    }

    /// The same by somebody who shows a certificate of theirs, where there is one.
    ///
    /// # Errors
    /// When it shows another one, or none, or does not take that of the other side.
    pub async fn connect_as(&self, port: u16, person: Option<&Self>) -> Result<Connection> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.cert.as_bytes())?)?;
        let builder = ClientConfig::builder().with_root_certificates(roots);
        let config = match person {
            None => builder.with_no_client_auth(),
            Some(person) => {
                let cert = CertificateDer::from_pem_slice(person.cert.as_bytes())?;
                let key = PrivateKeyDer::from_pem_slice(person.key.as_bytes())?;
                builder.with_client_auth_cert(vec![cert], key)?
            }
        };
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let stream = TlsConnector::from(Arc::new(config))
            .connect(ServerName::try_from(NAME)?, stream)
            .await
            .context("the TLS handshake")?;
        let (read, write) = tokio::io::split(stream);
        Ok(Connection::over(Box::new(read), Box::new(write)))
    }
}

/// Who says who somebody is.
#[derive(Debug)]
pub struct Authority {
    /// Its certificate, PEM.
    pub cert: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new() -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        let cert = params.self_signed(&key)?.pem();
        Ok(Self {
            cert,
            issuer: Issuer::new(params, key),
        })
    }

    /// A certificate for a person of this name, and its key.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn issue(&self, name: &str) -> Result<Identity> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate()?;
        Ok(Identity {
            cert: params.signed_by(&key, &self.issuer)?.pem(),
            key: key.serialize_pem(),
        })
    }
}

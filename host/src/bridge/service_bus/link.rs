//! Takes an address and a credential, gives a connection on which a queue can be read or written.
//!
//! Service Bus wants a token put at its node `$cbs` for each queue, and a new one before that
//! ends; other brokers know a user from the beginning (SASL).

use std::sync::Arc;
use std::time::Duration;

use fe2o3_amqp::connection::ConnectionHandle;
use fe2o3_amqp::sasl_profile::SaslProfile;
use fe2o3_amqp::session::SessionHandle;
use fe2o3_amqp::types::primitives::Timestamp;
use fe2o3_amqp::{Connection, Session};
use fe2o3_amqp_cbs::client::CbsClient;
use fe2o3_amqp_cbs::token::CbsToken;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use uuid::Uuid;

use super::token;
use crate::bridge::erased;
use crate::clock;
use crate::config::bridge::{Credential, ServiceBus};
use crate::host::chain;
use crate::plugin::http::trust;

/// One step of the protocol.
const STEP: Duration = Duration::from_secs(10);
/// A peer that says nothing for so long is gone, in milliseconds.
const IDLE: u32 = 30_000;
/// Bytes of a frame, as Service Bus has them.
const FRAME: u32 = 64 << 10;

/// Why there is no connection, or none any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The authorities.
    #[error(transparent)]
    Trust(#[from] crate::plugin::http::TrustError),
    /// The address leads nowhere.
    #[error("{host}:{port}: {reason}")]
    Away {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// What the system says.
        reason: String,
    },
    /// The other side, or the protocol.
    #[error("{step}: {reason}")]
    Amqp {
        /// What was being done.
        step: &'static str,
        /// What went wrong.
        reason: String,
    },
}

/// A connection with one session.
pub(super) struct Link {
    /// Where links are attached.
    pub(super) session: SessionHandle<()>,
    connection: ConnectionHandle<()>,
    cbs: Option<CbsClient>,
    /// When the next token is put.
    renewal: Instant,
}

/// A wire, with or without TLS.
trait Wire: AsyncRead + AsyncWrite + std::fmt::Debug + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + std::fmt::Debug + Send + Unpin> Wire for T {}

impl Link {
    /// Connects, and says who comes.
    ///
    /// # Errors
    /// [`Error`], without anything secret in it.
    pub(super) async fn open(config: &ServiceBus) -> Result<Self, Error> {
        let wire = step("connecting", erased(wire(config))).await??;
        let profile = match &config.credential {
            Credential::User { name, password } => SaslProfile::Plain {
                username: name.clone(),
                password: password.expose().to_owned(),
            },
            Credential::Key { .. } | Credential::Anonymous => SaslProfile::Anonymous,
        };
        let container = format!("sluicegate-{}", Uuid::new_v4().simple());
        let opening = Connection::builder()
            .container_id(container)
            .scheme("amqp")
            .hostname(config.host.as_str())
            .sasl_hostname(config.host.as_str())
            .max_frame_size(FRAME)
            .idle_time_out(IDLE)
            .sasl_profile(profile)
            .open_with_stream(wire);
        let mut connection = amqp("opening a connection", erased(opening)).await?;
        let begun = Session::begin(&mut connection);
        let session = amqp("beginning a session", erased(begun)).await?;
        let mut link = Self {
            session,
            connection,
            cbs: None,
            renewal: Instant::now(),
        };
        if let Credential::Key { .. } = config.credential {
            let attached = CbsClient::attach(&mut link.session);
            link.cbs = Some(amqp("attaching to $cbs", erased(attached)).await?);
            link.renew_token(config).await?;
        }
        Ok(link)
    }

    /// Puts a new token where the one before will end. Nothing is done where none is needed.
    ///
    /// # Errors
    /// When it is not taken.
    pub(super) async fn renew_token(&mut self, config: &ServiceBus) -> Result<(), Error> {
        let (Some(cbs), Credential::Key { name, key }) = (&mut self.cbs, &config.credential) else {
            return Ok(());
        };
        if Instant::now() < self.renewal {
            return Ok(());
        }
        let valid = i64::try_from(token::VALID.as_secs()).unwrap_or(i64::MAX);
        let now = i64::try_from(clock::unix_millis() / 1_000).unwrap_or(i64::MAX);
        let expires = now.saturating_add(valid);
        let at = Timestamp::from_milliseconds(expires.saturating_mul(1_000));
        let audience = format!("amqps://{}/{}", config.host, config.entity);
        // Locks are renewed at a node of its own.
        for audience in [format!("{audience}/$management"), audience] {
            let text = token::token(&audience, name, key.expose(), expires);
            let token = CbsToken::new(text, token::KIND, at.clone());
            let put = cbs.put_token(audience, token);
            amqp("putting a token at $cbs", erased(put)).await?;
        }
        self.renewal = Instant::now() + token::RENEWED;
        Ok(())
    }

    /// Says good-bye, if the other side still listens.
    pub(super) async fn close(mut self) {
        let _ = timeout(STEP, self.session.end()).await;
        let _ = timeout(STEP, self.connection.close()).await;
    }
}

async fn wire(config: &ServiceBus) -> Result<Box<dyn Wire>, Error> {
    let away = |error: &std::io::Error| Error::Away {
        host: config.host.clone(),
        port: config.port,
        reason: chain(error),
    };
    let tcp = TcpStream::connect((config.host.as_str(), config.port)).await;
    let tcp = tcp.map_err(|error| away(&error))?;
    tcp.set_nodelay(true).map_err(|error| away(&error))?;
    if !config.tls {
        return Ok(Box::new(tcp));
    }
    let trusted: Arc<ClientConfig> = trust("bridge.service_bus.ca", config.ca.as_deref())?;
    let name = ServerName::try_from(config.host.clone()).map_err(|error| Error::Amqp {
        step: "TLS",
        reason: error.to_string(),
    })?;
    let secured = TlsConnector::from(trusted).connect(name, tcp).await;
    Ok(Box::new(secured.map_err(|error| away(&error))?))
}

/// One step, or that it took too long.
pub(super) async fn step<T>(
    what: &'static str,
    doing: impl Future<Output = T>,
) -> Result<T, Error> {
    timeout(STEP, doing).await.map_err(|_| Error::Amqp {
        step: what,
        reason: format!("no answer in {STEP:?}"),
    })
}

/// One step of the protocol, its error as text.
pub(super) async fn amqp<T, E: std::error::Error>(
    what: &'static str,
    doing: impl Future<Output = Result<T, E>>,
) -> Result<T, Error> {
    let done = step(what, doing).await?;
    done.map_err(|error| failed(what, &error))
}

/// The error of one step.
pub(super) fn failed(step: &'static str, error: &dyn std::error::Error) -> Error {
    Error::Amqp {
        step,
        reason: chain(error),
    }
}

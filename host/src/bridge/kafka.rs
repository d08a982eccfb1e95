//! Takes `kafka` of a `[[bridge]]`, gives the settings of a client, and what it hears from that.
//!
//! The client is librdkafka. Its threads are its own: nothing of it is waited for on a thread
//! of the runtime.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use tokio::runtime::Handle;

use crate::clock;
use crate::config::bridge::{Kafka, KafkaTls, Sasl};
use crate::plugin::http::Outgoing;
use crate::plugin::http::tokens::Tokens;

pub mod binding;
mod offsets;
mod reading;
mod source;
mod writing;

pub use source::Reads;
pub use writing::Writes;

/// A token is asked for again where the endpoint does not say how long it lasts.
const LEAST_LIFE: Duration = Duration::from_secs(60);

/// Those of both directions.
fn settings(kafka: &Kafka) -> ClientConfig {
    let mut settings = ClientConfig::new();
    settings.set("client.id", "sluicegate");
    settings.set("socket.keepalive.enable", "true");
    // As Event Hubs wants it: what is idle for four minutes is cut there without a word.
    settings.set("metadata.max.age.ms", "180000");
    settings.set("connections.max.idle.ms", "180000");
    for (name, value) in &kafka.properties {
        settings.set(name, value);
    }
    settings.set("bootstrap.servers", kafka.brokers.join(","));
    let protocol = match (&kafka.tls, &kafka.sasl) {
        (None, None) => "plaintext",
        (None, Some(_)) => "sasl_plaintext",
        (Some(_), None) => "ssl",
        (Some(_), Some(_)) => "sasl_ssl",
    };
    settings.set("security.protocol", protocol);
    if let Some(tls) = &kafka.tls {
        trust(&mut settings, tls);
    }
    match &kafka.sasl {
        None => {}
        Some(Sasl::Token { .. }) => {
            settings.set("sasl.mechanism", "OAUTHBEARER");
        }
        Some(Sasl::Password {
            mechanism,
            username,
            password,
        }) => {
            settings.set("sasl.mechanism", mechanism.as_str());
            settings.set("sasl.username", username);
            settings.set("sasl.password", password.expose());
        }
    }
    settings
}

fn trust(settings: &mut ClientConfig, tls: &KafkaTls) {
    let files = [
        ("ssl.ca.location", &tls.ca),
        ("ssl.certificate.location", &tls.cert),
        ("ssl.key.location", &tls.key),
    ];
    // The system's authorities, wherever they are.
    settings.set("ssl.ca.location", "probe");
    for (name, file) in files {
        if let Some(file) = file {
            settings.set(name, file.display().to_string());
        }
    }
}

/// What a client hears of, on librdkafka's or the reader's thread.
#[derive(Clone)]
struct Ear {
    bridge: Arc<str>,
    tokens: Option<Arc<Tokens>>,
    runtime: Handle,
}

impl Ear {
    fn new(bridge: &str, tokens: Option<&Arc<Tokens>>) -> Self {
        Self {
            bridge: bridge.into(),
            tokens: tokens.cloned(),
            runtime: Handle::current(),
        }
    }
}

/// Where a bridge has its tokens from; none where it shows a password, or nothing.
fn tokens(bridge: &str, kafka: &Kafka, outgoing: &Outgoing) -> Option<Arc<Tokens>> {
    let Some(Sasl::Token {
        token_url,
        client_id,
        client_secret,
        scope,
    }) = &kafka.sasl
    else {
        return None;
    };
    let words = (&**token_url, &**client_id, client_secret, &**scope);
    outgoing.tokens(bridge, words).map(Arc::new)
}

impl ClientContext for Ear {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let bridge = &*self.bridge;
        let message = excerpt_of(message);
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => {
                tracing::warn!(bridge, facility, "kafka: {message}");
            }
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                tracing::info!(bridge, facility, "kafka: {message}");
            }
            RDKafkaLogLevel::Debug => tracing::debug!(bridge, facility, "kafka: {message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let reason = excerpt_of(reason);
        tracing::warn!(bridge = &*self.bridge, %error, reason, "kafka: the client has trouble");
    }

    /// Waits for the token endpoint, which is what this thread is for at this moment.
    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn StdError>> {
        let tokens = self.tokens.as_ref().ok_or("there is no token endpoint")?;
        let (token, life) = self.runtime.block_on(Box::pin(tokens.fresh()))?;
        let life = i64::try_from(life.max(LEAST_LIFE).as_millis())?;
        Ok(OAuthToken {
            token,
            principal_name: tokens.principal().to_owned(),
            lifetime_ms: i64::try_from(clock::unix_millis())?.saturating_add(life),
        })
    }
}

/// What a broker says is as long as it likes.
fn excerpt_of(text: &str) -> String {
    const MOST: usize = 500;
    match text.char_indices().nth(MOST) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}

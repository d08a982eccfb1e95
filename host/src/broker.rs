//! Takes `[nats]`, gives a connection to a broker that is new enough, with the streams in place.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::stream::{
    Config as StreamConfig, DiscardPolicy, Source, Stream, SubjectTransform,
};
use async_nats::{Client, ConnectOptions, ServerAddr};

use crate::claim_check;
use crate::config::{Config, Nats};
use crate::deployment;
use crate::journal;
use crate::leases;
use crate::operations::audit;
use crate::schemas;

pub use self::deleting::{How, delete};
pub use self::reading::{ReadError, message, open, read, read_all};

mod deleting;
mod reading;

/// The event store.
pub const EVENTS: &str = "EVENTS";
/// Positions, state, outbox, retries.
pub const LEDGER: &str = "LEDGER";
/// What could not be handled.
pub const DEADLETTER: &str = "DEADLETTER";

const OLDEST_SERVER: (i64, i64) = (2, 12);
/// From this one on a stream may have a thousand consumers, unless it says otherwise.
const BOUNDS_CONSUMERS: (i64, i64) = (2, 15);
/// Each partition that catches up has one, and for a while some that read its ledger; those of
/// a host that was killed stay for a minute.
const MAX_CONSUMERS: i32 = 100_000;
/// Publishes that wait for their acks: more than the gateway lets in, since those that a
/// request has given up still count until [`REQUEST_PATIENCE`] is over.
const MAX_ACKS: usize = 50_000;
const REQUEST_PATIENCE: Duration = Duration::from_secs(5);
/// No client lives for so long.
const NEVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Why the broker cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No server answers at the address.
    #[error("no nats-server answers at {address}: {reason}")]
    Connect {
        /// From the config.
        address: String,
        /// What the client says.
        reason: String,
    },
    /// The server lacks what the ledger needs.
    #[error(
        "nats-server at {address} is version {found}; {}.{} or newer is needed \
         (atomic batches, message TTL)", OLDEST_SERVER.0, OLDEST_SERVER.1
    )]
    TooOld {
        /// From the config.
        address: String,
        /// The server's version.
        found: String,
    },
    /// JetStream refuses a stream.
    #[error("stream {stream} cannot be set up: {reason}{}", remedy(reason))]
    Stream {
        /// Its name.
        stream: &'static str,
        /// What the server says.
        reason: String,
    },
    /// A file of `[nats]` cannot be read.
    #[error("nats.credentials: {path} cannot be read")]
    Credentials {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

fn remedy(reason: &str) -> &'static str {
    if reason.contains("10047") || reason.contains("insufficient storage") {
        "; lower events.max_bytes or give the server more storage"
    } else if reason.contains("no responders") || reason.contains("10039") {
        "; start nats-server with JetStream (-js)"
    } else {
        ""
    }
}

/// A connection, and the streams that the host works on.
#[derive(Debug, Clone)]
pub struct Broker {
    /// JetStream.
    pub context: Context,
    /// The event store.
    pub events: Stream,
    /// The ledger.
    pub ledger: Stream,
    /// The KV bucket `sluicegate`.
    pub bucket: Stream,
}

impl Broker {
    /// The connection.
    pub fn client(&self) -> Client {
        self.context.client()
    }

    /// The largest message that the server takes, in bytes.
    pub fn max_payload(&self) -> usize {
        self.client().server_info().max_payload
    }
}

/// Connects, under this name among the broker's clients; errors at once when nothing answers.
pub async fn connect(nats: &Nats, addresses: &[ServerAddr], name: &str) -> Result<Context, Error> {
    let options = options(nats, name).await?;
    connected(options.reconnect_delay_callback(reconnect_delay), addresses).await
}

/// The same, but the connection breaks for good: the client sends nothing of what it keeps
/// when the broker is back, so that nothing can overtake what was lost on the way.
pub async fn connect_once(
    nats: &Nats,
    addresses: &[ServerAddr],
    name: &str,
) -> Result<Context, Error> {
    let is_up = Arc::new(AtomicBool::new(false));
    let options = options(nats, name).await?.reconnect_delay_callback({
        let is_up = Arc::clone(&is_up);
        move |_| match is_up.load(Ordering::Relaxed) {
            true => NEVER,
            false => Duration::ZERO,
        }
    });
    let context = connected(options, addresses).await?;
    is_up.store(true, Ordering::Relaxed);
    Ok(context)
}

async fn options(nats: &Nats, name: &str) -> Result<ConnectOptions, Error> {
    let mut options = ConnectOptions::new()
        .name(name)
        .connection_timeout(REQUEST_PATIENCE)
        .request_timeout(Some(REQUEST_PATIENCE))
        .ping_interval(Duration::from_secs(5))
        .event_callback(|event| async move {
            match event {
                async_nats::Event::Connected => tracing::info!("connected to the broker"),
                async_nats::Event::Disconnected => {
                    tracing::warn!("the broker is away; reconnecting");
                }
                other => tracing::debug!(event = %other, "broker connection"),
            }
        });
    if let Some(path) = &nats.credentials {
        options = options
            .credentials_file(path)
            .await
            .map_err(|source| Error::Credentials {
                path: path.display().to_string(),
                source,
            })?;
    }
    if let Some(ca) = &nats.tls.ca {
        options = options.add_root_certificates(ca.clone()).require_tls(true);
    }
    if let (Some(cert), Some(key)) = (&nats.tls.cert, &nats.tls.key) {
        options = options.add_client_certificate(cert.clone(), key.clone());
    }
    Ok(options)
}

async fn connected(options: ConnectOptions, addresses: &[ServerAddr]) -> Result<Context, Error> {
    let address = display(addresses);
    let client = options
        .connect(addresses)
        .await
        .map_err(|error| Error::Connect {
            address: address.clone(),
            reason: error.to_string(),
        })?;
    let (major, minor) = OLDEST_SERVER;
    if !client.is_server_compatible(major, minor, 0) {
        return Err(Error::TooOld {
            address,
            found: client.server_info().version,
        });
    }
    let context = ContextBuilder::new()
        .timeout(REQUEST_PATIENCE)
        .max_ack_inflight(MAX_ACKS)
        .build(client);
    Ok(context)
}

/// A server that restarts is found within a second, while those who wait for it still do;
/// then more patiently.
fn reconnect_delay(attempts: usize) -> Duration {
    const OFTEN: usize = 10;
    let steps = 1 + attempts.saturating_sub(OFTEN);
    Duration::from_millis(100).saturating_mul(u32::try_from(steps).unwrap_or(20).min(20))
}

/// The streams of the design, made or brought up to date.
pub async fn provision(context: Context, config: &Config) -> Result<Broker, Error> {
    let ledger = stream(&context, LEDGER, ledger_config(config)).await?;
    let events = stream(&context, EVENTS, events_config(config)).await?;
    stream(&context, DEADLETTER, dead_letter_config(config)).await?;
    stream(
        &context,
        audit::STREAM,
        audit::stream_config(config.nats.replicas),
    )
    .await?;
    // Nothing depends on it, and the space that it reserves may not be there.
    if let Err(error) = stream(&context, journal::STREAM, journal::stream_config(config)).await {
        tracing::warn!(%error, "stories of events will have no attempts; see telemetry.journal_max_bytes");
    }
    let claims = claim_check::provision(&context, config).await;
    claims.map_err(|error| Error::Stream {
        stream: claim_check::STREAM,
        reason: error.to_string(),
    })?;
    let components = deployment::provision(&context, config).await;
    components.map_err(|error| Error::Stream {
        stream: deployment::STREAM,
        reason: error.to_string(),
    })?;
    let bucket = leases::stream_config(config.nats.replicas);
    let bucket = stream(&context, leases::STREAM, bucket).await?;
    let schemas = schemas::stream_config(config.nats.replicas);
    stream(&context, schemas::registry::STREAM, schemas).await?;
    Ok(Broker {
        context,
        events,
        ledger,
        bucket,
    })
}

/// What each stream is to be like, but for the object stores' own.
pub fn wanted(config: &Config) -> [StreamConfig; 7] {
    [
        events_config(config),
        ledger_config(config),
        dead_letter_config(config),
        leases::stream_config(config.nats.replicas),
        audit::stream_config(config.nats.replicas),
        journal::stream_config(config),
        schemas::stream_config(config.nats.replicas),
    ]
}

/// The addresses without passwords.
pub fn display(addresses: &[ServerAddr]) -> String {
    addresses
        .iter()
        .map(|address| format!("{}:{}", address.host(), address.port()))
        .collect::<Vec<_>>()
        .join(",")
}

async fn stream(
    context: &Context,
    name: &'static str,
    mut config: StreamConfig,
) -> Result<Stream, Error> {
    let failed = |reason: String| Error::Stream {
        stream: name,
        reason,
    };
    let (major, minor) = BOUNDS_CONSUMERS;
    // An older one has no bound, and refuses to change it.
    if context.client().is_server_compatible(major, minor, 0) {
        config.max_consumers = MAX_CONSUMERS;
    }
    context
        .create_or_update_stream(config)
        .await
        .map_err(|error| failed(error.to_string()))?;
    context
        .get_stream(name)
        .await
        .map_err(|error| failed(error.to_string()))
}

fn ledger_config(config: &Config) -> StreamConfig {
    StreamConfig {
        name: LEDGER.to_owned(),
        subjects: vec!["ledger.>".to_owned()],
        num_replicas: config.nats.replicas,
        allow_atomic_publish: true,
        allow_message_ttl: true,
        allow_rollup: true,
        allow_message_schedules: true,
        allow_direct: true,
        ..StreamConfig::default()
    }
}

fn events_config(config: &Config) -> StreamConfig {
    StreamConfig {
        name: EVENTS.to_owned(),
        subjects: vec!["d365.>".to_owned()],
        num_replicas: config.nats.replicas,
        max_bytes: i64::try_from(config.events.max_bytes).unwrap_or(i64::MAX),
        max_age: config.events.max_age,
        discard: DiscardPolicy::New,
        duplicate_window: config.events.dedup_window,
        allow_direct: true,
        // A publisher that leaves the slot out gets one.
        subject_transform: Some(SubjectTransform {
            source: "d365.*.*.*.*.*".to_owned(),
            destination: "d365.{{wildcard(1)}}.{{wildcard(2)}}.{{wildcard(3)}}.{{wildcard(4)}}\
                          .{{wildcard(5)}}.{{partition(16,2,4)}}"
                .to_owned(),
        }),
        sources: Some(vec![from_ledger("ledger.out.>", "d365.>")]),
        ..StreamConfig::default()
    }
}

fn dead_letter_config(config: &Config) -> StreamConfig {
    StreamConfig {
        name: DEADLETTER.to_owned(),
        subjects: vec!["dead.>".to_owned()],
        num_replicas: config.nats.replicas,
        allow_direct: true,
        sources: Some(vec![from_ledger("ledger.dead.>", "dead.>")]),
        ..StreamConfig::default()
    }
}

fn from_ledger(source: &str, destination: &str) -> Source {
    Source {
        name: LEDGER.to_owned(),
        subject_transforms: vec![SubjectTransform {
            source: source.to_owned(),
            destination: destination.to_owned(),
        }],
        ..Source::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_restarts_is_looked_for_ten_times_in_the_first_second() {
        let delays: Vec<u128> = [1, 10, 11, 12, 29, 30, usize::MAX]
            .map(|attempts| reconnect_delay(attempts).as_millis())
            .into();
        assert_eq!(delays, [100, 100, 200, 300, 2_000, 2_000, 2_000]);
    }
}

//! Takes what Dynamics 365 sends over HTTP, gives messages in the event store: a 2xx only after the broker has them.
//!
//! request → source (who may) → form (which format) → body → understand → outgoing → publisher
//! (or spool) → answer. Nothing is answered with 2xx that is not durable, and nothing that an
//! authenticated sender sent is dropped: what nobody understands becomes a dead letter.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Context;
use axum::http::{Method, Request};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::answer::Answer;
use self::body::Memory;
use self::outgoing::Outgoing;
use self::problem::Problem;
use self::publisher::Publisher;
pub use self::source::Origin;
use self::source::Source;
use self::store::Store;
use self::traced::Traced;
use self::understand::{Item, understand};
use crate::config::{Config, SourceKind};
use crate::ledger::LEAST_TTL;
use crate::metrics::Metrics;
use crate::schemas::Watcher;
use crate::telemetry::traces::Traces;
use crate::tls;

mod answer;
mod body;
pub mod drain;
mod extensions;
mod handshake;
pub mod outgoing;
pub mod problem;
pub mod publisher;
mod serve;
pub mod source;
pub mod spool;
mod store;
mod traced;
pub mod understand;

const POST: &str = "POST";
const POST_AND_OPTIONS: &str = "POST, OPTIONS";

/// Why the gateway cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The port cannot be had.
    #[error("gateway.listen: {address} cannot be bound; is another host running?")]
    Listen {
        /// From the config.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file of `gateway.tls` cannot be used.
    #[error("gateway.tls: {0}")]
    Tls(#[from] tls::Error),
    /// The spool cannot be opened.
    #[error("gateway.spool: {0}")]
    Spool(String),
}

/// A gateway with its port, not serving yet.
pub struct Gateway {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    parts: Arc<Parts>,
}

/// Whether a gateway could be started with this config; no port is bound.
///
/// # Errors
/// [`Error::Tls`].
pub fn check(config: &Config) -> Result<(), Error> {
    acceptor(config).map(|_| ())
}

fn acceptor(config: &Config) -> Result<Option<TlsAcceptor>, Error> {
    let tls = config.gateway.tls.as_ref();
    Ok(tls
        .map(|tls| tls::acceptor(&tls.cert, &tls.key, None))
        .transpose()?)
}

/// What the requests share.
struct Parts {
    /// By kind and environment.
    sources: HashMap<SourceKind, HashMap<String, Source>>,
    memory: Memory,
    store: Store,
    traces: Traces,
    schemas: Watcher,
    /// How long a dead letter is kept.
    dead_letter_ttl: Duration,
}

impl Gateway {
    /// Binds the port and opens what the gateway needs. None when the config has no source.
    ///
    /// # Errors
    /// [`Error`]: what waiting cannot mend.
    pub async fn bind(
        config: &Config,
        (metrics, traces, schemas): (Metrics, Traces, Watcher),
        tracker: &TaskTracker,
        broker: watch::Receiver<Option<Context>>,
    ) -> Result<Option<Self>, Error> {
        if config.gateway.sources.is_empty() {
            tracing::info!("the gateway does not listen: there is no [[gateway.source]]");
            return Ok(None);
        }
        let address = config.gateway.listen;
        let listen_error = |source| Error::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen_error)?;
        let address = listener.local_addr().map_err(listen_error)?;
        let tls = acceptor(config)?;
        let publisher = Publisher::new(broker, !config.gateway.spool);
        let store = Store::open(config, publisher, metrics.clone(), tracker).await?;
        let mut sources: HashMap<SourceKind, HashMap<String, Source>> = HashMap::new();
        for source in &config.gateway.sources {
            let same_kind = sources.entry(source.kind).or_default();
            let metrics = metrics.source(source.kind.as_str(), &source.environment);
            same_kind.insert(
                source.environment.clone(),
                Source::new(source.clone(), metrics),
            );
        }
        let parts = Arc::new(Parts {
            sources,
            memory: Memory::default(),
            store,
            traces,
            schemas,
            dead_letter_ttl: config.ledger.dedup_window.max(LEAST_TTL),
        });
        Ok(Some(Self {
            listener,
            address,
            tls,
            parts,
        }))
    }

    /// Serves until `stop`, then until the requests under way are answered.
    pub async fn serve(self, tracker: TaskTracker, stop: CancellationToken) {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        tracing::info!(address = %self.address, scheme, "the gateway listens");
        let draining = self.parts.store.start(&tracker, stop.clone());
        serve::serve(self.listener, self.tls, self.parts, tracker, stop).await;
        if let Some(draining) = draining {
            let _ = draining.await;
        }
    }
}

async fn handle(parts: &Parts, request: Request<Incoming>) -> Response {
    let Some((kind, environment)) = path(request.uri().path()) else {
        return Problem::NotFound.into_response();
    };
    let source = parts
        .sources
        .get(&kind)
        .and_then(|same_kind| same_kind.get(environment));
    let started = Instant::now();
    let mut traced = Traced::new(&parts.traces);
    let response = match parts.take(kind, source, request, &mut traced).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    };
    traced.answered(response.status());
    if let Some(source) = source {
        let status = response.status().as_u16();
        source.metrics().answered(status, started.elapsed());
    }
    response
}

impl Parts {
    /// One request, to its answer.
    async fn take(
        &self,
        kind: SourceKind,
        source: Option<&Source>,
        request: Request<Incoming>,
        traced: &mut Traced,
    ) -> Result<Response, Problem> {
        let (head, body) = request.into_parts();
        let source = source.filter(|source| source.admits(&head.uri, &head.headers));
        match (&head.method, kind) {
            (&Method::POST, _) => {}
            (&Method::OPTIONS, SourceKind::EventGrid) => {
                let source = source.ok_or(Problem::Unauthorized)?;
                return handshake::options(source, &head.headers);
            }
            (_, SourceKind::EventGrid) => return Err(Problem::Method(POST_AND_OPTIONS)),
            _ => return Err(Problem::Method(POST)),
        }
        let source = source.ok_or(Problem::Unauthorized)?;
        traced.admitted(&source.origin(), &head);
        let form = understand::form(kind, &head.headers)?;
        let _place = source.enter().ok_or(Problem::Busy(
            "this source has as many requests under way as max_in_flight allows",
        ))?;
        let body = body::read(&self.memory, &head.headers, body).await?;
        if let Some(answer) = handshake::validation(source, form, &head.headers, &body.bytes)? {
            return Ok(answer);
        }
        let origin = source.origin();
        let mut items = understand(&origin, form, &head.headers, &body.bytes)?;
        traced.understood(&mut items);
        source.metrics().received.inc_by(items.len() as u64);
        let mut answer = Answer::default();
        let mut bodies = Vec::new();
        let outgoing: Vec<Outgoing> = items
            .into_iter()
            .enumerate()
            .map(|(index, item)| match item {
                Item::Event(mut event, subject) => {
                    let structure = self.schemas.fitting().stamp(&mut event);
                    answer.event(&event, &subject);
                    bodies.extend(self.schemas.body(&event, &subject, structure));
                    Outgoing::event(*event, subject)
                }
                Item::Undecodable { bytes, error } => {
                    tracing::warn!(
                        kind = kind.as_str(), environment = origin.environment, index, %error,
                        "a body that is not understood becomes a dead letter"
                    );
                    let ttl = self.dead_letter_ttl;
                    let letter = Outgoing::undecodable(&origin, &head.headers, bytes, &error, ttl);
                    answer.dead_letter(index, error);
                    letter
                }
            })
            .collect();
        let kept = self.store.keep(outgoing).await?;
        traced.kept(&kept);
        for body in bodies {
            self.schemas.offer(body);
        }
        let metrics = source.metrics();
        metrics.published.inc_by(kept.len() as u64);
        metrics.undecodable.inc_by(answer.dead_letters() as u64);
        Ok(answer.response(&kept))
    }
}

/// Kind and environment of a path. The environment is looked up among those of the config,
/// never used as it came.
fn path(path: &str) -> Option<(SourceKind, &str)> {
    let (kind, environment) = path.strip_prefix('/')?.split_once('/')?;
    let kind = match kind {
        "dataverse" => SourceKind::Dataverse,
        "fno" => SourceKind::Fno,
        "eventgrid" => SourceKind::EventGrid,
        "cloudevents" => SourceKind::CloudEvents,
        _ => return None,
    };
    (!environment.contains('/')).then_some((kind, environment))
}

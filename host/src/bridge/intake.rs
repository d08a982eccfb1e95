//! Takes bodies as they came from another broker, gives the event store's word that it has them.
//!
//! A body becomes events as at the gateway. Each event is queued by its key, and those of one
//! key are published one after another, so that their order stays what it was, whatever fails
//! in between. What the event store does not take now is tried until it does.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::SourceKind;
use crate::config::bridge::Inward;
use crate::gateway::Origin;
use crate::gateway::outgoing::Outgoing;
use crate::gateway::publisher::{Error, Publisher};
use crate::gateway::understand::{self, Item, understand};
use crate::health::Health;
use crate::metrics::BridgeMetrics;
use crate::schemas::Watcher;
use crate::schemas::watcher::Body;

/// Keys are spread over so many queues, each with one message on its way.
const LANES: usize = 64;
/// Messages that wait in one queue.
const WAITING: usize = 64;
const WAIT_FIRST: Duration = Duration::from_millis(50);
const WAIT_LONGEST: Duration = Duration::from_secs(5);

/// The host gave up before the event store had it: it comes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the host stops")]
pub struct Stopped;

/// Takes what a bridge reads.
#[derive(Clone)]
pub struct Intake {
    name: Arc<str>,
    inward: Inward,
    lanes: Arc<[mpsc::Sender<Job>]>,
    schemas: Watcher,
    dead_letter_ttl: Duration,
    metrics: BridgeMetrics,
    health: Health,
}

struct Job {
    outgoing: Outgoing,
    /// To be looked at once it is stored.
    body: Option<Body>,
    done: oneshot::Sender<()>,
}

/// What was taken, until the event store has it.
#[derive(Debug)]
#[must_use = "what was read is settled when this is through"]
pub struct Receipt(Vec<oneshot::Receiver<()>>);

impl Receipt {
    /// Waits for the event store.
    ///
    /// # Errors
    /// [`Stopped`]: then it is not to be settled.
    pub async fn durable(self) -> Result<(), Stopped> {
        for waiting in self.0 {
            waiting.await.map_err(|_| Stopped)?;
        }
        Ok(())
    }
}

impl Intake {
    /// `abort` has it give up what the event store does not take.
    pub fn new(
        (name, inward): (&str, &Inward),
        (publisher, schemas): (&Publisher, &Watcher),
        dead_letter_ttl: Duration,
        (metrics, health): (BridgeMetrics, Health),
        (tracker, abort): (&TaskTracker, &CancellationToken),
    ) -> Self {
        let lanes = (0..LANES).map(|_| {
            let (sender, queue) = mpsc::channel(WAITING);
            let lane = Lane {
                name: name.into(),
                publisher: publisher.clone(),
                schemas: schemas.clone(),
                metrics: metrics.clone(),
            };
            let abort = abort.clone();
            tracker.spawn(async move {
                tokio::select! {
                    () = lane.run(queue) => {}
                    () = abort.cancelled() => {}
                }
            });
            sender
        });
        Self {
            name: name.into(),
            inward: inward.clone(),
            lanes: lanes.collect(),
            schemas: schemas.clone(),
            dead_letter_ttl,
            metrics,
            health,
        }
    }

    /// The source has a connection and reads.
    pub fn works(&self) {
        self.metrics.connected(true);
        self.health.accepted(&self.label());
    }

    /// Whether it had a connection since it last failed.
    pub(super) fn worked(&self) -> bool {
        self.metrics.is_connected()
    }

    /// The source has none.
    pub fn fails(&self, error: String) {
        self.metrics.connected(false);
        self.health.refused(self.label(), error);
    }

    /// Under which the bridge stands among what does not work.
    fn label(&self) -> String {
        format!("bridge {}", self.name)
    }

    /// The bridge's name, for the log.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Takes one message, in the form in which it would come to the gateway: `ce-*` headers
    /// percent-encoded. Waits while its queue is full; messages are to be handed over in the
    /// order that they are to keep.
    pub async fn take(&self, headers: &HeaderMap, body: Bytes) -> Receipt {
        let origin = self.origin();
        let form = understand::form(self.inward.format, headers);
        let items = form.and_then(|form| understand(&origin, form, headers, &body));
        let items = items.unwrap_or_else(|problem| {
            vec![Item::Undecodable {
                bytes: body,
                error: problem.to_string(),
            }]
        });
        self.take_items(headers, items).await
    }

    /// Takes what was made of one message already.
    pub async fn take_items(&self, headers: &HeaderMap, items: Vec<Item>) -> Receipt {
        let mut waiting = Vec::with_capacity(items.len());
        for item in items {
            let mut body = None;
            let outgoing = match item {
                Item::Event(mut event, subject) => {
                    let structure = self.schemas.fitting().stamp(&mut event);
                    body = self.schemas.body(&event, &subject, structure);
                    Outgoing::event(*event, subject)
                }
                Item::Undecodable { bytes, error } => {
                    tracing::warn!(
                        bridge = &*self.name, %error,
                        "a message that is not understood becomes a dead letter"
                    );
                    self.metrics.undecodable.inc();
                    let (origin, ttl) = (self.origin(), self.dead_letter_ttl);
                    Outgoing::undecodable(&origin, headers, bytes, &error, ttl)
                }
            };
            let (done, is_done) = oneshot::channel();
            waiting.push(is_done);
            if let Some(lane) = self.lane(&outgoing.key) {
                // Where nobody takes it any more, the receipt says so.
                let job = Job {
                    outgoing,
                    body,
                    done,
                };
                let _ = lane.send(job).await;
            }
        }
        Receipt(waiting)
    }

    fn lane(&self, key: &str) -> Option<&mpsc::Sender<Job>> {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let place = usize::try_from(hasher.finish() % LANES as u64).unwrap_or_default();
        self.lanes.get(place)
    }

    fn origin(&self) -> Origin<'_> {
        Origin {
            kind: self.inward.format,
            environment: &self.inward.environment,
        }
    }

    /// Which wire format its bodies have.
    pub fn format(&self) -> SourceKind {
        self.inward.format
    }
}

/// One queue of an intake.
struct Lane {
    name: Arc<str>,
    publisher: Publisher,
    schemas: Watcher,
    metrics: BridgeMetrics,
}

impl Lane {
    async fn run(self, mut queue: mpsc::Receiver<Job>) {
        while let Some(job) = queue.recv().await {
            let Job {
                outgoing,
                body,
                done,
            } = job;
            self.publish(outgoing).await;
            if let Some(body) = body {
                self.schemas.offer(body);
            }
            // The source may have given up waiting; then it sends the message again.
            let _ = done.send(());
        }
    }

    /// Until the broker has it.
    async fn publish(&self, outgoing: Outgoing) {
        let mut wait = WAIT_FIRST;
        loop {
            let error = match self.publisher.publish(outgoing.clone()).await {
                Ok(stored) if stored.duplicate => return self.metrics.repeated(),
                Ok(_) => return self.metrics.stored(),
                Err(error) => error,
            };
            match error {
                Error::Away(_) | Error::Unanswered(_) | Error::Full(_) => tracing::debug!(
                    bridge = &*self.name, %error, retry_in = ?wait, "not stored yet"
                ),
                Error::Refused(_) => tracing::error!(
                    bridge = &*self.name, %error, subject = outgoing.subject, retry_in = ?wait,
                    "the event store does not take a message; its key waits"
                ),
            }
            self.metrics.refused();
            sleep(wait).await;
            wait = (wait * 2).min(WAIT_LONGEST);
        }
    }
}

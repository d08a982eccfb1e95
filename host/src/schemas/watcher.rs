//! Takes events as they pass, gives what their bodies have otherwise than their schemas say: each once.
//!
//! Nobody who handles events waits for this: an event is offered by a bounded `try_send`, within a
//! budget of bodies a second, and what is beyond is left out and counted. A body is read once for a
//! number that stands for its structure; one whose structure was seen before costs no more. Only
//! types that have a schema are looked at.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::kv::{Operation, Watch};
use bytes::Bytes;
use futures_util::StreamExt as _;
use parking_lot::{Mutex, RwLock};
use sluicegate_schema::{Drift, Shape, structure};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::drifts::{self, Record};
use super::learning::tells;
use super::readers::readers;
use super::registry::{Error, Version, bucket};
use crate::clock;
use crate::delivery::Delivery;
use crate::event::Event;
use crate::metrics::Metrics;
use crate::operations::fleet;
use crate::roster::Answer;
use crate::system_events::{SystemEvent, SystemEvents};

/// Bodies that wait to be looked at.
const MAX_WAITING: usize = 256;
/// Bodies that are looked at in a second.
const BUDGET: u32 = 1_000;
/// Structures of a type that are known to have nothing new.
const MAX_KNOWN: usize = 4_096;
/// Drifts of one version of a type that are reported; a type that drifts more has another schema.
const MAX_REPORTED: usize = 200;
/// What hosts said of their plug-ins holds for so long.
const ANSWERS_HOLD: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(5);
/// The events that are raised, and the name in their subject.
const EVENT: &str = "schema-drift";

/// The newest version of a type.
#[derive(Debug)]
pub struct Known {
    /// From 1.
    pub version: u32,
    /// What it says.
    pub shape: Shape,
    /// Structures without a drift, or with those that are reported.
    structures: Mutex<HashSet<u64>>,
}

/// Where events are offered. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Watcher {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    known: RwLock<HashMap<String, Arc<Known>>>,
    offered: mpsc::Sender<Offered>,
    /// The end of the queue, until somebody looks.
    offers: Mutex<Option<mpsc::Receiver<Offered>>>,
    budget: Mutex<(Instant, u32)>,
    metrics: Metrics,
}

/// An event that is to be looked at.
#[derive(Debug)]
enum Offered {
    Body(Body),
    Delivery(Arc<Delivery>),
}

/// What of an event is looked at.
#[derive(Debug)]
pub struct Body {
    event_type: String,
    subject: String,
    id: String,
    data: Bytes,
}

impl Watcher {
    /// Of a host; it looks at nothing until [`Watcher::watch`].
    pub fn new(metrics: Metrics) -> Self {
        let (offered, offers) = mpsc::channel(MAX_WAITING);
        let inner = Arc::new(Inner {
            known: RwLock::default(),
            offered,
            offers: Mutex::new(Some(offers)),
            budget: Mutex::new((Instant::now(), 0)),
            metrics,
        });
        Self { inner }
    }

    /// The newest version of a type, if there is one.
    pub fn known(&self, event_type: &str) -> Option<Arc<Known>> {
        self.inner.known.read().get(event_type).cloned()
    }

    /// What is to be offered of an event that is about to be stored; none where nothing is known
    /// of its type, or enough was looked at.
    pub fn body(&self, event: &Event, subject: &str) -> Option<Body> {
        let is_known = self.inner.known.read().contains_key(&event.event_type);
        if !is_known || !tells(event) || !self.may_look() {
            return None;
        }
        Some(Body {
            event_type: event.event_type.clone(),
            subject: subject.to_owned(),
            id: event.id.clone(),
            data: event.data.clone()?,
        })
    }

    /// Offers it.
    pub fn offer(&self, body: Body) {
        self.send(Offered::Body(body));
    }

    /// Offers a message of the store. Its type is read from its headers.
    pub fn offer_delivery(&self, delivery: &Arc<Delivery>) {
        let known = self.inner.known.read();
        if known.is_empty() || delivery.is_envelope {
            return;
        }
        let header = |name| delivery.headers.as_ref()?.get(name);
        let is_known = header("ce-type").is_some_and(|one| known.contains_key(one.as_str()));
        drop(known);
        if is_known && self.may_look() {
            self.send(Offered::Delivery(Arc::clone(delivery)));
        }
    }

    fn send(&self, offered: Offered) {
        if self.inner.offered.try_send(offered).is_err() {
            self.inner.metrics.schema_body_left_out();
        }
    }

    /// Whether this second's bodies were not all looked at yet.
    fn may_look(&self) -> bool {
        let mut budget = self.inner.budget.lock();
        let (since, used) = &mut *budget;
        if Duration::from_secs(1) <= since.elapsed() {
            (*since, *used) = (Instant::now(), 0);
        }
        *used += 1;
        let may = *used <= BUDGET;
        drop(budget);
        if !may {
            self.inner.metrics.schema_body_left_out();
        }
        may
    }

    fn learn(&self, version: &Version) {
        let Ok(shape) = version.shape() else {
            tracing::warn!(
                event_type = version.event_type,
                version = version.version,
                "a schema of the registry cannot be read"
            );
            return;
        };
        let mut known = self.inner.known.write();
        let is_newer = known
            .get(&version.event_type)
            .is_none_or(|before| before.version < version.version);
        if is_newer {
            let newest = Known {
                version: version.version,
                shape,
                structures: Mutex::default(),
            };
            known.insert(version.event_type.clone(), Arc::new(newest));
        }
    }
}

impl Watcher {
    /// Looks at what is offered, until `stop`; called once.
    pub async fn watch(
        self,
        context: Context,
        host: String,
        events: SystemEvents,
        stop: CancellationToken,
    ) {
        let watcher = self;
        let Some(mut offers) = watcher.inner.offers.lock().take() else {
            return;
        };
        let learning = follow(&watcher, &context);
        let looking = async {
            let mut looking = Looking {
                watcher: watcher.clone(),
                context: context.clone(),
                host,
                events,
                reported: HashMap::new(),
                answers: None,
            };
            while let Some(offered) = offers.recv().await {
                looking.take(offered).await;
            }
        };
        tokio::select! {
            () = learning => {}
            () = looking => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Keeps up with the registry for ever.
async fn follow(watcher: &Watcher, context: &Context) {
    loop {
        match changes(context).await {
            Ok(mut changes) => {
                while let Some(Ok(entry)) = changes.next().await {
                    if entry.operation == Operation::Put
                        && let Ok(version) = serde_json::from_slice::<Version>(&entry.value)
                    {
                        watcher.learn(&version);
                    }
                }
            }
            Err(error) => tracing::debug!(%error, "schemas are not known yet"),
        }
        sleep(AGAIN).await;
    }
}

async fn changes(context: &Context) -> Result<Watch, Error> {
    let bucket = bucket(context).await?;
    let changes = bucket.watch_with_history("version.*.*").await;
    changes.map_err(|error| Error::Bucket(error.to_string()))
}

struct Looking {
    watcher: Watcher,
    context: Context,
    host: String,
    events: SystemEvents,
    /// By type: of which version, and the ids of what was reported.
    reported: HashMap<String, (u32, HashSet<String>)>,
    answers: Option<(Instant, Arc<Vec<Answer>>)>,
}

impl Looking {
    async fn take(&mut self, offered: Offered) {
        match offered {
            Offered::Body(body) => self.look(&body).await,
            Offered::Delivery(delivery) => {
                let Ok(decoded) = delivery.event() else {
                    return;
                };
                let event = &decoded.event;
                if let Some(data) = event.data.clone().filter(|_| tells(event)) {
                    let body = Body {
                        event_type: event.event_type.clone(),
                        subject: delivery.subject.clone(),
                        id: event.id.clone(),
                        data,
                    };
                    self.look(&body).await;
                }
            }
        }
    }

    async fn look(&mut self, body: &Body) {
        let Some(known) = self.watcher.known(&body.event_type) else {
            return;
        };
        self.watcher.inner.metrics.schema_body_checked();
        let Ok(number) = structure(&body.data) else {
            return;
        };
        if known.structures.lock().contains(&number) {
            return;
        }
        let Ok(value) = serde_json::from_slice(&body.data) else {
            return;
        };
        for drift in known.shape.drift(&value) {
            if let Err(error) = self.report(&known, body, drift).await {
                tracing::warn!(%error, "a drift is not written down; it will be when it is seen again");
                return;
            }
        }
        let mut structures = known.structures.lock();
        if MAX_KNOWN <= structures.len() {
            structures.clear();
        }
        structures.insert(number);
    }

    async fn report(&mut self, known: &Known, body: &Body, drift: Drift) -> Result<(), Error> {
        let id = drifts::id(&body.event_type, known.version, &drift);
        let of_type = self.reported.entry(body.event_type.clone());
        let (version, reported) = of_type.or_default();
        if *version != known.version {
            (*version, *reported) = (known.version, HashSet::new());
        }
        if reported.contains(&id) || MAX_REPORTED <= reported.len() {
            return Ok(());
        }
        reported.insert(id.clone());
        let about = (body.event_type.as_str(), body.subject.as_str());
        let record = Record {
            event_type: body.event_type.clone(),
            version: known.version,
            first_seen: clock::rfc3339(clock::unix_millis()),
            event: body.id.clone(),
            host: self.host.clone(),
            plugins: readers(&self.answers().await, about, &drift.path),
            drift,
        };
        match drifts::record(&self.context, &record).await {
            Ok(true) => self.say(&record, id),
            Ok(false) => {}
            Err(error) => {
                if let Some((_, reported)) = self.reported.get_mut(&body.event_type) {
                    reported.remove(&id);
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn say(&self, record: &Record, id: String) {
        let drift = &record.drift;
        let kind = drift.kind.as_str();
        self.watcher.inner.metrics.schema_drifted(kind);
        // Not the example: it is a customer's.
        tracing::warn!(
            event_type = record.event_type,
            version = record.version,
            path = drift.path,
            kind,
            was = drift.was,
            is = drift.is,
            event = record.event,
            plugins = record.readers(),
            "schema drift"
        );
        self.events.raise(SystemEvent {
            name: EVENT.to_owned(),
            id,
            about: record.event_type.clone(),
            data: serde_json::to_value(record).unwrap_or_default(),
        });
    }

    /// What the hosts say of their plug-ins, not asked for each of many drifts.
    async fn answers(&mut self) -> Arc<Vec<Answer>> {
        if let Some((at, answers)) = &self.answers
            && at.elapsed() < ANSWERS_HOLD
        {
            return Arc::clone(answers);
        }
        let asked = timeout(PATIENCE, fleet::answers(&self.context)).await;
        let answers = match asked {
            Ok(Ok((answers, _))) => Arc::new(answers),
            Ok(Err(_)) | Err(_) => Arc::default(),
        };
        self.answers = Some((Instant::now(), Arc::clone(&answers)));
        answers
    }
}

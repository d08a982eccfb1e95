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
use async_nats::jetstream::kv::Watch;
use bytes::Bytes;
use parking_lot::Mutex;
use sluicegate_schema::{Drift, structure};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::drifts::{self, Record};
use super::fitting::Fitting;
use super::known::Known;
use super::learning::tells;
use super::readers::readers;
use super::registry::{Error, URIS};
use crate::clock;
use crate::config::Schemas;
use crate::delivery::Delivery;
use crate::event::Event;
use crate::metrics::Metrics;
use crate::operations::fleet;
use crate::roster::Answer;
use crate::system_events::{SystemEvent, publish};

/// Bodies that wait to be looked at.
const MAX_WAITING: usize = 256;
/// Bodies that are looked at in a second.
const BUDGET: u32 = 1_000;
/// Structures of a type that are known to have nothing new.
const MAX_STRUCTURES: usize = 4_096;
/// Drifts of one version of a type that are reported; a type that drifts more has another schema.
const MAX_REPORTED: usize = 200;
/// What hosts said of their plug-ins holds for so long.
const ANSWERS_HOLD: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(5);
/// The events that are raised, and the name in their subject.
const EVENT: &str = "schema-drift";

/// Where events are offered. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Watcher {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    known: Known,
    fitting: Fitting,
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
    /// Its number, where that is known.
    structure: Option<u64>,
    data: Bytes,
}

impl Watcher {
    /// Of a host; it looks at nothing until [`Watcher::watch`].
    pub fn new(policies: &Schemas, metrics: Metrics) -> Self {
        let (offered, offers) = mpsc::channel(MAX_WAITING);
        let known = Known::default();
        let inner = Arc::new(Inner {
            fitting: Fitting::new(known.clone(), policies.clone(), metrics.clone()),
            known,
            offered,
            offers: Mutex::new(Some(offers)),
            budget: Mutex::new((Instant::now(), 0)),
            metrics,
        });
        Self { inner }
    }

    /// What is known of the registry.
    pub fn known(&self) -> &Known {
        &self.inner.known
    }

    /// What says of an event which version it is one of.
    pub fn fitting(&self) -> &Fitting {
        &self.inner.fitting
    }

    /// What is to be offered of an event that is about to be stored; none where nothing is known
    /// of its type, or enough was looked at. `structure` is what [`Fitting::stamp`] gave.
    pub fn body(&self, event: &Event, subject: &str, structure: Option<u64>) -> Option<Body> {
        let is_known = self.inner.known.has(&event.event_type);
        if !is_known || !tells(event) || !self.may_look() {
            return None;
        }
        Some(Body {
            event_type: event.event_type.clone(),
            subject: subject.to_owned(),
            id: event.id.clone(),
            structure,
            data: event.data.clone()?,
        })
    }

    /// Offers it.
    pub fn offer(&self, body: Body) {
        self.send(Offered::Body(body));
    }

    /// Offers a message of the store, unless a host has looked at it on its way there. Its type is
    /// read from its headers.
    pub fn offer_delivery(&self, delivery: &Arc<Delivery>) {
        let known = &self.inner.known;
        if known.is_empty() || delivery.is_envelope {
            return;
        }
        let header = |name| delivery.headers.as_ref()?.get(name);
        let is_known = header("ce-type").is_some_and(|one| known.has(one.as_str()))
            && !header("ce-dataschema").is_some_and(|uri| uri.as_str().starts_with(URIS));
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
}

impl Watcher {
    /// Looks at what is offered, until `stop`; called once. `begun` is of [`Known::begin`].
    pub async fn watch(
        self,
        (context, begun): (Context, Option<Watch>),
        host: String,
        stop: CancellationToken,
    ) {
        let watcher = self;
        let Some(mut offers) = watcher.inner.offers.lock().take() else {
            return;
        };
        let learning = watcher.inner.known.follow(&context, begun);
        let looking = async {
            let mut looking = Looking {
                watcher: watcher.clone(),
                context: context.clone(),
                host,
                structures: HashMap::new(),
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

struct Looking {
    watcher: Watcher,
    context: Context,
    host: String,
    /// By type and its newest version: the structures that have no drift or were reported,
    structures: HashMap<String, (u32, HashSet<u64>)>,
    /// and the ids of what was reported.
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
                        structure: None,
                        data,
                    };
                    self.look(&body).await;
                }
            }
        }
    }

    async fn look(&mut self, body: &Body) {
        let of_type = self.watcher.known().of_type(&body.event_type);
        let Some((version, shape)) = of_type.as_ref().and_then(|one| one.newest()) else {
            return;
        };
        self.watcher.inner.metrics.schema_body_checked();
        let number = match body.structure {
            Some(number) => number,
            None => match structure(&body.data) {
                Ok(number) => number,
                Err(_) => return,
            },
        };
        if of_version(&mut self.structures, &body.event_type, version).contains(&number) {
            return;
        }
        let Ok(value) = serde_json::from_slice(&body.data) else {
            return;
        };
        for drift in shape.drift(&value) {
            if let Err(error) = self.report(version, body, drift).await {
                tracing::warn!(%error, "a drift is not written down; it will be when it is seen again");
                return;
            }
        }
        let structures = of_version(&mut self.structures, &body.event_type, version);
        if MAX_STRUCTURES <= structures.len() {
            structures.clear();
        }
        structures.insert(number);
    }

    async fn report(&mut self, version: u32, body: &Body, drift: Drift) -> Result<(), Error> {
        let id = drifts::id(&body.event_type, version, &drift);
        let reported = of_version(&mut self.reported, &body.event_type, version);
        if reported.contains(&id) || MAX_REPORTED <= reported.len() {
            return Ok(());
        }
        if !drifts::is_recorded(&self.context, &body.event_type, &id).await? {
            let about = (body.event_type.as_str(), body.subject.as_str());
            let record = Record {
                event_type: body.event_type.clone(),
                version,
                first_seen: clock::rfc3339(clock::unix_millis()),
                event: body.id.clone(),
                host: self.host.clone(),
                plugins: readers(&self.answers().await, about, &drift.path),
                drift,
            };
            self.say(&record, &id).await?;
        }
        let reported = of_version(&mut self.reported, &body.event_type, version);
        reported.insert(id);
        Ok(())
    }

    /// First the event, which the broker has once whoever raises it: a host that dies before it
    /// has written the drift down raises it again.
    async fn say(&self, record: &Record, id: &str) -> Result<(), Error> {
        let event = SystemEvent {
            name: EVENT.to_owned(),
            id: id.to_owned(),
            about: record.event_type.clone(),
            data: serde_json::to_value(record).unwrap_or_default(),
        };
        let raised = publish(&self.context, &self.host, event).await;
        raised.map_err(Error::Event)?;
        if !drifts::record(&self.context, record).await? {
            return Ok(());
        }
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
        Ok(())
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

/// What is kept of a type, anew with each version.
fn of_version<'a, T>(
    kept: &'a mut HashMap<String, (u32, HashSet<T>)>,
    event_type: &str,
    version: u32,
) -> &'a mut HashSet<T> {
    let (of, set) = kept.entry(event_type.to_owned()).or_default();
    if *of != version {
        (*of, *set) = (version, HashSet::new());
    }
    set
}

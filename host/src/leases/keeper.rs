//! Takes the beats of all hosts, gives which of them are alive; tells them that this one is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::stream::Stream;
use async_nats::{Client, HeaderMap, Subscriber};
use futures_util::StreamExt;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::{EVERY_HOST, HOSTS, LEASE, Lease, OPERATION, STREAM, View, lease};
use crate::broker::read_all;
use crate::ownership::{Candidate, spread};

/// How often a host says that it is alive; at once when something about it changes.
const BEAT: Duration = Duration::from_secs(1);
/// Of its own beats none came back for so long: this host hears nobody.
const DEAF: Duration = Duration::from_secs(2);
/// The bucket forgets a host that did not say goodbye.
const KEPT_SECONDS: &str = "60";
const FAREWELL: Duration = Duration::from_millis(500);
const DELETED: &str = "DEL";

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Keeps this host's lease and listens to the others'.
pub struct Keeper {
    id: String,
    subject: String,
    words: watch::Receiver<Lease>,
    view: watch::Sender<Arc<View>>,
    client: Client,
    context: Context,
    bucket: Stream,
    /// By id, with the moment at which each was last heard of; this host is not among them.
    seen: BTreeMap<String, (Lease, Instant)>,
    heard_self: Option<Instant>,
    settled: bool,
}

impl Keeper {
    /// Keeps the lease of this id, whose holder's words these are.
    pub(super) fn new(
        (id, words): (String, watch::Receiver<Lease>),
        view: watch::Sender<Arc<View>>,
        client: Client,
        context: Context,
        bucket: Stream,
    ) -> Self {
        Self {
            subject: format!("{HOSTS}{id}"),
            id,
            words,
            view,
            client,
            context,
            bucket,
            seen: BTreeMap::new(),
            heard_self: None,
            settled: false,
        }
    }

    /// Works until `stop`, then says goodbye.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard: Option<Subscriber> = None;
        loop {
            if heard.is_none() {
                heard = self.client.subscribe(EVERY_HOST).await.ok();
            }
            let is_new = tokio::select! {
                () = stop.cancelled() => break,
                _ = beat.tick() => {
                    let found = !self.settled && self.look_around().await;
                    self.say().await;
                    self.sweep() || found
                }
                changed = self.words.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    self.say().await;
                    true
                }
                message = next(&mut heard) => match message {
                    Some(message) => self.hear(&message),
                    None => {
                        heard = None;
                        false
                    }
                },
            };
            if is_new {
                self.tell();
            }
        }
        let mut goodbye = ttl();
        goodbye.insert(OPERATION, DELETED);
        let goodbye = self
            .context
            .publish_with_headers(self.subject.clone(), goodbye, "".into());
        let said = async { goodbye.await?.await };
        if let Ok(Err(error)) = timeout(FAREWELL, said).await {
            tracing::debug!(%error, "the other hosts were not told that this one ends");
        }
    }

    /// Who was there before this host: read once, beside its own lease, so that the broker's
    /// clock alone says how old each is. Tells whether that was possible.
    async fn look_around(&mut self) -> bool {
        if self.client.connection_state() != State::Connected {
            return false;
        }
        match self.read().await {
            Ok(found) => {
                for (lease, age) in found {
                    let at = Instant::now().checked_sub(age).unwrap_or_else(Instant::now);
                    self.seen.entry(lease.id.clone()).or_insert((lease, at));
                }
                self.settled = true;
                self.heard_self = Some(Instant::now());
            }
            Err(error) => tracing::warn!(%error, bucket = STREAM, "the hosts are not known yet"),
        }
        self.settled
    }

    async fn read(&self) -> Result<Vec<(Lease, Duration)>, AnyError> {
        let own = serde_json::to_vec(&*self.words.borrow())?;
        let said = self
            .context
            .publish_with_headers(self.subject.clone(), ttl(), own.into());
        said.await?.await?;
        let own = self.bucket.get_last_raw_message_by_subject(&self.subject);
        let now = own.await?.time;
        let name = self.words.borrow().name.clone();
        let mut found = Vec::new();
        read_all(
            &self.bucket,
            EVERY_HOST,
            DeliverPolicy::LastPerSubject,
            |message| {
                let Ok(info) = message.info() else { return };
                let Some(lease) = lease(message.headers.as_ref(), &message.payload) else {
                    return;
                };
                let age = Duration::try_from(now - info.published).unwrap_or_default();
                // Of this host's own name: what it was before it was killed and started again. If
                // that one lives after all, it is heard within a second.
                let before = lease.name == name && !lease.leaving;
                if lease.id != self.id && !before && age < LEASE {
                    found.push((lease, age));
                }
            },
        )
        .await?;
        Ok(found)
    }

    /// Says that this host is alive. Nothing waits for an answer: it hears itself.
    async fn say(&self) {
        // The client would keep it, and say it when it is long not true any more.
        if self.client.connection_state() != State::Connected {
            return;
        }
        let Ok(own) = serde_json::to_vec(&*self.words.borrow()) else {
            return;
        };
        let said = self
            .client
            .publish_with_headers(self.subject.clone(), ttl(), own.into());
        if let Err(error) = said.await {
            tracing::debug!(%error, "this host could not say that it is alive");
        }
    }

    /// Takes a beat in; tells whether it says anything new.
    fn hear(&mut self, message: &async_nats::Message) -> bool {
        let Some(id) = message.subject.as_str().strip_prefix(HOSTS) else {
            return false;
        };
        let now = Instant::now();
        if id == self.id {
            if self.is_deaf(now) {
                // Nobody could be heard meanwhile: each has a whole lease from now on.
                self.seen.values_mut().for_each(|(_, at)| *at = now);
            }
            self.heard_self = Some(now);
            return false;
        }
        match lease(message.headers.as_ref(), &message.payload) {
            Some(lease) if lease.id == id => self.heard(lease, now),
            Some(_) => false,
            None => {
                let ended = self.seen.remove(id);
                if let Some((lease, _)) = &ended {
                    tracing::info!(host = lease.name, id, "another host has ended");
                }
                ended.is_some()
            }
        }
    }

    fn heard(&mut self, lease: Lease, now: Instant) -> bool {
        match self.seen.get_mut(&lease.id) {
            Some((known, at)) if *known == lease => {
                *at = now;
                return false;
            }
            Some(_) => {}
            None => {
                tracing::info!(host = lease.name, id = lease.id, "another host is there");
                if lease.name == self.words.borrow().name {
                    tracing::warn!(
                        host = lease.name,
                        id = lease.id,
                        "another host has the same name; give each its own host.name"
                    );
                }
            }
        }
        self.seen.insert(lease.id.clone(), (lease, now));
        true
    }

    fn is_deaf(&self, now: Instant) -> bool {
        self.heard_self.is_none_or(|at| DEAF < now - at)
    }

    /// Takes those for dead of which nothing was heard; tells whether there are any.
    fn sweep(&mut self) -> bool {
        let now = Instant::now();
        if self.is_deaf(now) {
            return false;
        }
        let before = self.seen.len();
        self.seen.retain(|id, (lease, at)| {
            let alive = now - *at < LEASE;
            if !alive {
                tracing::warn!(host = lease.name, id, "another host is gone without a word");
            }
            alive
        });
        self.seen.len() < before
    }

    /// What follows from who is alive.
    fn tell(&self) {
        let own = self.words.borrow().clone();
        let others = self.seen.values().map(|(lease, _)| lease.clone());
        let hosts: BTreeMap<String, Lease> = others
            .chain([own])
            .map(|lease| (lease.id.clone(), lease))
            .collect();
        let staying = hosts.values().filter(|host| !host.leaving);
        let candidates: Vec<Candidate<'_>> = staying
            .map(|host| Candidate {
                id: &host.id,
                name: &host.name,
                plugins: &host.plugins,
            })
            .collect();
        let owners = spread(&candidates);
        self.view.send_replace(Arc::new(View {
            settled: self.settled,
            hosts,
            owners,
        }));
    }
}

/// The next message; for ever without a subscription.
async fn next(heard: &mut Option<Subscriber>) -> Option<async_nats::Message> {
    match heard {
        Some(heard) => heard.next().await,
        None => std::future::pending().await,
    }
}

fn ttl() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(async_nats::header::NATS_MESSAGE_TTL, KEPT_SECONDS);
    headers
}

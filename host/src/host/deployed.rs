//! Takes the wishes of the cluster, gives the builds that follow from them, as they change.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::DeliverPolicy;
use futures_util::StreamExt as _;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::plugins::News;
use super::{Shared, chain};
use crate::broker::{Broker, read_all};
use crate::clock;
use crate::deployment::{self, Components, EVERY_WISH, TakenBack, Wanted, Wish};
use crate::load;
use crate::plugin::engine::Engine;
use crate::plugin::generation::Generation;
use crate::rollout::{Canary, Verdict};
use crate::system_events::SystemEvent;

/// So often the wishes are read whatever was heard.
const ANYHOW: Duration = Duration::from_secs(10);
/// After the broker did not answer.
const AGAIN: Duration = Duration::from_secs(1);

/// What the cluster wants of a plug-in, as far as this host can do it.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) plugin: String,
    /// None when the folder's is to run.
    pub(super) build: Option<Arc<Generation>>,
    pub(super) canary: Option<Arc<Canary>>,
    pub(super) taken_back: Option<TakenBack>,
    pub(super) paused: bool,
}

/// What was made of a wish.
struct Followed {
    wish: Wish,
    order: Order,
    /// A component could not be had, which may pass.
    again: bool,
}

/// The wishes, as they were last read.
pub(super) struct Deployed {
    shared: Shared,
    broker: Broker,
    engine: Arc<Engine>,
    followed: BTreeMap<String, Followed>,
    tell: mpsc::UnboundedSender<Verdict>,
    verdicts: mpsc::UnboundedReceiver<Verdict>,
    /// Verdicts that the cluster does not know yet.
    unsaid: Vec<Verdict>,
}

/// Why a build is not run.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Deployment(#[from] deployment::Error),
    #[error(transparent)]
    Load(#[from] load::Error),
    #[error("the component says that it is {found:?}; deploy it again")]
    AnotherName { found: String },
    #[error("the host stops")]
    Stopping,
}

impl Error {
    /// Whether it may be another time.
    fn passes(&self) -> bool {
        matches!(self, Self::Deployment(deployment::Error::Store(_)))
    }
}

impl Deployed {
    pub(super) fn new(shared: Shared, broker: Broker, engine: Arc<Engine>) -> Self {
        let (tell, verdicts) = mpsc::unbounded_channel();
        Self {
            shared,
            broker,
            engine,
            followed: BTreeMap::new(),
            tell,
            verdicts,
            unsaid: Vec::new(),
        }
    }

    /// Tells what follows from the wishes, until the host stops or nobody listens.
    pub(super) async fn run(mut self, news: mpsc::Sender<News>) {
        let mut anyhow = interval(ANYHOW);
        anyhow.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut changes = None;
        loop {
            if changes.is_none() {
                changes = deployment::changes(&self.broker.context).await.ok();
            }
            let heard = async {
                match &mut changes {
                    Some(changes) => changes.next().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = anyhow.tick() => {}
                heard = heard => if heard.is_none_or(|change| change.is_err()) {
                    changes = None;
                },
                Some(verdict) = self.verdicts.recv() => self.unsaid.push(verdict),
                () = self.shared.drain.cancelled() => return,
            }
            self.say().await;
            for order in self.look().await.unwrap_or_default() {
                if news.send(News::Ordered(order)).await.is_err() {
                    return;
                }
            }
        }
    }

    /// The orders at the start, however long the broker takes. None when the host is stopping.
    pub(super) async fn first(&mut self) -> Option<Vec<Order>> {
        loop {
            if let Ok(orders) = self.look().await {
                return Some(orders);
            }
            tokio::select! {
                () = tokio::time::sleep(AGAIN) => {}
                () = self.shared.drain.cancelled() => return None,
            }
        }
    }

    /// Reads every wish, gives an order for each that is not followed yet.
    async fn look(&mut self) -> Result<Vec<Order>, ()> {
        let mut wishes: BTreeMap<String, Wish> = BTreeMap::new();
        let newest = DeliverPolicy::LastPerSubject;
        let read = read_all(&self.broker.bucket, EVERY_WISH, newest, |message| {
            let Some(plugin) = deployment::plugin(&message.subject) else {
                return;
            };
            match deployment::parse(plugin, &message.payload) {
                Ok(wish) => drop(wishes.insert(plugin.to_owned(), wish)),
                Err(error) => tracing::error!(plugin, %error, "what runs goes on"),
            }
        });
        if let Err(error) = read.await {
            tracing::warn!(%error, "what is deployed cannot be read; what runs goes on");
            return Err(());
        }
        let mut orders = Vec::new();
        for (plugin, wish) in wishes {
            let known = self.followed.get(&plugin);
            if known.is_some_and(|known| known.wish == wish && !known.again) {
                continue;
            }
            let followed = self.follow(&plugin, wish).await;
            orders.push(followed.order.clone());
            self.followed.insert(plugin, followed);
        }
        Ok(orders)
    }

    /// What cannot be loaded leaves what runs.
    async fn follow(&self, plugin: &str, wish: Wish) -> Followed {
        let known = self.followed.get(plugin).map(|known| &known.order);
        let (mut build, mut canary) = (None, None);
        let mut again = false;
        if let Some(wanted) = &wish.build {
            let label = deployment::label(plugin);
            let loaded = self.build(plugin, wanted).await;
            build = self.take((&label, wanted), loaded, &mut again);
            build = build.or_else(|| known.and_then(|known| known.build.clone()));
        } else {
            self.shared.health.accepted(&deployment::label(plugin));
        }
        if let Some(wanted) = &wish.canary {
            let label = deployment::label_of_canary(plugin);
            let same = known.and_then(|known| known.canary.clone()).filter(|same| {
                same.generation.digest() == wanted.build.digest && same.percent == wanted.percent
            });
            canary = match same {
                Some(same) => Some(same),
                None => {
                    let loaded = self.build(plugin, &wanted.build).await;
                    let loaded = self.take((&label, &wanted.build), loaded, &mut again);
                    loaded.map(|generation| {
                        let verdicts = self.tell.clone();
                        Arc::new(Canary::new(generation, wanted.percent, verdicts))
                    })
                }
            };
        } else {
            let label = deployment::label_of_canary(plugin);
            self.shared.health.accepted(&label);
        }
        let order = Order {
            plugin: plugin.to_owned(),
            build,
            canary,
            taken_back: wish.taken_back.clone(),
            paused: wish.paused,
        };
        Followed { wish, order, again }
    }

    fn take(
        &self,
        (label, wanted): (&str, &Wanted),
        loaded: Result<Arc<Generation>, Error>,
        again: &mut bool,
    ) -> Option<Arc<Generation>> {
        match loaded {
            Ok(generation) => {
                self.shared.health.accepted(label);
                Some(generation)
            }
            Err(error) => {
                *again |= error.passes();
                let text = format!("{}: {}", wanted.digest, chain(&error));
                tracing::error!(plugin = label, error = text, "refused; what runs goes on");
                self.shared.health.refused(label.to_owned(), text);
                None
            }
        }
    }

    /// The build, from memory or from the object store.
    async fn build(&self, plugin: &str, wanted: &Wanted) -> Result<Arc<Generation>, Error> {
        if let Some(Followed { order, .. }) = self.followed.get(plugin) {
            let canary = order.canary.iter().map(|canary| &canary.generation);
            let mut loaded = order.build.iter().chain(canary);
            if let Some(same) = loaded.find(|build| build.digest() == wanted.digest) {
                return Ok(Arc::clone(same));
            }
        }
        let components = Components::open(&self.broker.context).await?;
        let bytes = components.get(&wanted.digest).await?;
        let manifest = load::manifest(&bytes, plugin, &self.shared.config)?;
        if manifest.name != plugin {
            let found = manifest.name;
            return Err(Error::AnotherName { found });
        }
        load::check_secrets(&manifest, &self.shared.config)?;
        let engine = Arc::clone(&self.engine);
        let loading = self.shared.tracker.spawn_blocking(move || {
            let generation = Generation::load(&engine, &bytes, manifest)?;
            generation.warm()?;
            Ok::<_, load::Error>(generation)
        });
        let generation = loading.await.map_err(|_| Error::Stopping)??;
        generation.count(self.shared.metrics.generation(plugin));
        tracing::info!(
            plugin, version = %generation.manifest().version, digest = generation.digest(),
            "plug-in loaded from the object store"
        );
        Ok(Arc::new(generation))
    }

    /// Tells the cluster which canaries are worse than what they were tried beside.
    async fn say(&mut self) {
        for verdict in std::mem::take(&mut self.unsaid) {
            let Verdict {
                plugin,
                digest,
                reason,
            } = &verdict;
            let host = &self.shared.config.host.name;
            let taken = deployment::change(&self.broker.context, plugin, |wish| {
                if let Some(canary) = &wish.canary
                    && canary.build.digest == *digest
                {
                    wish.taken_back = Some(TakenBack {
                        build: canary.build.clone(),
                        host: host.clone(),
                        on: clock::rfc3339(clock::unix_millis()),
                        reason: reason.clone(),
                    });
                    wish.canary = None;
                }
                Ok::<(), deployment::Error>(())
            });
            match taken.await {
                Ok((before, after)) => {
                    tracing::error!(plugin, digest, reason, "the canary was taken back");
                    self.shared.metrics.taken_back(plugin);
                    // Of several hosts one has done it.
                    if before != after {
                        let on = clock::unix_millis();
                        self.shared.said.raise(SystemEvent {
                            name: "canary-failed".to_owned(),
                            id: format!("canary-failed/{plugin}/{on}"),
                            about: plugin.clone(),
                            data: json!({ "plugin": plugin, "digest": digest, "reason": reason }),
                        });
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, plugin, "the canary runs no more here; others are not told yet");
                    self.unsaid.push(verdict);
                }
            }
        }
    }
}

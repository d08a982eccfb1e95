//! Takes the builds of sagas, keeps them where every host finds them, and gives them back by digest.
//!
//! A saga ends on the build that it began with, which may be weeks after another has taken that
//! one's place, and on another host. So none begins before its build is in the object store.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Context;
use parking_lot::Mutex;
use sluicegate_saga::Build;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::deployment::{self, Components};
use crate::load;
use crate::metrics::Metrics;
use crate::plugin::engine::Engine;
use crate::plugin::generation::Generation;

/// A build that no saga has asked for in this time is let go of.
const UNUSED: Duration = Duration::from_secs(600);
/// After one could not be had.
const AGAIN: Duration = Duration::from_secs(5);

/// Why a build cannot be had.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Deployment(#[from] deployment::Error),
    #[error(transparent)]
    Load(#[from] load::Error),
    #[error("the host stops")]
    Stopping,
}

/// The builds of sagas on this host.
#[derive(Clone)]
pub struct Builds(Arc<Inner>);

struct Inner {
    context: Context,
    engine: Arc<Engine>,
    config: Arc<Config>,
    metrics: Metrics,
    tracker: TaskTracker,
    known: Mutex<HashMap<String, Known>>,
}

/// What is known of a build, by its digest.
enum Known {
    /// It is being kept, or looked for.
    Busy,
    /// The object store has it.
    Kept,
    /// It is here, and was asked for then.
    Loaded(Arc<Generation>, Instant),
    /// It could not be kept or found; it is tried again after that.
    Failed(Instant),
}

impl Builds {
    /// Knows nothing yet.
    pub fn new(
        context: Context,
        engine: Arc<Engine>,
        config: Arc<Config>,
        (metrics, tracker): (Metrics, TaskTracker),
    ) -> Self {
        Self(Arc::new(Inner {
            context,
            engine,
            config,
            metrics,
            tracker,
            known: Mutex::default(),
        }))
    }

    /// Whether every host finds this build. If not, that is seen to.
    pub fn keeps(&self, generation: &Arc<Generation>) -> bool {
        let digest = generation.digest();
        if let Some(is_kept) = self.is_at_hand(digest) {
            return is_kept;
        }
        let (this, generation) = (self.clone(), Arc::clone(generation));
        self.0.tracker.spawn(async move {
            let kept = this.keep(&generation).await;
            this.becomes(generation.digest(), kept.map(|()| Known::Kept), "kept");
        });
        false
    }

    /// The build of a saga. None while it is looked for.
    pub fn find(&self, plugin: &str, build: &Build) -> Option<Arc<Generation>> {
        let mut known = self.0.known.lock();
        known.retain(|_, known| match known {
            Known::Loaded(_, used) => used.elapsed() < UNUSED,
            Known::Busy | Known::Kept | Known::Failed(_) => true,
        });
        match known.get_mut(&build.digest) {
            Some(Known::Loaded(generation, used)) => {
                *used = Instant::now();
                return Some(Arc::clone(generation));
            }
            Some(Known::Busy) => return None,
            Some(Known::Failed(at)) if at.elapsed() < AGAIN => return None,
            Some(Known::Kept | Known::Failed(_)) | None => {}
        }
        known.insert(build.digest.clone(), Known::Busy);
        drop(known);
        let (this, plugin, build) = (self.clone(), plugin.to_owned(), build.clone());
        self.0.tracker.spawn(async move {
            let loaded = this.load(&plugin, &build).await;
            let loaded = loaded.map(|generation| Known::Loaded(generation, Instant::now()));
            this.becomes(&build.digest, loaded, "found");
        });
        None
    }

    /// None where somebody is to see to it, who is the caller now.
    fn is_at_hand(&self, digest: &str) -> Option<bool> {
        let mut known = self.0.known.lock();
        match known.get(digest) {
            Some(Known::Kept | Known::Loaded(..)) => return Some(true),
            Some(Known::Busy) => return Some(false),
            Some(Known::Failed(at)) if at.elapsed() < AGAIN => return Some(false),
            Some(Known::Failed(_)) | None => {}
        }
        known.insert(digest.to_owned(), Known::Busy);
        None
    }

    fn becomes(&self, digest: &str, became: Result<Known, Error>, what: &str) {
        let known = became.unwrap_or_else(|error| {
            tracing::error!(
                digest, %error,
                "a build of sagas cannot be {what}; those that began with it wait"
            );
            Known::Failed(Instant::now())
        });
        self.0.known.lock().insert(digest.to_owned(), known);
    }

    async fn keep(&self, generation: &Generation) -> Result<(), Error> {
        let Some(component) = generation.component() else {
            return Ok(());
        };
        let components = Components::open(&self.0.context).await?;
        components.keep_for_sagas(component).await?;
        Ok(())
    }

    async fn load(&self, plugin: &str, build: &Build) -> Result<Arc<Generation>, Error> {
        let components = Components::open(&self.0.context).await?;
        let bytes = components.get_for_sagas(&build.digest).await?;
        let manifest = load::manifest_of_saga(&bytes, plugin, &self.0.config)?;
        load::check_secrets(&manifest, &self.0.config)?;
        let engine = Arc::clone(&self.0.engine);
        let loading = self.0.tracker.spawn_blocking(move || {
            let generation = Generation::load(&engine, &bytes, manifest)?;
            generation.warm()?;
            Ok::<_, load::Error>(generation)
        });
        let generation = loading.await.map_err(|_| Error::Stopping)??;
        generation.count(self.0.metrics.generation(plugin));
        tracing::info!(
            plugin, version = %generation.manifest().version, digest = generation.digest(),
            "an earlier build is loaded: sagas that began with it go on"
        );
        Ok(Arc::new(generation))
    }
}

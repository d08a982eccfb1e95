//! Takes a version as it is written down, gives its build and its rows, opened.

use std::path::PathBuf;
use std::sync::Arc;

use async_nats::jetstream::Context;
use async_nats::jetstream::stream::Stream;
use tokio_util::task::TaskTracker;

use super::Projections;
use super::folder::Named;
use super::shelf::Shelf;
use super::store::Error;
use super::version::Version;
use crate::config::Config;
use crate::cursor::Tail;
use crate::health::Health;
use crate::load;
use crate::metrics::Metrics;
use crate::plugin::engine::Engine;
use crate::plugin::generation::Generation;

/// What a projection works with.
#[derive(Clone)]
pub struct Parts {
    /// The daemon's configuration.
    pub config: Arc<Config>,
    /// For bodies that are in the object store.
    pub context: Context,
    /// The event store.
    pub events: Stream,
    /// Reads for those who have caught up.
    pub tail: Tail,
    /// Compiles a build that nobody else has any more.
    pub engine: Arc<Engine>,
    /// All metrics.
    pub metrics: Metrics,
    /// Of the host.
    pub health: Health,
    /// Where its tasks run.
    pub tracker: TaskTracker,
    /// Where it is shown.
    pub projections: Projections,
}

/// The build of a version that nobody has but its folder.
pub(super) async fn before(
    parts: &Parts,
    shelf: &Shelf,
    named: &Named,
) -> Result<Arc<Generation>, String> {
    let (config, engine) = (Arc::clone(&parts.config), Arc::clone(&parts.engine));
    let (shelf, named) = (shelf.clone(), named.clone());
    let loaded = parts.tracker.spawn_blocking(move || {
        let bytes = shelf.component(&named).map_err(|error| error.to_string())?;
        let manifest = load::manifest(&bytes, &named.id, &config);
        let mut manifest = manifest.map_err(|error| error.to_string())?;
        manifest.config = named.config;
        let build = Generation::load(&engine, &bytes, manifest);
        build.map(Arc::new).map_err(|error| error.to_string())
    });
    loaded.await.map_err(|error| error.to_string())?
}

/// Opens the rows of a version, or makes room for them, with its build's bytes beside them.
pub(super) async fn open(
    parts: &Parts,
    shelf: &Shelf,
    named: &Named,
    build: &Arc<Generation>,
) -> Result<Arc<Version>, Error> {
    let (shelf, named, build) = (shelf.clone(), named.clone(), Arc::clone(build));
    let version = blocking(parts, move || {
        let manifest = build.manifest();
        if let Some(bytes) = build.component()
            && named.is_of(&build)
        {
            shelf.keep_component(&named, bytes)?;
        }
        // A build without the table would not be here.
        let shape = manifest.projection.clone();
        let shape = shape.ok_or_else(|| Error::Disk {
            path: PathBuf::from(&manifest.name),
            source: std::io::Error::other("the build is no projection"),
        })?;
        let store = shelf.store(&named, &shape)?;
        let build = (named.digest, manifest.version.clone());
        Version::new(named.id, build, store)
    });
    version.await.map(Arc::new)
}

pub(super) async fn blocking<T: Send + 'static>(
    parts: &Parts,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let done = parts.tracker.spawn_blocking(work).await;
    done.map_err(|error| Error::Disk {
        path: "a thread of the projection".into(),
        source: std::io::Error::other(error),
    })?
}

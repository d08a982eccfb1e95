//! Takes a component's bytes and its manifest, gives a generation: one loaded build, ready to be called.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::time::Instant;
use wasmtime::Store;
use wasmtime::component::{Component, HasSelf, InstancePre, Linker};

use super::bindings::Guest as World;

use super::bounds;
use super::call::Failure;
use super::cores::{Computed, Cores};
use super::engine::Engine;
use super::grants::check_grant;
use super::guest::{Entry, check_exports};
use super::http::{Http, Requests, TrustError};
use super::instance::Instance;
use super::lines::Lines;
use super::migration::Migration;
use super::package::{self, MIGRATION};
use super::store::{Labels, Meter, Staged, StoreData};
use super::wasi;
use crate::bridge::sink::Sink;
use crate::event::Event;
use crate::manifest::Manifest;
use crate::metrics::Counted;
use crate::schemas::fitting::Fitting;

/// Warm instances that wait for a call.
const MAX_IDLE: usize = 16;

/// Why a component cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a component, or without a manifest.
    #[error(transparent)]
    Package(#[from] package::Error),
    /// It would keep the compiler busy for too long.
    #[error(transparent)]
    Bounds(#[from] bounds::Error),
    /// It wants something that it was not granted.
    #[error("the component imports {import}, which is not granted: {remedy}")]
    NotGranted {
        /// The import as it stands in the component.
        import: String,
        /// What would grant it.
        remedy: String,
    },
    /// Cranelift refuses it.
    #[error("the component cannot be compiled: {0}")]
    Compile(String),
    /// It cannot even begin in the memory that it may have.
    #[error(
        "the component begins with {needed} bytes of memory and limits.memory allows {allowed}; \
         set `memory` in [limits] to that and what its work needs beyond"
    )]
    Memory {
        /// Bytes of its largest memory.
        needed: u64,
        /// Bytes that it may have.
        allowed: u64,
    },
    /// Its imports or exports have other types than `wit/` says.
    #[error("the component does not fit the world that its manifest is for: {0}")]
    Link(String),
    /// Its exports are not those that its manifest is for.
    #[error("the component exports {found}, and no {wanted}: {remedy}")]
    Misfit {
        /// The export that is called.
        wanted: &'static str,
        /// Those that are there.
        found: String,
        /// What to do.
        remedy: &'static str,
    },
    /// It is to carry state over and cannot.
    #[error(
        "the manifest says `migrate_from` and the component has no export {MIGRATION}; mark a \
         function with #[migrate], or leave `migrate_from` out to start with a clean state"
    )]
    NoMigration,
    /// Its requests could trust nobody.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// Not even an instance of it can be made.
    #[error("the component does not start: {0}")]
    Start(String),
}

/// One loaded build of a plug-in.
pub struct Generation {
    manifest: Manifest,
    digest: String,
    work: Work,
    component: Option<Arc<[u8]>>,
    fitting: Fitting,
    alive: Arc<AtomicUsize>,
    is_long: AtomicBool,
    counted: OnceLock<Counted>,
}

/// What does a plug-in's work.
enum Work {
    /// A component.
    Guest(Box<Linked>),
    /// The host itself: a bridge to another broker.
    Sink(Arc<Sink>),
}

/// A component with everything that its instances are made of.
pub(super) struct Linked {
    pre: InstancePre<StoreData>,
    entry: Entry,
    tables: Arc<[String]>,
    engine: Arc<Engine>,
    config: Arc<BTreeMap<String, String>>,
    emit: Arc<[String]>,
    labels: Arc<Labels>,
    http: Option<Arc<Http>>,
    idle: Mutex<Vec<Instance>>,
    migration: Option<Migration>,
    state_version: u16,
    memory: usize,
}

impl Generation {
    /// Compiles and links a component. Takes seconds for a big one: not on a runtime thread.
    pub fn load(engine: &Arc<Engine>, bytes: &[u8], manifest: Manifest) -> Result<Self, Error> {
        bounds::check(bytes)?;
        let imports = package::imports(bytes)?;
        for import in &imports {
            check_grant(import, &manifest)?;
        }
        check_exports(&package::exports(bytes)?, &manifest)?;
        let component = engine
            .compiled(bytes)
            .map_err(|error| Error::Compile(format!("{error:#}")))?;
        check_memory(&component, manifest.limits.memory)?;
        let migration = Migration::find(&component);
        if manifest.migrate_from.is_some() && migration.is_none() {
            return Err(Error::NoMigration);
        }
        let mut linker = Linker::new(engine.wasmtime());
        World::add_to_linker::<_, HasSelf<_>>(&mut linker, |data| data)
            .map_err(|error| Error::Link(format!("{error:#}")))?;
        if imports.iter().any(|import| wasi::has(import)) {
            wasi::link(&mut linker).map_err(|error| Error::Link(format!("{error:#}")))?;
        }
        let labels = Arc::new(Labels {
            plugin: manifest.name.clone(),
            version: manifest.version.clone(),
        });
        let mut http = None;
        if imports.iter().any(|import| wasi::is_http(import)) {
            wasi::link_http(&mut linker).map_err(|error| Error::Link(format!("{error:#}")))?;
            http = Some(Arc::new(Http::new(engine.outgoing()?, &manifest, &labels)));
        }
        let pre = linker
            .instantiate_pre(&component)
            .map_err(|error| Error::Link(format!("{error:#}")))?;
        let entry = Entry::find(&pre, &manifest);
        let entry = entry.map_err(|error| Error::Link(format!("{error:#}")))?;
        let projection = manifest.projection.as_ref();
        let keeps = projection.is_some() || manifest.saga.is_some();
        let linked = Linked {
            pre,
            entry,
            tables: projection
                .map_or_else(Vec::new, |projection| projection.tables.clone())
                .into(),
            engine: Arc::clone(engine),
            config: Arc::new(manifest.config.clone()),
            emit: manifest.capabilities.emit.clone().into(),
            labels,
            http,
            idle: Mutex::default(),
            migration,
            state_version: manifest.state_version,
            memory: manifest.limits.memory,
        };
        Ok(Self {
            digest: package::digest(bytes),
            work: Work::Guest(Box::new(linked)),
            component: keeps.then(|| bytes.into()),
            fitting: engine.fitting().clone(),
            alive: Arc::default(),
            is_long: AtomicBool::new(false),
            counted: OnceLock::new(),
            manifest,
        })
    }

    /// One whose work the host does itself. `digest` tells one target from another.
    pub fn native(manifest: Manifest, digest: String, sink: Sink, fitting: Fitting) -> Self {
        Self {
            manifest,
            digest,
            work: Work::Sink(Arc::new(sink)),
            component: None,
            fitting,
            alive: Arc::default(),
            is_long: AtomicBool::new(false),
            counted: OnceLock::new(),
        }
    }

    /// Makes an instance, so that the first call finds one, and what cannot start is found
    /// before it takes the place of something that does. Runs the guest's start function, for
    /// as long as a call may take: not on a runtime thread.
    pub fn warm(&self) -> Result<(), Error> {
        let deadline = Instant::now() + self.manifest.delivery.timeout;
        let started = self.start(deadline);
        let instance = started.map_err(|failure| Error::Start(failure.to_string()))?;
        if let Some(linked) = self.linked() {
            linked.put_back(instance);
        }
        Ok(())
    }

    /// Has the build counted for as long as it is in memory.
    pub fn count(&self, counted: Counted) {
        // The first count stands for the build; a second one would be dropped at once.
        let _ = self.counted.set(counted);
    }

    /// What the plug-in asked for and was left.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The event as it is read here; none where that is as it came.
    ///
    /// # Errors
    /// When it is not to be handled.
    pub(super) fn as_read(&self, event: &Event) -> Result<Option<Arc<Event>>, Failure> {
        self.fitting.as_read(event, &self.manifest.reads)
    }

    /// `sha256:<hex>` of the component.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Instances in memory, in a call or waiting for one.
    pub fn instances(&self) -> usize {
        self.alive.load(Ordering::Relaxed)
    }

    pub(super) fn alive(&self) -> &Arc<AtomicUsize> {
        &self.alive
    }

    /// Whether its last call was a long one, and so is the next, most likely.
    pub(super) fn is_long(&self) -> &AtomicBool {
        &self.is_long
    }

    /// Whether the host does its work itself.
    pub fn is_bridge(&self) -> bool {
        self.sink().is_some()
    }

    /// Where its events go, of a bridge.
    pub(super) fn sink(&self) -> Option<&Arc<Sink>> {
        match &self.work {
            Work::Sink(sink) => Some(sink),
            Work::Guest(_) => None,
        }
    }

    /// The component; a bridge has none.
    pub(super) fn linked(&self) -> Option<&Linked> {
        match &self.work {
            Work::Guest(linked) => Some(linked),
            Work::Sink(_) => None,
        }
    }

    /// The bytes of a projection, whose build has to go on until the next one has caught up, and
    /// of a saga, which ends on the build that it began with: over restarts too.
    pub fn component(&self) -> Option<&Arc<[u8]>> {
        self.component.as_ref()
    }
}

impl Linked {
    /// What it computes on.
    pub(super) fn cores(&self) -> &Arc<Cores> {
        self.engine.cores()
    }

    pub(super) fn migration(&self) -> Option<&Migration> {
        self.migration.as_ref()
    }

    pub(super) fn pre(&self) -> &InstancePre<StoreData> {
        &self.pre
    }

    /// What of it handles an event.
    pub(super) fn entry(&self) -> &Entry {
        &self.entry
    }

    pub(super) fn store(&self, deadline: Instant) -> Store<StoreData> {
        Store::new(
            self.engine.wasmtime(),
            StoreData {
                call: None,
                deadline,
                computed: Computed::default(),
                cores: Arc::clone(self.engine.cores()),
                turn: None,
                staged: Staged::default(),
                lines: Arc::new(Lines::new(Arc::clone(&self.labels))),
                wasi: None,
                state_version: self.state_version,
                requests: Requests::new(self.http.clone(), deadline),
                config: Arc::clone(&self.config),
                emit: Arc::clone(&self.emit),
                tables: Arc::clone(&self.tables),
                labels: Arc::clone(&self.labels),
                meter: Meter::new(self.memory),
            },
        )
    }

    pub(super) fn take_warm(&self) -> Option<Instance> {
        self.idle.lock().pop()
    }

    pub(super) fn put_back(&self, instance: Instance) {
        let mut idle = self.idle.lock();
        if idle.len() < MAX_IDLE {
            idle.push(instance);
        }
    }
}

impl std::fmt::Debug for Generation {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Generation")
            .field("name", &self.manifest.name)
            .field("version", &self.manifest.version)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

/// Refused at once, rather than at each of its calls.
fn check_memory(component: &Component, allowed: usize) -> Result<(), Error> {
    const PAGE: u64 = 64 << 10;
    let required = component.resources_required();
    let pages = required.and_then(|required| required.max_initial_memory_size);
    let needed = pages.unwrap_or_default().saturating_mul(PAGE);
    let allowed = allowed as u64;
    if allowed < needed {
        return Err(Error::Memory { needed, allowed });
    }
    Ok(())
}

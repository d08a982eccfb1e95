//! Takes a component's bytes and its manifest, gives a generation: one loaded build, ready to be called.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;
use wasmtime::Store;
use wasmtime::component::{Component, HasSelf, InstancePre, Linker};

use super::bindings::{ConsumerPlugin, ConsumerPluginPre};
use super::steps::Steps;

use super::bounds;
use super::cores::{Computed, Cores};
use super::engine::Engine;
use super::http::{Http, Requests, TrustError};
use super::instance::{Guest, Instance};
use super::lines::Lines;
use super::migration::Migration;
use super::package::{self, MIGRATION};
use super::store::{Labels, Meter, Staged, StoreData};
use super::wasi;
use crate::contract;
use crate::manifest::Manifest;
use crate::metrics::Counted;

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
    #[error("the component does not fit the world sluicegate:plugin/consumer-plugin: {0}")]
    Link(String),
    /// The manifest and the component are of two kinds.
    #[error("{0}")]
    Kind(&'static str),
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

/// A component that is linked and can be instantiated, by what it exports.
pub(super) enum Pre {
    /// `handle`.
    Consumer(ConsumerPluginPre<StoreData>),
    /// `step` and `compensate`.
    Saga(InstancePre<StoreData>, Steps),
}

impl Pre {
    fn new(
        pre: InstancePre<StoreData>,
        component: &Component,
        manifest: &Manifest,
    ) -> Result<Self, Error> {
        match (Steps::find(component), manifest.saga.is_some()) {
            (Some(steps), true) => Ok(Self::Saga(pre, steps)),
            (Some(_), false) => Err(Error::Kind(
                "the component is a saga and its manifest has no table [saga]: add one with the \
                 events that begin a saga, or mark a function with #[consumer]",
            )),
            (None, true) => Err(Error::Kind(
                "the manifest has a table [saga] and the component exports no steps: write them \
                 with saga!, or take the table away",
            )),
            (None, false) => match ConsumerPluginPre::new(pre) {
                Ok(pre) => Ok(Self::Consumer(pre)),
                Err(error) => Err(Error::Link(format!("{error:#}"))),
            },
        }
    }

    /// Whatever it exports.
    pub(super) fn instance_pre(&self) -> &InstancePre<StoreData> {
        match self {
            Self::Consumer(pre) => pre.instance_pre(),
            Self::Saga(pre, _) => pre,
        }
    }

    pub(super) fn instantiate(&self, store: &mut Store<StoreData>) -> wasmtime::Result<Guest> {
        match self {
            Self::Consumer(pre) => Ok(Guest::Consumer(pre.instantiate(store)?)),
            Self::Saga(pre, steps) => {
                let instance = pre.instantiate(&mut *store)?;
                Ok(Guest::Saga(steps.of(store, &instance)?))
            }
        }
    }
}

/// One loaded build of a plug-in.
pub struct Generation {
    manifest: Manifest,
    digest: String,
    pre: Pre,
    engine: Arc<Engine>,
    config: Arc<BTreeMap<String, String>>,
    emit: Arc<[String]>,
    labels: Arc<Labels>,
    http: Option<Arc<Http>>,
    idle: Mutex<Vec<Instance>>,
    alive: Arc<AtomicUsize>,
    is_long: AtomicBool,
    counted: OnceLock<Counted>,
    migration: Option<Migration>,
    /// Of a saga: those that began with it end on it, wherever that is.
    component: Option<Bytes>,
}

impl Generation {
    /// Compiles and links a component. Takes seconds for a big one: not on a runtime thread.
    pub fn load(engine: &Arc<Engine>, bytes: &[u8], manifest: Manifest) -> Result<Self, Error> {
        bounds::check(bytes)?;
        let imports = package::imports(bytes)?;
        for import in &imports {
            check_grant(import, &manifest)?;
        }
        let component = engine
            .compiled(bytes)
            .map_err(|error| Error::Compile(format!("{error:#}")))?;
        check_memory(&component, manifest.limits.memory)?;
        let migration = Migration::find(&component);
        if manifest.migrate_from.is_some() && migration.is_none() {
            return Err(Error::NoMigration);
        }
        let mut linker = Linker::new(engine.wasmtime());
        ConsumerPlugin::add_to_linker::<_, HasSelf<_>>(&mut linker, |data| data)
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
        let pre = Pre::new(pre, &component, &manifest)?;
        Ok(Self {
            digest: package::digest(bytes),
            pre,
            engine: Arc::clone(engine),
            config: Arc::new(manifest.config.clone()),
            emit: manifest.capabilities.emit.clone().into(),
            labels,
            http,
            idle: Mutex::default(),
            alive: Arc::default(),
            is_long: AtomicBool::new(false),
            counted: OnceLock::new(),
            migration,
            component: manifest
                .saga
                .is_some()
                .then(|| Bytes::copy_from_slice(bytes)),
            manifest,
        })
    }

    /// Makes an instance, so that the first call finds one, and what cannot start is found
    /// before it takes the place of something that does. Runs the guest's start function, for
    /// as long as a call may take: not on a runtime thread.
    pub fn warm(&self) -> Result<(), Error> {
        let deadline = Instant::now() + self.manifest.delivery.timeout;
        let started = self.start(deadline);
        let instance = started.map_err(|failure| Error::Start(failure.to_string()))?;
        self.put_back(instance);
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

    /// `sha256:<hex>` of the component.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The component, where it is a saga's.
    pub fn component(&self) -> Option<&Bytes> {
        self.component.as_ref()
    }

    /// Instances in memory, in a call or waiting for one.
    pub fn instances(&self) -> usize {
        self.alive.load(Ordering::Relaxed)
    }

    pub(super) fn alive(&self) -> &Arc<AtomicUsize> {
        &self.alive
    }

    /// What it computes on.
    pub(super) fn cores(&self) -> &Arc<Cores> {
        self.engine.cores()
    }

    /// Whether its last call was a long one, and so is the next, most likely.
    pub(super) fn is_long(&self) -> &AtomicBool {
        &self.is_long
    }

    pub(super) fn migration(&self) -> Option<&Migration> {
        self.migration.as_ref()
    }

    pub(super) fn pre(&self) -> &Pre {
        &self.pre
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
                state_version: self.manifest.state_version,
                requests: Requests::new(self.http.clone(), deadline),
                config: Arc::clone(&self.config),
                emit: Arc::clone(&self.emit),
                labels: Arc::clone(&self.labels),
                meter: Meter::new(self.manifest.limits.memory),
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

/// Whether a plug-in with this manifest may import this.
pub fn check_grant(import: &str, manifest: &Manifest) -> Result<(), Error> {
    let refused = |remedy: &str| {
        Err(Error::NotGranted {
            import: import.to_owned(),
            remedy: remedy.to_owned(),
        })
    };
    if wasi::has(import) || (wasi::is_http(import) && !manifest.capabilities.http.is_empty()) {
        return Ok(());
    }
    if let Some(version) = contract::other_version(import) {
        return refused(&contract::remedy(version));
    }
    let Some(interface) = import.strip_prefix("sluicegate:plugin/") else {
        return refused(wasi::remedy(import));
    };
    match interface.split('@').next().unwrap_or_default() {
        "types" | "log" | "config" => Ok(()),
        "state" if manifest.capabilities.state => Ok(()),
        "state" => refused("the manifest needs `state = true` in [capabilities]"),
        "outbox" if !manifest.capabilities.emit.is_empty() => Ok(()),
        "outbox" => refused("the manifest needs `emit = [\"<subjects>\"]` in [capabilities]"),
        _ => refused("this host has no such interface"),
    }
}

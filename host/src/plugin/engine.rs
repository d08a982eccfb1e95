//! Takes nothing, gives the wasmtime engine that all plug-ins share, and its clock.

use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use wasmtime::component::Component;
use wasmtime::{
    Config as WasmConfig, Enabled, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig,
    Strategy,
};

use super::code_cache::CodeCache;
use super::cores::Cores;
use super::http::{Outgoing, TrustError};
use crate::config::Config;
use crate::schemas::fitting::Fitting;

/// How often the epoch moves on: the grain of every call's deadline.
const TICK: Duration = Duration::from_millis(5);

/// The largest memory that a manifest may ask for.
pub const MAX_MEMORY: usize = 1 << 32;

/// Each plug-in keeps one at least, so a host with a thousand of them needs more. Address space:
/// 16 of the 128 TiB that a process has.
const MAX_INSTANCES: u32 = 4_000;

/// How far compilation steps back: about a tenth of a core that others want, all of one that
/// nobody wants.
const NICE: i32 = 10;

/// Core instances that one component instance is made of: 3 of a Rust plug-in, 4 of a JavaScript
/// one, 14 of a Python one. The pool only counts them, so room for the largest costs nothing.
const CORE_INSTANCES: u32 = 16;

/// Tables of one component instance, each with address space of its own: both interpreters have 2,
/// as Rust has.
const TABLES: u32 = 4;

/// The engine, with one thread that moves its epoch on. The thread ends with the engine.
pub struct Engine {
    engine: wasmtime::Engine,
    compiled: Option<CodeCache>,
    outgoing: OnceLock<Outgoing>,
    fitting: Fitting,
    cores: Arc<Cores>,
    _stop_ticker: SyncSender<()>,
}

impl Engine {
    /// Builds the engine and starts its ticker.
    ///
    /// Errors when this machine cannot reserve the address space of the instance pool.
    pub fn new() -> wasmtime::Result<Self> {
        compile_in_the_background();
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let engine = wasmtime::Engine::new(&config())?;
        let (stop, stopped) = sync_channel::<()>(0);
        let ticking = engine.weak();
        std::thread::Builder::new()
            .name("epoch".to_owned())
            .spawn(move || {
                while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(TICK) {
                    match ticking.upgrade() {
                        Some(engine) => engine.increment_epoch(),
                        None => break,
                    }
                }
            })?;
        Ok(Self {
            engine,
            compiled: None,
            outgoing: OnceLock::new(),
            fitting: Fitting::default(),
            cores: Cores::new(cores),
            _stop_ticker: stop,
        })
    }

    /// The engine, with a folder that keeps what it compiles.
    #[must_use]
    pub fn with_cache(mut self, cache: CodeCache) -> Self {
        self.compiled = Some(cache);
        self
    }

    /// The engine, with what the operator says of outgoing requests.
    #[must_use]
    pub fn with_outgoing(mut self, outgoing: Outgoing) -> Self {
        self.outgoing = OnceLock::from(outgoing);
        self
    }

    /// The engine, with what its host knows of schemas.
    #[must_use]
    pub fn with_fitting(mut self, fitting: Fitting) -> Self {
        self.fitting = fitting;
        self
    }

    /// What is known of schemas; of an engine without a host nothing.
    pub(super) fn fitting(&self) -> &Fitting {
        &self.fitting
    }

    /// What the operator says of outgoing requests; without a word the system's authorities are
    /// trusted, and there are no secrets.
    pub(crate) fn outgoing(&self) -> Result<&Outgoing, TrustError> {
        if let Some(outgoing) = self.outgoing.get() {
            return Ok(outgoing);
        }
        let outgoing = Outgoing::new(&Config::default())?;
        Ok(self.outgoing.get_or_init(|| outgoing))
    }

    /// The component, compiled now or before. Takes seconds for a big one.
    pub(super) fn compiled(&self, bytes: &[u8]) -> wasmtime::Result<Component> {
        match &self.compiled {
            Some(cache) => cache.compiled(&self.engine, bytes),
            None => Component::new(&self.engine, bytes),
        }
    }

    /// The wasmtime engine.
    pub fn wasmtime(&self) -> &wasmtime::Engine {
        &self.engine
    }

    /// What guests compute on.
    pub(super) fn cores(&self) -> &Arc<Cores> {
        &self.cores
    }
}

/// Compilation takes all cores, behind everything else that wants them.
fn compile_in_the_background() {
    let threads = rayon::ThreadPoolBuilder::new()
        .thread_name(|number| format!("compiler-{number}"))
        .start_handler(|_| step_back());
    // The second engine of a process finds the threads of the first.
    let _ = threads.build_global();
}

/// Has this thread, and those that it starts, give way to everything else.
pub(super) fn step_back() {
    if let Err(error) = rustix::process::nice(NICE) {
        tracing::debug!(%error, "compilation is as important as everything else");
    }
}

/// Machine code of a component, for engines of other processes of this program.
pub(super) fn precompile(component: &[u8]) -> wasmtime::Result<Vec<u8>> {
    compile_in_the_background();
    // What compiles has no instances, and reserves no memory for them.
    let mut config = config();
    config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    wasmtime::Engine::new(&config)?.precompile_component(component)
}

fn config() -> WasmConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(MAX_INSTANCES)
        .total_core_instances(CORE_INSTANCES * MAX_INSTANCES)
        .total_memories(MAX_INSTANCES)
        .total_tables(TABLES * MAX_INSTANCES)
        .max_core_instances_per_component(64)
        .max_memories_per_component(8)
        .max_tables_per_component(32)
        .table_elements(200_000)
        .max_memory_size(MAX_MEMORY)
        .linear_memory_keep_resident(1 << 20)
        .table_keep_resident(64 << 10)
        .pagemap_scan(Enabled::Auto);
    // Memory protection keys are not even compiled in: together with copy-on-write images
    // they let one instance read another's memory (wasmtime #13982).
    let mut config = WasmConfig::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .strategy(Strategy::Cranelift)
        .cranelift_opt_level(OptLevel::Speed)
        .epoch_interruption(true)
        .memory_init_cow(true)
        .memory_reservation(MAX_MEMORY as u64)
        .memory_guard_size(32 << 20)
        .max_wasm_stack(512 << 10)
        .wasm_memory64(false)
        .parallel_compilation(true);
    config
}

#[cfg(test)]
mod tests {
    use std::hash::{DefaultHasher, Hash, Hasher};

    use super::*;

    #[test]
    fn what_one_process_compiles_another_one_can_run() {
        let component = b"\0asm\x0d\0\x01\0";
        let code = precompile(component).expect("compiled");
        let engine = Engine::new().expect("an engine");
        let detected = wasmtime::Engine::detect_precompiled(&code);
        assert!(detected.is_some(), "machine code");
        let hash = |engine: &wasmtime::Engine| {
            let mut hasher = DefaultHasher::new();
            engine.precompile_compatibility_hash().hash(&mut hasher);
            hasher.finish()
        };
        let mut other = config();
        other.allocation_strategy(InstanceAllocationStrategy::OnDemand);
        let other = wasmtime::Engine::new(&other).expect("an engine");
        assert_eq!(hash(engine.wasmtime()), hash(&other));
    }
}

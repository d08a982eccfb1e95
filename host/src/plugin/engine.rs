//! Takes nothing, gives the wasmtime engine that all plug-ins share, and its clock.

use std::sync::OnceLock;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use wasmtime::component::Component;
use wasmtime::{
    Config as WasmConfig, Enabled, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig,
    Strategy,
};

use super::code_cache::CodeCache;
use super::http::{Outgoing, TrustError};
use crate::config::Config;

/// How often the epoch moves on: the grain of every call's deadline.
pub const TICK: Duration = Duration::from_millis(5);

/// The largest memory that a manifest may ask for.
pub const MAX_MEMORY: usize = 1 << 32;

const MAX_INSTANCES: u32 = 1_000;

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
    _stop_ticker: SyncSender<()>,
}

impl Engine {
    /// Builds the engine and starts its ticker.
    ///
    /// Errors when this machine cannot reserve the address space of the instance pool.
    pub fn new() -> wasmtime::Result<Self> {
        compile_in_the_background();
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

    /// What the operator says of outgoing requests; without a word the system's authorities are
    /// trusted, and there are no secrets.
    pub(super) fn outgoing(&self) -> Result<&Outgoing, TrustError> {
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

    /// The number of ticks after which a call of this length is over.
    pub fn ticks(timeout: Duration) -> u64 {
        let ticks = timeout.as_micros().div_ceil(TICK.as_micros());
        // The tick under way counts as none.
        u64::try_from(ticks)
            .unwrap_or(u64::MAX / 4)
            .saturating_add(1)
    }
}

/// Compilation takes all cores, behind everything else that wants them.
fn compile_in_the_background() {
    let threads = rayon::ThreadPoolBuilder::new()
        .thread_name(|number| format!("compiler-{number}"))
        .start_handler(|_| {
            if let Err(error) = rustix::process::nice(NICE) {
                tracing::debug!(%error, "compilation is as important as everything else");
            }
        });
    // The second engine of a process finds the threads of the first.
    let _ = threads.build_global();
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

//! Takes `[[bridge]]`, gives what it does: events to another broker, or from there into the event store.
//!
//! A bridge out is a plug-in whose work the host does itself ([`sink`]): lanes, retries, dead
//! letters and the position are the spine's. A bridge in ([`source`]) hands what it reads to an
//! [`intake`], and settles it there only when the event store has it.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio_util::task::TaskTracker;

use crate::config::bridge::{Bridge, Direction, Outward};
use crate::config::{self, Config};
use crate::manifest::{
    Capabilities, Delivery, Limits, Manifest, OnExhausted, Ordering, Retry, Subscribe,
};
use crate::plugin::generation::Generation;
use crate::plugin::http::Outgoing;
use crate::schemas::fitting::Fitting;

pub mod http;
pub mod intake;
pub mod kafka;
pub mod running;
pub mod service_bus;
pub mod sink;
pub mod source;

/// See [`erased`].
pub(crate) type Erased<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A future that does not show what it is made of. Those of clients of other brokers are nested
/// deeply, and that each of them may go to another thread takes the compiler minutes to prove
/// wherever they can be seen.
pub(crate) fn erased<'a, T>(future: impl Future<Output = T> + Send + 'a) -> Erased<'a, T> {
    Box::pin(future)
}

/// Where a bridge is said to come from, in the place of a plug-in's file.
pub const PLACE: &str = "[[bridge]]";

/// The bridges out, each as the plug-in that it is run as, with the operator's words of
/// `[plugin.<name>]` over it.
///
/// # Errors
/// When those words do not fit.
pub fn outward(
    config: &Config,
    (outgoing, fitting): (&Outgoing, &Fitting),
    tracker: &TaskTracker,
) -> Result<Vec<Arc<Generation>>, config::Error> {
    let mut generations = Vec::new();
    for bridge in &config.bridges {
        let Direction::Out(outward) = &bridge.direction else {
            continue;
        };
        let manifest = config.apply(manifest(bridge, outward))?;
        let sink = sink::Sink::open(bridge, outgoing, (manifest.delivery.timeout, tracker));
        let generation = Generation::native(manifest, digest(bridge), sink, fitting.clone());
        generations.push(Arc::new(generation));
    }
    Ok(generations)
}

/// What it is run by. A target that is away is waited for, however long; what it refuses is a
/// dead letter at once.
fn manifest(bridge: &Bridge, outward: &Outward) -> Manifest {
    Manifest {
        name: bridge.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        state_version: 1,
        migrate_from: None,
        subscribe: Subscribe {
            subjects: outward.subjects.clone(),
            types: outward.types.clone(),
            filter: None,
        },
        delivery: Delivery {
            ordering: Ordering::Key,
            max_in_flight: 1_000,
            partitions: 1,
            timeout: Duration::from_secs(30),
            ttl: None,
        },
        retry: Retry {
            max_attempts: u32::MAX,
            initial: Duration::from_millis(200),
            factor: 2.0,
            max: Duration::from_secs(30),
            jitter: 0.2,
            on_exhausted: OnExhausted::DeadLetter,
        },
        limits: Limits::default(),
        capabilities: Capabilities::default(),
        config: std::collections::BTreeMap::new(),
        saga: None,
        projection: None,
        reads: Vec::new(),
    }
}

/// Another one where the table says something else; no secret is in it.
fn digest(bridge: &Bridge) -> String {
    let hash = Sha256::digest(format!("{bridge:?}"));
    let hex = hash.iter().map(|byte| format!("{byte:02x}"));
    format!("sha256:{}", hex.collect::<String>())
}

//! Takes what every host says of itself once a second, gives which are alive and whose each partition is.
//!
//! A lease is a key of the KV bucket `sluicegate`, `hosts.<id>`. Leases are about liveness
//! only: what is right is the fence in the ledger. A host is dead when nothing was heard of it
//! for [`LEASE`] while this host heard itself, by the same way through the broker: a broker
//! that is away, a cut connection or a pause of this very process kills nobody. No host's
//! clock is compared with another's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::stream::{Config as StreamConfig, DiscardPolicy, Stream};
use async_nats::{Client, HeaderMap};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use self::keeper::Keeper;
pub use self::turns::{Turn, Turns};
use crate::ledger::subject::PartitionName;

mod keeper;
mod turns;

/// The stream behind the bucket.
pub const STREAM: &str = "KV_sluicegate";
const KEYS: &str = "$KV.sluicegate.>";
const HOSTS: &str = "$KV.sluicegate.hosts.";
/// The keys of all hosts.
pub const EVERY_HOST: &str = "$KV.sluicegate.hosts.*";

/// A host that nothing was heard of for so long is dead.
pub const LEASE: Duration = Duration::from_secs(5);

const OPERATION: &str = "KV-Operation";

/// What a host says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Of this process, made anew at every start.
    pub id: String,
    /// `host.name`.
    pub name: String,
    /// Of `sluice`.
    pub version: String,
    /// RFC 3339.
    pub started: String,
    /// It drains, and takes nothing over.
    #[serde(default)]
    pub leaving: bool,
    /// The plug-ins that it can run, and how many partitions each has.
    #[serde(default)]
    pub plugins: BTreeMap<String, u8>,
    /// The partitions that it runs, `credit-hold/0`.
    #[serde(default)]
    pub running: BTreeSet<String>,
}

/// The hosts that are alive, this one among them, and what follows from that.
#[derive(Debug, Default)]
struct View {
    /// The bucket was read: who was there before is known.
    settled: bool,
    /// By id.
    hosts: BTreeMap<String, Lease>,
    owners: BTreeMap<PartitionName, String>,
}

/// This host's word to the others, and what it hears of them.
#[derive(Debug, Clone)]
pub struct Leases {
    id: String,
    own: watch::Sender<Lease>,
    view: watch::Receiver<Arc<View>>,
}

/// The bucket's stream, as a KV client expects one.
pub fn stream_config(replicas: usize) -> StreamConfig {
    StreamConfig {
        name: STREAM.to_owned(),
        subjects: vec![KEYS.to_owned()],
        num_replicas: replicas,
        max_messages_per_subject: 1,
        discard: DiscardPolicy::New,
        allow_rollup: true,
        deny_delete: true,
        allow_direct: true,
        allow_message_ttl: true,
        ..StreamConfig::default()
    }
}

impl Leases {
    /// Makes this host's lease, and what is to be run to keep it.
    pub fn new(own: Lease, client: Client, context: Context, bucket: Stream) -> (Self, Keeper) {
        let id = own.id.clone();
        let (view, seen_by_all) = watch::channel(Arc::default());
        let (own, words) = watch::channel(own);
        let leases = Self {
            id: id.clone(),
            own,
            view: seen_by_all,
        };
        let keeper = Keeper::new((id, words), view, client, context, bucket);
        (leases, keeper)
    }

    /// This host can run the plug-in.
    pub fn offer(&self, plugin: &str, partitions: u8) {
        self.own.send_modify(|own| {
            own.plugins.insert(plugin.to_owned(), partitions);
        });
    }

    /// This host cannot run the plug-in any more.
    pub fn withdraw(&self, plugin: &str) {
        self.own.send_modify(|own| {
            own.plugins.remove(plugin);
        });
    }

    /// This host runs the partition, or does not any more.
    pub fn runs(&self, name: &PartitionName, runs: bool) {
        self.own.send_modify(|own| {
            if runs {
                own.running.insert(name.to_string());
            } else {
                own.running.remove(&name.to_string());
            }
        });
    }

    /// This host takes nothing over any more.
    pub fn leave(&self) {
        self.own.send_modify(|own| own.leaving = true);
    }

    /// Whose turn it is with this partition, now and after each change.
    pub fn turns(&self, name: PartitionName) -> Turns {
        Turns {
            id: self.id.clone(),
            name,
            view: self.view.clone(),
        }
    }
}

/// The lease of a message; none of one that says goodbye.
pub fn lease(headers: Option<&HeaderMap>, payload: &[u8]) -> Option<Lease> {
    let is_over = headers.is_some_and(|headers| headers.get(OPERATION).is_some());
    if is_over {
        return None;
    }
    serde_json::from_slice(payload).ok()
}

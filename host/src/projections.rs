//! Takes the events of the store in their order, gives tables of rows made of them: the read side.
//!
//! ```text
//! cursor -> worker (calls, one after another) -> store (rows and place, one commit)
//!              running (one version at work)        ^
//!           keeping (which versions, the swap)      | query <- HTTP, command line
//! ```
//!
//! Each host that has a projection's build keeps a copy of its own: no lanes, no ledger, no owner.
//! A new build gets a file of its own from the beginning of the store, while the one before goes on
//! and answers; when it has caught up, it takes its place at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

pub use self::keeping::keep;
pub(crate) use self::keeping::label;
pub use self::opening::Parts;
use self::query::Answer;
pub use self::version::Version;

pub mod answering;
pub mod asked;
pub mod changes;
mod folder;
mod keeping;
mod opening;
pub mod query;
mod running;
pub mod store;
pub mod version;
mod worker;

/// What of a projection is there on this host.
#[derive(Debug, Clone)]
pub struct Versions {
    /// What answers.
    pub current: Arc<Version>,
    /// What is to take its place.
    pub building: Option<Arc<Version>>,
}

/// One projection of this host.
#[derive(Debug)]
pub struct Shown {
    /// What is there of it, as it changes.
    pub versions: watch::Receiver<Versions>,
    rebuild: mpsc::Sender<()>,
}

impl Shown {
    /// Has the build that runs be built anew. False when that is under way.
    pub fn rebuild(&self) -> bool {
        self.rebuild.try_send(()).is_ok()
    }
}

/// The projections of this host, by name. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Projections {
    shown: Arc<Mutex<BTreeMap<String, Arc<Shown>>>>,
}

impl Projections {
    /// The one of this name.
    pub fn get(&self, name: &str) -> Option<Arc<Shown>> {
        self.shown.lock().get(name).cloned()
    }

    /// Their names.
    pub fn names(&self) -> Vec<String> {
        self.shown.lock().keys().cloned().collect()
    }

    fn show(&self, name: &str, shown: Shown) -> On {
        let mut all = self.shown.lock();
        all.insert(name.to_owned(), Arc::new(shown));
        On {
            projections: self.clone(),
            name: name.to_owned(),
        }
    }

    /// How far one is; none when there is no such.
    pub fn state(&self, name: &str) -> Option<State> {
        let shown = self.get(name)?;
        let versions = shown.versions.borrow().clone();
        let current = &versions.current;
        Some(State {
            current: current.state(),
            building: versions.building.map(|building| building.state()),
            tables: current.store.shape().tables.clone(),
        })
    }
}

/// Shows a projection for as long as it is there.
struct On {
    projections: Projections,
    name: String,
}

impl Drop for On {
    fn drop(&mut self) {
        self.projections.shown.lock().remove(&self.name);
    }
}

/// How far a projection is on one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// What answers.
    pub current: Progress,
    /// What is to take its place.
    #[serde(default)]
    pub building: Option<Progress>,
    /// Its tables.
    pub tables: Vec<String>,
}

/// How far a version is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Of its build.
    pub version: String,
    /// `sha256:<hex>` of it.
    pub digest: String,
    /// The name of its file: the digest's beginning, and which run it is.
    pub id: String,
    /// All events up to this place have had their turn.
    pub position: u64,
    /// When the store took the last of them, RFC 3339.
    pub at: String,
    /// Events in the store that have not; none before that is known.
    pub behind: Option<u64>,
    /// Events that were handled.
    pub applied: u64,
    /// Events that could not be.
    pub refused: u64,
    /// Places that had left the store before they were read.
    pub lost: u64,
    /// Rows of each table.
    pub rows: BTreeMap<String, u64>,
    /// Bytes on disk.
    pub bytes: u64,
    /// Why it stands still, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stands: Option<String>,
}

//! Takes the events of the store in their order, gives tables of rows made of them: the read side.
//!
//! ```text
//! cursor -> worker (calls, one after another) -> store (rows and place, one commit)
//!              running (one version at work)        ^
//!           keeping (which versions, the swap)      | query <- HTTP, command line
//! ```
//!
//! Each host that has a projection's build keeps a copy of its own: no lanes, no ledger, no owner.
//! Where hosts share a database, one of them writes and the others follow. A new build gets a file,
//! or a schema, of its own from the beginning of the store, while the one before goes on and answers;
//! when it has caught up, it takes its place at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

pub use self::keeping::keep;
pub(crate) use self::keeping::label;
pub use self::opening::Parts;
use self::query::Answer;
use self::store::postgres::Database;
pub use self::version::Version;
use crate::config::{self, Config};
use crate::plugin::http::trust;

pub mod answering;
pub mod asked;
pub mod changes;
mod folder;
mod keeping;
mod opening;
pub mod query;
mod running;
mod shelf;
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
    /// Another host writes them.
    pub follows: bool,
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
    /// Where their rows are, if not in files.
    database: Option<Arc<Database>>,
}

impl Projections {
    /// None yet; their rows go where the configuration says. Only where a runtime is.
    ///
    /// # Errors
    /// When the authorities that the database is known by cannot be read.
    pub fn new(config: &Config) -> Result<Self, store::Error> {
        let database = match &config.projections {
            config::Projections::Sqlite => None,
            config::Projections::Postgresql(address) => {
                Some(Database::new(address, &config.host.name)?)
            }
        };
        Ok(Self {
            shown: Arc::default(),
            database,
        })
    }

    /// Whether what the configuration says of the database can be used, as far as that is known
    /// without asking it.
    ///
    /// # Errors
    /// When the authorities that the database is known by cannot be read.
    pub fn check(config: &Config) -> Result<(), store::Error> {
        if let config::Projections::Postgresql(address) = &config.projections {
            trust("projections.ca", address.ca.as_deref())?;
        }
        Ok(())
    }

    /// Where their rows are, if not in files.
    fn database(&self) -> Option<Arc<Database>> {
        self.database.clone()
    }

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
            follows: versions.follows,
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
    /// Another host, of those that share the rows, writes them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub follows: bool,
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

//! Takes a state key of another version and its value, gives what the plug-in makes of it.

use std::sync::Arc;

use tokio::time::Instant;
use wasmtime::Store;
use wasmtime::component::{Component, ComponentExportIndex, TypedFunc};

use super::call::{Failure, failure};
use super::generation::{Error, Generation};
use super::http::Requests;
use super::lines::cut;
use super::package::MIGRATION;
use super::store::{
    MAX_KEY, MAX_MESSAGE, MAX_STAGED, MAX_STATE_WRITES, MAX_VALUE, NEXT_TICK, StoreData,
};

/// A key and its value.
pub type Entry = (String, Vec<u8>);

type Answer = (Result<Vec<Entry>, String>,);

/// Where a component exports `migrate`.
pub(super) struct Migration(ComponentExportIndex);

impl Migration {
    /// None where it has no such export.
    pub(super) fn find(component: &Component) -> Option<Self> {
        let interface = component.get_export_index(None, MIGRATION)?;
        let function = component.get_export_index(Some(&interface), "migrate")?;
        Some(Self(function))
    }
}

/// One instance that carries state over.
pub struct Migrator {
    generation: Arc<Generation>,
    store: Store<StoreData>,
    migrate: TypedFunc<(u16, String, Vec<u8>), Answer>,
}

impl Migrator {
    /// Runs the guest's start function: not on a runtime thread.
    pub fn new(generation: &Arc<Generation>) -> Result<Self, Failure> {
        let deadline = Instant::now() + generation.manifest().delivery.timeout;
        let misfit = |error: &dyn std::fmt::Display| Failure::Host(error.to_string());
        let linked = generation.linked();
        let function = linked.and_then(|linked| Some((linked.pre(), linked.migration()?)));
        let Some((pre, Migration(function))) = function else {
            return Err(misfit(&Error::NoMigration));
        };
        let (mut store, instance) = generation.started(deadline, |store| pre.instantiate(store))?;
        // What is carried over is a matter between the two versions.
        store.data_mut().requests = Requests::new(None, deadline);
        let function = instance.get_func(&mut store, function);
        let typed = function
            .ok_or_else(|| misfit(&Error::NoMigration))?
            .typed(&store);
        let migrate = typed.map_err(|error| misfit(&error))?;
        Ok(Self {
            generation: Arc::clone(generation),
            store,
            migrate,
        })
    }

    /// What stands under the new version instead of this. Blocks for as long as a call may take.
    pub fn migrate(&mut self, from: u16, (key, value): Entry) -> Result<Vec<Entry>, Failure> {
        let timeout = self.generation.manifest().delivery.timeout;
        self.store.data_mut().begin_bare(Instant::now() + timeout);
        self.store.set_epoch_deadline(NEXT_TICK);
        let answer = self.migrate.call(&mut self.store, (from, key, value));
        let staged = self.store.data_mut().take_staged();
        match answer {
            Ok((Ok(entries),)) => within(entries),
            Ok((Err(message),)) => Err(Failure::Reject(cut(message, MAX_MESSAGE))),
            Err(error) => {
                let meter = &self.store.data().meter;
                Err(failure(&staged, meter, &error, timeout))
            }
        }
    }
}

/// What a call may write holds here too.
fn within(entries: Vec<Entry>) -> Result<Vec<Entry>, Failure> {
    let count = entries.len();
    if MAX_STATE_WRITES < count {
        return Err(Failure::Limit(format!(
            "migrate gives {count} entries for one key; {MAX_STATE_WRITES} are allowed"
        )));
    }
    let mut bytes = 0;
    for (key, value) in &entries {
        let (length, size) = (key.len(), value.len());
        if key.is_empty() || MAX_KEY < length {
            return Err(Failure::Limit(format!(
                "migrate gives a state key of {length} bytes; 1 to {MAX_KEY} are allowed"
            )));
        }
        if MAX_VALUE < size {
            return Err(Failure::Limit(format!(
                "migrate gives {size} bytes for the state key {key:?}; {MAX_VALUE} are allowed"
            )));
        }
        bytes += length + size;
    }
    if MAX_STAGED < bytes {
        return Err(Failure::Limit(format!(
            "migrate gives {bytes} bytes for one key; {MAX_STAGED} are allowed"
        )));
    }
    Ok(entries)
}

//! Takes what the parts of a host say of themselves, gives whether it is ready, and why not.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_nats::Client;
use async_nats::connection::State;
use parking_lot::Mutex;
use serde::Serialize;

/// What a partition is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Partition {
    /// Not claimed yet.
    Starting,
    /// Claimed; state of another version is being carried over.
    CarryingOver,
    /// Reads and commits.
    Running,
    /// Another host has it.
    Elsewhere,
}

/// The state of a host, shared by its parts.
#[derive(Debug, Clone, Default)]
pub struct Health {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    client: Option<Client>,
    broker_error: Option<String>,
    started: bool,
    draining: bool,
    partitions: BTreeMap<String, Partition>,
    state_versions: BTreeMap<String, u16>,
    refused: BTreeMap<String, String>,
}

/// The answer of `/readyz`.
#[derive(Debug, Serialize)]
pub struct Readiness {
    /// Every plug-in runs and the broker is connected.
    pub ready: bool,
    /// Why not.
    pub reasons: Vec<String>,
    /// Each partition, `plugin/0`.
    pub partitions: BTreeMap<String, Partition>,
    /// Files that could not be loaded, and why. The others run.
    pub refused: BTreeMap<String, String>,
}

impl Health {
    /// The broker could not be used.
    pub fn broker_failed(&self, error: String) {
        self.inner.lock().broker_error = Some(error);
    }

    /// There is a connection; it looks after itself.
    pub fn connected(&self, client: Client) {
        let mut inner = self.inner.lock();
        inner.client = Some(client);
        inner.broker_error = None;
    }

    /// A file could not be loaded.
    pub fn refused(&self, file: String, error: String) {
        self.inner.lock().refused.insert(file, error);
    }

    /// What was refused is gone, or runs now.
    pub fn accepted(&self, file: &str) {
        self.inner.lock().refused.remove(file);
    }

    /// A partition changed.
    pub fn partition(&self, name: String, state: Partition) {
        self.inner.lock().partitions.insert(name, state);
    }

    /// A partition was begun, with state of this version.
    pub fn runs(&self, name: String, state_version: u16) {
        let mut inner = self.inner.lock();
        inner.partitions.insert(name.clone(), Partition::Running);
        inner.state_versions.insert(name, state_version);
    }

    /// The version of the state that a partition was begun with last.
    pub fn state_version(&self, name: &str) -> Option<u16> {
        self.inner.lock().state_versions.get(name).copied()
    }

    /// A partition is not to run here at all.
    pub fn forget(&self, name: &str) {
        let mut inner = self.inner.lock();
        inner.partitions.remove(name);
        inner.state_versions.remove(name);
    }

    /// All partitions are known now.
    pub fn started(&self) {
        self.inner.lock().started = true;
    }

    /// No new work is taken.
    pub fn draining(&self) {
        self.inner.lock().draining = true;
    }

    /// What stands in the way of being ready.
    pub fn readiness(&self) -> Readiness {
        let inner = self.inner.lock();
        let mut reasons = Vec::new();
        match &inner.client {
            Some(client) if client.connection_state() != State::Connected => {
                reasons.push("the broker is away; reconnecting".to_owned());
            }
            Some(_) => {}
            None => {
                let error = inner.broker_error.clone();
                reasons.push(error.unwrap_or_else(|| "not connected to the broker yet".to_owned()));
            }
        }
        if inner.client.is_some() && !inner.started {
            reasons.push("plug-ins are starting".to_owned());
        }
        for (name, state) in &inner.partitions {
            match state {
                Partition::Running | Partition::Elsewhere => {}
                Partition::Starting => reasons.push(format!("partition {name} is starting")),
                Partition::CarryingOver => {
                    reasons.push(format!("partition {name} carries state over"));
                }
            }
        }
        if inner.draining {
            reasons.push("the host is shutting down".to_owned());
        }
        Readiness {
            ready: reasons.is_empty(),
            reasons,
            partitions: inner.partitions.clone(),
            refused: inner.refused.clone(),
        }
    }
}

//! Takes which hosts are alive, gives whose turn it is with a partition.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::{Lease, View};
use crate::ledger::subject::PartitionName;

/// What stands between a host and a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// It is this host's to take.
    Ours,
    /// It is this host's, once that one has let go of it.
    After(String),
    /// It is that host's, by name.
    Of(String),
    /// Nobody knows yet.
    Unknown,
}

/// What happens to a partition among the hosts.
#[derive(Debug)]
pub struct Turns {
    pub(super) id: String,
    pub(super) name: PartitionName,
    pub(super) view: watch::Receiver<Arc<View>>,
}

impl Turns {
    /// How it stands now.
    fn now(&mut self) -> Turn {
        let view = Arc::clone(&self.view.borrow_and_update());
        let owner = view.owners.get(&self.name).filter(|_| view.settled);
        match owner {
            None => Turn::Unknown,
            Some(owner) if *owner == self.id => {
                let name = self.name.to_string();
                let holds = |host: &&Lease| host.id != self.id && host.running.contains(&name);
                let holder = view.hosts.values().find(holds);
                holder.map_or(Turn::Ours, |holder| Turn::After(holder.name.clone()))
            }
            Some(owner) => {
                let host = view.hosts.get(owner);
                Turn::Of(host.map_or(owner, |host| &host.name).clone())
            }
        }
    }

    /// Waits for a change of the hosts. For ever once the keeper has ended.
    async fn changed(&mut self) {
        if self.view.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// Waits until the partition is another host's.
    pub async fn lost(&mut self) {
        while !matches!(self.now(), Turn::Of(_)) {
            self.changed().await;
        }
    }

    /// Waits until the partition is this host's to take; `tell` hears how it stands at each
    /// change. A holder that does not let go within `patience` is not waited for: the fence
    /// stops it.
    pub async fn ours(&mut self, patience: Duration, tell: impl Fn(&Turn)) {
        let mut since = None;
        loop {
            let turn = self.now();
            tell(&turn);
            match turn {
                Turn::Ours => return,
                Turn::After(holder) => {
                    let until = *since.get_or_insert_with(Instant::now) + patience;
                    tokio::select! {
                        () = self.changed() => {}
                        () = sleep_until(until) => {
                            tracing::warn!(
                                partition = %self.name, holder, waited = ?patience,
                                "the partition was not let go of, and is taken over"
                            );
                            return;
                        }
                    }
                }
                Turn::Of(_) | Turn::Unknown => {
                    since = None;
                    self.changed().await;
                }
            }
        }
    }
}

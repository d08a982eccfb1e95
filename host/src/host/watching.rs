//! Takes the folder of plug-ins, gives its changes as they happen.

use std::future::pending;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use notify_debouncer_mini::notify::{RecommendedWatcher, RecursiveMode};
use notify_debouncer_mini::{Debouncer, new_debouncer};
use tokio::sync::{Notify, mpsc};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::{Shared, chain};
use crate::catalog::{Catalog, Change};

/// What is touched within so long is looked at together.
const QUIET: Duration = Duration::from_millis(200);
/// And every so often whatever the system says: some file systems tell nothing.
const ANYHOW: Duration = Duration::from_secs(10);
/// And so soon again when a file may be half written.
const SOON: Duration = Duration::from_millis(300);

/// Looks whenever something was touched, until the host stops or nobody listens.
pub(super) async fn run(shared: Shared, mut catalog: Catalog, changes: mpsc::Sender<Change>) {
    let touched = Arc::new(Notify::new());
    // Kept for as long as this runs.
    let _watcher = watcher(&shared.config.host.plugins_dir, &touched);
    let mut anyhow = interval(ANYHOW);
    anyhow.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = String::new();
    loop {
        let again = async {
            if catalog.is_unsettled() {
                sleep(SOON).await;
            } else {
                pending().await
            }
        };
        tokio::select! {
            () = touched.notified() => {}
            () = again => {}
            _ = anyhow.tick() => {}
            () = shared.drain.cancelled() => return,
        }
        let looking = shared.tracker.spawn_blocking(move || {
            let found = catalog.look();
            (catalog, found)
        });
        let Ok((looked, found)) = looking.await else {
            tracing::error!(
                "looking for plug-ins panicked: those that run go on, new ones wait for a restart"
            );
            return;
        };
        catalog = looked;
        match found {
            Ok(found) => {
                told.clear();
                for change in found {
                    if changes.send(change).await.is_err() {
                        return;
                    }
                }
            }
            Err(error) => {
                let error = chain(&error);
                if error != told {
                    let folder = shared.config.host.plugins_dir.display();
                    tracing::error!(%folder, error, "the folder of plug-ins cannot be read; what runs goes on");
                    told = error;
                }
            }
        }
    }
}

/// None where the system has no means to watch.
fn watcher(folder: &Path, touched: &Arc<Notify>) -> Option<Debouncer<RecommendedWatcher>> {
    let tell = Arc::clone(touched);
    let debouncer = new_debouncer(QUIET, move |_| tell.notify_one());
    let watched = debouncer.and_then(|mut debouncer| {
        let mode = RecursiveMode::NonRecursive;
        debouncer.watcher().watch(folder, mode).map(|()| debouncer)
    });
    match watched {
        Ok(debouncer) => Some(debouncer),
        Err(error) => {
            tracing::warn!(
                %error, every = ?ANYHOW,
                "the folder of plug-ins cannot be watched; it is looked at now and then"
            );
            None
        }
    }
}

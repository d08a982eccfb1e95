//! Takes the folder of plug-ins, gives its changes as they happen.

use std::future::pending;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::{Notify, mpsc};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::plugins::News;
use super::{Shared, chain};
use crate::catalog::Catalog;

/// So long after something was touched, what was touched meanwhile is looked at with it.
const QUIET: Duration = Duration::from_millis(200);
/// And every so often whatever the system says: some file systems tell nothing.
const ANYHOW: Duration = Duration::from_secs(10);
/// And so soon again when a file may be half written.
const SOON: Duration = Duration::from_millis(300);

/// Looks whenever something was touched, until the host stops or nobody listens.
pub(super) async fn run(shared: Shared, mut catalog: Catalog, news: mpsc::Sender<News>) {
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
            () = touched.notified() => sleep(QUIET).await,
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
                    if news.send(News::Found(change)).await.is_err() {
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
fn watcher(folder: &Path, touched: &Arc<Notify>) -> Option<RecommendedWatcher> {
    let tell = Arc::clone(touched);
    let heard = move |event: notify::Result<notify::Event>| {
        // An error may stand for something that was missed.
        if event.map_or(true, |event| is_a_change(event.kind)) {
            tell.notify_one();
        }
    };
    let watched = notify::recommended_watcher(heard).and_then(|mut watcher| {
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    watched
        .inspect_err(|error| {
            tracing::warn!(
                %error, every = ?ANYHOW,
                "the folder of plug-ins cannot be watched; it is looked at now and then"
            );
        })
        .ok()
}

/// To look at the folder opens it and what is in it: who took that for a change would look for
/// ever.
pub(crate) fn is_a_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Any
        | EventKind::Other => true,
        EventKind::Access(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::mpsc;

    use super::*;

    /// What one look does to a folder, and what a writer does, as the system tells it.
    #[test]
    fn who_looks_is_not_heard_and_who_writes_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a.wasm");
        fs::write(&file, "before").expect("written");
        let (tell, told) = mpsc::channel();
        let heard = move |event: notify::Result<notify::Event>| {
            let _ = tell.send(event.expect("an event").kind);
        };
        let mut watcher = notify::recommended_watcher(heard).expect("a watcher");
        watcher
            .watch(folder.path(), RecursiveMode::NonRecursive)
            .expect("watched");
        assert_eq!(fs::read_dir(folder.path()).expect("read").count(), 1);
        assert_eq!(fs::read(&file).expect("read"), b"before");
        fs::write(&file, "after").expect("written");
        let mut changes = 0;
        // The last that a writer does.
        let end = EventKind::Access(AccessKind::Close(AccessMode::Write));
        loop {
            let kind = told.recv_timeout(Duration::from_secs(10));
            let kind = kind.expect("the end of the write");
            changes += usize::from(is_a_change(kind));
            if kind == end {
                break;
            }
            let is_read = matches!(kind, EventKind::Access(_));
            assert_eq!(is_a_change(kind), !is_read, "{kind:?}");
        }
        assert!(0 < changes);
    }
}

//! Takes files and folders, gives the moments at which something was done to them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use anyhow::Context;
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

use crate::host::watching::is_a_change;

/// An editor's save, and a compiler's output, come in several parts.
const QUIET: Duration = Duration::from_millis(200);

/// What is watched; it ends when dropped.
pub(super) struct Touched {
    watcher: RecommendedWatcher,
    changes: Receiver<()>,
}

impl Touched {
    /// Watches files, which may be replaced by others or not be there yet.
    pub(super) fn files<'a>(files: impl Iterator<Item = &'a Path>) -> anyhow::Result<Self> {
        let files: BTreeSet<PathBuf> = files.map(absolute).collect();
        let folders: BTreeSet<PathBuf> = files.iter().map(|file| parent(file)).collect();
        let wanted = move |path: &Path| files.contains(path);
        Self::watch(&folders, RecursiveMode::NonRecursive, wanted)
    }

    /// Watches a folder and all that is in it, but for what `is_made` says is made of it: that may
    /// be more folders than the system watches.
    pub(super) fn folder(
        folder: &Path,
        is_made: impl Fn(&Path) -> bool + Send + 'static,
    ) -> anyhow::Result<Self> {
        let root = absolute(folder);
        let entries = std::fs::read_dir(&root)
            .with_context(|| format!("{} cannot be read", root.display()))?;
        let inside = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let sources: BTreeSet<PathBuf> = inside
            .filter(|path| path.is_dir() && !path.strip_prefix(&root).is_ok_and(&is_made))
            .collect();
        let wanted = {
            let root = root.clone();
            move |path: &Path| !path.strip_prefix(&root).is_ok_and(&is_made)
        };
        let mut touched =
            Self::watch(&BTreeSet::from([root]), RecursiveMode::NonRecursive, wanted)?;
        touched.add(&sources, RecursiveMode::Recursive)?;
        Ok(touched)
    }

    fn watch(
        folders: &BTreeSet<PathBuf>,
        how: RecursiveMode,
        wanted: impl Fn(&Path) -> bool + Send + 'static,
    ) -> anyhow::Result<Self> {
        let (tell, changes) = mpsc::channel();
        let heard = move |event: notify::Result<notify::Event>| {
            // An error may stand for something that was missed.
            let counts = event.map_or(true, |event| {
                is_a_change(event.kind) && event.paths.iter().any(|path| wanted(path))
            });
            if counts {
                let _ = tell.send(());
            }
        };
        let watcher = notify::recommended_watcher(heard).context("nothing can be watched")?;
        let mut touched = Self { watcher, changes };
        touched.add(folders, how)?;
        Ok(touched)
    }

    fn add(&mut self, folders: &BTreeSet<PathBuf>, how: RecursiveMode) -> anyhow::Result<()> {
        for folder in folders {
            self.watcher
                .watch(folder, how)
                .with_context(|| format!("{} cannot be watched", folder.display()))?;
        }
        Ok(())
    }

    /// Waits until something is done, and then until it is over.
    pub(super) fn wait(&mut self) -> anyhow::Result<()> {
        self.changes.recv().context("the watch has ended")?;
        while self.changes.recv_timeout(QUIET).is_ok() {}
        Ok(())
    }
}

/// As the system tells of it, also of a file that is not there.
fn absolute(path: &Path) -> PathBuf {
    let folder = parent(path);
    let folder = folder.canonicalize().unwrap_or(folder);
    match path.file_name() {
        Some(name) => folder.join(name),
        None => path.canonicalize().unwrap_or_else(|_| path.to_owned()),
    }
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

//! Takes builds as they come and plug-ins as they go, gives the runs of each plug-in on this host.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::own::Owning;
use super::{Error, chain, ended_by_itself};
use crate::catalog::Change;
use crate::plugin::generation::Generation;

/// The plug-ins of this host.
pub(super) struct Plugins {
    owning: Owning,
    running: BTreeMap<String, Running>,
    tasks: JoinSet<(String, Result<(), Error>)>,
}

struct Running {
    generations: watch::Sender<Arc<Generation>>,
    ending: CancellationToken,
    /// What comes after a plug-in that is ending.
    next: Option<(Arc<Generation>, String)>,
}

impl Plugins {
    pub(super) fn new(owning: Owning) -> Self {
        Self {
            owning,
            running: BTreeMap::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Takes what was found in the folder.
    pub(super) fn take(&mut self, change: Change) {
        let health = self.owning.shared.health.clone();
        match change {
            Change::Loaded { file, generation } => {
                let manifest = generation.manifest();
                tracing::info!(
                    plugin = %manifest.name, version = %manifest.version,
                    digest = generation.digest(), file = %file.display(), "plug-in loaded"
                );
                let metrics = &self.owning.shared.metrics;
                generation.count(metrics.generation(&manifest.name));
                let file = file.display().to_string();
                health.accepted(&file);
                self.start(generation, &file);
            }
            Change::Refused { file, error } => {
                let error = chain(&error);
                tracing::error!(
                    file = %file.display(), error, "plug-in refused; what runs goes on"
                );
                health.refused(file.display().to_string(), error);
            }
            Change::Gone { file } => health.accepted(&file.display().to_string()),
            Change::Ended { plugin } => self.end(&plugin),
        }
    }

    /// Starts a plug-in, or has a new build of it take over.
    fn start(&mut self, generation: Arc<Generation>, file: &str) {
        let plugin = generation.manifest().name.clone();
        if let Some(running) = self.running.get_mut(&plugin) {
            if running.ending.is_cancelled() {
                running.next = Some((generation, file.to_owned()));
                return;
            }
            let now = Arc::clone(&running.generations.borrow());
            let partitions = |generation: &Generation| generation.manifest().delivery.partitions;
            if partitions(&now) != partitions(&generation) {
                self.owning
                    .refuse(&plugin, partitions(&now), partitions(&generation));
                return;
            }
            self.owning.shared.health.accepted(&plugin);
            if now.digest() == generation.digest() {
                // Its file has another name now.
                self.owning.shared.roster.moved(&plugin, file);
                return;
            }
            self.owning.shared.roster.runs(&generation, file);
            running.generations.send_replace(generation);
            self.owning.shared.metrics.reloaded(&plugin);
            return;
        }
        self.owning.shared.health.accepted(&plugin);
        // Before the host says that all its partitions are known.
        self.owning.announce(&generation);
        self.owning.shared.roster.runs(&generation, file);
        let (generations, newest) = watch::channel(generation);
        let ending = self.owning.ending.child_token();
        let owning = Owning {
            ending: ending.clone(),
            ..self.owning.clone()
        };
        let name = plugin.clone();
        self.tasks
            .spawn(async move { (name, owning.plugin(newest).await) });
        let running = Running {
            generations,
            ending,
            next: None,
        };
        self.running.insert(plugin, running);
    }

    fn end(&mut self, plugin: &str) {
        if let Some(running) = self.running.get_mut(plugin) {
            tracing::info!(plugin, "no file has the plug-in any more: it ends here");
            running.next = None;
            running.ending.cancel();
        }
    }

    /// Runs what is there and what comes, until the host stops and all have ended.
    pub(super) async fn run(mut self, mut changes: mpsc::Receiver<Change>) -> Result<(), Error> {
        let drain = self.owning.ending.clone();
        loop {
            tokio::select! {
                Some(change) = changes.recv(), if !drain.is_cancelled() => self.take(change),
                Some(ended) = self.tasks.join_next() => {
                    let (plugin, result) =
                        ended.map_err(|panicked| ended_by_itself("a plug-in", &panicked))?;
                    result?;
                    self.ended(&plugin);
                }
                () = drain.cancelled(), if self.tasks.is_empty() => return Ok(()),
            }
        }
    }

    fn ended(&mut self, plugin: &str) {
        self.owning.shared.roster.ended(plugin);
        let running = self.running.remove(plugin);
        if let Some((next, file)) = running.and_then(|running| running.next)
            && !self.owning.ending.is_cancelled()
        {
            self.start(next, &file);
        }
    }
}

//! Takes builds as they come and plug-ins as they go, gives the runs of each plug-in on this host.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::deployed::Order;
use super::own::Owning;
use super::{Error, chain, ended_by_itself};
use crate::catalog::Change;
use crate::deployment;
use crate::plugin::generation::Generation;
use crate::rollout::{Canary, Rollout, needs_a_start};

/// Where a deployed build is said to come from.
const DEPLOYED: &str = "deployed";

/// What is new.
pub(super) enum News {
    /// In the folder.
    Found(Change),
    /// In the cluster.
    Ordered(Order),
}

/// The plug-ins of this host.
pub(super) struct Plugins {
    owning: Owning,
    known: BTreeMap<String, Known>,
    tasks: JoinSet<(String, Result<(), Error>)>,
}

/// What is to run of a plug-in, and what runs.
#[derive(Default)]
struct Known {
    /// What the folder has, and in which file.
    found: Option<(Arc<Generation>, String)>,
    /// What the cluster wants; its build goes before the folder's.
    ordered: Option<Order>,
    running: Option<Running>,
}

struct Running {
    rollouts: watch::Sender<Arc<Rollout>>,
    ending: CancellationToken,
}

impl Known {
    /// The build that is to run, and where it came from.
    fn wanted(&self) -> Option<(Arc<Generation>, String)> {
        // What the file of the daemon says is not deployed over.
        if let Some((bridge, _)) = &self.found
            && bridge.is_bridge()
        {
            return self.found.clone();
        }
        let ordered = self.ordered.as_ref().and_then(|order| order.build.clone());
        let ordered = ordered.map(|generation| (generation, DEPLOYED.to_owned()));
        ordered.or_else(|| self.found.clone())
    }

    fn canary(&self) -> Option<&Arc<Canary>> {
        self.ordered.as_ref()?.canary.as_ref()
    }

    fn is_paused(&self) -> bool {
        self.ordered.as_ref().is_some_and(|order| order.paused)
    }
}

impl Plugins {
    pub(super) fn new(owning: Owning) -> Self {
        Self {
            owning,
            known: BTreeMap::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Takes what is new.
    pub(super) fn take(&mut self, news: News) {
        match news {
            News::Found(change) => self.found(change),
            News::Ordered(order) => {
                let plugin = order.plugin.clone();
                self.known.entry(plugin.clone()).or_default().ordered = Some(order);
                self.settle(&plugin);
            }
        }
    }

    fn found(&mut self, change: Change) {
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
                let plugin = manifest.name.clone();
                let known = self.known.entry(plugin.clone()).or_default();
                let is_taken = |(found, _): &(Arc<Generation>, _)| found.is_bridge();
                if known.found.as_ref().is_some_and(is_taken) {
                    let error = format!(
                        "its plug-in is called {plugin:?}, and so is a [[bridge]]; rename one"
                    );
                    return health.refused(file, error);
                }
                known.found = Some((generation, file));
                self.settle(&plugin);
            }
            Change::Refused { file, error } => {
                let error = chain(&error);
                tracing::error!(
                    file = %file.display(), error, "plug-in refused; what runs goes on"
                );
                health.refused(file.display().to_string(), error);
            }
            Change::Gone { file } => health.accepted(&file.display().to_string()),
            Change::Ended { plugin } => {
                if let Some(known) = self.known.get_mut(&plugin) {
                    known.found = None;
                }
                self.settle(&plugin);
            }
        }
    }

    /// Has run what is wanted of the plug-in.
    fn settle(&mut self, plugin: &str) {
        let Some(known) = self.known.get(plugin) else {
            return;
        };
        self.say_what_is_hidden(plugin, known);
        let wanted = known.wanted();
        match (&known.running, wanted) {
            (Some(running), Some((generation, place))) if !running.ending.is_cancelled() => {
                let running = running.rollouts.clone();
                self.follow(plugin, &running, (generation, &place));
            }
            // When it has ended, this is asked again.
            (Some(_), Some(_)) => {}
            (Some(running), None) => {
                if !running.ending.is_cancelled() {
                    tracing::info!(plugin, "nobody wants the plug-in any more: it ends here");
                }
                running.ending.cancel();
            }
            (None, Some((generation, place))) => self.start(plugin, (generation, &place)),
            (None, None) => {}
        }
    }

    /// A file whose plug-in is deployed does not run. Said by a name of its own: the file may be
    /// refused for a reason of its own.
    fn say_what_is_hidden(&self, plugin: &str, known: &Known) {
        let health = &self.owning.shared.health;
        let label = deployment::label_of_file(plugin);
        match (&known.found, &known.ordered) {
            (Some((_, file)), Some(Order { build: Some(_), .. })) => health.refused(
                label,
                format!(
                    "{file} does not run: {plugin} is deployed, and that goes before the folder; \
                     `sluice undeploy {plugin}` has the file run"
                ),
            ),
            (Some(_) | None, _) => health.accepted(&label),
        }
    }

    /// What is to run, beside `generation`.
    fn rollout(&self, plugin: &str, generation: Arc<Generation>) -> Arc<Rollout> {
        let known = self.known.get(plugin);
        let label = deployment::label_of_canary(plugin);
        let canary = known.and_then(Known::canary).filter(|canary| {
            let fits = fits(&generation, &canary.generation);
            if fits {
                self.owning.shared.health.accepted(&label);
            } else if is_projection(&generation) || is_projection(&canary.generation) {
                let error = format!(
                    "{}: there is no canary of a projection: each build has rows of its own; \
                     deploy it without --canary, and it is built beside the one that answers \
                     before it takes its place",
                    canary.generation.digest()
                );
                tracing::error!(plugin, error, "canary refused; what runs goes on");
                self.owning.shared.health.refused(label.clone(), error);
            } else {
                let error = format!(
                    "{}: a canary must have the same delivery.partitions, delivery.ordering, \
                     subscribe.subjects and retry.on_exhausted as the build beside it, carry no \
                     state over, and be another one; deploy it without --canary",
                    canary.generation.digest()
                );
                tracing::error!(plugin, error, "canary refused; what runs goes on");
                self.owning.shared.health.refused(label.clone(), error);
            }
            fits
        });
        let rollout = Arc::new(Rollout {
            generation,
            canary: canary.cloned(),
            paused: known.is_some_and(Known::is_paused),
        });
        let order = known.and_then(|known| known.ordered.as_ref());
        let taken_back = order.and_then(|order| order.taken_back.clone());
        let roster = &self.owning.shared.roster;
        roster.follows(plugin, &rollout, taken_back);
        rollout
    }

    /// Has a running plug-in follow what is wanted of it now.
    fn follow(
        &self,
        plugin: &str,
        running: &watch::Sender<Arc<Rollout>>,
        (mut generation, place): (Arc<Generation>, &str),
    ) {
        let shared = &self.owning.shared;
        let now = Arc::clone(&running.borrow().generation);
        let (had, wants) = (partitions(&now), partitions(&generation));
        if is_projection(&now) != is_projection(&generation) {
            let error = "one of the builds is a projection and the other is not; give the new one \
                         a name of its own, or take the old one away first"
                .to_owned();
            tracing::error!(plugin, error, "plug-in refused; what runs goes on");
            shared.health.refused(plugin.to_owned(), error);
            generation = now;
        } else if had != wants {
            self.owning.refuse(plugin, had, wants);
            generation = now;
        } else if now.digest() == generation.digest() {
            shared.health.accepted(plugin);
            // Its file has another name now, or it was deployed.
            shared.roster.moved(plugin, place);
            generation = now;
        } else {
            shared.health.accepted(plugin);
            shared.roster.runs(&generation, place);
            shared.metrics.reloaded(plugin);
        }
        let rollout = self.rollout(plugin, generation);
        running.send_replace(rollout);
    }

    fn start(&mut self, plugin: &str, (generation, place): (Arc<Generation>, &str)) {
        self.owning.shared.health.accepted(plugin);
        // Before the host says that all its partitions are known.
        self.owning.announce(&generation);
        self.owning.shared.roster.runs(&generation, place);
        let (rollouts, newest) = watch::channel(self.rollout(plugin, generation));
        let ending = self.owning.ending.child_token();
        let owning = Owning {
            ending: ending.clone(),
            ..self.owning.clone()
        };
        let name = plugin.to_owned();
        self.tasks
            .spawn(async move { (name, owning.plugin(newest).await) });
        if let Some(known) = self.known.get_mut(plugin) {
            known.running = Some(Running { rollouts, ending });
        }
    }

    /// Runs what is there and what comes, until the host stops and all have ended.
    pub(super) async fn run(mut self, mut news: mpsc::Receiver<News>) -> Result<(), Error> {
        let drain = self.owning.ending.clone();
        loop {
            tokio::select! {
                Some(new) = news.recv(), if !drain.is_cancelled() => self.take(new),
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
        let known = self.known.get_mut(plugin);
        let running = known.and_then(|known| known.running.take());
        // One that ended by itself was refused, and would be again.
        let was_told = running.is_some_and(|running| running.ending.is_cancelled());
        if was_told && !self.owning.ending.is_cancelled() {
            self.settle(plugin);
        }
    }
}

fn is_projection(generation: &Generation) -> bool {
    generation.manifest().projection.is_some()
}

fn partitions(generation: &Generation) -> u8 {
    generation.manifest().delivery.partitions
}

/// Whether both can work on the same lanes.
fn fits(one: &Generation, other: &Generation) -> bool {
    !is_projection(one)
        && !is_projection(other)
        && partitions(one) == partitions(other)
        && !needs_a_start(one.manifest(), other.manifest())
        && one.digest() != other.digest()
}

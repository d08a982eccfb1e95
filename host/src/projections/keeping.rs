//! Takes the builds that are wanted of a projection, gives the versions that follow from them, and the swap.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use self::beginning::begin;
use self::sharing::Part;
use super::Versions;
use super::folder::{Named, Written};
use super::opening::{Parts, blocking, open};
use super::running::Running;
use super::shelf::Shelf;
use super::store::Error;
use crate::metrics::{ProjectionMetrics, Standing};
use crate::plugin::generation::Generation;
use crate::rollout::Rollout;

mod beginning;
mod sharing;

/// How often it is looked at whether a version has caught up.
const LOOK: Duration = Duration::from_millis(50);
/// One that is so near holds the other, so that it can catch up,
const NEAR: u64 = 2_000;
/// for so long at the most;
const HOLD: Duration = Duration::from_secs(5);
/// then the other goes on for so long at least.
const LET_GO: Duration = Duration::from_secs(2);
/// How often the second version looks ahead when it has had all there is.
const ASK: Duration = Duration::from_millis(200);
/// After the folder could not be used.
const AGAIN: Duration = Duration::from_secs(5);

/// What its readiness is called.
pub(crate) fn label(name: &str) -> String {
    format!("{name}/projection")
}

/// Keeps a projection until it is to end: the build that is wanted, and the one before it until
/// that has caught up.
pub async fn keep(
    parts: Parts,
    mut rollouts: watch::Receiver<Arc<Rollout>>,
    ending: CancellationToken,
) {
    let name = rollouts.borrow().generation.manifest().name.clone();
    let label = label(&name);
    loop {
        let kept = begin(&parts, &name, &mut rollouts).await;
        match kept {
            Ok(mut keeper) => {
                parts.health.accepted(&label);
                parts.health.runs(label.clone(), 1);
                keeper.work(&mut rollouts, &ending).await;
                keeper.end().await;
                parts.health.forget(&label);
                return;
            }
            Err(error) => {
                let error = error.to_string();
                tracing::error!(projection = name, error, retry_in = ?AGAIN, "it cannot begin");
                parts.health.refused(label.clone(), error);
            }
        }
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            () = ending.cancelled() => {
                parts.health.accepted(&label);
                parts.health.forget(&label);
                return;
            }
        }
    }
}

struct Keeper {
    parts: Parts,
    name: String,
    shelf: Shelf,
    part: Part,
    written: Written,
    /// Versions that are nothing any more, and when they may go.
    gone: Vec<(Instant, Named)>,
    current: Running,
    building: Option<Running>,
    versions: watch::Sender<Versions>,
    rebuilds: mpsc::Receiver<()>,
    /// The build that is to run.
    wanted: Arc<Generation>,
    metrics: ProjectionMetrics,
    reported: Standing,
    /// The current version is held for the other's sake until then, or was and goes on until then.
    held_until: Option<(bool, Instant)>,
    /// When the second version was last told to look ahead.
    asked_at: Instant,
    /// When a second version that could not be begun is tried again.
    again_at: Instant,
    paused: bool,
    _shown: super::On,
}

impl Keeper {
    async fn work(
        &mut self,
        rollouts: &mut watch::Receiver<Arc<Rollout>>,
        ending: &CancellationToken,
    ) {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.pause(rollouts.borrow().paused);
        loop {
            let done = tokio::select! {
                () = ending.cancelled() => return,
                changed = rollouts.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let rollout = Arc::clone(&rollouts.borrow_and_update());
                    self.wanted = Arc::clone(&rollout.generation);
                    let settled = self.settle().await;
                    self.pause(rollout.paused);
                    settled
                }
                // Each host is told; the one that writes does it.
                Some(()) = self.rebuilds.recv() => self.rebuild().await,
                _ = look.tick() => self.look().await,
            };
            if let Err(error) = done {
                let error = error.to_string();
                tracing::error!(
                    projection = self.name,
                    error,
                    "a new version cannot be built"
                );
                self.parts.health.refused(label(&self.name), error);
                self.again_at = Instant::now() + AGAIN;
                if self.shelf.is_shared() {
                    self.part.is_in_doubt();
                }
            }
        }
    }

    fn pause(&mut self, paused: bool) {
        self.paused = paused;
        self.current.hold(paused);
        if let Some(building) = &self.building {
            building.hold(paused);
        }
    }

    /// Has built what is wanted and not there.
    async fn settle(&mut self) -> Result<(), Error> {
        if !self.part.owns {
            return Ok(());
        }
        let is_wanted = |named: &Option<Named>| {
            let named = named.as_ref();
            named.is_some_and(|named| named.is_of(&self.wanted))
        };
        let (has_it, builds_it) = (
            is_wanted(&self.written.current),
            is_wanted(&self.written.building),
        );
        if self.written.building.is_some() && !builds_it {
            self.abandon().await?;
        }
        match (has_it, builds_it) {
            (true, false) => Ok(()),
            // One that is under way since before the start, or a build that has just come.
            (_, true) if self.building.is_some() => Ok(()),
            (_, true) | (false, false) => self.build().await,
        }
    }

    async fn rebuild(&mut self) -> Result<(), Error> {
        match self.building {
            None if self.part.owns => self.build().await,
            Some(_) | None => Ok(()),
        }
    }

    /// Begins, or goes on with, a second version.
    async fn build(&mut self) -> Result<(), Error> {
        let named = match self.written.building.clone() {
            Some(named) => named,
            None => {
                let mut written = self.written.clone();
                let named = written.name(&self.wanted);
                written.building = Some(named.clone());
                self.save(written).await?;
                named
            }
        };
        tracing::info!(
            projection = self.name, version = %self.wanted.manifest().version, id = named.id,
            "a new version is built; the one before answers meanwhile"
        );
        let version = open(&self.parts, &self.shelf, &named, &self.wanted).await?;
        let running = Running::start(&self.parts, version, Some(Arc::clone(&self.wanted)));
        running.hold(self.paused);
        self.building = Some(running);
        self.show();
        self.parts.health.accepted(&label(&self.name));
        Ok(())
    }

    /// Nobody wants the second version any more.
    async fn abandon(&mut self) -> Result<(), Error> {
        let mut written = self.written.clone();
        let gone = written.building.take();
        self.save(written).await?;
        if let Some(mut building) = self.building.take() {
            building.end().await;
            building.version.store.doom();
        }
        self.goes(gone);
        self.held_until = None;
        self.show();
        Ok(())
    }

    async fn save(&mut self, written: Written) -> Result<(), Error> {
        let (shelf, before, now) = (self.shelf.clone(), self.written.clone(), written.clone());
        blocking(&self.parts, move || shelf.write(&before, &now)).await?;
        self.written = written;
        Ok(())
    }

    fn show(&self) {
        self.versions.send_replace(Versions {
            current: Arc::clone(&self.current.version),
            building: self.building.as_ref().map(|one| Arc::clone(&one.version)),
            follows: !self.part.owns,
        });
    }

    /// A version is nothing any more.
    fn goes(&mut self, named: Option<Named>) {
        let at = Instant::now() + self.shelf.stays();
        self.gone.extend(named.map(|named| (at, named)));
    }

    async fn look(&mut self) -> Result<(), Error> {
        self.report();
        if !self.turn().await {
            return Ok(());
        }
        self.let_old_go().await;
        let Some(building) = &self.building else {
            let is_missing = self.written.building.is_some() && self.again_at <= Instant::now();
            return if is_missing {
                self.build().await
            } else {
                Ok(())
            };
        };
        let (it, other) = (&building.version, &self.current.version);
        let (there, wanted) = (it.standing().position, other.standing().position);
        if wanted <= there && self.again_at <= Instant::now() {
            return self.swap().await;
        }
        // Both follow the end of the store, and neither waits for the other: the one that answers
        // is held for a moment.
        let now = Instant::now();
        let is_near = wanted - there <= NEAR || it.behind().is_some_and(|behind| behind <= NEAR);
        if it.behind() == Some(0) && self.asked_at + ASK <= now {
            // What the other has passed over need not concern it.
            it.look_ahead();
            self.asked_at = now;
        }
        match self.held_until {
            _ if self.paused => {}
            Some((true, until)) if until <= now => {
                self.current.hold(false);
                self.held_until = Some((false, now + LET_GO));
            }
            Some((_, until)) if now < until => {}
            Some(_) | None if is_near => {
                self.current.hold(true);
                self.held_until = Some((true, now + HOLD));
            }
            Some(_) | None => {}
        }
        Ok(())
    }

    /// The second version takes the place of the first: first where it is written down, so that
    /// whoever was answered by it is answered by it after a crash too.
    async fn swap(&mut self) -> Result<(), Error> {
        let mut written = self.written.clone();
        let gone = std::mem::replace(&mut written.current, written.building.take());
        self.save(written).await?;
        let Some(building) = self.building.take() else {
            return Ok(());
        };
        let mut before = std::mem::replace(&mut self.current, building);
        self.held_until = None;
        self.show();
        let current = &self.current.version;
        tracing::info!(
            projection = self.name,
            version = current.version,
            id = current.id,
            position = current.standing().position,
            "the new version answers"
        );
        self.current.hold(self.paused);
        before.end().await;
        before.version.store.doom();
        self.goes(gone);
        Ok(())
    }

    fn report(&mut self) {
        let building = self.building.as_ref().map(|one| &*one.version);
        self.metrics.stand(&self.current.version, building);
        let lag = self.current.version.behind().unwrap_or(0);
        let lag = i64::try_from(lag).unwrap_or(i64::MAX);
        let now = Standing {
            lag,
            ..Standing::default()
        };
        let plugin = self.parts.metrics.plugin(&self.name);
        plugin.standing(self.reported, now);
        self.reported = now;
    }

    async fn end(&mut self) {
        if let Some(mut building) = self.building.take() {
            building.end().await;
        }
        self.current.end().await;
        if self.part.owns {
            let shelf = self.shelf.clone();
            // When it cannot be said, the others see it in some seconds.
            let _ = blocking(&self.parts, move || shelf.let_go()).await;
        }
        let plugin = self.parts.metrics.plugin(&self.name);
        plugin.standing(self.reported, Standing::default());
        self.metrics.gone();
    }
}

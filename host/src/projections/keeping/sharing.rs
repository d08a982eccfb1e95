//! Takes the database that hosts share, gives this host's part: one host writes, the others answer
//! from what it has written, and one of them goes on when it does not any more.
//!
//! Who writes is a lease, so that the work is not done twice; that nothing counts twice does not rest
//! on it, but on the place, which each commit moves on from where its writer had left it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::super::folder::{Named, Written};
use super::super::opening::{before, blocking, open};
use super::super::running::{Running, quiet};
use super::super::store::{Error, Standing};
use super::super::version::Version;
use super::{Keeper, label};
use crate::plugin::generation::Generation;

/// How often a host says that it writes, or asks whether another one still does.
const TURN: Duration = Duration::from_millis(500);
/// How often one that follows looks how far the other is.
const FOLLOW: Duration = Duration::from_millis(250);
/// While the database is away it is asked as often as that at first, and as seldom at last.
const AWAY: Duration = Duration::from_millis(200);
const AWAY_LONGEST: Duration = Duration::from_secs(5);

/// This host's part in what hosts share.
pub(super) struct Part {
    /// It writes; the only host that has the rows always does.
    pub(super) owns: bool,
    /// What this host took to be written down may not be.
    doubts: bool,
    turn_at: Instant,
    follow_at: Instant,
    away: Option<Duration>,
}

impl Part {
    pub(super) fn new(owns: bool) -> Self {
        Self {
            owns,
            doubts: false,
            turn_at: Instant::now(),
            follow_at: Instant::now(),
            away: None,
        }
    }

    /// What this host took to be written down may not be: all of it is read again.
    pub(super) fn is_in_doubt(&mut self) {
        self.doubts = true;
    }
}

impl Keeper {
    /// Whether it is this host that writes, now; as one that follows, it follows.
    pub(super) async fn turn(&mut self) -> bool {
        if !self.shelf.is_shared() {
            return true;
        }
        match self.take_turn().await {
            Ok(()) => {
                if self.part.away.take().is_some() {
                    tracing::info!(projection = self.name, "the database is there again");
                    self.parts.health.accepted(&label(&self.name));
                    if !self.part.owns {
                        self.current.version.stands(None);
                    }
                }
            }
            Err(error) => {
                let wait = self.part.away.map_or(AWAY, |wait| wait * 2);
                let wait = wait.min(AWAY_LONGEST);
                let error = error.to_string();
                tracing::warn!(projection = self.name, error, retry_in = ?wait, "the database is away");
                if !self.part.owns {
                    self.current.version.stands(Some(error.clone()));
                }
                self.parts.health.refused(label(&self.name), error);
                self.part.away = Some(wait);
                self.part.turn_at = Instant::now() + wait;
                self.part.follow_at = self.part.turn_at;
            }
        }
        self.part.owns && self.part.away.is_none() && !self.part.doubts
    }

    async fn take_turn(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        if self.part.turn_at <= now {
            let shelf = self.shelf.clone();
            let claims = blocking(&self.parts, move || shelf.claim()).await?;
            self.part.turn_at = now + TURN;
            if claims != self.part.owns || self.part.doubts {
                self.part.owns = claims;
                self.part.doubts = true;
                self.take_part().await?;
                self.part.doubts = false;
                self.parts.health.accepted(&label(&self.name));
            }
        }
        let version = &self.current.version;
        if !self.part.owns && (self.part.follow_at <= now || version.is_awaited()) {
            self.part.follow_at = now + FOLLOW;
            self.follow().await?;
        }
        Ok(())
    }

    /// It writes from here on, or follows from here on.
    async fn take_part(&mut self) -> Result<(), Error> {
        let what = if self.part.owns { "writes" } else { "follows" };
        tracing::info!(projection = self.name, "this host {what}");
        let shelf = self.shelf.clone();
        let owns = self.part.owns;
        let written = blocking(&self.parts, move || {
            let written = shelf.read()?;
            if owns {
                shelf.tidy(&written)?;
            }
            Ok(written)
        });
        let written = written.await?;
        self.adopt(written).await?;
        if self.part.owns {
            self.settle().await?;
        }
        Ok(())
    }

    /// Sees how far the host is that writes, and which versions there are.
    async fn follow(&mut self) -> Result<(), Error> {
        let shelf = self.shelf.clone();
        let written = blocking(&self.parts, move || shelf.read()).await?;
        if written != self.written {
            self.adopt(written).await?;
        }
        let building = self.building.as_ref();
        let versions = [Some(&self.current), building].into_iter().flatten();
        let versions: Vec<_> = versions.map(|one| Arc::clone(&one.version)).collect();
        for version in versions {
            let of = Arc::clone(&version);
            let standing = blocking(&self.parts, move || of.store.standing()).await?;
            version.moved(standing);
        }
        self.look_ahead().await;
        Ok(())
    }

    /// Who waits here for a place that no event of the projection stands before, is not known to the
    /// host that writes.
    async fn look_ahead(&self) {
        let version = &self.current.version;
        let manifest = self.wanted.manifest();
        if !version.is_awaited() || version.digest != self.wanted.digest() {
            return;
        }
        let standing = version.standing();
        if let Some(up_to) = quiet(&self.parts, manifest, standing.position).await {
            version.moved(Standing {
                position: up_to,
                ..standing
            });
        }
    }

    /// Has what is here be what is written down: at work on the host that writes, and answering on
    /// the others.
    async fn adopt(&mut self, written: Written) -> Result<(), Error> {
        let Some(current) = &written.current else {
            return Ok(());
        };
        let current = self.version(current).await?;
        let building = match &written.building {
            Some(building) => Some(self.version(building).await?),
            None => None,
        };
        self.current.end().await;
        if let Some(building) = &mut self.building {
            building.end().await;
        }
        let (version, build) = current;
        self.current = Running::start(&self.parts, version, build);
        self.building =
            building.map(|(version, build)| Running::start(&self.parts, version, build));
        self.written = written;
        self.held_until = None;
        self.show();
        self.pause(self.paused);
        Ok(())
    }

    /// A version as it is written down, and its build where this host is to run it.
    async fn version(
        &self,
        named: &Named,
    ) -> Result<(Arc<Version>, Option<Arc<Generation>>), Error> {
        let here = [Some(&self.current), self.building.as_ref()];
        let here = here.into_iter().flatten().map(|one| &one.version);
        let here = here.into_iter().find(|version| version.id == named.id);
        if let (Some(version), false) = (here, self.part.owns) {
            return Ok((Arc::clone(version), None));
        }
        let build = match named.is_of(&self.wanted) {
            true => Ok(Arc::clone(&self.wanted)),
            false => before(&self.parts, &self.shelf, named).await,
        };
        let version = match here {
            Some(version) => Arc::clone(version),
            None => {
                let shaped = build.as_ref().unwrap_or(&self.wanted);
                open(&self.parts, &self.shelf, named, shaped).await?
            }
        };
        version.stands(build.as_ref().err().cloned());
        Ok((version, build.ok().filter(|_| self.part.owns)))
    }

    /// Versions that nobody asks any more go.
    pub(super) async fn let_old_go(&mut self) {
        let now = Instant::now();
        let (due, rest) = std::mem::take(&mut self.gone)
            .into_iter()
            .partition(|(at, _)| *at <= now);
        self.gone = rest;
        for (_, named) in due {
            let (shelf, it) = (self.shelf.clone(), named.clone());
            if let Err(error) = blocking(&self.parts, move || shelf.forget(&it)).await {
                let id = &named.id;
                tracing::warn!(projection = self.name, id, %error, "a version stays for now");
                self.gone.push((now + AWAY_LONGEST, named));
            }
        }
    }
}

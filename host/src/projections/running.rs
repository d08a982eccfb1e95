//! Takes a version and its build, gives it the events behind its place, and goes on at the end of the store.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use super::opening::{Parts, blocking};
use super::store;
use super::version::Version;
use super::worker::{GROUP, Stopped, Worker};
use crate::cursor::{Cursor, Read, Source, Ticket, Unread, quiet_up_to};
use crate::manifest::Manifest;
use crate::ownership::SLOTS;
use crate::plugin::generation::Generation;

/// Chunks of the cursor that wait.
const FEED: usize = 16;
/// Bytes of the events that go to the thread that calls at once.
const BATCH_BYTES: usize = 8 << 20;
/// How often it is said how far it is.
const REPORT: Duration = Duration::from_millis(100);
/// How often what is old goes.
const HOUSEKEEPING: Duration = Duration::from_secs(30);
/// Who waits for a place is answered when nothing stands before it: asked so soon again, and later
/// each time,
const ASK_AGAIN: Duration = Duration::from_millis(20);
/// up to this.
const ASK_LONGEST: Duration = Duration::from_secs(1);
/// After the file could not be used.
const WAIT_FIRST: Duration = Duration::from_millis(200);
const WAIT_LONGEST: Duration = Duration::from_secs(10);

/// A version at work. Dropped, it stops.
pub(super) struct Running {
    pub(super) version: Arc<Version>,
    /// It takes no events while this says so.
    holds: watch::Sender<bool>,
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Running {
    /// Begins; without a build the version answers and does not move.
    pub(super) fn start(
        parts: &Parts,
        version: Arc<Version>,
        build: Option<Arc<Generation>>,
    ) -> Self {
        let holds = watch::Sender::new(false);
        let stop = CancellationToken::new();
        let task = build.map(|build| {
            let work = Work {
                parts: parts.clone(),
                build,
                version: Arc::clone(&version),
                holds: holds.subscribe(),
                stop: stop.clone(),
            };
            parts.tracker.spawn(work.run())
        });
        Self {
            version,
            holds,
            stop,
            task,
        }
    }

    /// Has it take no events for a while, or go on.
    pub(super) fn hold(&self, holds: bool) {
        self.holds
            .send_if_modified(|now| std::mem::replace(now, holds) != holds);
    }

    /// Ends it, and waits for that.
    pub(super) async fn end(&mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take() {
            // A task that panicked has ended too.
            let _ = task.await;
        }
    }
}

struct Work {
    parts: Parts,
    build: Arc<Generation>,
    version: Arc<Version>,
    holds: watch::Receiver<bool>,
    stop: CancellationToken,
}

/// What it reads from.
struct Feed {
    reads: mpsc::Receiver<Vec<Read>>,
    unread: Arc<Unread>,
    ticket: Ticket,
}

impl Work {
    /// Until it is told to stop: what cannot be done is tried again.
    async fn run(mut self) {
        let mut wait = WAIT_FIRST;
        loop {
            let error = match self.once(&mut wait).await {
                Ok(()) | Err(Stopped::Told) => return,
                Err(Stopped::Store(error)) => error.to_string(),
            };
            let projection = &self.build.manifest().name;
            tracing::error!(projection, error, retry_in = ?wait, "the projection stands still");
            self.version.stands(Some(error));
            tokio::select! {
                () = tokio::time::sleep(wait) => wait = (wait * 2).min(WAIT_LONGEST),
                () = self.stop.cancelled() => return,
            }
        }
    }

    async fn once(&mut self, wait: &mut Duration) -> Result<(), Stopped> {
        let name = &self.build.manifest().name;
        let metrics = (
            self.parts.metrics.plugin(name),
            self.parts.metrics.projection(name),
        );
        let window = self.parts.config.ledger.dedup_window;
        let stop = self.stop.clone();
        let (build, version) = (Arc::clone(&self.build), Arc::clone(&self.version));
        let begin = move || Worker::new(&build, &version, window, metrics, stop);
        let mut worker = blocking(&self.parts, begin).await?;
        self.version.stands(None);
        let mut feed = self.feed(worker.position());
        let mut wanted = self.version.wanted();
        let mut report = interval(REPORT);
        let mut housekeeping = interval(HOUSEKEEPING);
        housekeeping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut ask_at, mut ask_in) = (None, ASK_AGAIN);
        loop {
            let goes = !*self.holds.borrow_and_update();
            let is_asked = goes && feed.reads.is_empty();
            let asks = ask_at.filter(|_| is_asked);
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(()),
                Ok(()) = self.holds.changed() => {}
                _ = report.tick() => self.report(&feed),
                _ = housekeeping.tick() => {
                    worker = self.on_a_thread(worker, |worker| Ok(worker.keep_house()?)).await?;
                    ask_at = Some(Instant::now());
                }
                Ok(()) = wanted.changed() => (ask_at, ask_in) = (Some(Instant::now()), ASK_AGAIN),
                () = sleep_until(asks.unwrap_or_else(Instant::now)), if asks.is_some() => {
                    let position = self.version.standing().position;
                    let quiet = quiet(&self.parts, self.build.manifest(), position);
                    let up_to = tokio::select! {
                        up_to = quiet => up_to,
                        () = self.stop.cancelled() => None,
                    };
                    // Nothing concerns it before that place, whatever has come since.
                    if let Some(up_to) = up_to {
                        let up = move |worker: &mut Worker| Ok(worker.move_up(up_to)?);
                        worker = self.on_a_thread(worker, up).await?;
                    }
                    let is_awaited = self.version.is_awaited();
                    ask_at = is_awaited.then(|| Instant::now() + ask_in);
                    ask_in = (ask_in * 2).min(ASK_LONGEST);
                }
                Some(reads) = feed.reads.recv(), if goes => {
                    let batch = feed.batch(reads);
                    let work = move |worker: &mut Worker| worker.work(batch);
                    worker = self.on_a_thread(worker, work).await?;
                    *wait = WAIT_FIRST;
                    self.version.stands(None);
                    self.report(&feed);
                    if self.version.is_awaited() {
                        ask_at = Some(Instant::now());
                    }
                }
            }
        }
    }

    /// A cursor behind the place of the file. It ends with the feed.
    fn feed(&self, position: u64) -> Feed {
        let subjects = subjects(self.build.manifest());
        let (feed, reads) = mpsc::channel(FEED);
        let unread = Arc::new(Unread::default());
        let ticket = self.parts.tail.ticket();
        let name = &self.build.manifest().name;
        let source = Source {
            context: self.parts.context.clone(),
            events: self.parts.events.clone(),
            subjects,
            tail: self.parts.tail.clone(),
            ticket,
            read: self.parts.metrics.plugin(name).read.clone(),
        };
        let cursor = Cursor::new(source, position, Arc::clone(&unread));
        self.parts.tracker.spawn(cursor.run(feed));
        Feed {
            reads,
            unread,
            ticket,
        }
    }

    fn report(&self, feed: &Feed) {
        let Unread { behind, fed, .. } = &*feed.unread;
        if feed.unread.is_known.load(Ordering::Relaxed) {
            let shared = self.parts.tail.behind(feed.ticket);
            let behind = behind.load(Ordering::Relaxed) + fed.load(Ordering::Relaxed) + shared;
            self.version.stands_behind(behind);
        }
    }

    /// Has the worker do something that blocks.
    async fn on_a_thread(
        &self,
        mut worker: Worker,
        work: impl FnOnce(&mut Worker) -> Result<(), Stopped> + Send + 'static,
    ) -> Result<Worker, Stopped> {
        let working = self.parts.tracker.spawn_blocking(move || {
            let worked = work(&mut worker);
            worked.map(|()| worker)
        });
        working.await.map_err(|error| {
            Stopped::Store(store::Error::Disk {
                path: "the thread that makes the calls".into(),
                source: std::io::Error::other(error),
            })
        })?
    }
}

/// Up to where nothing stands in the store behind this place that concerns the projection.
pub(super) async fn quiet(parts: &Parts, manifest: &Manifest, position: u64) -> Option<u64> {
    quiet_up_to(&parts.events, &subjects(manifest), position).await
}

fn subjects(manifest: &Manifest) -> Vec<String> {
    let slots: Vec<u8> = (0..SLOTS).collect();
    manifest.filter_subjects(&slots)
}

impl Feed {
    /// What has come with these, up to what goes to the thread at once.
    fn batch(&mut self, mut reads: Vec<Read>) -> Vec<Read> {
        let size = |reads: &[Read]| -> usize { reads.iter().map(bytes).sum() };
        let mut total = size(&reads);
        while reads.len() < GROUP && total < BATCH_BYTES {
            let Ok(more) = self.reads.try_recv() else {
                break;
            };
            total += size(&more);
            reads.extend(more);
        }
        let taken = reads.len() as u64;
        self.unread.fed.fetch_sub(taken, Ordering::Relaxed);
        if let Some(Read::Delivery(last)) = reads.last() {
            self.unread
                .since
                .fetch_max(last.published(), Ordering::Relaxed);
        }
        reads
    }
}

fn bytes(read: &Read) -> usize {
    match read {
        Read::Delivery(delivery) => delivery.payload.len(),
        Read::Lost { .. } => 0,
    }
}

//! Takes a stream and a position, gives its messages in order from there on, without acks.
//!
//! The position lives in the ledger, so the consumer behind a cursor is thrown away and made anew
//! whenever anything about it is in doubt. A cursor reads for one partition until that has caught
//! up; then the tail, which reads for all partitions of the host, feeds it, for as long as it
//! keeps up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::stream::Stream;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{Instant, timeout};

use self::lean::{Lean, MANY};
use self::reader::{Broken, Reader};
use self::tail::Member;
pub use self::tail::{Tail, Ticket};
use crate::delivery::Delivery;
use crate::redacted;

mod cover;
mod lean;
mod lookup;
pub(crate) mod reader;
mod tail;

pub use self::lookup::{Found, load, quiet_up_to};

/// How many messages are given out at once, if so many are there,
const CHUNK: usize = 64;
/// and about how many bytes of them.
const CHUNK_BYTES: usize = 1 << 20;
/// When nobody has taken a message for so long, what stands behind it is counted anew.
const STALLED: Duration = Duration::from_secs(1);
const WAIT_FIRST: Duration = Duration::from_millis(50);
const WAIT_LONGEST: Duration = Duration::from_secs(2);
/// How long a partition that the tail let go of reads alone at least; longer each time when it is
/// let go of again soon,
const ALONE_FIRST: Duration = Duration::from_secs(1);
/// up to this.
const ALONE_LONGEST: Duration = Duration::from_secs(64);

/// What a cursor gives.
#[derive(Debug)]
pub enum Read {
    /// A message.
    Delivery(Arc<Delivery>),
    /// The store begins behind these sequences now: nobody has read them.
    Lost {
        /// The first.
        from: u64,
        /// The last.
        to: u64,
    },
}

/// What a partition's cursor reads with.
pub struct Source {
    /// For bodies that are in the object store.
    pub context: Context,
    /// The event store.
    pub events: Stream,
    /// The subjects of the partition.
    pub subjects: Vec<String>,
    /// What feeds it when it has caught up,
    pub tail: Tail,
    /// under this name.
    pub ticket: Ticket,
    /// Counts the messages that are read for it alone.
    pub read: Counter,
}

/// Reads one share of the event store.
pub struct Cursor {
    source: Source,
    lean: Option<Lean>,
    /// The highest sequence that was given out, or that does not concern it.
    last: u64,
    unread: Arc<Unread>,
    open: Option<Open>,
    /// Nothing stands behind `last`, and it may join the tail.
    joins: bool,
    /// It does not join the tail before.
    alone_until: Instant,
    alone_for: Duration,
}

/// What a cursor has not given out yet, or nobody has taken from it.
#[derive(Debug, Default)]
pub struct Unread {
    /// Whether the broker has said what there is.
    pub is_known: AtomicBool,
    /// How many messages stand behind the last one that was given out.
    pub behind: AtomicU64,
    /// And how many were given out, and nobody has taken them.
    pub fed: AtomicU64,
    /// When the store took the oldest message that nobody has taken, or the one before it;
    /// Unix milliseconds.
    pub since: AtomicU64,
}

impl Unread {
    /// So many more were given out, this one first.
    fn feed(&self, count: u64, first: Option<&Delivery>) {
        // What comes behind others is not the oldest.
        if self.fed.fetch_add(count, Ordering::Relaxed) == 0
            && let Some(first) = first
        {
            self.since.fetch_max(first.published(), Ordering::Relaxed);
        }
    }
}

struct Open {
    reader: Reader,
    /// Up to where it may be without the replays; none when it reads them.
    lean_until: Option<u64>,
}

impl Cursor {
    /// Reads from `floor + 1` on, and keeps `unread` up to date.
    pub fn new(source: Source, floor: u64, unread: Arc<Unread>) -> Self {
        Self {
            lean: Lean::of(&source.subjects),
            source,
            last: floor,
            unread,
            open: None,
            joins: false,
            alone_until: Instant::now(),
            alone_for: ALONE_FIRST,
        }
    }

    /// Feeds a partition until it goes away. What it does not take stays with the server:
    /// this is where pressure travels back.
    pub async fn run(mut self, feed: mpsc::Sender<Vec<Read>>) {
        let mut wait = WAIT_FIRST;
        loop {
            let mut reads = Vec::new();
            let broken = self.read(&mut reads).await;
            if !reads.is_empty() {
                wait = WAIT_FIRST;
                self.source.read.inc_by(reads.len() as u64);
                if self.give(&feed, reads).await.is_err() {
                    return;
                }
            }
            match broken {
                Ok(()) => {}
                Err(broken) => {
                    self.open = None;
                    tracing::warn!(
                        subjects = ?self.source.subjects, after = self.last, reason = %broken,
                        "reading starts again"
                    );
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(WAIT_LONGEST);
                }
            }
            if feed.is_closed() || self.joins && self.share(&feed).await.is_err() {
                return;
            }
        }
    }

    /// Waits for a message, and takes those that have come with it.
    async fn read(&mut self, reads: &mut Vec<Read>) -> Result<(), Broken> {
        let mut bytes = 0;
        while reads.len() < CHUNK && bytes < CHUNK_BYTES && !self.joins {
            let Some(read) = self.try_next(reads.is_empty()).await? else {
                break;
            };
            if let Read::Delivery(delivery) = &read {
                bytes += delivery.payload.len();
            }
            reads.push(read);
        }
        Ok(())
    }

    /// Fails when nobody listens any more.
    async fn give(&self, feed: &mpsc::Sender<Vec<Read>>, reads: Vec<Read>) -> Result<(), ()> {
        let first = match reads.first() {
            Some(Read::Delivery(first)) => Some(&**first),
            Some(Read::Lost { .. }) | None => None,
        };
        self.unread.feed(reads.len() as u64, first);
        let reads = match feed.try_send(reads) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Closed(_)) => return Err(()),
            Err(TrySendError::Full(reads)) => reads,
        };
        loop {
            match timeout(STALLED, feed.reserve()).await {
                Ok(Ok(place)) => {
                    place.send(reads);
                    return Ok(());
                }
                Ok(Err(_closed)) => return Err(()),
                Err(_elapsed) => self.count().await,
            }
        }
    }

    /// Asks how many messages stand behind those that nobody takes.
    async fn count(&self) {
        let Some(open) = &self.open else { return };
        // Without an answer the last count stays.
        if let Some(behind) = open.reader.unseen().await {
            self.unread.behind.store(behind, Ordering::Relaxed);
        }
    }

    /// Has the tail feed the partition until that does not keep up. Fails when nobody listens any
    /// more.
    async fn share(&mut self, feed: &mpsc::Sender<Vec<Read>>) -> Result<(), ()> {
        self.joins = false;
        let Source { tail, ticket, .. } = &self.source;
        let member = Member {
            subjects: self.source.subjects.clone(),
            last: self.last,
            feed: feed.clone(),
            unread: Arc::clone(&self.unread),
        };
        let since = Instant::now();
        let let_go = tail.join(*ticket, member);
        if let Some(open) = self.open.take() {
            open.reader.end(&self.source.events).await;
        }
        tokio::select! {
            last = let_go => self.last = last.unwrap_or(self.last),
            () = feed.closed() => {
                tail.leave(*ticket);
                return Err(());
            }
        }
        self.alone_for = match since.elapsed() < self.alone_for * 10 {
            true => (self.alone_for * 2).min(ALONE_LONGEST),
            false => ALONE_FIRST,
        };
        self.alone_until = Instant::now() + self.alone_for;
        Ok(())
    }

    fn may_join(&self) -> bool {
        self.alone_until <= Instant::now()
    }

    /// None when no message is there and it is not to wait for one, and when it joins the tail.
    async fn try_next(&mut self, waits: bool) -> Result<Option<Read>, Broken> {
        loop {
            if self.open.is_none() {
                if !waits {
                    return Ok(None);
                }
                if let Some(lost) = self.opened().await? {
                    return Ok(Some(lost));
                }
            }
            let Some(open) = &mut self.open else {
                return Ok(None);
            };
            let next = match waits {
                true => Some(open.reader.next().await?),
                false => open.reader.next_there()?,
            };
            let Some((mut delivery, behind)) = next else {
                return Ok(None);
            };
            let is_over = |until| until < delivery.sequence;
            if open.lean_until.is_some_and(is_over) && !self.stays_lean(behind).await? {
                self.open = None;
                continue;
            }
            self.unread.behind.store(behind, Ordering::Relaxed);
            // A consumer that was made anew may repeat what was given out.
            if self.last < delivery.sequence {
                let is_there = lookup::redeem(&self.source.context, &mut delivery).await;
                let is_there = is_there.map_err(Broken::Client)?;
                self.last = delivery.sequence;
                if behind == 0 {
                    self.caught_up();
                }
                if is_there {
                    return Ok(Some(Read::Delivery(Arc::new(delivery))));
                }
                if self.joins {
                    return Ok(None);
                }
            }
        }
    }

    /// The last message that was there was given out.
    fn caught_up(&mut self) {
        let is_lean = self
            .open
            .as_ref()
            .is_some_and(|open| open.lean_until.is_some());
        if is_lean {
            // The replays come next.
            self.open = None;
        } else if self.may_join() {
            self.joins = self.source.tail.is_near(self.last);
            if !self.joins {
                // Others have had many messages since: whether it has caught up with the end of
                // the store is to be asked.
                self.open = None;
            }
        }
    }

    /// Whether the consumer may go on without the replays: up to where is noted.
    async fn stays_lean(&mut self, behind: u64) -> Result<bool, Broken> {
        let (Some(lean), Some(open)) = (&self.lean, &mut self.open) else {
            return Ok(false);
        };
        if behind < MANY {
            return Ok(false);
        }
        let until = lean.until(&self.source.events, self.last).await;
        open.lean_until = until.map_err(Broken::Client)?;
        Ok(open.lean_until.is_some())
    }

    fn has_all_up_to(&mut self, last: u64) {
        self.last = self.last.max(last);
        self.unread.behind.store(0, Ordering::Relaxed);
        self.unread.is_known.store(true, Ordering::Relaxed);
        self.joins = true;
    }

    /// Begins to read, where something is there to be read or it may not join the tail. Gives what
    /// left the store before it was read, unless it was redacted.
    async fn opened(&mut self) -> Result<Option<Read>, Broken> {
        let (events, subjects) = (&self.source.events, &self.source.subjects);
        let bounds = reader::bounds(events).await?;
        let from = self.last + 1;
        if from < bounds.first {
            let lost = redacted::lost(&self.source.context, from, bounds.first - 1).await;
            let lost = lost.map_err(|error| Broken::Client(error.to_string()))?;
            self.last = bounds.first - 1;
            if let Some((from, to)) = lost {
                return Ok(Some(Read::Lost { from, to }));
            }
        }
        if bounds.last <= self.last && self.may_join() {
            self.has_all_up_to(self.last);
            return Ok(None);
        }
        let mut consumer = reader::consumer(events, subjects.clone(), self.last).await?;
        let pending = consumer.cached_info().num_pending;
        let mut lean_until = None;
        if let Some(lean) = &self.lean
            && MANY <= pending
        {
            let until = lean.until(events, self.last).await;
            lean_until = until.map_err(Broken::Client)?;
            if lean_until.is_some() {
                reader::forget(events, &consumer).await;
                let subject = vec![lean.subject.clone()];
                consumer = reader::consumer(events, subject, self.last).await?;
            }
        }
        let pending = consumer.cached_info().num_pending;
        self.unread.behind.store(pending, Ordering::Relaxed);
        self.unread.is_known.store(true, Ordering::Relaxed);
        if pending == 0 && self.may_join() {
            reader::forget(events, &consumer).await;
            // What was there when it was asked does not concern it.
            self.has_all_up_to(bounds.last);
            return Ok(None);
        }
        self.open = Some(Open {
            reader: Reader::of(consumer).await?,
            lean_until,
        });
        Ok(None)
    }
}

//! Takes the end of the event store, gives it to every partition of this host that has caught up.
//!
//! A message is read and decoded once, however many plug-ins it concerns. Nobody waits for
//! anybody: a partition that does not take what it is given is let go of, reads alone from there
//! on, and comes back when it has caught up. So the order of a partition's messages, and that
//! none is missing, rest on two rules: everything up to `position` has been given to whom it
//! concerns, and whoever is let go of is told up to where that holds for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::stream::Stream;
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::oneshot;
use tokio::time::{interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

pub(super) use self::members::Member;
use self::members::Members;
pub use self::members::Ticket;
use super::cover::cover;
use super::reader::{self, Broken, Reader};
use super::{CHUNK, CHUNK_BYTES, WAIT_FIRST, WAIT_LONGEST};
use crate::claim_check;
use crate::delivery::Delivery;
use crate::schemas::Watcher;

mod members;

/// A partition that stands further behind than this reads alone.
const NEAR: u64 = 2_000;
/// How often a full feed is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(2);
/// A body that is in the object store is waited for so long.
const REDEEMED_WITHIN: Duration = Duration::from_secs(1);
/// How often it is asked whether the store has grown by what concerns nobody here.
const MOVE_UP: Duration = Duration::from_secs(15);
/// The end of the event store, as this host reads it. Cheap to clone.
#[derive(Clone, Default)]
pub struct Tail(Arc<Shared>);

#[derive(Default)]
struct Shared {
    members: Mutex<Members>,
    tickets: AtomicU64,
}

impl Tail {
    /// For one partition.
    pub fn ticket(&self) -> Ticket {
        Ticket::new(self.0.tickets.fetch_add(1, Ordering::Relaxed))
    }

    /// Everything up to here that concerns the partition is in its feed, or taken from there; none
    /// while it reads alone.
    pub fn quiet_up_to(&self, ticket: Ticket) -> Option<u64> {
        self.0.members.lock().quiet_up_to(ticket)
    }

    /// How many messages stand behind what it was fed, at most; 0 while it reads alone.
    pub fn behind(&self, ticket: Ticket) -> u64 {
        self.0.members.lock().behind(ticket)
    }

    /// Whether a partition that has everything up to here may join.
    pub(super) fn is_near(&self, last: u64) -> bool {
        self.0.members.lock().is_near(last, NEAR)
    }

    /// Feeds a partition until it is let go of: then what this gives says up to where.
    pub(super) fn join(&self, ticket: Ticket, member: Member) -> oneshot::Receiver<u64> {
        self.0.members.lock().join(ticket, member)
    }

    pub(super) fn leave(&self, ticket: Ticket) {
        self.0.members.lock().leave(ticket);
    }

    /// Reads for those who join, until it is stopped. Counts the messages.
    pub async fn run(
        self,
        (context, events): (Context, Stream),
        (read, schemas): (Counter, Watcher),
        stop: CancellationToken,
    ) {
        let changed = self.0.members.lock().changed();
        let mut reading = Reading {
            tail: self,
            context,
            events,
            read,
            schemas,
            reader: None,
            filters: Vec::new(),
            is_busy: false,
        };
        let mut wait = WAIT_FIRST;
        let mut move_up = interval(MOVE_UP);
        loop {
            let step = async {
                tokio::select! {
                    biased;
                    () = changed.notified() => reading.open().await,
                    () = sleep(TRY_AGAIN), if reading.tail.is_keeping() => {
                        reading.tail.0.members.lock().try_again();
                        Ok(())
                    }
                    _ = move_up.tick() => reading.move_up().await,
                    found = next(&mut reading.reader) => reading.take(found?).await,
                }
            };
            let done = tokio::select! {
                () = stop.cancelled() => return,
                done = step => done,
            };
            let Err(broken) = done else {
                wait = WAIT_FIRST;
                continue;
            };
            reading.reader = None;
            let after = reading.tail.0.members.lock().position();
            tracing::warn!(after, reason = %broken, "reading the end of the store starts again");
            changed.notify_one();
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(wait) => wait = (wait * 2).min(WAIT_LONGEST),
            }
        }
    }

    fn is_keeping(&self) -> bool {
        self.0.members.lock().is_keeping()
    }
}

/// Waits for ever where nothing is read.
async fn next(reader: &mut Option<Reader>) -> Result<(Delivery, u64), Broken> {
    match reader {
        Some(reader) => reader.next().await,
        None => std::future::pending().await,
    }
}

/// The task behind a tail.
struct Reading {
    tail: Tail,
    context: Context,
    events: Stream,
    read: Counter,
    /// Looks at bodies of types that have a schema.
    schemas: Watcher,
    reader: Option<Reader>,
    /// What the reader reads.
    filters: Vec<String>,
    /// Something came since it was looked at last.
    is_busy: bool,
}

impl Reading {
    /// Has everything read that those who are here want, from what the furthest behind wants next.
    async fn open(&mut self) -> Result<(), Broken> {
        let (tickets, subjects, after) = self.tail.0.members.lock().wanted();
        let Some(after) = after else {
            if let Some(reader) = self.reader.take() {
                reader.end(&self.events).await;
            }
            return Ok(());
        };
        let filters = cover(subjects);
        let position = self.tail.0.members.lock().position();
        if self.reader.is_none() || filters != self.filters || after != position {
            if after + 1 < reader::bounds(&self.events).await?.first {
                // What left the store unread is for each to see to.
                self.tail.0.members.lock().let_go_all();
                return Ok(());
            }
            let consumer = reader::consumer(&self.events, filters.clone(), after).await?;
            let behind = consumer.cached_info().num_pending;
            let before = self.reader.replace(Reader::of(consumer).await?);
            self.filters = filters;
            self.tail.0.members.lock().set_behind(behind);
            self.tail.0.members.lock().covered(&tickets, after);
            if let Some(before) = before {
                before.end(&self.events).await;
            }
            return Ok(());
        }
        self.tail.0.members.lock().covered(&tickets, after);
        Ok(())
    }

    /// The message that came, and those that came with it.
    async fn take(&mut self, (first, behind): (Delivery, u64)) -> Result<(), Broken> {
        let (mut count, mut bytes) = (1, first.payload.len());
        let mut taken = vec![first];
        let mut behind = behind;
        let mut broken = Ok(());
        while let Some(reader) = &mut self.reader
            && count < CHUNK
            && bytes < CHUNK_BYTES
        {
            match reader.next_there() {
                Ok(Some((delivery, now_behind))) => {
                    (count, behind) = (count + 1, now_behind);
                    bytes += delivery.payload.len();
                    taken.push(delivery);
                }
                Ok(None) => break,
                Err(error) => {
                    broken = Err(error);
                    break;
                }
            }
        }
        self.is_busy = true;
        self.read.inc_by(count as u64);
        let mut whole = Vec::with_capacity(taken.len());
        for mut delivery in taken {
            if self.redeem(&mut delivery).await {
                let delivery = Arc::new(delivery);
                self.schemas.offer_delivery(&delivery);
                whole.push(delivery);
            } else {
                let mut members = self.tail.0.members.lock();
                members.give(std::mem::take(&mut whole), behind);
                members.let_go_of_those_who_want(&delivery);
            }
        }
        self.tail.0.members.lock().give(whole, behind);
        broken
    }

    /// Whether the message is whole. What the object store does not give, or not in time, is for
    /// those to see to whom it concerns.
    async fn redeem(&self, delivery: &mut Delivery) -> bool {
        let is_out = delivery.headers.as_ref().and_then(claim_check::taken_out);
        if is_out.is_none() || !self.tail.0.members.lock().is_wanted(&delivery.subject) {
            return true;
        }
        let redeemed = timeout(
            REDEEMED_WITHIN,
            claim_check::redeem(&self.context, delivery),
        );
        matches!(redeemed.await, Ok(Ok(true)))
    }

    /// Where nothing has come that concerns anybody here, the position is the end of the store.
    async fn move_up(&mut self) -> Result<(), Broken> {
        let is_busy = std::mem::take(&mut self.is_busy);
        let Some(reader) = self.reader.as_ref().filter(|_| !is_busy) else {
            return Ok(());
        };
        let last = reader::bounds(&self.events).await?.last;
        if reader.unseen().await == Some(0) {
            self.tail.0.members.lock().move_up(last);
        }
        Ok(())
    }
}

//! Takes one share of the event store for one plug-in, gives commits: the spine.
//!
//! cursor → decode → route → lane → call → outcome → commit. One task a partition; it
//! never waits for anything slower than a bounded send.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::time::{Duration, Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use self::blocking::Decision;
use self::housekeeping::{HOUSEKEEPING, REPORT};
use self::loading::Loaded;
pub use self::parts::Parts;
use self::trying::Trial;
use crate::breaker::Breaker;
use crate::clock;
use crate::cursor::{Cursor, Read, Source, Ticket, Unread};
use crate::delivery::Delivery;
use crate::held::{Bodies, Body, Held, Hold};
use crate::lane::{LaneId, Lanes};
use crate::ledger::Ledger;
use crate::ledger::claim::Claim;
use crate::ledger::message::Retry;
use crate::ledger::reason::Reason;
use crate::ledger::writer::{self, Writer};
use crate::manifest::Manifest;
use crate::metrics::{Age, Standing};
use crate::plugin::runners::{Finished, Runners};
use crate::route::{self, Route};

mod blocking;
mod concluding;
mod housekeeping;
mod loading;
mod parts;
mod pressure;
mod redacting;
mod renewing;
mod trying;

/// Bodies held behind parked lanes; beyond, events are written down by sequence.
const MAX_PARKED_BODIES: usize = 512;
/// What a cursor may have given out ahead.
const FEED: usize = 4;
/// Calls that are concluded before the loop looks at everything else again.
const BURST: usize = 64;

/// One running partition.
pub struct Partition {
    parts: Parts,
    ledger: Arc<Ledger>,
    writer: Writer,
    lanes: Lanes<Held>,
    runners: Arc<Runners>,
    trial: Option<Trial>,
    paused: bool,
    feed: mpsc::Receiver<Vec<Read>>,
    /// What came with the feed and was not taken yet.
    reading: VecDeque<Read>,
    finished: (UnboundedSender<Finished>, UnboundedReceiver<Finished>),
    loads: (UnboundedSender<Loaded>, UnboundedReceiver<Loaded>),
    quiet: (UnboundedSender<Quiet>, UnboundedReceiver<Quiet>),
    /// Written down by an earlier owner, above the floor: the cursor will pass them.
    waiting: BTreeMap<u64, Retry>,
    /// The places of dead letters that keep their lane waiting.
    blocked: HashMap<u64, LaneId>,
    in_flight: usize,
    bodies: Bodies,
    /// What the cursor has not given out, and the feed holds.
    unread: Arc<Unread>,
    /// Its name with what feeds it when it has caught up.
    ticket: Ticket,
    /// How old the oldest of them is.
    age: Age,
    breaker: Breaker,
    reported: Standing,
    draining: bool,
    /// Since when it drains because a new build reads or orders other events.
    renewing: Option<Instant>,
}

/// Why a partition came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was told to.
    Drained,
    /// A new build needs a start from the ledger; no call was begun since then.
    Renewed(Instant),
}

/// The answer to whether anything stands behind what was read.
struct Quiet {
    asked_at: u64,
    up_to: Option<u64>,
}

impl Partition {
    /// Starts reading where the claim says.
    pub fn new(parts: Parts, claim: Claim, writer: Writer) -> Self {
        let floor = claim.position.floor();
        if parts.generation.manifest().saga.is_some() {
            parts.metrics.is_saga();
        }
        let (feed_in, feed) = mpsc::channel(FEED);
        let unread = Arc::new(Unread::default());
        let age = parts.metrics.age(claim.ledger.name().partition);
        let ticket = parts.tail.ticket();
        let source = Source {
            context: parts.context.clone(),
            events: parts.events.clone(),
            subjects: parts.subjects.clone(),
            tail: parts.tail.clone(),
            ticket,
            read: parts.metrics.read.clone(),
        };
        let cursor = Cursor::new(source, floor, Arc::clone(&unread));
        parts.tracker.spawn(cursor.run(feed_in));
        let finished = mpsc::unbounded_channel();
        let build = (Arc::clone(&parts.generation), None);
        let runners = parts.runners(build, &claim.ledger, finished.0.clone());
        let mut partition = Self {
            parts,
            ledger: claim.ledger,
            writer,
            lanes: Lanes::default(),
            runners,
            trial: None,
            paused: false,
            feed,
            reading: VecDeque::new(),
            finished,
            loads: mpsc::unbounded_channel(),
            quiet: mpsc::unbounded_channel(),
            waiting: claim.waiting,
            blocked: HashMap::new(),
            in_flight: 0,
            bodies: Bodies::default(),
            unread,
            ticket,
            age,
            breaker: Breaker::default(),
            reported: Standing::default(),
            draining: false,
            renewing: None,
        };
        partition.resume_below(floor + 1);
        let rollout = Arc::clone(&partition.parts.rollouts.borrow());
        partition.follow(&rollout);
        partition
    }

    /// Works until it is drained, or until somebody else owns the partition.
    pub async fn run(mut self, drain: CancellationToken) -> Result<Ended, writer::Error> {
        let result = self.work(drain).await;
        self.report(Standing::default());
        result.map(|()| self.renewing.map_or(Ended::Drained, Ended::Renewed))
    }

    async fn work(&mut self, drain: CancellationToken) -> Result<(), writer::Error> {
        let mut report = interval(REPORT);
        let mut housekeeping = interval(HOUSEKEEPING);
        housekeeping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.lanes.wake(clock::unix_millis());
            self.dispatch();
            let soon = self.settles_soon();
            self.writer.start(soon).await?;
            if self.draining && self.in_flight == 0 && self.writer.is_idle() {
                return Ok(());
            }
            let next = self.next_wake();
            tokio::select! {
                // The feed comes last: under load it is always ready, and nothing else waits
                // for it.
                biased;
                () = drain.cancelled(), if !self.draining => self.draining = true,
                done = self.writer.committed() => done?,
                Some(finished) = self.finished.1.recv() => self.conclude_all(finished),
                Ok(()) = self.parts.rollouts.changed(), if !self.draining => self.renew(),
                Some(loaded) = self.loads.1.recv() => self.loaded(loaded),
                Some(quiet) = self.quiet.1.recv() => self.move_up(quiet),
                _ = report.tick() => self.report_standing(),
                _ = housekeeping.tick() => self.keep_house(),
                () = sleep_until(next) => {}
                () = ready(()), if !self.reading.is_empty() && self.has_room() => self.take_all(),
                Some(reads) = self.feed.recv(), if self.reading.is_empty() && self.has_room() => {
                    self.reading = reads.into();
                    self.take_all();
                }
            }
        }
    }

    /// The call that came back, and others that did meanwhile: what follows from all of them is
    /// done once.
    fn conclude_all(&mut self, first: Finished) {
        self.conclude(first);
        for _ in 1..BURST {
            let Ok(finished) = self.finished.1.try_recv() else {
                return;
            };
            self.conclude(finished);
        }
    }

    /// The messages that were read, while there is room.
    fn take_all(&mut self) {
        let now = clock::unix_millis();
        while self.has_room() {
            let Some(read) = self.reading.pop_front() else {
                return;
            };
            self.unread.fed.fetch_sub(1, Ordering::Relaxed);
            match read {
                Read::Delivery(delivery) => self.take(delivery, now),
                Read::Lost { from, to } => self.lose(from, to),
            }
        }
    }

    /// One message from the store: decode, route, lane.
    fn take(&mut self, delivery: Arc<Delivery>, now: u64) {
        self.unread
            .since
            .fetch_max(delivery.published(), Ordering::Relaxed);
        self.resume_below(delivery.sequence);
        let sequence = delivery.sequence;
        if delivery.is_envelope {
            return self.pass_over(&delivery);
        }
        let written = self.waiting.remove(&sequence);
        if let Some(retry) = &written
            && (retry.blocked || retry.replay.is_some())
        {
            return self.resume(sequence, retry);
        }
        if written.is_none() && !self.writer.position().read(sequence) {
            return;
        }
        let mut held = Held::new(sequence, delivery.published(), now);
        if let Some(retry) = &written {
            held.resume(retry);
        }
        let decision = Decision::read(&delivery);
        let blocks = decision.as_ref().map(|decision| decision.place);
        let lane = blocks.and_then(|place| self.blocked.get(&place).copied());
        let event = match delivery.event() {
            Ok(decoded) => &decoded.event,
            Err(error) => {
                let error = error.to_string();
                self.parts.metrics.delivered.inc();
                if let (Some(place), Some(_)) = (blocks, lane) {
                    // The new dead letter takes the place of the one that was sent again.
                    held.sequence = place;
                    held.replay = Some(sequence);
                    held.hold = Hold::Blocked;
                }
                held.loaded(Body::new(delivery));
                return self.bury(&held, Reason::Undecodable, &error);
            }
        };
        match route::route(self.manifest(), &delivery.subject, event) {
            Route::Skip => self.writer.position().close(sequence),
            Route::Loop { hops } => {
                self.parts.metrics.delivered.inc();
                held.loaded(Body::new(delivery));
                let error = format!("the event has passed {hops} plug-ins; it goes in circles");
                self.bury(&held, Reason::Loop, &error);
            }
            Route::Deliver { key } => match (decision, lane) {
                (Some(decision), Some(lane)) => {
                    self.decided(&decision, lane, delivery);
                }
                (Some(Decision { discards: true, .. }), None) => {
                    self.writer.position().close(sequence);
                }
                (Some(_) | None, _) => {
                    self.parts.metrics.delivered.inc();
                    held.key = key;
                    held.loaded(Body::new(delivery));
                    self.enqueue(held, written.map(|retry| retry.due));
                }
            },
        }
    }

    fn enqueue(&mut self, mut held: Held, due: Option<u64>) {
        if let Some(ttl) = self.manifest().delivery.ttl
            && held.is_older_than(ttl)
        {
            let error = format!("the event is older than delivery.ttl, {ttl:?}");
            return self.bury(&held, Reason::Expired, &error);
        }
        let ordering = self.manifest().delivery.ordering;
        let lane = route::lane(ordering, &held.key, held.sequence);
        // A blocked lane may wait for days: the floor moves on without it.
        let is_full = self.lanes.is_parked(lane) && MAX_PARKED_BODIES <= self.bodies.count;
        if (is_full || self.lanes.is_blocked(lane)) && !held.written_down {
            self.ledger.write_down(held.sequence, &held.retry(0));
            held.written_down = true;
            held.body = None;
        }
        if let Some(body) = &held.body {
            self.bodies.hold(body);
        }
        match due {
            Some(due) => self.lanes.push_parked(lane, held, due),
            None => self.lanes.push(lane, held),
        }
    }

    /// Starts what may run: a call, or the load of a body that was let go.
    fn dispatch(&mut self) {
        let max_in_flight = self.manifest().delivery.max_in_flight;
        let now = clock::unix_millis();
        while !self.draining
            && !self.paused
            && self.in_flight < max_in_flight
            && self.commits_keep_up()
            && self.breaker.may_start(now)
        {
            if !self.breaker.is_closed() {
                // One that has not failed yet tells more than one that has.
                self.lanes.prefer(|held| held.attempts);
            }
            let Some((lane, held)) = self.lanes.start_next() else {
                break;
            };
            match held.hold {
                Hold::Free => {}
                Hold::Blocked => {
                    self.lanes.block(lane);
                    continue;
                }
                Hold::Discarded => {
                    self.lanes.finish(lane);
                    continue;
                }
            }
            self.in_flight += 1;
            self.breaker.started();
            match held.job(lane, &self.parts.generation.manifest().name) {
                Some(job) => match &self.trial {
                    Some(trial) if trial.has(held) => trial.runners.submit(job),
                    Some(_) | None => self.runners.submit(job),
                },
                None => {
                    let sequence = held.stored_at();
                    self.load(lane, sequence);
                }
            }
        }
    }

    fn next_wake(&mut self) -> Instant {
        let far = Instant::now() + HOUSEKEEPING;
        let due = self.lanes.next_due().filter(|_| !self.draining);
        let lane = due.map(|due| Instant::now() + clock::until(due));
        let soon = self.settles_soon();
        let commit = self.writer.due(soon);
        let try_again = self.breaker.opens_up(clock::unix_millis());
        let try_again = try_again.map(|due| Instant::now() + clock::until(due));
        [lane, commit, try_again]
            .into_iter()
            .flatten()
            .fold(far, Instant::min)
    }

    fn manifest(&self) -> &Manifest {
        self.parts.generation.manifest()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

//! Takes what waits in the spool, gives it to the broker: in order per key, and each event once.
//!
//! read → look for what the broker may have already → publish → remove. Each step may fail
//! and is then tried again; what is on disk stays there until the broker has said that it
//! has it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::outgoing::Outgoing;
use super::publisher::{self, Publisher, Stored};
use super::spool::gate::{Shut, Spooler};
use super::spool::held::Hand;
use super::spool::pace::Pace;
use super::spool::settling::{Settling, settle};
use super::spool::{self, Found, Spool, refused, seen};
use crate::clock;

/// Records that were read and may still be in the file. So many at most were published before
/// a crash and not removed: the first of them are looked for at the next start.
const UNSETTLED: usize = 8_192;
/// More is read when fewer than this are in memory.
const READ_BELOW: usize = 2_048;
const READ_RECORDS: usize = 4_096;
const READ_BYTES: usize = 16 << 20;
/// With less than this in the spool, its end is in sight.
const NEARLY_EMPTY: u64 = 1_024;
/// How long newcomers are stopped for the end of it.
const SHUT: Duration = Duration::from_millis(400);
/// How long they have a free way when that was not enough.
const OPEN: Duration = Duration::from_millis(500);
/// How soon it is tried again while requests from before wait for the broker.
const DIRECT: Duration = Duration::from_millis(20);
/// A disk that failed is left alone for so long.
const REST: Duration = Duration::from_millis(250);
/// Something is always due by then.
const AT_LEAST: Duration = Duration::from_secs(1);
/// How long the last removal may take when the host stops.
const LAST_WORD: Duration = Duration::from_millis(500);

/// The task that empties the spool.
pub struct Drain {
    spooler: Arc<Spooler>,
    publisher: Publisher,
    /// From this age on the broker may not know any more that it has an event.
    old: Duration,
    dead_letter_ttl: Duration,
}

/// What ended.
enum Done {
    Published {
        number: u64,
        result: Result<Stored, publisher::Error>,
    },
    Settled(Result<(), spool::Error>),
    Read(Result<Vec<Found>, spool::Error>),
}

/// Where the work stands. All of it can be dropped at any time: the spool still has it.
struct Work<'a> {
    drain: &'a Drain,
    spool: &'a Spool,
    hand: Hand,
    /// Where reading goes on.
    next: u64,
    is_reading: bool,
    /// So many of the first records may have been published before this host was started.
    leftovers: usize,
    settling: Settling,
    pace: Pace,
    disk_rests_until: Instant,
    /// How many the broker has got since the spool was empty.
    count: u64,
}

impl Drain {
    /// Empties this spool through this publisher. `dedup_window`: how long the broker knows
    /// what it has seen. Dead letters of what it refuses are kept for `dead_letter_ttl`.
    pub fn new(
        spooler: Arc<Spooler>,
        publisher: Publisher,
        dedup_window: Duration,
        dead_letter_ttl: Duration,
    ) -> Self {
        Self {
            spooler,
            publisher,
            old: dedup_window / 2,
            dead_letter_ttl,
        }
    }

    /// Runs until `stop`; then what waits stays on disk.
    pub async fn run(self, stop: CancellationToken) {
        let mut work = Work {
            drain: &self,
            spool: self.spooler.spool(),
            hand: Hand::default(),
            next: 0,
            is_reading: false,
            leftovers: UNSETTLED,
            settling: Settling::default(),
            pace: Pace::new(Instant::now()),
            disk_rests_until: Instant::now(),
            count: 0,
        };
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = work.empty_the_spool() => {}
            }
        }
        let last = timeout(LAST_WORD, settle(work.spool, work.settling.all())).await;
        if !matches!(last, Ok(Ok(()))) {
            tracing::info!("what was delivered last is looked for at the next start");
        }
    }
}

impl Work<'_> {
    /// Waits until there is something, and works until the spool is empty and messages go to
    /// the broker again.
    async fn empty_the_spool(&mut self) {
        self.drain.spooler.something_spooled().await;
        let spooler = Arc::clone(&self.drain.spooler);
        let mut under_way: FuturesUnordered<BoxFuture<'_, Done>> = FuturesUnordered::new();
        let mut publishing = 0;
        let mut shut: Option<(Shut<'_>, Instant)> = None;
        let mut shut_again = Instant::now();
        self.count = 0;
        self.is_reading = false;
        loop {
            self.look_for_suspects().await;
            while publishing < self.pace.limit(Instant::now()) {
                let Some((number, outgoing)) = self.hand.next(clock::unix_millis()) else {
                    break;
                };
                publishing += 1;
                under_way.push(publish(&self.drain.publisher, number, outgoing).boxed());
            }
            let now = Instant::now();
            if self.disk_rests_until <= now {
                // Neither is waited for: publishing goes on meanwhile.
                if let Some(room) = self.room_for_reading() {
                    self.is_reading = true;
                    let read = self.spool.read(self.next, room, READ_BYTES);
                    under_way.push(read.map(Done::Read).boxed());
                }
                if let Some(group) = self.settling.next() {
                    under_way.push(settle(self.spool, group).map(Done::Settled).boxed());
                }
            }
            match &shut {
                Some(_) if self.is_empty().await => {
                    if let Some((shut, _)) = shut.take() {
                        shut.open_to_the_broker();
                    }
                    tracing::info!(
                        delivered = self.count,
                        "the spool is empty; events go to the broker"
                    );
                    return;
                }
                Some((_, until)) if *until <= now || self.pace.is_failing() => {
                    shut = None;
                    shut_again = now + OPEN;
                }
                None if shut_again <= now && self.is_nearly_empty() => {
                    shut = spooler
                        .shut()
                        .await
                        .map(|shut| (shut, Instant::now() + SHUT));
                    shut_again = now + DIRECT;
                    continue;
                }
                Some(_) | None => {}
            }
            let wake = [now + AT_LEAST, self.next_wake(now, publishing)]
                .into_iter()
                .chain(shut.as_ref().map(|(_, until)| *until))
                .chain(self.is_nearly_empty().then_some(shut_again))
                .filter(|at| now < *at)
                .fold(now + AT_LEAST, Instant::min);
            tokio::select! {
                Some(done) = under_way.next() => {
                    publishing -= usize::from(matches!(done, Done::Published { .. }));
                    self.finish(done);
                    // What is there already needs no look at the disk for each.
                    while let Some(Some(done)) = under_way.next().now_or_never() {
                        publishing -= usize::from(matches!(done, Done::Published { .. }));
                        self.finish(done);
                    }
                }
                () = spooler.something_more() => {}
                () = sleep_until(wake) => {}
            }
        }
    }

    fn finish(&mut self, done: Done) {
        match done {
            Done::Settled(result) => {
                self.settling.ended(result.is_ok());
                if let Err(error) = result {
                    self.disk_failed(&error);
                }
            }
            Done::Read(result) => {
                self.is_reading = false;
                match result {
                    Ok(found) => self.take(found),
                    Err(error) => self.disk_failed(&error),
                }
            }
            Done::Published { number, result } => self.published(number, result),
        }
    }

    fn published(&mut self, number: u64, result: Result<Stored, publisher::Error>) {
        match result {
            Ok(_stored) => {
                if self.pace.went_well() {
                    tracing::info!("the broker takes events again; the spool is being emptied");
                }
                self.delivered(number);
            }
            Err(publisher::Error::Refused(error)) => self.refused(number, &error),
            Err(error) => {
                let certain = !matches!(error, publisher::Error::Unanswered(_));
                self.hand.again(number, certain);
                if self.pace.failed(Instant::now()) {
                    let waiting = self.spool.standing().records;
                    tracing::warn!(%error, waiting, "the spool waits for the broker");
                }
            }
        }
    }

    fn delivered(&mut self, number: u64) {
        if self.hand.done(number).is_some() {
            self.settling.deliver(number);
            self.count += 1;
        }
    }

    /// It must not stand in the way of the others: it becomes a dead letter, and where that
    /// is refused too it stays in the file.
    fn refused(&mut self, number: u64, error: &str) {
        let Some(held) = self.hand.get(number) else {
            return;
        };
        let subject = &held.outgoing.subject;
        if held.is_letter {
            tracing::error!(
                subject,
                error,
                number,
                "a dead letter is refused; kept in the spool"
            );
            self.hand.done(number);
            self.settling.set_aside(number);
            return;
        }
        tracing::error!(
            subject,
            error,
            "the broker refuses a spooled event; dead letter"
        );
        let ttl = self.drain.dead_letter_ttl;
        let letter = refused::letter(&held.outgoing, held.spooled, error, ttl);
        self.hand.becomes(number, letter);
    }

    /// How many records may be read now, if there are more and there is room for them.
    fn room_for_reading(&self) -> Option<usize> {
        let full = READ_BELOW <= self.hand.len() || READ_BYTES <= self.hand.bytes();
        let room = UNSETTLED.saturating_sub(self.accounted());
        let more = (self.accounted() as u64) < self.spool.standing().records;
        let now = more && !full && 0 < room && !self.is_reading;
        now.then_some(READ_RECORDS.min(room))
    }

    fn take(&mut self, found: Vec<Found>) {
        for found in found {
            let leftover = 0 < self.leftovers;
            self.leftovers = self.leftovers.saturating_sub(1);
            self.next = found.number + 1;
            match found.record {
                Ok(record) => self.hand.take(found.number, record, leftover),
                Err(error) => {
                    let number = found.number;
                    tracing::error!(number, %error, "a spooled event cannot be read; kept aside");
                    self.settling.set_aside(number);
                }
            }
        }
    }

    /// What the broker may have, and may have forgotten that it has, is looked for.
    async fn look_for_suspects(&mut self) {
        if self.pace.limit(Instant::now()) == 0 {
            return;
        }
        let suspects = self.hand.suspects(clock::unix_millis(), self.drain.old);
        if suspects.is_empty() {
            return;
        }
        let numbers: Vec<u64> = suspects.iter().map(|suspect| suspect.number).collect();
        let found = match self.drain.publisher.context() {
            Some(context) => seen::in_events(context, &suspects).await,
            None => Err("the broker is away".to_owned()),
        };
        match found {
            Ok(found) => {
                let (looked, count) = (numbers.len(), found.len());
                tracing::info!(
                    looked,
                    found = count,
                    "looked for events that may be stored"
                );
                for number in numbers {
                    if found.contains(&number) {
                        self.delivered(number);
                    } else {
                        self.hand.cleared(number);
                    }
                }
            }
            Err(error) => {
                if self.pace.failed(Instant::now()) {
                    tracing::warn!(error, "the spool waits for the broker");
                }
            }
        }
    }

    fn disk_failed(&mut self, error: &spool::Error) {
        tracing::error!(%error, "the spool's file fails; trying again");
        self.disk_rests_until = Instant::now() + REST;
    }

    /// Records that are in the file and known here.
    fn accounted(&self) -> usize {
        self.hand.len() + self.settling.len()
    }

    fn is_nearly_empty(&self) -> bool {
        !self.pace.is_failing() && self.spool.standing().records <= NEARLY_EMPTY
    }

    async fn is_empty(&self) -> bool {
        self.accounted() == 0 && !self.is_reading && matches!(self.spool.is_empty().await, Ok(true))
    }

    fn next_wake(&self, now: Instant, publishing: usize) -> Instant {
        let far = now + AT_LEAST;
        let pace = self.pace.not_before();
        let goes_on = publishing == 0 && now < pace;
        let disk = self.disk_rests_until;
        let disk = if now < disk { disk } else { far };
        if goes_on { pace.min(disk) } else { disk }
    }
}

async fn publish(publisher: &Publisher, number: u64, outgoing: Arc<Outgoing>) -> Done {
    let result = publisher.publish(outgoing.as_ref().clone()).await;
    Done::Published { number, result }
}

#[cfg(test)]
mod tests;

//! Takes a partition's quiet moments, gives order: old entries let go, idle positions moved up, gauges set.

use std::sync::atomic::Ordering;

use tokio::time::Duration;

use super::{Partition, Quiet};
use crate::clock;
use crate::cursor::{self, Unread};
use crate::held::Held;
use crate::ledger::message::Retry;
use crate::ledger::reason::Reason;
use crate::metrics::Standing;
use crate::route;

/// How often the gauges are set.
pub(super) const REPORT: Duration = Duration::from_millis(250);
/// How often what is old is let go and an idle position moves up.
pub(super) const HOUSEKEEPING: Duration = Duration::from_secs(30);

impl Partition {
    /// Puts into their lanes the events that an earlier owner wrote down and that stand
    /// below `sequence`: everything that is read from now on comes after them.
    pub(super) fn resume_below(&mut self, sequence: u64) {
        while let Some(entry) = self.waiting.first_entry()
            && *entry.key() < sequence
        {
            let (sequence, retry) = entry.remove_entry();
            self.resume(sequence, &retry);
        }
    }

    /// Puts an event that an earlier owner wrote down into its lane.
    pub(super) fn resume(&mut self, sequence: u64, retry: &Retry) {
        let mut held = Held::new(sequence, retry.first, clock::unix_millis());
        held.resume(retry);
        let delivery = &self.manifest().delivery;
        let lane = route::lane(delivery.ordering, &held.key, sequence);
        if retry.blocked {
            self.resume_blocked(lane, held);
        } else {
            self.lanes.push_parked(lane, held, retry.due);
        }
    }

    /// Events that left the store unread are not passed in silence.
    pub(super) fn lose(&mut self, from: u64, to: u64) {
        self.resume_below(to + 1);
        self.writer.position().lose(from, to);
        let error = format!(
            "the events {from} to {to} left the store before this plug-in had read them; those \
             of its subjects among them are lost to it: events.max_age is shorter than its backlog"
        );
        tracing::error!(plugin = %self.parts.generation.manifest().name, from, to, "{error}");
        let now = clock::unix_millis();
        let held = Held::new(from, now, now);
        self.bury(&held, Reason::AgedOut, &error);
    }

    pub(super) fn standing(&self) -> Standing {
        let Unread { behind, fed, .. } = &*self.unread;
        let shared = self.parts.tail.behind(self.ticket);
        let unread = behind.load(Ordering::Relaxed) + fed.load(Ordering::Relaxed) + shared;
        Standing {
            parked: i64::try_from(self.lanes.parked()).unwrap_or(i64::MAX),
            blocked: i64::try_from(self.lanes.blocked()).unwrap_or(i64::MAX),
            stuck: i64::try_from(self.lanes.stuck() - self.lanes.blocked()).unwrap_or(i64::MAX),
            in_flight: i64::try_from(self.in_flight).unwrap_or(i64::MAX),
            lag: i64::try_from(unread).unwrap_or(i64::MAX),
            open: i64::from(!self.breaker.is_closed()),
        }
    }

    /// Tells how the partition stands, once its cursor knows what is before it.
    pub(super) fn report_standing(&mut self) {
        if self.unread.is_known.load(Ordering::Relaxed) {
            self.report(self.standing());
        }
    }

    pub(super) fn report(&mut self, now: Standing) {
        self.parts.metrics.standing(self.reported, now);
        let since = self.unread.since.load(Ordering::Relaxed);
        let age = match now.lag {
            0 => 0,
            // Before the first message nothing is known.
            _ if since == 0 => 0,
            _ => clock::unix_millis().saturating_sub(since),
        };
        self.age.set(Duration::from_millis(age).as_secs_f64());
        self.reported = now;
    }

    /// Lets go of log messages that the dedup window has passed, and asks whether an idle
    /// position may move up to the end of the store.
    pub(super) fn keep_house(&mut self) {
        if let Some(sequence) = self.ledger.staging().expire(clock::unix_millis()) {
            let (stream, subject) = (self.parts.ledger_stream.clone(), self.ledger.name().log());
            self.parts.tracker.spawn(async move {
                let purge = stream.purge().filter(&subject).sequence(sequence);
                if let Err(error) = purge.await {
                    tracing::warn!(%error, subject, "old log messages stay for now");
                }
            });
        }
        // What waits for an operator is written down.
        let is_quiet = self.lanes.held() == self.lanes.stuck();
        if is_quiet && self.writer.is_idle() && self.waiting.is_empty() {
            let asked_at = self.writer.position().last();
            if let Some(up_to) = self.parts.tail.quiet_up_to(self.ticket) {
                // What was fed before that was asked is still to be taken.
                let is_empty = self.feed.is_empty() && self.reading.is_empty();
                let up_to = is_empty.then_some(up_to);
                return self.move_up(Quiet { asked_at, up_to });
            }
            let (events, subjects) = (self.parts.events.clone(), self.parts.subjects.clone());
            let answers = self.quiet.0.clone();
            self.parts.tracker.spawn(async move {
                let up_to = cursor::quiet_up_to(&events, &subjects, asked_at).await;
                // The partition may have stopped meanwhile.
                let _ = answers.send(Quiet { asked_at, up_to });
            });
        }
    }

    pub(super) fn move_up(&mut self, quiet: Quiet) {
        let position = self.writer.position();
        if position.last() == quiet.asked_at
            && let Some(up_to) = quiet.up_to
        {
            self.writer.skip_to(up_to);
        }
    }
}

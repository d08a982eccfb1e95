//! Takes a partition's staged groups, gives them to the committer one after another, and keeps its position.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Duration, Instant};

use super::Ledger;
use super::committer::{Commit, Fenced, MAX_BATCH_BYTES, MAX_BATCH_MESSAGES};
use super::entry::Entry;
use super::message;
use super::position::Position;
use super::staging::{Bounds, Settled, Waiting};
use crate::clock;
use crate::metrics::Delays;

/// When and how much to commit at a time.
#[derive(Debug, Clone, Copy)]
pub struct Grouping {
    /// Deliveries that make a full group.
    pub events: usize,
    /// How long after one group the next may go while the partition catches up. Else it goes as
    /// soon as that one is durable, so that grouping costs no event any time.
    pub delay: Duration,
}

/// Why a partition cannot write any more.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else owns it.
    #[error(transparent)]
    Fenced(#[from] Fenced),
    /// The committer has ended; the host is stopping.
    #[error("the host stopped before the commit was answered")]
    Stopped,
}

struct InFlight {
    result: oneshot::Receiver<Result<u64, Fenced>>,
    settled: Vec<Settled>,
}

/// The writing side of a partition. One commit is under way at a time: the next one's
/// expectation is the sequence that this one gets.
pub struct Writer {
    ledger: Arc<Ledger>,
    commits: mpsc::Sender<Commit>,
    owner: [u8; 16],
    number: u64,
    /// Sequence of the partition's newest log message.
    log: u64,
    position: Position,
    grouping: Grouping,
    settling: Delays,
    in_flight: Option<InFlight>,
    /// Since when something waits.
    waiting_since: Option<Instant>,
    /// When the last group went.
    last_sent: Option<Instant>,
    /// The position has moved without a delivery to settle.
    moved: bool,
    /// The highest sequence that the ledger knows to have been read.
    written: u64,
}

impl Writer {
    /// The writer of a partition that `owner` has just claimed with the log message `log`. How
    /// late each event was settled goes to `settling`.
    pub fn new(
        ledger: Arc<Ledger>,
        commits: mpsc::Sender<Commit>,
        owner: [u8; 16],
        log: u64,
        position: Position,
        grouping: Grouping,
        settling: Delays,
    ) -> Self {
        Self {
            ledger,
            commits,
            owner,
            number: 0,
            log,
            written: position.last(),
            position,
            grouping,
            settling,
            in_flight: None,
            waiting_since: None,
            last_sent: None,
            moved: false,
        }
    }

    /// Where the partition stands.
    pub fn position(&mut self) -> &mut Position {
        &mut self.position
    }

    /// Everything up to this sequence is known not to concern the plug-in.
    pub fn skip_to(&mut self, sequence: u64) {
        self.position.skip_to(sequence);
        // Those too that were read and did not concern it: nothing of them was to be settled.
        self.moved |= self.written < self.position.last();
    }

    /// Nothing waits and nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_none() && self.ledger.staging().is_empty()
    }

    /// When the group that waits has to go; none while nothing waits or a commit is under way.
    /// Where events are to be settled soon it does not wait for more of them.
    pub fn due(&mut self, soon: bool) -> Option<Instant> {
        let Waiting { deliveries, bytes } = self.ledger.staging().waiting();
        if self.in_flight.is_some() || deliveries == 0 {
            return None;
        }
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        if soon || self.grouping.events <= deliveries || MAX_BATCH_BYTES <= bytes {
            return Some(since);
        }
        Some(goes_at(since, self.last_sent, self.grouping.delay))
    }

    /// Sends the waiting group off when it is due.
    pub async fn start(&mut self, soon: bool) -> Result<(), Error> {
        let due = self.due(soon).is_some_and(|due| due <= Instant::now());
        let move_only = self.moved && self.in_flight.is_none() && self.is_idle();
        if !due && !move_only {
            return Ok(());
        }
        self.waiting_since = None;
        self.last_sent = Some(Instant::now());
        self.moved = false;
        let mut settled = self.ledger.staging().take(Bounds {
            deliveries: self.grouping.events,
            messages: MAX_BATCH_MESSAGES - 1,
            bytes: MAX_BATCH_BYTES,
        });
        for sequence in settled.iter().filter_map(|part| part.sequence) {
            self.position.close(sequence);
        }
        self.number += 1;
        self.written = self.position.last();
        let entry = Entry {
            owner: self.owner,
            number: self.number,
            position: self.position.pack(),
            finished: settled.iter().filter_map(|part| part.finished).collect(),
        };
        let effects: Vec<_> = settled
            .iter_mut()
            .flat_map(|part| std::mem::take(&mut part.effects))
            .collect();
        let (done, result) = oneshot::channel();
        let commit = Commit {
            log: message::log(self.ledger.name(), self.log, entry.encode()),
            owner: self.owner,
            number: self.number,
            effects: message::latest(effects.into_iter()),
            deliveries: settled.len(),
            done,
        };
        self.commits
            .send(commit)
            .await
            .map_err(|_closed| Error::Stopped)?;
        self.in_flight = Some(InFlight { result, settled });
        Ok(())
    }

    /// Waits for the commit under way; for ever when there is none. Cancel-safe.
    pub async fn committed(&mut self) -> Result<(), Error> {
        let Some(in_flight) = &mut self.in_flight else {
            return std::future::pending().await;
        };
        let sequence = (&mut in_flight.result)
            .await
            .map_err(|_closed| Error::Stopped)??;
        self.log = sequence;
        let settled = self.in_flight.take().map(|f| f.settled).unwrap_or_default();
        let handled = settled.iter().filter_map(|part| part.handled);
        self.settling.observe(handled, clock::unix_nanos());
        let staging = self.ledger.staging();
        staging.logged(sequence);
        let keys = settled.iter().flat_map(|part| &part.state_keys);
        staging.state().committed(keys.map(String::as_str));
        Ok(())
    }
}

/// When a group goes that waits since then and is not full.
fn goes_at(since: Instant, last: Option<Instant>, delay: Duration) -> Instant {
    last.map_or(since, |last| since.max(last + delay))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_after_a_pause_goes_at_once_and_the_next_waits() {
        let (start, delay) = (Instant::now(), Duration::from_millis(2));
        let later = |millis| start + Duration::from_millis(millis);
        assert_eq!(goes_at(start, None, delay), start);
        assert_eq!(goes_at(later(1), Some(start), delay), later(2));
        assert_eq!(goes_at(later(9), Some(start), delay), later(9));
    }
}

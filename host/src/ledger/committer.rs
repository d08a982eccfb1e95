//! Takes the commits of all partitions of this host, gives each its sequence in the ledger.
//!
//! A commit without effects is one message and goes by itself; those with effects share
//! atomic batches, since a batch costs the same whatever its size. The expectation on each
//! log message is the fence: whoever is not the owner any more fails it.
//!
//! With `ledger.mode = "off"` nothing is atomic: the effects of a commit go out side by side,
//! and its log message behind them, so that a crash in between repeats them.

use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::stream::{LastRawMessageErrorKind, Stream};
use futures_util::StreamExt;
use futures_util::future::{join_all, try_join_all};
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::batch::{self, Failure};
use super::entry::Entry;
use super::message::Message;
use crate::config::LedgerMode;
use crate::metrics::Metrics;

#[cfg(debug_assertions)]
mod broken;

/// The server takes this many messages in one batch.
pub const MAX_BATCH_MESSAGES: usize = 1_000;
/// A batch is held in memory by the server until it is whole.
pub const MAX_BATCH_BYTES: usize = 4 << 20;
const WAIT_FIRST: Duration = Duration::from_millis(50);
const WAIT_LONGEST: Duration = Duration::from_secs(2);

/// One commit of one partition.
#[derive(Debug)]
pub struct Commit {
    /// The log message, with its expectation.
    pub log: Message,
    /// Who writes it: finds it again when the answer was lost.
    pub owner: [u8; 16],
    /// The owner's count, as in the log message.
    pub number: u64,
    /// State, outbox, retries, dead letters.
    pub effects: Vec<Message>,
    /// How many deliveries it settles.
    pub deliveries: usize,
    /// Where the result goes.
    pub done: oneshot::Sender<Result<u64, Fenced>>,
}

/// Another host owns the partition now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("another host has taken the partition over")]
pub struct Fenced;

impl Commit {
    fn messages(&self) -> usize {
        1 + self.effects.len()
    }

    fn bytes(&self) -> usize {
        self.log.size() + self.effects.iter().map(Message::size).sum::<usize>()
    }

    fn finish(self, result: Result<u64, Fenced>) {
        // The partition may have stopped meanwhile; the commit stands all the same.
        let _ = self.done.send(result);
    }
}

/// The one task of a host that writes to the ledger.
pub struct Committer {
    context: Context,
    ledger: Stream,
    mode: LedgerMode,
    metrics: Metrics,
}

impl Committer {
    /// Writes through this context to this stream.
    pub fn new(context: Context, ledger: Stream, mode: LedgerMode, metrics: Metrics) -> Self {
        Self {
            context,
            ledger,
            mode,
            metrics,
        }
    }

    /// Commits what comes in until the senders are gone, or the stop is called while the
    /// broker does not answer.
    pub async fn run(self, mut incoming: mpsc::Receiver<Commit>, stop: CancellationToken) {
        let mut waiting = Vec::new();
        let mut in_trouble = FuturesUnordered::new();
        loop {
            tokio::select! {
                count = incoming.recv_many(&mut waiting, 256) => if count == 0 { break },
                Some(()) = in_trouble.next() => continue,
            }
            let (alone, shared): (Vec<_>, Vec<_>) = waiting
                .drain(..)
                .partition(|commit| self.goes_alone(commit));
            let alone = alone.into_iter().map(|commit| self.attempt(vec![commit]));
            let mut failed: Vec<_> = join_all(alone).await.into_iter().flatten().collect();
            for group in pack(shared) {
                failed.extend(self.attempt(group).await);
            }
            // What the broker does not take is seen to beside the others: a partition in
            // trouble stops nobody else's commits.
            for (group, failure) in failed {
                in_trouble.push(self.mend(group, failure, &stop));
            }
        }
        while in_trouble.next().await.is_some() {}
    }

    fn goes_alone(&self, commit: &Commit) -> bool {
        commit.effects.is_empty() || self.mode == LedgerMode::Off
    }

    /// Writes a group once; gives it back when that failed.
    async fn attempt(&self, group: Vec<Commit>) -> Option<(Vec<Commit>, Failure)> {
        let started = tokio::time::Instant::now();
        match self.write(&group).await {
            Ok(sequences) => {
                let deliveries = group.iter().map(|commit| commit.deliveries).sum();
                self.metrics.committed(deliveries, started.elapsed());
                for (commit, sequence) in group.into_iter().zip(sequences) {
                    commit.finish(Ok(sequence));
                }
                None
            }
            Err(failure) => Some((group, failure)),
        }
    }

    /// Brings every commit of a group that failed to its end: written, or fenced.
    async fn mend(&self, group: Vec<Commit>, failure: Failure, stop: &CancellationToken) {
        let mut left = vec![(group, failure)];
        let mut wait = WAIT_FIRST;
        loop {
            let mut open = Vec::new();
            for (group, failure) in left {
                open.extend(self.look_into(group, failure).await);
            }
            if open.is_empty() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => wait = (wait * 2).min(WAIT_LONGEST),
                () = stop.cancelled() => return,
            }
            left = Vec::new();
            for group in open {
                left.extend(self.attempt(group).await);
            }
            if left.is_empty() {
                return;
            }
        }
    }

    /// What is to be tried again after a failure, and in which groups.
    async fn look_into(&self, group: Vec<Commit>, failure: Failure) -> Vec<Vec<Commit>> {
        match failure {
            // The server does not say which of them it does not like: each on its own.
            Failure::WrongSequence | Failure::Refused(_) if 1 < group.len() => {
                group.into_iter().map(|commit| vec![commit]).collect()
            }
            // Alone and out of sequence: either an earlier try of this very commit landed
            // and its answer was lost, or another host has taken over.
            Failure::WrongSequence => pack(self.without_landed(group, true).await),
            Failure::Unanswered(error) => {
                tracing::warn!(%error, "no answer to a commit; looking whether it landed");
                pack(self.without_landed(group, false).await)
            }
            Failure::Refused(error) => {
                tracing::error!(
                    %error, stream = "LEDGER",
                    "the broker refuses a commit; nothing is lost, trying again"
                );
                vec![group]
            }
        }
    }

    /// Gives the sequence of each commit's log message.
    async fn write(&self, group: &[Commit]) -> Result<Vec<u64>, Failure> {
        #[cfg(debug_assertions)]
        if broken::is_wanted() {
            return broken::write(&self.context, group).await;
        }
        match group {
            [only] if self.goes_alone(only) => {
                let effects = only.effects.iter();
                try_join_all(effects.map(|effect| batch::one(&self.context, effect))).await?;
                Ok(vec![batch::one(&self.context, &only.log).await?])
            }
            several => {
                let messages: Vec<&Message> = several
                    .iter()
                    .flat_map(|commit| std::iter::once(&commit.log).chain(&commit.effects))
                    .collect();
                let last = batch::atomic(&self.context, &messages).await?;
                Ok(sequences(several, last))
            }
        }
    }

    /// Finishes the commits that are in the ledger already; gives back the others. One that
    /// was `refused` and is not there is fenced.
    async fn without_landed(&self, group: Vec<Commit>, refused: bool) -> Vec<Commit> {
        let mut open = Vec::with_capacity(group.len());
        for commit in group {
            match self.newest(&commit.log.subject).await {
                Some(Some((entry, sequence)))
                    if entry.owner == commit.owner && entry.number == commit.number =>
                {
                    commit.finish(Ok(sequence));
                }
                Some(_) if refused => commit.finish(Err(Fenced)),
                Some(_) | None => open.push(commit),
            }
        }
        open
    }

    /// The newest log entry of a subject: `None` when the broker did not answer.
    async fn newest(&self, subject: &str) -> Option<Option<(Entry, u64)>> {
        match self.ledger.get_last_raw_message_by_subject(subject).await {
            Ok(message) => match Entry::decode(&message.payload) {
                Ok(entry) => Some(Some((entry, message.sequence))),
                // Written by another version: certainly not by this process.
                Err(_) => Some(None),
            },
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Some(None),
            Err(_) => None,
        }
    }
}

/// The messages of a batch stand one after another in the stream, so the last sequence
/// tells that of each log message.
fn sequences(group: &[Commit], last: u64) -> Vec<u64> {
    let count: usize = group.iter().map(Commit::messages).sum();
    let first = last + 1 - count as u64;
    let behind = |next: &mut u64, commit: &Commit| {
        let log = *next;
        *next += commit.messages() as u64;
        Some(log)
    };
    group.iter().scan(first, behind).collect()
}

/// Groups of commits that fit one batch each, in their order.
fn pack(commits: Vec<Commit>) -> Vec<Vec<Commit>> {
    let mut groups = Vec::new();
    let (mut group, mut messages, mut bytes) = (Vec::new(), 0, 0);
    for commit in commits {
        let (more, size) = (commit.messages(), commit.bytes());
        let full = MAX_BATCH_MESSAGES < messages + more || MAX_BATCH_BYTES < bytes + size;
        if full && !group.is_empty() {
            groups.push(std::mem::take(&mut group));
            (messages, bytes) = (0, 0);
        }
        messages += more;
        bytes += size;
        group.push(commit);
    }
    if !group.is_empty() {
        groups.push(group);
    }
    groups
}

#[cfg(test)]
mod tests {
    use async_nats::HeaderMap;
    use bytes::Bytes;

    use super::*;

    fn message(bytes: usize) -> Message {
        Message {
            subject: "ledger.p.0.log".to_owned(),
            headers: HeaderMap::new(),
            payload: Bytes::from(vec![0; bytes]),
            replaces: false,
        }
    }

    fn commit(effects: usize, bytes: usize) -> Commit {
        Commit {
            log: message(10),
            owner: [0; 16],
            number: 1,
            effects: (0..effects).map(|_| message(bytes)).collect(),
            deliveries: 1,
            done: oneshot::channel().0,
        }
    }

    #[test]
    fn groups_keep_the_servers_limits_and_the_order() {
        let commits: Vec<Commit> = [600, 300, 99, 1, 2]
            .into_iter()
            .map(|n| commit(n, 1))
            .collect();
        let sizes: Vec<Vec<usize>> = pack(commits)
            .iter()
            .map(|group| group.iter().map(|commit| commit.effects.len()).collect())
            .collect();
        assert_eq!(sizes, [vec![600, 300], vec![99, 1, 2]]);
    }

    #[test]
    fn a_commit_over_the_byte_limit_goes_alone() {
        let commits = vec![commit(1, 10), commit(5, MAX_BATCH_BYTES), commit(1, 10)];
        assert_eq!(pack(commits).len(), 3);
    }

    #[test]
    fn each_commit_learns_the_sequence_of_its_log_message() {
        let group = [commit(2, 1), commit(1, 1)];
        assert_eq!(sequences(&group, 14), [10, 13]);
    }
}

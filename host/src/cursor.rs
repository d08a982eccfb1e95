//! Takes a stream and a position, gives its messages in order from there on, without acks.
//!
//! The position lives in the ledger, so the consumer behind a cursor is thrown away and
//! made anew whenever anything about it is in doubt: a gap, a missed heartbeat, a broken
//! connection, a server that restarted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::pull::MessagesErrorKind;
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy, pull};
use async_nats::jetstream::stream::Stream;
use async_nats::jetstream::{Context, Message};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::timeout;

use self::lean::{Lean, MANY};
use crate::claim_check;

mod lean;
mod lookup;

pub use self::lookup::{load, quiet_up_to};

/// How many messages the server may send ahead.
const BATCH: usize = 1_000;
/// And how many bytes of them.
const BATCH_BYTES: usize = 16 << 20;
/// How many messages are given out at once, if so many are there,
const CHUNK: usize = 64;
/// and about how many bytes of them.
const CHUNK_BYTES: usize = 1 << 20;
const HEARTBEAT: Duration = Duration::from_secs(2);
const EXPIRES: Duration = Duration::from_secs(10);
/// When nobody has taken a message for so long, what stands behind it is counted anew.
const STALLED: Duration = Duration::from_secs(1);
const WAIT_FIRST: Duration = Duration::from_millis(50);
const WAIT_LONGEST: Duration = Duration::from_secs(2);

/// One message of the event store.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Where it stands in the store.
    pub sequence: u64,
    /// With the slot.
    pub subject: String,
    /// As they were published.
    pub headers: Option<HeaderMap>,
    /// The body, shared with the client's read buffer.
    pub payload: Bytes,
    /// Unix milliseconds at which the store took it.
    pub published: u64,
}

/// What a cursor gives.
#[derive(Debug)]
pub enum Read {
    /// A message.
    Delivery(Delivery),
    /// The store begins behind these sequences now: nobody has read them.
    Lost {
        /// The first.
        from: u64,
        /// The last.
        to: u64,
    },
}

/// Reads one share of the event store.
pub struct Cursor {
    context: Context,
    events: Stream,
    subjects: Vec<String>,
    lean: Option<Lean>,
    /// The highest sequence that was given out.
    last: u64,
    unread: Arc<Unread>,
    open: Option<Open>,
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

struct Open {
    consumer: Consumer<pull::Config>,
    messages: pull::Stream,
    /// The number of the last message that this consumer sent.
    count: u64,
    missed_heartbeats: u32,
    /// Up to where it may be without the replays; none when it reads them.
    lean_until: Option<u64>,
}

/// Why the consumer behind a cursor was given up.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("the broker refuses a consumer: {0}")]
    Refused(String),
    #[error("messages {expected} to {found} of the consumer are missing")]
    Gap { expected: u64, found: u64 },
    #[error("{0}")]
    Client(String),
    #[error("the consumer is gone")]
    Ended,
}

impl Cursor {
    /// Reads these subjects from `floor + 1` on, and keeps `unread` up to date.
    pub fn new(
        context: Context,
        events: Stream,
        subjects: Vec<String>,
        floor: u64,
        unread: Arc<Unread>,
    ) -> Self {
        Self {
            context,
            events,
            lean: Lean::of(&subjects),
            subjects,
            last: floor,
            unread,
            open: None,
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
                if self.give(&feed, reads).await.is_err() {
                    return;
                }
            }
            match broken {
                Ok(()) => {}
                Err(broken) => {
                    self.open = None;
                    tracing::warn!(
                        subjects = ?self.subjects, after = self.last, reason = %broken,
                        "reading starts again"
                    );
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(WAIT_LONGEST);
                }
            }
            if feed.is_closed() {
                return;
            }
        }
    }

    /// Waits for a message, and takes those that have come with it.
    async fn read(&mut self, reads: &mut Vec<Read>) -> Result<(), Broken> {
        let mut bytes = 0;
        while reads.len() < CHUNK && bytes < CHUNK_BYTES {
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
        let count = reads.len() as u64;
        // What comes behind others is not the oldest.
        if self.unread.fed.fetch_add(count, Ordering::Relaxed) == 0
            && let Some(Read::Delivery(first)) = reads.first()
        {
            self.unread
                .since
                .fetch_max(first.published, Ordering::Relaxed);
        }
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
        if let Ok(info) = open.consumer.get_info().await {
            let sent = info.delivered.consumer_sequence.saturating_sub(open.count);
            let behind = info.num_pending + sent;
            self.unread.behind.store(behind, Ordering::Relaxed);
        }
    }

    /// None when no message is there and it is not to wait for one.
    async fn try_next(&mut self, waits: bool) -> Result<Option<Read>, Broken> {
        loop {
            if self.open.is_none() {
                if !waits {
                    return Ok(None);
                }
                if let Some(lost) = self.lost().await? {
                    return Ok(Some(lost));
                }
                self.open = Some(self.opened().await?);
            }
            let Some(open) = &mut self.open else {
                continue;
            };
            let next = match waits {
                true => open.messages.next().await,
                false => match open.messages.next().now_or_never() {
                    Some(next) => next,
                    None => return Ok(None),
                },
            };
            match next {
                Some(Ok(message)) => {
                    open.missed_heartbeats = 0;
                    let (mut delivery, behind) = open.checked(message)?;
                    let is_over = |until| until < delivery.sequence;
                    if open.lean_until.is_some_and(is_over) && !self.stays_lean(behind).await? {
                        self.open = None;
                        continue;
                    }
                    self.unread.behind.store(behind, Ordering::Relaxed);
                    // A consumer that was made anew may repeat what was given out.
                    if self.last < delivery.sequence {
                        let redeemed = claim_check::redeem(&self.context, &mut delivery).await;
                        redeemed.map_err(|error| Broken::Client(error.to_string()))?;
                        self.last = delivery.sequence;
                        return Ok(Some(Read::Delivery(delivery)));
                    }
                }
                Some(Err(error)) if error.kind() == MessagesErrorKind::MissingHeartbeat => {
                    // One is missed whenever this side did not read for a while.
                    open.missed_heartbeats += 1;
                    if 1 < open.missed_heartbeats {
                        return Err(Broken::Client(error.to_string()));
                    }
                }
                Some(Err(error)) => return Err(Broken::Client(error.to_string())),
                None => return Err(Broken::Ended),
            }
        }
    }

    /// What left the store before it was read, looked for whenever reading starts again.
    async fn lost(&mut self) -> Result<Option<Read>, Broken> {
        let info = self.events.get_info().await;
        let info = info.map_err(|error| Broken::Client(error.to_string()))?;
        let (from, first) = (self.last + 1, info.state.first_sequence);
        if first <= from {
            return Ok(None);
        }
        self.last = first - 1;
        let to = self.last;
        Ok(Some(Read::Lost { from, to }))
    }

    /// Whether the consumer may go on without the replays: up to where is noted.
    async fn stays_lean(&mut self, behind: u64) -> Result<bool, Broken> {
        let (Some(lean), Some(open)) = (&self.lean, &mut self.open) else {
            return Ok(false);
        };
        if behind < MANY {
            return Ok(false);
        }
        let until = lean.until(&self.events, self.last).await;
        open.lean_until = until.map_err(Broken::Client)?;
        Ok(open.lean_until.is_some())
    }

    async fn opened(&self) -> Result<Open, Broken> {
        let mut consumer = self.consumer(self.subjects.clone()).await?;
        let mut lean_until = None;
        if let Some(lean) = &self.lean
            && MANY <= consumer.cached_info().num_pending
        {
            let until = lean.until(&self.events, self.last).await;
            lean_until = until.map_err(Broken::Client)?;
            if lean_until.is_some() {
                let whole = consumer;
                consumer = self.consumer(vec![lean.subject.clone()]).await?;
                // It would expire by itself; this is only tidier.
                let _ = self.events.delete_consumer(&whole.cached_info().name).await;
            }
        }
        let pending = consumer.cached_info().num_pending;
        self.unread.behind.store(pending, Ordering::Relaxed);
        self.unread.is_known.store(true, Ordering::Relaxed);
        let messages = consumer
            .stream()
            .max_messages_per_batch(BATCH)
            .max_bytes_per_batch(BATCH_BYTES)
            .heartbeat(HEARTBEAT)
            .expires(EXPIRES)
            .messages()
            .await
            .map_err(|error| Broken::Refused(error.to_string()))?;
        Ok(Open {
            consumer,
            messages,
            count: 0,
            missed_heartbeats: 0,
            lean_until,
        })
    }

    async fn consumer(&self, subjects: Vec<String>) -> Result<Consumer<pull::Config>, Broken> {
        let config = consumer(subjects, self.last);
        let created = self.events.create_consumer(config).await;
        created.map_err(|error| Broken::Refused(error.to_string()))
    }
}

fn consumer(subjects: Vec<String>, after: u64) -> pull::Config {
    pull::Config {
        filter_subjects: subjects,
        deliver_policy: DeliverPolicy::ByStartSequence {
            start_sequence: after + 1,
        },
        ack_policy: AckPolicy::None,
        memory_storage: true,
        num_replicas: 1,
        inactive_threshold: Duration::from_secs(60),
        ..pull::Config::default()
    }
}

impl Open {
    /// Counts the consumer's messages: one that is missing was lost on the way. Gives also how
    /// many stood behind it when the server sent it.
    fn checked(&mut self, message: Message) -> Result<(Delivery, u64), Broken> {
        let info = message
            .info()
            .map_err(|error| Broken::Client(error.to_string()))?;
        let found = info.consumer_sequence;
        if found != self.count + 1 {
            return Err(Broken::Gap {
                expected: self.count + 1,
                found,
            });
        }
        self.count = found;
        let behind = info.pending;
        let published = u64::try_from(info.published.unix_timestamp_nanos() / 1_000_000);
        let sequence = info.stream_sequence;
        let Message { message, .. } = message;
        let delivery = Delivery {
            sequence,
            subject: message.subject.into_string(),
            headers: message.headers,
            payload: message.payload,
            published: published.unwrap_or(0),
        };
        Ok((delivery, behind))
    }
}

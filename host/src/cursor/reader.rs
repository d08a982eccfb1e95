//! Takes subjects and a place in the event store, gives what stands behind it, in order and without acks.
//!
//! A consumer of the broker's that is thrown away whenever anything about it is in doubt: a gap,
//! a missed heartbeat, a broken connection, a server that restarted.

use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::pull::{self, MessagesErrorKind};
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy};
use async_nats::jetstream::stream::Stream;
use futures_util::{FutureExt, StreamExt};

use crate::delivery::Delivery;
use crate::redacted;

/// How many messages the server may send ahead.
const BATCH: usize = 1_000;
/// And how many bytes of them.
const BATCH_BYTES: usize = 16 << 20;
const HEARTBEAT: Duration = Duration::from_secs(2);
const EXPIRES: Duration = Duration::from_secs(10);

/// A consumer that sends messages.
pub(crate) struct Reader {
    consumer: Consumer<pull::Config>,
    messages: pull::Stream,
    /// The number of the last message that it sent.
    count: u64,
    missed_heartbeats: u32,
}

/// Why a consumer was given up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("the broker refuses a consumer: {0}")]
    Refused(String),
    #[error("messages {expected} to {found} of the consumer are missing")]
    Gap { expected: u64, found: u64 },
    #[error("{0}")]
    Client(String),
    #[error("the consumer is gone")]
    Ended,
}

/// Where the store begins and ends now.
pub(crate) struct Bounds {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

/// Asks the broker.
pub(crate) async fn bounds(events: &Stream) -> Result<Bounds, Broken> {
    let info = events.get_info().await;
    let state = info.map_err(client)?.state;
    Ok(Bounds {
        first: state.first_sequence,
        last: state.last_sequence,
    })
}

fn client(error: impl std::fmt::Display) -> Broken {
    Broken::Client(error.to_string())
}

/// A consumer that has not sent anything yet. It says how many messages wait.
pub(crate) async fn consumer(
    events: &Stream,
    subjects: Vec<String>,
    after: u64,
) -> Result<Consumer<pull::Config>, Broken> {
    let config = pull::Config {
        filter_subjects: subjects,
        deliver_policy: DeliverPolicy::ByStartSequence {
            start_sequence: after + 1,
        },
        ack_policy: AckPolicy::None,
        memory_storage: true,
        num_replicas: 1,
        inactive_threshold: Duration::from_secs(60),
        ..pull::Config::default()
    };
    let created = events.create_consumer(config).await;
    created.map_err(|error| Broken::Refused(error.to_string()))
}

/// Lets the broker forget a consumer. It would by itself, later.
pub(crate) async fn forget(events: &Stream, consumer: &Consumer<pull::Config>) {
    // Without an answer it expires.
    let _ = events.delete_consumer(&consumer.cached_info().name).await;
}

impl Reader {
    /// Has the consumer send.
    pub(crate) async fn of(consumer: Consumer<pull::Config>) -> Result<Self, Broken> {
        let messages = consumer
            .stream()
            .max_messages_per_batch(BATCH)
            .max_bytes_per_batch(BATCH_BYTES)
            .heartbeat(HEARTBEAT)
            .expires(EXPIRES)
            .messages()
            .await
            .map_err(|error| Broken::Refused(error.to_string()))?;
        Ok(Self {
            consumer,
            messages,
            count: 0,
            missed_heartbeats: 0,
        })
    }

    /// Ends it at the broker too.
    pub(crate) async fn end(self, events: &Stream) {
        forget(events, &self.consumer).await;
    }

    /// The next message, and how many stood behind it when the server sent it. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<(Delivery, u64), Broken> {
        loop {
            let next = self.messages.next().await;
            if let Some(found) = self.checked(next)? {
                return Ok(found);
            }
        }
    }

    /// The same, but none where it would have to be waited for.
    pub(crate) fn next_there(&mut self) -> Result<Option<(Delivery, u64)>, Broken> {
        while let Some(next) = self.messages.next().now_or_never() {
            if let Some(found) = self.checked(next)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// How many messages this side has not seen; none without an answer.
    pub(crate) async fn unseen(&self) -> Option<u64> {
        let info = self.consumer.get_info().await.ok()?;
        let sent = info.delivered.consumer_sequence.saturating_sub(self.count);
        Some(info.num_pending + sent)
    }

    fn checked(
        &mut self,
        next: Option<Result<Message, pull::MessagesError>>,
    ) -> Result<Option<(Delivery, u64)>, Broken> {
        match next {
            Some(Ok(message)) => {
                self.missed_heartbeats = 0;
                self.counted(message).map(Some)
            }
            Some(Err(error)) if error.kind() == MessagesErrorKind::MissingHeartbeat => {
                // One is missed whenever this side did not read for a while.
                self.missed_heartbeats += 1;
                match self.missed_heartbeats {
                    1 => Ok(None),
                    _ => Err(client(error)),
                }
            }
            Some(Err(error)) => Err(client(error)),
            None => Err(Broken::Ended),
        }
    }

    /// Counts the consumer's messages: one that is missing was lost on the way.
    fn counted(&mut self, message: Message) -> Result<(Delivery, u64), Broken> {
        let info = message.info().map_err(client)?;
        let found = info.consumer_sequence;
        if found != self.count + 1 {
            return Err(Broken::Gap {
                expected: self.count + 1,
                found,
            });
        }
        self.count = found;
        let behind = info.pending;
        let stored = u64::try_from(info.published.unix_timestamp_nanos()).unwrap_or(0);
        let sequence = info.stream_sequence;
        let Message { message, .. } = message;
        let delivery = Delivery {
            sequence,
            subject: message.subject.into_string(),
            is_envelope: redacted::is_envelope(message.headers.as_ref()),
            headers: message.headers,
            payload: message.payload,
            stored,
            ..Delivery::default()
        };
        Ok((delivery, behind))
    }
}

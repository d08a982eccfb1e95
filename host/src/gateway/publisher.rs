//! Takes messages, gives the broker's word that it has them, or why it has not, within a second.

use std::collections::VecDeque;
use std::future::IntoFuture as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_nats::Client;
use async_nats::connection::State;
use async_nats::jetstream::context::{PublishAckFuture, PublishError, PublishErrorKind};
use async_nats::jetstream::publish::PublishAck;
use async_nats::jetstream::{self, Context, ErrorCode};
use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::outgoing::Outgoing;
use crate::claim_check;

/// The answer to a sender comes within a second of its request, and this leaves some of it.
const PATIENCE: Duration = Duration::from_millis(800);
/// A broker that restarts is back in a moment; then nobody has to send again.
const AWAY_PATIENCE: Duration = Duration::from_millis(400);
/// More than headers ever take: only where this does not fit, they are counted.
const HEADROOM: usize = 64 << 10;
/// Messages of one request that wait for the broker's word at once.
const AHEAD: usize = 512;
const AWAY_POLL: Duration = Duration::from_millis(20);

/// The stream refuses for want of room.
const INSUFFICIENT_RESOURCES: u64 = 10_023;
const STORAGE_RESOURCES_EXCEEDED: u64 = 10_047;
const MEMORY_RESOURCES_EXCEEDED: u64 = 10_028;
const STREAM_STORE_FAILED: u64 = 10_077;

/// The broker has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Where it stands in its stream.
    pub sequence: u64,
    /// It stood there already.
    pub duplicate: bool,
}

/// Why the broker does not have a message, or nobody knows whether it has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No connection: the message was not sent.
    #[error("the broker is away: {0}")]
    Away(String),
    /// It was sent and nothing came back, so the broker may have it.
    #[error("the broker did not answer: {0}")]
    Unanswered(String),
    /// The stream has no room.
    #[error("the event store is full: {0}")]
    Full(String),
    /// The broker will not take this message, ever.
    #[error("the broker refuses the message: {0}")]
    Refused(String),
}

/// Publishes on the host's connection, once there is one.
#[derive(Debug, Clone)]
pub struct Publisher {
    broker: watch::Receiver<Option<Context>>,
    /// The same once there is one, and its client: neither is exchanged, and each costs a
    /// dozen counters to clone.
    known: OnceLock<(Context, Client)>,
    /// How long a message waits for a broker that is away.
    away_patience: Duration,
    /// Largest message of the broker in bytes; 0 when it has to be asked.
    max_payload: Arc<AtomicUsize>,
}

impl Publisher {
    /// `waits`: whether a broker that is away is waited for, a little.
    pub fn new(broker: watch::Receiver<Option<Context>>, waits: bool) -> Self {
        let away_patience = if waits { AWAY_PATIENCE } else { Duration::ZERO };
        Self {
            broker,
            known: OnceLock::new(),
            away_patience,
            max_payload: Arc::default(),
        }
    }

    /// Publishes one message and waits for the broker's word. A body that is too big for one
    /// message goes to the object store first.
    ///
    /// # Errors
    /// [`Error`], within a second.
    pub async fn publish(&self, outgoing: Outgoing) -> Result<Stored, Error> {
        let deadline = Instant::now() + PATIENCE;
        let context = self.connected().await?;
        let attempt = async {
            let ack = self.send(context, outgoing).await?;
            self.stored(ack.await)
        };
        timeout_at(deadline, attempt).await.map_err(late)?
    }

    /// Publishes the messages in their order, and waits for the broker's words side by side.
    ///
    /// # Errors
    /// [`Error`], within a second of the last word: a long batch may take longer than that.
    pub async fn publish_all(&self, outgoing: Vec<Outgoing>) -> Result<Vec<Stored>, Error> {
        let context = self.connected().await?;
        let mut stored = Vec::with_capacity(outgoing.len());
        let mut under_way = VecDeque::with_capacity(AHEAD);
        for one in outgoing {
            if AHEAD <= under_way.len() {
                stored.push(self.next(&mut under_way).await?);
            }
            let sent = timeout(PATIENCE, self.send(context, one)).await;
            under_way.push_back(sent.map_err(late)??);
        }
        while !under_way.is_empty() {
            stored.push(self.next(&mut under_way).await?);
        }
        Ok(stored)
    }

    async fn next(&self, under_way: &mut VecDeque<PublishAckFuture>) -> Result<Stored, Error> {
        let Some(ack) = under_way.pop_front() else {
            return Err(Error::Unanswered("nothing is under way".to_owned()));
        };
        let answer = timeout(PATIENCE, ack.into_future()).await;
        self.stored(answer.map_err(late)?)
    }

    async fn send(&self, context: &Context, outgoing: Outgoing) -> Result<PublishAckFuture, Error> {
        let limit = self.max_payload(context);
        let fits = outgoing.payload.len() + HEADROOM <= limit || outgoing.size() <= limit;
        let Outgoing {
            subject,
            headers,
            payload,
            ..
        } = if fits {
            outgoing
        } else {
            check_in(context, outgoing).await?
        };
        let sent = context
            .publish_with_headers(subject, headers, payload)
            .await;
        sent.map_err(|error| self.sorted(&error))
    }

    fn stored(&self, answer: Result<PublishAck, PublishError>) -> Result<Stored, Error> {
        let ack = answer.map_err(|error| self.sorted(&error))?;
        Ok(Stored {
            sequence: ack.sequence,
            duplicate: ack.duplicate,
        })
    }

    fn sorted(&self, error: &PublishError) -> Error {
        if error.kind() == PublishErrorKind::MaxPayloadExceeded {
            // The server came back with another limit.
            self.max_payload.store(0, Ordering::Relaxed);
        }
        sorted(error)
    }

    fn max_payload(&self, context: &Context) -> usize {
        match self.max_payload.load(Ordering::Relaxed) {
            0 => {
                let asked = context.client().server_info().max_payload;
                self.max_payload.store(asked, Ordering::Relaxed);
                asked
            }
            known => known,
        }
    }

    /// The event store and the rest of the broker, once the host has been connected.
    pub fn context(&self) -> Option<&Context> {
        self.known().map(|(context, _)| context)
    }

    fn known(&self) -> Option<&(Context, Client)> {
        if self.known.get().is_none() {
            let context = self.broker.borrow().clone()?;
            let client = context.client();
            let _ = self.known.set((context, client));
        }
        self.known.get()
    }

    /// While the broker is away the client would keep what is published, and send all of it
    /// when it is back, whatever the senders were told meanwhile.
    async fn connected(&self) -> Result<&Context, Error> {
        let deadline = Instant::now() + self.away_patience;
        loop {
            let reason = match self.known() {
                Some((context, client)) if client.connection_state() == State::Connected => {
                    return Ok(context);
                }
                Some(_) => "reconnecting",
                None => "the host has not been connected since it started",
            };
            if deadline <= Instant::now() {
                return Err(Error::Away(reason.to_owned()));
            }
            sleep(AWAY_POLL).await;
        }
    }
}

/// The same message without its body, which stands in the object store then.
///
/// # Errors
/// When the object store does not take it.
pub(crate) async fn check_in(context: &Context, mut outgoing: Outgoing) -> Result<Outgoing, Error> {
    let reference = claim_check::put(context, &outgoing.payload)
        .await
        .map_err(|error| Error::Unanswered(error.to_string()))?;
    outgoing.headers.insert(claim_check::HEADER, reference);
    outgoing.payload = Bytes::new();
    Ok(outgoing)
}

fn late(_: Elapsed) -> Error {
    Error::Unanswered(format!("within {PATIENCE:?}"))
}

/// What the client's error comes to.
pub(crate) fn sorted(error: &PublishError) -> Error {
    let text = error.to_string();
    match error.kind() {
        PublishErrorKind::MaxPayloadExceeded
        | PublishErrorKind::StreamNotFound
        | PublishErrorKind::MaxAckPending => Error::Away(text),
        PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe => Error::Unanswered(text),
        PublishErrorKind::WrongLastMessageId | PublishErrorKind::WrongLastSequence => {
            Error::Refused(text)
        }
        PublishErrorKind::Other => match api_error(error) {
            Some(api) if is_full(api.error_code()) => Error::Full(text),
            Some(api) if api.code() < 500 => Error::Refused(text),
            Some(_) => Error::Away(text),
            None => Error::Unanswered(text),
        },
    }
}

fn is_full(code: ErrorCode) -> bool {
    let full = [
        INSUFFICIENT_RESOURCES,
        STORAGE_RESOURCES_EXCEEDED,
        MEMORY_RESOURCES_EXCEEDED,
        STREAM_STORE_FAILED,
    ];
    full.contains(&code.0)
}

fn api_error(error: &PublishError) -> Option<&jetstream::Error> {
    std::error::Error::source(error)?.downcast_ref()
}

//! Takes a stream, gives what stands in it: one message, or every one of a subject, in order.

use std::ops::ControlFlow;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy, pull};
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{RawMessageErrorKind, Stream};
use async_nats::jetstream::{self, Context};
use futures_util::StreamExt;

/// Why a subject could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is not there, or does not answer.
    #[error("no stream {0}: {1}")]
    Stream(String, String),
    /// The consumer was refused.
    #[error("no consumer on the stream: {0}")]
    Consumer(String),
    /// The messages did not all come.
    #[error("reading stopped before the end: {0}")]
    Messages(String),
}

/// A stream that is to be read.
///
/// # Errors
/// [`ReadError::Stream`].
pub async fn open(context: &Context, name: &str) -> Result<Stream, ReadError> {
    let stream = context.get_stream(name).await;
    stream.map_err(|error| ReadError::Stream(name.to_owned(), error.to_string()))
}

/// The message with this number, if it is there.
///
/// # Errors
/// [`ReadError::Messages`].
pub async fn message(stream: &Stream, sequence: u64) -> Result<Option<StreamMessage>, ReadError> {
    match stream.get_raw_message(sequence).await {
        Ok(message) => Ok(Some(message)),
        Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(ReadError::Messages(error.to_string())),
    }
}

/// Reads every message that stands on a subject now, in order.
pub async fn read_all(
    stream: &Stream,
    subject: &str,
    from: DeliverPolicy,
    mut each: impl FnMut(&jetstream::Message),
) -> Result<(), ReadError> {
    let what = pull::Config {
        filter_subject: subject.to_owned(),
        deliver_policy: from,
        ..pull::Config::default()
    };
    read(stream, what, |message| {
        each(message);
        ControlFlow::Continue(())
    })
    .await
}

/// Reads what stands in a stream now, in order, until `each` has seen enough. `what` says
/// which messages, and whether with their bodies; how they are read is not the caller's.
pub async fn read(
    stream: &Stream,
    what: pull::Config,
    each: impl FnMut(&jetstream::Message) -> ControlFlow<()>,
) -> Result<(), ReadError> {
    let consumer = stream
        .create_consumer(pull::Config {
            ack_policy: AckPolicy::None,
            memory_storage: true,
            num_replicas: 1,
            inactive_threshold: Duration::from_secs(30),
            ..what
        })
        .await
        .map_err(|error| ReadError::Consumer(error.to_string()))?;
    let read = read_from(&consumer, each).await;
    // It would expire by itself; until then each costs the broker memory.
    let _ = stream.delete_consumer(&consumer.cached_info().name).await;
    read
}

async fn read_from(
    consumer: &Consumer<pull::Config>,
    mut each: impl FnMut(&jetstream::Message) -> ControlFlow<()>,
) -> Result<(), ReadError> {
    let mut left = consumer.cached_info().num_pending;
    if left == 0 {
        return Ok(());
    }
    let mut messages = consumer
        .stream()
        .max_messages_per_batch(1_000)
        .heartbeat(Duration::from_secs(2))
        .expires(Duration::from_secs(10))
        .messages()
        .await
        .map_err(|error| ReadError::Messages(error.to_string()))?;
    while 0 < left {
        let next = messages
            .next()
            .await
            .ok_or_else(|| ReadError::Messages("the consumer went away".to_owned()))?
            .map_err(|error| ReadError::Messages(error.to_string()))?;
        if each(&next).is_break() {
            break;
        }
        left = next.info().map_or(left - 1, |info| info.pending);
    }
    Ok(())
}

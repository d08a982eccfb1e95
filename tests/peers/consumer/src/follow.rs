//! Takes a handler, gives how late a consumer around it was with each message that came.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail};
use async_nats::HeaderMap;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::{self, AckKind, Message};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::{Acks, config, messages};

/// What became of a message.
#[derive(Debug)]
pub enum Handled {
    /// It is done.
    Done,
    /// It is given up.
    GivenUp,
    /// It is done when this is stored.
    Emits(Output),
}

/// What is published of a message.
#[derive(Debug)]
pub struct Output {
    /// Where to.
    pub subject: String,
    /// What makes it an event.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// Handles each message that comes from now on, acknowledges it, and prints the percentiles of
/// how much later than the broker stored it the handler was through with it. `words` are `URL
/// STREAM FILTER WARM COUNT`: the first WARM messages do not count, the next COUNT are the last.
///
/// At least once: an output is stored before its message is acknowledged, and many of them are
/// under way at a time. Says `ready` when it will miss nothing.
///
/// # Errors
/// What the broker or the handler says.
pub async fn follow(
    words: &[String],
    mut handle: impl FnMut(&Message) -> Result<Handled>,
) -> Result<()> {
    let [url, stream, filter, warm, count] = words else {
        bail!("the last words are URL STREAM FILTER WARM COUNT");
    };
    let (warm, count): (usize, usize) = (warm.parse()?, count.parse()?);
    let client = async_nats::connect(url).await?;
    let jetstream = jetstream::new(client.clone());
    let stream = jetstream.get_stream(stream).await?;
    let config = config(filter, DeliverPolicy::New, Acks::Each);
    let consumer = stream.create_consumer(config).await?;
    let mut messages = messages(&consumer).await?;
    println!("ready");
    let mut delays = Vec::with_capacity(warm + count);
    let mut open = FuturesUnordered::new();
    while delays.len() < warm + count || !open.is_empty() {
        tokio::select! {
            next = messages.next(), if delays.len() < warm + count => {
                let message = next.context("the messages ended")??;
                let handled = handle(&message)?;
                delays.push(delay(&message)?);
                match handled {
                    Handled::Done => ack(&message, AckKind::Ack).await?,
                    Handled::GivenUp => ack(&message, AckKind::Term).await?,
                    Handled::Emits(Output { subject, headers, body }) => {
                        let stored = jetstream.publish_with_headers(subject, headers, body).await?;
                        open.push(async move {
                            stored.await?;
                            ack(&message, AckKind::Ack).await
                        });
                    }
                }
            }
            Some(done) = open.next(), if !open.is_empty() => done?,
        }
    }
    client.flush().await?;
    let mut counted = delays.split_off(warm);
    counted.sort_unstable();
    let micros = |share: f64| {
        let index = (counted.len() as f64 * share).ceil() as usize;
        let nanos = counted.get(index.saturating_sub(1)).copied();
        nanos.unwrap_or_default() as f64 / 1e3
    };
    let [p50, p99, p999] = [0.5, 0.99, 0.999].map(micros);
    println!("{{\"p50\":{p50},\"p99\":{p99},\"p999\":{p999}}}");
    Ok(())
}

async fn ack(message: &Message, kind: AckKind) -> Result<()> {
    let acked = message.ack_with(kind).await;
    acked.map_err(|error| anyhow!("an acknowledgement: {error}"))
}

/// Nanoseconds from the broker's time of the message until now.
fn delay(message: &Message) -> Result<u64> {
    let info = message.info().map_err(|error| anyhow!("{error}"))?;
    let stored = u64::try_from(info.published.unix_timestamp_nanos())?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
    Ok(u64::try_from(now)?.saturating_sub(stored))
}

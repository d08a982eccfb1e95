//! Takes a handler, gives the rate of a consumer around it: the loop that all consumers in Rust
//! have, with a handler compiled in, in Extism, or in bare wasmtime.

mod follow;

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy, pull};
use async_nats::jetstream::{AckKind, Message};
use futures_util::StreamExt;
use tokio::time::Instant;

pub use follow::{Handled, Output, follow};

/// Messages that the server may send ahead.
const BATCH: usize = 1_000;
/// More than which no account may have, as the handlers' configs say it.
pub const LIMIT: &str = "1e9";

/// What is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// Each message after it was handled, as a consumer that must not lose events does: at least
    /// once.
    Each,
    /// Nothing, and no position is kept: after a crash it would begin again. That is the most
    /// that a client can read here, and no consumer.
    None,
}

/// Reads the messages that `words` name, `URL STREAM FILTER COUNT`, and prints the rate from a
/// tenth of them on. The handler says of each whether it is to be given up.
///
/// # Errors
/// What the broker or the handler says, and fewer messages than COUNT.
pub async fn run(
    words: &[String],
    acks: Acks,
    mut gives_up: impl FnMut(&Message) -> Result<bool>,
) -> Result<()> {
    let [url, stream, filter, count] = words else {
        bail!("the last words are URL STREAM FILTER COUNT");
    };
    let count: u64 = count.parse()?;
    let client = async_nats::connect(url).await?;
    let jetstream = async_nats::jetstream::new(client.clone());
    let stream = jetstream.get_stream(stream).await?;
    let is_acked = acks == Acks::Each;
    let consumer = stream
        .create_consumer(config(filter, DeliverPolicy::All, acks))
        .await?;
    let there = consumer.cached_info().num_pending;
    if there < count {
        bail!("{filter} has {there} messages and not {count}");
    }
    let mut messages = messages(&consumer).await?;
    let warm = count / 10;
    let mut since = None;
    for done in 1..=count {
        let message = messages.next().await.context("the messages ended")??;
        let gives_up = gives_up(&message).with_context(|| format!("message {done}"))?;
        if is_acked {
            let kind = match gives_up {
                true => AckKind::Term,
                false => AckKind::Ack,
            };
            let acked = message.ack_with(kind).await;
            acked.map_err(|error| anyhow!("message {done}: {error}"))?;
        }
        if done == warm {
            since = Some(Instant::now());
        }
    }
    client.flush().await?;
    let took = since.context("too few messages")?.elapsed();
    let (events, seconds) = (count - warm, took.as_secs_f64());
    println!("{{\"events\":{events},\"seconds\":{seconds}}}");
    Ok(())
}

async fn messages(consumer: &Consumer<pull::Config>) -> Result<pull::Stream> {
    let stream = consumer.stream().max_messages_per_batch(BATCH);
    Ok(stream.expires(Duration::from_secs(30)).messages().await?)
}

fn config(filter: &str, from: DeliverPolicy, acks: Acks) -> pull::Config {
    let is_acked = acks == Acks::Each;
    pull::Config {
        filter_subject: filter.to_owned(),
        deliver_policy: from,
        ack_policy: match acks {
            Acks::Each => AckPolicy::Explicit,
            Acks::None => AckPolicy::None,
        },
        max_ack_pending: if is_acked { 2 * BATCH as i64 } else { 0 },
        memory_storage: !is_acked,
        ..pull::Config::default()
    }
}

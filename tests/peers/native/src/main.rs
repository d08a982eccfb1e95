//! `native acks|free URL STREAM FILTER COUNT`: reads COUNT messages, gives its rate.
//!
//! `acks` acknowledges each message after it was handled, as a consumer that must not lose
//! events does: at least once. `free` acknowledges nothing and keeps no position: after a crash
//! it would begin again. That is the most that a client can read here, and no consumer.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use futures_util::StreamExt;
use tokio::time::Instant;

/// Messages that the server may send ahead.
const BATCH: usize = 1_000;
/// More than which no account may have.
const LIMIT: f64 = 1e9;

#[tokio::main]
async fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [mode, url, stream, filter, count] = words.as_slice() else {
        bail!("usage: native acks|free URL STREAM FILTER COUNT");
    };
    let acks = match mode.as_str() {
        "acks" => true,
        "free" => false,
        _ => bail!("`{mode}` is neither `acks` nor `free`"),
    };
    let count: u64 = count.parse()?;
    let client = async_nats::connect(url).await?;
    let jetstream = async_nats::jetstream::new(client.clone());
    let stream = jetstream.get_stream(stream).await?;
    let consumer = stream
        .create_consumer(pull::Config {
            filter_subject: filter.clone(),
            deliver_policy: DeliverPolicy::All,
            ack_policy: if acks {
                AckPolicy::Explicit
            } else {
                AckPolicy::None
            },
            max_ack_pending: if acks { 2 * BATCH as i64 } else { 0 },
            memory_storage: !acks,
            ..pull::Config::default()
        })
        .await?;
    let mut messages = consumer
        .stream()
        .max_messages_per_batch(BATCH)
        .expires(Duration::from_secs(30))
        .messages()
        .await?;
    let warm = count / 10;
    let mut since = None;
    for done in 1..=count {
        let message = messages.next().await.context("the messages ended")??;
        let over = handler::decide(&message.payload, LIMIT);
        let over = over.map_err(|error| anyhow::anyhow!("message {done}: {error}"))?;
        if acks {
            let kind = if over.is_some() {
                AckKind::Term
            } else {
                AckKind::Ack
            };
            let acked = message.ack_with(kind).await;
            acked.map_err(|error| anyhow::anyhow!("message {done}: {error}"))?;
        }
        if done == warm {
            since = Some(Instant::now());
        }
    }
    client.flush().await?;
    let took = since.context("too few messages")?.elapsed();
    println!(
        "{{\"events\":{},\"seconds\":{}}}",
        count - warm,
        took.as_secs_f64()
    );
    Ok(())
}

//! `extism-peer MODULE URL STREAM FILTER COUNT`: reads COUNT messages, gives its rate.
//!
//! `native acks` with the handler in a plug-in of Extism, as its documentation advises: it is
//! compiled and instantiated once and called for each message. It needs no WASI and gets none,
//! and it has no limits: neither time nor memory nor fuel is counted.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use extism::{Manifest, Plugin, PluginBuilder, Wasm};
use futures_util::StreamExt;
use tokio::time::Instant;

/// Messages that the server may send ahead.
const BATCH: usize = 1_000;
/// More than which no account may have.
const LIMIT: &str = "1e9";

#[tokio::main]
async fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [module, url, stream, filter, count] = words.as_slice() else {
        bail!("usage: extism-peer MODULE URL STREAM FILTER COUNT");
    };
    let count: u64 = count.parse()?;
    let mut plugin = plugin(module)?;
    let client = async_nats::connect(url).await?;
    let jetstream = async_nats::jetstream::new(client.clone());
    let stream = jetstream.get_stream(stream).await?;
    let consumer = stream
        .create_consumer(pull::Config {
            filter_subject: filter.clone(),
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::Explicit,
            max_ack_pending: 2 * BATCH as i64,
            ..pull::Config::default()
        })
        .await?;
    let there = consumer.cached_info().num_pending;
    if there < count {
        bail!("{filter} has {there} messages and not {count}");
    }
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
        let over: &str = plugin
            .call("decide", &message.payload[..])
            .with_context(|| format!("message {done}"))?;
        let kind = if over.is_empty() {
            AckKind::Ack
        } else {
            AckKind::Term
        };
        let acked = message.ack_with(kind).await;
        acked.map_err(|error| anyhow::anyhow!("message {done}: {error}"))?;
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

fn plugin(module: &str) -> Result<Plugin> {
    let bytes = std::fs::read(module).with_context(|| format!("could not read {module}"))?;
    let manifest = Manifest::new([Wasm::data(bytes)]).with_config_key("limit", LIMIT);
    // A cache of what it compiled would stand outside of the project.
    let plugin = PluginBuilder::new(manifest).with_cache_disabled().build();
    plugin.with_context(|| format!("{module} is no plug-in"))
}

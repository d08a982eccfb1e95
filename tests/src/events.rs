//! Takes ids, keys and bodies, gives events in the broker.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use async_nats::HeaderMap;
use async_nats::jetstream::Context as JetStream;
use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

/// How many acknowledgements a publisher leaves open.
const OUTSTANDING: usize = 500;

/// An acknowledgement that takes longer does not come.
const ONE_ACK: Duration = Duration::from_secs(2);

/// One input: a binary-mode CloudEvent for the guests.
#[derive(Debug, Clone)]
pub struct Input {
    /// `ce-id`.
    pub id: String,
    /// `ce-partitionkey`.
    pub key: String,
    /// Its place among the events of its key.
    pub n: u64,
    /// Subject, headers and bytes as they are published.
    pub message: Message,
}

/// What is published, as it is.
#[derive(Debug, Clone)]
pub struct Message {
    /// With the slot.
    pub subject: String,
    /// All headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Input {
    /// An event that counts as number `n` of `key`, with the body `{"do": "ok", "n": n}`; `do`
    /// is for `fail_by_data`.
    pub fn new(id: impl Into<String>, key: impl Into<String>, n: u64) -> Self {
        Self::with_data(id, key, n, json!({ "do": "ok" }))
    }

    /// The same with more members in its body.
    pub fn with_data(
        id: impl Into<String>,
        key: impl Into<String>,
        n: u64,
        mut data: Value,
    ) -> Self {
        let (id, key) = (id.into(), key.into());
        if let Some(members) = data.as_object_mut() {
            members.insert("n".to_owned(), n.into());
        }
        let mut headers = HeaderMap::new();
        headers.insert("ce-specversion", "1.0");
        headers.insert("ce-id", id.as_str());
        headers.insert("ce-source", "/tests/promises");
        headers.insert("ce-type", "d365.custom.thing.update");
        headers.insert("ce-time", "2026-01-28T09:25:05Z");
        headers.insert("ce-partitionkey", key.as_str());
        headers.insert("ce-datacontenttype", "application/json");
        let message = Message {
            subject: subject("thing", &key),
            headers,
            body: data.to_string().into(),
        };
        Self {
            id,
            key,
            n,
            message,
        }
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.message.headers.insert(name, value);
        self
    }

    /// With this body instead.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.message.body = body.into();
        self
    }
}

/// Events `0..count` of `key`, in order, with ids `<key>-<n>`.
pub fn series(key: &str, count: u64) -> Vec<Input> {
    (0..count)
        .map(|n| Input::new(format!("{key}-{n}"), key, n))
        .collect()
}

/// `count` events over `keys` keys, taking turns; ids `e<i>`, keys `k<i>`.
pub fn spread(count: u64, keys: u64) -> Vec<Input> {
    (0..count)
        .map(|i| Input::new(format!("e{i}"), format!("k{}", i % keys), i / keys))
        .collect()
}

/// Publishes in the given order and waits for every acknowledgement; gives the sequences.
///
/// # Errors
/// When the broker does not take one.
pub async fn publish(jetstream: &JetStream, inputs: &[Input]) -> Result<Vec<u64>> {
    let messages: Vec<Message> = inputs.iter().map(|input| input.message.clone()).collect();
    publish_messages(jetstream, &messages).await
}

/// Publishes in the given order within each key, however often the broker goes away meanwhile:
/// `copy` and its id tell the broker which message it has already. No two of `inputs` may be
/// of one key.
///
/// # Errors
/// When the broker does not take one for a minute.
pub async fn publish_surely(jetstream: &JetStream, inputs: &[Input], copy: u32) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(60);
    let mut left: Vec<&Input> = inputs.iter().collect();
    while !left.is_empty() {
        ensure!(Instant::now() < end, "{} inputs were not taken", left.len());
        let sent = left.iter().map(|input| async {
            let Message {
                subject,
                mut headers,
                body,
            } = input.message.clone();
            headers.insert("Nats-Msg-Id", format!("{}#{copy}", input.id));
            let sent = async {
                let ack = jetstream.publish_with_headers(subject, headers, body).await;
                ack.ok()?.await.ok()
            };
            timeout(ONE_ACK, sent).await.ok().flatten().is_some()
        });
        let taken = join_all(sent).await;
        let mut taken = taken.into_iter();
        left.retain(|_| taken.next() == Some(false));
    }
    Ok(())
}

/// [`publish`] for messages that are no proper events.
///
/// # Errors
/// When the broker does not take one.
pub async fn publish_messages(jetstream: &JetStream, messages: &[Message]) -> Result<Vec<u64>> {
    let mut sequences = Vec::with_capacity(messages.len());
    for part in messages.chunks(OUTSTANDING) {
        let mut acks = Vec::with_capacity(part.len());
        for message in part {
            let Message {
                subject,
                headers,
                body,
            } = message.clone();
            acks.push(
                jetstream
                    .publish_with_headers(subject, headers, body)
                    .await?,
            );
        }
        for ack in acks {
            sequences.push(
                ack.await
                    .context("the broker did not take an input")?
                    .sequence,
            );
        }
    }
    Ok(sequences)
}

/// Where an input of table `name` with this partition key belongs.
pub fn subject(name: &str, key: &str) -> String {
    format!("d365.custom.test.record.{name}.update.{}", slot(key))
}

/// FNV-1a 32 of the key, mod 16, as the broker's own `partition()` has it.
pub fn slot(key: &str) -> u32 {
    key.bytes().fold(2_166_136_261_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(16_777_619)
    }) % 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_fnv_1a() {
        // FNV-1a 32 of "" is the offset basis 0x811c9dc5, of "a" 0xe40c292c (the reference vectors).
        assert_eq!(slot(""), 0x811c_9dc5 % 16);
        assert_eq!(slot("a"), 0xe40c_292c % 16);
    }

    #[test]
    fn spread_numbers_each_key_from_zero() {
        let inputs = spread(5, 2);
        let places: Vec<(&str, u64)> = inputs
            .iter()
            .map(|input| (input.key.as_str(), input.n))
            .collect();
        assert_eq!(
            places,
            [("k0", 0), ("k1", 0), ("k0", 1), ("k1", 1), ("k0", 2)]
        );
    }
}

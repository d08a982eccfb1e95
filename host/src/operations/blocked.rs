//! Takes the ledger's records, gives the keys that wait for an operator, and lets one go on.

use std::collections::HashMap;

use async_nats::jetstream::Context;
use serde::Serialize;

use super::dead_letters::subject as replays_of;
use super::letters::{self, Conditions};
use crate::broker::LEDGER;
use crate::clock;
use crate::encode;
use crate::event::{AttributeValue, Event};
use crate::ledger::dead_letter as facts;
use crate::ledger::message::Retry;
use crate::ledger::subject::{self, PartitionName};
use crate::ledger::waiting;

const SOURCE: &str = "/sluicegate/dlq";
const DISCARDED: &str = "sluicegate.dead-letter.discarded";

/// Why that cannot be had or done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The ledger cannot be read.
    #[error("the ledger cannot be read: {0}")]
    Ledger(String),
    /// Nor can the dead letters.
    #[error(transparent)]
    Letters(#[from] letters::Error),
    /// The event store did not take the word.
    #[error("the event store did not take it: {0}")]
    Store(String),
}

/// A key whose events wait.
#[derive(Debug, Serialize)]
pub struct BlockedKey {
    /// Whose key.
    pub plugin: String,
    /// Its partition.
    pub partition: u8,
    /// The key.
    pub key: String,
    /// The place in EVENTS of the event that it waits for.
    pub sequence: u64,
    /// The dead letter to replay or discard; none when it is gone.
    pub dead_letter: Option<u64>,
    /// Its reason.
    pub reason: Option<String>,
    /// When its last attempt ended.
    pub since: Option<String>,
    /// Events behind it that were read.
    pub waiting: usize,
}

/// Those of one plug-in, or all.
///
/// # Errors
/// When a stream cannot be read.
pub async fn read(context: &Context, plugin: Option<&str>) -> Result<Vec<BlockedKey>, Error> {
    let ledger = context.get_stream(LEDGER).await;
    let ledger = ledger.map_err(|error| Error::Ledger(error.to_string()))?;
    let waiting = waiting::read(&ledger, &subject::retries(plugin)).await;
    let waiting = waiting.map_err(|error| Error::Ledger(error.to_string()))?;
    if !waiting.values().any(|retry| retry.blocked) {
        return Ok(Vec::new());
    }
    let mut behind: HashMap<(&PartitionName, &str), usize> = HashMap::new();
    for ((name, _), retry) in &waiting {
        if !retry.blocked {
            *behind.entry((name, &retry.key)).or_default() += 1;
        }
    }
    let of_plugin = plugin.map_or_else(Conditions::default, |plugin| {
        Conditions::default().and("plugin", plugin)
    });
    let letters = letters::all(&letters::stream(context).await?, &of_plugin, 1).await?;
    let letters: HashMap<(&str, u64), _> = letters
        .iter()
        .filter_map(|letter| Some(((&*letter.plugin, letter.blocks?), letter)))
        .collect();
    let blocked = waiting.iter().filter(|(_, retry)| retry.blocked);
    let key = |((name, sequence), retry): (&(PartitionName, u64), &Retry)| {
        let letter = letters.get(&(name.plugin.as_str(), *sequence));
        let behind = behind.get(&(name, retry.key.as_str()));
        BlockedKey {
            plugin: name.plugin.clone(),
            partition: name.partition,
            key: retry.key.clone(),
            sequence: *sequence,
            dead_letter: letter.map(|letter| letter.id),
            reason: letter.map(|letter| letter.reason.to_string()),
            since: letter.map(|letter| letter.last_time.clone()),
            waiting: behind.copied().unwrap_or_default(),
        }
    };
    Ok(blocked.map(key).collect())
}

/// Tells the plug-in's owner that the key goes on without the event in this place; gives
/// where that stands in the store. `about` tells one such message from another.
///
/// # Errors
/// When the event store does not take it.
pub async fn let_go_on(
    context: &Context,
    plugin: &str,
    key: &str,
    place: u64,
    about: &str,
) -> Result<u64, Error> {
    let event = Event {
        id: format!("{plugin} {place} {about}"),
        source: SOURCE.to_owned(),
        event_type: DISCARDED.to_owned(),
        time: Some(clock::rfc3339(clock::unix_millis())),
        extensions: vec![(
            "partitionkey".to_owned(),
            AttributeValue::Text(key.to_owned()),
        )],
        ..Event::default()
    };
    let id = format!("discard {}", event.id);
    let (mut headers, body) = encode::binary(event);
    headers.insert("Nats-Msg-Id", id);
    headers.insert(facts::BLOCKS, place.to_string());
    headers.insert(facts::DISCARD, about);
    let failed = |error: String| Error::Store(error);
    let sent = context
        .publish_with_headers(replays_of(plugin, key), headers, body)
        .await;
    let ack = sent.map_err(|error| failed(error.to_string()))?.await;
    Ok(ack.map_err(|error| failed(error.to_string()))?.sequence)
}

//! Takes the ledger's records, gives the keys that wait for an operator, and lets one go on.

use std::collections::HashMap;

use anyhow::{Context as _, bail};
use async_nats::jetstream::Context;
use clap::Args;
use serde::Serialize;

use super::{Filter, replay};
use crate::broker::LEDGER;
use crate::cli::connect::{Target, stream};
use crate::cli::output::line;
use crate::clock;
use crate::encode;
use crate::event::{AttributeValue, Event};
use crate::ledger::dead_letter as facts;
use crate::ledger::message::Retry;
use crate::ledger::subject::{self, PartitionName};
use crate::ledger::waiting;

const SOURCE: &str = "/sluicegate/dlq";
const DISCARDED: &str = "sluicegate.dead-letter.discarded";

#[derive(Debug, Args)]
pub(crate) struct Unblock {
    /// Its plug-in.
    plugin: String,
    /// The key, as `blocked` shows it.
    key: String,
    #[command(flatten)]
    target: Target,
}

/// A key whose events wait.
#[derive(Debug, Serialize)]
pub(super) struct BlockedKey {
    plugin: String,
    partition: u8,
    key: String,
    /// The place in EVENTS of the event that it waits for.
    sequence: u64,
    /// The dead letter to replay or discard; none when it is gone.
    dead_letter: Option<u64>,
    /// Its reason.
    reason: Option<String>,
    /// When its last attempt ended.
    since: Option<String>,
    /// Events behind it that were read.
    waiting: usize,
}

/// Those of one plug-in, or all.
pub(super) async fn read(
    context: &Context,
    plugin: Option<&str>,
) -> anyhow::Result<Vec<BlockedKey>> {
    let ledger = stream(context, LEDGER).await?;
    let waiting = waiting::read(&ledger, &subject::retries(plugin)).await?;
    let mut behind: HashMap<(&PartitionName, &str), usize> = HashMap::new();
    for ((name, _), retry) in &waiting {
        if !retry.blocked {
            *behind.entry((name, &retry.key)).or_default() += 1;
        }
    }
    let filter = Filter {
        plugin: plugin.map(str::to_owned),
        reason: None,
    };
    let letters = super::read(context, &filter).await?;
    let letters: HashMap<_, _> = letters
        .iter()
        .filter_map(|letter| Some(((letter.plugin.as_str(), letter.blocks?), letter)))
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
            reason: letter.map(|letter| letter.reason.clone()),
            since: letter.map(|letter| letter.last_time.clone()),
            waiting: behind.copied().unwrap_or_default(),
        }
    };
    Ok(blocked.map(key).collect())
}

pub(super) fn show(keys: &[BlockedKey], json: bool) -> anyhow::Result<()> {
    if json {
        line!("{}", serde_json::to_string(keys)?);
        return Ok(());
    }
    for key in keys {
        let waits_for = match (key.dead_letter, &key.since) {
            (Some(id), Some(since)) => format!("dead letter {id}, since {since}"),
            (Some(id), None) => format!("dead letter {id}"),
            (None, _) => "a dead letter that is gone: let it go on with `unblock`".to_owned(),
        };
        line!(
            "{:<20}  {}  {} events wait for {waits_for}",
            key.plugin,
            key.key,
            key.waiting
        );
    }
    line!("{} keys are blocked", keys.len());
    Ok(())
}

/// Lets the key go on without its dead letter.
pub(super) async fn unblock(one: &Unblock) -> anyhow::Result<()> {
    let context = one.target.connect().await?;
    let keys = read(&context, Some(&one.plugin)).await?;
    let found = keys.iter().find(|blocked| blocked.key == one.key);
    let found = found.with_context(|| {
        format!(
            "no key {:?} of {} is blocked; `sluice dlq blocked` shows those that are",
            one.key, one.plugin
        )
    })?;
    if let Some(id) = found.dead_letter {
        bail!(
            "it waits for dead letter {id}: `sluice dlq replay {id}` or `sluice dlq discard {id}`"
        );
    }
    let about = format!("unblock {}", clock::unix_millis());
    let place = found.sequence;
    let_go_on(&context, &one.plugin, &one.key, place, &about).await?;
    line!("{} of {} goes on", one.key, one.plugin);
    Ok(())
}

/// Tells the plug-in's owner that the key goes on without the event in this place; gives
/// where that stands in the store. `about` tells one such message from another.
pub(super) async fn let_go_on(
    context: &Context,
    plugin: &str,
    key: &str,
    place: u64,
    about: &str,
) -> anyhow::Result<u64> {
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
    replay::store(context, replay::subject(plugin, key), headers, body).await
}

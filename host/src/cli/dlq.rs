//! `sluice dlq`: takes dead letters, shows them, sends them again, or discards them.

use std::process::ExitCode;

use anyhow::Context as _;
use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::stream::Stream;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use clap::{Args, Subcommand};
use serde::Serialize;

use self::blocked::{Unblock, let_go_on, unblock};
use self::replay::{replay, whole};
use super::connect::{Target, stream};
use super::output::{line, sorted};
use crate::broker::{DEADLETTER, read_all};
use crate::decode::decode;
use crate::ledger::dead_letter as facts;

mod again;
mod blocked;
mod replay;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// One line each, oldest first.
    List(List),
    /// One dead letter, whole.
    Show(Show),
    /// Send dead letters to their plug-in again, in their order.
    Replay(Chosen),
    /// Throw dead letters away; a key that waits for one goes on.
    Discard(Chosen),
    /// The keys that wait until their dead letter is replayed or discarded.
    Blocked(Blocked),
    /// Let a key go on whose dead letter is gone.
    Unblock(Unblock),
}

#[derive(Debug, Args)]
struct Filter {
    /// Of this plug-in only.
    #[arg(long)]
    plugin: Option<String>,
    /// With this reason only: rejected, trap, timeout, …
    #[arg(long)]
    reason: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    filter: Filter,
    /// A JSON array.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Blocked {
    /// Of this plug-in only.
    #[arg(long)]
    plugin: Option<String>,
    #[command(flatten)]
    target: Target,
    /// A JSON array.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Show {
    /// Its number in `list`.
    id: u64,
    #[command(flatten)]
    target: Target,
    /// A JSON object, with headers and body.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Chosen {
    /// Their numbers in `list`.
    #[arg(required_unless_present_any = ["all", "plugin", "reason"])]
    ids: Vec<u64>,
    /// All of them, or all that --plugin and --reason leave.
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    filter: Filter,
    /// A JSON array of what was done.
    #[arg(long)]
    json: bool,
}

/// A dead letter as it is read back.
#[derive(Debug, Serialize)]
struct Letter {
    id: u64,
    plugin: String,
    version: String,
    digest: String,
    reason: String,
    error: String,
    attempts: u32,
    subject: String,
    sequence: u64,
    /// The place in EVENTS whose key waits for this dead letter.
    #[serde(skip_serializing_if = "Option::is_none")]
    blocks: Option<u64>,
    event_id: String,
    event_type: String,
    partition_key: String,
    first_time: String,
    last_time: String,
    trace_id: String,
    size: usize,
    #[serde(skip)]
    headers: HeaderMap,
    #[serde(skip)]
    body: Bytes,
}

pub(super) async fn run(verb: Verb) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::List(list) => {
            let context = list.target.connect().await?;
            let letters = read(&context, &list.filter).await?;
            show_list(&letters, list.json)?;
        }
        Verb::Show(show) => {
            let context = show.target.connect().await?;
            let mut letter = one(&stream(&context, DEADLETTER).await?, show.id).await?;
            letter.body = whole(&context, &letter.headers, letter.body).await?;
            show_one(&letter, show.json)?;
        }
        Verb::Replay(chosen) => return each(&chosen, true).await,
        Verb::Discard(chosen) => return each(&chosen, false).await,
        Verb::Blocked(blocked) => {
            let context = blocked.target.connect().await?;
            let keys = blocked::read(&context, blocked.plugin.as_deref()).await?;
            blocked::show(&keys, blocked.json)?;
        }
        Verb::Unblock(one) => unblock(&one).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Replays or discards what was chosen; one that fails leaves the others alone.
async fn each(chosen: &Chosen, replay_it: bool) -> anyhow::Result<ExitCode> {
    let context = chosen.target.connect().await?;
    let dead_letters = stream(&context, DEADLETTER).await?;
    let letters = if chosen.ids.is_empty() {
        read(&context, &chosen.filter).await?
    } else {
        let mut letters = Vec::new();
        for id in &chosen.ids {
            letters.push(one(&dead_letters, *id).await?);
        }
        letters
    };
    let (mut done, mut failed) = (Vec::new(), 0);
    for letter in &letters {
        let result = async {
            let sequence = match (replay_it, letter.blocks) {
                (true, _) => Some(replay(&context, letter).await?),
                (false, Some(place)) => {
                    let about = format!("{} {}", letter.id, letter.last_time);
                    let key = &letter.partition_key;
                    Some(let_go_on(&context, &letter.plugin, key, place, &about).await?)
                }
                (false, None) => None,
            };
            // Only now: were it the other way round, a crash between the two would lose it.
            dead_letters.delete_message(letter.id).await?;
            anyhow::Ok(sequence)
        };
        match result.await {
            Ok(sequence) => done.push((letter, sequence)),
            Err(error) => {
                failed += 1;
                eprintln!("error: dead letter {} stays: {error:#}", letter.id);
            }
        }
    }
    let what = if replay_it { "replayed" } else { "discarded" };
    if chosen.json {
        let done: Vec<_> = done
            .iter()
            .map(|(letter, sequence)| serde_json::json!({
                "id": letter.id, "plugin": letter.plugin, "event_id": letter.event_id, "sequence": sequence,
            }))
            .collect();
        line!("{}", serde_json::to_string(&done)?);
    } else {
        for (letter, _) in &done {
            line!(
                "{what} {}  {}  {}",
                letter.id,
                letter.plugin,
                letter.event_id
            );
        }
        line!("{} {what}, {failed} failed", done.len());
    }
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn read(context: &Context, filter: &Filter) -> anyhow::Result<Vec<Letter>> {
    let dead_letters = stream(context, DEADLETTER).await?;
    let plugin = filter.plugin.as_deref().unwrap_or("*");
    let reason = filter.reason.as_deref().unwrap_or("*");
    let subject = format!("dead.{plugin}.{reason}");
    let mut letters = Vec::new();
    read_all(&dead_letters, &subject, DeliverPolicy::All, |message| {
        if let Ok(info) = message.info() {
            let headers = message.headers.clone().unwrap_or_default();
            letters.push(letter(
                info.stream_sequence,
                headers,
                message.payload.clone(),
            ));
        }
    })
    .await?;
    Ok(letters)
}

async fn one(dead_letters: &Stream, id: u64) -> anyhow::Result<Letter> {
    let message = dead_letters.get_raw_message(id).await;
    let message = message.with_context(|| {
        format!("there is no dead letter {id}; `sluice dlq list` shows those that are there")
    })?;
    Ok(letter(id, message.headers, message.payload))
}

fn letter(id: u64, headers: HeaderMap, body: Bytes) -> Letter {
    let text = |name: &str| {
        let value = headers.get(name);
        value
            .map(|value| value.as_str().to_owned())
            .unwrap_or_default()
    };
    let event = decode(Some(&headers), &body).ok();
    Letter {
        id,
        plugin: text(facts::PLUGIN),
        version: text(facts::VERSION),
        digest: text(facts::DIGEST),
        reason: text(facts::REASON),
        error: text(facts::ERROR),
        attempts: text(facts::ATTEMPTS).parse().unwrap_or(0),
        subject: text(facts::SUBJECT),
        sequence: text(facts::SEQUENCE).parse().unwrap_or(0),
        blocks: text(facts::BLOCKS).parse().ok(),
        event_id: event
            .as_ref()
            .map_or_else(|| text("ce-id"), |event| event.id.clone()),
        event_type: event
            .as_ref()
            .map_or_else(|| text("ce-type"), |event| event.event_type.clone()),
        partition_key: text(facts::PARTITION_KEY),
        first_time: text(facts::FIRST_TIME),
        last_time: text(facts::LAST_TIME),
        trace_id: text(facts::TRACE_ID),
        size: body.len(),
        headers,
        body,
    }
}

fn show_list(letters: &[Letter], json: bool) -> anyhow::Result<()> {
    if json {
        line!("{}", serde_json::to_string(letters)?);
        return Ok(());
    }
    for letter in letters {
        line!(
            "{:>6}  {}  {:<20}  {:<11}  {:>2} attempts  {}  {}{}",
            letter.id,
            letter.last_time,
            letter.plugin,
            letter.reason,
            letter.attempts,
            letter.event_id,
            letter.error,
            letter.blocks.map_or("", |_| "  (its key waits)")
        );
    }
    line!("{} dead letters", letters.len());
    Ok(())
}

fn show_one(letter: &Letter, json: bool) -> anyhow::Result<()> {
    let headers = sorted(&letter.headers);
    let body = String::from_utf8_lossy(&letter.body);
    if json {
        let mut object = serde_json::to_value(letter)?;
        let headers: serde_json::Map<String, serde_json::Value> = headers
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        if let Some(object) = object.as_object_mut() {
            object.insert("headers".to_owned(), headers.into());
            if std::str::from_utf8(&letter.body).is_err() {
                let encoded = STANDARD.encode(&letter.body);
                object.insert("body_base64".to_owned(), encoded.into());
            }
            object.insert("body".to_owned(), body.into());
        }
        line!("{}", serde_json::to_string(&object)?);
        return Ok(());
    }
    line!("dead letter {}", letter.id);
    // What the broker has added on the way says nothing about the event.
    for (name, value) in headers
        .into_iter()
        .filter(|(name, _)| !name.starts_with("Nats-"))
    {
        line!("{name}: {value}");
    }
    line!("\n{body}");
    Ok(())
}

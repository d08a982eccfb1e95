//! Takes who does what, gives it to the stream AUDIT before it is done, and what stands there.

use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::jetstream::stream::{Config as StreamConfig, DiscardPolicy};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Who;
use crate::broker::{ReadError, open, read, read_all};
use crate::clock;

/// The stream: one message an action, on `audit.<action>`.
pub const STREAM: &str = "AUDIT";
const PREFIX: &str = "audit.";
/// What is older than this is let go of.
const KEPT: Duration = Duration::from_secs(2 * 365 * 24 * 60 * 60);
/// Bytes; the oldest go first. Some 150,000 deeds; the broker reserves them.
const MAX_BYTES: i64 = 64 << 20;

/// Why something was not done: it could not be written down.
#[derive(Debug, thiserror::Error)]
#[error("the audit could not be written, so nothing was done: {0}")]
pub struct Error(String);

/// One thing that an operator did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// RFC 3339.
    pub time: String,
    /// Who.
    #[serde(flatten)]
    pub who: Who,
    /// What: `deploy`, `canary`, `rollback`, `undeploy`, `pause`, `resume`, `replay`, `cancel`,
    /// `edit`, `discard`, `unblock`, `redact`, `import`, `compact`, `rebuild`, `cancel-saga`,
    /// `retry-saga`, `learn-schema`, `import-schema`, `accept-schema`, `upcast-schema`.
    pub action: String,
    /// To what: a plug-in, a dead letter, a replay.
    pub target: String,
    /// More about it, as the action has it.
    #[serde(default)]
    pub detail: Value,
}

/// How the stream is to be.
pub fn stream_config(replicas: usize) -> StreamConfig {
    StreamConfig {
        name: STREAM.to_owned(),
        subjects: vec![format!("{PREFIX}>")],
        num_replicas: replicas,
        max_age: KEPT,
        max_bytes: MAX_BYTES,
        discard: DiscardPolicy::Old,
        // Nobody takes back what was written down.
        deny_delete: true,
        deny_purge: true,
        allow_direct: true,
        ..StreamConfig::default()
    }
}

/// Writes down what is about to be done.
///
/// # Errors
/// When the broker did not take it; then it is not to be done.
pub async fn record(
    context: &Context,
    who: &Who,
    action: &str,
    target: &str,
    detail: Value,
) -> Result<(), Error> {
    let entry = Entry {
        time: clock::rfc3339(clock::unix_millis()),
        who: who.clone(),
        action: action.to_owned(),
        target: target.to_owned(),
        detail,
    };
    tracing::info!(
        who = entry.who.name,
        via = entry.who.via,
        action,
        target,
        "audit"
    );
    let body = serde_json::to_vec(&entry).map_err(|error| Error(error.to_string()))?;
    let sent = context.publish(format!("{PREFIX}{action}"), body.into());
    let acknowledged = sent.await.map_err(|error| Error(error.to_string()))?;
    acknowledged.await.map_err(|error| {
        Error(format!(
            "{error}; has a `sluice run` of this version ever been connected to this broker?"
        ))
    })?;
    Ok(())
}

/// Every entry of one action, the oldest first.
///
/// # Errors
/// When the stream is not there or cannot be read.
pub async fn of(context: &Context, action: &str) -> Result<Vec<Entry>, ReadError> {
    let stream = open(context, STREAM).await?;
    let mut entries = Vec::new();
    let subject = format!("{PREFIX}{action}");
    read_all(&stream, &subject, DeliverPolicy::All, |message| {
        entries.extend(serde_json::from_slice::<Entry>(&message.payload).ok());
    })
    .await?;
    Ok(entries)
}

/// The last so many entries, the newest first.
///
/// # Errors
/// When the stream is not there or cannot be read.
pub async fn newest(context: &Context, count: u64) -> Result<Vec<Entry>, ReadError> {
    let stream = context.get_stream(STREAM).await;
    let stream = stream.map_err(|error| ReadError::Consumer(error.to_string()))?;
    let last = stream.cached_info().state.last_sequence;
    let from = pull::Config {
        deliver_policy: DeliverPolicy::ByStartSequence {
            start_sequence: (last + 1).saturating_sub(count).max(1),
        },
        ..pull::Config::default()
    };
    let mut entries: Vec<Entry> = Vec::new();
    read(&stream, from, |message| {
        entries.extend(serde_json::from_slice::<Entry>(&message.payload).ok());
        std::ops::ControlFlow::Continue(())
    })
    .await?;
    entries.reverse();
    Ok(entries)
}

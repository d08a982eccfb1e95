//! Takes a dead letter, gives its event to its plug-in once more.

use anyhow::{Context as _, bail};
use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use bytes::Bytes;
use sluicegate_d365::slot;

use super::Letter;
use super::again::through_the_gateway;
use crate::broker::EVENTS;
use crate::claim_check;
use crate::cli::connect::stream;
use crate::gateway::outgoing::GATEWAY;
use crate::ledger::dead_letter as facts;
use crate::route::REPLAY_PREFIX;

/// Where the plug-in hears of what concerns it alone, in the order of the key.
pub(super) fn subject(plugin: &str, key: &str) -> String {
    format!("{REPLAY_PREFIX}{plugin}.{}", slot(key))
}

/// A body that is in the object store is fetched from there.
pub(super) async fn whole(
    context: &Context,
    headers: &HeaderMap,
    body: Bytes,
) -> anyhow::Result<Bytes> {
    match claim_check::taken_out(headers) {
        Some(object) if body.is_empty() => claim_check::get(context, object)
            .await?
            .with_context(|| format!("its body, object {object}, is not in the store any more")),
        _ => Ok(body),
    }
}

/// Publishes the original to its plug-in alone, or through the gateway's eyes again; gives
/// its sequence in the store.
pub(super) async fn replay(context: &Context, letter: &Letter) -> anyhow::Result<u64> {
    if letter.plugin == GATEWAY {
        let body = whole(context, &letter.headers, letter.body.clone()).await?;
        return through_the_gateway(context, &letter.headers, &body).await;
    }
    let body = match letter.headers.get(facts::BODY_OMITTED) {
        None if letter.reason == "aged-out" => bail!("its event is gone, there is nothing to send"),
        None => letter.body.clone(),
        Some(_) => {
            let events = stream(context, EVENTS).await?;
            let original = events.get_raw_message(letter.sequence).await;
            original
                .context("its body is not in EVENTS any more")?
                .payload
        }
    };
    let mut headers = facts::original(&letter.headers);
    headers.insert(facts::REPLAY, letter.id.to_string());
    headers.insert(facts::SUBJECT, letter.subject.as_str());
    if let Some(place) = letter.blocks {
        headers.insert(facts::BLOCKS, place.to_string());
    }
    // A second call that overlaps with this one is dropped by the broker; one that comes
    // later by the plug-in's inbox.
    headers.insert(
        "Nats-Msg-Id",
        format!("replay {} {}", letter.id, letter.last_time),
    );
    let subject = subject(&letter.plugin, &letter.partition_key);
    store(context, subject, headers, body).await
}

/// Publishes a message; gives its sequence in the store once that has it.
pub(super) async fn store(
    context: &Context,
    subject: String,
    headers: HeaderMap,
    body: Bytes,
) -> anyhow::Result<u64> {
    let ack = context
        .publish_with_headers(subject, headers, body)
        .await?
        .await
        .context("the event store did not take it")?;
    Ok(ack.sequence)
}

//! Takes a dead letter, sends it again, changes its body, or throws it away.

use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use async_nats::jetstream::context::PublishAckFuture;
use bytes::Bytes;
use serde_json::json;
use sluicegate_d365::slot;

use super::audit;
use super::blocked::{self, let_go_on};
use super::letters::{self, Letter};
use super::who::Who;
use crate::broker::{DEADLETTER, EVENTS, How, delete};
use crate::claim_check;
use crate::decode::{decode, is_structured};
use crate::gateway::outgoing::GATEWAY;
use crate::ledger::dead_letter as facts;
use crate::plugin::package::digest;
use crate::route::REPLAY_PREFIX;

mod again;

/// What the facts and the broker's own headers may take beside a body.
const HEADROOM: usize = 8 << 10;

/// Why nothing was done with a dead letter.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be had.
    #[error(transparent)]
    Letter(#[from] letters::Error),
    /// It cannot be written down.
    #[error(transparent)]
    Audit(#[from] audit::Error),
    /// The key that waits for it could not be told to go on.
    #[error(transparent)]
    Blocked(#[from] blocked::Error),
    /// There is no event any more.
    #[error("its event is gone, there is nothing to send")]
    Gone,
    /// The gateway would not understand it now either.
    #[error("{0}")]
    NotUnderstood(String),
    /// What the operator made of it is no body for it.
    #[error("{0}")]
    NoBody(String),
    /// The broker did not take it.
    #[error("{what}: {reason}")]
    Broker {
        /// What was wanted of the broker.
        what: &'static str,
        /// What it says.
        reason: String,
    },
}

fn broker(what: &'static str) -> impl Fn(String) -> Error {
    move |reason| Error::Broker { what, reason }
}

const SEND: &str = "the event store did not take it";
const TAKE_AWAY: &str = "it was sent, but could not be taken away";

/// Where the plug-in hears of what concerns it alone, in the order of the key.
pub fn subject(plugin: &str, key: &str) -> String {
    format!("{REPLAY_PREFIX}{plugin}.{}", slot(key))
}

/// A letter on its way back.
#[derive(Debug)]
pub struct Sent {
    acks: Vec<PublishAckFuture>,
}

impl Sent {
    /// Waits until the event store has it; gives where it stands there.
    ///
    /// # Errors
    /// When the event store did not take it: the letter is to stay.
    pub async fn stored(self) -> Result<u64, Error> {
        let mut last = 0;
        for ack in self.acks {
            let ack = ack.await.map_err(|error| broker(SEND)(error.to_string()))?;
            last = ack.sequence;
        }
        Ok(last)
    }
}

/// Publishes the original to its plug-in alone, or through the gateway's eyes again.
///
/// A second call for the same letter is dropped by the broker, or else by the plug-in's inbox.
///
/// # Errors
/// When there is nothing to send, or no connection to send it by.
pub async fn send(context: &Context, letter: &mut Letter) -> Result<Sent, Error> {
    let messages = if &*letter.summary.plugin == GATEWAY {
        letter.redeem(context).await?;
        again::through_the_gateway(&letter.headers, &letter.body)?
    } else {
        vec![to_its_plugin(context, letter).await?]
    };
    let mut acks = Vec::with_capacity(messages.len());
    for (subject, headers, body) in messages {
        let sent = context.publish_with_headers(subject, headers, body).await;
        acks.push(sent.map_err(|error| broker(SEND)(error.to_string()))?);
    }
    Ok(Sent { acks })
}

type Outgoing = (String, HeaderMap, Bytes);

async fn to_its_plugin(context: &Context, letter: &Letter) -> Result<Outgoing, Error> {
    let summary = &letter.summary;
    let body = match letter.headers.get(facts::BODY_OMITTED) {
        None if &*summary.reason == "aged-out" => return Err(Error::Gone),
        None => letter.body.clone(),
        Some(_) => {
            let failed = |error: String| letters::Error::Body(error);
            let events = context.get_stream(EVENTS).await;
            let events = events.map_err(|error| failed(error.to_string()))?;
            let original = events.get_raw_message(summary.sequence).await;
            let original = original
                .map_err(|error| failed(format!("it is not in {EVENTS} any more: {error}")))?;
            original.payload
        }
    };
    let mut headers = facts::original(&letter.headers);
    headers.insert(facts::REPLAY, summary.id.to_string());
    headers.insert(facts::SUBJECT, &*summary.subject);
    if let Some(place) = summary.blocks {
        headers.insert(facts::BLOCKS, place.to_string());
    }
    if facts::is_quiet(&letter.headers) {
        headers.insert(facts::EFFECTS, facts::NONE);
    }
    let id = format!("replay {} {}", summary.id, summary.last_time);
    headers.insert("Nats-Msg-Id", id);
    let subject = subject(&summary.plugin, &summary.partition_key);
    Ok((subject, headers, body))
}

/// Sends one letter again and takes it away; gives where its event stands in the store. The
/// order is such that a crash between the two loses nothing: a letter that is still there is
/// sent once more, which does nothing.
///
/// # Errors
/// When it could not be sent. The letter stays.
pub async fn replay(context: &Context, letter: &mut Letter) -> Result<u64, Error> {
    let sequence = send(context, letter).await?.stored().await?;
    take_away(context, letter.summary.id).await?;
    Ok(sequence)
}

/// Throws one letter away; a key that waits for it goes on, and what is given is where that
/// is told.
///
/// # Errors
/// When the broker did not do it. The letter stays.
pub async fn discard(context: &Context, letter: &Letter) -> Result<Option<u64>, Error> {
    let summary = &letter.summary;
    let mut told = None;
    if let Some(place) = summary.blocks {
        let about = format!("{} {}", summary.id, summary.last_time);
        let (plugin, key) = (&summary.plugin, &summary.partition_key);
        told = Some(let_go_on(context, plugin, key, place, &about).await?);
    }
    take_away(context, summary.id).await?;
    Ok(told)
}

/// Deletes the letter; gives whether it was there. Its bytes are not overwritten: that costs
/// the broker 3 ms each.
///
/// # Errors
/// When the broker does not answer.
pub async fn take_away(context: &Context, id: u64) -> Result<bool, Error> {
    let deleted = delete(context, DEADLETTER, id, How::Forget).await;
    deleted.map_err(broker(TAKE_AWAY))
}

/// What is to be said of a body that an operator wants to give a letter.
///
/// # Errors
/// [`Error::NoBody`] when it cannot be one.
pub fn check(letter: &Letter, body: &[u8], max_payload: usize) -> Result<&'static str, Error> {
    let headers = &letter.headers;
    if max_payload < body.len() + HEADROOM {
        return Err(Error::NoBody(format!(
            "the body has {} bytes; the broker takes {max_payload}, headers included",
            body.len()
        )));
    }
    let media_type = headers
        .get("ce-datacontenttype")
        .or(headers.get("content-type"));
    let media_type = media_type.map_or("", |value| value.as_str());
    if &*letter.summary.plugin == GATEWAY {
        again::through_the_gateway(headers, &Bytes::copy_from_slice(body))?;
        return Ok("the gateway understands it now");
    }
    if is_structured(headers) {
        let event = decode(Some(headers), &Bytes::copy_from_slice(body));
        event.map_err(|error| Error::NoBody(format!("it is no CloudEvent: {error}")))?;
        return Ok("a valid CloudEvent in the JSON format");
    }
    if media_type
        .split(';')
        .next()
        .is_some_and(|kind| kind.trim_end().ends_with("json"))
    {
        serde_json::from_slice::<&serde_json::value::RawValue>(body).map_err(|error| {
            Error::NoBody(format!(
                "the event's data is {media_type}, and this is no JSON: {error}"
            ))
        })?;
        return Ok("valid JSON");
    }
    Ok("not checked: its media type is not JSON")
}

/// Gives a letter another body: a new letter takes its place, and its number is given. The
/// original stays in the event store as it is.
///
/// # Errors
/// When the body cannot be one, or the broker did not take it; then nothing has changed.
pub async fn edit(
    context: &Context,
    who: &Who,
    letter: &Letter,
    body: Bytes,
) -> Result<u64, Error> {
    check(letter, &body, context.client().server_info().max_payload)?;
    let summary = &letter.summary;
    let (before, after) = (digest(&letter.body), digest(&body));
    let detail = json!({
        "plugin": summary.plugin, "event_id": summary.event_id, "sequence": summary.sequence,
        "before": before, "after": after, "bytes": body.len(),
    });
    audit::record(
        context,
        who,
        "edit",
        &format!("dead letter {}", summary.id),
        detail,
    )
    .await?;
    let mut headers = HeaderMap::new();
    for (name, values) in letter.headers.iter() {
        let text: &str = name.as_ref();
        let is_brokers = text.to_ascii_lowercase().starts_with("nats-");
        if is_brokers || text == facts::BODY_OMITTED || text == claim_check::HEADER {
            continue;
        }
        for value in values {
            headers.append(name.clone(), value.clone());
        }
    }
    headers.insert(facts::EDITED, summary.id.to_string());
    headers.insert(facts::EDITED_BY, facts::one_line(&who.name, 100));
    headers.insert("Nats-Msg-Id", format!("edit {} {after}", summary.id));
    let subject = format!("dead.{}.{}", summary.plugin, summary.reason);
    let refused = broker("the dead letters' stream did not take it");
    let sent = context.publish_with_headers(subject, headers, body).await;
    let ack = sent.map_err(|error| refused(error.to_string()))?.await;
    let ack = ack.map_err(|error| refused(error.to_string()))?;
    take_away(context, summary.id).await?;
    Ok(ack.sequence)
}

//! Takes a message of the event store, gives its facts and its event.

use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use async_nats::jetstream::message::StreamMessage;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::claim_check;
use crate::cli::output::sorted;
use crate::decode::{self, decode};
use crate::encode;
use crate::event::{CORE, Event};

/// A message, and what it says when it says anything.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) sequence: u64,
    pub(super) subject: String,
    /// When the broker took it, RFC 3339.
    pub(super) stored: String,
    pub(super) headers: HeaderMap,
    pub(super) payload: Bytes,
    pub(super) event: Result<Event, decode::Error>,
}

#[derive(Serialize)]
struct Json<'a> {
    sequence: u64,
    subject: &'a str,
    stored: &'a str,
    event: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    undecodable: Option<Undecodable<'a>>,
}

#[derive(Serialize)]
struct Undecodable<'a> {
    error: String,
    headers: Vec<(&'a str, &'a str)>,
    body_base64: String,
}

impl Stored {
    /// A message that was asked for by its sequence.
    pub(super) async fn read(context: &Context, message: StreamMessage) -> anyhow::Result<Self> {
        let StreamMessage {
            subject,
            sequence,
            headers,
            payload,
            time,
        } = message;
        let mut stored = Self {
            sequence,
            subject: subject.to_string(),
            stored: rfc3339(time.unix_timestamp_nanos()),
            event: decode(Some(&headers), &payload),
            headers,
            payload,
        };
        stored.redeem(context).await?;
        Ok(stored)
    }

    /// A message that a consumer gave.
    pub(super) async fn of(
        context: &Context,
        message: &async_nats::jetstream::Message,
    ) -> anyhow::Result<Self> {
        let info = message.info().map_err(|error| {
            anyhow::anyhow!("a message without its place in the store: {error}")
        })?;
        let mut stored = Self {
            sequence: info.stream_sequence,
            subject: message.subject.to_string(),
            stored: rfc3339(info.published.unix_timestamp_nanos()),
            event: decode(message.headers.as_ref(), &message.payload),
            headers: message.headers.clone().unwrap_or_default(),
            payload: message.payload.clone(),
        };
        stored.redeem(context).await?;
        Ok(stored)
    }

    /// Puts the body back that was too big for the message.
    async fn redeem(&mut self, context: &Context) -> anyhow::Result<()> {
        let name = claim_check::taken_out(&self.headers).filter(|_| self.payload.is_empty());
        let Some(name) = name else {
            return Ok(());
        };
        match claim_check::get(context, name).await? {
            Some(body) => {
                self.event = decode(Some(&self.headers), &body);
                self.payload = body;
            }
            None => eprintln!(
                "note: the body of event {} is not in the object store any more",
                self.sequence
            ),
        }
        Ok(())
    }

    /// The event's data; of a message that does not decode, all of its payload.
    pub(super) fn body(&self) -> &[u8] {
        match &self.event {
            Ok(event) => event.data.as_deref().unwrap_or_default(),
            Err(_) => &self.payload,
        }
    }

    /// Every attribute; of a message that does not decode, every header.
    pub(super) fn attributes(&self) -> Vec<(&str, String)> {
        let Ok(event) = &self.event else {
            return sorted(&self.headers)
                .into_iter()
                .map(|(name, value)| (name, value.to_owned()))
                .collect();
        };
        let extensions = event.extensions.iter().map(|(name, _)| name.as_str());
        CORE.into_iter()
            .chain(extensions)
            .filter_map(|name| Some((name, event.text(name)?.into_owned())))
            .collect()
    }

    /// One line of JSON.
    pub(super) fn json(&self) -> anyhow::Result<String> {
        let json = Json {
            sequence: self.sequence,
            subject: &self.subject,
            stored: &self.stored,
            event: match &self.event {
                Ok(event) => Some(RawValue::from_string(encode::structured(event))?),
                Err(_) => None,
            },
            undecodable: self.event.as_ref().err().map(|error| Undecodable {
                error: error.to_string(),
                headers: sorted(&self.headers),
                body_base64: STANDARD.encode(&self.payload),
            }),
        };
        Ok(serde_json::to_string(&json)?)
    }
}

fn rfc3339(unix_nanos: i128) -> String {
    let nanos = i64::try_from(unix_nanos).unwrap_or_default();
    DateTime::from_timestamp_nanos(nanos).to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

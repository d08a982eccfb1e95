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

use super::{Error, sorted};
use crate::claim_check;
use crate::decode::{self, decode};
use crate::delivery::Delivery;
use crate::encode;
use crate::event::{CORE, Event};
use crate::redacted::Mark;

/// A message, and what it says when it says anything.
#[derive(Debug)]
pub struct Stored {
    /// In the event store.
    pub sequence: u64,
    /// On which it stands.
    pub subject: String,
    /// When the broker took it, RFC 3339.
    pub stored: String,
    /// All of them.
    pub headers: HeaderMap,
    /// All of it.
    pub payload: Bytes,
    /// What it says, or why it says nothing.
    pub event: Result<Event, decode::Error>,
    /// It was too big for the message, and is not in the object store any more.
    pub is_body_gone: bool,
    /// It is the envelope of an event that was redacted.
    pub redacted: Option<Mark>,
}

#[derive(Serialize)]
struct Json<'a> {
    sequence: u64,
    subject: &'a str,
    stored: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    redacted: Option<&'a Mark>,
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
    ///
    /// # Errors
    /// When the object store that has its body does not answer.
    pub async fn read(context: &Context, message: StreamMessage) -> Result<Self, Error> {
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
            redacted: Mark::read(&headers),
            headers,
            payload,
            is_body_gone: false,
        };
        stored.redeem(context).await?;
        Ok(stored)
    }

    /// A message that a consumer gave.
    ///
    /// # Errors
    /// As [`Stored::read`].
    pub async fn of(
        context: &Context,
        message: &async_nats::jetstream::Message,
    ) -> Result<Self, Error> {
        let info = message.info().map_err(|error| {
            Error::Events(format!("a message without its place in the store: {error}"))
        })?;
        let mut stored = Self {
            sequence: info.stream_sequence,
            subject: message.subject.to_string(),
            stored: rfc3339(info.published.unix_timestamp_nanos()),
            event: decode(message.headers.as_ref(), &message.payload),
            redacted: message.headers.as_ref().and_then(Mark::read),
            headers: message.headers.clone().unwrap_or_default(),
            payload: message.payload.clone(),
            is_body_gone: false,
        };
        stored.redeem(context).await?;
        Ok(stored)
    }

    /// A message that was read whole: its body was put back where that had been taken out.
    pub fn whole(delivery: Delivery) -> Self {
        let Delivery {
            sequence,
            subject,
            headers,
            payload,
            stored,
            ..
        } = delivery;
        let headers = headers.unwrap_or_default();
        Self {
            sequence,
            subject,
            stored: rfc3339(stored.into()),
            event: decode(Some(&headers), &payload),
            is_body_gone: payload.is_empty() && claim_check::taken_out(&headers).is_some(),
            redacted: Mark::read(&headers),
            headers,
            payload,
        }
    }

    /// Puts the body back that was too big for the message.
    async fn redeem(&mut self, context: &Context) -> Result<(), Error> {
        let name = claim_check::taken_out(&self.headers).filter(|_| self.payload.is_empty());
        let Some(name) = name else {
            return Ok(());
        };
        let body = claim_check::get(context, name).await;
        match body.map_err(|error| Error::Body(error.to_string()))? {
            Some(body) => {
                self.event = decode(Some(&self.headers), &body);
                self.payload = body;
            }
            None => self.is_body_gone = true,
        }
        Ok(())
    }

    /// Where the event stood when plug-ins were given it.
    pub fn origin(&self) -> u64 {
        let mark = self.redacted.as_ref();
        mark.map_or(self.sequence, |mark| mark.sequence)
    }

    /// The event's data; of a message that does not decode, all of its payload.
    pub fn body(&self) -> &[u8] {
        match &self.event {
            Ok(event) => event.data.as_deref().unwrap_or_default(),
            Err(_) => &self.payload,
        }
    }

    /// Every attribute; of a message that does not decode, every header.
    pub fn attributes(&self) -> Vec<(&str, String)> {
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
    ///
    /// # Errors
    /// None that could be thought of.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        let json = Json {
            sequence: self.sequence,
            subject: &self.subject,
            stored: &self.stored,
            redacted: self.redacted.as_ref(),
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
        serde_json::to_string(&json)
    }
}

pub(in crate::operations) fn rfc3339(unix_nanos: i128) -> String {
    let nanos = i64::try_from(unix_nanos).unwrap_or_default();
    DateTime::from_timestamp_nanos(nanos).to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

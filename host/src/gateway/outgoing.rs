//! Takes what became of a request's body, gives the messages that the broker is to keep.

use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use axum::http;
use bytes::Bytes;

use super::source::Origin;
use crate::clock;
use crate::encode;
use crate::event::Event;
use crate::ledger::dead_letter::{self as facts, one_line};
use crate::ledger::message::{self, Message};
use crate::ledger::reason::Reason;

/// Whom the gateway's dead letters name; no plug-in may be called so.
pub const GATEWAY: &str = "gateway";
/// On a dead letter of the gateway: the kind of source that sent it.
pub const SOURCE_KIND: &str = "Sluice-Source-Kind";
/// On a dead letter of the gateway: the environment that it came from.
pub const SOURCE_ENVIRONMENT: &str = "Sluice-Source-Environment";

/// Bytes of text that a header of a dead letter may have.
pub(super) const MAX_ERROR: usize = 1 << 10;

/// One message that the broker is to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Where it goes.
    pub subject: String,
    /// An event has `Nats-Msg-Id`, by which the broker drops what it has seen before.
    pub headers: HeaderMap,
    /// The body.
    pub payload: Bytes,
    /// Messages of one key stay in order.
    pub key: String,
}

impl Outgoing {
    /// An event, in binary mode.
    pub fn event(event: Event, subject: String) -> Self {
        let (message_id, key) = (event.message_id(), event.partition_key().to_owned());
        let (mut headers, payload) = encode::binary(event);
        headers.insert(NATS_MESSAGE_ID, message_id);
        Self {
            subject,
            headers,
            payload,
            key,
        }
    }

    /// A body that nobody here understands, kept as it came with what a person needs to
    /// send it again: what was wrong, who sent it, and the request's own headers.
    pub fn undecodable(
        origin: &Origin<'_>,
        request: &http::HeaderMap,
        body: Bytes,
        error: &str,
        ttl: std::time::Duration,
    ) -> Self {
        let reason = Reason::Undecodable.as_str();
        let now = clock::rfc3339(clock::unix_millis());
        let mut headers = carried(request);
        let facts = [
            (facts::PLUGIN, GATEWAY),
            (facts::REASON, reason),
            (facts::ERROR, &one_line(error, MAX_ERROR)),
            (facts::ATTEMPTS, "1"),
            (facts::FIRST_TIME, &now),
            (facts::LAST_TIME, &now),
            (SOURCE_KIND, origin.kind.as_str()),
            (SOURCE_ENVIRONMENT, origin.environment),
        ];
        for (name, value) in facts {
            headers.insert(name, value);
        }
        let letter = message::dead(GATEWAY, reason, headers, body, ttl);
        Self::letter(letter, String::new())
    }

    /// A dead letter in its place among the messages of a key.
    pub(super) fn letter(letter: Message, key: String) -> Self {
        Self {
            subject: letter.subject,
            headers: letter.headers,
            payload: letter.payload,
            key,
        }
    }

    /// About how many bytes it takes on the wire, rather too many than too few.
    pub fn size(&self) -> usize {
        const FRAMING: usize = 256;
        let headers = self.headers.iter().flat_map(|(name, values)| {
            let name: &str = name.as_ref();
            values
                .iter()
                .map(|value| name.len() + value.as_str().len() + 4)
        });
        FRAMING + self.subject.len() + headers.sum::<usize>() + self.payload.len()
    }
}

/// The headers of a request that say something about its body.
fn carried(request: &http::HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for (name, value) in request {
        let name = name.as_str();
        let is_kept = name == "content-type"
            || name == "traceparent"
            || name == "tracestate"
            || name.starts_with("ce-")
            || name.starts_with("x-ms-")
            || name.starts_with("aeg-");
        if let (true, Ok(text)) = (is_kept, std::str::from_utf8(value.as_bytes())) {
            kept.append(name, one_line(text, MAX_ERROR).as_str());
        }
    }
    kept
}

//! Takes a delivery that cannot be handled, gives its dead letter: the original bytes and headers, and the facts.

use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;

use super::message::{self, Message};
use super::reason::Reason;
use crate::claim_check::taken_out;
use crate::clock;

/// The event's trace id, 32 hex digits.
pub const TRACE_ID: &str = "Sluice-Trace-Id";
/// Who could not handle it.
pub const PLUGIN: &str = "Sluice-Plugin";
/// Its version.
pub const VERSION: &str = "Sluice-Plugin-Version";
/// Its component, `sha256:<hex>`.
pub const DIGEST: &str = "Sluice-Plugin-Digest";
/// The class of what went wrong.
pub const REASON: &str = "Sluice-Reason";
/// What went wrong.
pub const ERROR: &str = "Sluice-Error";
/// How many attempts were made.
pub const ATTEMPTS: &str = "Sluice-Attempts";
/// When the first attempt began, RFC 3339.
pub const FIRST_TIME: &str = "Sluice-First-Time";
/// When the last attempt ended, RFC 3339.
pub const LAST_TIME: &str = "Sluice-Last-Time";
/// Where the original stands in EVENTS.
pub const SEQUENCE: &str = "Sluice-Sequence";
/// The subject of the original.
pub const SUBJECT: &str = "Sluice-Subject";
/// The lane's key.
pub const PARTITION_KEY: &str = "Sluice-Partition-Key";
/// On a replayed message: the dead letter that it was.
pub const REPLAY: &str = "Sluice-Replay";
/// The place in EVENTS whose key waits for this dead letter to be replayed or discarded; and
/// on the message that says which.
pub const BLOCKS: &str = "Sluice-Blocks";
/// On a message that lets a key go on: the dead letter that was thrown away.
pub const DISCARD: &str = "Sluice-Discard";
/// On a dead letter whose body an operator has edited: the one that it took the place of.
pub const EDITED: &str = "Sluice-Edited";
/// And who that was.
pub const EDITED_BY: &str = "Sluice-Edited-By";
/// On a replayed message, and on the dead letter that it became: [`NONE`] when what its plug-in
/// emits is dropped and its requests are refused.
pub const EFFECTS: &str = "Sluice-Effects";
/// No effects.
pub const NONE: &str = "none";
/// The body did not fit beside the facts: it still stands in EVENTS, at `Sluice-Sequence`.
pub const BODY_OMITTED: &str = "Sluice-Body-Omitted";

/// Bytes of error text that are kept.
const MAX_ERROR: usize = 4 << 10;

/// One dead letter in the making.
#[derive(Debug)]
pub struct DeadLetter<'a> {
    /// Who could not handle it.
    pub plugin: &'a str,
    /// Its version.
    pub version: &'a str,
    /// Its component.
    pub digest: &'a str,
    /// The class.
    pub reason: Reason,
    /// The text.
    pub error: &'a str,
    /// How many attempts were made.
    pub attempts: u32,
    /// Unix milliseconds.
    pub first: u64,
    /// In EVENTS.
    pub sequence: u64,
    /// The place whose key it keeps waiting.
    pub blocks: Option<u64>,
    /// It was sent again to have no effects, and so is what is sent again of it.
    pub is_quiet: bool,
    /// Of the original.
    pub subject: &'a str,
    /// The lane's key, where it is known.
    pub key: &'a str,
    /// The event's trace, where it is known.
    pub trace_id: String,
    /// Of the original.
    pub headers: Option<&'a HeaderMap>,
    /// Of the original.
    pub payload: Bytes,
    /// What the broker takes as one message.
    pub max_payload: usize,
}

impl DeadLetter<'_> {
    /// The message that records it.
    pub fn message(self, ttl: Duration) -> Message {
        let facts = [
            (PLUGIN, self.plugin.to_owned()),
            (VERSION, self.version.to_owned()),
            (DIGEST, self.digest.to_owned()),
            (REASON, self.reason.as_str().to_owned()),
            (ERROR, one_line(self.error, MAX_ERROR)),
            (ATTEMPTS, self.attempts.to_string()),
            (FIRST_TIME, clock::rfc3339(self.first)),
            (LAST_TIME, clock::rfc3339(clock::unix_millis())),
            (SEQUENCE, self.sequence.to_string()),
            (SUBJECT, self.subject.to_owned()),
            (PARTITION_KEY, one_line(self.key, MAX_ERROR)),
            (TRACE_ID, self.trace_id.clone()),
        ];
        let mut headers = self.headers.map(original).unwrap_or_default();
        for (name, value) in facts {
            headers.insert(name, value.as_str());
        }
        if let Some(place) = self.blocks {
            headers.insert(BLOCKS, place.to_string());
        }
        if self.is_quiet {
            headers.insert(EFFECTS, NONE);
        }
        let reason = self.reason.as_str();
        // Its body stands in the object store, and the original's headers say where.
        let taken_out = self
            .headers
            .is_some_and(|headers| taken_out(headers).is_some());
        let payload = if taken_out {
            Bytes::new()
        } else {
            self.payload
        };
        let letter = message::dead(self.plugin, reason, headers, payload, ttl);
        // Room for the batch headers, and for what sourcing adds.
        if letter.size() + 512 <= self.max_payload {
            return letter;
        }
        let mut headers = letter.headers;
        headers.insert(BODY_OMITTED, letter.payload.len().to_string());
        message::dead(self.plugin, reason, headers, Bytes::new(), ttl)
    }
}

/// Whether a message says that it is to have no effects.
pub fn is_quiet(headers: &HeaderMap) -> bool {
    headers
        .get(EFFECTS)
        .is_some_and(|value| value.as_str() == NONE)
}

/// The headers of the original, but those that the broker would act on again and those
/// that an earlier dead letter or replay left.
pub fn original(headers: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for (name, values) in headers.iter() {
        let text: &str = name.as_ref();
        let lower = text.to_ascii_lowercase();
        if lower.starts_with("nats-") || lower.starts_with("sluice-") {
            continue;
        }
        for value in values {
            kept.append(name.clone(), value.clone());
        }
    }
    kept
}

/// A header value is one line of visible text; of a longer one, so many bytes are kept.
pub fn one_line(text: &str, limit: usize) -> String {
    let cut = &text[..text.floor_char_boundary(limit)];
    cut.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter<'a>(
        headers: &'a HeaderMap,
        payload: &'static [u8],
        max_payload: usize,
    ) -> DeadLetter<'a> {
        DeadLetter {
            plugin: "credit-hold",
            version: "1.2.0",
            digest: "sha256:00",
            reason: Reason::Trap,
            error: "broke\nbadly",
            attempts: 3,
            first: 0,
            sequence: 42,
            blocks: Some(41),
            is_quiet: false,
            subject: "d365.dataverse.x.record.account.update.3",
            key: "account/1",
            trace_id: String::new(),
            headers: Some(headers),
            payload: Bytes::from_static(payload),
            max_payload,
        }
    }

    #[test]
    fn the_original_stays_whole_and_the_facts_come_with_it() {
        let mut headers = HeaderMap::new();
        headers.insert("ce-id", "7");
        headers.insert("Nats-Msg-Id", "7");
        headers.insert("Sluice-Replay", "1");
        let message = letter(&headers, b"\x00body", 1 << 20).message(Duration::from_secs(60));
        assert_eq!(message.subject, "ledger.dead.credit-hold.trap");
        assert_eq!(message.payload.as_ref(), b"\x00body");
        let header = |name: &str| {
            message
                .headers
                .get(name)
                .map(|value| value.as_str().to_owned())
        };
        assert_eq!(header("ce-id").as_deref(), Some("7"));
        assert_eq!(header("Nats-Msg-Id"), None);
        assert_eq!(header("Sluice-Replay"), None);
        assert_eq!(header("Sluice-Error").as_deref(), Some("broke badly"));
        assert_eq!(header("Sluice-Attempts").as_deref(), Some("3"));
        assert_eq!(header("Sluice-Sequence").as_deref(), Some("42"));
        assert_eq!(header("Sluice-Blocks").as_deref(), Some("41"));
        assert_eq!(header("Nats-TTL").as_deref(), Some("60s"));
    }

    #[test]
    fn what_was_to_have_no_effects_is_to_have_none_again() {
        let mut headers = HeaderMap::new();
        headers.insert(EFFECTS, NONE);
        assert!(is_quiet(&headers) && !is_quiet(&original(&headers)));
        let of = |is_quiet| {
            let letter = DeadLetter {
                is_quiet,
                ..letter(&headers, b"", 1 << 20)
            };
            super::is_quiet(&letter.message(Duration::from_secs(60)).headers)
        };
        assert!(of(true) && !of(false));
    }

    #[test]
    fn a_body_that_does_not_fit_is_named_and_left_in_the_store() {
        let headers = HeaderMap::new();
        let message = letter(&headers, &[0; 4000], 3000).message(Duration::from_secs(60));
        assert!(message.payload.is_empty());
        let omitted = message
            .headers
            .get(BODY_OMITTED)
            .map(|value| value.as_str().to_owned());
        assert_eq!(omitted.as_deref(), Some("4000"));
    }

    #[test]
    fn without_its_body_it_keeps_the_originals_headers() {
        let mut headers = HeaderMap::new();
        headers.insert("ce-id", "7");
        let message = letter(&headers, &[0; 4000], 3000).message(Duration::from_secs(60));
        let id = message.headers.get("ce-id").map(|value| value.as_str());
        assert_eq!(id, Some("7"));
        let reference = format!("nats-object:claims/{}", "0".repeat(64));
        headers.insert("ce-dataref", reference);
        let message = letter(&headers, &[0; 4000], 1 << 20).message(Duration::from_secs(60));
        assert!(message.payload.is_empty());
        assert!(message.headers.get(BODY_OMITTED).is_none());
    }
}

//! Takes a spooled message that the broker will never take, gives the dead letter that it becomes.

use std::time::Duration;

use async_nats::HeaderMap;

use crate::clock;
use crate::gateway::outgoing::{GATEWAY, Outgoing};
use crate::ledger::dead_letter as facts;
use crate::ledger::message;

/// The class of these dead letters.
const REASON: &str = "refused";
/// Bytes of error text that are kept.
const MAX_ERROR: usize = 1 << 10;

/// The message with its body and its own headers, and why it is here. Its key stays, so
/// that it keeps its place.
pub(in crate::gateway) fn letter(
    refused: &Outgoing,
    spooled: u64,
    error: &str,
    ttl: Duration,
) -> Outgoing {
    let mut headers = facts::original(&refused.headers);
    let facts: [(&str, String); 8] = [
        (facts::PLUGIN, GATEWAY.to_owned()),
        (facts::REASON, REASON.to_owned()),
        (facts::ERROR, one_line(error)),
        (facts::ATTEMPTS, "1".to_owned()),
        (facts::FIRST_TIME, clock::rfc3339(spooled)),
        (facts::LAST_TIME, clock::rfc3339(clock::unix_millis())),
        (facts::SUBJECT, refused.subject.clone()),
        (facts::PARTITION_KEY, one_line(&refused.key)),
    ];
    for (name, value) in facts {
        headers.insert(name, value.as_str());
    }
    // It may be a dead letter of the gateway: then it says whose body it is.
    keep_own(&refused.headers, &mut headers);
    let message = message::dead(GATEWAY, REASON, headers, refused.payload.clone(), ttl);
    Outgoing {
        subject: message.subject,
        headers: message.headers,
        payload: message.payload,
        key: refused.key.clone(),
    }
}

/// What a gateway's dead letter says of its source.
fn keep_own(from: &HeaderMap, to: &mut HeaderMap) {
    for (name, values) in from.iter() {
        let text: &str = name.as_ref();
        if text.to_ascii_lowercase().starts_with("sluice-source-") {
            for value in values {
                to.append(name.clone(), value.clone());
            }
        }
    }
}

/// A header value is one line of visible text.
fn one_line(text: &str) -> String {
    let cut = &text[..text.floor_char_boundary(MAX_ERROR)];
    cut.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

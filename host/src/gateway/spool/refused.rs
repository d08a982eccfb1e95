//! Takes a spooled message that the broker will never take, gives the dead letter that it becomes.

use std::time::Duration;

use async_nats::HeaderMap;

use crate::clock;
use crate::gateway::outgoing::{GATEWAY, MAX_ERROR, Outgoing};
use crate::ledger::dead_letter::{self as facts, one_line};
use crate::ledger::message;

/// The class of these dead letters.
const REASON: &str = "refused";

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
        (facts::ERROR, one_line(error, MAX_ERROR)),
        (facts::ATTEMPTS, "1".to_owned()),
        (facts::FIRST_TIME, clock::rfc3339(spooled)),
        (facts::LAST_TIME, clock::rfc3339(clock::unix_millis())),
        (facts::SUBJECT, refused.subject.clone()),
        (facts::PARTITION_KEY, one_line(&refused.key, MAX_ERROR)),
    ];
    for (name, value) in facts {
        headers.insert(name, value.as_str());
    }
    // It may be a dead letter of the gateway: then it says whose body it is.
    keep_own(&refused.headers, &mut headers);
    let letter = message::dead(GATEWAY, REASON, headers, refused.payload.clone(), ttl);
    Outgoing::letter(letter, refused.key.clone())
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

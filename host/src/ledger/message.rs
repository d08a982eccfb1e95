//! Takes an effect of a delivery, gives the message that records it in the ledger.

use std::collections::HashSet;
use std::time::Duration;

use async_nats::{HeaderMap, header};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::subject::{self, PartitionName};
use crate::clock;

/// Marks a message that says "nothing here any more".
const TOMBSTONE: &str = "Sluice-Deleted";
/// How long a tombstone stays: it has done its work when it replaced what was there.
const TOMBSTONE_TTL: &str = "1s";
/// When the broker puts a message out, to where, and how long that stays there.
const SCHEDULE: &str = "Nats-Schedule";
const SCHEDULE_TARGET: &str = "Nats-Schedule-Target";
const SCHEDULE_TTL: &str = "Nats-Schedule-TTL";
/// What a message costs in a batch besides its parts.
const FRAMING: usize = 64;

/// One message of a commit.
#[derive(Debug, Clone)]
pub struct Message {
    /// Where it goes.
    pub subject: String,
    /// With the rollup, TTL and expectation headers that its kind needs.
    pub headers: HeaderMap,
    /// Its body.
    pub payload: Bytes,
    /// It takes the place of what its subject had (rollup). The server takes one of those
    /// a subject and batch.
    pub replaces: bool,
}

/// The messages of one commit, in their order: of several that replace what one subject
/// had, the last. Nobody could have seen the others, since a commit is visible as a whole.
pub fn latest(messages: impl DoubleEndedIterator<Item = Message>) -> Vec<Message> {
    let mut replaced = HashSet::new();
    let mut kept: Vec<Message> = messages
        .rev()
        .filter(|message| !message.replaces || replaced.insert(message.subject.clone()))
        .collect();
    kept.reverse();
    kept
}

impl Message {
    /// About how many bytes it takes on the wire.
    pub fn size(&self) -> usize {
        let headers: usize = self
            .headers
            .iter()
            .map(|(name, values)| {
                let values: usize = values.iter().map(|value| value.as_str().len() + 4).sum();
                AsRef::<str>::as_ref(name).len() + values
            })
            .sum();
        FRAMING + self.subject.len() + headers + self.payload.len()
    }
}

/// What is written down of an event that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// Attempts that have failed; 0 for an event that waits behind another.
    pub attempts: u32,
    /// Unix milliseconds of the next attempt.
    pub due: u64,
    /// Unix milliseconds of the first attempt.
    pub first: u64,
    /// The lane's key.
    pub key: String,
    /// It is a dead letter that keeps its key waiting.
    #[serde(default, skip_serializing_if = "is_false")]
    pub blocked: bool,
    /// Where the message stands that is to be handled in its place: a dead letter that was
    /// sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<u64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// A log message: the fence is its expectation about the subject's last sequence.
pub fn log(name: &PartitionName, expected: u64, body: Vec<u8>) -> Message {
    fenced(name.log(), expected, body.into())
}

/// How many partitions a plug-in's ledger is divided into; only the first is taken.
pub fn partitions(plugin: &str, count: u8) -> Message {
    fenced(subject::partitions(plugin), 0, count.to_string().into())
}

/// The new value of a state key, or its end.
pub fn state(name: &PartitionName, key: &str, value: Option<Bytes>) -> Message {
    replacing(name.state(key), value)
}

/// What a state key had until this commit; it stays for as long as is asked for.
pub fn was(name: &PartitionName, key: &str, value: Option<Bytes>, keep: Duration) -> Message {
    let mut headers = HeaderMap::new();
    if value.is_none() {
        headers.insert(TOMBSTONE, "1");
    }
    expiring(name.was(key), headers, value.unwrap_or_default(), keep)
}

/// How far back that goes, or that it is not kept any more.
pub fn history(name: &PartitionName, body: Option<Vec<u8>>) -> Message {
    replacing(name.history(), body.map(Into::into))
}

/// How far the state was carried over to a version.
pub fn carried(name: &PartitionName, version: u16, body: Vec<u8>) -> Message {
    replacing(name.carried(version), Some(body.into()))
}

/// The attempts of a waiting event.
pub fn retry(name: &PartitionName, sequence: u64, retry: &Retry) -> Message {
    let body = serde_json::to_vec(retry).unwrap_or_default();
    replacing(name.retry(sequence), Some(body.into()))
}

/// An event that was written down does not wait any more.
pub fn no_retry(name: &PartitionName, sequence: u64) -> Message {
    replacing(name.retry(sequence), None)
}

/// An emitted event.
pub fn out(event_subject: &str, headers: HeaderMap, payload: Bytes, ttl: Duration) -> Message {
    expiring(subject::out(event_subject), headers, payload, ttl)
}

/// An event that the broker is to put out at a time of its own, in Unix milliseconds, or that it
/// is not to any more. A later one for the same key takes its place.
pub fn timer(
    name: &PartitionName,
    key: &str,
    comes: Option<(u64, String, HeaderMap, Bytes)>,
    ttl: Duration,
) -> Message {
    let subject = name.timer(key);
    let Some((due, event_subject, mut headers, payload)) = comes else {
        return replacing(subject, None);
    };
    headers.insert(SCHEDULE, format!("@at {}", clock::rfc3339(due)));
    headers.insert(SCHEDULE_TARGET, subject::out(&event_subject));
    headers.insert(SCHEDULE_TTL, format!("{}s", ttl.as_secs().max(1)));
    Message {
        subject,
        headers,
        payload,
        replaces: true,
    }
}

/// A dead letter.
pub fn dead(
    plugin: &str,
    reason: &str,
    headers: HeaderMap,
    payload: Bytes,
    ttl: Duration,
) -> Message {
    expiring(subject::dead(plugin, reason), headers, payload, ttl)
}

/// Whether a message says "nothing here any more".
pub fn is_tombstone(headers: &HeaderMap) -> bool {
    headers.get(TOMBSTONE).is_some()
}

fn fenced(subject: String, expected: u64, payload: Bytes) -> Message {
    let mut headers = HeaderMap::new();
    headers.insert(
        header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE,
        expected.to_string(),
    );
    Message {
        subject,
        headers,
        payload,
        replaces: false,
    }
}

fn replacing(subject: String, value: Option<Bytes>) -> Message {
    let mut headers = HeaderMap::new();
    headers.insert(header::NATS_ROLLUP, "sub");
    if value.is_none() {
        headers.insert(TOMBSTONE, "1");
        headers.insert(header::NATS_MESSAGE_TTL, TOMBSTONE_TTL);
    }
    Message {
        subject,
        headers,
        payload: value.unwrap_or_default(),
        replaces: true,
    }
}

fn expiring(subject: String, mut headers: HeaderMap, payload: Bytes, ttl: Duration) -> Message {
    // The server takes whole seconds, one at least.
    let seconds = ttl.as_secs().max(1);
    headers.insert(header::NATS_MESSAGE_TTL, format!("{seconds}s"));
    Message {
        subject,
        headers,
        payload,
        replaces: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_values_of_one_key_the_last_is_committed() {
        let name = PartitionName {
            plugin: "p".to_owned(),
            partition: 0,
        };
        let value = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
        let messages = vec![
            state(&name, "a", value("1")),
            out("d365.x", HeaderMap::new(), Bytes::new(), Duration::ZERO),
            state(&name, "b", value("1")),
            state(&name, "a", None),
            out("d365.x", HeaderMap::new(), Bytes::new(), Duration::ZERO),
        ];
        let kept = latest(messages.into_iter());
        let subjects: Vec<&str> = kept.iter().map(|message| &*message.subject).collect();
        let expected = [
            "ledger.out.x",
            "ledger.p.0.state.b",
            "ledger.p.0.state.a",
            "ledger.out.x",
        ];
        assert_eq!(subjects, expected);
        assert!(
            kept.get(2)
                .is_some_and(|message| is_tombstone(&message.headers))
        );
    }
}

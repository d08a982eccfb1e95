//! Takes a number, gives a small event that no other number gives, and a store full of them.

use anyhow::{Result, ensure};
use async_nats::HeaderMap;
use bytes::Bytes;
use sluicegate_tests::events::{Message, publish_messages, subject};

use crate::ledger::Js;

/// Bytes of each body.
pub(crate) const BODY: usize = 235;
/// Partition keys that take turns.
pub(crate) const KEYS: u64 = 1_000;
/// Events that are published between two looks at the clock.
const PART: u64 = 10_000;

/// The id of event `number`.
pub(crate) fn id(number: u64) -> String {
    format!("b{number:08}")
}

/// Event `number`, as the gateway would have written it.
pub(crate) fn message(number: u64) -> Message {
    let key = format!("account/k{}", number % KEYS);
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("ce-specversion", "1.0"),
        ("ce-id", &id(number)),
        ("ce-source", "/dataverse/contoso"),
        ("ce-type", "d365.dataverse.account.update"),
        ("ce-time", "2026-11-25T09:25:05Z"),
        ("ce-subject", &key),
        ("ce-partitionkey", &key),
        ("ce-datacontenttype", "application/json"),
    ] {
        headers.insert(name, value);
    }
    Message {
        subject: subject("account", &key),
        headers,
        body: body(number),
    }
}

fn body(number: u64) -> Bytes {
    let limit = number % 50_000;
    let start = format!(
        r#"{{"n":{number},"accountnumber":"A-{number:08}","creditlimit":{limit},"name":"Contoso","note":""#
    );
    let fill = BODY.saturating_sub(start.len() + 2);
    format!("{start}{}\"}}", "x".repeat(fill)).into()
}

/// Stores the events `0..count`.
pub(crate) async fn store(jetstream: &Js, count: u64) -> Result<()> {
    for first in (0..count).step_by(PART as usize) {
        let part: Vec<Message> = (first..count.min(first + PART)).map(message).collect();
        publish_messages(jetstream, &part).await?;
    }
    Ok(())
}

/// Fails when the bodies do not have the size that the report says.
pub(crate) fn check() -> Result<()> {
    for number in [0, 99_999, 12_345_678] {
        let size = body(number).len();
        ensure!(size == BODY, "body {number} has {size} bytes");
    }
    Ok(())
}

//! Takes a number, gives an event that no other number gives, and a store full of them.

use anyhow::{Result, ensure};
use async_nats::HeaderMap;
use bytes::Bytes;
use sluicegate_tests::events::{Message, publish_messages, subject};

use crate::body::Template;
use crate::ledger::Js;

/// Bytes of a small body.
pub(crate) const BODY: usize = 235;
/// Partition keys of small bodies that take turns.
pub(crate) const KEYS: u64 = 1_000;
/// Where they are: what a consumer that is compared with reads.
pub(crate) const FILTER: &str = "d365.custom.test.record.account.*.*";
/// Events that are published between two looks at the clock.
const PART: u64 = 10_000;
/// And no more bytes than this.
const PART_BYTES: usize = 64 << 20;

/// Events of one kind.
pub(crate) enum Events {
    /// An account by its columns, in 235 bytes.
    Small {
        /// Partition keys that take turns.
        keys: u64,
    },
    /// An account by as many columns as fit into a body of about so many bytes.
    Columns {
        /// Bytes of a body.
        size: usize,
    },
    /// What Dataverse posts of an account.
    Dataverse(Template),
}

impl Events {
    /// Event `number`, as the gateway would have written it.
    pub(crate) fn message(&self, number: u64) -> Message {
        match self {
            Self::Small { keys } => of(number, &key(number, *keys), body(number)),
            Self::Columns { size } => of(number, &key(number, KEYS), columns(number, *size)),
            Self::Dataverse(template) => {
                let mut body = template.bytes().to_vec();
                template.vary(&mut body, number);
                let key = format!("account/{}", Template::record(number));
                let mut message = of(number, &key, body.into());
                for (name, value) in [
                    ("ce-correlationid", "03dd4310-6176-57b1-bf2e-d643037bbb1f"),
                    ("ce-d365depth", "1"),
                    ("ce-d365user", "00891ea1-854c-53bd-901c-7373ce3f5dde"),
                    ("ce-d365organization", "contoso.crm4.dynamics.com"),
                ] {
                    message.headers.insert(name, value);
                }
                message
            }
        }
    }

    /// Bytes of a body.
    pub(crate) fn size(&self) -> usize {
        self.message(0).body.len()
    }

    /// Stores the events `0..count`.
    pub(crate) async fn store(&self, jetstream: &Js, count: u64) -> Result<()> {
        let part = PART.min((PART_BYTES / self.size()) as u64).max(1);
        for first in (0..count).step_by(usize::try_from(part)?) {
            let last = count.min(first + part);
            let part: Vec<Message> = (first..last).map(|number| self.message(number)).collect();
            publish_messages(jetstream, &part).await?;
        }
        Ok(())
    }
}

/// The id of event `number`.
pub(crate) fn id(number: u64) -> String {
    format!("b{number:08}")
}

/// The small event `number`.
pub(crate) fn message(number: u64) -> Message {
    Events::Small { keys: KEYS }.message(number)
}

fn key(number: u64, keys: u64) -> String {
    format!("account/k{}", number % keys)
}

fn of(number: u64, key: &str, body: Bytes) -> Message {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("ce-specversion", "1.0"),
        ("ce-id", &id(number)),
        ("ce-source", "/dataverse/contoso"),
        ("ce-type", "d365.dataverse.account.update"),
        ("ce-time", "2026-11-25T09:25:05Z"),
        ("ce-subject", key),
        ("ce-partitionkey", key),
        ("ce-datacontenttype", "application/json"),
    ] {
        headers.insert(name, value);
    }
    Message {
        subject: subject("account", key),
        headers,
        body,
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

/// The limit stands at the end: who looks for it has to read all of them.
fn columns(number: u64, size: usize) -> Bytes {
    let limit = number % 50_000;
    let mut text = format!(r#"{{"n":{number},"accountnumber":"A-{number:08}""#);
    let end = format!(r#","creditlimit":{limit}}}"#);
    for column in 0.. {
        let next =
            format!(r#","new_remark{column}":"Told the customer that the agreement is renewed.""#);
        if size < text.len() + next.len() + end.len() {
            break;
        }
        text += &next;
    }
    (text + &end).into()
}

/// Fails when the small bodies do not have the size that the report says.
pub(crate) fn check() -> Result<()> {
    for number in [0, 99_999, 12_345_678] {
        let size = body(number).len();
        ensure!(size == BODY, "body {number} has {size} bytes");
        for kb in [1, 256] {
            let size = columns(number, kb << 10).len();
            let fits = (kb << 10) - 100..=kb << 10;
            ensure!(
                fits.contains(&size),
                "{size} bytes of columns for {kb} KB in body {number}"
            );
        }
    }
    Ok(())
}

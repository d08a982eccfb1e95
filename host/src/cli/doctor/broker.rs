//! Takes a connection, finds what of the broker itself stands in the way.

use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::account::Account;
use async_nats::{Client, HeaderMap};
use bytesize::ByteSize;
use serde::Deserialize;
use tokio::time::timeout;

use super::finding::About;
use crate::broker::{EVENTS, LEDGER};
use crate::clock;

const PATIENCE: Duration = Duration::from_secs(5);
/// From here on something should be done.
pub(super) const NEARLY_FULL: f64 = 0.8;
/// Times of events, TTLs and leases are compared with what this and other machines' clocks say.
const CLOCK_MAY_DIFFER_MS: u64 = 1_000;

/// Whether JetStream can be asked about the rest.
pub(super) async fn look(context: &Context, about: &mut About<'_>) -> bool {
    let client = context.client();
    let server = client.server_info();
    about.ok(format!(
        "nats-server {} answers at {}:{}",
        server.version, server.host, server.port
    ));
    match context.query_account().await {
        Ok(account) => limits(&account, about),
        Err(error) => {
            about.fail(
                format!("JetStream cannot be used: {error}"),
                "start nats-server with -js (or `jetstream {}` in its file); where it has \
                 accounts, enable JetStream for this one and let this user publish to $JS.API.>; \
                 streams, hosts and plug-ins could not be looked at",
            );
            return false;
        }
    }
    permissions(context, about).await;
    clocks(&client, about).await;
    about.note(
        "how often the broker writes to disk cannot be seen from here",
        "it is every two minutes unless its file says sync_interval: on a single server set \
         `jetstream { sync_interval: always }`, or a power cut loses what it has acknowledged",
    );
    true
}

fn limits(account: &Account, about: &mut About<'_>) {
    let streams = u64::try_from(account.streams).unwrap_or(u64::MAX);
    let stored = account.storage.max(account.reserved_storage);
    let limit = |limit: Option<i64>| limit.and_then(|limit| u64::try_from(limit).ok());
    let storage = limit(account.limits.max_storage);
    let count = limit(account.limits.max_streams).filter(|count| 0 < *count);
    let mut is_fine = true;
    if let Some(limit) = storage
        && NEARLY_FULL <= share(stored, limit)
    {
        is_fine = false;
        about.warn(
            format!(
                "the account may store {}, and {} of that are used or reserved",
                ByteSize(limit),
                ByteSize(stored)
            ),
            "raise the account's max_storage (or max_file_store of the server), or lower \
             events.max_bytes: what does not fit is refused",
        );
    }
    if let Some(limit) = count
        && limit < streams.saturating_add(1)
    {
        is_fine = false;
        about.warn(
            format!("the account may have {limit} streams, and has {streams}"),
            "raise the account's max_streams: Sluicegate has six",
        );
    }
    if is_fine {
        about.ok(format!(
            "JetStream is on; {streams} streams, {} used or reserved",
            ByteSize(stored)
        ));
    }
}

/// How much of `limit` is used, 0 to 1.
pub(super) fn share(used: u64, limit: u64) -> f64 {
    used as f64 / limit.max(1) as f64
}

/// Publishes what the broker refuses for another reason than that it may not be published.
async fn permissions(context: &Context, about: &mut About<'_>) {
    let events = may_publish(context, "d365.custom.doctor.system.question.raised.0");
    let ledger = may_publish(context, "ledger.doctor");
    let (events, ledger) = tokio::join!(events, ledger);
    let mut denied = Vec::new();
    for (subject, stream, may) in [("d365.>", EVENTS, events), ("ledger.>", LEDGER, ledger)] {
        if !may {
            denied.push(format!("{subject} ({stream})"));
        }
    }
    if denied.is_empty() {
        about.ok("this user may publish events and commits");
    } else {
        about.fail(
            format!("a publish to {} is not answered", denied.join(" and ")),
            "let the user publish to d365.>, ledger.>, $KV.>, $O.>, sluicegate.> and $JS.API.>, \
             and subscribe to _INBOX.>",
        );
    }
}

/// No stream has this name, so nothing is stored.
async fn may_publish(context: &Context, subject: &str) -> bool {
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Expected-Stream", "no stream has this name");
    let publish = async {
        let ack = context.publish_with_headers(subject.to_owned(), headers, "".into());
        match ack.await {
            Ok(ack) => ack.await.map(|_| ()),
            Err(error) => Err(error),
        }
    };
    // Any answer will do, that no stream takes the subject too: it came through.
    match timeout(PATIENCE / 2, publish).await {
        Ok(answer) => answer.err().is_none_or(|error| {
            use async_nats::jetstream::context::PublishErrorKind as Kind;
            error.kind() != Kind::TimedOut
        }),
        Err(_) => false,
    }
}

#[derive(Deserialize)]
struct Timed {
    /// By the broker's clock.
    ts: String,
}

async fn clocks(client: &Client, about: &mut About<'_>) {
    let question = format!("$JS.API.STREAM.INFO.{EVENTS}");
    let before = clock::unix_millis();
    let Ok(Ok(answer)) = timeout(PATIENCE, client.request(question, "".into())).await else {
        return;
    };
    let after = clock::unix_millis();
    // Without the stream there is no time, and its absence is told elsewhere.
    let Ok(timed) = serde_json::from_slice::<Timed>(&answer.payload) else {
        return;
    };
    let Some(theirs) = clock::parse_rfc3339(&timed.ts) else {
        return;
    };
    let ours = u64::midpoint(before, after);
    let apart = ours.abs_diff(theirs);
    if apart <= CLOCK_MAY_DIFFER_MS.saturating_add(after.saturating_sub(before)) {
        about.ok(format!("its clock and this machine's are {apart} ms apart"));
    } else {
        about.warn(
            format!("its clock and this machine's are {apart} ms apart"),
            "have both set by NTP: the age of events, `ttl`, retries and who is taken for alive \
             are told by these clocks",
        );
    }
}

//! Takes what events are like, lets go of all of them but the last of each key.

use std::collections::HashMap;
use std::ops::ControlFlow;

use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::jetstream::stream::Stream;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::audit;
use super::handled::{self, handled};
use super::history::search::{bounds, row};
use super::history::{self, Query, find::ends};
use super::who::Who;
use crate::broker::{EVENTS, How, ReadError, delete, read};
use crate::decode::{attribute, is_structured};
use crate::digest::first;
use crate::redacted;
use crate::route::addressee;

/// Deletions that the broker is asked for at once.
const AT_ONCE: usize = 64;

/// Why nothing was let go of, or no more.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The event store cannot be read.
    #[error(transparent)]
    History(#[from] history::Error),
    /// It was not read to its end.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Nobody knows what plug-ins still want.
    #[error(transparent)]
    Handled(#[from] handled::Error),
    /// It cannot be written down.
    #[error(transparent)]
    Audit(#[from] audit::Error),
    /// The broker does not do it.
    #[error("event {sequence} stays: {reason}; do it again: it goes on where it stopped")]
    Delete {
        /// Where it stands.
        sequence: u64,
        /// What the broker says.
        reason: String,
    },
}

/// What is to leave.
#[derive(Debug, Default)]
pub struct Plan {
    /// Events that have a later one of their key, in the order of the store.
    pub older: Vec<u64>,
    /// Keys.
    pub keys: u64,
    /// Events with their attributes in their bodies: whose they are is not looked for, so they stay.
    pub structured: u64,
    /// Events that have a later one and stay, since a plug-in is not through with them yet,
    pub wanted: u64,
    /// and the first of those plug-ins.
    pub by: Option<String>,
}

/// Looks for them; only what every plug-in that runs has handled may leave.
///
/// # Errors
/// When the store cannot be read, or it cannot be told what plug-ins want.
pub async fn plan(context: &Context, query: &Query) -> Result<Plan, Error> {
    let events = history::stream(context).await?;
    let (oldest, last) = ends(&events).await?;
    let (start, end) = bounds(&events, query, (oldest, last + 1)).await?;
    let mut plan = Plan::default();
    let found = handled(context).await?;
    let up_to = found.up_to;
    plan.by = found.by;
    if start < end {
        look(&events, query, (start, end), &mut plan).await?;
    }
    let before = plan.older.len();
    plan.older.retain(|sequence| *sequence <= up_to);
    plan.wanted = (before - plan.older.len()) as u64;
    Ok(plan)
}

async fn look(
    events: &Stream,
    query: &Query,
    (start, end): (u64, u64),
    plan: &mut Plan,
) -> Result<(), Error> {
    let what = pull::Config {
        filter_subjects: query.subjects(),
        deliver_policy: DeliverPolicy::ByStartSequence {
            start_sequence: start.max(1),
        },
        headers_only: true,
        ..pull::Config::default()
    };
    let none = HeaderMap::new();
    // By a digest of the key: keys may be long, and there may be many.
    let mut newest: HashMap<[u8; 16], u64> = HashMap::new();
    read(events, what, |message| {
        let Ok(info) = message.info() else {
            return ControlFlow::Continue(());
        };
        if end <= info.stream_sequence {
            return ControlFlow::Break(());
        }
        let headers = message.headers.as_ref().unwrap_or(&none);
        let is_addressed = addressee(&message.subject).is_some();
        if is_addressed || redacted::is_envelope(message.headers.as_ref()) {
            return ControlFlow::Continue(());
        }
        if is_structured(headers) {
            plan.structured += 1;
            return ControlFlow::Continue(());
        }
        let sequence = info.stream_sequence;
        let row = row(sequence, String::new(), &message.subject, |name| {
            attribute(headers, name)
        });
        // What is no event has no key.
        if row.key.is_empty() || !query.meets(&row) {
            return ControlFlow::Continue(());
        }
        if let Some(before) = newest.insert(first(&Sha256::digest(&row.key)), sequence) {
            plan.older.push(before);
        }
        ControlFlow::Continue(())
    })
    .await?;
    plan.keys = newest.len() as u64;
    plan.older.sort_unstable();
    Ok(())
}

/// Writes down who wants it, and has them leave, the oldest first. `show` hears how many have.
///
/// # Errors
/// When it cannot be written down, or the broker does not do it.
pub async fn compact(
    context: &Context,
    who: &Who,
    query: &Query,
    plan: &Plan,
    mut show: impl FnMut(u64),
) -> Result<u64, Error> {
    let detail = json!({
        "conditions": query.texts(), "events": plan.older.len(), "keys": plan.keys,
        "from": plan.older.first(), "to": plan.older.last(),
    });
    audit::record(context, who, "compact", EVENTS, detail).await?;
    let deletions = stream::iter(plan.older.iter().copied()).map(|sequence| async move {
        let deleted = delete(context, EVENTS, sequence, How::Forget).await;
        deleted.map_err(|reason| Error::Delete { sequence, reason })
    });
    let mut deletions = deletions.buffer_unordered(AT_ONCE);
    let mut left = 0;
    while let Some(was_there) = deletions.try_next().await? {
        left += u64::from(was_there);
        show(left);
    }
    Ok(left)
}

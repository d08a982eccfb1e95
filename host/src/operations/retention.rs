//! Takes for how long events of each kind are kept, has the broker let go of the older ones that
//! every plug-in has handled.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::stream::Stream;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::handled::{self, handled};
use super::history::search::at_time;
use super::history::{self, find::ends};
use crate::clock;

/// Numbers that the broker looks at in one go: it serves nobody else on the stream meanwhile.
const STEP: u64 = 50_000;
const PAUSE: Duration = Duration::from_millis(50);
/// It is looked at this many times while an event grows too old,
const LOOKS: u32 = 10;
/// within these bounds.
const LOOK_FIRST: Duration = Duration::from_millis(500);
const LOOK_LAST: Duration = Duration::from_secs(300);

/// Why nothing leaves for the moment.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The event store cannot be read.
    #[error(transparent)]
    History(#[from] history::Error),
    /// Nobody knows what plug-ins still want.
    #[error(transparent)]
    Handled(#[from] handled::Error),
    /// The broker does not do it.
    #[error("events on {subject} do not leave: {reason}")]
    Purge {
        /// Which.
        subject: String,
        /// What the broker says.
        reason: String,
    },
}

/// The subjects of a kind.
pub fn subject(kind: &str) -> String {
    format!("d365.*.*.{kind}.>")
}

/// Looks from time to time, until `stop`. Every host does: what has left leaves once.
pub async fn run(context: Context, keep: BTreeMap<String, Duration>, stop: CancellationToken) {
    let Some(shortest) = keep.values().min() else {
        return;
    };
    let between = (*shortest / LOOKS).clamp(LOOK_FIRST, LOOK_LAST);
    let mut done: BTreeMap<&str, u64> = BTreeMap::new();
    loop {
        tokio::select! {
            () = sleep(between) => {}
            () = stop.cancelled() => return,
        }
        for (kind, age) in &keep {
            let from = done.entry(kind).or_default();
            let left = tokio::select! {
                left = let_go(&context, kind, *age, from) => left,
                () = stop.cancelled() => return,
            };
            match left {
                Ok(0) => {}
                Ok(left) => tracing::info!(kind, left, ?age, "events have left the event store"),
                Err(error) => tracing::warn!(kind, %error, "older events stay for the moment"),
            }
        }
    }
}

/// Lets go of those between `from`, which moves on, and what is young enough or still wanted;
/// gives how many.
async fn let_go(
    context: &Context,
    kind: &str,
    age: Duration,
    from: &mut u64,
) -> Result<u64, Error> {
    let events = history::stream(context).await?;
    let (first, last) = ends(&events).await?;
    let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    let young = at_time(&events, clock::unix_millis().saturating_sub(age)).await?;
    let subject = subject(kind);
    // The first that stays.
    let mut end = young.unwrap_or(last + 1);
    let mut start = first.max(*from);
    if end <= start {
        return Ok(0);
    }
    let handled = handled(context).await?;
    if handled.up_to < end - 1 {
        tracing::debug!(kind, by = handled.by, "older events are still wanted");
        end = handled.up_to + 1;
    }
    let mut left = 0;
    while start < end {
        let next = end.min(start.saturating_add(STEP));
        left += purge(&events, &subject, next).await?;
        start = next;
        *from = next;
        sleep(PAUSE).await;
    }
    Ok(left)
}

/// Those on a subject before a number.
async fn purge(events: &Stream, subject: &str, before: u64) -> Result<u64, Error> {
    let purged = events.purge().filter(subject).sequence(before).await;
    match purged {
        Ok(answer) => Ok(answer.purged),
        Err(error) => Err(Error::Purge {
            subject: subject.to_owned(),
            reason: error.to_string(),
        }),
    }
}

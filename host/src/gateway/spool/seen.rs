//! Takes events that the broker may have already, gives those of them that it has.
//!
//! The broker drops by itself what it has seen within `events.dedup_window`. This is for
//! what is older: the headers of the event store are read, from the time on at which the
//! first of them may have come in.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::time::Duration;

use async_nats::datetime;
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::{DeliverPolicy, pull};

use crate::broker::{EVENTS, read};

/// How far the broker's clock may be behind this host's.
const SKEW: Duration = Duration::from_secs(60);
/// With more subjects than this, those of other events are read too.
const MAX_FILTERS: usize = 64;
const EVERY_EVENT: &str = "d365.>";

/// An event that may have come in.
#[derive(Debug, Clone, Copy)]
pub(in crate::gateway) struct Suspect<'a> {
    /// Its number in the spool.
    pub(in crate::gateway) number: u64,
    /// Where it was sent.
    pub(in crate::gateway) subject: &'a str,
    /// Its `Nats-Msg-Id`.
    pub(in crate::gateway) id: &'a str,
    /// Unix milliseconds before which it was not sent.
    pub(in crate::gateway) since: u64,
}

/// The numbers of those that are in the event store.
///
/// # Errors
/// What the broker says; then nobody knows about any of them.
pub(in crate::gateway) async fn in_events(
    context: &Context,
    suspects: &[Suspect<'_>],
) -> Result<HashSet<u64>, String> {
    let Some(since) = suspects.iter().map(|suspect| suspect.since).min() else {
        return Ok(HashSet::new());
    };
    let by_id: HashMap<&str, u64> = suspects
        .iter()
        .map(|suspect| (suspect.id, suspect.number))
        .collect();
    let events = context
        .get_stream(EVENTS)
        .await
        .map_err(|error| error.to_string())?;
    let mut found = HashSet::new();
    let reading = read(
        &events,
        headers_since(since, filters(suspects))?,
        |message| {
            let headers = message.headers.as_ref();
            let id = headers.and_then(|headers| headers.get(NATS_MESSAGE_ID));
            found.extend(id.and_then(|id| by_id.get(id.as_str())));
            if found.len() < by_id.len() {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        },
    );
    reading.await.map_err(|error| error.to_string())?;
    Ok(found)
}

fn filters(suspects: &[Suspect<'_>]) -> Vec<String> {
    let subjects: HashSet<&str> = suspects.iter().map(|suspect| suspect.subject).collect();
    if MAX_FILTERS < subjects.len() {
        return vec![EVERY_EVENT.to_owned()];
    }
    subjects.into_iter().map(str::to_owned).collect()
}

fn headers_since(since: u64, filter_subjects: Vec<String>) -> Result<pull::Config, String> {
    let start = Duration::from_millis(since).saturating_sub(SKEW);
    let start = i128::try_from(start.as_nanos()).unwrap_or(0);
    let start_time = datetime::from_nanos(start).map_err(|error| error.to_string())?;
    Ok(pull::Config {
        filter_subjects,
        deliver_policy: DeliverPolicy::ByStartTime { start_time },
        headers_only: true,
        ..pull::Config::default()
    })
}

//! Takes the retry records of the ledger, gives the events that wait, each by its place.

use std::collections::BTreeMap;

use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::stream::Stream;

use super::message::{Retry, is_tombstone};
use super::subject::{PartitionName, retry_place};
use crate::broker::{ReadError, read_all};

/// The records on these subjects.
///
/// # Errors
/// What the broker says. A record that cannot be read is named in the log and left out.
pub async fn read(
    ledger: &Stream,
    subjects: &str,
) -> Result<BTreeMap<(PartitionName, u64), Retry>, ReadError> {
    let mut waiting = BTreeMap::new();
    read_all(ledger, subjects, DeliverPolicy::All, |message| {
        let Some(place) = retry_place(&message.subject) else {
            return;
        };
        if message.headers.as_ref().is_some_and(is_tombstone) {
            waiting.remove(&place);
            return;
        }
        match serde_json::from_slice(&message.payload) {
            Ok(retry) => drop(waiting.insert(place, retry)),
            Err(error) => tracing::error!(
                subject = %message.subject, %error, "a waiting event cannot be read"
            ),
        }
    })
    .await?;
    Ok(waiting)
}

//! Takes how long it is to be kept what a partition's state keys had, gives since when that is.

use std::time::Duration;

use async_nats::jetstream::stream::{LastRawMessageErrorKind, Stream};
use serde::{Deserialize, Serialize};

use super::claim::{Claimant, Error};
use super::message;
use super::subject::PartitionName;
use super::{batch, message::is_tombstone};
use crate::broker::ReadError;
use crate::clock;

/// What is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// There is no state, so there is nothing to ask the ledger.
    NoState,
    /// Only what keys have now.
    Nothing,
    /// What they had before, for so long.
    For(Duration),
}

impl Keep {
    /// Where anything is kept, for how long.
    pub fn time(self) -> Option<Duration> {
        match self {
            Self::For(time) => Some(time),
            Self::NoState | Self::Nothing => None,
        }
    }
}

/// What is kept of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// From then on; Unix milliseconds.
    since: u64,
    /// What was changed longer ago than this is not there any more.
    time: Duration,
}

/// On `ledger.<plugin>.<partition>.history`.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    /// Unix milliseconds; none for when this was stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<u64>,
    keep_seconds: u64,
}

impl Kept {
    /// The first moment that the past is known of; Unix milliseconds.
    pub fn first(&self, now: u64) -> u64 {
        let time = u64::try_from(self.time.as_millis()).unwrap_or(u64::MAX);
        self.since.max(now.saturating_sub(time))
    }
}

/// What is kept of this partition; none when nothing is.
///
/// # Errors
/// What the broker says.
pub async fn read(ledger: &Stream, name: &PartitionName) -> Result<Option<Kept>, ReadError> {
    let subject = name.history();
    let failed = |error: String| ReadError::Messages(format!("{subject}: {error}"));
    let message = match ledger.get_last_raw_message_by_subject(&subject).await {
        Ok(message) if is_tombstone(&message.headers) => return Ok(None),
        Ok(message) => message,
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => return Ok(None),
        Err(error) => return Err(failed(error.to_string())),
    };
    let record: Record =
        serde_json::from_slice(&message.payload).map_err(|error| failed(error.to_string()))?;
    let stored = u64::try_from(message.time.unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
    Ok(Some(Kept {
        since: record.since.unwrap_or(stored),
        time: Duration::from_secs(record.keep_seconds),
    }))
}

/// Writes down since when it is kept what keys had, where that changes. The partition is this
/// process's: nobody else changes its state meanwhile.
pub(super) async fn keep(
    claimant: &Claimant<'_>,
    name: &PartitionName,
    keep: Keep,
) -> Result<(), Error> {
    if keep == Keep::NoState {
        return Ok(());
    }
    let before = read(claimant.ledger, name).await;
    let before = before.map_err(|error| Error::Read {
        name: name.to_string(),
        source: error.into(),
    })?;
    let body = match (keep.time(), before) {
        (None, None) => return Ok(()),
        (Some(time), Some(kept)) if kept.time.as_secs() == time.as_secs() => return Ok(()),
        (None, Some(_)) => None,
        (Some(time), before) => {
            // A longer time brings nothing back.
            let since = before.map(|kept| kept.first(clock::unix_millis()));
            let record = Record {
                since,
                keep_seconds: time.as_secs(),
            };
            Some(serde_json::to_vec(&record).unwrap_or_default())
        }
    };
    let written = batch::one(claimant.context, &message::history(name, body)).await;
    written.map(|_| ()).map_err(|source| Error::Write {
        name: name.to_string(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_past_is_known_from_its_beginning_or_for_its_time() {
        let kept = Kept {
            since: 1_000_000,
            time: Duration::from_secs(60),
        };
        assert_eq!(kept.first(1_010_000), 1_000_000);
        assert_eq!(kept.first(1_100_000), 1_040_000);
        assert_eq!(kept.first(0), 1_000_000);
    }
}

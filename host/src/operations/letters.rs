//! Takes the stream DEADLETTER, gives what stands in it: one letter whole, all in short, in groups.

use std::ops::ControlFlow;

use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::jetstream::stream::{RawMessageErrorKind, Stream};
use bytes::Bytes;

pub use self::conditions::{Conditions, NoCondition};
pub use self::group::{Group, groups};
use self::summary::Words;
pub use self::summary::{Summary, Text};
use crate::broker::{DEADLETTER, ReadError, read};
use crate::claim_check;
use crate::decode::is_structured;

mod conditions;
mod fingerprint;
mod group;
mod summary;

/// Why dead letters cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The stream is not there, or does not answer.
    #[error(
        "stream {DEADLETTER} does not answer: {0}; has `sluice run` ever been connected to this \
         broker?"
    )]
    Stream(String),
    /// It could not be read to its end.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// No such letter.
    #[error("there is no dead letter {0}; `sluice dlq list` shows those that are there")]
    None(u64),
    /// Its body is somewhere else, and not there.
    #[error("its body cannot be had: {0}")]
    Body(String),
}

/// A dead letter, whole.
#[derive(Debug, Clone)]
pub struct Letter {
    /// What it says of itself.
    pub summary: Summary,
    /// Those of the original, and the facts.
    pub headers: HeaderMap,
    /// Byte for byte; empty where it is kept elsewhere, see [`Letter::redeem`].
    pub body: Bytes,
}

/// The stream.
///
/// # Errors
/// [`Error::Stream`].
pub async fn stream(context: &Context) -> Result<Stream, Error> {
    let stream = context.get_stream(DEADLETTER).await;
    stream.map_err(|error| Error::Stream(error.to_string()))
}

/// One letter.
///
/// # Errors
/// [`Error::None`] when it is not there (any more).
pub async fn one(dead_letters: &Stream, id: u64) -> Result<Letter, Error> {
    match dead_letters.get_raw_message(id).await {
        Ok(message) => Ok(Letter::new(id, message.headers, message.payload)),
        Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Err(Error::None(id)),
        Err(error) => Err(Error::Stream(error.to_string())),
    }
}

/// Every letter that the conditions let through from number `from` on, in short, in their
/// order. Headers alone are read, but for letters whose event has its id in the body.
///
/// # Errors
/// When the stream cannot be read.
pub async fn all(
    dead_letters: &Stream,
    conditions: &Conditions,
    from: u64,
) -> Result<Vec<Summary>, Error> {
    let what = pull::Config {
        filter_subject: conditions.subject(),
        deliver_policy: DeliverPolicy::ByStartSequence {
            start_sequence: from.max(1),
        },
        headers_only: true,
        ..pull::Config::default()
    };
    let (mut letters, mut words, mut in_body) = (Vec::new(), Words::default(), Vec::new());
    let none = HeaderMap::new();
    read(dead_letters, what, |message| {
        let Ok(info) = message.info() else {
            return ControlFlow::Continue(());
        };
        let headers = message.headers.as_ref().unwrap_or(&none);
        let letter = words.summary(info.stream_sequence, headers);
        if is_structured(headers) {
            in_body.push(letters.len());
        } else if !conditions.hold(&letter) {
            return ControlFlow::Continue(());
        }
        letters.push(letter);
        ControlFlow::Continue(())
    })
    .await?;
    if !in_body.is_empty() {
        for place in in_body {
            let Some(letter) = letters.get_mut(place) else {
                continue;
            };
            match one(dead_letters, letter.id).await {
                Ok(whole) => *letter = whole.summary,
                // It went meanwhile; what its headers said is as good.
                Err(Error::None(_)) => {}
                Err(error) => return Err(error),
            }
        }
        letters.retain(|letter| conditions.hold(letter));
    }
    // A letter that was edited is gone as soon as its successor is there.
    let edited: std::collections::HashSet<u64> =
        letters.iter().filter_map(|letter| letter.edited).collect();
    letters.retain(|letter| !edited.contains(&letter.id));
    Ok(letters)
}

impl Letter {
    /// A letter as it stands in the stream.
    pub fn new(id: u64, headers: HeaderMap, body: Bytes) -> Self {
        let mut summary = Words::default().summary(id, &headers);
        summary.read_body(&headers, &body);
        Self {
            summary,
            headers,
            body,
        }
    }

    /// Fetches the body that was left in the object store.
    ///
    /// # Errors
    /// [`Error::Body`] when it is not there any more.
    pub async fn redeem(&mut self, context: &Context) -> Result<(), Error> {
        let Some(object) = claim_check::taken_out(&self.headers).filter(|_| self.body.is_empty())
        else {
            return Ok(());
        };
        let body = claim_check::get(context, object).await;
        let body = body.map_err(|error| Error::Body(error.to_string()))?;
        self.body = body
            .ok_or_else(|| Error::Body(format!("object {object} is not in the store any more")))?;
        Ok(())
    }
}

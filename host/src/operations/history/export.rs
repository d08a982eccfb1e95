//! Takes conditions, gives every message of the event store that may meet them, the oldest first and with its body.

use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::stream::Stream;
use tokio::time::{Instant, sleep, timeout};

use super::{Error, Query, find, search};
use crate::claim_check;
use crate::cursor::reader::{self, Reader};
use crate::delivery::Delivery;

/// When nothing came for so long, it is asked whether there is anything.
const IDLE: Duration = Duration::from_secs(5);
/// For so long it is tried again without anything having come.
const PATIENCE: Duration = Duration::from_secs(60);
const WAIT_FIRST: Duration = Duration::from_millis(100);
const WAIT_LONGEST: Duration = Duration::from_secs(2);

/// Places in the event store.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bounds {
    /// The first sequence that counts.
    pub from: Option<u64>,
    /// The last one.
    pub to: Option<u64>,
}

/// Reads without acks, by consumers of its own, and holds what those send ahead and no more.
pub struct Export {
    context: Context,
    events: Stream,
    subjects: Vec<String>,
    /// Bodies are put back that were too big for their messages.
    redeems: bool,
    /// What was given last.
    after: u64,
    /// The last that is given.
    end: u64,
    expected: u64,
    reader: Option<Reader>,
}

impl Export {
    /// What stands in the store now, on the subjects and at the times of `query`; whether the
    /// rest of it is met, [`Query::is_met_by`] tells.
    ///
    /// # Errors
    /// When the stream cannot be read.
    pub async fn open(
        context: &Context,
        events: &Stream,
        query: &Query,
        bounds: Bounds,
    ) -> Result<Self, Error> {
        Self::between(context, events, query.subjects(), query, bounds).await
    }

    /// The same on other subjects, of which no two may overlap; of `query` its times count.
    ///
    /// # Errors
    /// When the stream cannot be read.
    pub async fn between(
        context: &Context,
        events: &Stream,
        subjects: Vec<String>,
        query: &Query,
        bounds: Bounds,
    ) -> Result<Self, Error> {
        let (first, last) = find::ends(events).await?;
        let start = first.max(bounds.from.unwrap_or(0));
        let end = last.min(bounds.to.unwrap_or(u64::MAX));
        let (start, behind) = search::bounds(events, query, (start, end + 1)).await?;
        let end = behind - 1;
        let after = start.saturating_sub(1).min(end);
        let behind = count(events, &subjects, after).await?;
        let expected = match end < last {
            true => behind.saturating_sub(count(events, &subjects, end).await?),
            false => behind,
        };
        Ok(Self {
            context: context.clone(),
            events: events.clone(),
            subjects,
            redeems: true,
            after: if expected == 0 { end } else { after },
            end,
            expected,
            reader: None,
        })
    }

    /// The same without bodies that stand in the object store.
    #[must_use]
    pub fn without_bodies(mut self) -> Self {
        self.redeems = false;
        self
    }

    /// The places that are looked at: from the first one that is left to the last.
    pub fn bounds(&self) -> Bounds {
        Bounds {
            from: Some(self.after + 1),
            to: Some(self.end),
        }
    }

    /// How many there were at the start.
    pub fn expected(&self) -> u64 {
        self.expected
    }

    /// The next one; none when all were given. A broker that is away is waited for, a minute.
    ///
    /// # Errors
    /// When it stays away, or a body cannot be had.
    pub async fn next(&mut self) -> Result<Option<Delivery>, Error> {
        let give_up = Instant::now() + PATIENCE;
        let mut wait = WAIT_FIRST;
        while self.after < self.end {
            match self.step().await {
                Ok(Some(delivery)) => return Ok(Some(delivery)),
                Ok(None) => self.after = self.end,
                Err(error) if give_up <= Instant::now() => return Err(error),
                Err(error) => {
                    tracing::debug!(%error, after = self.after, "the export reads anew");
                    self.reader = None;
                    sleep(wait).await;
                    wait = (wait * 2).min(WAIT_LONGEST);
                }
            }
        }
        if let Some(reader) = self.reader.take() {
            reader.end(&self.events).await;
        }
        Ok(None)
    }

    async fn step(&mut self) -> Result<Option<Delivery>, Error> {
        if self.reader.is_none() {
            let subjects = self.subjects.clone();
            let consumer = reader::consumer(&self.events, subjects, self.after).await;
            let opened = Reader::of(consumer.map_err(unreadable)?).await;
            self.reader = Some(opened.map_err(unreadable)?);
        }
        let Some(reader) = &mut self.reader else {
            return Ok(None);
        };
        let (mut delivery, behind) = loop {
            match timeout(IDLE, reader.next()).await {
                Ok(next) => break next.map_err(unreadable)?,
                Err(_) => match reader.unseen().await {
                    Some(0) => return Ok(None),
                    Some(_) => {}
                    None => return Err(unreadable("the broker does not answer")),
                },
            }
        };
        if self.end < delivery.sequence {
            return Ok(None);
        }
        if self.redeems {
            let redeemed = claim_check::redeem(&self.context, &mut delivery).await;
            redeemed
                .map_err(|error| Error::Body(format!("{error}, of event {}", delivery.sequence)))?;
        }
        self.after = if behind == 0 {
            self.end
        } else {
            delivery.sequence
        };
        Ok(Some(delivery))
    }
}

fn unreadable(error: impl std::fmt::Display) -> Error {
    Error::Events(error.to_string())
}

/// How many messages of a stream stand on these subjects behind a place.
pub(in crate::operations) async fn count(
    events: &Stream,
    subjects: &[String],
    after: u64,
) -> Result<u64, Error> {
    let consumer = reader::consumer(events, subjects.to_vec(), after).await;
    let consumer = consumer.map_err(unreadable)?;
    let pending = consumer.cached_info().num_pending;
    reader::forget(events, &consumer).await;
    Ok(pending)
}

//! Takes messages in their order, gives the broker's word on each: over its absences, and over a store that is full.
//!
//! Messages are under way side by side, and a connection that broke is never used again
//! ([`crate::broker::connect_once`]): what comes behind a message that was lost is lost too, or
//! comes behind it when both are sent again. So the store has them in the order of the files.

use std::cell::Cell;
use std::collections::HashMap;
use std::future::IntoFuture as _;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Duration;

use anyhow::bail;
use async_nats::connection::State;
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::jetstream::stream::{Info, Stream};
use tokio::time::{Instant, sleep};

use super::lines::Arriving;
use super::tally::Ended;
use crate::broker::{EVENTS, read};
use crate::cli::connect::{Target, stream};
use crate::gateway::outgoing::Outgoing;
use crate::gateway::publisher::{Error, check_in, sorted};

/// A broker that is away is waited for.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(500);
/// Between two looks for room.
const FULL_PAUSE: Duration = Duration::from_secs(1);
const GONE_POLL: Duration = Duration::from_millis(50);
/// With less room than this beside what is to be stored, events go one by one: of several at
/// once a small one could find room behind a large one that did not.
const SPARE: u64 = 1 << 20;

/// The event store, to be written.
pub(super) struct Store<'a> {
    target: &'a Target,
    pub(super) context: Context,
    events: Stream,
    /// What the broker keeps waiting for, if it does.
    waits: Rc<Cell<&'static str>>,
}

/// How a part went on before.
#[derive(Default)]
struct Before {
    /// The store's last sequence when none of it was sent.
    last: Option<u64>,
    /// Some of it may be there, without anybody having heard of it.
    is_doubtful: bool,
}

impl<'a> Store<'a> {
    pub(super) async fn connect(
        target: &'a Target,
        waits: Rc<Cell<&'static str>>,
    ) -> anyhow::Result<Self> {
        let context = target.connect_once().await?;
        let events = stream(&context, EVENTS).await?;
        Ok(Self {
            target,
            context,
            events,
            waits,
        })
    }

    /// Stores a part of the events, and writes down how each of them ended: one that is dropped
    /// on the way has written down what is known.
    ///
    /// # Errors
    /// When the broker is away for too long.
    pub(super) async fn put(
        &mut self,
        part: &[Arriving],
        ends: &mut Vec<Option<Ended>>,
    ) -> anyhow::Result<()> {
        ends.clear();
        ends.resize(part.len(), None);
        let mut before = Before::default();
        let mut give_up = Instant::now() + PATIENCE;
        while ends.contains(&None) {
            let error = match self.attempt(part, ends, &mut before).await {
                Ok(()) => {
                    self.waits.set("");
                    continue;
                }
                Err(error) => error,
            };
            match error {
                Error::Full(_) => {
                    self.waits.set("the event store is full, waiting for room");
                    give_up = Instant::now() + PATIENCE;
                    sleep(FULL_PAUSE).await;
                }
                Error::Away(_) | Error::Unanswered(_) | Error::Refused(_) => {
                    if give_up <= Instant::now() {
                        bail!("{error}; it was waited for {PATIENCE:?}");
                    }
                    self.waits.set("the broker is away, waiting for it");
                    before.is_doubtful = true;
                    sleep(PAUSE).await;
                    if let Err(error) = self.connect_anew().await {
                        tracing::debug!(%error, "no new connection");
                    }
                }
            }
        }
        Ok(())
    }

    async fn connect_anew(&mut self) -> anyhow::Result<()> {
        let context = self.target.connect_once().await?;
        self.events = stream(&context, EVENTS).await?;
        self.context = context;
        Ok(())
    }

    /// Sends what is open, or the first of it where room is short.
    async fn attempt(
        &self,
        part: &[Arriving],
        ends: &mut [Option<Ended>],
        before: &mut Before,
    ) -> Result<(), Error> {
        let info = self.events.get_info().await;
        let info = info.map_err(|error| Error::Away(error.to_string()))?;
        let last = *before.last.get_or_insert(info.state.last_sequence);
        if before.is_doubtful {
            self.look_for(part, ends, last).await?;
        }
        let open = || (0..).zip(part).zip(&*ends).filter(|(_, end)| end.is_none());
        let sizes = open().map(|((_, arriving), _)| arriving.outgoing.size());
        let width = match has_room(&info, sizes) {
            true => part.len(),
            false => 1,
        };
        let places: Vec<(usize, &Arriving)> = open().map(|(open, _)| open).take(width).collect();
        let mut acks = Vec::with_capacity(places.len());
        for (place, arriving) in places {
            let Outgoing {
                subject,
                headers,
                payload,
                ..
            } = self.fitting(arriving.outgoing.clone()).await?;
            let sent = self
                .context
                .publish_with_headers(subject, headers, payload)
                .await;
            acks.push((place, sent.map_err(|error| sorted(&error))?));
        }
        let mut full = Ok(());
        for (place, ack) in acks {
            let word = tokio::select! {
                biased;
                word = ack.into_future() => word,
                () = self.is_gone() => return Err(Error::Away("the connection broke".to_owned())),
            };
            let end = match word {
                // Stored by an attempt whose answer was lost.
                Ok(ack) if before.is_doubtful && last < ack.sequence => Ended::Stored,
                Ok(ack) if ack.duplicate => Ended::Known,
                Ok(_) => Ended::Stored,
                Err(error) => match sorted(&error) {
                    Error::Refused(reason) => Ended::Refused(reason),
                    Error::Full(reason) => {
                        full = Err(Error::Full(reason));
                        continue;
                    }
                    error @ (Error::Away(_) | Error::Unanswered(_)) => return Err(error),
                },
            };
            if let Some(place) = ends.get_mut(place) {
                *place = Some(end);
            }
        }
        full
    }

    /// A body that the broker does not take goes to the object store.
    async fn fitting(&self, outgoing: Outgoing) -> Result<Outgoing, Error> {
        let limit = self.context.client().server_info().max_payload;
        match outgoing.size() <= limit {
            true => Ok(outgoing),
            false => check_in(&self.context, outgoing).await,
        }
    }

    async fn is_gone(&self) {
        let client = self.context.client();
        while client.connection_state() == State::Connected {
            sleep(GONE_POLL).await;
        }
    }

    /// What was sent and not answered may be there, however long ago that was.
    async fn look_for(
        &self,
        part: &[Arriving],
        ends: &mut [Option<Ended>],
        after: u64,
    ) -> Result<(), Error> {
        let mut open: HashMap<&str, Vec<usize>> = HashMap::new();
        for (place, (arriving, end)) in part.iter().zip(&*ends).enumerate() {
            let id = arriving.outgoing.headers.get(NATS_MESSAGE_ID);
            if let (Some(id), None) = (id, end) {
                open.entry(id.as_str()).or_default().push(place);
            }
        }
        let what = pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: after + 1,
            },
            headers_only: true,
            ..pull::Config::default()
        };
        let looked = read(&self.events, what, |message| {
            let headers = message.headers.as_ref();
            let id = headers.and_then(|headers| headers.get(NATS_MESSAGE_ID));
            let places = id.and_then(|id| open.remove(id.as_str()));
            let mut end = Ended::Stored;
            for place in places.into_iter().flatten() {
                if let Some(place) = ends.get_mut(place) {
                    // Of several in the file with one id, the first one.
                    *place = Some(std::mem::replace(&mut end, Ended::Known));
                }
            }
            match open.is_empty() {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        });
        looked
            .await
            .map_err(|error| Error::Unanswered(error.to_string()))
    }
}

/// Whether the store has room for all of them and more: others write too.
fn has_room(info: &Info, sizes: impl Iterator<Item = usize>) -> bool {
    let (mut count, mut bytes) = (0_u64, 0_u64);
    for size in sizes {
        count += 1;
        bytes += size as u64;
    }
    let (config, state) = (&info.config, &info.state);
    let has = |limit: i64, used: u64, needed: u64| {
        u64::try_from(limit).map_or(true, |limit| {
            limit == 0 || used.saturating_add(needed) <= limit
        })
    };
    has(config.max_bytes, state.bytes, 2 * bytes + SPARE)
        && has(config.max_messages, state.messages, 2 * count)
}

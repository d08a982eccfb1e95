//! Takes a replay of history that is this process's to do, gives its plug-in the events in their order.
//!
//! No more than the plug-in can take beside what comes live: see [`super::ahead`]. An event is
//! read again by its place when its turn comes, so that what was redacted meanwhile is not sent.

use std::collections::HashSet;
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::Stream as Events;
use futures_util::stream::{self, FuturesOrdered, FuturesUnordered, Stream, StreamExt as _};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use super::begun::{Begun, End};
use super::outgoing::Outgoing;
use super::pace::Pace;
use super::past::{Choice, Chosen, rest};
use super::watching::Watching;
use super::{Error, History, Read, Replay, Replays, State};
use crate::broker;
use crate::operations::history::{self, Export};

/// Events that are read at once,
const READING: usize = 16;
/// and whose place is awaited.
const SENDING: usize = 64;
/// How often it is written down how far it is, which also says that somebody does it.
const REPORT: Duration = Duration::from_millis(500);
/// What was not taken is sent again after this long.
const AGAIN: Duration = Duration::from_secs(1);
/// When it is to stop, the broker's word on what is on its way is waited for.
const GRACE: Duration = Duration::from_secs(2);

/// As [`super::run`].
pub(super) async fn run(
    replays: &Replays,
    (mut replay, mut revision): Read,
    history: &History,
    stop: &CancellationToken,
    mut show: impl FnMut(&Replay),
) -> Result<Replay, Error> {
    let context = &replays.context;
    let events = history::stream(context).await?;
    let (export, choice) = rest(context, &replay, history).await?;
    let id = replay.id.clone();
    let mut doing = Doing {
        context,
        of: (&id, history),
        watching: Watching::begin(context, &events, (&id, history)).await?,
        begun: Begun::default(),
        next: None,
        lanes: HashSet::new(),
        trouble: String::new(),
    };
    let mut chosen = Box::pin(chosen(export, choice));
    let (mut reading, mut sending) = (FuturesOrdered::new(), FuturesUnordered::new());
    let mut report = interval(REPORT);
    report.set_missed_tick_behavior(MissedTickBehavior::Delay);
    report.reset();
    let (mut pace, mut looked) = (Pace::new(replay.rate), Instant::now());
    let (mut is_read, mut stopped) = (false, None);
    loop {
        let goes_on = replay.state == State::Running && !stop.is_cancelled();
        if goes_on {
            let is_sent =
                is_read && reading.is_empty() && doing.next.is_none() && sending.is_empty();
            if is_sent && doing.watching.is_through() {
                break;
            }
        } else {
            let stopped = stopped.get_or_insert_with(Instant::now);
            if sending.is_empty() || GRACE <= stopped.elapsed() {
                break;
            }
        }
        let may_read = goes_on && !is_read && reading.len() < READING;
        let may_send = goes_on && sending.len() < SENDING && doing.may_send();
        tokio::select! {
            biased;
            _ = report.tick() => {
                doing.write_down(&mut replay);
                show(&replay);
                revision = replays.report(&mut replay, revision).await?;
            }
            Some((outgoing, sent)) = sending.next() => {
                if let Some(again) = doing.sent(outgoing, sent) {
                    sending.push(again.send(context, AGAIN));
                }
            }
            () = sleep_until(looked + doing.watching.pause()) => {
                doing.watching.look().await;
                looked = Instant::now();
            }
            () = sleep_until(pace.due()), if may_send => {
                pace.taken();
                if let Some(outgoing) = doing.take() {
                    sending.push(outgoing.send(context, Duration::ZERO));
                }
            }
            Some((sequence, message)) = reading.next(), if doing.next.is_none() => {
                doing.read(sequence, message?);
            }
            next = chosen.next(), if may_read => match next {
                None => is_read = true,
                Some(sequence) => {
                    let sequence = sequence?;
                    doing.begun.begin(sequence);
                    reading.push_back(message(&events, sequence));
                }
            },
        }
        while let Some((sequence, end)) = doing.begun.finished() {
            replay.cursor = sequence;
            replay.count(sequence, end);
        }
    }
    doing.write_down(&mut replay);
    if replay.state == State::Running {
        if stopped.is_none() {
            // Those that had left the store when their turn came.
            replay.gone += replay.total.saturating_sub(replay.finished());
            replay.end();
        } else {
            // Nobody does it: the first host that sees it goes on.
            replay.by.clear();
        }
    }
    show(&replay);
    replays.report(&mut replay, revision).await?;
    Ok(replay)
}

/// A replay under way, but for what is awaited.
struct Doing<'a> {
    context: &'a Context,
    of: (&'a str, &'a History),
    watching: Watching<'a>,
    begun: Begun,
    /// The one whose turn it is.
    next: Option<Outgoing>,
    /// Those of which one is on its way.
    lanes: HashSet<String>,
    /// Why the broker did not take the last one that it did not take.
    trouble: String,
}

impl Doing<'_> {
    /// The next one was read by its place.
    fn read(&mut self, sequence: u64, message: Option<StreamMessage>) {
        let max_payload = self.context.client().server_info().max_payload;
        let Some(message) = message else {
            return self.begun.end(sequence, End::Gone);
        };
        match Outgoing::of(message, self.of, max_payload) {
            Ok(outgoing) => self.next = Some(outgoing),
            Err(error) => self.begun.end(sequence, End::Failed(error)),
        }
    }

    /// Whether the next one may leave.
    fn may_send(&self) -> bool {
        let next = self.next.as_ref();
        next.is_some_and(|next| !self.lanes.contains(&next.lane)) && !self.watching.is_full()
    }

    /// It leaves.
    fn take(&mut self) -> Option<Outgoing> {
        let next = self.next.take()?;
        self.lanes.insert(next.lane.clone());
        Some(next)
    }

    /// The broker has said what became of one; gives it back if it is to be sent again.
    fn sent(&mut self, outgoing: Outgoing, sent: Result<u64, String>) -> Option<Outgoing> {
        match sent {
            Ok(place) => {
                let Outgoing {
                    sequence,
                    subject,
                    lane,
                    ..
                } = outgoing;
                self.lanes.remove(&lane);
                self.begun.end(sequence, End::Replayed);
                self.watching.sent(place, subject);
                self.trouble.clear();
                None
            }
            Err(error) => {
                self.trouble = error;
                Some(outgoing)
            }
        }
    }

    /// How it stands, for the record.
    fn write_down(&self, replay: &mut Replay) {
        let (unhandled, waits) = self.watching.standing();
        if let Some(history) = &mut replay.history {
            history.unhandled = unhandled;
            let waits = if self.trouble.is_empty() {
                waits
            } else {
                &self.trouble
            };
            waits.clone_into(&mut history.waits);
        }
    }
}

/// The places of the events that are to be given, in order.
fn chosen(export: Export, choice: Choice) -> impl Stream<Item = Result<u64, history::Error>> {
    stream::try_unfold((export, choice), |(mut export, choice)| async move {
        while let Some(delivery) = export.next().await? {
            if choice.of_delivery(&delivery) == Chosen::It {
                return Ok(Some((delivery.sequence, (export, choice))));
            }
        }
        Ok::<_, history::Error>(None)
    })
}

/// What stands there now.
async fn message(
    events: &Events,
    sequence: u64,
) -> (u64, Result<Option<StreamMessage>, broker::ReadError>) {
    (sequence, broker::message(events, sequence).await)
}

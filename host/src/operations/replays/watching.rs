//! Takes a plug-in that is given history, gives from time to time how far it is, and why it does not go on.

use std::ops::ControlFlow;
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::jetstream::stream::Stream;
use tokio::time::{Instant, timeout};

use super::ahead::Ahead;
use super::{Error, History, subscription};
use crate::broker::{EVENTS, LEDGER, ReadError, open, read};
use crate::ledger::dead_letter::REPLAY;
use crate::ledger::subject::retries;
use crate::operations::history::export::count;
use crate::operations::positions::Positions;
use crate::route::REPLAY_PREFIX;

/// Between two looks at the plug-in's position,
const BETWEEN: Duration = Duration::from_millis(250);
/// and while only that keeps a fast one from more.
const SOON: Duration = Duration::from_millis(50);
/// Of so many looks one counts what waits for another attempt, and what room is left.
const COUNTED: u32 = 8;
/// The last tenth of the event store is for what comes live.
const LEFT: u64 = 10;
/// A plug-in that has not moved on for so long is asked for.
const STUCK: Duration = Duration::from_secs(5);
/// The broker's answer is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the plug-in has done of what was sent.
pub(super) struct Watching<'a> {
    context: &'a Context,
    events: Stream,
    ledger: Stream,
    history: &'a History,
    ahead: Ahead,
    /// Events that waited for another attempt at the start.
    waited: u64,
    /// By how many they have grown.
    grown: u64,
    /// The event store is nearly full.
    is_tight: bool,
    looks: u32,
    /// When some of what was sent was handled last,
    moved: Instant,
    /// and when the hosts were asked why it is not.
    asked: Instant,
    /// What it waits for; empty while it goes on.
    waits: String,
}

impl<'a> Watching<'a> {
    /// What whoever did it before has sent counts too.
    ///
    /// # Errors
    /// When the ledger or the event store cannot be read.
    pub(super) async fn begin(
        context: &'a Context,
        events: &Stream,
        (replay, history): (&str, &'a History),
    ) -> Result<Self, Error> {
        let ledger = open(context, LEDGER).await?;
        let (plugin, now) = (&history.plugin, Instant::now());
        let positions = Positions::read(&ledger, plugin, history.partitions).await?;
        let mut ahead = Ahead::default();
        for (place, subject) in sent(events, (replay, plugin), positions.floor()).await? {
            ahead.sent(place, subject, now);
        }
        ahead.look(&positions, 0, now);
        let waited = count(&ledger, &[retries(Some(plugin))], 0).await?;
        let mut watching = Self {
            context,
            events: events.clone(),
            ledger,
            history,
            ahead,
            waited,
            grown: 0,
            is_tight: false,
            looks: 0,
            moved: now,
            asked: now,
            waits: String::new(),
        };
        // Before the first one is sent.
        watching.count().await;
        Ok(watching)
    }

    /// One was sent, and stands there.
    pub(super) fn sent(&mut self, place: u64, subject: String) {
        self.ahead.sent(place, subject, Instant::now());
    }

    /// How much of what was sent is not handled, and what that waits for.
    pub(super) fn standing(&self) -> (u64, &str) {
        (self.ahead.count(), &self.waits)
    }

    /// No more is to be sent before another look.
    pub(super) fn is_full(&self) -> bool {
        self.is_tight || self.ahead.is_full(Instant::now())
    }

    /// All that was sent is handled, or written down in the ledger.
    pub(super) fn is_through(&self) -> bool {
        self.ahead.is_empty()
    }

    /// How long until the next look.
    pub(super) fn pause(&self) -> Duration {
        match self.ahead.is_soon_free() {
            true => SOON,
            false => BETWEEN,
        }
    }

    /// Looks where the plug-in is. Without an answer of the broker nothing is taken for handled.
    pub(super) async fn look(&mut self) {
        let History {
            plugin, partitions, ..
        } = self.history;
        let positions = Positions::read(&self.ledger, plugin, *partitions);
        let positions = match timeout(PATIENCE, positions).await {
            Ok(Ok(positions)) => positions,
            Ok(Err(error)) => return self.waits = error.to_string(),
            Err(_) => return "the broker does not answer".clone_into(&mut self.waits),
        };
        if self.looks.is_multiple_of(COUNTED) {
            self.count().await;
        }
        self.looks = self.looks.wrapping_add(1);
        let now = Instant::now();
        if self.ahead.look(&positions, self.grown, now) || self.ahead.is_empty() {
            self.moved = now;
            self.waits.clear();
        }
        if self.is_tight {
            self.waits = format!("{EVENTS} is nearly full, and what comes live is to have room");
        } else if self.ahead.is_empty() && self.is_full() {
            let more = self.grown;
            self.waits = format!(
                "{more} events more than at the start wait in {plugin} for another attempt"
            );
        } else if STUCK <= self.moved.elapsed() && STUCK <= self.asked.elapsed() {
            self.waits = self.why().await;
            self.asked = Instant::now();
        }
    }

    /// What need not be known as often. Without an answer it is as it was.
    async fn count(&mut self) {
        let retries = [retries(Some(&self.history.plugin))];
        if let Ok(Ok(waiting)) = timeout(PATIENCE, count(&self.ledger, &retries, 0)).await {
            self.grown = waiting.saturating_sub(self.waited);
        }
        if let Ok(Ok(info)) = timeout(PATIENCE, self.events.get_info()).await {
            let room = u64::try_from(info.config.max_bytes).unwrap_or(0);
            self.is_tight = 0 < room && room - room / LEFT <= info.state.bytes;
        }
    }

    /// Why the plug-in does not move on.
    async fn why(&self) -> String {
        use subscription::Error as No;
        let plugin = &self.history.plugin;
        match subscription::ask(self.context, plugin).await {
            Err(Error::Plugin(no @ (No::Nowhere(_) | No::Silent { .. } | No::Paused(_)))) => {
                no.to_string()
            }
            Ok(_) | Err(_) => format!("{plugin} is busy with what was sent or came before"),
        }
    }
}

/// What this replay has sent behind a place: where it stands, and on which subject.
async fn sent(
    events: &Stream,
    (replay, plugin): (&str, &str),
    after: u64,
) -> Result<Vec<(u64, String)>, ReadError> {
    let what = pull::Config {
        filter_subject: format!("{REPLAY_PREFIX}{plugin}.*"),
        deliver_policy: DeliverPolicy::ByStartSequence {
            start_sequence: after + 1,
        },
        headers_only: true,
        ..pull::Config::default()
    };
    let mut sent = Vec::new();
    read(events, what, |message| {
        let by = message.headers.as_ref();
        let by = by.and_then(|headers| headers.get(REPLAY));
        if by.is_some_and(|by| by.as_str() == replay)
            && let Ok(info) = message.info()
        {
            sent.push((info.stream_sequence, message.subject.to_string()));
        }
        ControlFlow::Continue(())
    })
    .await?;
    Ok(sent)
}

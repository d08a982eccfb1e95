//! Takes a replay that is this process's to do, sends its letters again in their order.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::stream::{FuturesOrdered, FuturesUnordered, StreamExt as _};
use tokio::time::{MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use super::begun::End;
use super::pace::Pace;
use super::{Error, Read, Replay, Replays, State};
use crate::operations::dead_letters::{self, send, take_away};
use crate::operations::letters::{self, Conditions};

/// Letters that are read at once,
const READING: usize = 32;
/// and whose end is awaited.
const AHEAD: usize = 256;
/// How often it is written down how far it is, which also says that somebody does it.
const REPORT: Duration = Duration::from_millis(500);

/// As [`super::run`].
pub(super) async fn run(
    replays: &Replays,
    (mut replay, mut revision): Read,
    stop: &CancellationToken,
    mut show: impl FnMut(&Replay),
) -> Result<Replay, Error> {
    let conditions = Conditions::parse(replay.conditions.iter().map(String::as_str))?;
    let dead_letters = letters::stream(&replays.context).await?;
    let mut letters = letters::all(&dead_letters, &conditions, replay.cursor + 1).await?;
    letters.retain(|letter| letter.id <= replay.up_to);
    // Those that went while nobody did it.
    let left = replay.finished() + letters.len() as u64;
    replay.gone += replay.total.saturating_sub(left);
    let ids: Vec<u64> = letters.iter().map(|letter| letter.id).collect();
    drop(letters);
    let mut report = interval(REPORT);
    report.set_missed_tick_behavior(MissedTickBehavior::Delay);
    report.reset();
    let mut pace = Pace::new(replay.rate);
    let mut waiting = ids.into_iter().peekable();
    // Read ahead and sent one after another, so that those of a key keep their order; what
    // the broker says to each is awaited beside the next.
    let (mut reading, mut ending) = (FuturesOrdered::new(), FuturesUnordered::new());
    let (mut open, mut last) = (BTreeSet::new(), replay.cursor);
    loop {
        let goes_on = replay.state == State::Running && !stop.is_cancelled();
        let more = waiting.peek().is_some() && goes_on;
        if !more && reading.is_empty() && ending.is_empty() {
            break;
        }
        let may_read = more && reading.len() < READING && ending.len() < AHEAD;
        tokio::select! {
            biased;
            _ = report.tick() => {
                replay.cursor = finished_up_to(&open, last);
                show(&replay);
                revision = replays.report(&mut replay, revision).await?;
            }
            Some((id, end)) = ending.next() => {
                open.remove(&id);
                replay.count(id, end);
            }
            Some((id, letter)) = reading.next() => match begin(replays, letter).await {
                Ok(sent) => ending.push(async move { (id, end(replays, id, sent).await) }),
                Err(end) => {
                    open.remove(&id);
                    replay.count(id, end);
                }
            },
            () = sleep_until(pace.due()), if may_read => {
                pace.taken();
                let Some(id) = waiting.next() else { continue };
                open.insert(id);
                last = id;
                let dead_letters = &dead_letters;
                reading.push_back(async move { (id, letters::one(dead_letters, id).await) });
            }
        }
    }
    replay.cursor = finished_up_to(&open, last);
    if replay.state == State::Running {
        if waiting.peek().is_none() {
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

/// Every letter up to this one has had its turn.
fn finished_up_to(open: &BTreeSet<u64>, last: u64) -> u64 {
    open.first().map_or(last, |first| first.saturating_sub(1))
}

async fn begin(
    replays: &Replays,
    letter: Result<letters::Letter, letters::Error>,
) -> Result<dead_letters::Sent, End> {
    let mut letter = letter.map_err(|error| match error {
        letters::Error::None(_) => End::Gone,
        other => End::Failed(other.to_string()),
    })?;
    let sent = send(&replays.context, &mut letter).await;
    sent.map_err(|error| End::Failed(error.to_string()))
}

async fn end(replays: &Replays, id: u64, sent: dead_letters::Sent) -> End {
    let stored = async {
        sent.stored().await?;
        take_away(&replays.context, id).await
    };
    match stored.await {
        Ok(_) => End::Replayed,
        Err(error) => End::Failed(error.to_string()),
    }
}

//! Takes a plan and a target, sends every body when it is due, and counts what comes back.

use std::time::Duration;

use anyhow::Context as _;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::broker::{Broker, Message};
use super::faults::Faults;
use super::gateway::Gateway;
use super::tally::{Done, Place, Tally};
use super::traffic::{Body, Plan};
use crate::cli::progress::Progress;
use crate::cli::stop::Stop;

/// Bodies that are made ahead.
const AHEAD: usize = 1_024;
/// How long a stopped run waits for answers.
const GRACE: Duration = Duration::from_secs(5);
const SHOWN_EVERY: Duration = Duration::from_millis(100);

/// Where bodies go.
#[derive(Debug, Clone)]
pub(super) enum Target {
    Broker(Broker),
    Gateway(Gateway),
}

/// A body, ready to be sent.
#[derive(Debug)]
enum Parcel {
    Message(Message),
    Post(Gateway, Body),
}

impl Parcel {
    fn place(&self) -> Place {
        match self {
            Parcel::Message(message) => message.place(),
            Parcel::Post(_, body) => (body.kind, body.message),
        }
    }

    /// To a broker in the order of the calls; what it gives waits for the answer.
    async fn send(self, from: Instant) -> BoxFuture<'static, Done> {
        match self {
            Parcel::Message(message) => message.send(from).await,
            Parcel::Post(gateway, body) => gateway.send(body, from),
        }
    }
}

/// What bounds a run beside its plan.
#[derive(Debug)]
pub(super) struct Limits {
    /// Bodies that are under way or wait for their next attempt.
    pub(super) under_way: usize,
    /// When a run without a rate ends.
    pub(super) seconds: Option<Duration>,
}

/// A run: what came of it, and how long it took.
pub(super) async fn drive(
    plan: Plan,
    target: Target,
    limits: &Limits,
    stop: &mut Stop,
    progress: &mut Progress,
) -> anyhow::Result<(Tally, Duration)> {
    let is_paced = plan.rate != 0.0;
    // On a thread of its own: making and mapping a body takes as long as sending it.
    let (parcels, mut ready) = mpsc::channel(AHEAD);
    let making = tokio::task::spawn_blocking(move || make(&plan, &target, &parcels));

    let start = Instant::now();
    let end = limits.seconds.map(|seconds| start + seconds);
    let mut ticks = interval(SHOWN_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut tally = Tally::new();
    let mut under_way = JoinSet::new();
    let mut next: Option<(Duration, Parcel)> = None;
    let mut is_stopped = false;
    loop {
        let due = next.as_ref().map_or(start, |(due, _)| start + *due);
        tokio::select! {
            biased;
            () = stop.asked() => { is_stopped = true; break }
            () = at(end.unwrap_or(start)), if end.is_some() => break,
            Some(done) = under_way.join_next() => tally.done(done?),
            _ = ticks.tick() => progress.show(tally.total().answered(), || tally.note()),
            parcel = ready.recv(), if next.is_none() => match parcel {
                Some(parcel) => next = Some(parcel),
                None => break,
            },
            () = due_at(due, is_paced), if next.is_some() && under_way.len() < limits.under_way => {
                let Some((_, parcel)) = next.take() else { continue };
                tally.sent(parcel.place());
                let from = if is_paced { due } else { Instant::now() };
                under_way.spawn(parcel.send(from).await);
            }
        }
    }
    drop(ready);

    let patience = is_stopped.then(|| Instant::now() + GRACE);
    loop {
        tokio::select! {
            biased;
            () = stop.asked() => {
                if is_stopped { break }
                is_stopped = true;
            }
            done = under_way.join_next() => match done {
                Some(done) => tally.done(done?),
                None => break,
            },
            () = at(patience.unwrap_or(start)), if patience.is_some() => break,
            _ = ticks.tick() => progress.show(tally.total().answered(), || tally.note()),
        }
    }
    let took = start.elapsed();
    making
        .await
        .context("the thread that makes bodies broke")??;
    Ok((tally, took))
}

/// Makes bodies until there are enough, or nobody wants more.
fn make(
    plan: &Plan,
    target: &Target,
    parcels: &mpsc::Sender<(Duration, Parcel)>,
) -> anyhow::Result<()> {
    for body in Faults::new(plan) {
        let due = body.due;
        let parcel = match target {
            Target::Broker(broker) => Parcel::Message(broker.message(&body)?),
            Target::Gateway(gateway) => Parcel::Post(gateway.clone(), body),
        };
        if parcels.blocking_send((due, parcel)).is_err() {
            break;
        }
    }
    Ok(())
}

async fn due_at(due: Instant, is_paced: bool) {
    if is_paced {
        at(due).await;
    }
}

/// A timer rounds up to its next turn even when the time has come.
async fn at(time: Instant) {
    if Instant::now() < time {
        sleep_until(time).await;
    }
}

//! Takes half of what the machine can do, gives how much later than a hand-written consumer a host
//! is with each event.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use sluicegate_tests::outputs::{ECHOES, count};
use sluicegate_tests::{Broker, until};
use tokio::time::{Instant, sleep_until};

use crate::backlog::{self, BODY, Events, FILTER, KEYS, message};
use crate::crowd;
use crate::delay::{self, Load};
use crate::follower::Follower;
use crate::ledger::Js;
use crate::machine::Machine;
use crate::peer::Consumer;
use crate::report::{self, PERCENTILES, Percentiles, Report, Row, Target};
use crate::steps::Steps;
use crate::worked::{self, DECIDES, EMITS, Mode, Subject};

/// How much is measured.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    /// Events of the backlogs that tell how much the machine can do.
    pub(crate) events: u64,
    pub(crate) pairs: usize,
    /// Of each run, its warm-up not counted.
    pub(crate) time: Duration,
}

impl Plan {
    fn of(quick: bool) -> Self {
        let (events, pairs, seconds) = if quick {
            (60_000, 2, 3)
        } else {
            (200_000, 5, 10)
        };
        Self {
            events,
            pairs,
            time: Duration::from_secs(seconds),
        }
    }
}

/// Up to where a delay counts.
#[derive(Clone, Copy)]
enum End {
    /// The call has ended. By the host's own metric.
    Handled,
    /// Its commit is durable. By the host's own metric.
    Settled,
    /// What the event causes was read by somebody else.
    Read,
}

/// A kind of plug-in, and what it may add to the consumer's p50 and p99, in milliseconds.
struct Arm {
    what: &'static str,
    guest: &'static str,
    ledger: bool,
    end: End,
    targets: [f64; 2],
}

const ARMS: [Arm; 3] = [
    Arm {
        what: "settled, warm, ledger on, no effects",
        guest: DECIDES,
        ledger: true,
        end: End::Settled,
        targets: [1.0, 5.0],
    },
    Arm {
        what: "output read, warm, ledger on, each emits one",
        guest: EMITS,
        ledger: true,
        end: End::Read,
        targets: [6.0, 20.0],
    },
    Arm {
        what: "handled, warm, ledger off, no effects",
        guest: DECIDES,
        ledger: false,
        end: End::Handled,
        targets: [0.05, 1.0],
    },
];

pub(crate) async fn run(quick: bool) -> Result<Report> {
    backlog::check()?;
    let is_there = Consumer::Native.is_there();
    ensure!(is_there, "there is no consumer to compare with");
    let plan = Plan::of(quick);
    let broker = worked::broker().await?;
    let jetstream = broker.jetstream().await?;
    let server = jetstream.client().server_info().version;
    let (pairs, seconds) = (plan.pairs, plan.time.as_secs());
    let run = format!("{BODY} bytes over {KEYS} keys, {pairs} pairs of {seconds} s");
    let machine = Machine::this(server, run);
    println!("storing {} events of {BODY} bytes", plan.events);
    let begun = Instant::now();
    let events = Events::Small { keys: KEYS };
    events.store(&jetstream, plan.events).await?;
    let published = plan.events as f64 / begun.elapsed().as_secs_f64();
    let mut rates = Vec::new();
    for (number, arm) in ARMS.iter().enumerate() {
        let worked = arm
            .capacity(&broker, &jetstream, number, plan.events)
            .await?;
        let rate = half(published, worked);
        println!(
            "{}: {published:.0}/s published, {worked:.0}/s handled; half load is {rate:.0}/s",
            arm.what
        );
        rates.push(rate);
    }
    drop(broker);
    let mut rows = Vec::new();
    for (arm, rate) in ARMS.iter().zip(rates) {
        rows.extend(arm.rows(rate, plan).await?);
    }
    rows.extend(crowd::rows(plan).await?);
    Ok(Report { machine, rows })
}

/// Half of the rate at which publishing and handling together take all of the machine.
fn half(published: f64, handled: f64) -> f64 {
    0.5 / (1.0 / published + 1.0 / handled)
}

/// A row for each column; the first has the name.
pub(crate) fn columns(name: &str, other: &str, runs: &[(Percentiles, Percentiles)]) -> Vec<Row> {
    let row = |(index, what): (usize, &&str)| {
        let name = match index {
            0 => format!("{name}: {what}; other: {other}"),
            _ => format!("  {what}"),
        };
        Row::pairs(name, &column(runs, index), "ms")
    };
    PERCENTILES.iter().enumerate().map(row).collect()
}

fn column(runs: &[(Percentiles, Percentiles)], index: usize) -> Vec<(f64, f64)> {
    let of = |run: &Percentiles| run.get(index).copied().unwrap_or_default();
    runs.iter()
        .map(|(ours, other)| (of(ours), of(other)))
        .collect()
}

impl Arm {
    fn subject(&self, broker: &Broker, number: usize) -> Result<Subject> {
        Subject::new(&broker.url(), self.guest, number, Mode::warm(self.ledger))
    }

    fn emits(&self) -> bool {
        self.guest == EMITS
    }

    /// How many events a second a host gets through.
    async fn capacity(
        &self,
        broker: &Broker,
        jetstream: &Js,
        number: usize,
        events: u64,
    ) -> Result<f64> {
        let subject = self.subject(broker, number)?;
        let is_readable = async || {
            let outputs = count(jetstream, "EVENTS", ECHOES).await?;
            Ok(!self.emits() || events <= outputs as u64)
        };
        let worked = worked::through(subject, events, is_readable).await?;
        Ok(worked.rate)
    }

    /// Host and consumer in turn.
    async fn rows(&self, rate: f64, plan: Plan) -> Result<Vec<Row>> {
        let name = format!("{}, at {rate:.0} events/s", self.what);
        let load = Load {
            rate,
            time: plan.time,
            first: 0,
            message: &message,
        };
        let (mut runs, mut steps) = (Vec::new(), Steps::new()?);
        for pair in 1..=plan.pairs {
            let ours = self.ours(&load, &mut steps).await.context("the host")?;
            let native = self.native(&load).await.context("the consumer")?;
            println!(
                "{name}, pair {pair} of {}: p50 {:.3} and {:.3} ms, p99 {:.2} and {:.2} ms",
                plan.pairs, ours[0], native[0], ours[1], native[1]
            );
            runs.push((ours, native));
        }
        let mut rows = columns(&name, "async-nats with acks", &runs);
        for ((index, what), target) in PERCENTILES.iter().enumerate().zip(self.targets) {
            let row = Row::added(format!("  added, {what}"), &column(&runs, index), "ms");
            rows.push(row.with_target(Target::AtMost(target)));
        }
        if self.emits() {
            rows.extend(steps.rows());
        }
        Ok(rows)
    }

    async fn ours(&self, load: &Load<'_>, steps: &mut Steps) -> Result<Percentiles> {
        let broker = Broker::start().await?;
        let Subject { plugin, mut host } = self.subject(&broker, 0)?;
        host.start().await?;
        host.settled(&plugin, 60).await?;
        let jetstream = broker.jetstream().await?;
        let name = match self.end {
            End::Handled => "sluicegate_handling_delay_seconds",
            End::Settled => "sluicegate_settling_delay_seconds",
            End::Read => {
                let seen = delay::measure(&jetstream, load).await?;
                host.stop().await?;
                host.hush();
                steps.add(&jetstream, &seen.arrivals).await?;
                return Ok(report::percentiles(&seen.delay, &seen.late));
            }
        };
        let start = delay::soon();
        let before = async {
            sleep_until(load.due(start, load.warm())).await;
            host.metrics().await?.histogram(name)
        };
        let (late, before) = tokio::try_join!(load.send(&jetstream, start), before)?;
        let after = until("all events to be counted", 30, async || {
            let now = host.metrics().await?.histogram(name)?;
            let (found, all) = (now.count(), load.count() as f64);
            ensure!(found == all, "{found} of {all}");
            Ok(now)
        });
        let seen = after.await?.since(&before);
        host.stop().await?;
        host.hush();
        let millis = |share| Some(seen.quantile(share)? * 1e3);
        let [Some(p50), Some(p99), Some(p999)] = [0.5, 0.99, 0.999].map(millis) else {
            bail!("nothing was counted");
        };
        Ok([p50, p99, p999, late.value_at_percentile(99.0) as f64 / 1e3])
    }

    async fn native(&self, load: &Load<'_>) -> Result<Percentiles> {
        let broker = worked::broker().await?;
        let jetstream = broker.jetstream().await?;
        let follower = Follower::start(&broker.url(), FILTER, self.emits(), load).await?;
        if self.emits() {
            let seen = delay::measure(&jetstream, load).await?;
            follower.ended().await?;
            return Ok(report::percentiles(&seen.delay, &seen.late));
        }
        let late = load.send(&jetstream, delay::soon()).await?;
        let [p50, p99, p999] = follower.ended().await?;
        Ok([p50, p99, p999, late.value_at_percentile(99.0) as f64 / 1e3])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_load_is_half_of_what_both_can_do_together() {
        assert_eq!(half(100.0, 100.0), 25.0);
        assert_eq!(half(300.0, 100.0), 37.5);
    }
}

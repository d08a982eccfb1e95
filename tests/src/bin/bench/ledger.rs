//! Takes a backlog of small events, gives how fast a host works through it, with its ledger and without.

use std::time::Duration;

use anyhow::{Result, ensure};
use async_nats::jetstream;
use sluicegate_tests::Broker;
use sluicegate_tests::outputs::{ECHOES, count};

use crate::backlog::{self, BODY, Events, KEYS, message};
use crate::cpu::Used;
use crate::delay::{self, Load};
use crate::machine::Machine;
use crate::report::{self, Report, Row, Target};
use crate::worked::{self, DECIDES, EMITS, Mode, Subject};

pub(crate) type Js = jetstream::Context;

/// What effects once may cost: the share of the rate without a ledger that is to be left.
const SHARE: f64 = 0.75;
/// Input events a second of the low rate.
const LOW: f64 = 100.0;

/// How much is measured.
struct Plan {
    events: u64,
    pairs: usize,
    delay: Duration,
}

impl Plan {
    fn of(quick: bool) -> Self {
        if quick {
            Self {
                events: 60_000,
                pairs: 2,
                delay: Duration::from_secs(5),
            }
        } else {
            Self {
                events: 200_000,
                pairs: 5,
                delay: Duration::from_secs(20),
            }
        }
    }
}

/// One host that worked through the backlog.
struct Arm {
    /// Events a second.
    rate: f64,
    used: Option<Used>,
    /// Deliveries of one commit, and its milliseconds.
    commit: (f64, f64),
}

struct Bench {
    broker: Broker,
    jetstream: Js,
    events: u64,
    /// Hosts so far: each has a plug-in of a name of its own, which begins with the first event.
    hosts: usize,
}

pub(crate) async fn run(quick: bool) -> Result<Report> {
    let plan = Plan::of(quick);
    backlog::check()?;
    println!("storing {} events of {BODY} bytes", plan.events);
    let mut bench = Bench::start(plan.events).await?;
    let events = Events::Small { keys: KEYS };
    events.store(&bench.jetstream, plan.events).await?;
    let server = bench.jetstream.client().server_info().version;
    let machine = Machine::this(
        server,
        format!(
            "{} events of {BODY} bytes over {KEYS} keys, {} pairs",
            plan.events, plan.pairs
        ),
    );
    let mut rows = bench.pairs(DECIDES, "parse and decide", plan.pairs).await?;
    if let Some(row) = rows.first_mut() {
        row.target_ratio(Target::AtLeast(SHARE));
    }
    let emitting = bench.pairs(EMITS, "emit one event each", plan.pairs);
    let emitting = emitting.await?;
    let most = emitting.first().map_or(0.0, |row| row.ours);
    rows.extend(emitting);
    // Without what the hosts before have left.
    bench = Bench::start(plan.events).await?;
    for rate in [LOW, most / 2.0] {
        rows.extend(bench.delay(rate, plan.delay).await?);
    }
    Ok(Report { machine, rows })
}

impl Bench {
    async fn start(events: u64) -> Result<Self> {
        let broker = worked::broker().await?;
        let jetstream = broker.jetstream().await?;
        Ok(Self {
            broker,
            jetstream,
            events,
            hosts: 0,
        })
    }

    /// Hosts with and without ledger in turn.
    async fn pairs(&mut self, guest: &str, what: &str, pairs: usize) -> Result<Vec<Row>> {
        let (mut rates, mut on, mut off) = (Vec::new(), Vec::new(), Vec::new());
        for pair in 1..=pairs {
            let with = self.arm(guest, true).await?;
            let without = self.arm(guest, false).await?;
            println!(
                "{what}, pair {pair} of {pairs}: {:.0}/s with ledger, {:.0}/s without",
                with.rate, without.rate
            );
            rates.push((with.rate, without.rate));
            on.push(with);
            off.push(without);
        }
        let mut rows = vec![Row::pairs(
            format!("{what}; other: ledger off"),
            &rates,
            "1/s",
        )];
        let mut add = |name: &str, unit, value: &dyn Fn(&Arm) -> Option<f64>| {
            let mean = |arms: &[Arm]| {
                let values: Option<Vec<f64>> = arms.iter().map(value).collect();
                values.map(|values| values.iter().sum::<f64>() / values.len() as f64)
            };
            if let (Some(ours), Some(other)) = (mean(&on), mean(&off)) {
                rows.push(Row {
                    other: Some(other),
                    ratio: Some(ours / other),
                    ..Row::new(format!("{what}: {name}"), ours, unit)
                });
            }
        };
        let each = self.events as f64 / 1e6;
        add("processor time an event, host", "µs", &|arm| {
            Some(arm.used?.sluice.as_secs_f64() / each)
        });
        add("processor time an event, nats-server", "µs", &|arm| {
            Some(arm.used?.broker.as_secs_f64() / each)
        });
        add("deliveries of a commit", "deliveries", &|arm| {
            Some(arm.commit.0)
        });
        add("time of a commit", "ms", &|arm| Some(arm.commit.1));
        Ok(rows)
    }

    /// A host with a plug-in of its own.
    fn subject(&mut self, guest: &str, ledger: bool) -> Result<Subject> {
        self.hosts += 1;
        Subject::new(&self.broker.url(), guest, self.hosts, Mode::warm(ledger))
    }

    async fn arm(&mut self, guest: &str, ledger: bool) -> Result<Arm> {
        let emits = guest == EMITS;
        let subject = self.subject(guest, ledger)?;
        let events = self.jetstream.get_stream("EVENTS").await?;
        events.purge().filter(ECHOES).await?;
        let all = self.events as f64;
        // What it emits is done when it can be read.
        let is_readable = async || Ok(!emits || all <= self.outputs().await?);
        let worked = worked::through(subject, self.events, is_readable).await?;
        if emits {
            let outputs = self.outputs().await?;
            ensure!(outputs == all || !ledger, "{outputs} outputs of {all}");
        }
        let mean = |name: &str| {
            let sum = worked.metrics.sum(&format!("{name}_sum"), &[])?;
            anyhow::Ok(sum / worked.metrics.sum(&format!("{name}_count"), &[])?)
        };
        Ok(Arm {
            rate: worked.rate,
            commit: (
                mean("sluicegate_commit_events")?,
                mean("sluicegate_commit_duration_seconds")? * 1e3,
            ),
            used: worked.used,
        })
    }

    async fn outputs(&self) -> Result<f64> {
        Ok(count(&self.jetstream, "EVENTS", ECHOES).await? as f64)
    }

    /// How long it takes until what an event causes can be read.
    async fn delay(&mut self, rate: f64, time: Duration) -> Result<[Row; 4]> {
        let Subject { plugin, mut host } = self.subject(EMITS, true)?;
        host.start().await?;
        host.settled(&plugin, 60).await?;
        let first = self.hosts as u64 * 100_000_000;
        let load = Load {
            rate,
            time,
            first,
            message: &message,
        };
        let seen = delay::measure(&self.jetstream, &load).await?;
        host.stop().await?;
        host.hush();
        let name = |what: &str| format!("output after, {what}, at {rate:.0} events/s");
        let rows = Row::percentiles(report::percentiles(&seen.delay, &seen.late), name);
        let [p50, p99, p999, _] = &rows;
        println!(
            "{rate:.0} events/s: output after p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms",
            p50.ours, p99.ours, p999.ours
        );
        Ok(rows)
    }
}

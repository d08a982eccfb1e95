//! Takes a backlog of small events, gives how fast a host works through it, with its ledger and without.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use async_nats::jetstream;
use sluicegate_tests::component::{manifest, with_manifest};
use sluicegate_tests::outputs::{ECHOES, count};
use sluicegate_tests::{Broker, Host, Setup, environment};
use tokio::time::{Instant, sleep};

use crate::backlog::{self, BODY, KEYS};
use crate::cpu::Used;
use crate::delay;
use crate::machine::Machine;
use crate::report::{self, Report, Row, Target};

pub(crate) type Js = jetstream::Context;

/// What effects once may cost: the share of the rate without a ledger that is to be left.
const SHARE: f64 = 0.75;
/// How often the host is asked how far it is.
const PAUSE: Duration = Duration::from_millis(25);
/// The rate counts from this share of the backlog on: what is before it is the start.
const WARM: f64 = 0.1;
/// The outputs of one host and the backlog.
const ROOM: &str = "max_bytes = \"4GiB\"";
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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    On,
    Off,
}

impl Mode {
    fn section(self) -> &'static str {
        match self {
            Self::On => "[ledger]\nmode = \"on\"",
            Self::Off => "[ledger]\nmode = \"off\"",
        }
    }
}

/// A host with a plug-in that nobody has run before.
struct Subject {
    plugin: String,
    /// Whether the plug-in emits events.
    emits: bool,
    host: Host,
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
    backlog::store(&bench.jetstream, plan.events).await?;
    let server = bench.jetstream.client().server_info().version;
    let machine = Machine::this(
        server,
        format!(
            "{} events of {BODY} bytes over {KEYS} keys, {} pairs",
            plan.events, plan.pairs
        ),
    );
    let mut rows = bench
        .pairs("decide", "parse and decide", plan.pairs)
        .await?;
    if let Some(row) = rows.first_mut() {
        row.target_ratio(Target::AtLeast(SHARE));
    }
    let emitting = bench.pairs("emit_one", "emit one event each", plan.pairs);
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
        let broker = Broker::start().await?;
        let jetstream = broker.jetstream().await?;
        // It makes the streams.
        let mut host = Setup::new(broker.url()).events(ROOM).start().await?;
        host.stop().await?;
        host.hush();
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
            let with = self.arm(guest, Mode::On).await?;
            let without = self.arm(guest, Mode::Off).await?;
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
    fn host(&mut self, guest: &str, mode: Mode) -> Result<Subject> {
        self.hosts += 1;
        let component = std::fs::read(environment::guest(guest)?)?;
        let text = manifest(&component)?;
        let name = text.lines().find(|line| line.starts_with("name = "));
        let plugin = format!("{}-{}", guest.replace('_', "-"), self.hosts);
        let text = text.replace(name.context("no name")?, &format!("name = {plugin:?}"));
        let host = Setup::new(self.broker.url())
            .events(ROOM)
            .with(mode.section())
            .file("plugin.wasm", with_manifest(&component, &text)?)
            .write()?;
        Ok(Subject {
            emits: text.contains("emit = "),
            plugin,
            host,
        })
    }

    async fn arm(&mut self, guest: &str, mode: Mode) -> Result<Arm> {
        let Subject {
            plugin,
            emits,
            mut host,
        } = self.host(guest, mode)?;
        let events = self.jetstream.get_stream("EVENTS").await?;
        events.purge().filter(ECHOES).await?;
        let before = Used::now();
        host.start().await?;
        let all = self.events as f64;
        let end = Instant::now() + Duration::from_secs(300);
        let mut warm = None;
        let (took, metrics) = loop {
            let now = Instant::now();
            let metrics = host.metrics().await?;
            // A call is counted as done a moment before the commit that makes it last.
            let committed = metrics.sum("sluicegate_commit_events_sum", &[])?;
            let done = metrics.outcomes(&plugin, "done")?.min(committed);
            if warm.is_none() && all * WARM <= done {
                warm = Some((now, done));
            }
            // What it emits is done when it can be read.
            if all <= done && (!emits || all <= self.outputs().await?) {
                break (Instant::now(), metrics);
            }
            ensure!(now < end, "{done} of {all} events after 5 minutes");
            sleep(PAUSE).await;
        };
        let used = before.and_then(|before| Some(Used::now()?.since(before)));
        // None where the program under test has another name.
        let used = used.filter(|used| !used.sluice.is_zero());
        host.stop().await?;
        host.hush();
        let (since, already) = warm.context("the backlog was done before it was looked at")?;
        let done = metrics.outcomes(&plugin, "done")?;
        ensure!(done == all, "{done} done, of {all}");
        if emits {
            let outputs = self.outputs().await?;
            ensure!(
                outputs == all || mode == Mode::Off,
                "{outputs} outputs of {all}"
            );
        }
        let mean = |name: &str| {
            let sum = metrics.sum(&format!("{name}_sum"), &[])?;
            anyhow::Ok(sum / metrics.sum(&format!("{name}_count"), &[])?)
        };
        Ok(Arm {
            rate: (all - already) / (took - since).as_secs_f64(),
            used,
            commit: (
                mean("sluicegate_commit_events")?,
                mean("sluicegate_commit_duration_seconds")? * 1e3,
            ),
        })
    }

    async fn outputs(&self) -> Result<f64> {
        Ok(count(&self.jetstream, "EVENTS", ECHOES).await? as f64)
    }

    /// How long it takes until what an event causes can be read.
    async fn delay(&mut self, rate: f64, time: Duration) -> Result<[Row; 4]> {
        let Subject {
            plugin, mut host, ..
        } = self.host("emit_one", Mode::On)?;
        host.start().await?;
        host.settled(&plugin, 60).await?;
        let first = self.hosts as u64 * 100_000_000;
        let seen = delay::measure(&self.jetstream, rate, time, first).await?;
        host.stop().await?;
        host.hush();
        let name = |what: &str| format!("output after, {what}, at {rate:.0} events/s");
        let rows = report::percentiles(&seen.delay, &seen.late, name);
        let [p50, p99, p999, _] = &rows;
        println!(
            "{rate:.0} events/s: output after p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms",
            p50.ours, p99.ours, p999.ours
        );
        Ok(rows)
    }
}

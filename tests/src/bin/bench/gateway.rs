//! Takes a broker and a gateway of its own, gives how many durable 202s a second it answers and how late.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sluicegate_tests::Broker;

use crate::body::Template;
use crate::cpu::Used;
use crate::load::{self, Seen, Target};
use crate::machine::Machine;
use crate::report::{self, Report, Row};
use crate::sluice::{self, Sluice};
use crate::store::{OUTSTANDING, Store};
use crate::wrk;

/// Durable 202s a second on 2 cores.
const RATE: f64 = 15_000.0;
/// The 99th percentile at half of that rate, in milliseconds.
const LATENCY: f64 = 25.0;

/// Connections of the closed loop, each with one request under way.
const CONNECTIONS: usize = 256;
/// Connections of the open loop: so many requests can be under way before one has to wait.
const OPEN_CONNECTIONS: usize = 384;

/// How long things are measured.
struct Plan {
    warm_up: Duration,
    pairs: usize,
    rate: Duration,
    latency: Duration,
}

impl Plan {
    fn of(quick: bool) -> Self {
        let seconds = Duration::from_secs;
        if quick {
            Self {
                warm_up: seconds(2),
                pairs: 2,
                rate: seconds(4),
                latency: seconds(8),
            }
        } else {
            Self {
                warm_up: seconds(4),
                pairs: 5,
                rate: seconds(8),
                latency: seconds(20),
            }
        }
    }
}

/// What the measures share.
struct Bench<'a> {
    target: Target<'a>,
    template: Rc<Template>,
    store: &'a Store,
    sluice: &'a Sluice,
    /// The next body.
    numbers: u64,
    /// 202s, and messages that EVENTS had for them.
    accepted: u64,
    stored: u64,
}

pub(crate) async fn run(quick: bool) -> Result<Report> {
    let plan = Plan::of(quick);
    println!("starting nats-server and sluice");
    let broker = Broker::start().await?;
    let sluice = Sluice::start(&broker.url()).await?;
    let store = Store::new(broker.jetstream().await?);
    let template = Rc::new(Template::new()?);
    let size = template.bytes().len();
    let machine = Machine::this(
        store.server(),
        format!(
            "body of {size} bytes, {CONNECTIONS} connections, {} pairs of {} s each, latency over {} s",
            plan.pairs,
            plan.rate.as_secs(),
            plan.latency.as_secs(),
        ),
    );
    let path = sluice::path();
    let mut bench = Bench {
        target: Target {
            address: sluice.gateway,
            path: &path,
        },
        template,
        store: &store,
        sluice: &sluice,
        numbers: 1,
        accepted: 0,
        stored: 0,
    };
    bench.closed(plan.warm_up).await?;
    let reference = store.reference().await?;
    reference
        .measure(&bench.template, plan.warm_up, &mut bench.numbers)
        .await?;

    let mut pairs = Vec::new();
    let mut used: Option<Used> = None;
    let mut accepted = 0;
    for pair in 1..=plan.pairs {
        let before = Used::now();
        let seen = bench.closed(plan.rate).await?;
        if let (Some(before), Some(now)) = (before, Used::now()) {
            used = Some(now.since(before).and(used.unwrap_or_default()));
        }
        accepted += seen.accepted();
        let native = reference
            .measure(&bench.template, plan.rate, &mut bench.numbers)
            .await?;
        println!(
            "pair {pair} of {}: gateway {:.0}/s, publisher alone {native:.0}/s",
            plan.pairs,
            seen.rate()
        );
        pairs.push((seen.rate(), native));
    }
    let name = format!("durable 202s; other: async-nats, {OUTSTANDING} outstanding");
    let rate = Row::pairs(name, &pairs, "1/s").with_target(report::Target::AtLeast(RATE));
    let half = rate.ours / 2.0;
    let mut rows = vec![rate];

    rows.extend(bench.latency(half, plan.latency).await?);
    if half < RATE / 2.0 {
        rows.extend(bench.latency(RATE / 2.0, plan.latency).await?);
    }
    rows.extend(bench.wrk(plan.rate).await?);
    if let Some(used) = used {
        let each = |time: Duration| time.as_secs_f64() * 1e6 / accepted as f64;
        rows.push(Row::new(
            "processor time a 202: gateway",
            each(used.sluice),
            "µs",
        ));
        rows.push(Row::new(
            "processor time a 202: nats-server",
            each(used.broker),
            "µs",
        ));
        rows.push(Row::new(
            "processor time a 202: this load",
            each(used.load),
            "µs",
        ));
    }
    rows.push(bench.balance());
    Ok(Report { machine, rows })
}

impl Bench<'_> {
    /// As many posts as can be in `time`.
    async fn closed(&mut self, time: Duration) -> Result<Seen> {
        self.store.purge().await?;
        let seen = load::closed(
            self.target,
            &self.template,
            CONNECTIONS,
            time,
            &mut self.numbers,
        )
        .await;
        self.settle(seen).await
    }

    /// Posts at `rate` a second, and how long their answers took.
    async fn latency(&mut self, rate: f64, time: Duration) -> Result<[Row; 4]> {
        self.open(rate, Duration::from_secs(2)).await?;
        let seen = self.open(rate, time).await?;
        let name = |what: &str| format!("{what} at {rate:.0} posts/s");
        let [p50, p99, p999, late] =
            Row::percentiles(report::percentiles(&seen.latency, &seen.late), name);
        println!(
            "{rate:.0} posts/s: p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms; {:.0}/s accepted",
            p50.ours,
            p99.ours,
            p999.ours,
            seen.rate(),
        );
        let p99 = p99.with_target(report::Target::AtMost(LATENCY));
        Ok([p50, p99, p999, late])
    }

    /// Posts at `rate` a second, whatever the answers do.
    async fn open(&mut self, rate: f64, time: Duration) -> Result<Seen> {
        self.store.purge().await?;
        let seen = load::open(
            self.target,
            &self.template,
            OPEN_CONNECTIONS,
            rate,
            time,
            &mut self.numbers,
        )
        .await;
        self.settle(seen).await
    }

    async fn wrk(&mut self, time: Duration) -> Result<Option<Row>> {
        let measured = wrk::measure(
            self.target,
            &self.template,
            CONNECTIONS,
            time,
            &mut self.numbers,
        )?;
        let Some(rate) = measured else {
            println!("wrk is not on PATH: left out");
            return Ok(None);
        };
        println!("wrk: {rate:.0}/s");
        Ok(Some(Row::new("durable 202s, load from wrk", rate, "1/s")))
    }

    /// Counts what EVENTS has for the 202s of a measure.
    async fn settle(&mut self, seen: Result<Seen>) -> Result<Seen> {
        let seen =
            seen.with_context(|| format!("the end of the host's log:\n{}", self.sluice.log()))?;
        let stored = self.store.messages().await?;
        self.accepted += seen.accepted();
        self.stored += stored;
        let others: Vec<String> = seen
            .statuses
            .iter()
            .filter(|(status, _)| **status != 202)
            .map(|(status, count)| format!("{count} × {status}"))
            .collect();
        if !others.is_empty() {
            println!("  answers other than 202: {}", others.join(", "));
        }
        ensure!(seen.accepted() > 0, "no post was accepted");
        Ok(seen)
    }

    /// Each 202 is one message and there is no other.
    fn balance(&self) -> Row {
        let (accepted, stored) = (self.accepted as f64, self.stored as f64);
        if self.accepted != self.stored {
            eprintln!(
                "LOST OR REPEATED: {} answers were 202, and EVENTS had {} messages",
                self.accepted, self.stored
            );
        }
        Row {
            other: Some(accepted),
            ratio: Some(stored / accepted),
            ..Row::new("messages in EVENTS; other: 202s", stored, "messages")
        }
        .with_target(report::Target::Exactly(accepted))
    }
}

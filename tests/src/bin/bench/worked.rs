//! Takes a backlog, gives how fast a host works through it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sluicegate_tests::component::with_words;
use sluicegate_tests::metrics::Metrics;
use sluicegate_tests::{Host, Setup, environment};
use tokio::time::{Instant, sleep};

use crate::cpu::Used;

/// How often the host is asked how far it is.
const PAUSE: Duration = Duration::from_millis(25);
/// The rate counts from this share of the backlog on: what is before it is the start.
const WARM: f64 = 0.1;
/// The outputs of one host and the backlog.
pub(crate) const ROOM: &str = "max_bytes = \"4GiB\"";

/// The guest that parses the body and decides.
pub(crate) const DECIDES: &str = "decide";
/// The guest that emits an event for each.
pub(crate) const EMITS: &str = "emit_one";

/// How a plug-in runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mode {
    pub(crate) ledger: bool,
    /// A new instance for every event.
    pub(crate) fresh: bool,
}

impl Mode {
    /// Instances are used again.
    pub(crate) const fn warm(ledger: bool) -> Self {
        Self {
            ledger,
            fresh: false,
        }
    }

    /// Every event has a new instance.
    pub(crate) const fn fresh() -> Self {
        Self {
            ledger: true,
            fresh: true,
        }
    }

    /// For a table.
    pub(crate) fn name(self) -> String {
        let instances = if self.fresh {
            "a new instance an event"
        } else {
            "warm"
        };
        let ledger = if self.ledger {
            "ledger on"
        } else {
            "ledger off"
        };
        format!("{instances}, {ledger}")
    }
}

/// A host with a plug-in that nobody has run before: it begins with the first event.
pub(crate) struct Subject {
    pub(crate) plugin: String,
    pub(crate) host: Host,
}

impl Subject {
    /// This guest, as plug-in number `number`.
    pub(crate) fn new(broker: &str, guest: &str, number: usize, mode: Mode) -> Result<Self> {
        let component = std::fs::read(environment::guest(guest)?)?;
        let kebab = guest.replace('_', "-");
        let plugin = format!("{kebab}-{number}");
        let name = |name: &str| format!("name = {name:?}");
        let component = with_words(&component, &[(&name(&kebab), &name(&plugin))])?;
        let ledger = if mode.ledger { "on" } else { "off" };
        let mut sections = format!("[ledger]\nmode = {ledger:?}\n");
        if guest == DECIDES {
            // Nobody is over it: nothing is rejected.
            sections += &format!("[plugin.{plugin}.config]\nlimit = \"1e9\"\n");
        }
        if mode.fresh {
            sections += &format!("[plugin.{plugin}]\nisolation = \"fresh\"\n");
        }
        let host = Setup::new(broker)
            .events(ROOM)
            .with(&sections)
            .file("plugin.wasm", component)
            .write()?;
        Ok(Self { plugin, host })
    }
}

/// A host that worked through a backlog.
pub(crate) struct Worked {
    /// Events a second.
    pub(crate) rate: f64,
    /// With its start. None where the system does not say.
    pub(crate) used: Option<Used>,
    pub(crate) metrics: Metrics,
}

/// Starts the host, waits until `all` events are done and what they emit `is_readable`, and
/// stops it.
pub(crate) async fn through(
    subject: Subject,
    all: u64,
    is_readable: impl AsyncFn() -> Result<bool>,
) -> Result<Worked> {
    let Subject { plugin, mut host } = subject;
    let before = Used::now();
    host.start().await?;
    let mut seen = watch(&[&host], &[plugin], all, is_readable).await?;
    let used = before.and_then(|before| Some(Used::now()?.since(before)));
    host.stop().await?;
    host.hush();
    Ok(Worked {
        rate: seen.rate,
        used,
        metrics: seen.metrics.pop().context("no host")?,
    })
}

/// What was seen of hosts at work, from a tenth of the backlog on.
pub(crate) struct Seen {
    /// Calls a second.
    pub(crate) rate: f64,
    /// Processor time of a call, in microseconds: of the hosts and of the broker. None where
    /// the system does not say.
    pub(crate) each: Option<(f64, f64)>,
    /// The last reading of each host.
    pub(crate) metrics: Vec<Metrics>,
}

/// Looks at hosts that run until these plug-ins have done `all` calls together, and what they
/// emit `is_readable`.
pub(crate) async fn watch(
    hosts: &[&Host],
    plugins: &[String],
    all: u64,
    is_readable: impl AsyncFn() -> Result<bool>,
) -> Result<Seen> {
    let all = all as f64;
    let end = Instant::now() + Duration::from_secs(300);
    let mut warm = None;
    let (took, metrics) = loop {
        let now = Instant::now();
        let metrics = read(hosts).await?;
        // A call is counted as done a moment before the commit that makes it last.
        let dead = outcomes(&metrics, plugins, "dead")?;
        ensure!(dead == 0.0, "{dead} events became dead letters");
        let mut committed = 0.0;
        for one in &metrics {
            committed += one.sum("sluicegate_commit_events_sum", &[])?;
        }
        let done = outcomes(&metrics, plugins, "done")?.min(committed);
        if warm.is_none() && all * WARM <= done {
            warm = Some((now, done, Used::now()));
        }
        if all <= done && is_readable().await? {
            break (Instant::now(), metrics);
        }
        ensure!(now < end, "{done} of {all} calls after 5 minutes");
        sleep(PAUSE).await;
    };
    let (since, already, used) = warm.context("the backlog was done before it was looked at")?;
    let used = used.and_then(|before| Some(Used::now()?.since(before)));
    let done = outcomes(&metrics, plugins, "done")?;
    ensure!(done == all, "{done} done, of {all}");
    let calls = all - already;
    let each = |used: Duration| used.as_secs_f64() * 1e6 / calls;
    Ok(Seen {
        rate: calls / (took - since).as_secs_f64(),
        each: used.map(|used| (each(used.sluice), each(used.broker))),
        metrics,
    })
}

async fn read(hosts: &[&Host]) -> Result<Vec<Metrics>> {
    let mut metrics = Vec::new();
    for host in hosts {
        metrics.push(host.metrics().await?);
    }
    Ok(metrics)
}

/// How many deliveries of these plug-ins ended so, over all hosts.
fn outcomes(metrics: &[Metrics], plugins: &[String], outcome: &str) -> Result<f64> {
    let mut sum = 0.0;
    for one in metrics {
        for plugin in plugins {
            sum += one.outcomes(plugin, outcome)?;
        }
    }
    Ok(sum)
}

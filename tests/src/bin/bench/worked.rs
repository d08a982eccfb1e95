//! Takes a backlog, gives how fast a host works through it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sluicegate_tests::component::with_words;
use sluicegate_tests::metrics::Metrics;
use sluicegate_tests::{Broker, Host, Setup, environment};
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

/// A new one with the streams of a host.
pub(crate) async fn broker() -> Result<Broker> {
    let broker = Broker::start().await?;
    let mut host = Setup::new(broker.url()).events(ROOM).start().await?;
    host.stop().await?;
    host.hush();
    Ok(broker)
}

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
    let all = all as f64;
    let end = Instant::now() + Duration::from_secs(300);
    let mut warm = None;
    let (took, metrics) = loop {
        let now = Instant::now();
        let metrics = host.metrics().await?;
        // A call is counted as done a moment before the commit that makes it last.
        let dead = metrics.outcomes(&plugin, "dead")?;
        ensure!(dead == 0.0, "{dead} events became dead letters");
        let committed = metrics.sum("sluicegate_commit_events_sum", &[])?;
        let done = metrics.outcomes(&plugin, "done")?.min(committed);
        if warm.is_none() && all * WARM <= done {
            warm = Some((now, done));
        }
        if all <= done && is_readable().await? {
            break (Instant::now(), metrics);
        }
        ensure!(now < end, "{done} of {all} events after 5 minutes");
        sleep(PAUSE).await;
    };
    let used = before.and_then(|before| Some(Used::now()?.since(before)));
    host.stop().await?;
    host.hush();
    let (since, already) = warm.context("the backlog was done before it was looked at")?;
    let done = metrics.outcomes(&plugin, "done")?;
    ensure!(done == all, "{done} done, of {all}");
    Ok(Worked {
        rate: (all - already) / (took - since).as_secs_f64(),
        used,
        metrics,
    })
}

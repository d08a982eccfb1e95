//! Takes more of everything (plug-ins, keys, bytes, partitions, hosts), gives what that costs.

use std::time::Duration;

use anyhow::{Result, ensure};
use sluicegate_tests::component::with_words;
use sluicegate_tests::wait::until_every;
use sluicegate_tests::{Broker, Host, environment};
use tokio::time::Instant;

use crate::backlog::{self, BODY, Events, KEYS};
use crate::machine::Machine;
use crate::report::Report;
use crate::worked::{self, DECIDES};

mod growth;
mod installed;
mod keys;
mod matching;
mod progress;

/// A first start with a thousand plug-ins compiles each of them.
const PATIENCE: Duration = Duration::from_mins(10);
/// How often a host that starts is asked whether it is ready.
const LOOK: Duration = Duration::from_millis(10);

/// How much is measured.
pub(crate) struct Plan {
    /// Plug-ins that are installed and see no event; the last number has the target.
    installed: &'static [usize],
    /// Keys of the backlog that has many.
    keys: u64,
    /// Small events of a backlog.
    events: u64,
    /// How often a host at work is asked how far it is.
    look: Duration,
    /// Where there is a target.
    pairs: usize,
    /// Where there is none.
    rounds: usize,
    /// Events come one by one for so long.
    live: Duration,
}

impl Plan {
    fn of(quick: bool) -> Self {
        if quick {
            Self {
                installed: &[100],
                keys: 100_000,
                events: 100_000,
                look: Duration::from_millis(100),
                pairs: 2,
                rounds: 1,
                live: Duration::from_secs(5),
            }
        } else {
            Self {
                installed: &[10, 100, 1_000],
                keys: 1_000_000,
                events: 200_000,
                look: Duration::from_millis(250),
                pairs: 5,
                rounds: 3,
                live: Duration::from_secs(10),
            }
        }
    }
}

pub(crate) async fn run(quick: bool) -> Result<Report> {
    backlog::check()?;
    let plan = Plan::of(quick);
    let version = {
        let broker = Broker::start().await?;
        let jetstream = broker.jetstream().await?;
        jetstream.client().server_info().version
    };
    let run = format!(
        "{KEYS} keys of {BODY} bytes where nothing else is said; {} pairs, {} rounds",
        plan.pairs, plan.rounds
    );
    let machine = Machine::this(version, run);
    let mut rows = installed::rows(&plan).await?;
    rows.extend(matching::rows(&plan).await?);
    rows.extend(keys::rows(&plan).await?);
    rows.extend(growth::rows(&plan).await?);
    Ok(Report { machine, rows })
}

/// A broker whose store holds so many events.
async fn stored(events: &Events, count: u64) -> Result<Broker> {
    let broker = worked::broker().await?;
    println!("storing {count} events of {} bytes", events.size());
    events.store(&broker.jetstream().await?, count).await?;
    Ok(broker)
}

/// The guest that parses and decides, under a name of its own.
fn decides(plugin: &str) -> Result<Vec<u8>> {
    let component = std::fs::read(environment::guest(DECIDES)?)?;
    let name = format!("name = {plugin:?}");
    let words = [
        ("name = \"decide\"", name.as_str()),
        // Nobody is over it: nothing is rejected.
        ("limit = \"50000\"", "limit = \"1e9\""),
    ];
    with_words(&component, &words)
}

/// Starts the host, and gives the milliseconds until `/readyz` said 200.
async fn start(host: &mut Host) -> Result<f64> {
    let begun = Instant::now();
    host.spawn()?;
    let ready = until_every(LOOK, "the host to be ready", PATIENCE, async || {
        if !host.runs()? {
            return Ok(None);
        }
        let (status, body) = host.admin("/readyz").await?;
        ensure!(status == 200, "/readyz says {status}: {body}");
        Ok(Some(begun.elapsed()))
    });
    match ready.await? {
        Some(took) => Ok(took.as_secs_f64() * 1e3),
        None => anyhow::bail!("the host ended: {}", host.log()?),
    }
}

/// Stops the host and has it say nothing more.
async fn stop(host: &mut Host) -> Result<()> {
    host.stop().await?;
    host.hush();
    Ok(())
}

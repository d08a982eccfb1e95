//! Takes hosts at work on a backlog, gives how fast they are, asking them seldom.
//!
//! A host with a thousand plug-ins writes 5.6 MB of metrics each time, which takes a core 24 ms: who
//! asks often measures that.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sluicegate_tests::Host;
use tokio::time::{Instant, sleep};

use crate::cpu::Used;

/// The rate counts from this share of the backlog on: what is before it is the start.
const WARM: f64 = 0.1;
const PATIENCE: Duration = Duration::from_mins(5);

/// What was seen between two readings: the first one beyond a tenth, and the last one before the
/// end.
pub(super) struct Seen {
    /// Calls a second.
    pub(super) rate: f64,
    /// Processor time of a call, in microseconds: of the hosts and of the broker. None where
    /// the system does not say.
    pub(super) each: Option<(f64, f64)>,
}

/// How far all hosts are together.
struct Reading {
    at: Instant,
    done: f64,
    used: Option<Used>,
}

/// Looks at these hosts every `pause` until the plug-ins have done `all` calls together.
pub(super) async fn watch(
    hosts: &[&Host],
    plugins: &[String],
    all: u64,
    pause: Duration,
) -> Result<Seen> {
    let all = all as f64;
    let end = Instant::now() + PATIENCE;
    let (mut first, mut last): (Option<Reading>, Option<Reading>) = (None, None);
    loop {
        let reading = read(hosts, plugins).await?;
        let (at, done) = (reading.at, reading.done);
        ensure!(done <= all, "{done} calls of {all}");
        if done == all {
            break;
        }
        ensure!(at < end, "{done} of {all} calls after {PATIENCE:?}");
        if first.is_some() {
            last = Some(reading);
        } else if all * WARM <= done {
            first = Some(reading);
        }
        sleep(pause).await;
    }
    let short = "the backlog was done before it was looked at twice";
    let (first, last) = (first.context(short)?, last.context(short)?);
    let calls = last.done - first.done;
    ensure!(0.0 < calls, "nothing was done in {pause:?}");
    let used = last.used.zip(first.used);
    let each = |used: Duration| used.as_secs_f64() * 1e6 / calls;
    Ok(Seen {
        rate: calls / (last.at - first.at).as_secs_f64(),
        each: used.map(|(last, first)| {
            let used = last.since(first);
            (each(used.sluice), each(used.broker))
        }),
    })
}

async fn read(hosts: &[&Host], plugins: &[String]) -> Result<Reading> {
    let (at, used) = (Instant::now(), Used::now());
    let (mut done, mut committed) = (0.0, 0.0);
    for host in hosts {
        let metrics = host.metrics().await?;
        for plugin in plugins {
            let dead = metrics.outcomes(plugin, "dead")?;
            ensure!(dead == 0.0, "{dead} events became dead letters");
            done += metrics.outcomes(plugin, "done")?;
        }
        committed += metrics.sum("sluicegate_commit_events_sum", &[])?;
    }
    // A call is counted as done a moment before the commit that makes it last.
    let done = done.min(committed);
    Ok(Reading { at, done, used })
}

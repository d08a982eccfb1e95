//! Promise: while what a plug-in depends on is down, its events wait; they do not become dead letters.

use anyhow::{Result, ensure};
use sluicegate_tests::checks::Verdict;
use sluicegate_tests::events::{publish, spread};
use sluicegate_tests::guests::told;
use sluicegate_tests::outputs::{count, dead_letters, wait_dead_letters, wait_echoes};
use sluicegate_tests::{Input, Stage, until, within};

const CIRCUITS: &str = "sluicegate_circuits_open";

async fn wait_circuits(stage: &Stage, plugin: &str, open: f64, seconds: u64) -> Result<()> {
    until(&format!("{open} open circuits"), seconds, async || {
        let metrics = stage.host.metrics().await?;
        let found = metrics.sum(CIRCUITS, &[("plugin", plugin)])?;
        ensure!(found == open, "{found} are open");
        Ok(())
    })
    .await
}

/// The guest: `outage`. Each event would be dead after eight attempts, 3.5 s.
#[test]
fn events_wait_for_the_end_of_an_outage_and_none_dies() -> Result<()> {
    within(120, async {
        let mut stage = Stage::with(&["outage"], "").await?;
        let down = spread(12, 12);
        publish(&stage.jetstream, &down).await?;
        wait_circuits(&stage, "outage", 1.0, 20).await?;
        // Many times as long as their attempts would last.
        stage.host.wait_log(&["the circuit is open"], 5).await?;
        let retries = stage.host.metrics().await?.outcomes("outage", "retry")?;
        until("a call that tries", 20, async || {
            let now = stage.host.metrics().await?.outcomes("outage", "retry")?;
            ensure!(retries + 1.0 < now, "{now} retries after {retries}");
            Ok(())
        })
        .await?;
        ensure!(dead_letters(&stage.jetstream).await?.is_empty(), "one died");
        ensure!(
            count(&stage.jetstream, "EVENTS", "d365.custom.test.business.>").await? == 0,
            "one succeeded"
        );
        // It is read although the circuit is open, and comes before those that have failed.
        let heal = told("heal", 0, "heal");
        publish(&stage.jetstream, std::slice::from_ref(&heal)).await?;
        let all = [&down[..], &[heal]].concat();
        wait_echoes(&stage.jetstream, all.len(), 60).await?;
        wait_circuits(&stage, "outage", 0.0, 20).await?;
        stage
            .host
            .wait_log(&["the circuit is closed again"], 5)
            .await?;
        Verdict::on(&all, &stage.last_echoes("outage").await?).clean()?;
        ensure!(dead_letters(&stage.jetstream).await?.is_empty(), "one died");
        Ok(())
    })
}

/// The guest: `retry_forever`. One event that can never succeed is no outage.
#[test]
fn an_event_that_fails_for_ever_opens_nothing() -> Result<()> {
    within(60, async {
        let settings =
            "[plugin.retry-forever]\nmax_attempts = 30\ninitial = \"5ms\"\nmax = \"5ms\"";
        let stage = Stage::with(&["retry_forever"], settings).await?;
        publish(&stage.jetstream, &spread(3, 3)).await?;
        wait_dead_letters(&stage.jetstream, 3, 30).await?;
        let log = stage.host.log()?;
        ensure!(!log.contains("the circuit is open"), "it opened");
        Ok(())
    })
}

/// While the circuit is open, no more than 512 events are held: the others stay in the store.
#[test]
fn an_outage_fills_no_memory() -> Result<()> {
    within(60, async {
        let stage = Stage::with(&["outage"], "").await?;
        publish(&stage.jetstream, &spread(20, 20)).await?;
        wait_circuits(&stage, "outage", 1.0, 20).await?;
        let more = (0..1_000).map(|n| Input::new(format!("more{n}"), format!("m{n}"), 0));
        publish(&stage.jetstream, &more.collect::<Vec<_>>()).await?;
        let read = async || {
            let metrics = stage.host.metrics().await?;
            metrics.sum("sluicegate_deliveries_total", &[("plugin", "outage")])
        };
        until("512 events to be held", 20, async || {
            let read = read().await?;
            ensure!(read == 512.0, "{read} were read");
            Ok(())
        })
        .await?;
        // The calls that try go on, and no further event is read.
        let tried = stage.host.metrics().await?.outcomes("outage", "retry")?;
        until("two calls that try", 20, async || {
            let now = stage.host.metrics().await?.outcomes("outage", "retry")?;
            ensure!(tried + 2.0 <= now, "{now} retries after {tried}");
            Ok(())
        })
        .await?;
        let read = read().await?;
        ensure!(read == 512.0, "{read} were read");
        until("the lag to say what is left", 20, async || {
            let metrics = stage.host.metrics().await?;
            let lag = metrics.sum("sluicegate_lag_events", &[("plugin", "outage")])?;
            ensure!(lag == 1_020.0 - 512.0, "{lag} behind");
            Ok(())
        })
        .await
    })
}

//! Promise: how late an event was handled and settled counts once for each that was handled, from
//! the moment on at which the broker stored it.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use sluicegate_tests::events::{Input, publish, series};
use sluicegate_tests::histogram::Histogram;
use sluicegate_tests::outputs::wait_echoes;
use sluicegate_tests::{Host, Stage, until, within};
use tokio::time::{Instant, sleep};

const HANDLING: &str = "sluicegate_handling_delay_seconds";
const SETTLING: &str = "sluicegate_settling_delay_seconds";

/// Both, when so many events are in each.
async fn both(host: &Host, count: u64) -> Result<[Histogram; 2]> {
    until("both histograms", 30, async || {
        let metrics = host.metrics().await?;
        let both = [metrics.histogram(HANDLING)?, metrics.histogram(SETTLING)?];
        let counts = both.each_ref().map(Histogram::count);
        ensure!(counts == [count as f64; 2], "{counts:?}, not {count}");
        Ok(both)
    })
    .await
}

/// Of ten events one is rejected, and one succeeds at the third attempt.
fn input(n: u64) -> Input {
    let data = match n % 10 {
        3 => json!({ "do": "reject" }),
        7 => json!({ "do": "retry", "until": 2 }),
        _ => json!({ "do": "ok" }),
    };
    Input::with_data(format!("e{n}"), format!("k{}", n % 50), n, data)
}

async fn count_once(mode: &str) -> Result<()> {
    let stage = Stage::with(&["fail_by_data"], &format!("[ledger]\nmode = {mode:?}")).await?;
    let inputs: Vec<Input> = (0..200).map(input).collect();
    publish(&stage.jetstream, &inputs).await?;
    stage.host.settled("fail-by-data", 60).await?;
    // Neither attempts that failed nor dead letters.
    both(&stage.host, 180).await?;
    let metrics = stage.host.metrics().await?;
    let [handled, settled] =
        [HANDLING, SETTLING].map(|name| metrics.sum(&format!("{name}_sum"), &[]));
    let (handled, settled) = (handled?, settled?);
    // What failed twice came 150 ms later at least.
    ensure!(20.0 * 0.15 < handled, "{handled} s in all");
    ensure!(
        handled < settled,
        "handled after {handled} s, settled after {settled} s"
    );
    if mode == "on" {
        // What was finished before counts for nothing.
        publish(&stage.jetstream, &inputs).await?;
        until("duplicates", 30, async || {
            let metrics = stage.host.metrics().await?;
            let duplicates = metrics.outcomes("fail-by-data", "duplicate")?;
            ensure!(duplicates == 200.0, "{duplicates}");
            Ok(())
        })
        .await?;
        both(&stage.host, 180).await?;
    }
    Ok(())
}

#[test]
fn each_event_that_was_handled_counts_once() -> Result<()> {
    within(100, count_once("on"))
}

#[test]
fn without_a_ledger_too() -> Result<()> {
    within(100, count_once("off"))
}

/// However long groups are waited for where there is much to be done.
#[test]
fn who_has_caught_up_settles_each_event_at_once() -> Result<()> {
    within(60, async {
        let stage = Stage::with(&["emit_one"], "[ledger]\ncommit_delay = \"1s\"").await?;
        let (inputs, began) = (series("k", 10), Instant::now());
        for (before, input) in inputs.iter().enumerate() {
            publish(&stage.jetstream, std::slice::from_ref(input)).await?;
            wait_echoes(&stage.jetstream, before + 1, 20).await?;
        }
        let took = began.elapsed();
        ensure!(took < Duration::from_secs(5), "it took {took:?}");
        Ok(())
    })
}

#[test]
fn a_delay_begins_with_the_brokers_own_time() -> Result<()> {
    within(100, async {
        let mut stage = Stage::with(&["emit_one"], "").await?;
        stage.host.stop().await?;
        let outage = Duration::from_millis(1_500);
        publish(&stage.jetstream, &series("k", 50)).await?;
        sleep(outage).await;
        stage.host.start().await?;
        for delays in both(&stage.host, 50).await? {
            let early = delays.up_to(outage.as_secs_f64());
            ensure!(early == 0.0, "{early} came before they could: {delays:?}");
        }
        Ok(())
    })
}

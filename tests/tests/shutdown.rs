//! Promise: SIGTERM drains. What is in flight ends within the grace, the exit status is 0, and
//! nothing is repeated or lost at the next start.

use anyhow::{Result, ensure};
use sluicegate_tests::checks::Verdict;
use sluicegate_tests::events::{publish, spread};
use sluicegate_tests::guests::failing;
use sluicegate_tests::outputs::{dead_letters, wait_dead_letters, wait_echoes};
use sluicegate_tests::{Broker, Host, Input, Setup, Stage, until, within};
use tokio::time::{Duration, Instant};

async fn wait_in_flight(host: &Host, plugin: &str) -> Result<()> {
    until("a call to be in flight", 20, async || {
        let calls = host
            .metrics()
            .await?
            .sum("sluicegate_in_flight", &[("plugin", plugin)])?;
        ensure!(0.0 < calls, "nothing in flight");
        Ok(())
    })
    .await
}

#[test]
fn a_busy_host_drains_and_repeats_nothing() -> Result<()> {
    within(120, async {
        let mut stage = Stage::with(&["emit_one"], "[ledger]\ncommit_events = 20").await?;
        let inputs = spread(2_000, 50);
        publish(&stage.jetstream, &inputs).await?;
        wait_echoes(&stage.jetstream, 100, 30).await?;
        stage.host.stop().await?;
        stage.host.start().await?;
        wait_echoes(&stage.jetstream, inputs.len(), 60).await?;
        stage.host.settled("emit-one", 20).await?;
        let repeated = stage
            .host
            .metrics()
            .await?
            .outcomes("emit-one", "duplicate")?;
        ensure!(
            repeated == 0.0,
            "{repeated} events were read again after an orderly end"
        );
        Verdict::on(&inputs, &stage.last_echoes("emit-one").await?).clean()
    })
}

#[test]
fn a_call_in_flight_is_waited_for() -> Result<()> {
    within(90, async {
        // The call ends by its timeout, 3 s after its start; the grace is longer.
        let settings = "[plugin.spin]\ntimeout = \"3s\"\nmax_attempts = 1";
        let mut stage = Stage::with(&["spin"], settings).await?;
        publish(&stage.jetstream, &[Input::new("slow", "k", 0)]).await?;
        wait_in_flight(&stage.host, "spin").await?;
        stage.host.stop().await?;
        // Its outcome was committed before the end, not at the next start.
        let letters = wait_dead_letters(&stage.jetstream, 1, 10).await?;
        ensure!(
            letters
                .iter()
                .all(|letter| letter.header("Sluice-Attempts").is_ok_and(|n| n == "1"))
        );
        stage.host.start().await?;
        stage.host.settled("spin", 20).await?;
        ensure!(
            dead_letters(&stage.jetstream).await?.len() == 1,
            "it was handled a second time"
        );
        Ok(())
    })
}

#[test]
fn a_call_that_outlasts_the_grace_is_cut_and_not_lost() -> Result<()> {
    within(120, async {
        let settings = "[plugin.spin]\ntimeout = \"30s\"\nmax_attempts = 1";
        let broker = Broker::start().await?;
        let setup = Setup::new(broker.url())
            .guest("spin")?
            .with(settings)
            .grace("1s");
        let mut stage = Stage::of(broker, setup).await?;
        publish(&stage.jetstream, &[Input::new("slow", "k", 0)]).await?;
        wait_in_flight(&stage.host, "spin").await?;
        let asked = Instant::now();
        stage.host.terminate()?;
        stage.host.wait_end(20).await?;
        let took = asked.elapsed();
        ensure!(
            took < Duration::from_secs(10),
            "with a grace of 1 s it took {took:?} to end"
        );
        ensure!(
            dead_letters(&stage.jetstream).await?.is_empty(),
            "nobody gave the event up"
        );
        stage.host.start().await?;
        wait_in_flight(&stage.host, "spin").await
    })
}

#[test]
fn a_parked_event_does_not_hold_the_end_up_and_keeps_its_attempts() -> Result<()> {
    within(90, async {
        let settings =
            "[plugin.fail-by-data]\ninitial = \"4s\"\nmax = \"4s\"\nfactor = 1.0\nmax_attempts = 2";
        let mut stage = Stage::with(&["fail_by_data"], settings).await?;
        publish(&stage.jetstream, &[failing("k", 0, 100)]).await?;
        until("the event to be parked", 10, async || {
            let parked = stage
                .host
                .metrics()
                .await?
                .sum("sluicegate_lanes_parked", &[])?;
            ensure!(parked == 1.0, "{parked} lanes are parked");
            Ok(())
        })
        .await?;
        let asked = Instant::now();
        stage.host.stop().await?;
        ensure!(
            asked.elapsed() < Duration::from_secs(4),
            "it waited for the retry: {:?}",
            asked.elapsed()
        );
        stage.host.start().await?;
        // One attempt before, one after: the first one was not forgotten.
        let letters = wait_dead_letters(&stage.jetstream, 1, 20).await?;
        ensure!(
            letters
                .iter()
                .all(|letter| letter.header("Sluice-Attempts").is_ok_and(|n| n == "2"))
        );
        let retries = stage
            .host
            .metrics()
            .await?
            .outcomes("fail-by-data", "retry")?;
        ensure!(retries == 0.0, "{retries} more retries after the restart");
        Ok(())
    })
}

#[test]
fn an_idle_host_ends_at_once() -> Result<()> {
    within(60, async {
        let mut stage = Stage::with(&["ok"], "").await?;
        let asked = Instant::now();
        stage.host.stop().await?;
        let took = asked.elapsed();
        ensure!(
            took < Duration::from_secs(5),
            "an idle host took {took:?} to end"
        );
        Ok(())
    })
}

//! Promise: every queue is bounded; pressure travels back, and nothing is lost to it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use sluicegate_tests::checks::Verdict;
use sluicegate_tests::events::publish;
use sluicegate_tests::outputs::{ECHOES, count, wait_echoes};
use sluicegate_tests::{Broker, Input, Setup, Stage, environment, until, within};
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Publishes one after another until the stream has no room, and gives those that it took.
async fn fill(stage: &Stage, inputs: Vec<Input>) -> Vec<Input> {
    let mut taken = Vec::new();
    for input in inputs {
        if publish(&stage.jetstream, std::slice::from_ref(&input))
            .await
            .is_err()
        {
            break;
        }
        taken.push(input);
    }
    taken
}

#[test]
fn a_full_event_store_holds_the_outbox_back_and_loses_none_of_it() -> Result<()> {
    within(120, async {
        let broker = Broker::start().await?;
        let setup = Setup::new(broker.url()).events("max_bytes = \"1MiB\"");
        let mut stage = Stage::of(broker, setup.guest("emit_one")?).await?;
        let body = json!({ "do": "ok", "n": 0, "fill": "x".repeat(3_000) }).to_string();
        // The store is full of inputs before the first output is there.
        stage.host.kill9();
        let inputs = (0..1_000).map(|n| Input::new(format!("k{n}-0"), format!("k{n}"), 0));
        let inputs = inputs.map(|input| input.body(body.clone())).collect();
        let inputs = fill(&stage, inputs).await;
        ensure!((100..1_000).contains(&inputs.len()), "{}", inputs.len());
        stage.host.start().await?;
        until("every output to be in the ledger", 60, async || {
            let outbox = "ledger.out.custom.test.business.echo.raised.*";
            let found = count(&stage.jetstream, "LEDGER", outbox).await?;
            ensure!(inputs.len() <= found, "{found} of {}", inputs.len());
            Ok(())
        })
        .await?;
        let arrived = count(&stage.jetstream, "EVENTS", ECHOES).await?;
        ensure!(
            arrived < inputs.len(),
            "the store was not full: this run proves nothing"
        );
        eprintln!("{arrived} of {} outputs found room", inputs.len());
        let more = Input::new("more", "more", 0).body(body);
        let more = publish(&stage.jetstream, &[more]).await;
        ensure!(more.is_err(), "it takes more");
        // Room again.
        stage.host.stop().await?;
        stage.host.reconfigure_events("max_bytes = \"64MiB\"")?;
        stage.host.start().await?;
        wait_echoes(&stage.jetstream, inputs.len(), 60).await?;
        Verdict::on(&inputs, &stage.last_echoes("emit-one").await?).clean()
    })
}

/// At half of the rate that it can do, for minutes: what is in memory at the end is what was
/// there after the first part of it.
#[test]
fn memory_stays_flat_under_a_steady_load() -> Result<()> {
    let (seconds, first, tolerance) = if environment::long() {
        (600, 120, 1.10)
    } else {
        (30, 12, 1.25)
    };
    within(seconds + 120, async {
        // Ids of finished events are kept for the whole window: a short one fills up early.
        let settings = "[ledger]\ndedup_window = \"10s\"";
        let stage = Stage::with(&["emit_one"], settings).await?;
        let burst = 4_000;
        let started = Instant::now();
        publish(&stage.jetstream, &series("burst", 0, burst)).await?;
        wait_echoes(&stage.jetstream, usize::try_from(burst)?, 120).await?;
        let top = f64::from(u32::try_from(burst)?) / started.elapsed().as_secs_f64();
        let tick = Duration::from_millis(100);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a few hundred"
        )]
        let each = (top / 2.0 * tick.as_secs_f64()).max(1.0) as u64;
        let mut ticks = interval(tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let started = Instant::now();
        let (mut sent, mut early) = (0, None);
        while started.elapsed() < Duration::from_secs(seconds) {
            ticks.tick().await;
            publish(&stage.jetstream, &series("soak", sent, each)).await?;
            sent += each;
            if early.is_none() && Duration::from_secs(first) < started.elapsed() {
                early = Some(stage.host.resident_bytes()?);
            }
        }
        let late = stage.host.resident_bytes()?;
        let early = early.context("too short")?;
        stage.host.settled("emit-one", 60).await?;
        let expected = usize::try_from(burst + sent)?;
        let outputs = wait_echoes(&stage.jetstream, expected, 60).await?;
        ensure!(outputs.len() == expected, "{} of {expected}", outputs.len());
        let figures = json!({
            "seconds": seconds, "top_per_second": top, "events": sent,
            "early_bytes": early, "late_bytes": late,
        });
        environment::write_figures("bounded_memory", &figures)?;
        #[expect(clippy::cast_precision_loss, reason = "megabytes")]
        let growth = late as f64 / early as f64;
        ensure!(
            growth < tolerance,
            "it grew to {growth:.2} times: {figures}"
        );
        Ok(())
    })
}

/// `count` events over 100 keys, from number `from` on.
fn series(id: &str, from: u64, count: u64) -> Vec<Input> {
    (from..from + count)
        .map(|n| Input::new(format!("{id}{n}"), format!("{id}-k{}", n % 100), n / 100))
        .collect()
}

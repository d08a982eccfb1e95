//! Promise: order per key. A failing event parks its own lane, and nobody else's.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sluicegate_tests::checks::Verdict;
use sluicegate_tests::events::{publish, series, spread};
use sluicegate_tests::guests::failing;
use sluicegate_tests::outputs::{Echo, count, state, wait_dead_letters, wait_echoes};
use sluicegate_tests::{Input, Stage, until, within};

/// Long enough for everybody else to be done meanwhile on a busy machine.
const SLOW_RETRY: &str = "initial = \"3s\"\nmax = \"3s\"\nfactor = 1.0\ntimeout = \"5s\"\n";

fn settings(lines: &str) -> String {
    format!("[plugin.fail-by-data]\n{SLOW_RETRY}{lines}")
}

/// `a-0` fails once, `a-1` and `a-2` come behind it, then ten events of `b`.
fn one_fails() -> Vec<Input> {
    let mut inputs = series("a", 3);
    inputs.splice(0..1, [failing("a", 0, 1)]);
    inputs.extend(series("b", 10));
    inputs
}

fn place(outputs: &[Echo], id: &str) -> Result<usize> {
    let found = outputs.iter().position(|output| output.input == id);
    found.with_context(|| format!("no output of {id} in {outputs:?}"))
}

#[test]
fn a_failing_event_parks_its_lane_only() -> Result<()> {
    within(60, async {
        let stage = Stage::with(&["fail_by_data"], &settings("")).await?;
        let inputs = one_fails();
        publish(&stage.jetstream, &inputs).await?;
        until("one parked lane", 10, async || {
            let metrics = stage.host.metrics().await?;
            let parked = metrics.sum("sluicegate_lanes_parked", &[("plugin", "fail-by-data")])?;
            ensure!(parked == 1.0, "{parked} lanes are parked");
            Ok(())
        })
        .await?;
        let outputs = wait_echoes(&stage.jetstream, inputs.len(), 30).await?;
        Verdict::on(&inputs, &outputs).clean()?;
        let first = place(&outputs, "a-0")?;
        ensure!(first == 10, "the key b was held up: {outputs:?}");
        Ok(())
    })
}

#[test]
fn a_parked_lane_stays_parked_over_a_crash() -> Result<()> {
    within(90, async {
        let mut stage = Stage::with(&["fail_by_data"], &settings("")).await?;
        let inputs = one_fails();
        publish(&stage.jetstream, &inputs).await?;
        wait_echoes(&stage.jetstream, 10, 30).await?;
        stage.host.kill9();
        stage.host.start().await?;
        let outputs = wait_echoes(&stage.jetstream, inputs.len(), 30).await?;
        Verdict::on(&inputs, &outputs).clean()?;
        ensure!(place(&outputs, "a-0")? == 10, "{outputs:?}");
        Ok(())
    })
}

#[test]
fn a_long_queue_behind_a_failing_event_holds_nobody_up() -> Result<()> {
    within(150, async {
        // More events behind the failing one than a host keeps in memory, then the others.
        let lines = "[plugin.fail-by-data]\ninitial = \"15s\"\nmax = \"15s\"\nfactor = 1.0\ntimeout = \"5s\"";
        let mut stage = Stage::with(&["fail_by_data"], lines).await?;
        let mut inputs = series("a", 6_000);
        inputs.splice(0..1, [failing("a", 0, 1)]);
        inputs.extend(spread(100, 10));
        publish(&stage.jetstream, &inputs).await?;
        let outputs = wait_echoes(&stage.jetstream, 100, 14).await?;
        ensure!(
            place(&outputs, "a-0").is_err(),
            "the lane was not parked long enough to prove anything"
        );
        ensure!(
            outputs.len() == 100,
            "{} outputs while the lane is parked",
            outputs.len()
        );

        stage.host.kill9();
        stage.host.start().await?;
        let outputs = wait_echoes(&stage.jetstream, inputs.len(), 90).await?;
        Verdict::on(&inputs, &outputs).clean()
    })
}

#[test]
fn an_event_that_fails_for_good_lets_its_key_go_on() -> Result<()> {
    within(60, async {
        let lines = "[plugin.fail-by-data]\ninitial = \"50ms\"\nfactor = 1.0\nmax_attempts = 3";
        let stage = Stage::with(&["fail_by_data"], lines).await?;
        let mut inputs = series("a", 4);
        inputs.splice(1..2, [failing("a", 1, 100)]);
        publish(&stage.jetstream, &inputs).await?;
        wait_dead_letters(&stage.jetstream, 1, 20).await?;
        let outputs = wait_echoes(&stage.jetstream, 3, 20).await?;
        inputs.remove(1);
        Verdict::on(&inputs, &outputs).clean()
    })
}

#[test]
fn ordering_none_waits_for_nobody() -> Result<()> {
    within(60, async {
        let stage = Stage::with(&["fail_by_data"], &settings("ordering = \"none\"")).await?;
        let inputs = one_fails();
        publish(&stage.jetstream, &inputs).await?;
        let outputs = wait_echoes(&stage.jetstream, inputs.len(), 30).await?;
        ensure!(
            place(&outputs, "a-0")? == 12,
            "somebody waited for it: {outputs:?}"
        );
        let verdict = Verdict::on(&inputs, &outputs);
        ensure!(
            verdict.lost.is_empty() && verdict.repeated.is_empty(),
            "{verdict:?}"
        );
        Ok(())
    })
}

#[test]
fn ordering_strict_keeps_the_order_of_the_stream() -> Result<()> {
    within(60, async {
        let stage = Stage::with(&["fail_by_data"], &settings("ordering = \"strict\"")).await?;
        let mut inputs = one_fails();
        inputs.extend(spread(100, 20));
        publish(&stage.jetstream, &inputs).await?;
        let outputs = wait_echoes(&stage.jetstream, inputs.len(), 30).await?;
        let came: Vec<&str> = outputs.iter().map(|output| output.input.as_str()).collect();
        let meant: Vec<&str> = inputs.iter().map(|input| input.id.as_str()).collect();
        ensure!(came == meant, "{came:?} instead of {meant:?}");
        Ok(())
    })
}

#[test]
fn partitions_keep_the_order_of_each_key() -> Result<()> {
    within(90, async {
        let settings = "[ledger]\ncommit_events = 20\n[plugin.emit-one]\npartitions = 4";
        let mut stage = Stage::with(&["emit_one"], settings).await?;
        let inputs = spread(1_200, 40);
        publish(&stage.jetstream, &inputs).await?;
        wait_echoes(&stage.jetstream, 100, 30).await?;
        stage.host.kill9();
        stage.host.start().await?;
        let outputs = wait_echoes(&stage.jetstream, inputs.len(), 60).await?;
        Verdict::on(&inputs, &outputs).clean()?;
        for partition in 0..4 {
            let log = format!("ledger.emit-one.{partition}.log");
            let commits = count(&stage.jetstream, "LEDGER", &log).await?;
            ensure!(0 < commits, "partition {partition} had no part in it");
        }
        Ok(())
    })
}

#[test]
fn the_plug_in_itself_sees_each_key_in_order() -> Result<()> {
    within(90, async {
        let mut stage = Stage::with(&["record_order"], "[ledger]\ncommit_events = 20").await?;
        let inputs = spread(600, 12);
        let (before, after) = inputs.split_at(300);
        publish(&stage.jetstream, before).await?;
        until("the plug-in to be under way", 20, async || {
            let recorded = recorded(&stage, "k0").await?;
            ensure!(!recorded.is_empty(), "nothing is recorded yet");
            Ok(())
        })
        .await?;
        stage.host.kill9();
        stage.host.start().await?;
        publish(&stage.jetstream, after).await?;
        let meant: Vec<u64> = (0..50).collect();
        for key in 0..12 {
            let key = format!("k{key}");
            until("the record to be whole", 40, async || {
                let recorded = recorded(&stage, &key).await?;
                ensure!(
                    meant.len() <= recorded.len(),
                    "{} of {} in {key}",
                    recorded.len(),
                    meant.len()
                );
                Ok(())
            })
            .await?;
            let recorded = recorded(&stage, &key).await?;
            ensure!(
                recorded == meant,
                "{key} was handled in the order {recorded:?}"
            );
        }
        Ok(())
    })
}

/// What `record_order` has noted for a key: the numbers in the order in which it saw them.
async fn recorded(stage: &Stage, key: &str) -> Result<Vec<u64>> {
    let value = state(&stage.jetstream, "record-order", key).await?;
    let Some(value) = value else {
        return Ok(Vec::new());
    };
    let value: Value = serde_json::from_slice(&value)?;
    let numbers = value.as_array().context("the record is no list")?;
    numbers
        .iter()
        .map(|number| number.as_u64().context("no number in the record"))
        .collect()
}

//! Promise: with `ledger.mode = "off"` nothing is lost and the order of a key holds, and no more.

use anyhow::{Context, Result, ensure};
use sluicegate_tests::checks::Verdict;
use sluicegate_tests::events::{publish, spread};
use sluicegate_tests::outputs::{ECHOES, count, wait_echoes};
use sluicegate_tests::{Setup, Stage, until, within};

const OFF: &str = "[ledger]\nmode = \"off\"\ncommit_events = 20";

async fn done(stage: &Stage) -> Result<f64> {
    stage.host.metrics().await?.outcomes("emit-one", "done")
}

#[test]
fn a_host_without_ledger_that_is_killed_loses_and_reorders_nothing() -> Result<()> {
    const KILLS: usize = 4;
    within(150, async {
        let mut stage = Stage::with(&["emit_one"], OFF).await?;
        let inputs = spread(1_500, 50);
        let mut sent = 0;
        for part in inputs.chunks(inputs.len() / KILLS) {
            publish(&stage.jetstream, part).await?;
            let before = sent + part.len() / 3;
            until("some outputs", 30, async || {
                let outputs = count(&stage.jetstream, "EVENTS", ECHOES).await?;
                ensure!(before <= outputs, "{outputs} outputs");
                Ok(())
            })
            .await?;
            sent += part.len();
            stage.host.kill9();
            stage.host.start().await?;
        }
        wait_echoes(&stage.jetstream, inputs.len(), 60).await?;
        let verdict = Verdict::on(&inputs, &stage.last_echoes("emit-one").await?);
        let faults = [&verdict.lost, &verdict.reordered, &verdict.foreign];
        ensure!(faults.iter().all(|list| list.is_empty()), "{verdict:?}");
        Ok(())
    })
}

#[test]
fn without_ledger_a_copy_is_handled_again_and_the_position_is_kept() -> Result<()> {
    within(60, async {
        let mut stage = Stage::with(&["emit_one"], OFF).await?;
        stage
            .host
            .wait_log(&["ledger.mode is off", "at least once"], 10)
            .await?;
        let inputs = spread(20, 5);
        publish(&stage.jetstream, &inputs).await?;
        wait_echoes(&stage.jetstream, 20, 20).await?;
        let copies = inputs.get(..5).context("no inputs")?;
        publish(&stage.jetstream, copies).await?;
        wait_echoes(&stage.jetstream, 25, 20).await?;
        until("all outcomes", 20, async || {
            let done = done(&stage).await?;
            ensure!(done == 25.0, "{done} done");
            Ok(())
        })
        .await?;
        stage.host.stop().await?;

        // With a ledger again it goes on where it was, and suppresses copies from then on.
        let with_ledger = Setup::new(stage.broker.url()).guest("emit_one")?;
        stage.host = with_ledger.start().await?;
        let more = spread(30, 5).split_off(20);
        publish(&stage.jetstream, &more).await?;
        publish(&stage.jetstream, &more).await?;
        until("the copies to be told apart", 20, async || {
            let metrics = stage.host.metrics().await?;
            let duplicates = metrics.outcomes("emit-one", "duplicate")?;
            ensure!(duplicates == 10.0, "{duplicates} duplicates");
            Ok(())
        })
        .await?;
        ensure!(done(&stage).await? == 10.0, "what was done was done again");
        let outputs = stage.last_echoes("emit-one").await?;
        ensure!(outputs.len() == 35, "{} outputs", outputs.len());
        Ok(())
    })
}

//! Promise: an event is read from the broker once a host, however many plug-ins have caught up;
//! and a plug-in that does not keep up holds nobody back, and misses nothing.

use anyhow::{Result, ensure};
use sluicegate_tests::checks::Verdict;
use sluicegate_tests::component::with_words;
use sluicegate_tests::events::{publish, spread};
use sluicegate_tests::sluice::sluice_on;
use sluicegate_tests::{Broker, Input, Setup, Stage, environment, until, within};

/// Plug-ins that want the same.
const PLUG_INS: usize = 20;

#[test]
fn what_twenty_plug_ins_want_is_read_once() -> Result<()> {
    within(120, async {
        let broker = Broker::start().await?;
        let component = std::fs::read(environment::guest("ok")?)?;
        let mut setup = Setup::new(broker.url());
        for plugin in 0..PLUG_INS {
            let name = format!("name = \"ok-{plugin}\"");
            let component = with_words(&component, &[("name = \"ok\"", &name)])?;
            setup = setup.file(&format!("ok_{plugin}.wasm"), component);
        }
        let stage = Stage::of(broker, setup).await?;
        let inputs = spread(500, 50);
        // The first part finds them as they come; they have all caught up behind it.
        let (early, late) = inputs.split_at(100);
        publish(&stage.jetstream, early).await?;
        all_done(&stage, early.len()).await?;
        let before = read(&stage).await?;
        publish(&stage.jetstream, late).await?;
        all_done(&stage, inputs.len()).await?;
        let after = read(&stage).await?;
        let (own, shared) = (after.own - before.own, after.shared - before.shared);
        let most = 1.2 * late.len() as f64;
        ensure!(
            own + shared <= most,
            "{own} read alone and {shared} for all, of {} events",
            late.len()
        );
        ensure!(late.len() as f64 <= own + shared, "{after:?} {before:?}");
        Ok(())
    })
}

#[test]
fn who_does_not_keep_up_reads_alone_misses_nothing_and_comes_back() -> Result<()> {
    within(180, async {
        let mut stage = Stage::with(&["emit_one", "ok"], "").await?;
        let mut inputs = spread(5_000, 100);
        let (first, rest) = inputs.split_at(100);
        publish(&stage.jetstream, first).await?;
        done(&stage, "emit-one", first.len()).await?;
        let pause = ["pause", "emit-one"];
        sluice_on(&stage.broker, &pause).await?.ok()?;
        stage.host.wait_log(&["paused"], 20).await?;
        publish(&stage.jetstream, rest).await?;
        done(&stage, "ok", inputs.len()).await?;
        // Alone, it has the broker keep what it does not take.
        until("the other to fall behind", 30, async || {
            let metrics = stage.host.metrics().await?;
            let plugin = [("plugin", "emit-one")];
            let lag = metrics.sum("sluicegate_lag_events", &plugin)?;
            ensure!(lag == rest.len() as f64, "{lag} events behind");
            ensure!(read(&stage).await?.own > 0.0, "nothing was read alone");
            Ok(())
        })
        .await?;
        let resume = ["resume", "emit-one"];
        sluice_on(&stage.broker, &resume).await?.ok()?;
        done(&stage, "emit-one", inputs.len()).await?;

        // It comes back with an event that finds it at the end of the store.
        let mut more = 0;
        until("it to come back", 60, async || {
            let before = read(&stage).await?;
            let next = Input::new(format!("more-{more}"), "more", more);
            more += 1;
            publish(&stage.jetstream, std::slice::from_ref(&next)).await?;
            inputs.push(next);
            done(&stage, "emit-one", inputs.len()).await?;
            let after = read(&stage).await?;
            ensure!(after.own == before.own, "it reads alone still");
            Ok(())
        })
        .await?;
        stage.host.settled("emit-one", 20).await?;
        let outputs = stage.last_echoes("emit-one").await?;
        Verdict::on(&inputs, &outputs).clean()
    })
}

/// Messages that the host has read from the event store.
#[derive(Debug)]
struct HasRead {
    own: f64,
    shared: f64,
}

async fn read(stage: &Stage) -> Result<HasRead> {
    let metrics = stage.host.metrics().await?;
    let of = |cursor| metrics.sum("sluicegate_messages_read_total", &[("cursor", cursor)]);
    Ok(HasRead {
        own: of("own")?,
        shared: of("shared")?,
    })
}

async fn done(stage: &Stage, plugin: &str, wanted: usize) -> Result<()> {
    until(&format!("{plugin} to be through"), 60, async || {
        let done = stage.host.metrics().await?.outcomes(plugin, "done")?;
        ensure!(done == wanted as f64, "{done} done of {wanted}");
        Ok(())
    })
    .await
}

async fn all_done(stage: &Stage, wanted: usize) -> Result<()> {
    for plugin in 0..PLUG_INS {
        done(stage, &format!("ok-{plugin}"), wanted).await?;
    }
    Ok(())
}

//! Promise: with `spool = true` a broker that is away or full costs the sender nothing: what was
//! answered 202 is in the stream afterwards, once and in order, whatever happens to the host.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use sluicegate_tests::bodies::{account_update, input, output};
use sluicegate_tests::checks::Verdict;
use sluicegate_tests::outputs::{Echo, dead_letters, stored, wait_dead_letters};
use sluicegate_tests::traffic::Traffic;
use sluicegate_tests::{Broker, Input, Setup, Source, Stage, environment, until, within};
use tokio::time::sleep;

fn source() -> Source {
    Source::new("dataverse", "contoso")
}

async fn spooling(broker: Broker, events: &str, gateway: &str) -> Result<Stage> {
    let setup = Setup::new(broker.url())
        .events(events)
        .gateway("spool = true")
        .gateway(gateway)
        .source(&source());
    Stage::of(broker, setup).await
}

async fn outputs(stage: &Stage) -> Result<Vec<Echo>> {
    let stored = stored(&stage.jetstream, "EVENTS", "d365.dataverse.>").await?;
    stored.iter().map(output).collect()
}

/// Waits until so many are stored, and gives them.
async fn wait_outputs(stage: &Stage, count: usize, seconds: u64) -> Result<Vec<Echo>> {
    until(
        &format!("{count} events in the stream"),
        seconds,
        async || {
            let found = outputs(stage).await?;
            ensure!(count <= found.len(), "{} are there", found.len());
            Ok(found)
        },
    )
    .await
}

fn spooled(told: &Value) -> bool {
    told.get("sequence").is_some_and(Value::is_null)
}

#[test]
fn senders_notice_nothing_of_a_broker_that_dies() -> Result<()> {
    let (seconds, kills) = if environment::long() {
        (120, 40)
    } else {
        (8, 3)
    };
    within(420, async {
        let mut stage = spooling(Broker::start().await?, "max_bytes = \"1GiB\"", "").await?;
        let traffic = Traffic {
            gateway: stage.host.gateway(),
            source: source(),
            senders: 250,
            per_second: 500,
            each: 500 / 250 * seconds,
            retry: false,
        };
        let Stage { broker, .. } = &mut stage;
        let kill = async {
            for _ in 0..kills {
                sleep(Duration::from_millis(1_200)).await;
                broker.kill9();
                sleep(Duration::from_millis(700)).await;
                broker.restart().await?;
            }
            anyhow::Ok(())
        };
        let (posted, killed) = tokio::join!(traffic.run(), kill);
        killed?;
        let posted = posted?;
        ensure!(
            posted.accepted.len() == posted.inputs.len(),
            "the spool had room: {:?}",
            posted.answers
        );
        ensure!(0 < posted.spooled, "no kill fell into work");
        ensure!(
            posted.slowest < Duration::from_secs(3),
            "{:?}",
            posted.slowest
        );
        let outputs = wait_outputs(&stage, posted.inputs.len(), 60).await?;
        let (verdict, beyond) = posted.judge(&outputs)?;
        let figures = posted.figures(&verdict, beyond, kills);
        environment::write_figures("gateway_spools", &figures)
    })
}

#[test]
fn a_host_that_is_killed_with_a_full_hand_loses_nothing() -> Result<()> {
    within(150, async {
        let mut stage = spooling(Broker::start().await?, "max_bytes = \"1GiB\"", "").await?;
        let gateway = stage.host.gateway();
        let mut inputs = Vec::new();
        let mut accepted = async |key: u64, n: u64, expected: Option<bool>| -> Result<()> {
            let request = source().json(account_update(key, n)?);
            let answer = gateway.ask_until(&request, 202, 30).await?;
            let told = answer.clone().one()?;
            if let Some(expected) = expected {
                ensure!(spooled(&told) == expected, "{told}");
                let whole = answer.json()?;
                ensure!(
                    whole.get("spooled") == Some(&Value::Bool(expected)),
                    "{whole}"
                );
            }
            inputs.push(input(key, n));
            Ok(())
        };
        for key in 0..5 {
            accepted(key, 0, Some(false)).await?;
        }
        stage.broker.kill9();
        for n in 1..11 {
            for key in 0..5 {
                accepted(key, n, Some(true)).await?;
            }
        }
        // Killed with 50 events in the spool; comes back without a broker, takes more; is killed
        // again; and once more while it drains.
        for n in 11..13 {
            stage.host.kill9();
            stage.host.spawn()?;
            stage.host.gateway().wait_listening().await?;
            for key in 0..5 {
                accepted(key, n, Some(true)).await?;
            }
        }
        stage.host.kill9();
        stage.broker.restart().await?;
        stage.host.spawn()?;
        wait_outputs(&stage, 8, 30).await?;
        stage.host.kill9();
        stage.host.start().await?;
        for key in 0..5 {
            accepted(key, 13, None).await?;
        }
        let found = wait_outputs(&stage, inputs.len(), 30).await?;
        Verdict::on(&inputs, &found).clean()?;
        // The spool is empty: a restart brings nothing out again.
        stage.host.stop().await?;
        stage.host.start().await?;
        stage.taken(&source().json(account_update(99, 0)?)).await?;
        let found = outputs(&stage).await?;
        ensure!(
            found.len() == inputs.len() + 1,
            "{} of {}",
            found.len(),
            inputs.len()
        );
        Ok(())
    })
}

#[test]
fn what_is_in_the_spool_goes_before_what_comes_later() -> Result<()> {
    within(90, async {
        let mut stage = spooling(Broker::start().await?, "max_bytes = \"1GiB\"", "").await?;
        let gateway = stage.host.gateway();
        stage.broker.kill9();
        let (keys, before, during) = (10_u64, 100_u64, 60_u64);
        let mut inputs: Vec<Input> = Vec::new();
        for n in 0..before {
            for key in 0..keys {
                let answer = gateway.ask(&source().json(account_update(key, n)?)).await?;
                answer.one()?;
                inputs.push(input(key, n));
            }
        }
        // Posted while it drains: behind what is spooled of their keys.
        let (restarted, posted) = tokio::join!(stage.broker.restart(), async {
            let mut posted = Vec::new();
            for n in before..before + during {
                for key in 0..keys {
                    let request = source().json(account_update(key, n)?);
                    gateway.ask_until(&request, 202, 20).await?;
                    posted.push(input(key, n));
                }
            }
            anyhow::Ok(posted)
        });
        restarted?;
        inputs.extend(posted?);
        let found = wait_outputs(&stage, inputs.len(), 40).await?;
        Verdict::on(&inputs, &found).clean()?;
        // And then it is as if there were no spool.
        let told = until("an event to be stored at once", 20, async || {
            let request = source().json(account_update(1_000, 0)?);
            let told = gateway.ask(&request).await?.one()?;
            ensure!(!spooled(&told), "{told}");
            Ok(told)
        })
        .await?;
        ensure!(told.get("sequence").is_some_and(Value::is_u64), "{told}");
        Ok(())
    })
}

#[test]
fn a_full_stream_spools_until_the_spool_is_full_too() -> Result<()> {
    within(120, async {
        let broker = Broker::start().await?;
        let stage = spooling(broker, "max_bytes = \"1MiB\"", "spool_max_bytes = \"2MiB\"").await?;
        let gateway = stage.host.gateway();
        let mut inputs = Vec::new();
        let mut in_spool = 0;
        let refused = loop {
            let n = inputs.len() as u64;
            let mut body = account_update(n % 3, n)?.into_bytes();
            body.resize(100 << 10, b' ');
            let request = source().json(body);
            let (answer, took) = gateway.timed(&request).await?;
            ensure!(took < Duration::from_millis(1_800), "it took {took:?}");
            if answer.status == 503 {
                answer.try_again()?;
                break request;
            }
            in_spool += usize::from(spooled(&answer.one()?));
            inputs.push(input(n % 3, n));
            ensure!(n < 60, "3 MiB hold {n} of 100 KB");
        };
        ensure!(10 < in_spool, "only {in_spool} found room in the spool");
        gateway.ask(&refused).await?.try_again()?;

        // Someone makes room, as a plug-in's purge or an age limit would.
        let mut seen: Vec<Echo> = Vec::new();
        until("all to come through the small stream", 60, async || {
            let found = stored(&stage.jetstream, "EVENTS", "d365.>").await?;
            for stored in &found {
                seen.push(output(stored)?);
            }
            if let Some(last) = found.last() {
                let stream = stage.jetstream.get_stream("EVENTS").await?;
                stream.purge().sequence(last.sequence + 1).await?;
            }
            ensure!(
                inputs.len() <= seen.len(),
                "{} of {}",
                seen.len(),
                inputs.len()
            );
            Ok(())
        })
        .await?;
        Verdict::on(&inputs, &seen).clean()?;
        gateway.ask_until(&refused, 202, 10).await?;
        Ok(())
    })
}

#[test]
fn what_nobody_can_read_is_spooled_as_well() -> Result<()> {
    within(90, async {
        let mut stage = spooling(Broker::start().await?, "max_bytes = \"1GiB\"", "").await?;
        let gateway = stage.host.gateway();
        stage.broker.kill9();
        let bad = "{ no json \u{1F3ED}";
        let letters = gateway.ask(&source().json(bad)).await?.dead_letters()?;
        ensure!(letters.len() == 1, "{letters:?}");
        ensure!(stage.broker.restart().await.is_ok());
        let letters = wait_dead_letters(&stage.jetstream, 1, 30).await?;
        let letter = letters.first().context("no letter")?;
        ensure!(letter.body == bad.as_bytes(), "the bytes are others");
        ensure!(
            letter.header("Sluice-Reason")? == "undecodable",
            "{:?}",
            letter.headers
        );
        stage
            .taken(&source().json(account_update(1, 0)?))
            .await
            .ok();
        ensure!(dead_letters(&stage.jetstream).await?.len() == 1, "once");
        Ok(())
    })
}

//! Promise: a bridge to a CloudEvents receiver loses nothing and keeps the order of each key, whoever is killed; what the receiver refuses is a dead letter.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use sluicegate_tests::checks::Verdict;
use sluicegate_tests::component::with_words;
use sluicegate_tests::events::{publish, publish_surely, spread};
use sluicegate_tests::outputs::{Echo, count, wait_dead_letters};
use sluicegate_tests::receiver::{Arrived, Manners, Receiver};
use sluicegate_tests::sluice::sluice_on;
use sluicegate_tests::{Broker, Input, Setup, Stage, environment, until, within};
use tokio::time::sleep;

const NAME: &str = "to-grid";

/// A host whose one bridge posts to this receiver.
fn setup(broker: &Broker, receiver: &Receiver, http: &str) -> Setup {
    let lines = format!(
        "[http]\nca = \"receiver.pem\"\n[[bridge]]\nname = \"{NAME}\"\ndirection = \"out\"\n\
         subjects = [\"d365.custom.*.record.thing.update\"]\n\
         [bridge.http]\nurl = \"{}?api-version=2018-01-01\"\n{http}",
        receiver.url()
    );
    Setup::new(broker.url())
        .with(&lines)
        .beside("receiver.pem", receiver.certificate())
}

async fn stage(receiver: &Receiver, http: &str) -> Result<Stage> {
    let broker = Broker::start().await?;
    let setup = setup(&broker, receiver, http);
    Stage::of(broker, setup).await
}

async fn wait_arrived(receiver: &Receiver, count: usize, seconds: u64) -> Result<()> {
    until(&format!("{count} events to arrive"), seconds, async || {
        let distinct: BTreeSet<String> = receiver.arrived().into_iter().map(|a| a.id).collect();
        ensure!(distinct.len() == count, "{} have", distinct.len());
        Ok(())
    })
    .await
}

fn echoes(arrived: &[Arrived]) -> Result<Vec<Echo>> {
    let echo = |one: &Arrived| {
        let data: Value = serde_json::from_str(&one.data)?;
        let n = data.get("n").and_then(Value::as_u64).context("no n")?;
        Ok(Echo {
            input: one.id.clone(),
            key: one.key.clone(),
            n,
        })
    };
    arrived.iter().map(echo).collect()
}

#[test]
fn every_mode_carries_each_attribute_and_the_data() -> Result<()> {
    within(90, async {
        for mode in ["batch", "structured", "binary"] {
            let receiver = Receiver::start().await?;
            let stage = stage(&receiver, &format!("mode = \"{mode}\"\n")).await?;
            let input = Input::new("e-1", "thing/1", 7)
                .header("ce-subject", "Euro%20%E2%82%AC%20100%25")
                .header("ce-d365depth", "2");
            publish(&stage.jetstream, std::slice::from_ref(&input)).await?;
            wait_arrived(&receiver, 1, 20).await?;
            let arrived = receiver.arrived();
            let one = arrived.first().context("nothing arrived")?;
            ensure!(one.data == "{\"do\":\"ok\",\"n\":7}", "{mode}: {one:?}");
            let expected = match mode {
                // As the HTTP binding writes it: percent-encoded.
                "binary" => "Euro%20%E2%82%AC%20100%25",
                _ => "Euro € 100%",
            };
            for (name, value) in [
                ("id", "e-1"),
                ("source", "/tests/promises"),
                ("type", "d365.custom.thing.update"),
                ("time", "2026-01-28T09:25:05Z"),
                ("partitionkey", "thing/1"),
                ("datacontenttype", "application/json"),
                ("subject", expected),
            ] {
                let found = one.attributes.get(name);
                ensure!(found == Some(&value.into()), "{mode}: {name} is {found:?}");
            }
        }
        Ok(())
    })
}

#[test]
fn many_travel_together_and_one_that_is_refused_dies_alone() -> Result<()> {
    within(90, async {
        let receiver = Receiver::start().await?;
        receiver.behave(Manners {
            answers: Some(503),
            ..Manners::default()
        });
        let mut stage = stage(&receiver, "batch_events = 50\nlinger = \"50ms\"\n").await?;
        let inputs = spread(400, 400);
        publish(&stage.jetstream, &inputs).await?;
        until("a request that fails", 20, async || {
            ensure!(0 < receiver.requests(), "none came");
            Ok(())
        })
        .await?;
        let bad = inputs.get(100).context("no input")?;
        receiver.behave(Manners {
            refuses: [bad.id.clone()].into(),
            ..Manners::default()
        });
        let letters = wait_dead_letters(&stage.jetstream, 1, 60).await?;
        let letter = letters.first().context("no letter")?;
        ensure!(letter.body == bad.message.body, "{letter:?}");
        let reason = letter.header("Sluice-Reason")?;
        ensure!(reason == "rejected", "the reason is {reason}");
        let error = letter.header("Sluice-Error")?;
        ensure!(
            error.contains("400") && error.contains("said the receiver"),
            "{error}"
        );
        wait_arrived(&receiver, inputs.len() - 1, 60).await?;
        stage.host.settled(NAME, 30).await?;
        stage.host.stop().await?;
        let arrived = receiver.arrived();
        ensure!(
            arrived.len() == inputs.len() - 1,
            "{} came, some twice",
            arrived.len()
        );
        let most = arrived.iter().map(|one| one.together).max();
        ensure!(
            Some(10) <= most && most <= Some(50),
            "{most:?} in one request"
        );
        Ok(())
    })
}

#[test]
fn a_secret_is_shown_and_a_wrong_one_loses_nothing() -> Result<()> {
    within(90, async {
        let receiver = Receiver::start().await?;
        receiver.behave(Manners {
            key: Some("another key".to_owned()),
            ..Manners::default()
        });
        let broker = Broker::start().await?;
        let secret = format!(
            "secret = \"grid\"\n[secret.grid]\norigin = \"{}\"\nheader = \"x-key\"\n\
             value = \"${{GRID_KEY}}\"",
            receiver.url()
        );
        let setup = setup(&broker, &receiver, &secret).variable("GRID_KEY", "the key");
        let stage = Stage::of(broker, setup).await?;
        publish(&stage.jetstream, &spread(5, 5)).await?;
        until("a request that is refused", 20, async || {
            ensure!(5 < receiver.requests(), "{} came", receiver.requests());
            Ok(())
        })
        .await?;
        ensure!(receiver.count() == 0, "something was taken");
        receiver.behave(Manners {
            key: Some("the key".to_owned()),
            ..Manners::default()
        });
        wait_arrived(&receiver, 5, 60).await?;
        ensure!(
            !stage.host.log()?.contains("the key"),
            "the log has the key"
        );
        Ok(())
    })
}

#[test]
fn nothing_is_sent_before_the_receiver_allows_it() -> Result<()> {
    within(90, async {
        let receiver = Receiver::start().await?;
        let allows = |origin: &str| Manners {
            allows: Some((origin.to_owned(), "6000".to_owned())),
            ..Manners::default()
        };
        receiver.behave(allows("somebody.else"));
        let stage = stage(&receiver, "origin = \"sluicegate.test\"\n").await?;
        publish(&stage.jetstream, &spread(5, 5)).await?;
        until("the question", 20, async || {
            ensure!(1 < receiver.asked().len(), "it was not asked twice");
            Ok(())
        })
        .await?;
        ensure!(receiver.requests() == 0, "events came without permission");
        let asked = receiver.asked();
        ensure!(
            asked.iter().all(|origin| origin == "sluicegate.test"),
            "{asked:?}"
        );
        receiver.behave(allows("sluicegate.test"));
        wait_arrived(&receiver, 5, 60).await
    })
}

#[test]
fn a_bridge_is_paused_and_shown_as_a_plug_in_is() -> Result<()> {
    within(90, async {
        let receiver = Receiver::start().await?;
        let stage = stage(&receiver, "").await?;
        publish(&stage.jetstream, &spread(3, 3)).await?;
        wait_arrived(&receiver, 3, 20).await?;
        until("all of them to be counted", 20, async || {
            let metrics = stage.host.metrics().await?;
            let done = metrics.outcomes(NAME, "done")?;
            ensure!(done == 3.0, "{done} are");
            Ok(())
        })
        .await?;
        let listed = sluice_on(&stage.broker, &["plugins", "--json"])
            .await?
            .ok()?;
        ensure!(listed.stdout.contains(NAME), "{}", listed.stdout);
        sluice_on(&stage.broker, &["pause", NAME]).await?.ok()?;
        let more = [Input::new("late", "k", 0)];
        publish(&stage.jetstream, &more).await?;
        sluice_on(&stage.broker, &["resume", NAME]).await?.ok()?;
        wait_arrived(&receiver, 4, 20).await
    })
}

/// Kills the host, the receiver and the broker at random until all was published and arrived.
#[test]
fn nothing_is_lost_and_the_order_stays_whoever_is_killed() -> Result<()> {
    let (events, keys, rounds, limit) = if environment::long() {
        (100_000_u64, 1_000, 40, 900)
    } else {
        (6_000, 200, 8, 150)
    };
    let seed = environment::seed()?;
    within(limit, async {
        let mut random = StdRng::seed_from_u64(seed);
        let mut receiver = Receiver::start().await?;
        let mut stage = stage(&receiver, "").await?;
        let inputs = spread(events, keys);
        let per_round = inputs.len().div_ceil(rounds);
        let mut kills = 0_u64;
        for part in inputs.chunks(per_round) {
            // Each key once at a time.
            for some in part.chunks(usize::try_from(keys)?) {
                publish_surely(&stage.jetstream, some, 0).await?;
            }
            let before = receiver.count();
            let some = random.random_range(1..part.len());
            until("some to arrive", 30, async || {
                ensure!(before + some <= receiver.count(), "not yet");
                Ok(())
            })
            .await?;
            kills += 1;
            match random.random_range(0..4) {
                0 => {
                    receiver.kill().await;
                    sleep(Duration::from_millis(random.random_range(0..1_000))).await;
                    receiver.restart().await?;
                }
                1 => {
                    stage.broker.kill9();
                    stage.broker.restart().await?;
                }
                _ => {
                    stage.host.kill9();
                    stage.host.start().await?;
                }
            }
        }
        wait_arrived(&receiver, inputs.len(), 120).await?;
        stage.host.settled(NAME, 60).await?;
        stage.host.stop().await?;
        let verdict = Verdict::on(&inputs, &echoes(&receiver.arrived())?);
        let figures = json!({
            "inputs": verdict.inputs, "outputs": verdict.outputs, "lost": verdict.lost.len(),
            "sent_again": verdict.repeated.len(), "reordered": verdict.reordered.len(),
            "foreign": verdict.foreign.len(), "kills": kills, "seed": seed,
        });
        environment::write_figures("bridge_http", &figures)?;
        eprintln!("{figures}");
        ensure!(verdict.lost.is_empty(), "lost: {:?}", verdict.lost);
        ensure!(verdict.foreign.is_empty(), "foreign: {:?}", verdict.foreign);
        ensure!(
            verdict.reordered.is_empty(),
            "reordered: {:?}",
            verdict.reordered
        );
        // What was on its way when something died comes again, by the same id, and no more.
        let most = usize::try_from(kills)? * 1_000;
        ensure!(
            verdict.repeated.len() <= most,
            "{} again",
            verdict.repeated.len()
        );
        Ok(())
    })
}

#[test]
fn a_plug_in_of_its_name_does_not_run_beside_it() -> Result<()> {
    within(90, async {
        let receiver = Receiver::start().await?;
        let broker = Broker::start().await?;
        let taken = with_words(
            &std::fs::read(environment::guest("emit_one")?)?,
            &[("name = \"emit-one\"", &format!("name = \"{NAME}\""))],
        )?;
        let setup = setup(&broker, &receiver, "").file("taken.wasm", taken);
        let stage = Stage::of(broker, setup).await?;
        let (_, ready) = stage.host.admin("/readyz").await?;
        ensure!(ready.contains("so is a [[bridge]]"), "{ready}");
        publish(&stage.jetstream, &spread(3, 3)).await?;
        wait_arrived(&receiver, 3, 20).await?;
        stage.host.settled(NAME, 20).await?;
        let emitted = count(&stage.jetstream, "EVENTS", "d365.custom.*.business.>").await?;
        ensure!(emitted == 0, "the plug-in ran");
        Ok(())
    })
}

#[test]
fn history_that_is_only_looked_at_again_is_not_sent() -> Result<()> {
    within(90, async {
        let receiver = Receiver::start().await?;
        let stage = stage(&receiver, "").await?;
        publish(&stage.jetstream, &spread(3, 3)).await?;
        wait_arrived(&receiver, 3, 20).await?;
        stage.host.settled(NAME, 20).await?;
        let replay = ["replay", "--plugin", NAME, "--from", "1"];
        sluice_on(&stage.broker, &replay).await?.ok()?;
        until("the history to be handled again", 30, async || {
            let done = stage.host.metrics().await?.outcomes(NAME, "done")?;
            ensure!(done == 6.0, "{done} were handled");
            Ok(())
        })
        .await?;
        ensure!(receiver.count() == 3, "{} were sent", receiver.count());
        // With effects it is.
        let replay = [&replay[..], &["--effects"]].concat();
        sluice_on(&stage.broker, &replay).await?.ok()?;
        until("it to be sent again", 30, async || {
            ensure!(receiver.count() == 6, "{} were sent", receiver.count());
            Ok(())
        })
        .await
    })
}

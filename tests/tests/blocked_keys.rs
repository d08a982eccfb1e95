//! Promise: with `on_exhausted = "block-key"` the later events of a key wait until its dead letter
//! is replayed or discarded, in order, whatever is killed meanwhile, and nobody else does.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sluicegate_tests::checks::Verdict;
use sluicegate_tests::events::{publish, publish_messages, series};
use sluicegate_tests::guests::told;
use sluicegate_tests::outputs::{Stored, dead_letters, echoes, wait_dead_letters, wait_echoes};
use sluicegate_tests::sluice::dlq;
use sluicegate_tests::{Host, Input, Setup, Stage, until, within};
use tokio::time::Duration;

const PLUGIN: &str = "fail-by-data";
const BLOCKING: &str = "[plugin.fail-by-data]\non_exhausted = \"block-key\"\nmax_attempts = 2\n";

/// Four events of `key`; the second does not succeed before it is a replay.
fn second_fails(key: &str) -> Vec<Input> {
    let mut inputs = series(key, 4);
    inputs.splice(1..2, [told(key, 1, "replay")]);
    inputs
}

async fn gauges(host: &Host, keys: f64, events: f64) -> Result<()> {
    until("the gauges of blocked keys", 20, async || {
        let metrics = host.metrics().await?;
        let sum = |name| metrics.sum(name, &[("plugin", PLUGIN)]);
        let found = (
            sum("sluicegate_lanes_blocked")?,
            sum("sluicegate_events_blocked")?,
        );
        ensure!(found == (keys, events), "keys and events: {found:?}");
        Ok(())
    })
    .await
}

async fn one_letter(stage: &Stage) -> Result<Stored> {
    let letters = wait_dead_letters(&stage.jetstream, 1, 20).await?;
    letters.into_iter().next().context("no letter")
}

/// A host that handles these events of the key `a`, of which the second becomes a dead letter
/// that two others wait for.
async fn blocked(inputs: &[Input]) -> Result<(Stage, Stored)> {
    let stage = Stage::with(&["fail_by_data"], BLOCKING).await?;
    publish(&stage.jetstream, inputs).await?;
    let letter = one_letter(&stage).await?;
    gauges(&stage.host, 1.0, 2.0).await?;
    Ok((stage, letter))
}

/// The only key that `sluice dlq blocked` shows.
async fn one_key(stage: &Stage) -> Result<Value> {
    let said = dlq(&stage.broker.url(), &["blocked", "--json"]).await?;
    let keys = said.ok()?.json()?;
    let keys = keys.as_array().context("no array")?;
    ensure!(keys.len() == 1, "{keys:?}");
    keys.first().cloned().context("no key")
}

/// The outputs so far of one key, by number.
async fn numbers(stage: &Stage, key: &str) -> Result<Vec<u64>> {
    let echoes = echoes(&stage.jetstream).await?;
    let of_key = echoes.iter().filter(|echo| echo.key == key);
    Ok(of_key.map(|echo| echo.n).collect())
}

#[test]
fn a_key_waits_for_its_dead_letter_and_goes_on_in_order() -> Result<()> {
    within(120, async {
        let mut stage = Stage::with(&["fail_by_data"], BLOCKING).await?;
        let url = stage.broker.url();
        let mut inputs = second_fails("a");
        inputs.extend(series("b", 5));
        publish(&stage.jetstream, &inputs).await?;
        let letter = one_letter(&stage).await?;
        wait_echoes(&stage.jetstream, 1 + 5, 20).await?;
        gauges(&stage.host, 1.0, 2.0).await?;

        // A crash does not free it, and later events wait as well, a second copy among them.
        stage.host.kill9();
        stage.host.start().await?;
        let mut later = series("a", 6).split_off(4);
        later.extend(series("b", 7).split_off(5));
        let again = inputs.get(1).context("no second input")?.message.clone();
        publish(&stage.jetstream, &later).await?;
        publish_messages(&stage.jetstream, &[again]).await?;
        inputs.extend(later);
        wait_echoes(&stage.jetstream, 1 + 7, 20).await?;
        gauges(&stage.host, 1.0, 5.0).await?;
        ensure!(numbers(&stage, "a").await? == [0], "the key went on");

        let key = one_key(&stage).await?;
        for (member, value) in [
            ("plugin", Value::from(PLUGIN)),
            ("key", "a".into()),
            ("dead_letter", letter.sequence.into()),
            ("reason", "exhausted".into()),
            ("waiting", 5.into()),
        ] {
            ensure!(key.get(member) == Some(&value), "{member} in {key}");
        }
        let listed = dlq(&url, &["list"]).await?.ok()?;
        ensure!(listed.stdout.contains("its key waits"), "{}", listed.stdout);
        let refused = dlq(&url, &["unblock", PLUGIN, "a"]).await?;
        refused.refused(1, &["replay", "discard", &letter.sequence.to_string()])?;
        let refused = dlq(&url, &["unblock", PLUGIN, "b"]).await?;
        refused.refused(1, &["no key", "blocked"])?;

        let id = letter.sequence.to_string();
        dlq(&url, &["replay", &id]).await?.ok()?;
        wait_echoes(&stage.jetstream, inputs.len(), 20).await?;
        gauges(&stage.host, 0.0, 0.0).await?;
        let outputs = stage.last_echoes(PLUGIN).await?;
        Verdict::on(&inputs, &outputs).clean()?;
        let left = dlq(&url, &["blocked", "--json"]).await?.ok()?.json()?;
        ensure!(left == Value::Array(Vec::new()), "{left}");
        Ok(())
    })
}

#[test]
fn a_discarded_dead_letter_lets_its_key_go_on_without_it() -> Result<()> {
    within(60, async {
        let (mut stage, letter) = blocked(&second_fails("a")).await?;
        let id = letter.sequence.to_string();
        dlq(&stage.broker.url(), &["discard", &id]).await?.ok()?;
        wait_echoes(&stage.jetstream, 3, 20).await?;
        stage.last_echoes(PLUGIN).await?;
        ensure!(numbers(&stage, "a").await? == [0, 2, 3], "another order");
        ensure!(
            dead_letters(&stage.jetstream).await?.is_empty(),
            "the letter was to go"
        );
        Ok(())
    })
}

#[test]
fn a_replay_that_fails_again_keeps_the_key_waiting() -> Result<()> {
    within(90, async {
        let mut inputs = series("a", 4);
        inputs.splice(1..2, [told("a", 1, "trap")]);
        let (mut stage, first) = blocked(&inputs).await?;
        let url = stage.broker.url();
        dlq(&url, &["replay", &first.sequence.to_string()])
            .await?
            .ok()?;
        let second = until("the next dead letter", 20, async || {
            let letters = dead_letters(&stage.jetstream).await?;
            let next = letters.iter().find(|one| one.sequence != first.sequence);
            next.cloned().context("none yet")
        })
        .await?;
        ensure!(second.body == first.body, "the bytes are others");
        gauges(&stage.host, 1.0, 2.0).await?;
        stage.host.kill9();
        stage.host.start().await?;
        gauges(&stage.host, 1.0, 2.0).await?;
        ensure!(numbers(&stage, "a").await? == [0], "the key went on");
        let key = one_key(&stage).await?;
        ensure!(
            key.get("dead_letter") == Some(&second.sequence.into()),
            "{key}"
        );
        dlq(&url, &["discard", &second.sequence.to_string()])
            .await?
            .ok()?;
        wait_echoes(&stage.jetstream, 3, 20).await?;
        stage.last_echoes(PLUGIN).await?;
        ensure!(numbers(&stage, "a").await? == [0, 2, 3], "another order");
        Ok(())
    })
}

#[test]
fn what_the_plug_in_rejects_blocks_nothing() -> Result<()> {
    within(60, async {
        let stage = Stage::with(&["fail_by_data"], BLOCKING).await?;
        let mut inputs = series("a", 3);
        inputs.splice(1..2, [told("a", 1, "reject")]);
        publish(&stage.jetstream, &inputs).await?;
        wait_echoes(&stage.jetstream, 2, 20).await?;
        let letter = one_letter(&stage).await?;
        ensure!(letter.header("Sluice-Blocks").is_err(), "{letter:?}");
        gauges(&stage.host, 0.0, 0.0).await
    })
}

#[test]
fn a_key_whose_dead_letter_is_gone_can_be_let_go_on() -> Result<()> {
    within(60, async {
        let (stage, letter) = blocked(&second_fails("a")).await?;
        let url = stage.broker.url();
        let letters = stage.jetstream.get_stream("DEADLETTER").await?;
        letters.delete_message(letter.sequence).await?;
        gauges(&stage.host, 1.0, 2.0).await?;
        let shown = dlq(&url, &["blocked"]).await?.ok()?.stdout;
        ensure!(shown.contains("unblock"), "{shown}");
        dlq(&url, &["unblock", PLUGIN, "a"]).await?.ok()?;
        wait_echoes(&stage.jetstream, 3, 20).await?;
        ensure!(numbers(&stage, "a").await? == [0, 2, 3], "another order");
        Ok(())
    })
}

#[test]
fn keys_go_on_when_the_policy_is_changed() -> Result<()> {
    within(60, async {
        let (mut stage, letter) = blocked(&second_fails("a")).await?;
        let id = letter.sequence.to_string();
        stage.host.stop().await?;
        let unblocking = Setup::new(stage.broker.url()).guest("fail_by_data")?;
        stage.host = unblocking.start().await?;
        wait_echoes(&stage.jetstream, 3, 20).await?;
        ensure!(numbers(&stage, "a").await? == [0, 2, 3], "another order");
        // It is a dead letter like any other now.
        dlq(&stage.broker.url(), &["replay", &id]).await?.ok()?;
        wait_echoes(&stage.jetstream, 4, 20).await?;
        stage.last_echoes(PLUGIN).await?;
        ensure!(numbers(&stage, "a").await? == [0, 2, 3, 1], "another order");
        Ok(())
    })
}

/// Dead letters are replayed while the host dies again and again.
#[test]
fn no_kill_frees_a_key_early_or_loses_a_decision() -> Result<()> {
    const KEYS: usize = 30;
    within(180, async {
        let mut stage = Stage::with(&["fail_by_data"], BLOCKING).await?;
        let url = stage.broker.url();
        let inputs: Vec<Input> = (0..KEYS)
            .flat_map(|key| second_fails(&format!("k{key}")))
            .collect();
        publish(&stage.jetstream, &inputs).await?;
        let letters = wait_dead_letters(&stage.jetstream, KEYS, 60).await?;
        for (turn, some) in letters.chunks(KEYS / 5).enumerate() {
            let ids: Vec<String> = some.iter().map(|one| one.sequence.to_string()).collect();
            let mut arguments = vec!["replay"];
            arguments.extend(ids.iter().map(String::as_str));
            // Its death comes before, while or after they are read and handled.
            let replays = dlq(&url, &arguments);
            let pause = Duration::from_millis(60 * turn as u64);
            let (said, ()) = tokio::join!(replays, async {
                tokio::time::sleep(pause).await;
                stage.host.kill9();
            });
            said?.ok()?;
            stage.host.start().await?;
        }
        wait_echoes(&stage.jetstream, inputs.len(), 60).await?;
        gauges(&stage.host, 0.0, 0.0).await?;
        let outputs = stage.last_echoes(PLUGIN).await?;
        Verdict::on(&inputs, &outputs).clean()?;
        let keys: BTreeSet<&str> = outputs.iter().map(|echo| echo.key.as_str()).collect();
        ensure!(keys.len() == KEYS, "{} keys", keys.len());
        Ok(())
    })
}

//! Promise: effects happen once. A crash at any point repeats the call, never the effect.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use sluicegate_tests::checks::Verdict;
use sluicegate_tests::events::{publish, spread};
use sluicegate_tests::guests::{failing, told};
use sluicegate_tests::outputs::{
    ECHOES, carried_over, count, dead_letters, echoes, state, wait_dead_letters, wait_echoes,
};
use sluicegate_tests::wait::until_every;
use sluicegate_tests::{Host, Input, Setup, Stage, environment, until, within};
use tokio::time::sleep;

/// Small commits: a kill falls between two of them, not before or after the only one.
const SMALL_COMMITS: &str = "[ledger]\ncommit_events = 20";

#[test]
fn a_host_that_is_killed_again_and_again_loses_repeats_and_reorders_nothing() -> Result<()> {
    let (events, kills, seconds) = if environment::long() {
        (10_000, 20, 1_500)
    } else {
        (1_500, 5, 170)
    };
    let seed = environment::seed()?;
    within(seconds, async {
        let mut random = StdRng::seed_from_u64(seed);
        let mut stage = Stage::with(&["emit_one"], SMALL_COMMITS).await?;
        let inputs = spread(events, 100);
        let part = inputs.len() / (kills + 1);
        let (mut sent, mut killed, mut interrupted) = (0, 0, 0);
        for inputs in inputs.chunks(part) {
            if killed == kills {
                publish(&stage.jetstream, inputs).await?;
                continue;
            }
            let Stage {
                host, jetstream, ..
            } = &mut stage;
            // One kill in three falls into a start, the others between two outputs.
            let moment = match killed % 3 {
                2 => Moment::Starting(Duration::from_millis(random.random_range(0..800))),
                _ => Moment::Outputs(sent + random.random_range(1..inputs.len() / 2)),
            };
            let (published, struck) =
                tokio::join!(publish(jetstream, inputs), kill_at(moment, host, jetstream));
            published?;
            struck?;
            killed += 1;
            sent += inputs.len();
            let outputs = count(&stage.jetstream, "EVENTS", ECHOES).await?;
            interrupted += usize::from(outputs < sent);
            stage.host.spawn()?;
        }
        stage.host.wait_ready(60).await?;
        wait_echoes(&stage.jetstream, inputs.len(), 120).await?;
        let verdict = Verdict::on(&inputs, &stage.last_echoes("emit-one").await?);
        let figures = json!({
            "inputs": verdict.inputs, "outputs": verdict.outputs, "lost": verdict.lost.len(),
            "repeated": verdict.repeated.len(), "reordered": verdict.reordered.len(),
            "foreign": verdict.foreign.len(), "kills": killed, "interrupted": interrupted,
            "seed": seed,
        });
        environment::write_figures("effects_happen_once", &figures)?;
        verdict.clean()?;
        ensure!(
            0 < interrupted,
            "no kill fell into work: this run proves nothing"
        );
        ensure!(
            dead_letters(&stage.jetstream).await?.is_empty(),
            "a crash costs no event"
        );
        Ok(())
    })
}

/// When the host is killed.
enum Moment {
    /// This long after its start.
    Starting(Duration),
    /// As soon as so many outputs are in the broker.
    Outputs(usize),
}

async fn kill_at(
    moment: Moment,
    host: &mut Host,
    jetstream: &async_nats::jetstream::Context,
) -> Result<()> {
    match moment {
        Moment::Starting(after) => {
            host.spawn()?;
            sleep(after).await;
        }
        Moment::Outputs(target) => {
            let pause = Duration::from_millis(1);
            until_every(
                pause,
                "outputs to kill between",
                Duration::from_secs(60),
                async || {
                    let found = count(jetstream, "EVENTS", ECHOES).await?;
                    ensure!(target <= found, "{found} of {target} outputs");
                    Ok(())
                },
            )
            .await?;
        }
    }
    host.kill9();
    Ok(())
}

#[test]
fn an_event_that_comes_twice_acts_once() -> Result<()> {
    within(90, async {
        let mut stage = Stage::with(&["emit_one"], "").await?;
        let inputs = spread(200, 20);
        let twice: Vec<Input> = inputs
            .iter()
            .flat_map(|input| [input.clone(), input.clone()])
            .collect();
        publish(&stage.jetstream, &twice).await?;
        wait_echoes(&stage.jetstream, inputs.len(), 30).await?;
        stage.host.settled("emit-one", 20).await?;
        let duplicates = stage
            .host
            .metrics()
            .await?
            .outcomes("emit-one", "duplicate")?;
        ensure!(
            duplicates == 200.0,
            "{duplicates} outcomes `duplicate` instead of 200"
        );

        // The inbox outlives the process.
        stage.host.kill9();
        stage.host.start().await?;
        publish(&stage.jetstream, &inputs).await?;
        until("the repeats to be known", 30, async || {
            let duplicates = stage
                .host
                .metrics()
                .await?
                .outcomes("emit-one", "duplicate")?;
            ensure!(duplicates == 200.0, "{duplicates} outcomes `duplicate`");
            Ok(())
        })
        .await?;
        Verdict::on(&inputs, &stage.last_echoes("emit-one").await?).clean()
    })
}

#[test]
fn the_same_event_under_two_keys_at_the_same_time_acts_once() -> Result<()> {
    within(60, async {
        let mut stage = Stage::with(&["emit_one"], "").await?;
        let one = spread(200, 200);
        let both: Vec<Input> = one
            .iter()
            .flat_map(|input| {
                [
                    input.clone(),
                    Input::new(input.id.as_str(), format!("other-{}", input.key), 0),
                ]
            })
            .collect();
        publish(&stage.jetstream, &both).await?;
        wait_echoes(&stage.jetstream, one.len(), 30).await?;
        let mut ids: Vec<String> = stage
            .last_echoes("emit-one")
            .await?
            .into_iter()
            .map(|echo| echo.input)
            .collect();
        let outputs = ids.len();
        ids.sort();
        ids.dedup();
        ensure!(
            (outputs, ids.len()) == (200, 200),
            "{outputs} outputs of {} events",
            ids.len()
        );
        Ok(())
    })
}

#[test]
fn the_same_id_of_two_sources_is_two_events() -> Result<()> {
    within(60, async {
        let stage = Stage::with(&["emit_one"], "").await?;
        let inputs = [
            Input::new("a", "k", 0),
            Input::new("a", "k", 0).header("ce-source", "/tests/others"),
        ];
        publish(&stage.jetstream, &inputs).await?;
        let outputs = wait_echoes(&stage.jetstream, 2, 20).await?;
        ensure!(outputs.len() == 2, "{outputs:?}");
        Ok(())
    })
}

#[test]
fn a_repeat_of_an_event_that_waits_for_its_retry_acts_once() -> Result<()> {
    within(60, async {
        let settings = "[plugin.retry-twice]\ninitial = \"300ms\"\nmax = \"300ms\"\nfactor = 1.0";
        let stage = Stage::with(&["retry_twice"], settings).await?;
        let inputs = spread(20, 5);
        publish(&stage.jetstream, &[inputs.clone(), inputs.clone()].concat()).await?;
        until("every event to be done or known", 40, async || {
            let metrics = stage.host.metrics().await?;
            let (done, duplicate) = (
                metrics.outcomes("retry-twice", "done")?,
                metrics.outcomes("retry-twice", "duplicate")?,
            );
            ensure!(
                done == 20.0 && duplicate == 20.0,
                "{done} done, {duplicate} duplicate"
            );
            let retries = metrics.outcomes("retry-twice", "retry")?;
            ensure!(retries == 40.0, "{retries} retries instead of two an event");
            Ok(())
        })
        .await?;
        ensure!(
            dead_letters(&stage.jetstream).await?.is_empty(),
            "a third attempt was to come"
        );
        Ok(())
    })
}

#[test]
fn retries_and_their_success_in_one_commit_act_once() -> Result<()> {
    within(60, async {
        // Everything that happens to an event ends up in the same batch.
        let settings = "[ledger]\ncommit_delay = \"100ms\"\n\
                        [plugin.retry-twice]\ninitial = \"1ms\"\nmax = \"1ms\"\nfactor = 1.0";
        let mut stage = Stage::with(&["retry_twice"], settings).await?;
        let inputs = spread(200, 50);
        publish(&stage.jetstream, &inputs).await?;
        wait_echoes(&stage.jetstream, inputs.len(), 30).await?;
        Verdict::on(&inputs, &stage.last_echoes("retry-twice").await?).clean()
    })
}

#[test]
fn a_total_in_state_counts_every_event_once() -> Result<()> {
    within(120, async {
        // All keys at the same time on one state key: every call is in the way of another.
        let mut stage = Stage::with(&["count"], SMALL_COMMITS).await?;
        let inputs = spread(600, 60);
        for part in inputs.chunks(200) {
            let twice: Vec<Input> = part.iter().chain(part).cloned().collect();
            publish(&stage.jetstream, &twice).await?;
            until("the count to go on", 30, async || {
                ensure!(total(&stage).await? > 0, "nothing is counted yet");
                Ok(())
            })
            .await?;
            stage.host.kill9();
            stage.host.start().await?;
        }
        until("the total", 60, async || {
            let total = total(&stage).await?;
            ensure!(600 <= total, "the total is {total}");
            Ok(())
        })
        .await?;
        stage.host.settled("count", 20).await?;
        stage.host.stop().await?;
        let total = total(&stage).await?;
        ensure!(total == 600, "the total of 600 distinct events is {total}");
        Ok(())
    })
}

async fn total(stage: &Stage) -> Result<u64> {
    let value = state(&stage.jetstream, "count", "total").await?;
    let value = value.context("no total in the ledger yet")?;
    let text = std::str::from_utf8(&value)?;
    text.trim()
        .parse()
        .with_context(|| format!("the total is {text:?}"))
}

#[test]
fn what_a_failed_call_staged_is_not_emitted() -> Result<()> {
    within(60, async {
        // Both stage an output before they fail.
        let settings =
            "[plugin.trap]\nmax_attempts = 3\n[plugin.spin]\nmax_attempts = 2\ntimeout = \"300ms\"";
        let mut stage = Stage::with(&["trap", "spin"], settings).await?;
        publish(&stage.jetstream, &spread(3, 3)).await?;
        wait_dead_letters(&stage.jetstream, 6, 30).await?;
        stage.host.settled("trap", 20).await?;
        let outputs = stage.last_echoes("spin").await?;
        ensure!(outputs.is_empty(), "failed calls had effects: {outputs:?}");
        Ok(())
    })
}

#[test]
fn an_event_that_succeeds_at_last_acts_once() -> Result<()> {
    within(60, async {
        let settings =
            "[plugin.fail-by-data]\ninitial = \"20ms\"\nmax_attempts = 4\ntimeout = \"2s\"";
        let mut stage = Stage::with(&["fail_by_data"], settings).await?;
        let good = [failing("once", 0, 1), failing("thrice", 0, 3)];
        let bad = [
            failing("always", 0, 100),
            told("rejected", 0, "reject"),
            told("broken", 0, "trap"),
        ];
        publish(&stage.jetstream, &[&good[..], &bad[..]].concat()).await?;
        let letters = wait_dead_letters(&stage.jetstream, bad.len(), 30).await?;
        wait_echoes(&stage.jetstream, good.len(), 30).await?;
        ensure!(letters.len() == bad.len(), "{} dead letters", letters.len());
        Verdict::on(&good, &stage.last_echoes("fail-by-data").await?).clean()
    })
}

#[test]
fn two_hosts_on_one_plug_in_never_act_twice() -> Result<()> {
    within(120, async {
        let mut stage = Stage::with(&["emit_one"], SMALL_COMMITS).await?;
        let inputs = spread(1_200, 40);
        let (before, after) = inputs.split_at(800);
        publish(&stage.jetstream, before).await?;
        wait_echoes(&stage.jetstream, 20, 30).await?;
        // The first host is at work and knows nothing of the second.
        let second = Setup::new(stage.broker.url())
            .named("host-2")
            .guest("emit_one")?;
        let mut second = second.with(SMALL_COMMITS).start().await?;
        publish(&stage.jetstream, after).await?;
        wait_echoes(&stage.jetstream, inputs.len(), 60).await?;
        second.settled("emit-one", 20).await?;
        second.stop().await?;
        stage.host.stop().await?;
        carried_over(&stage.jetstream).await?;
        Verdict::on(&inputs, &echoes(&stage.jetstream).await?).clean()?;
        ensure!(
            dead_letters(&stage.jetstream).await?.is_empty(),
            "a change of owner costs no event"
        );
        Ok(())
    })
}

//! Promise: what has been mended can be sent again: to the one plug-in that could not handle
//! it, once, as it came.

use anyhow::{Context as _, Result, ensure};
use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::Config;
use futures_util::TryStreamExt;
use sluicegate_tests::checks::Verdict;
use sluicegate_tests::events::{publish, series, slot, spread};
use sluicegate_tests::outputs::{count, dead_letters, original_headers, stored, wait_dead_letters};
use sluicegate_tests::sluice::dlq;
use sluicegate_tests::{Input, Stage, until, within};

const MENDED: &str = "[plugin.mendable.config]\nmended = \"yes\"";

#[test]
fn a_replay_is_handled_once_by_the_plug_in_it_is_for() -> Result<()> {
    within(120, async {
        // `ok` hears the same subjects, and heard the events at their first time.
        let mut stage = Stage::with(&["mendable", "ok"], "").await?;
        let url = stage.broker.url();
        let inputs = series("k", 3);
        publish(&stage.jetstream, &inputs).await?;
        let letters = wait_dead_letters(&stage.jetstream, 3, 20).await?;
        stage.host.settled("ok", 20).await?;
        stage.host.stop().await?;
        stage.host.reconfigure(MENDED)?;
        stage.host.start().await?;

        // Two operators press the button at the same time.
        let id = letters.first().context("no letter")?.sequence.to_string();
        let replay = ["replay", id.as_str()];
        let (one, other) = tokio::join!(dlq(&url, &replay), dlq(&url, &replay));
        let (one, other) = (one?, other?);
        ensure!(
            one.code == Some(0) || other.code == Some(0),
            "{one:?}\n{other:?}"
        );
        until("the replay to be done", 20, async || {
            let done = stage.host.metrics().await?.outcomes("mendable", "done")?;
            ensure!(done == 1.0, "{done} done");
            Ok(())
        })
        .await?;
        dlq(&url, &["replay", &id]).await?.refused(1, &[&id])?;
        dlq(&url, &["replay", "--all", "--plugin", "mendable"])
            .await?
            .ok()?;
        until("all replays to be done", 20, async || {
            let done = stage.host.metrics().await?.outcomes("mendable", "done")?;
            ensure!(done == 3.0, "{done} done");
            Ok(())
        })
        .await?;
        stage.host.settled("ok", 20).await?;
        let metrics = stage.host.metrics().await?;
        ensure!(
            metrics.outcomes("mendable", "done")? == 3.0,
            "one was handled twice"
        );
        let heard = metrics.sum("sluicegate_deliveries_total", &[("plugin", "ok")])?;
        ensure!(heard == 0.0, "another plug-in got {heard} replays");
        ensure!(
            dead_letters(&stage.jetstream).await?.is_empty(),
            "the letters were to go"
        );

        Verdict::on(&inputs, &stage.last_echoes("mendable").await?).clean()?;
        let replays = stored(&stage.jetstream, "EVENTS", "d365.replay.mendable.*").await?;
        for input in &inputs {
            let replay = replays
                .iter()
                .find(|replay| replay.header("ce-id").is_ok_and(|id| id == input.id));
            let replay = replay.with_context(|| format!("{} was not sent again", input.id))?;
            ensure!(replay.body == input.message.body, "the bytes are others");
            ensure!(
                replay.header("Sluice-Subject")? == input.message.subject,
                "{:?}",
                replay.headers
            );
            replay.header("Sluice-Replay")?.parse::<u64>()?;
            let (kept, came) = (
                replay.original_headers(),
                original_headers(&input.message.headers),
            );
            ensure!(kept == came, "headers {kept:?} instead of {came:?}");
        }
        Ok(())
    })
}

#[test]
fn a_replay_that_fails_again_is_a_dead_letter_again() -> Result<()> {
    within(60, async {
        let stage = Stage::with(&["reject"], "").await?;
        let url = stage.broker.url();
        let input = Input::new("e0", "k", 0)
            .header("X-Own", "stays")
            .body(&b"{\"n\": 0 }\n"[..]);
        publish(&stage.jetstream, std::slice::from_ref(&input)).await?;
        let letters = wait_dead_letters(&stage.jetstream, 1, 20).await?;
        let first = letters.first().context("no letter")?.sequence;
        dlq(&url, &["replay", &first.to_string()]).await?.ok()?;
        let again = until("the next dead letter", 20, async || {
            let letters = dead_letters(&stage.jetstream).await?;
            let again = letters.iter().find(|letter| letter.sequence != first);
            again.cloned().context("none yet")
        })
        .await?;
        ensure!(
            count(&stage.jetstream, "DEADLETTER", "dead.>").await? == 1,
            "the old one was to go"
        );
        ensure!(
            again.header("Sluice-Subject")? == input.message.subject,
            "{:?}",
            again.headers
        );
        ensure!(again.body == input.message.body, "the bytes are others");
        let (kept, came) = (
            again.original_headers(),
            original_headers(&input.message.headers),
        );
        ensure!(kept == came, "headers {kept:?} instead of {came:?}");
        Ok(())
    })
}

/// Behind much that is to be caught up with, a host reads the subscription alone, which is cheaper
/// for the broker. No replay may be passed by meanwhile.
#[test]
fn no_replay_is_passed_by_while_much_is_caught_up_with() -> Result<()> {
    within(180, async {
        let mut stage = Stage::with(&["emit_one"], "").await?;
        stage.host.stop().await?;
        let mut inputs = spread(MUCH, 100);
        publish(&stage.jetstream, &inputs).await?;
        stage.host.start().await?;
        until("the subscription to be read alone", 30, async || {
            let filters = filters(&stage.jetstream).await?;
            let alone = |filters: &Vec<String>| !filters.iter().any(|one| one.contains("replay"));
            ensure!(filters.iter().any(alone), "{filters:?}");
            Ok(())
        })
        .await?;
        // In the order of their key: the replay, and an event behind it.
        let late = [replayed("late", 0), Input::new("late-1", "late", 1)];
        publish(&stage.jetstream, &late).await?;
        inputs.extend(late);
        done(&stage, MUCH + 2).await?;
        let verdict = Verdict::on(&inputs, &stage.last_echoes("emit-one").await?);
        verdict.clean()?;

        let more = (0..MUCH).map(|n| match n == MUCH / 2 {
            true => replayed("early", 0),
            false => Input::new(format!("more-{n}"), format!("m{}", n % 100), n),
        });
        let more: Vec<Input> = more.collect();
        publish(&stage.jetstream, &more).await?;
        inputs.extend(more);
        stage.host.start().await?;
        done(&stage, MUCH).await?;
        let verdict = Verdict::on(&inputs, &stage.last_echoes("emit-one").await?);
        verdict.clean()
    })
}

/// What stands behind the subscription's last event may concern nobody: a replay behind that is
/// read all the same.
#[test]
fn no_replay_waits_for_an_event_of_the_subscription() -> Result<()> {
    within(120, async {
        let mut stage = Stage::with(&["emit_one"], "").await?;
        stage.host.stop().await?;
        let mut inputs = spread(MUCH, 100);
        publish(&stage.jetstream, &inputs).await?;
        let mut nobodys = Input::new("nobodys", "k", 0);
        nobodys.message.subject = "d365.custom.test.business.nobody.raised.0".to_owned();
        publish(&stage.jetstream, &[nobodys]).await?;
        stage.host.start().await?;
        done(&stage, MUCH).await?;
        let replay = replayed("late", 0);
        publish(&stage.jetstream, std::slice::from_ref(&replay)).await?;
        inputs.push(replay);
        done(&stage, MUCH + 1).await?;
        let outputs = stage.last_echoes("emit-one").await?;
        Verdict::on(&inputs, &outputs).clean()
    })
}

/// Waits until so many are done since the host's start.
async fn done(stage: &Stage, wanted: u64) -> Result<()> {
    until("all to be done", 60, async || {
        let done = stage.host.metrics().await?.outcomes("emit-one", "done")?;
        ensure!(done == wanted as f64, "{done} done");
        Ok(())
    })
    .await
}

/// More than a host reads in the way of few.
const MUCH: u64 = 15_000;

/// An event as if it had been a dead letter of the plug-in.
fn replayed(key: &str, n: u64) -> Input {
    let mut input = Input::new(format!("{key}-{n}"), key, n);
    input.message.subject = format!("d365.replay.emit-one.{}", slot(key));
    input
}

/// Of each consumer of the event store.
async fn filters(jetstream: &Context) -> Result<Vec<Vec<String>>> {
    let events = jetstream.get_stream("EVENTS").await?;
    let consumers: Vec<_> = events.consumers().try_collect().await?;
    let filters = consumers.into_iter().map(|info| {
        let Config {
            mut filter_subjects,
            filter_subject,
            ..
        } = info.config;
        filter_subjects.extend((!filter_subject.is_empty()).then_some(filter_subject));
        filter_subjects
    });
    Ok(filters.filter(|filters| !filters.is_empty()).collect())
}

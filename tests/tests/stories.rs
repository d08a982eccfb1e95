//! Promise: an event's story is what happened to it: every attempt with its build, its words and
//! its end, what it emitted and what it comes of, also after the host is gone.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sluicegate_tests::events::publish;
use sluicegate_tests::guests::{failing, told};
use sluicegate_tests::outputs::wait_dead_letters;
use sluicegate_tests::sluice::{dlq, sluice};
use sluicegate_tests::{Broker, Setup, Stage, until, within};

/// What `events show --story` says of the event in this place.
async fn story(stage: &Stage, place: u64) -> Result<Value> {
    let place = place.to_string();
    let url = stage.broker.url();
    let show = [
        "events", "show", &place, "--story", "--json", "--nats", &url,
    ];
    sluice(&show).await?.ok()?.json()
}

fn texts<'a>(story: &'a Value, list: &str, member: &str) -> Vec<&'a str> {
    let list = story.get(list).and_then(Value::as_array);
    let list = list.map(Vec::as_slice).unwrap_or_default();
    list.iter()
        .filter_map(|one| one.get(member)?.as_str())
        .collect()
}

/// The story once it has so many attempts: a page of the journal comes a moment later.
async fn with_attempts(stage: &Stage, place: u64, attempts: usize) -> Result<Value> {
    until(
        &format!("{attempts} attempts in the story"),
        20,
        async || {
            let story = story(stage, place).await?;
            let found = texts(&story, "attempts", "ended").len();
            ensure!(found == attempts, "{found}: {story}");
            Ok(story)
        },
    )
    .await
}

#[test]
fn attempts_words_and_effects_are_told_after_a_restart_too() -> Result<()> {
    within(120, async {
        let settings =
            "[plugin.fail-by-data]\nmax_attempts = 3\ninitial = \"20ms\"\nmax = \"20ms\"";
        let mut stage = Stage::with(&["fail_by_data"], settings).await?;
        let inputs = [
            failing("a", 0, 2),
            told("b", 0, "reject"),
            told("c", 0, "trap"),
        ];
        let places = publish(&stage.jetstream, &inputs).await?;
        let [mended, rejected, trapped] = places.as_slice() else {
            anyhow::bail!("{places:?}");
        };
        wait_dead_letters(&stage.jetstream, 2, 30).await?;
        stage.host.settled("fail-by-data", 30).await?;
        let first = with_attempts(&stage, *mended, 3).await?;
        stage.host.stop().await?;
        stage.host.start().await?;

        let again = story(&stage, *mended).await?;
        ensure!(first == again, "{first}\n{again}");
        ensure!(
            texts(&again, "attempts", "ended") == ["retry", "retry", "done"],
            "{again}"
        );
        ensure!(
            texts(&again, "attempts", "plugin")
                .iter()
                .all(|name| *name == "fail-by-data")
        );
        ensure!(
            texts(&again, "attempts", "version")
                .iter()
                .all(|version| *version == "1.0.0")
        );
        let emitted = texts(&again, "emitted", "id");
        ensure!(emitted.len() == 1, "{again}");
        let place = again.pointer("/emitted/0/sequence").and_then(Value::as_u64);
        let place = place.context("what it emitted was not found")?;

        // Backwards from there.
        let emitted = story(&stage, place).await?;
        ensure!(
            emitted.pointer("/cause/sequence").and_then(Value::as_u64) == Some(*mended),
            "{emitted}"
        );

        let rejected = story(&stage, *rejected).await?;
        ensure!(
            texts(&rejected, "attempts", "ended") == ["dead"],
            "{rejected}"
        );
        ensure!(
            texts(&rejected, "letters", "reason") == ["rejected"],
            "{rejected}"
        );
        let told = story(&stage, *trapped).await?;
        ensure!(texts(&told, "attempts", "ended").len() == 3, "{told}");
        ensure!(texts(&told, "letters", "reason") == ["trap"], "{told}");

        // A replay is part of it.
        let letter = told
            .pointer("/letters/0/id")
            .and_then(Value::as_u64)
            .context("no letter")?;
        dlq(&stage.broker.url(), &["replay", &letter.to_string()])
            .await?
            .ok()?;
        wait_dead_letters(&stage.jetstream, 2, 30).await?;
        let told = with_attempts(&stage, *trapped, 6).await?;
        ensure!(texts(&told, "again", "subject").len() == 1, "{told}");

        // For a person, in words.
        let url = stage.broker.url();
        let place = mended.to_string();
        let show = ["events", "show", &place, "--story", "--nats", &url];
        let shown = sluice(&show).await?.ok()?.stdout;
        for part in [
            "stored as",
            "attempt 3 on host-1: done",
            "emitted by fail-by-data",
        ] {
            ensure!(shown.contains(part), "{part} is not in {shown}");
        }
        Ok(())
    })
}

#[test]
fn the_journal_keeps_what_the_config_says() -> Result<()> {
    within(120, async {
        for (mode, attempts) in [("failures", vec!["retry", "retry"]), ("off", vec![])] {
            let broker = Broker::start().await?;
            let setup = Setup::new(broker.url())
                .guest("fail_by_data")?
                .telemetry(&format!("journal = {mode:?}"))
                .with(
                    "[plugin.fail-by-data]\nmax_attempts = 3\ninitial = \"20ms\"\nmax = \"20ms\"",
                );
            let mut stage = Stage::of(broker, setup).await?;
            let places = publish(&stage.jetstream, &[failing("a", 0, 2)]).await?;
            let place = *places.first().context("no place")?;
            until("it to be done", 30, async || {
                let done = stage
                    .host
                    .metrics()
                    .await?
                    .outcomes("fail-by-data", "done")?;
                ensure!(done == 1.0, "{done}");
                Ok(())
            })
            .await?;
            // What it has not written by its end it never writes.
            stage.host.stop().await?;
            let story = story(&stage, place).await?;
            ensure!(
                texts(&story, "attempts", "ended") == attempts,
                "{mode}: {story}"
            );
        }
        Ok(())
    })
}

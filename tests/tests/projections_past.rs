//! Promise: what the rows of a projection were at any moment can be had, as they were, over crashes
//! of the host.

#![allow(
    clippy::indexing_slicing,
    reason = "a member of a JSON value that is not there is null"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use async_nats::jetstream::consumer::pull;
use futures_util::StreamExt as _;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;
use sluicegate_tests::component::with_words;
use sluicegate_tests::events::publish;
use sluicegate_tests::projected::{Kept, Oracle, all, ask, differing, drawn, reached, stage};
use sluicegate_tests::sluice::sluice_on;
use sluicegate_tests::{Broker, Setup, Stage, environment, within};
use tokio::time::sleep;

/// When the store took each event, Unix milliseconds; the first has the number 1.
async fn times(stage: &Stage) -> Result<BTreeMap<u64, i64>> {
    let events = stage.jetstream.get_stream("EVENTS").await?;
    let consumer = events
        .create_consumer(pull::OrderedConfig::default())
        .await?;
    let last = events.get_info().await?.state.last_sequence;
    let mut messages = consumer.messages().await?;
    let mut times = BTreeMap::new();
    while times.len() < usize::try_from(last)? {
        let message = messages.next().await.context("it ended")??;
        let info = message.info().map_err(|error| anyhow::anyhow!("{error}"))?;
        let millis = info.published.unix_timestamp_nanos() / 1_000_000;
        times.insert(info.stream_sequence, i64::try_from(millis)?);
    }
    Ok(times)
}

fn rfc3339(millis: i64) -> Result<String> {
    let time = chrono::DateTime::from_timestamp_millis(millis).context("no time")?;
    Ok(time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true))
}

#[test]
fn rows_as_of_any_moment_are_what_they_were_over_sigkills() -> Result<()> {
    within(1_500, as_they_were(Kept::Files))
}

#[test]
fn rows_as_of_any_moment_are_what_they_were_over_sigkills_in_postgresql() -> Result<()> {
    within(1_500, as_they_were(Kept::Database))
}

async fn as_they_were(kept: Kept) -> Result<()> {
    let (events, asked) = if environment::long() {
        (40_000, 1_000)
    } else {
        (3_000, 100)
    };
    let mut random = StdRng::seed_from_u64(environment::seed()?);
    let Some((mut stage, _database)) = stage(kept).await? else {
        return Ok(());
    };
    let inputs = drawn(&mut random, 0..events);
    let mut sequences = Vec::new();
    for part in inputs.chunks(inputs.len().div_ceil(6)) {
        sequences.extend(publish(&stage.jetstream, part).await?);
        sleep(Duration::from_millis(random.random_range(0..200))).await;
        stage.host.kill9();
        stage.host.start().await?;
    }
    let last = sequences.last().copied().context("no event")?;
    reached(&stage.host, "project", last, 300).await?;
    let times = times(&stage).await?;
    let (first_time, last_time) = (times[&1], times[&last]);

    // What is asked, and after which event that is.
    let mut moments: Vec<(String, u64)> = Vec::new();
    for number in 0..asked {
        if number % 2 == 0 {
            let sequence = random.random_range(0..=last);
            moments.push((sequence.to_string(), sequence));
            continue;
        }
        // Some are before the first, or behind the last.
        let at = match number % 20 {
            1 => first_time - 1,
            3 => last_time,
            5 => last_time + 1,
            _ => random.random_range(first_time..=last_time),
        };
        let by_then = times.iter().filter(|(_, stored)| **stored <= at);
        let sequence = by_then.map(|(sequence, _)| *sequence).max().unwrap_or(0);
        moments.push((rfc3339(at)?, sequence));
    }
    let wanted: BTreeSet<u64> = moments.iter().map(|(_, sequence)| *sequence).collect();
    let (mut oracle, mut truth) = (Oracle::default(), BTreeMap::new());
    truth.insert(0, (BTreeMap::new(), 0));
    for (input, sequence) in inputs.iter().zip(&sequences) {
        oracle.take(input, *sequence);
        if wanted.contains(sequence) {
            let lines = oracle.table("lines").len();
            truth.insert(*sequence, (oracle.table("keys"), lines));
        }
    }
    for (number, (moment, sequence)) in moments.iter().enumerate() {
        let found = all(&stage.host, &format!("/project/keys?as-of={moment}")).await?;
        let (keys, lines) = truth.get(sequence).context("no truth")?;
        ensure!(
            found == *keys,
            "as of {moment}: {}",
            differing(&found, keys)
        );
        if number % 10 == 1 {
            let found = all(&stage.host, &format!("/project/lines?as-of={moment}")).await?;
            ensure!(
                found.len() == *lines,
                "{moment}: {} lines of {lines}",
                found.len()
            );
            // The command line says the same.
            let arguments = ["state", "--plugin", "project", "--as-of", moment, "--json"];
            let said = sluice_on(&stage.broker, &arguments).await?.ok()?.json()?;
            let said = said.as_array().context("no array")?.iter();
            let said: BTreeMap<String, Value> = said
                .filter_map(|row| Some((row["key"].as_str()?.to_owned(), row["row"].clone())))
                .collect();
            ensure!(said == *keys, "as of {moment}: {}", differing(&said, keys));
        }
    }
    // With conditions, an order and one row it is the same question.
    let middle = last / 2;
    let now = ask(
        &stage.host,
        &format!("/project/keys?as-of={middle}&sum.gt=500&order=-sum"),
        &[],
    )
    .await?;
    let sums: Vec<i64> = now
        .is(200)?
        .rows()?
        .iter()
        .filter_map(|(_, row)| row["sum"].as_i64())
        .collect();
    ensure!(
        sums.is_sorted_by(|one, other| one >= other) && sums.iter().all(|sum| 500 < *sum),
        "{sums:?}"
    );
    ask(&stage.host, "/project/keys?as-of=2100-01-01T00:00:00Z", &[])
        .await?
        .is(400)?;
    let far = format!("/project/keys?as-of={}&wait=200ms", last + 1_000);
    ask(&stage.host, &far, &[]).await?.is(503)?;
    eprintln!("{asked} moments of {last} events were what they were");
    stage.host.hush();
    Ok(())
}

#[test]
fn a_past_that_is_not_kept_is_said_to_be_none() -> Result<()> {
    within(60, async {
        let broker = Broker::start().await?;
        let project = std::fs::read(environment::guest("project")?)?;
        let project = with_words(&project, &[("history = \"30d\"", "history = \"none\"")])?;
        let setup = Setup::new(broker.url()).file("project.wasm", project);
        let mut stage = Stage::of(broker, setup).await?;
        let said = ask(&stage.host, "/project/keys?as-of=0", &[])
            .await?
            .is(409)?;
        ensure!(
            said.body["detail"].to_string().contains("history = "),
            "{said:?}"
        );
        let arguments = ["state", "--plugin", "project", "--as-of", "1s"];
        let said = sluice_on(&stage.broker, &arguments).await?;
        said.refused(1, &["is not kept", "[projection]"])?;
        stage.host.hush();
        Ok(())
    })
}

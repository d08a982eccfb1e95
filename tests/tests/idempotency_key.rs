//! Promise: the idempotency key of an event is the same in every attempt, on every host and in a
//! replay, and no other event has it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use sluicegate_tests::events::{publish, series};
use sluicegate_tests::outputs::{ECHOES, count, stored, wait_dead_letters};
use sluicegate_tests::sluice::dlq;
use sluicegate_tests::{Fleet, until, within};

/// What one attempt was told: the event's id, the attempt, the key.
type Told = (String, u32, String);

/// The lines that `tell_key` has written to the logs of these hosts, host by host.
fn told(fleet: &Fleet) -> Result<Vec<Vec<Told>>> {
    let line = |line: &str| {
        let (before, after) = line.split_once(" idempotency-key ")?;
        let (before, attempt) = before.split_once(" attempt ")?;
        let id = before.rsplit('"').next()?;
        let key = after.split('"').next()?;
        Some((id.to_owned(), attempt.parse().ok()?, key.to_owned()))
    };
    let lines = |log: String| log.lines().filter_map(line).collect();
    let logs = fleet.hosts.iter().map(|host| host.log().map(lines));
    logs.collect()
}

#[test]
fn an_event_has_one_key_wherever_and_however_often_it_is_handled() -> Result<()> {
    within(90, async {
        let mut fleet = Fleet::of(2, &["tell_key"], "").await?;
        let inputs = series("a", 1).into_iter().chain(series("b", 1));
        let inputs: Vec<_> = inputs.collect();
        publish(&fleet.jetstream, &inputs).await?;
        let first = until("both first attempts", 10, async || {
            let told = told(&fleet)?;
            let first = told.iter().position(|lines| lines.len() == 2);
            first.with_context(|| format!("{told:?}"))
        })
        .await?;
        // A crash before that would be an attempt that never was.
        until("both attempts to be written down", 10, async || {
            let retries = count(&fleet.jetstream, "LEDGER", "ledger.tell-key.*.retry.*").await?;
            ensure!(retries == 2, "{retries} are");
            Ok(())
        })
        .await?;
        fleet.hosts.get_mut(first).context("no host")?.kill9();
        let letters = wait_dead_letters(&fleet.jetstream, 2, 30).await?;
        for letter in letters {
            let id = letter.sequence.to_string();
            dlq(&fleet.broker.url(), &["replay", &id]).await?.ok()?;
        }
        let outputs = until("both replays", 20, async || {
            let outputs = stored(&fleet.jetstream, "EVENTS", ECHOES).await?;
            ensure!(outputs.len() == 2, "{} outputs", outputs.len());
            Ok(outputs)
        })
        .await?;

        let told = told(&fleet)?;
        let by_host: Vec<usize> = told.iter().map(Vec::len).collect();
        ensure!(by_host.iter().all(|count| 2 <= *count), "{told:?}");
        let mut keys: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut attempts: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        for (id, attempt, key) in told.into_iter().flatten() {
            keys.entry(id.clone()).or_default().insert(key);
            attempts.entry(id).or_default().push(attempt);
        }
        for output in outputs {
            let body: serde_json::Value = serde_json::from_slice(&output.body)?;
            let text = |name: &str| body.get(name).and_then(|value| value.as_str());
            let id = text("input").context("no input")?;
            let key = text("idempotency_key").context("no key")?;
            let of_event = keys.entry(id.to_owned()).or_default();
            of_event.insert(key.to_owned());
        }
        ensure!(keys.len() == 2, "{keys:?}");
        ensure!(
            keys.values().all(|of_event| of_event.len() == 1),
            "{keys:?}"
        );
        let different: BTreeSet<_> = keys.values().flatten().collect();
        ensure!(different.len() == 2, "two events have one key: {keys:?}");
        for (id, mut attempts) in attempts {
            attempts.sort_unstable();
            // Two of the event, one of its replay.
            ensure!(attempts == [1, 1, 2], "{id}: {attempts:?}");
        }
        Ok(())
    })
}

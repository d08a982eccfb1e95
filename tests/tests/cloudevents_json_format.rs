//! Promise: the CloudEvents JSON format is read to the letter: what keeps the rules is stored with
//! equal attributes and data, what breaks one is stored nowhere but among the dead letters.

use std::collections::{BTreeMap, HashSet};

use anyhow::{Context as _, Result, ensure};
use chrono::DateTime;
use serde_json::Value;
use sluicegate_tests::formats::{Valid, invalid, valid};
use sluicegate_tests::outputs::{Stored, named, stored, wait_dead_letters};
use sluicegate_tests::sluice::sluice_with_input;
use sluicegate_tests::{Source, Stage, environment, within};

const EVENT: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";

fn source() -> Source {
    Source::new("cloudevents", "lab")
}

/// The attributes that an event has, as text.
fn attributes(event: &Value) -> Result<BTreeMap<String, String>> {
    let members = event.as_object().context("an object")?;
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut attributes: BTreeMap<String, String> = members
        .iter()
        .filter(|(name, value)| !value.is_null() && !name.starts_with("data_") && *name != "data")
        .map(|(name, value)| (name.clone(), text(value)))
        .collect();
    if members.get("data").is_some_and(|data| !data.is_null()) {
        // JSON where nothing is said (json-format.md section 3.1.2).
        let json = || "application/json".to_owned();
        attributes
            .entry("datacontenttype".to_owned())
            .or_insert_with(json);
    }
    Ok(attributes)
}

/// The stored event has to have these attributes and this data, and the time may be written in
/// another way.
fn equal(stored: &Stored, event: &Value, data: &[u8]) -> Result<()> {
    let (mut expected, mut found) = (attributes(event)?, stored.attributes()?);
    let times = (expected.remove("time"), found.remove("time"));
    if let (Some(expected), Some(found)) = &times
        && !expected.contains(":60")
    {
        let (expected, found) = (
            DateTime::parse_from_rfc3339(expected)?,
            DateTime::parse_from_rfc3339(found)?,
        );
        ensure!(expected == found, "{found} instead of {expected}");
    } else {
        ensure!(times.0 == times.1, "{times:?}");
    }
    // The key that the host orders by may be added; what was sent stays.
    if !expected.contains_key("partitionkey") {
        found.remove("partitionkey");
    }
    ensure!(
        expected == found,
        "attributes {found:?}\ninstead of {expected:?}"
    );
    ensure!(
        stored.body == data,
        "data {:?} instead of {:?}",
        String::from_utf8_lossy(&stored.body),
        String::from_utf8_lossy(data)
    );
    Ok(())
}

/// Every event through the gateway one by one, then all of them at once through `sluice send`
/// to an event store of its own.
async fn all_are_taken(events: &[Valid]) -> Result<()> {
    let source = source();
    let stage = Stage::taking(&[&source]).await?;
    for event in events {
        let stored = stage.taken(&source.post(EVENT, event.json.clone())).await;
        let json: Value = serde_json::from_str(&event.json)?;
        equal(&stored.context(event.name)?, &json, &event.data).context(event.name)?;
    }

    stage.jetstream.get_stream("EVENTS").await?.purge().await?;
    let url = stage.broker.url();
    let lines: Vec<&str> = events.iter().map(|event| event.json.as_str()).collect();
    let arguments = ["send", "-", "--no-broker-dedup", "--nats", &url, "--json"];
    sluice_with_input(&arguments, lines.join("\n").as_bytes())
        .await?
        .ok()?;
    let sent = stored(&stage.jetstream, "EVENTS", "d365.>").await?;
    ensure!(
        sent.len() == events.len(),
        "{} of {} were sent",
        sent.len(),
        events.len()
    );
    for (stored, event) in sent.iter().zip(events) {
        let json: Value = serde_json::from_str(&event.json)?;
        equal(stored, &json, &event.data).with_context(|| format!("sent: {}", event.name))?;
    }
    Ok(())
}

#[test]
fn what_keeps_the_rules_is_stored_equal() -> Result<()> {
    within(90, async { all_are_taken(&valid()).await })
}

/// A file of the outside suite (cloudevents/conformance, branch format-tests).
fn suite(name: &str) -> Result<Option<Vec<Value>>> {
    let Some(folder) = environment::fixtures() else {
        eprintln!("skipped: no folder of public samples; SLUICEGATE_FIXTURES can name one");
        return Ok(None);
    };
    let file = folder.join(name);
    if !file.is_file() {
        eprintln!("skipped: no {}", file.display());
        return Ok(None);
    }
    let suite: Value = serde_json::from_slice(&std::fs::read(file)?)?;
    let tests = suite.get("tests").and_then(Value::as_array);
    Ok(Some(tests.context("no tests")?.clone()))
}

#[test]
fn the_outside_suites_valid_events_are_stored_equal() -> Result<()> {
    let Some(tests) = suite("ce-format-tests-json-valid-events.json")? else {
        return Ok(());
    };
    within(60, async {
        let source = source();
        let stage = Stage::taking(&[&source]).await?;
        let url = stage.broker.url();
        let mut seen = HashSet::new();
        for (n, test) in tests.iter().enumerate() {
            let mut event = test.get("event").context("no event")?.clone();
            // Some have the same id, and the store takes an id once.
            let id = event.get_mut("id").context("no id")?;
            if !seen.insert(id.to_string()) {
                *id = Value::String(format!("{n}"));
            }
            let text = event
                .get("data")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let stored = stage.taken(&source.post(EVENT, event.to_string())).await;
            let stored = stored.with_context(|| test.to_string())?;
            equal(&stored, &event, text.as_bytes()).with_context(|| test.to_string())?;
            let arguments = ["send", "-", "--no-broker-dedup", "--nats", &url, "--json"];
            let said = sluice_with_input(&arguments, event.to_string().as_bytes()).await?;
            let told = said.ok().with_context(|| test.to_string())?.json()?;
            let sent = named(&stage.jetstream, &told).await?;
            equal(&sent, &event, text.as_bytes()).with_context(|| test.to_string())?;
        }
        ensure!(
            stage.events().await? == 2 * tests.len(),
            "each of them twice"
        );
        Ok(())
    })
}

#[test]
fn the_outside_suites_valid_batches_are_stored_equal() -> Result<()> {
    let Some(tests) = suite("ce-format-tests-json-valid-batches.json")? else {
        return Ok(());
    };
    within(60, async {
        for test in &tests {
            let source = source();
            let stage = Stage::taking(&[&source]).await?;
            let batch = test
                .get("batch")
                .and_then(Value::as_array)
                .context("no batch")?;
            let body = Value::Array(batch.clone()).to_string();
            let told = stage
                .host
                .gateway()
                .ask(&source.post(BATCH, body))
                .await?
                .accepted()?;
            ensure!(told.len() == batch.len(), "{test}: {told:?}");
            for (told, event) in told.iter().zip(batch) {
                let stored = named(&stage.jetstream, told).await?;
                equal(&stored, event, b"").with_context(|| test.to_string())?;
            }
        }
        Ok(())
    })
}

#[test]
fn what_breaks_a_rule_is_a_dead_letter() -> Result<()> {
    within(120, async {
        let source = source();
        let stage = Stage::taking(&[&source]).await?;
        let cases = invalid();
        let mut connection = stage.host.gateway().connect().await?;
        let mut taken = Vec::new();
        for (rule, event) in &cases {
            let answer = connection
                .ask(&source.post(EVENT, event.clone()))
                .await
                .context(*rule)?;
            let letters = answer
                .clone()
                .dead_letters()
                .with_context(|| format!("{rule}: {event:.300}"))?;
            if letters.len() != 1 {
                taken.push(format!("{rule}: {event:.300}"));
            }
        }
        ensure!(taken.is_empty(), "these were taken:\n{}", taken.join("\n"));
        ensure!(stage.events().await? == 0, "something was stored");
        let letters = wait_dead_letters(&stage.jetstream, cases.len(), 20).await?;
        ensure!(letters.len() == cases.len(), "{} letters", letters.len());
        for (letter, (rule, event)) in letters.iter().zip(&cases) {
            ensure!(
                letter.body == event.as_bytes(),
                "{rule}: the bytes are others"
            );
        }
        Ok(())
    })
}

#[test]
fn a_batch_with_one_bad_event_is_taken_not_at_all() -> Result<()> {
    within(120, async {
        let source = source();
        let stage = Stage::taking(&[&source]).await?;
        let good = |id: &str| {
            format!("{{\"specversion\":\"1.0\",\"id\":\"{id}\",\"type\":\"t\",\"source\":\"/x\"}}")
        };
        let mut connection = stage.host.gateway().connect().await?;
        let mut wrong = Vec::new();
        for (rule, event) in invalid() {
            let batch = format!("[{},{},{}]", good("a"), event, good("b"));
            let whole = serde_json::from_str::<serde::de::IgnoredAny>(&batch).is_ok();
            let answer = connection
                .ask(&source.post(BATCH, batch))
                .await
                .context(rule)?;
            let status = answer.status;
            if whole {
                let told = answer.json()?;
                let index = told.get("index").and_then(Value::as_u64);
                if index != Some(1) || answer.problem(400).is_err() {
                    wrong.push(format!("{rule}: {event:.200}: {told:.300}"));
                }
            } else if !matches!(status, 202 | 400)
                || answer.accepted().is_ok_and(|all| !all.is_empty())
            {
                wrong.push(format!("{rule}: {event:.200}: {status}"));
            }
        }
        ensure!(
            wrong.is_empty(),
            "these are answered wrongly:\n{}",
            wrong.join("\n")
        );
        for batch in [
            "{}",
            "7",
            "null",
            "\"x\"",
            "",
            "[",
            "[,]",
            &format!("[{}", good("a")),
            &good("a"),
        ] {
            let answer = connection.ask(&source.post(BATCH, batch)).await?;
            ensure!(matches!(answer.status, 202 | 400), "{batch}: {answer:?}");
            if answer.status == 202 {
                ensure!(answer.accepted()?.is_empty(), "{batch} was taken");
            }
        }
        ensure!(stage.events().await? == 0, "a part of a batch was stored");
        let two = format!("[{},{}]", good("a"), good("b"));
        let told = connection.ask(&source.post(BATCH, two)).await?.accepted()?;
        ensure!(told.len() == 2, "{told:?}");
        Ok(())
    })
}

#[test]
fn the_command_line_sends_nothing_that_breaks_a_rule() -> Result<()> {
    within(170, async {
        let source = source();
        let stage = Stage::taking(&[&source]).await?;
        let url = stage.broker.url();
        let mut sent = Vec::new();
        // One case of each rule: a process for every one of all of them takes too long.
        let mut cases = invalid();
        cases.dedup_by_key(|(rule, _)| *rule);
        // An array and two in a row are documents of a file of their own kind.
        cases.retain(|(rule, _)| !["two of them"].contains(rule));
        for (rule, event) in cases {
            let arguments = ["send", "-", "--nats", &url];
            let said = sluice_with_input(&arguments, event.as_bytes()).await?;
            ensure!(
                !said.stderr.contains("panicked at"),
                "{rule}: {}",
                said.stderr
            );
            if said.code != Some(1) || said.stderr.trim().is_empty() {
                sent.push(format!("{rule}: {event:.200}: {:?}", said.code));
            }
        }
        ensure!(sent.is_empty(), "these were sent:\n{}", sent.join("\n"));
        ensure!(stage.events().await? == 0, "something was stored");
        Ok(())
    })
}

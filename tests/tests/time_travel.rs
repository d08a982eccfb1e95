//! Promise: what a plug-in kept at any moment can be had, as it was, over crashes of the host.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use async_nats::jetstream::consumer::pull;
use futures_util::StreamExt as _;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;
use sluicegate_tests::component::with_words;
use sluicegate_tests::events::{publish, series};
use sluicegate_tests::sluice::{Said, sluice_on};
use sluicegate_tests::{Broker, Input, Setup, Stage, environment, until, within};

/// A host with `record_order`, which keeps the list of every `n` of a key, and its past.
async fn stage(history: &str) -> Result<Stage> {
    stage_with("record_order", history).await
}

async fn stage_with(guest: &str, history: &str) -> Result<Stage> {
    let broker = Broker::start().await?;
    let component = std::fs::read(environment::guest(guest)?)?;
    let limits = format!("[limits]\nstate_history = {history:?}\n\n[capabilities]");
    let component = with_words(&component, &[("[capabilities]", &limits)])?;
    let setup = Setup::new(broker.url()).file("guest.wasm", component);
    Stage::of(broker, setup).await
}

async fn state(stage: &Stage, more: &[&str]) -> Result<Said> {
    let arguments = [&["state", "--plugin", "record-order"], more].concat();
    sluice_on(&stage.broker, &arguments).await
}

/// The next start has another `state_history` in its `sluice.toml`.
async fn keep_instead(stage: &mut Stage, before: &str, after: &str) -> Result<()> {
    stage.host.stop().await?;
    let file = stage.host.config_path();
    let text = std::fs::read_to_string(&file)?;
    let line = |time: &str| format!("state_history = {time:?}");
    ensure!(text.contains(&line(before)), "no {before} in {text}");
    std::fs::write(&file, text.replace(&line(before), &line(after)))?;
    stage.host.start().await
}

/// How long the list of each key is.
fn lengths(rows: &Value) -> Result<BTreeMap<String, usize>> {
    let mut lengths = BTreeMap::new();
    for row in rows.as_array().context("no array")? {
        let text = |name: &str| {
            let text = row.get(name).and_then(Value::as_str);
            text.with_context(|| format!("no {name} in {row}"))
        };
        let list: Vec<u64> = serde_json::from_str(text("value")?)?;
        ensure!(list == (0..list.len() as u64).collect::<Vec<_>>(), "{row}");
        lengths.insert(text("key")?.to_owned(), list.len());
    }
    Ok(lengths)
}

/// What a key had from a moment on, in Unix milliseconds, and which key: what the plug-in emitted
/// then. Outputs stand in the same commits as the state, and none takes another's place.
type Truth = Vec<(u64, String, Value)>;

/// `member` of each output is what its key had.
async fn truth(stage: &Stage, outputs: u64, member: &str) -> Result<Truth> {
    let ledger = stage.jetstream.get_stream("LEDGER").await?;
    let consumer = ledger
        .create_consumer(pull::OrderedConfig {
            filter_subject: "ledger.out.>".to_owned(),
            ..Default::default()
        })
        .await?;
    let messages = consumer.messages().await?.take(usize::try_from(outputs)?);
    let messages: Vec<_> = messages.collect().await;
    let mut truth = Vec::new();
    for message in messages {
        let message = message?;
        let info = message.info().map_err(|error| anyhow::anyhow!("{error}"))?;
        let millis = u64::try_from(info.published.unix_timestamp_nanos() / 1_000_000)?;
        let body: Value = serde_json::from_slice(&message.payload)?;
        let key = body.get("key").and_then(Value::as_str).context("no key")?;
        let had = body.get(member).context("nothing of the state")?;
        truth.push((millis, key.to_owned(), had.clone()));
    }
    Ok(truth)
}

/// Moments from before the first change to behind the last one, and what each key had then. Within
/// a commit, what the clock says of its messages is not all the same, so it is none of those.
fn moments(truth: &Truth, count: usize) -> Result<Vec<(String, BTreeMap<String, Value>)>> {
    let last = truth.last().context("no output")?.0;
    let first = truth.first().context("no output")?.0;
    let mut random = StdRng::seed_from_u64(environment::seed()?);
    let mut moments = Vec::new();
    while moments.len() < count {
        let beside = ((last - first) / 8 + 2).min(20);
        let at = random.random_range(first - beside..last + beside);
        if truth.iter().any(|(time, ..)| time.abs_diff(at) <= 1) {
            continue;
        }
        let mut had = BTreeMap::new();
        for (_, key, value) in truth.iter().filter(|(time, ..)| *time <= at) {
            had.insert(key.clone(), value.clone());
        }
        had.retain(|_, value| !value.is_null());
        moments.push((rfc3339(at)?, had));
    }
    let empty = moments.iter().filter(|(_, had)| had.is_empty()).count();
    ensure!(
        empty < count / 2,
        "{empty} of {count} moments were before anything"
    );
    Ok(moments)
}

fn rfc3339(unix_millis: u64) -> Result<String> {
    let time = i64::try_from(unix_millis)?;
    let time = chrono::DateTime::from_timestamp_millis(time).context("no time")?;
    Ok(time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true))
}

#[test]
fn the_state_of_any_moment_is_what_was_committed_by_then() -> Result<()> {
    const KEYS: u64 = 7;
    const ROUNDS: u64 = 6;
    const EACH: u64 = 5;
    let times = if environment::long() { 1_000 } else { 150 };
    within(600, async {
        let mut stage = stage("1h").await?;
        for round in 0..ROUNDS {
            let inputs = (0..KEYS * EACH).map(|i| {
                let (key, n) = (i % KEYS, round * EACH + i / KEYS);
                Input::new(format!("k{key}-{n}"), format!("k{key}"), n)
            });
            publish(&stage.jetstream, &inputs.collect::<Vec<_>>()).await?;
            // Without a word, with commits under way.
            if round % 2 == 1 {
                stage.host.kill9();
                stage.host.start().await?;
            }
        }
        stage.host.settled("record-order", 60).await?;
        let truth = truth(&stage, KEYS * EACH * ROUNDS, "seen").await?;
        for (as_of, had) in moments(&truth, times)? {
            let said = state(&stage, &["--as-of", &as_of, "--json"]).await?.ok()?;
            let found = lengths(&said.json()?)?;
            let found: BTreeMap<_, _> = found
                .into_iter()
                .map(|(key, length)| (key, Value::from(length)))
                .collect();
            ensure!(found == had, "at {as_of}: {found:?} instead of {had:?}");
        }
        let now = lengths(&state(&stage, &["--json"]).await?.ok()?.json()?)?;
        let whole = usize::try_from(EACH * ROUNDS)?;
        ensure!(
            now.len() == 7 && now.values().all(|length| *length == whole),
            "{now:?}"
        );
        let key = state(&stage, &["--key", "k3"]).await?.ok()?;
        let list: Vec<u64> = serde_json::from_slice(&key.raw)?;
        ensure!(list.len() == whole, "{list:?}");
        Ok(())
    })
}

#[test]
fn keys_that_are_written_unseen_and_keys_that_go_have_a_past_too() -> Result<()> {
    const KEYS: u64 = 3;
    const EACH: u64 = 30;
    within(120, async {
        let stage = stage_with("keep_last", "1h").await?;
        for n in 0..EACH {
            let inputs =
                (0..KEYS).map(|key| Input::new(format!("k{key}-{n}"), format!("k{key}"), n));
            publish(&stage.jetstream, &inputs.collect::<Vec<_>>()).await?;
            if n % 3 == 2 {
                stage.host.settled("keep-last", 30).await?;
            }
        }
        let truth = truth(&stage, KEYS * EACH, "n").await?;
        for (as_of, had) in moments(&truth, 60)? {
            let arguments = ["state", "--plugin", "keep-last", "--as-of", &as_of];
            let all = sluice_on(&stage.broker, &[&arguments[..], &["--json"]].concat()).await?;
            let mut found = BTreeMap::new();
            for row in all.ok()?.json()?.as_array().context("no array")? {
                let text = |name| row.get(name).and_then(Value::as_str).context("no text");
                found.insert(
                    text("key")?.to_owned(),
                    serde_json::from_str(text("value")?)?,
                );
            }
            let total = found.remove("total");
            ensure!(found == had, "at {as_of}: {found:?} instead of {had:?}");
            let handled = truth
                .iter()
                .filter(|(time, ..)| rfc3339(*time).is_ok_and(|time| time <= as_of));
            let handled = Some(handled.count()).filter(|count| 0 < *count);
            ensure!(
                total == handled.map(Value::from),
                "{total:?} instead of {handled:?}"
            );
            let one =
                sluice_on(&stage.broker, &[&arguments[..], &["--key", "k1"]].concat()).await?;
            match had.get("k1") {
                Some(value) => ensure!(*value == one.ok()?.json()?, "{value}"),
                None => drop(one.refused(1, &["has no key"])?),
            }
        }
        Ok(())
    })
}

#[test]
fn what_is_not_known_is_refused_with_what_is() -> Result<()> {
    within(120, async {
        let stage = stage("none").await?;
        publish(&stage.jetstream, &series("k", 3)).await?;
        until("the state to be committed", 30, async || {
            let now = lengths(&state(&stage, &["--json"]).await?.ok()?.json()?)?;
            ensure!(now == BTreeMap::from([("k".to_owned(), 3)]), "{now:?}");
            Ok(())
        })
        .await?;
        let kept = ["is not kept", "state_history", "[plugin.record-order]"];
        state(&stage, &["--as-of", "1s"]).await?.refused(1, &kept)?;
        let soon = rfc3339(u64::try_from(chrono::Utc::now().timestamp_millis())? + 60_000)?;
        state(&stage, &["--as-of", &soon])
            .await?
            .refused(1, &["still to come"])?;
        state(&stage, &["--key", "x"])
            .await?
            .refused(1, &["has no key"])?;
        let other = ["state", "--plugin", "nobody"];
        let other = sluice_on(&stage.broker, &other).await?;
        other.refused(1, &["the ledger knows no plug-in nobody"])?;
        Ok(())
    })
}

#[test]
fn the_past_begins_with_the_operators_word_and_ends_with_its_time() -> Result<()> {
    within(120, async {
        let mut stage = stage("none").await?;
        publish(&stage.jetstream, &series("k", 3)).await?;
        stage.host.settled("record-order", 30).await?;
        stage.host.stop().await?;
        stage
            .host
            .reconfigure("[plugin.record-order]\nstate_history = \"5s\"")?;
        stage.host.start().await?;
        let known = ["is known from"];
        state(&stage, &["--as-of", "1m"])
            .await?
            .refused(1, &known)?;
        // What was there when it began is known, though it was written before that.
        let began = chrono::Utc::now().timestamp_millis();
        until("a moment since then", 10, async || {
            ensure!(began + 5 < chrono::Utc::now().timestamp_millis(), "not yet");
            Ok(())
        })
        .await?;
        let began = rfc3339(u64::try_from(began)?)?;
        let more: Vec<Input> = series("k", 5).into_iter().skip(3).collect();
        publish(&stage.jetstream, &more).await?;
        truth(&stage, 5, "seen").await?;
        let then = state(&stage, &["--as-of", &began, "--json"]).await?.ok()?;
        let then = lengths(&then.json()?)?;
        ensure!(then == BTreeMap::from([("k".to_owned(), 3)]), "{then:?}");
        until("that to be too long ago", 30, async || {
            let said = state(&stage, &["--as-of", &began]).await?;
            said.refused(1, &known).map(drop)
        })
        .await?;
        // A longer time brings nothing back,
        keep_instead(&mut stage, "5s", "1h").await?;
        state(&stage, &["--as-of", &began])
            .await?
            .refused(1, &known)?;
        let then = state(&stage, &["--as-of", "1s", "--json"]).await?.ok()?;
        let then = lengths(&then.json()?)?;
        ensure!(then == BTreeMap::from([("k".to_owned(), 5)]), "{then:?}");
        // and without one nothing is known.
        keep_instead(&mut stage, "1h", "none").await?;
        until("it to be forgotten", 20, async || {
            let said = state(&stage, &["--as-of", "1s"]).await?;
            said.refused(1, &["is not kept"]).map(drop)
        })
        .await?;
        Ok(())
    })
}

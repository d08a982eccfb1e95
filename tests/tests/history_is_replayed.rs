//! Promise: a plug-in that runs is given a part of the event store again: each event once, in the
//! order of its key, with no effects outside unless they are asked for, whoever is killed.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use async_nats::HeaderMap;
use serde_json::{Value, json};
use sluicegate_tests::component::with_words;
use sluicegate_tests::dataverse::Dataverse;
use sluicegate_tests::environment;
use sluicegate_tests::events::{publish, spread};
use sluicegate_tests::guests::{failing, told};
use sluicegate_tests::outputs::{
    ECHOES, Stored, carried_over, count, dead_letters, original_headers, state, stored,
    wait_dead_letters, wait_echoes,
};
use sluicegate_tests::process::{Process, command};
use sluicegate_tests::sluice::{Said, dlq, sluice_on};
use sluicegate_tests::tls::Identity;
use sluicegate_tests::{Broker, Input, Setup, Stage, until, within};
use tokio::time::Instant;

/// The guest `record_order`: under each key the list of what came.
const LISTS: &str = "record-order";

/// By key, in order.
type Numbers = BTreeMap<String, Vec<u64>>;

/// `sluice replay` of what this plug-in hears.
async fn replay(stage: &Stage, plugin: &str, more: &[&str]) -> Result<Said> {
    sluice_on(
        &stage.broker,
        &[&["replay", "--plugin", plugin], more].concat(),
    )
    .await
}

/// What comes when these come one after another.
fn numbers<'a>(parts: impl IntoIterator<Item = &'a [Input]>) -> Numbers {
    let mut numbers = Numbers::new();
    for input in parts.into_iter().flatten() {
        numbers.entry(input.key.clone()).or_default().push(input.n);
    }
    numbers
}

/// Waits until the plug-in's lists are these.
async fn lists(stage: &Stage, wanted: &Numbers, seconds: u64) -> Result<()> {
    until("the plug-in to have seen all", seconds, async || {
        for (key, wanted) in wanted {
            let found = state(&stage.jetstream, LISTS, key).await?;
            let found: Vec<u64> = serde_json::from_slice(&found.unwrap_or_default())
                .with_context(|| format!("nothing of {key}"))?;
            ensure!(found == *wanted, "{key}: {found:?} instead of {wanted:?}");
        }
        Ok(())
    })
    .await
}

/// A host with the guest that makes lists, which has these events in them.
async fn listed(inputs: &[Input], setup: impl FnOnce(Setup) -> Setup) -> Result<Stage> {
    let broker = Broker::start().await?;
    let setup = setup(Setup::new(broker.url()).guest("record_order")?);
    let stage = Stage::of(broker, setup).await?;
    publish(&stage.jetstream, inputs).await?;
    lists(&stage, &numbers([inputs]), 60).await?;
    Ok(stage)
}

/// The newest replay.
async fn newest(stage: &Stage) -> Result<Value> {
    let said = dlq(&stage.broker.url(), &["replays", "--json"]).await?;
    let all = said.ok()?.json()?;
    all.get(0).cloned().context("no replay")
}

/// The newest replay, once this holds of it.
async fn newest_when(
    stage: &Stage,
    what: &str,
    seconds: u64,
    holds: impl Fn(&Value) -> bool,
) -> Result<Value> {
    until(&format!("the replay {what}"), seconds, async || {
        let replay = newest(stage).await?;
        ensure!(holds(&replay), "{replay}");
        Ok(replay)
    })
    .await
}

fn is(replay: &Value, wanted: &str) -> bool {
    replay.get("state").and_then(Value::as_str) == Some(wanted)
}

fn number(replay: &Value, member: &str) -> u64 {
    replay.get(member).and_then(Value::as_u64).unwrap_or(0)
}

fn text<'a>(replay: &'a Value, pointer: &str) -> &'a str {
    replay
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or("")
}

/// `sluice replay` as a process that can be killed.
fn replaying(stage: &Stage, rate: &str, folder: &Path) -> Result<Process> {
    let mut sluice = command(&environment::sluice()?);
    sluice.args([
        "replay",
        "--plugin",
        LISTS,
        "--rate",
        rate,
        "--nats",
        &stage.broker.url(),
    ]);
    Process::start("sluice replay", sluice, &folder.join("log"))
}

/// What a plug-in was sent again.
async fn sent(stage: &Stage, plugin: &str) -> Result<Vec<Stored>> {
    let subject = format!("d365.replay.{plugin}.*");
    stored(&stage.jetstream, "EVENTS", &subject).await
}

/// How many events the guests have emitted.
async fn emitted(stage: &Stage) -> Result<usize> {
    carried_over(&stage.jetstream).await?;
    count(&stage.jetstream, "EVENTS", ECHOES).await
}

async fn heard(stage: &Stage, plugin: &str) -> Result<f64> {
    let metrics = stage.host.metrics().await?;
    metrics.sum("sluicegate_deliveries_total", &[("plugin", plugin)])
}

#[test]
fn each_event_of_the_part_comes_again_in_its_order_and_to_nobody_else() -> Result<()> {
    within(150, async {
        let broker = Broker::start().await?;
        let component = std::fs::read(environment::guest("record_order")?)?;
        let subjects = "subjects = [\"d365.custom.test.record.*.*\"]";
        let typed = format!("{subjects}\ntypes = [\"d365.custom.thing.*\"]");
        let component = with_words(&component, &[(subjects, &typed)])?;
        let setup = Setup::new(broker.url()).guest("ok")?;
        let stage = Stage::of(broker, setup.file("record_order.wasm", component)).await?;

        // In the middle one of a type that it does not hear, and one that is no event.
        let other = Input::new("other", "k0", 99).header("ce-type", "d365.custom.other.update");
        let mut wreck = Input::new("wreck", "k0", 98);
        wreck.message.headers = HeaderMap::new();
        let inputs = spread(60, 6);
        let (first, last) = inputs.split_at(30);
        let all = [first, &[other, wreck], last].concat();
        let places = publish(&stage.jetstream, &all).await?;
        lists(&stage, &numbers([&inputs[..]]), 40).await?;
        wait_dead_letters(&stage.jetstream, 2, 20).await?;
        stage.host.settled("ok", 20).await?;
        let (heard_before, emitted_before) = (heard(&stage, "ok").await?, emitted(&stage).await?);
        ensure!(emitted_before == 60, "{emitted_before} emitted");

        let place = |index: usize| {
            places
                .get(index)
                .map(ToString::to_string)
                .context("no place")
        };
        let (from, to) = (place(10)?, place(51)?);
        let range = ["--from", from.as_str(), "--to", to.as_str()];
        let dry = [&range[..], &["--dry-run", "--json"]].concat();
        let dry = replay(&stage, LISTS, &dry).await?.ok()?.json()?;
        ensure!(
            number(&dry, "total") == 40 && number(&dry, "undecodable") == 1,
            "{dry}"
        );
        ensure!(
            sent(&stage, LISTS).await?.is_empty(),
            "a dry run has sent something"
        );
        let done = [&range[..], &["--json"]].concat();
        let done = replay(&stage, LISTS, &done).await?.ok()?.json()?;
        ensure!(
            is(&done, "done") && number(&done, "replayed") == 40,
            "{done}"
        );
        let part = inputs.get(10..50).context("no part")?;
        lists(&stage, &numbers([&inputs[..], part]), 20).await?;

        // As they came, and from where.
        let again = sent(&stage, LISTS).await?;
        ensure!(again.len() == 40, "{} were sent", again.len());
        for (input, again) in part.iter().zip(&again) {
            ensure!(again.body == input.message.body, "the bytes are others");
            ensure!(
                again.header("Sluice-Subject")? == input.message.subject,
                "{again:?}"
            );
            ensure!(again.header("Sluice-Effects")? == "none", "{again:?}");
            let (kept, came) = (
                again.original_headers(),
                original_headers(&input.message.headers),
            );
            ensure!(kept == came, "headers {kept:?} instead of {came:?}");
        }
        ensure!(
            heard(&stage, "ok").await? == heard_before,
            "another plug-in heard of it"
        );
        ensure!(
            emitted(&stage).await? == emitted_before,
            "something was emitted again"
        );
        ensure!(
            dead_letters(&stage.jetstream).await?.len() == 2,
            "more dead letters"
        );

        // No replay of a replay; and with effects, those.
        let of_key = ["--key", "k1", "--effects", "--json"];
        let done = replay(&stage, LISTS, &of_key).await?.ok()?.json()?;
        ensure!(number(&done, "replayed") == 10, "{done}");
        let key: Vec<Input> = inputs
            .iter()
            .filter(|input| input.key == "k1")
            .cloned()
            .collect();
        let wanted = numbers([&inputs[..], part, &key[..]]);
        lists(&stage, &wanted, 20).await?;
        until("what it emits", 20, async || {
            let now = emitted(&stage).await?;
            ensure!(now == emitted_before + 10, "{now} emitted");
            Ok(())
        })
        .await?;

        // Written down, and seen.
        let (_, audit) = stage.host.admin("/api/v1/audit").await?;
        let audit: Value = serde_json::from_str(&audit)?;
        ensure!(text(&audit, "/0/action") == "replay", "{audit}");
        ensure!(text(&audit, "/0/target") == LISTS, "{audit}");
        let (status, page) = stage.host.admin("/replays").await?;
        let which = format!("events {from} to {to} for {LISTS}");
        ensure!(status == 200 && page.contains(&which), "{status}: {page}");
        Ok(())
    })
}

#[test]
fn an_event_that_was_redacted_is_not_given_again() -> Result<()> {
    within(90, async {
        let inputs = spread(12, 3);
        let stage = listed(&inputs, |setup| setup).await?;
        let redact = ["events", "redact", "--why", "asked", "--id", "e4", "--yes"];
        sluice_on(&stage.broker, &redact).await?.ok()?;
        let done = replay(&stage, LISTS, &["--json"]).await?.ok()?.json()?;
        ensure!(
            number(&done, "total") == 11 && number(&done, "replayed") == 11,
            "{done}"
        );
        let rest: Vec<Input> = inputs
            .iter()
            .filter(|input| input.id != "e4")
            .cloned()
            .collect();
        lists(&stage, &numbers([&inputs[..], &rest[..]]), 20).await
    })
}

/// The guest that sends what it is told, and a server that it may send to.
async fn sending() -> Result<(Stage, Dataverse)> {
    let identity = Identity::of(&["localhost"])?;
    let server = Dataverse::start(&identity, "https://127.0.0.1:1/elsewhere").await?;
    let component = std::fs::read(environment::guest("sends")?)?;
    let granted = format!("http = [{:?}]", server.origin());
    let component = with_words(
        &component,
        &[("http = [\"https://localhost:1\"]", &granted)],
    )?;
    let broker = Broker::start().await?;
    let setup = Setup::new(broker.url())
        .file("sends.wasm", component)
        .beside("ca.pem", identity.cert.as_bytes())
        .with("[http]\nca = \"ca.pem\"\n");
    Ok((Stage::of(broker, setup).await?, server))
}

/// A dead letter with a higher number than this, once it is there.
async fn letter_behind(stage: &Stage, number: u64) -> Result<Stored> {
    until("a dead letter", 20, async || {
        let letters = dead_letters(&stage.jetstream).await?;
        let letter = letters.into_iter().find(|letter| number < letter.sequence);
        letter.context("none")
    })
    .await
}

#[test]
fn no_request_leaves_and_none_does_when_its_dead_letter_is_sent_again() -> Result<()> {
    within(120, async {
        let (stage, server) = sending().await?;
        let url = stage.broker.url();
        let told = json!({ "url": format!("{}/api/accounts", server.origin()) });
        let input = Input::with_data("c0", "k", 0, told.clone());
        publish(&stage.jetstream, std::slice::from_ref(&input)).await?;
        wait_echoes(&stage.jetstream, 1, 20).await?;
        ensure!(server.seen().len() == 1, "{:?}", server.seen());

        replay(&stage, "sends", &[]).await?.ok()?;
        let first = letter_behind(&stage, 0).await?;
        dlq(&url, &["replay", &first.sequence.to_string()])
            .await?
            .ok()?;
        let second = letter_behind(&stage, first.sequence).await?;
        let folder = tempfile::tempdir()?;
        let body = folder.path().join("body.json");
        let edited = json!({ "n": 0, "url": told.get("url"), "edited": true });
        std::fs::write(&body, edited.to_string())?;
        let body = body.display().to_string();
        let edit = [
            "edit",
            &second.sequence.to_string(),
            "--body",
            &body,
            "--replay",
        ];
        dlq(&url, &edit).await?.ok()?;
        // The edited letter is one too, for as long as it stands.
        let third = until("the edited one to die", 20, async || {
            let letters = dead_letters(&stage.jetstream).await?;
            let [letter] = letters.as_slice() else {
                anyhow::bail!("{} letters", letters.len());
            };
            ensure!(
                letter.headers.get("Sluice-Edited").is_none(),
                "not sent yet"
            );
            Ok(letter.clone())
        })
        .await?;
        for letter in [&first, &second, &third] {
            ensure!(letter.header("Sluice-Effects")? == "none", "{letter:?}");
            ensure!(
                letter.header("Sluice-Subject")? == input.message.subject,
                "{letter:?}"
            );
        }
        ensure!(server.seen().len() == 1, "{:?}", server.seen());
        ensure!(emitted(&stage).await? == 1, "something was emitted");

        replay(&stage, "sends", &["--effects"]).await?.ok()?;
        wait_echoes(&stage.jetstream, 2, 20).await?;
        ensure!(server.seen().len() == 2, "{:?}", server.seen());
        Ok(())
    })
}

#[test]
fn an_event_that_is_tried_again_or_mended_emits_nothing_either() -> Result<()> {
    const PLUGIN: &str = "fail-by-data";
    within(150, async {
        let attempts = |stage: &Stage, from: &str, to: &str| -> Result<()> {
            let path = stage.host.config_path();
            let config = std::fs::read_to_string(&path)?;
            ensure!(config.contains(from), "{from} is not in {config}");
            Ok(std::fs::write(path, config.replace(from, to))?)
        };
        let blocking = "[plugin.fail-by-data]\non_exhausted = \"block-key\"\nmax_attempts = 2\n";
        let mut stage = Stage::with(&["fail_by_data"], blocking).await?;
        let url = stage.broker.url();
        // Succeeds at its second attempt.
        publish(&stage.jetstream, &[failing("a", 0, 1)]).await?;
        wait_echoes(&stage.jetstream, 1, 20).await?;
        replay(&stage, PLUGIN, &[]).await?.ok()?;
        until("it to be done again", 20, async || {
            let done = stage.host.metrics().await?.outcomes(PLUGIN, "done")?;
            ensure!(done == 2.0, "{done} done");
            Ok(())
        })
        .await?;

        stage.host.stop().await?;
        attempts(&stage, "max_attempts = 2", "max_attempts = 1")?;
        stage.host.start().await?;
        replay(&stage, PLUGIN, &[]).await?.ok()?;
        let letter = letter_behind(&stage, 0).await?;
        letter.header("Sluice-Blocks")?;
        ensure!(letter.header("Sluice-Effects")? == "none", "{letter:?}");
        stage.host.stop().await?;
        attempts(&stage, "max_attempts = 1", "max_attempts = 2")?;
        stage.host.start().await?;
        dlq(&url, &["replay", &letter.sequence.to_string()])
            .await?
            .ok()?;
        until("the mended one to be done", 30, async || {
            let done = stage.host.metrics().await?.outcomes(PLUGIN, "done")?;
            ensure!(done == 1.0, "{done} done");
            let blocked = dlq(&url, &["blocked", "--json"]).await?.ok()?.json()?;
            ensure!(blocked.as_array().is_some_and(Vec::is_empty), "{blocked}");
            Ok(())
        })
        .await?;
        ensure!(emitted(&stage).await? == 1, "something was emitted again");
        Ok(())
    })
}

/// The guest fails this event until it is told that it is a replay.
#[test]
fn the_plug_in_is_told_that_it_is_a_replay() -> Result<()> {
    within(60, async {
        let stage = Stage::with(&["fail_by_data"], "").await?;
        publish(&stage.jetstream, &[told("a", 0, "replay")]).await?;
        wait_dead_letters(&stage.jetstream, 1, 20).await?;
        replay(&stage, "fail-by-data", &["--effects"]).await?.ok()?;
        let echoes = wait_echoes(&stage.jetstream, 1, 20).await?;
        ensure!(echoes.iter().all(|echo| echo.input == "a-0"), "{echoes:?}");
        Ok(())
    })
}

#[test]
fn a_host_goes_on_when_the_command_line_is_killed() -> Result<()> {
    within(180, async {
        // The broker forgets what it was sent before the host goes on.
        let short = |setup: Setup| setup.events("max_bytes = \"1GiB\"\ndedup_window = \"1s\"");
        let inputs = spread(400, 20);
        let stage = listed(&inputs, short).await?;
        let folder = tempfile::tempdir()?;
        let killed = replaying(&stage, "80", folder.path())?;
        newest_when(&stage, "to go on", 30, |replay| {
            is(replay, "running") && 60 < number(replay, "replayed")
        })
        .await?;
        killed.kill9();
        let done = newest_when(&stage, "to be done", 60, |replay| is(replay, "done")).await?;
        ensure!(text(&done, "/by").starts_with("host "), "{done}");
        ensure!(
            number(&done, "replayed") == 400 && number(&done, "gone") == 0,
            "{done}"
        );
        lists(&stage, &numbers([&inputs[..], &inputs[..]]), 20).await?;
        stage.host.settled(LISTS, 20).await?;
        lists(&stage, &numbers([&inputs[..], &inputs[..]]), 1).await
    })
}

#[test]
fn nothing_is_missing_or_twice_when_the_host_is_killed() -> Result<()> {
    within(180, async {
        let inputs = spread(400, 20);
        let mut stage = listed(&inputs, |setup| setup).await?;
        let ask = ["--rate", "80", "--no-wait", "--json"];
        let asked = replay(&stage, LISTS, &ask).await?.ok()?.json()?;
        ensure!(text(&asked, "/id").starts_with("history-"), "{asked}");
        newest_when(&stage, "to go on", 30, |replay| {
            60 < number(replay, "replayed")
        })
        .await?;
        stage.host.kill9();
        let left = newest(&stage).await?;
        ensure!(is(&left, "running"), "it was killed too late: {left}");
        stage.host.start().await?;
        let done = newest_when(&stage, "to be done", 90, |replay| is(replay, "done")).await?;
        ensure!(number(&done, "replayed") == 400, "{done}");
        lists(&stage, &numbers([&inputs[..], &inputs[..]]), 20).await?;
        stage.host.settled(LISTS, 20).await?;
        lists(&stage, &numbers([&inputs[..], &inputs[..]]), 1).await
    })
}

/// Waits until the host says so of its plug-in.
async fn paused(stage: &Stage, wanted: bool) -> Result<()> {
    let verb = if wanted { "pause" } else { "resume" };
    sluice_on(&stage.broker, &[verb, LISTS]).await?.ok()?;
    until(verb, 20, async || {
        let said = sluice_on(&stage.broker, &["plugins", "--json"])
            .await?
            .ok()?
            .json()?;
        let found = said.pointer("/0/plugins/0/paused").and_then(Value::as_bool);
        ensure!(found == Some(wanted), "{said}");
        Ok(())
    })
    .await
}

#[test]
fn who_would_not_handle_it_is_said_and_a_pause_is_waited_for() -> Result<()> {
    within(180, async {
        let inputs = spread(1_000, 20);
        let stage = listed(&inputs, |setup| setup).await?;
        replay(&stage, "nobody", &["--dry-run"])
            .await?
            .refused(1, &["no host runs nobody"])?;
        replay(&stage, LISTS, &["--from", "yesterday"])
            .await?
            .refused(2, &["--from"])?;
        paused(&stage, true).await?;
        replay(&stage, LISTS, &[])
            .await?
            .refused(1, &["is paused", "sluice resume record-order"])?;
        paused(&stage, false).await?;

        replay(&stage, LISTS, &["--no-wait"]).await?.ok()?;
        newest_when(&stage, "to go on", 30, |replay| {
            100 < number(replay, "replayed")
        })
        .await?;
        paused(&stage, true).await?;
        let waits = newest_when(&stage, "to wait", 30, |replay| {
            text(replay, "/history/waits").contains("is paused")
        })
        .await?;
        let unhandled = waits.pointer("/history/unhandled").and_then(Value::as_u64);
        let unhandled = unhandled.context("nothing is waited for")?;
        ensure!(0 < unhandled && unhandled <= 500, "{waits}");
        ensure!(is(&waits, "running"), "{waits}");
        ensure!(
            number(&waits, "replayed") < 1_000,
            "it did not wait: {waits}"
        );
        paused(&stage, false).await?;
        let done = newest_when(&stage, "to be done", 60, |replay| is(replay, "done")).await?;
        ensure!(number(&done, "replayed") == 1_000, "{done}");
        lists(&stage, &numbers([&inputs[..], &inputs[..]]), 20).await
    })
}

#[test]
fn the_last_tenth_of_the_event_store_is_left_to_what_comes_live() -> Result<()> {
    within(120, async {
        let inputs = spread(50, 10);
        let small = |setup: Setup| setup.events("max_bytes = \"1MiB\"");
        let stage = listed(&inputs, small).await?;
        // Nobody hears of these. What is left has room for all that is to be replayed.
        let mut n = 0;
        loop {
            let events = stage.jetstream.get_stream("EVENTS").await?;
            if 1_000_000 < events.cached_info().state.bytes {
                break;
            }
            let mut filler = Input::new(format!("f{n}"), "f", n).body(vec![b'x'; 4 << 10]);
            let subject = filler.message.subject.replace("record", "system");
            filler.message.subject = subject;
            publish(&stage.jetstream, &[filler]).await?;
            n += 1;
        }
        replay(&stage, LISTS, &["--no-wait"]).await?.ok()?;
        newest_when(&stage, "to wait", 30, |replay| {
            text(replay, "/history/waits").contains("nearly full")
        })
        .await?;
        ensure!(
            sent(&stage, LISTS).await?.is_empty(),
            "it took what was left"
        );
        let events = stage.jetstream.get_stream("EVENTS").await?;
        events.purge().filter("d365.*.*.system.>").await?;
        newest_when(&stage, "to be done", 60, |replay| is(replay, "done")).await?;
        lists(&stage, &numbers([&inputs[..], &inputs[..]]), 20).await
    })
}

#[test]
fn what_was_cancelled_is_not_given() -> Result<()> {
    within(120, async {
        let inputs = spread(300, 10);
        let stage = listed(&inputs, |setup| setup).await?;
        let url = stage.broker.url();
        replay(&stage, LISTS, &["--rate", "30", "--no-wait"])
            .await?
            .ok()?;
        let running = newest_when(&stage, "to go on", 30, |replay| {
            10 < number(replay, "replayed")
        });
        let id = text(&running.await?, "/id").to_owned();
        let said = dlq(&url, &["cancel", &id]).await?.ok()?;
        ensure!(said.stdout.contains("of 300 events"), "{}", said.stdout);
        dlq(&url, &["resume", &id])
            .await?
            .refused(1, &[&id, "ended"])?;

        let folder = tempfile::tempdir()?;
        let mut interrupted = replaying(&stage, "30", folder.path())?;
        newest_when(&stage, "to go on", 30, |replay| {
            text(replay, "/id") != id && 10 < number(replay, "replayed")
        })
        .await?;
        interrupted.interrupt()?;
        let status = interrupted.wait(20).await?;
        ensure!(status.code() == Some(1), "{status}");
        let all = dlq(&url, &["replays", "--json"]).await?.ok()?.json()?;
        let all = all.as_array().context("no replays")?;
        ensure!(
            all.len() == 2 && all.iter().all(|replay| is(replay, "cancelled")),
            "{all:?}"
        );
        let given = sent(&stage, LISTS).await?.len();
        tokio::time::sleep(Duration::from_secs(2)).await;
        ensure!(
            sent(&stage, LISTS).await?.len() == given,
            "it was not cancelled"
        );
        ensure!(given < 300, "{given} were given");
        let listed = dlq(&url, &["replays"]).await?.ok()?;
        ensure!(
            listed.stdout.contains("for record-order"),
            "{}",
            listed.stdout
        );
        Ok(())
    })
}

#[test]
fn what_comes_live_is_not_held_up() -> Result<()> {
    within(120, async {
        let broker = Broker::start().await?;
        let setup = Setup::new(broker.url()).guest("emit_one")?;
        let stage = Stage::of(broker, setup).await?;
        publish(&stage.jetstream, &spread(1_500, 20)).await?;
        wait_echoes(&stage.jetstream, 1_500, 60).await?;
        replay(&stage, "emit-one", &["--no-wait"]).await?.ok()?;
        newest_when(&stage, "to go on", 30, |replay| {
            50 < number(replay, "replayed")
        })
        .await?;
        let mut slowest = Duration::ZERO;
        for n in 0..20_u64 {
            let live = Input::new(format!("live-{n}"), format!("live-{n}"), 0);
            let began = Instant::now();
            publish(&stage.jetstream, &[live]).await?;
            let wanted = 1_501 + usize::try_from(n)?;
            until("the live one", 20, async || {
                let now = count(&stage.jetstream, "EVENTS", ECHOES).await?;
                ensure!(now == wanted, "{now} emitted");
                Ok(())
            })
            .await?;
            slowest = slowest.max(began.elapsed());
        }
        let replay = newest(&stage).await?;
        ensure!(is(&replay, "running"), "it came too late: {replay}");
        println!("the slowest live event took {slowest:?}");
        ensure!(slowest < Duration::from_secs(2), "{slowest:?}");
        let done = newest_when(&stage, "to be done", 60, |replay| is(replay, "done")).await?;
        ensure!(number(&done, "replayed") == 1_500, "{done}");
        ensure!(
            emitted(&stage).await? == 1_520,
            "something was emitted again"
        );
        Ok(())
    })
}

/// Seconds until as many live events more were handled.
async fn live(stage: &Stage, name: &str, count_of: u64) -> Result<f64> {
    let before = count(&stage.jetstream, "EVENTS", ECHOES).await?;
    let input = |n: u64| Input::new(format!("{name}-{n}"), format!("{name}-{}", n % 200), n);
    let inputs: Vec<Input> = (0..count_of).map(input).collect();
    let began = Instant::now();
    publish(&stage.jetstream, &inputs).await?;
    let wanted = before + inputs.len();
    until("the live ones", 120, async || {
        let now = count(&stage.jetstream, "EVENTS", ECHOES).await?;
        ensure!(now == wanted, "{now} emitted");
        Ok(())
    })
    .await?;
    Ok(began.elapsed().as_secs_f64())
}

/// `SLUICE_LONG=1`: the median of five pairs, one without a replay and one beside it.
#[test]
fn a_replay_costs_what_comes_live_a_tenth_at_the_most() -> Result<()> {
    if !environment::long() {
        return Ok(());
    }
    const HISTORY: u64 = 4_000;
    const LIVE: u64 = 5_000;
    within(600, async {
        let broker = Broker::start().await?;
        let setup = Setup::new(broker.url()).guest("emit_one")?;
        let stage = Stage::of(broker, setup).await?;
        publish(&stage.jetstream, &spread(HISTORY, 20)).await?;
        wait_echoes(&stage.jetstream, usize::try_from(HISTORY)?, 60).await?;
        let part = ["--to", "4000", "--no-wait"];
        let mut ratios = Vec::new();
        for round in 0..5 {
            let alone = live(&stage, &format!("alone-{round}"), LIVE).await?;
            replay(&stage, "emit-one", &part).await?.ok()?;
            let begun = newest_when(&stage, "to go on", 30, |replay| {
                50 < number(replay, "replayed")
            })
            .await?;
            let beside = live(&stage, &format!("beside-{round}"), LIVE).await?;
            let replay = newest(&stage).await?;
            let replayed = number(&replay, "replayed") - number(&begun, "replayed");
            ensure!(is(&replay, "running"), "it came too late: {replay}");
            newest_when(&stage, "to be done", 90, |replay| is(replay, "done")).await?;
            println!("{LIVE} live: {alone:.2} s alone, {beside:.2} s beside {replayed} replayed");
            ratios.push(beside / alone);
        }
        ratios.sort_by(f64::total_cmp);
        environment::write_figures("live_beside_a_replay", &json!({ "ratios": ratios }))?;
        ensure!(ratios[2] <= 1.1, "{ratios:?}");
        Ok(())
    })
}

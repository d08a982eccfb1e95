//! Promise: what was redacted is nowhere in the broker any more, its envelope is there once, and no
//! plug-in hears of it, whoever is killed on the way.

use std::collections::BTreeSet;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use sluicegate_tests::checks::Verdict;
use sluicegate_tests::component::{manifest, with_manifest};
use sluicegate_tests::events::{publish, publish_messages, series, spread};
use sluicegate_tests::guests::{failing, told};
use sluicegate_tests::outputs::{Stored, count, dead_letters, stored, wait_dead_letters};
use sluicegate_tests::outputs::{carried_over, echoes, wait_echoes};
use sluicegate_tests::process::command;
use sluicegate_tests::sluice::{Said, dlq, sluice_on};
use sluicegate_tests::{Broker, Input, Setup, Source, Stage, environment, until, within};

const WHY: &str = "asked by the person, § 17";
const MARKER: &str = "Ada-Lovelace-1815";
const FAILS_ONCE: &str = "[plugin.fail-by-data]\nmax_attempts = 1\n";
/// Where the guests' inputs are.
const INPUTS: &str = "d365.custom.test.record.>";

async fn redact(broker: &Broker, more: &[&str]) -> Result<Said> {
    let verb = ["events", "redact", "--why", WHY];
    sluice_on(broker, &[&verb, more].concat()).await
}

/// An event of Ada's with her name in its body, which plug-ins pass on.
fn of_ada(n: u64, what: &str) -> Input {
    let data = json!({ "do": what, "n": MARKER });
    Input::new(format!("ada-{n}"), "ada", n).body(data.to_string())
}

/// Where events stood that have envelopes on these subjects.
async fn envelopes(stage: &Stage, subject: &str) -> Result<Vec<Stored>> {
    let all = stored(&stage.jetstream, "EVENTS", subject).await?;
    Ok(all
        .into_iter()
        .filter(|message| message.headers.get("Sluice-Redacted").is_some())
        .collect())
}

fn originals(envelopes: &[Stored]) -> Result<Vec<u64>> {
    let original = |envelope: &Stored| Ok(envelope.header("Sluice-Redacted")?.parse()?);
    envelopes.iter().map(original).collect()
}

/// The host's plug-in is at rest, and the ledger says so.
async fn rested(stage: &Stage, plugin: &str, inputs: usize) -> Result<()> {
    until(&format!("{plugin} to be through"), 40, async || {
        let metrics = stage.host.metrics().await?;
        let done = metrics.outcomes(plugin, "done")?;
        let dead = metrics.outcomes(plugin, "dead")?;
        ensure!(done + dead >= inputs as f64, "{done} done, {dead} dead");
        Ok(())
    })
    .await?;
    stage.host.settled(plugin, 30).await
}

/// Two events of Ada's that a plug-in is through with, the second a dead letter, and where they
/// stand.
async fn one_done_one_dead() -> Result<(Stage, Vec<u64>)> {
    let stage = Stage::with(&["fail_by_data"], FAILS_ONCE).await?;
    let inputs = [told("ada", 0, "ok"), told("ada", 1, "reject")];
    let places = publish(&stage.jetstream, &inputs).await?;
    wait_dead_letters(&stage.jetstream, 1, 30).await?;
    rested(&stage, "fail-by-data", 2).await?;
    Ok((stage, places))
}

fn sequences(said: &Value) -> Vec<u64> {
    let events = said.get("events").and_then(Value::as_array);
    let events = events.map(Vec::as_slice).unwrap_or_default();
    let sequence = |event: &Value| event.get("sequence")?.as_u64();
    events.iter().filter_map(sequence).collect()
}

#[test]
fn the_bytes_are_nowhere_and_the_envelope_is_there_once() -> Result<()> {
    within(180, async {
        let mut stage = Stage::with(&["emit_one", "fail_by_data"], FAILS_ONCE).await?;
        let inputs: Vec<Input> = (0..8).map(|n| of_ada(n, "ok")).collect();
        let rejected = of_ada(8, "reject");
        let others = series("grace", 8);
        let sequences = publish(&stage.jetstream, &inputs).await?;
        publish(&stage.jetstream, std::slice::from_ref(&rejected)).await?;
        publish(&stage.jetstream, &others).await?;
        wait_dead_letters(&stage.jetstream, 1, 30).await?;
        rested(&stage, "emit-one", 17).await?;
        rested(&stage, "fail-by-data", 17).await?;
        carried_over(&stage.jetstream).await?;
        until("her name in the files", 20, async || {
            let files = stage.broker.files_with(MARKER.as_bytes())?;
            ensure!(files.len() >= 3, "{files:?}");
            Ok(())
        })
        .await?;
        let before = count(&stage.jetstream, "EVENTS", "d365.>").await?;

        let said = redact(&stage.broker, &["--key", "ada", "--yes", "--json"]).await?;
        let said = said.ok()?.json()?;
        // Nine inputs, and what two plug-ins have emitted of eight and one of the ninth.
        ensure!(self::sequences(&said).len() == 9 + 17, "{said}");
        ensure!(said.get("copies") == Some(&json!(17 + 1)), "{said}");
        let letters = said.get("dead_letters").and_then(Value::as_array);
        ensure!(letters.is_some_and(|letters| letters.len() == 1), "{said}");

        let found = envelopes(&stage, INPUTS).await?;
        ensure!(originals(&found)?.starts_with(&sequences), "{found:?}");
        ensure!(found.len() == 9, "{} envelopes", found.len());
        for (envelope, input) in found.iter().zip(inputs.iter().chain([&rejected])) {
            ensure!(envelope.body.is_empty(), "{envelope:?}");
            ensure!(envelope.attribute("id")? == input.id, "{envelope:?}");
            ensure!(envelope.subject == input.message.subject, "{envelope:?}");
            let why = envelope.header("Sluice-Redacted-Why")?;
            ensure!(why == WHY, "{envelope:?}");
            let (kept, came) = (
                envelope.original_headers(),
                sluicegate_tests::outputs::original_headers(&input.message.headers),
            );
            ensure!(kept == came, "{kept:?} instead of {came:?}");
        }
        let after = count(&stage.jetstream, "EVENTS", "d365.>").await?;
        ensure!(after == before, "{before} before, {after} after");
        ensure!(dead_letters(&stage.jetstream).await?.is_empty());

        // Again: nothing is left, and nothing is added.
        let said = redact(&stage.broker, &["--key", "ada", "--yes", "--json"]).await?;
        let said = said.ok()?.json()?;
        ensure!(self::sequences(&said).is_empty(), "{said}");
        ensure!(said.get("redacted_before") == Some(&json!(26)), "{said}");
        ensure!(count(&stage.jetstream, "EVENTS", "d365.>").await? == before);

        stage.host.stop().await?;
        stage.broker.stop().await?;
        let files = stage.broker.files_with(MARKER.as_bytes())?;
        ensure!(files.is_empty(), "her name is in {files:?}");
        let files = stage.broker.files_with(b"grace-3")?;
        ensure!(!files.is_empty(), "the others were to stay");

        // The broker itself is as well as it was.
        stage.broker.restart().await?;
        ensure!(count(&stage.jetstream, "EVENTS", "d365.>").await? == before);
        ensure!(dead_letters(&stage.jetstream).await?.is_empty());
        Ok(())
    })
}

#[test]
fn a_running_plug_in_hears_nothing_of_it() -> Result<()> {
    within(120, async {
        let mut stage = Stage::with(&["emit_one"], "").await?;
        let mut inputs = spread(60, 6);
        publish(&stage.jetstream, &inputs).await?;
        rested(&stage, "emit-one", inputs.len()).await?;
        let yes = ["--subject", INPUTS, "--key", "k1", "--yes"];
        redact(&stage.broker, &yes).await?.ok()?;
        ensure!(envelopes(&stage, INPUTS).await?.len() == 10);
        let more = series("later", 3);
        publish(&stage.jetstream, &more).await?;
        inputs.extend(more);
        rested(&stage, "emit-one", inputs.len()).await?;
        let metrics = stage.host.metrics().await?;
        let read = metrics.sum("sluicegate_deliveries_total", &[("plugin", "emit-one")])?;
        ensure!(read == inputs.len() as f64, "{read} deliveries");

        // Nor does it after a kill, when it reads some of them again.
        let yes = ["--subject", INPUTS, "--key", "k2", "--yes"];
        redact(&stage.broker, &yes).await?.ok()?;
        stage.host.kill9();
        stage.host.start().await?;
        let last = series("last", 3);
        publish(&stage.jetstream, &last).await?;
        inputs.extend(last);
        wait_echoes(&stage.jetstream, inputs.len(), 30).await?;
        let outputs = stage.last_echoes("emit-one").await?;
        Verdict::on(&inputs, &outputs).clean()?;
        ensure!(dead_letters(&stage.jetstream).await?.is_empty());
        Ok(())
    })
}

#[test]
fn what_a_plug_in_has_still_to_handle_is_not_redacted_unless_it_is_said() -> Result<()> {
    within(180, async {
        let mut stage = Stage::with(&["emit_one", "ok"], "").await?;
        // It has caught up, and is fed by the tail.
        let first = series("before", 5);
        publish(&stage.jetstream, &first).await?;
        rested(&stage, "emit-one", first.len()).await?;
        let pause = ["pause", "emit-one"];
        sluice_on(&stage.broker, &pause).await?.ok()?;
        stage.host.wait_log(&["paused"], 20).await?;
        // More than it holds while it is paused; Ada's come last.
        let mut inputs = spread(4_000, 40);
        let hers = series("ada", 40);
        for (place, input) in hers.iter().enumerate() {
            inputs.insert(3_200 + place * 20, input.clone());
        }
        publish(&stage.jetstream, &inputs).await?;
        rested(&stage, "ok", first.len() + inputs.len()).await?;
        let last = last_sequence(&stage).await?;

        let ask = ["--subject", INPUTS, "--key", "ada", "--yes"];
        let refused = redact(&stage.broker, &ask).await?;
        refused.refused(1, &["emit-one has 40 events", "--unread-too"])?;
        ensure!(last_sequence(&stage).await? == last, "something was stored");

        let ask = [&ask[..], &["--unread-too"]].concat();
        redact(&stage.broker, &ask).await?.ok()?;
        ensure!(envelopes(&stage, INPUTS).await?.len() == hers.len());
        let resume = ["resume", "emit-one"];
        sluice_on(&stage.broker, &resume).await?.ok()?;

        inputs.retain(|input| input.key != "ada");
        inputs.splice(0..0, first);
        rested(&stage, "emit-one", inputs.len()).await?;
        let outputs = stage.last_echoes("emit-one").await?;
        Verdict::on(&inputs, &outputs).clean()?;
        ensure!(dead_letters(&stage.jetstream).await?.is_empty());
        Ok(())
    })
}

#[test]
fn what_a_plug_in_leaves_out_by_its_type_counts_as_handled_soon() -> Result<()> {
    within(120, async {
        let broker = Broker::start().await?;
        let component = std::fs::read(environment::guest("ok")?)?;
        let subjects = "subjects = [";
        let types = format!("types = [\"d365.fno.*\"]\n{subjects}");
        let manifest = manifest(&component)?.replace(subjects, &types);
        let component = with_manifest(&component, &manifest)?;
        let setup = Setup::new(broker.url()).file("ok.wasm", component);
        let stage = Stage::of(broker, setup).await?;
        publish(&stage.jetstream, &series("ada", 3)).await?;
        until("the ledger to hear of it", 60, async || {
            let said = redact(&stage.broker, &["--key", "ada", "--yes"]).await?;
            ensure!(said.code == Some(0), "{}", said.stderr);
            Ok(())
        })
        .await?;
        ensure!(envelopes(&stage, INPUTS).await?.len() == 3);
        Ok(())
    })
}

async fn last_sequence(stage: &Stage) -> Result<u64> {
    let mut events = stage.jetstream.get_stream("EVENTS").await?;
    Ok(events.info().await?.state.last_sequence)
}

#[test]
fn a_plug_in_that_was_away_passes_the_hole_at_the_stores_beginning() -> Result<()> {
    within(120, async {
        let mut stage = Stage::with(&["emit_one"], "").await?;
        stage.host.stop().await?;
        let hers = series("ada", 10);
        let (early, late) = hers.split_at(5);
        let others = spread(30, 3);
        publish(&stage.jetstream, early).await?;
        publish(&stage.jetstream, &others).await?;
        publish(&stage.jetstream, late).await?;
        let ask = ["--key", "ada", "--yes"];
        let refused = redact(&stage.broker, &ask).await?;
        refused.refused(1, &["no host runs", "--unread-too"])?;
        let ask = [&ask[..], &["--unread-too"]].concat();
        redact(&stage.broker, &ask).await?.ok()?;
        let mut events = stage.jetstream.get_stream("EVENTS").await?;
        let first = events.info().await?.state.first_sequence;
        ensure!(first == 6, "the store begins with {first}");

        stage.host.start().await?;
        rested(&stage, "emit-one", others.len()).await?;
        let outputs = stage.last_echoes("emit-one").await?;
        Verdict::on(&others, &outputs).clean()?;
        let letters = dead_letters(&stage.jetstream).await?;
        ensure!(letters.is_empty(), "{letters:?}");
        let log = stage.host.log()?;
        ensure!(!log.contains("left the store"), "{log}");
        Ok(())
    })
}

#[test]
fn an_event_that_waits_for_its_next_attempt_is_passed_over() -> Result<()> {
    waits_and_is_passed_over(false)
}

#[test]
fn so_it_is_by_the_next_process() -> Result<()> {
    waits_and_is_passed_over(true)
}

fn waits_and_is_passed_over(is_killed: bool) -> Result<()> {
    within(150, async {
        let slow = "[plugin.fail-by-data]\nmax_attempts = 50\ninitial = \"20s\"\nmax = \"20s\"\n";
        let mut stage = Stage::with(&["fail_by_data"], slow).await?;
        let mut inputs = vec![failing("ada", 0, 40), failing("grace", 0, 1)];
        inputs.push(told("grace", 1, "ok"));
        publish(&stage.jetstream, &inputs).await?;
        let waiting = "ledger.fail-by-data.0.retry.*";
        until("both to be written down", 20, async || {
            let found = count(&stage.jetstream, "LEDGER", waiting).await?;
            ensure!(found == 2, "{found}");
            Ok(())
        })
        .await?;
        let ask = ["--subject", INPUTS, "--key", "ada", "--yes"];
        let refused = redact(&stage.broker, &ask).await?;
        refused.refused(1, &["fail-by-data has 1 event still to handle"])?;
        let ask = [&ask[..], &["--unread-too"]].concat();
        if is_killed {
            stage.host.kill9();
        }
        redact(&stage.broker, &ask).await?.ok()?;
        if is_killed {
            stage.host.start().await?;
        }
        stage.host.wait_log(&["was redacted"], 60).await?;
        let left: Vec<Input> = inputs.split_off(1);
        wait_echoes(&stage.jetstream, left.len(), 60).await?;
        let outputs = stage.last_echoes("fail-by-data").await?;
        Verdict::on(&left, &outputs).clean()?;
        ensure!(dead_letters(&stage.jetstream).await?.is_empty());
        until("its record to go", 20, async || {
            let found = count(&stage.jetstream, "LEDGER", waiting).await?;
            ensure!(found == 0, "{found}");
            Ok(())
        })
        .await
    })
}

#[test]
fn whoever_is_killed_on_the_way_it_is_done_once() -> Result<()> {
    within(240, async {
        let stage = Stage::with(&["ok"], "").await?;
        let inputs = series("ada", 600);
        let places = publish(&stage.jetstream, &inputs).await?;
        rested(&stage, "ok", inputs.len()).await?;
        let last = *places.last().context("no input")?;
        for round in 1..=5 {
            let mut child = tokio::process::Command::from(command(&environment::sluice()?));
            child
                .args([
                    "events", "redact", "--why", "asked", "--key", "ada", "--yes",
                ])
                .args(["--nats", &stage.broker.url()])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .kill_on_drop(true);
            let mut child = child.spawn()?;
            let enough = last + round * 60;
            until("some envelopes", 30, async || {
                let found = last_sequence(&stage).await?;
                ensure!(enough <= found, "{found} of {enough}");
                Ok(())
            })
            .await?;
            child.kill().await?;
            let found = last_sequence(&stage).await?;
            ensure!(found < last + 600, "it was done before it was killed");
        }
        let said = redact(&stage.broker, &["--key", "ada", "--yes", "--json"]).await?;
        said.ok()?;
        let found = originals(&envelopes(&stage, INPUTS).await?)?;
        ensure!(found == places, "{} envelopes", found.len());
        let left = count(&stage.jetstream, "EVENTS", INPUTS).await?;
        ensure!(left == places.len(), "{left} messages");
        ensure!(dead_letters(&stage.jetstream).await?.is_empty());
        Ok(())
    })
}

#[test]
fn an_envelope_that_is_there_is_not_stored_again_however_late() -> Result<()> {
    within(90, async {
        let stage = Stage::with(&["ok"], "").await?;
        let inputs = series("ada", 2);
        let places = publish(&stage.jetstream, &inputs).await?;
        rested(&stage, "ok", inputs.len()).await?;
        // As a process leaves it that was killed between the two, longer ago than the broker
        // remembers message ids.
        let mut envelope = inputs.first().context("no input")?.message.clone();
        let first = *places.first().context("no place")?;
        envelope
            .headers
            .insert("Sluice-Redacted", first.to_string());
        envelope.body = "".into();
        let place = publish_messages(&stage.jetstream, &[envelope]).await?;
        let said = redact(&stage.broker, &["--key", "ada", "--yes", "--json"]).await?;
        let said = said.ok()?.json()?;
        ensure!(sequences(&said) == places, "{said}");
        let known = said.pointer("/events/0/envelope").and_then(Value::as_u64);
        ensure!(known == place.first().copied(), "{said}");
        let found = envelopes(&stage, INPUTS).await?;
        ensure!(originals(&found)? == places, "{found:?}");
        Ok(())
    })
}

#[test]
fn an_envelope_from_another_store_is_handled_by_nobody_and_stands_for_nothing_here() -> Result<()> {
    within(120, async {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("events.ndjson");
        let file = file.to_str().context("a path that is no text")?;
        let there = Stage::with(&["ok"], "").await?;
        let places = publish(&there.jetstream, &series("ada", 1)).await?;
        rested(&there, "ok", 1).await?;
        redact(&there.broker, &["--key", "ada", "--yes"])
            .await?
            .ok()?;
        let export = ["events", "export", file, "--key", "ada"];
        sluice_on(&there.broker, &export).await?.ok()?;

        let here = Stage::with(&["ok"], "").await?;
        let own = Input::new("another", "ada", 0);
        ensure!(publish(&here.jetstream, &[own]).await? == places);
        sluice_on(&here.broker, &["events", "import", file])
            .await?
            .ok()?;
        publish(&here.jetstream, &[Input::new("later", "ada", 1)]).await?;
        rested(&here, "ok", 2).await?;
        let done = here.host.metrics().await?.outcomes("ok", "done")?;
        ensure!(done == 2.0, "{done} events were handled");
        let imported = envelopes(&here, INPUTS).await?;
        ensure!(originals(&imported)? == places, "{imported:?}");

        let said = redact(&here.broker, &["--id", "another", "--yes", "--json"]).await?;
        let said = said.ok()?.json()?;
        ensure!(sequences(&said) == places, "{said}");
        let said = redact(&here.broker, &["--key", "ada", "--yes", "--json"]).await?;
        said.ok()?;
        let found = envelopes(&here, INPUTS).await?;
        let ids: Result<Vec<String>> = found.iter().map(|found| found.attribute("id")).collect();
        ensure!(ids? == ["ada-0", "another", "later"], "{found:?}");
        Ok(())
    })
}

#[test]
fn it_stands_in_the_audit_and_in_every_history() -> Result<()> {
    within(120, async {
        let (stage, places) = one_done_one_dead().await?;
        let [first, second] = places.as_slice() else {
            bail!("{places:?}");
        };
        let ask = ["--subject", INPUTS, "--key", "ada"];
        let refused = redact(&stage.broker, &ask).await?;
        refused.refused(1, &["--yes"])?;
        let ask = [&ask[..], &["--yes"]].concat();
        let said = redact(&stage.broker, &ask).await?.ok()?;
        ensure!(said.stdout.contains("not reached"), "{}", said.stdout);

        let audit = sluice_on(&stage.broker, &["audit", "--json"]).await?.ok()?;
        let deeds: Vec<Value> = audit.json_lines()?;
        let deed = |member: &str, value: Value| {
            deeds.iter().any(|deed| {
                deed.get("action") == Some(&json!("redact"))
                    && deed.pointer("/detail/why") == Some(&json!(WHY))
                    && deed.pointer(member) == Some(&value)
            })
        };
        ensure!(deed("/detail/events", json!(places)), "{deeds:?}");
        ensure!(deed("/detail/dead_letters", json!([1])), "{deeds:?}");

        let envelopes = envelopes(&stage, INPUTS).await?;
        let place = envelopes.first().context("no envelope")?.sequence;
        let (number, place) = (first.to_string(), place.to_string());
        let shown = sluice_on(&stage.broker, &["events", "show", &number]).await?;
        let shown = shown.ok()?;
        for part in ["was redacted by", WHY, &place] {
            ensure!(shown.stderr.contains(part), "{part}: {}", shown.stderr);
        }
        ensure!(shown.stdout.contains("id: ada-0"), "{}", shown.stdout);
        ensure!(
            shown.stdout.contains(&format!("original: {number}")),
            "{}",
            shown.stdout
        );
        let data = ["events", "show", &number, "--data"];
        let refused = sluice_on(&stage.broker, &data).await?;
        refused.refused(1, &["was redacted by", "no data"])?;
        let by_id = sluice_on(&stage.broker, &["events", "show", "ada-0", "--json"]).await?;
        let by_id = by_id.ok()?.json()?;
        ensure!(
            by_id.pointer("/redacted/sequence") == Some(&json!(first)),
            "{by_id}"
        );

        let find = ["events", "find", "--key", "ada", "--json"];
        let rows = sluice_on(&stage.broker, &find).await?.ok()?.json_lines()?;
        let was = |row: &Value| row.pointer("/redacted/sequence").and_then(Value::as_u64);
        let found: BTreeSet<u64> = rows.iter().filter_map(was).collect();
        ensure!(found == BTreeSet::from([*first, *second]), "{rows:?}");
        let tail = ["events", "tail", "--subject", INPUTS];
        let tail = sluice_on(&stage.broker, &tail).await?.ok()?;
        let line = format!("redacted, was {number}");
        ensure!(tail.stdout.contains(&line), "{}", tail.stdout);

        // What plug-ins did with it is told as before.
        let story = ["events", "show", &number, "--story", "--json"];
        let told = until("the attempts", 20, async || {
            let told = sluice_on(&stage.broker, &story).await?.ok()?.json()?;
            let ended = told.pointer("/attempts/0/ended").and_then(Value::as_str);
            ensure!(ended == Some("done"), "{told}");
            Ok(told)
        })
        .await?;
        ensure!(
            told.pointer("/emitted/0/sequence")
                .is_some_and(Value::is_u64),
            "{told}"
        );
        let (status, page) = stage.host.admin(&format!("/events/{number}")).await?;
        ensure!(status == 200, "{status}: {page}");
        for part in ["Its data was redacted", WHY, "ada-0"] {
            ensure!(page.contains(part), "{part} is not on the page: {page}");
        }
        let (_, page) = stage.host.admin("/events?key=ada").await?;
        ensure!(page.contains(">redacted<"), "{page}");
        Ok(())
    })
}

#[test]
fn a_dry_run_changes_nothing_and_what_is_not_there_is_said() -> Result<()> {
    within(120, async {
        let (stage, places) = one_done_one_dead().await?;
        carried_over(&stage.jetstream).await?;
        let before = standing(&stage).await?;
        let dry = ["--subject", INPUTS, "--key", "ada", "--dry-run"];
        let said = redact(&stage.broker, &dry).await?.ok()?;
        for part in ["ada-0", "ada-1", "dead letter 1", "2 events and 1 dead"] {
            ensure!(said.stdout.contains(part), "{part}: {}", said.stdout);
        }
        let said = redact(&stage.broker, &[&dry[..], &["--json"]].concat()).await?;
        ensure!(sequences(&said.ok()?.json()?) == places);
        let nothing = ["--key", "nobody", "--yes"];
        let refused = redact(&stage.broker, &nothing).await?;
        refused.refused(1, &["no event and no dead letter", "events find"])?;
        let refused = redact(&stage.broker, &["--yes"]).await?;
        refused.refused(2, &["--key"])?;
        let refused = sluice_on(&stage.broker, &["events", "redact", "--key", "a"]).await?;
        refused.refused(2, &["--why"])?;
        let after = standing(&stage).await?;
        ensure!(before == after, "{before:?} {after:?}");
        Ok(())
    })
}

/// Last sequence and number of messages of each stream that a redaction changes.
async fn standing(stage: &Stage) -> Result<Vec<(u64, u64)>> {
    let mut standing = Vec::new();
    for name in ["EVENTS", "DEADLETTER", "AUDIT"] {
        let mut stream = stage.jetstream.get_stream(name).await?;
        let state = &stream.info().await?.state;
        standing.push((state.last_sequence, state.messages));
    }
    Ok(standing)
}

#[test]
fn a_body_of_the_object_store_goes_unless_another_event_has_it() -> Result<()> {
    within(120, async {
        let broker = Broker::start_with("max_payload: 65536").await?;
        let source = Source::new("cloudevents", "lab");
        let component = std::fs::read(environment::guest("ok")?)?;
        let manifest = manifest(&component)?.replace(
            "\"d365.custom.test.record.*.*\"",
            "\"d365.custom.lab.custom.*.raised\"",
        );
        let component = with_manifest(&component, &manifest)?;
        let setup = Setup::new(broker.url()).file("ok.wasm", component);
        let mut stage = Stage::of(broker, setup.source(&source)).await?;
        let big = |id: &str, key: &str, text: &str| {
            let data = json!({ "n": 1, "text": text.repeat(20_000) });
            let event = json!({
                "specversion": "1.0", "id": id, "source": "/shop", "type": "order",
                "partitionkey": key, "data": data,
            });
            source.post("application/cloudevents+json", event.to_string())
        };
        let hers = stage.taken(&big("1", "ada", MARKER)).await?;
        ensure!(hers.body.is_empty(), "{} bytes", hers.body.len());
        stage.taken(&big("2", "ada", "shared by two")).await?;
        stage.taken(&big("3", "grace", "shared by two")).await?;
        rested(&stage, "ok", 3).await?;
        ensure!(!stage.broker.files_with(MARKER.as_bytes())?.is_empty());
        let said = redact(&stage.broker, &["--key", "ada", "--yes", "--json"]).await?;
        let said = said.ok()?.json()?;
        ensure!(said.get("bodies") == Some(&json!(1)), "{said}");
        let shared = said.get("bodies_shared").and_then(Value::as_array);
        ensure!(shared.is_some_and(|shared| shared.len() == 1), "{said}");
        let shown = sluice_on(&stage.broker, &["events", "show", "1"])
            .await?
            .ok()?;
        ensure!(!shown.stdout.contains("dataref"), "{}", shown.stdout);
        let kept = sluice_on(&stage.broker, &["events", "show", "3", "--data"]).await?;
        ensure!(kept.ok()?.stdout.contains("shared by two"));
        // The last one that has it takes it along.
        let said = redact(&stage.broker, &["--key", "grace", "--yes", "--json"]).await?;
        let said = said.ok()?.json()?;
        ensure!(said.get("bodies") == Some(&json!(1)), "{said}");
        stage.host.stop().await?;
        stage.broker.stop().await?;
        for text in [MARKER, "shared by two"] {
            let files = stage.broker.files_with(text.as_bytes())?;
            ensure!(files.is_empty(), "{text} is in {files:?}");
        }
        Ok(())
    })
}

#[test]
fn what_was_sent_again_is_redacted_with_it_and_a_blocked_key_goes_on() -> Result<()> {
    within(150, async {
        let blocking = "[plugin.fail-by-data]\non_exhausted = \"block-key\"\nmax_attempts = 1\n";
        let mut stage = Stage::with(&["fail_by_data"], blocking).await?;
        let url = stage.broker.url();
        let mended = told("ada", 0, "replay");
        publish(&stage.jetstream, std::slice::from_ref(&mended)).await?;
        wait_dead_letters(&stage.jetstream, 1, 30).await?;
        dlq(&url, &["replay", "1"]).await?.ok()?;
        wait_echoes(&stage.jetstream, 1, 30).await?;
        let stuck = told("ada", 1, "replay");
        let behind = told("ada", 2, "ok");
        publish(&stage.jetstream, &[stuck, behind.clone()]).await?;
        wait_dead_letters(&stage.jetstream, 1, 30).await?;
        let letter = dead_letters(&stage.jetstream).await?;
        let letter = letter.first().context("no letter")?.attribute("id")?;
        ensure!(letter == "ada-1", "{letter}");

        let ask = ["--id", "ada-1", "--yes"];
        let refused = redact(&stage.broker, &ask).await?;
        refused.refused(1, &["fail-by-data has 1 event", "dlq blocked"])?;
        let ask = [&ask[..], &["--unread-too"]].concat();
        redact(&stage.broker, &ask).await?.ok()?;
        wait_echoes(&stage.jetstream, 2, 30).await?;
        rested(&stage, "fail-by-data", 2).await?;
        ensure!(dead_letters(&stage.jetstream).await?.is_empty());

        // Both places of the one that was mended.
        let said = redact(&stage.broker, &["--id", "ada-0", "--yes", "--json"]).await?;
        let said = said.ok()?.json()?;
        ensure!(sequences(&said).len() == 2, "{said}");
        let again = envelopes(&stage, "d365.replay.>").await?;
        ensure!(again.len() == 1, "{again:?}");
        let story = ["events", "show", "1", "--story", "--json"];
        let told = sluice_on(&stage.broker, &story).await?.ok()?.json()?;
        ensure!(
            told.pointer("/again/0/redacted").is_some(),
            "it was sent again: {told}"
        );
        stage.host.stop().await?;
        carried_over(&stage.jetstream).await?;
        let outputs = echoes(&stage.jetstream).await?;
        Verdict::on(&[mended, behind], &outputs).clean()
    })
}

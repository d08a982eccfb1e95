//! Promise: a build can be tried on what has happened: what it does otherwise than is recorded is
//! shown, all of it and nothing else, and nothing that it does leaves.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sluicegate_tests::component::with_words;
use sluicegate_tests::events::{publish, series, spread};
use sluicegate_tests::outputs::{ECHOES, Stored, count, stored, wait_dead_letters};
use sluicegate_tests::process::{Process, command};
use sluicegate_tests::sluice::{Said, sluice_on};
use sluicegate_tests::{Broker, Input, Setup, Stage, environment, until, within};
use tempfile::TempDir;

/// A broker, a host with an example plug-in, and a folder for shadows.
struct Scene {
    stage: Stage,
    folder: TempDir,
}

impl Scene {
    async fn of(stage: Stage) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        Ok(Self { stage, folder })
    }

    /// With this example plug-in.
    async fn with_plugin(name: &str) -> Result<Self> {
        let broker = Broker::start().await?;
        let component = std::fs::read(environment::plugin(name)?)?;
        let setup = Setup::new(broker.url())
            .events("max_bytes = \"8GiB\"")
            .file(&format!("{name}.wasm"), component);
        Self::of(Stage::of(broker, setup).await?).await
    }

    async fn with_guests(guests: &[&str]) -> Result<Self> {
        Self::of(Stage::with(guests, "").await?).await
    }

    /// Waits until the store has so many events on a subject: what is there was committed before,
    /// which cannot be said of what a host counts.
    async fn emitted(&self, subject: &str, wanted: usize) -> Result<()> {
        until("the outputs to be in the store", 120, async || {
            let found = count(&self.stage.jetstream, "EVENTS", subject).await?;
            ensure!(found == wanted, "{found} of {wanted}");
            Ok(())
        })
        .await
    }

    fn folder(&self) -> String {
        self.folder.path().to_string_lossy().into_owned()
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).to_string_lossy().into_owned()
    }

    async fn replay(&self, plugin: &str, component: &Path, more: &[&str]) -> Result<Said> {
        let folder = self.folder();
        let component = component.to_string_lossy();
        let arguments = [
            &["replay", "--plugin", plugin, "--json", "--folder", &folder][..],
            &["--component", &component],
            more,
        ];
        sluice_on(&self.stage.broker, &arguments.concat()).await
    }

    /// What it says of a replay that has ended, whatever was found.
    async fn found(&self, plugin: &str, component: &Path, more: &[&str]) -> Result<Found> {
        let said = self.replay(plugin, component, more).await?;
        let table = said.json().with_context(|| said.stderr.clone())?;
        ensure!(member(&table, "ended")? == true, "{table}");
        let found = Found { table };
        let expected = if found.different()? == 0 { 0 } else { 1 };
        ensure!(said.code == Some(expected), "{said:?}");
        Ok(found)
    }
}

/// The closing table.
struct Found {
    table: Value,
}

impl Found {
    fn number(&self, name: &str) -> Result<u64> {
        let number = member(&self.table, name)?.as_u64();
        number.with_context(|| format!("{name} is no number: {}", self.table))
    }

    /// How many events were otherwise.
    fn different(&self) -> Result<u64> {
        let kinds = member(&self.table, "different")?.as_object();
        let kinds = kinds.context("no kinds")?;
        Ok(kinds.values().filter_map(Value::as_u64).sum())
    }
}

fn member<'a>(table: &'a Value, name: &str) -> Result<&'a Value> {
    table
        .get(name)
        .with_context(|| format!("no {name} in {table}"))
}

/// The differences in a file, by the place of the event: the kind of each.
fn kinds(file: &str) -> Result<BTreeMap<u64, String>> {
    let mut kinds = BTreeMap::new();
    for line in std::fs::read_to_string(file)?.lines() {
        let difference: Value = serde_json::from_str(line)?;
        let sequence = member(&difference, "sequence")?.as_u64();
        let kind = member(&difference, "kind")?.as_str().context("no kind")?;
        kinds.insert(sequence.context("no sequence")?, kind.to_owned());
    }
    Ok(kinds)
}

/// So many events at once: a command may take a minute.
const AT_ONCE: u32 = 20_000;

async fn simulate(stage: &Stage, events: u32) -> Result<()> {
    let seed = environment::seed()?;
    for part in 0..events.div_ceil(AT_ONCE) {
        let events = (events - part * AT_ONCE).min(AT_ONCE).to_string();
        let seed = seed.wrapping_add(part.into()).to_string();
        let arguments = [
            "simulate",
            "--environment",
            "contoso",
            "--kind",
            "dataverse",
            "--rate",
            "0",
            "--count",
            &events,
            "--seed",
            &seed,
            "--start",
            "2025-11-30T00:00:00Z",
        ];
        sluice_on(&stage.broker, &arguments).await?.ok()?;
    }
    Ok(())
}

/// What happened to accounts: all that the plug-in hears.
async fn accounts(stage: &Stage) -> Result<Vec<Stored>> {
    let subject = "d365.dataverse.contoso.record.account.*.*";
    stored(&stage.jetstream, "EVENTS", subject).await
}

/// The credit limit that a create or an update of an account brings, and which account; none of
/// other events. A limit that was taken away is less than any.
fn credit_limit(event: &Stored) -> Option<(String, f64)> {
    let subject = &event.subject;
    let is_its = [".account.create.", ".account.update."];
    is_its.iter().find(|one| subject.contains(**one))?;
    let body: Value = serde_json::from_slice(&event.body).ok()?;
    let parameters = body.get("InputParameters")?.as_array()?;
    let target = parameters.iter().find(|one| one["key"] == "Target")?;
    let columns = target.pointer("/value/Attributes")?.as_array()?;
    let column = columns.iter().find(|one| one["key"] == "creditlimit")?;
    let value = column.get("value")?;
    let amount = match value.pointer("/Value") {
        Some(amount) => amount.to_string().parse().ok()?,
        None => f64::NEG_INFINITY,
    };
    let id = event.header("ce-subject").ok()?.to_owned();
    Some((id, amount))
}

/// What a plug-in that holds accounts above `limit` announces, by the place of the event.
fn announced(events: &[Stored], limit: f64) -> BTreeMap<u64, bool> {
    let (mut held, mut announced) = (BTreeMap::new(), BTreeMap::new());
    let mut seen = std::collections::BTreeSet::new();
    for event in events {
        let Some((account, amount)) = credit_limit(event) else {
            continue;
        };
        if !seen.insert(event.header("ce-id").unwrap_or_default().to_owned()) {
            continue;
        }
        let is_held: &mut bool = held.entry(account).or_default();
        if *is_held != (limit < amount) {
            *is_held = limit < amount;
            announced.insert(event.sequence, *is_held);
        }
    }
    announced
}

/// What is to be found of a build with another limit.
fn expected(events: &[Stored], before: f64, after: f64) -> BTreeMap<u64, String> {
    let (before, after) = (announced(events, before), announced(events, after));
    let places = before.keys().chain(after.keys());
    let kind = |place: &u64| match (before.get(place), after.get(place)) {
        // The limit is in the event's id and in its body.
        (Some(_), Some(_)) => "changed",
        (Some(_), None) => "emitted-then",
        _ => "emitted-now",
    };
    places
        .map(|place| (*place, kind(place).to_owned()))
        .collect()
}

#[test]
fn a_build_with_another_limit_differs_with_the_events_that_it_changes_and_no_other() -> Result<()> {
    let events = if environment::long() { 150_000 } else { 6_000 };
    within(1_500, async {
        let scene = Scene::with_plugin("credit-hold").await?;
        let plugin = environment::plugin("credit-hold")?;
        simulate(&scene.stage, events).await?;
        scene.stage.host.settled("credit-hold", 600).await?;
        // The host's word is ahead of the broker's, which carries outputs over.
        let inputs = accounts(&scene.stage).await?;
        let should = announced(&inputs, 50_000.0).len();
        let outputs = "d365.custom.contoso.business.credit-hold.*.*";
        scene.emitted(outputs, should).await?;
        let before = count(&scene.stage.jetstream, "EVENTS", "d365.>").await?;

        let same = until("all to be committed", 120, async || {
            let anew = ["--into", "same", "--anew"];
            let same = scene.found("credit-hold", &plugin, &anew).await?;
            ensure!(same.number("unhandled")? == 0, "{}", same.table);
            Ok(same)
        })
        .await?;
        ensure!(same.different()? == 0, "{}", same.table);
        ensure!(
            same.number("events")? == same.number("same")?,
            "{}",
            same.table
        );
        ensure!(
            same.number("recorded")? == should as u64 && 20 < should,
            "{}",
            same.table
        );

        let expected = expected(&inputs, 50_000.0, 75_000.0);
        let file = scene.file("differences.ndjson");
        let other = [
            "--set",
            "limit=75000",
            "--into",
            "other",
            "--differences",
            &file,
        ];
        let found = scene.found("credit-hold", &plugin, &other).await?;
        let kinds = kinds(&file)?;
        for kind in ["changed", "emitted-then"] {
            let count = kinds.values().filter(|one| *one == kind).count();
            ensure!(5 < count, "only {count} {kind}: the test says little");
        }
        ensure!(found.different()? == kinds.len() as u64, "{}", found.table);
        ensure!(kinds == expected, "{kinds:?}\n{expected:?}");

        // Where limit and id do not count, only what is held and lifted is left.
        let ignored = ["--ignore", "/event/data/limit", "--ignore", "/event/id"];
        let words = [
            &other[..2],
            &ignored,
            &["--into", "less"],
            &["--differences", &file],
        ];
        scene.found("credit-hold", &plugin, &words.concat()).await?;
        let mut expected = expected;
        expected.retain(|_, kind| kind != "changed");
        ensure!(self::kinds(&file)? == expected, "ignored places count");

        // Nothing of all this has left.
        let after = count(&scene.stage.jetstream, "EVENTS", "d365.>").await?;
        ensure!(before == after, "{after} events instead of {before}");
        Ok(())
    })
}

#[test]
fn a_replay_that_was_killed_goes_on_and_finds_the_same() -> Result<()> {
    within(120, async {
        let scene = Scene::with_guests(&["record_order"]).await?;
        publish(&scene.stage.jetstream, &spread(3_000, 50)).await?;
        scene.emitted(ECHOES, 3_000).await?;
        let guest = environment::guest("record_order")?;
        let whole = scene
            .found("record-order", &guest, &["--into", "whole"])
            .await?;
        ensure!(whole.different()? == 0, "{}", whole.table);
        ensure!(whole.number("events")? == 3_000, "{}", whole.table);

        // The list of a key grows with each event: one that was handled twice, or whose state
        // was lost, would make every later one differ.
        let folder = scene.folder();
        let url = scene.stage.broker.url();
        for kill in 0..3 {
            let mut run = command(&environment::sluice()?);
            run.args([
                "replay",
                "--plugin",
                "record-order",
                "--into",
                "killed",
                "--rate",
                "2000",
            ]);
            run.args(["--folder", &folder, "--nats", &url, "--component"])
                .arg(&guest);
            let log = scene.folder.path().join(format!("killed-{kill}.log"));
            let run = Process::start("sluice replay", run, &log)?;
            tokio::time::sleep(Duration::from_millis(500 + 150 * kill)).await;
            run.kill9();
        }
        let killed = scene
            .found("record-order", &guest, &["--into", "killed"])
            .await?;
        ensure!(killed.number("events")? == 3_000, "{}", killed.table);
        ensure!(killed.different()? == 0, "{}", killed.table);
        // What has ended reports again.
        let again = scene
            .found("record-order", &guest, &["--into", "killed"])
            .await?;
        ensure!(
            again.table == killed.table,
            "{}\n{}",
            again.table,
            killed.table
        );
        Ok(())
    })
}

#[test]
fn how_an_event_ends_counts_and_attempts_do_not() -> Result<()> {
    within(120, async {
        let scene = Scene::with_guests(&["mendable", "retry_twice"]).await?;
        publish(&scene.stage.jetstream, &series("k", 5)).await?;
        wait_dead_letters(&scene.stage.jetstream, 5, 30).await?;
        scene.emitted(ECHOES, 5).await?;
        let guest = environment::guest("mendable")?;
        let same = scene.found("mendable", &guest, &["--into", "same"]).await?;
        ensure!(same.number("same")? == 5, "{}", same.table);
        let mended = ["--into", "mended", "--set", "mended=yes"];
        let mended = scene.found("mendable", &guest, &mended).await?;
        ensure!(mended.different()? == 5, "{}", mended.table);
        for difference in member(&mended.table, "differences")?
            .as_array()
            .context("no list")?
        {
            for (name, value) in [("then", "rejected"), ("now", "done"), ("kind", "outcome")] {
                ensure!(member(difference, name)? == value, "{difference}");
            }
        }
        let guest = environment::guest("retry_twice")?;
        let retried = scene
            .found("retry-twice", &guest, &["--into", "retried"])
            .await?;
        ensure!(retried.number("same")? == 5, "{}", retried.table);
        Ok(())
    })
}

#[test]
fn an_event_that_came_twice_is_handled_once() -> Result<()> {
    within(120, async {
        let scene = Scene::with_guests(&["record_order"]).await?;
        let inputs = series("k", 5);
        publish(&scene.stage.jetstream, &inputs).await?;
        publish(&scene.stage.jetstream, &inputs).await?;
        scene.emitted(ECHOES, 5).await?;
        let guest = environment::guest("record_order")?;
        until("the duplicates to be passed over", 30, async || {
            let anew = ["--into", "x", "--anew"];
            let found = scene.found("record-order", &guest, &anew).await?;
            ensure!(found.different()? == 0, "{}", found.table);
            ensure!(found.number("duplicates")? == 5, "{}", found.table);
            Ok(())
        })
        .await
    })
}

#[test]
fn partitions_do_not_share_their_state_in_a_shadow_either() -> Result<()> {
    within(120, async {
        // It counts all that a partition has handled, and emits that.
        let component = std::fs::read(environment::guest("keep_last")?)?;
        let delivery = "[delivery]\npartitions = 4\nordering = \"strict\"\n\n[retry]";
        let component = with_words(&component, &[("[retry]", delivery)])?;
        let broker = Broker::start().await?;
        let setup = Setup::new(broker.url()).file("guest.wasm", component.clone());
        let scene = Scene::of(Stage::of(broker, setup).await?).await?;
        let file = scene.file("guest.wasm");
        std::fs::write(&file, component)?;
        publish(&scene.stage.jetstream, &spread(200, 20)).await?;
        scene.emitted(ECHOES, 200).await?;
        let found = scene
            .found("keep-last", Path::new(&file), &["--into", "x"])
            .await?;
        ensure!(found.number("same")? == 200, "{}", found.table);
        Ok(())
    })
}

#[test]
fn what_was_redacted_is_not_compared() -> Result<()> {
    within(120, async {
        let scene = Scene::with_guests(&["emit_one"]).await?;
        publish(&scene.stage.jetstream, &series("k", 4)).await?;
        scene.stage.host.settled("emit-one", 30).await?;
        scene.emitted(ECHOES, 4).await?;
        let outputs = stored(&scene.stage.jetstream, "EVENTS", ECHOES).await?;
        let output = outputs.first().context("no output")?.header("ce-id")?;
        for id in ["k-1", output] {
            let redact = [
                "events",
                "redact",
                "--id",
                id,
                "--why",
                "asked for",
                "--yes",
            ];
            sluice_on(&scene.stage.broker, &redact).await?.ok()?;
        }
        let guest = environment::guest("emit_one")?;
        let found = scene.found("emit-one", &guest, &["--into", "x"]).await?;
        ensure!(found.different()? == 0, "{}", found.table);
        ensure!(found.number("redacted")? == 1, "{}", found.table);
        ensure!(found.number("same")? == 2, "{}", found.table);
        Ok(())
    })
}

#[test]
fn a_shadow_sends_no_request() -> Result<()> {
    within(120, async {
        let scene = Scene::with_guests(&["sends"]).await?;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/", listener.local_addr()?);
        let call = serde_json::json!({ "url": url });
        publish(
            &scene.stage.jetstream,
            &[Input::with_data("c", "k", 0, call)],
        )
        .await?;
        // What runs has no such grant.
        wait_dead_letters(&scene.stage.jetstream, 1, 30).await?;
        let granted = format!("http = [{:?}]", url.trim_end_matches('/'));
        let component = std::fs::read(environment::guest("sends")?)?;
        let words = [("http = [\"https://localhost:1\"]", granted.as_str())];
        let file = scene.file("sends.wasm");
        std::fs::write(&file, with_words(&component, &words)?)?;
        let (sends, quiet) = (Path::new(&file), ["--into", "quiet"]);
        scene.found("sends", sends, &quiet).await?;
        let came = tokio::time::timeout(Duration::ZERO, listener.accept()).await;
        ensure!(came.is_err(), "it was connected to");
        // The same with them reaches it.
        let loud = ["--into", "loud", "--effects"];
        tokio::select! {
            said = scene.replay("sends", sends, &loud) => anyhow::bail!("no request: {said:?}"),
            came = listener.accept() => drop(came?),
        }
        Ok(())
    })
}

#[test]
fn what_the_plug_in_has_not_handled_is_not_compared() -> Result<()> {
    within(120, async {
        let scene = Scene::with_guests(&["emit_one"]).await?;
        publish(&scene.stage.jetstream, &series("a", 10)).await?;
        scene.emitted(ECHOES, 10).await?;
        sluice_on(&scene.stage.broker, &["pause", "emit-one"])
            .await?
            .ok()?;
        publish(&scene.stage.jetstream, &series("b", 10)).await?;
        let guest = environment::guest("emit_one")?;
        let found = scene.found("emit-one", &guest, &["--into", "part"]).await?;
        ensure!(found.different()? == 0, "{}", found.table);
        ensure!(found.number("same")? == 10, "{}", found.table);
        Ok(())
    })
}

#[test]
fn only_what_is_asked_for_is_replayed() -> Result<()> {
    within(120, async {
        let scene = Scene::with_guests(&["emit_one"]).await?;
        let places = publish(&scene.stage.jetstream, &spread(30, 3)).await?;
        scene.emitted(ECHOES, 30).await?;
        let guest = environment::guest("emit_one")?;
        let (from, to) = (places.get(9), places.get(19));
        let from = from.context("no event")?.to_string();
        let to = to.context("no event")?.to_string();
        let part = ["--into", "part", "--from", &from, "--to", &to];
        let found = scene.found("emit-one", &guest, &part).await?;
        ensure!(found.number("events")? == 11, "{}", found.table);
        let key = ["--into", "key", "--key", "k1"];
        let found = scene.found("emit-one", &guest, &key).await?;
        ensure!(found.number("events")? == 10, "{}", found.table);
        let kind = ["--into", "type", "--type", "d365.custom.other*"];
        let found = scene.found("emit-one", &guest, &kind).await?;
        ensure!(found.number("events")? == 0, "{}", found.table);
        let dry = scene
            .replay("emit-one", &guest, &[&part[..], &["--dry-run"]].concat())
            .await?;
        ensure!(member(&dry.ok()?.json()?, "total")? == 11, "another total");
        Ok(())
    })
}

#[test]
fn what_cannot_be_replayed_says_why() -> Result<()> {
    within(120, async {
        let scene = Scene::with_guests(&["emit_one"]).await?;
        publish(&scene.stage.jetstream, &series("a", 3)).await?;
        scene.stage.host.settled("emit-one", 30).await?;
        let guest = environment::guest("emit_one")?;
        let into = ["--into", "x"];
        let refused = async |plugin: &str, component: &Path, more: &[&str], parts: &[&str]| {
            let said = scene.replay(plugin, component, more).await?;
            said.refused(1, parts)?;
            anyhow::Ok(())
        };
        let other = environment::guest("ok")?;
        refused(
            "emit-one",
            &other,
            &into,
            &["is a build of ok", "--plugin says emit-one"],
        )
        .await?;
        refused("ok", &other, &into, &["the ledger knows no plug-in ok"]).await?;
        refused(
            "emit-one",
            Path::new("no-such.wasm"),
            &into,
            &["no-such.wasm"],
        )
        .await?;
        scene.found("emit-one", &guest, &into).await?;
        let set = [&into[..], &["--set", "a=b"]].concat();
        refused(
            "emit-one",
            &guest,
            &set,
            &["another replay", "emit-one 1.0.0", "--anew"],
        )
        .await?;
        scene
            .found("emit-one", &guest, &[&set[..], &["--anew"]].concat())
            .await?;

        let folder = scene.folder();
        let deployed = [
            "replay", "--plugin", "emit-one", "--into", "y", "--folder", &folder,
        ];
        let said = sluice_on(&scene.stage.broker, &deployed).await?;
        said.refused(1, &["no build of emit-one is deployed", "--component"])?;
        // What is deployed needs no file.
        let file = guest.to_string_lossy();
        sluice_on(&scene.stage.broker, &["deploy", &file])
            .await?
            .ok()?;
        let said = sluice_on(&scene.stage.broker, &deployed).await?.ok()?;
        ensure!(said.stdout.contains("3 as recorded"), "{}", said.stdout);
        for (wrong, part) in [
            (["--into", "../y"], "a-z"),
            (["--from", "soon"], "neither a sequence nor a time"),
            (["--ignore", "event"], "JSON pointer"),
        ] {
            let words = [&["replay", "--plugin", "emit-one"], &wrong[..]].concat();
            sluice_on(&scene.stage.broker, &words)
                .await?
                .refused(2, &[part])?;
        }
        Ok(())
    })
}

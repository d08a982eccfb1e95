//! Promise: an event is found by its id, key, type or correlation, by an index as without one, whatever
//! became of the index and of the store.

use std::fs::OpenOptions;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use sluicegate_tests::events::{Message, publish_messages};
use sluicegate_tests::process::{Process, command};
use sluicegate_tests::sluice::sluice_on;
use sluicegate_tests::{Broker, Input, Setup, Stage, environment, within};
use tempfile::TempDir;

/// Events that an index of 4,096 numbers a block has several blocks of.
const EVENTS: u64 = 10_000;
const KEYS: u64 = 2_500;

fn events(from: u64, count: u64) -> Vec<Message> {
    let event = |n: u64| {
        let input = Input::new(format!("e{n}"), format!("k{}", n % KEYS), n);
        let event_type = format!("d365.custom.thing{}.update", n % 40);
        let caused = format!("e{}", n / 10 * 10);
        let mut message = input
            .header("ce-type", &event_type)
            .header("ce-correlationid", &caused)
            .message;
        if n % 3_000 == 7 && n < 30_000 {
            // In the JSON format, which an index knows nothing of.
            message.body = format!(
                r#"{{"specversion":"1.0","id":"e{n}","source":"/s","type":"t","partitionkey":"k{}"}}"#,
                n % KEYS
            )
            .into();
            message.headers = async_nats::HeaderMap::new();
            message
                .headers
                .insert("content-type", "application/cloudevents+json");
        }
        message
    };
    (from..from + count).map(event).collect()
}

struct Scene {
    stage: Stage,
    folder: TempDir,
}

impl Scene {
    async fn new() -> Result<Self> {
        let broker = Broker::start().await?;
        let setup = Setup::new(broker.url()).events("max_bytes = \"1GiB\"");
        let stage = Stage::of(broker, setup).await?;
        publish_messages(&stage.jetstream, &events(0, EVENTS)).await?;
        let folder = tempfile::tempdir()?;
        Ok(Self { stage, folder })
    }

    fn index(&self) -> String {
        self.folder.path().to_string_lossy().into_owned()
    }

    fn file(&self) -> Result<PathBuf> {
        let mut files = std::fs::read_dir(self.folder.path())?;
        Ok(files.next().context("no index")??.path())
    }

    /// With and without an index the same is found; gives how many.
    async fn find(&self, conditions: &[&str]) -> Result<usize> {
        let index = self.index();
        let find = [&["events", "find", "--json", "--limit", "2000"], conditions].concat();
        let by = [&find[..], &["--index", &index]].concat();
        let without = [&find[..], &["--no-index"]].concat();
        let by = sluice_on(&self.stage.broker, &by).await?.ok()?;
        let without = sluice_on(&self.stage.broker, &without).await?.ok()?;
        ensure!(
            by.stdout == without.stdout,
            "{conditions:?}: {}\ninstead of\n{}",
            by.stdout,
            without.stdout
        );
        Ok(by.stdout.lines().count())
    }

    async fn find_all(&self, events: u64) -> Result<()> {
        for (conditions, wanted) in [
            (["--id", "e1"], 1),
            (["--id", "e9999"], 1),
            (["--id", "e3007"], 1),
            (["--id", "nobody"], 0),
            (["--key", "k17"], events / KEYS),
            (["--correlation", "e70"], 10),
            (["--type", "d365.custom.thing3.update"], events / 40),
            (["--type", "d365.custom.thing3*"], 0),
        ] {
            let found = self.find(&conditions).await? as u64;
            let is_some = conditions[1].ends_with('*') && 0 < found;
            // Those in the JSON format have another type and no correlation.
            let is_near = found <= wanted && wanted <= found + 2;
            ensure!(is_some || is_near, "{conditions:?}: {found} of {wanted}");
        }
        let both = ["--key", "k17", "--type", "d365.custom.thing17.update"];
        ensure!(0 < self.find(&both).await?, "none of both");
        Ok(())
    }
}

#[test]
fn an_index_finds_what_a_search_without_one_does() -> Result<()> {
    within(300, async {
        let scene = Scene::new().await?;
        scene.find_all(EVENTS).await?;
        let size = std::fs::metadata(scene.file()?)?.len();
        ensure!(0 < size && size < 100_000, "{size} bytes of index");
        // It reads on.
        publish_messages(&scene.stage.jetstream, &events(EVENTS, EVENTS)).await?;
        scene.find_all(2 * EVENTS).await?;
        let more = std::fs::metadata(scene.file()?)?.len();
        ensure!(size < more, "{more} bytes instead of {size}");
        let index = scene.index();
        let show = ["events", "show", "e1", "--index", &index, "--data"];
        let shown = sluice_on(&scene.stage.broker, &show).await?.ok()?;
        ensure!(shown.stdout.contains("\"n\":1"), "{}", shown.stdout);
        // What has left the store is not found.
        let events = scene.stage.jetstream.get_stream("EVENTS").await?;
        events.purge().sequence(5_000).await?;
        ensure!(scene.find(&["--id", "e1"]).await? == 0, "it is gone");
        ensure!(scene.find(&["--id", "e6000"]).await? == 1, "it is there");
        Ok(())
    })
}

#[test]
fn an_index_that_was_cut_changed_or_killed_is_made_again() -> Result<()> {
    within(300, async {
        let scene = Scene::new().await?;
        scene.find(&["--id", "e1"]).await?;
        let file = scene.file()?;
        let whole = std::fs::read(&file)?;
        for left in [0, 1, whole.len() / 2, whole.len() - 1] {
            let cut = OpenOptions::new().write(true).open(&file)?;
            cut.set_len(left as u64)?;
            scene.find(&["--key", "k17"]).await?;
            ensure!(
                std::fs::read(&file)? == whole,
                "cut to {left}: another index"
            );
        }
        for at in [0, 8, 20, whole.len() / 2, whole.len() - 1] {
            let mut changed = whole.clone();
            if let Some(byte) = changed.get_mut(at) {
                *byte ^= 0x55;
            }
            std::fs::write(&file, changed)?;
            scene.find(&["--key", "k17"]).await?;
            ensure!(
                std::fs::read(&file)? == whole,
                "changed at {at}: another index"
            );
        }
        for _ in 0..5 {
            std::fs::remove_file(&file)?;
            let mut run = command(&environment::sluice()?);
            run.args(["events", "find", "--id", "e1", "--index", &scene.index()]);
            run.args(["--nats", &scene.stage.broker.url()]);
            let log = scene.stage.host.data_dir().join("killed.log");
            let run = Process::start("sluice events find", run, &log)?;
            tokio::task::yield_now().await;
            run.kill9();
            std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(&file)?;
            scene.find(&["--id", "e9999"]).await?;
            ensure!(std::fs::read(&file)? == whole, "killed: another index");
        }
        // A folder that cannot be had costs a warning.
        let find = ["events", "find", "--id", "e1", "--index", "/proc/nowhere"];
        let found = sluice_on(&scene.stage.broker, &find).await?.ok()?;
        ensure!(
            found.stderr.contains("without an index"),
            "{}",
            found.stderr
        );
        ensure!(found.stdout.contains("e1"), "{}", found.stdout);
        Ok(())
    })
}

#[test]
fn one_of_ten_million_events_is_found_within_seconds() -> Result<()> {
    if !environment::long() {
        return Ok(());
    }
    const MANY: u64 = 10_000_000;
    const AT_ONCE: u64 = 10_000;
    within(3_600, async {
        let broker = Broker::start().await?;
        // Ids are remembered for a second: it is the search that is measured.
        let limits = "max_bytes = \"20GiB\"\ndedup_window = \"1s\"";
        let setup = Setup::new(broker.url()).events(limits);
        let stage = Stage::of(broker, setup).await?;
        for from in (0..MANY).step_by(usize::try_from(AT_ONCE)?) {
            publish_messages(&stage.jetstream, &events(from, AT_ONCE)).await?;
        }
        let folder = tempfile::tempdir()?;
        let index = folder.path().to_string_lossy().into_owned();
        let mut figures = serde_json::Map::new();
        for (name, conditions) in [
            ("index made and an old id found", ["--id", "e17"]),
            ("an old id", ["--id", "e17"]),
            ("a new id", ["--id", "e9999901"]),
            ("no such id", ["--id", "nobody"]),
            ("a correlation", ["--correlation", "e5000000"]),
            ("50 of a key", ["--key", "k17"]),
            ("50 of a type", ["--type", "d365.custom.thing3.update"]),
        ] {
            let mut run = tokio::process::Command::from(command(&environment::sluice()?));
            run.args(["events", "find", "--json", "--limit", "50"]);
            run.args(conditions);
            run.args(["--index", &index, "--nats", &stage.broker.url()]);
            let begun = tokio::time::Instant::now();
            let done = run.kill_on_drop(true).output().await?;
            let seconds = begun.elapsed().as_secs_f64();
            ensure!(done.status.success(), "{done:?}");
            let found = String::from_utf8_lossy(&done.stdout).lines().count();
            figures.insert(
                name.to_owned(),
                serde_json::json!({ "seconds": seconds, "found": found }),
            );
        }
        let bytes = std::fs::read_dir(folder.path())?
            .next()
            .context("no index")??;
        let bytes = bytes.metadata()?.len();
        figures.insert("index bytes".to_owned(), bytes.into());
        let old = figures.get("an old id").and_then(|row| row.get("seconds"));
        let old = old
            .and_then(serde_json::Value::as_f64)
            .context("no figure")?;
        environment::write_figures("events-found", &figures.into())?;
        ensure!(old < 1.0, "an old id took {old} s");
        Ok(())
    })
}

//! Promise: `sluice dev` runs what the sources say, shows what becomes of each event, swaps a
//! change in, and goes on with the last good build when one is broken; `sluice test --watch`
//! looks again whenever something changes.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};
use sluicegate_tests::broker::free_port;
use sluicegate_tests::process::{Process, command};
use sluicegate_tests::sluice::sluice;
use sluicegate_tests::{environment, until, within};
use tempfile::TempDir;

const EVENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../plugins/credit-hold/events");

/// Writes a plug-in whose function says `word` of each event.
fn write(dir: &Path, word: &str) -> Result<()> {
    fs::create_dir_all(dir.join("src"))?;
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../guest-sdk")
        .canonicalize()?;
    fs::write(
        dir.join("Cargo.toml"),
        format!(
            "[package]\nname = \"says\"\nversion = \"1.0.0\"\nedition = \"2024\"\n\
             [lib]\ncrate-type = [\"cdylib\"]\n[workspace]\n\
             [dependencies]\nsluicegate-guest = {{ path = {:?} }}\n\
             [profile.release]\nopt-level = \"s\"\nlto = true\npanic = \"abort\"\n\
             strip = true\ncodegen-units = 1\n",
            sdk
        ),
    )?;
    fs::write(
        dir.join("plugin.toml"),
        "[plugin]\nname = \"says\"\nversion = \"1.0.0\"\n\
         [subscribe]\nsubjects = [\"d365.dataverse.*.record.account.*\"]\n",
    )?;
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/Cargo.lock");
    fs::copy(lock, dir.join("Cargo.lock"))?;
    say(dir, word)
}

fn say(dir: &Path, word: &str) -> Result<()> {
    let source = format!(
        "use sluicegate_guest::*;\n#[consumer]\nfn handle(_: Event) -> Outcome {{\n    \
         {word}\n}}\n"
    );
    Ok(fs::write(dir.join("src/lib.rs"), source)?)
}

async fn wait_for(log: &Path, process: &mut Process, part: &str, seconds: u64) -> Result<String> {
    until(&format!("{part:?}"), seconds, async || {
        let said = fs::read_to_string(log)?;
        ensure!(process.ended()?.is_none(), "it ended:\n{said}");
        ensure!(said.contains(part), "it said:\n{said}");
        Ok(said)
    })
    .await
}

#[test]
fn dev_shows_outcomes_swaps_changes_and_outlives_a_broken_build() -> Result<()> {
    within(170, async {
        let folder = TempDir::with_prefix("sluice-dev-")?;
        let dir = folder.path().join("says");
        write(&dir, "log::info(\"one\"); Ok(())")?;
        let log = folder.path().join("dev.log");
        let (gateway, admin) = (free_port()?, free_port()?);
        let mut run = command(&environment::sluice()?);
        run.arg("dev").arg(&dir);
        run.args(["--gateway", &format!("127.0.0.1:{gateway}")]);
        run.args(["--admin", &format!("127.0.0.1:{admin}")]);
        run.env("CARGO_TARGET_DIR", environment::plugin_target()?)
            .env_remove("NATS_URL");
        run.env_remove("RUST_LOG");
        let mut dev = Process::start("sluice dev", run, &log)?;
        wait_for(&log, &mut dev, "plug-in loaded", 120).await?;

        let config = dir.join(".sluicegate/sluice.toml");
        let config = config.to_string_lossy();
        let event = format!("{EVENTS}/2-raised-above.json");
        let send = async || {
            let arguments = [
                "send",
                &event,
                "--environment=contoso",
                "--again",
                "--config",
                &config,
            ];
            sluice(&arguments).await?.ok()
        };
        send().await?;
        wait_for(&log, &mut dev, "says info: one", 30).await?;
        wait_for(
            &log,
            &mut dev,
            "done      says d365.dataverse.account.update",
            30,
        )
        .await?;

        say(&dir, "this does not parse")?;
        wait_for(&log, &mut dev, "the last good build goes on", 60).await?;
        send().await?;
        until("the good build's second event", 30, async || {
            let said = fs::read_to_string(&log)?;
            ensure!(said.matches("says info: one").count() == 2, "{said}");
            Ok(())
        })
        .await?;

        say(&dir, "Err(reject(\"no, thank you\"))")?;
        until("the mended build", 60, async || {
            let said = fs::read_to_string(&log)?;
            ensure!(said.matches("plug-in loaded").count() == 2, "{said}");
            Ok(())
        })
        .await?;
        send().await?;
        let said = wait_for(&log, &mut dev, "no, thank you", 30).await?;
        ensure!(
            said.contains("reject    says d365.dataverse.account.update"),
            "{said}"
        );
        // Nothing that a build makes is taken for a change of the sources.
        let builds = said.matches("building").count();
        ensure!(builds <= 5, "{builds} builds:\n{said}");
        Ok(())
    })
}

#[test]
fn watching_a_test_looks_again_when_an_event_changes() -> Result<()> {
    within(60, async {
        let folder = TempDir::with_prefix("sluice-watch-")?;
        let event = folder.path().join("event.json");
        fs::copy(format!("{EVENTS}/2-raised-above.json"), &event)?;
        let log = folder.path().join("watch.log");
        let mut run = command(&environment::sluice()?);
        run.arg("test").arg(environment::plugin("credit-hold")?);
        run.args(["--environment", "contoso", "--watch", "--event"])
            .arg(&event);
        let mut watch = Process::start("sluice test --watch", run, &log)?;
        let said = wait_for(&log, &mut watch, "as expected; waiting for a change", 30).await?;
        ensure!(said.contains("hold 1 raised"), "{said}");
        fs::write(&event, "{")?;
        wait_for(&log, &mut watch, "is not JSON", 30).await?;
        fs::copy(format!("{EVENTS}/1-created-below.json"), &event)?;
        wait_for(&log, &mut watch, "d365.dataverse.account.create", 30).await?;
        Ok(())
    })
}

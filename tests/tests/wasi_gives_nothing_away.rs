//! Promise: what a language's standard library asks of an operating system is answered by a
//! virtual WASI, or refused. It leads nowhere, costs the host nothing, and never outlasts a call.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use sluicegate_tests::checks::Verdict;
use sluicegate_tests::component::{manifest, that_imports, with_manifest, without_manifest};
use sluicegate_tests::events::publish;
use sluicegate_tests::guests::told;
use sluicegate_tests::outputs::{
    ECHOES, Stored, dead_letters, stored, wait_dead_letters, wait_echoes,
};
use sluicegate_tests::sluice::sluice;
use sluicegate_tests::{Broker, Input, Setup, Stage, environment, until, within};
use tempfile::TempDir;

/// What a call may add to the host's memory, and a gigabyte would not fit in.
const SLACK: u64 = 200 << 20;

/// What the guest says that it found.
#[derive(Debug, Deserialize)]
struct Report {
    found: BTreeMap<String, String>,
}

fn settings(more: &str) -> String {
    format!("[plugin.wasi]\nmax_attempts = 2\ninitial = \"50ms\"\nfactor = 1.0\n{more}\n")
}

/// One event for each of three keys, at which the guest does `what`.
fn three(what: &str) -> Vec<Input> {
    (0..3).map(|n| told(&format!("k{n}"), n, what)).collect()
}

/// Has the guest do `what` beside a good neighbour: that one handles everything, once, and
/// nothing is seen of what the guest had staged. Gives the guest's dead letters.
async fn attack(what: &str, more: &str) -> Result<(Stage, Vec<Stored>)> {
    let stage = Stage::with(&["wasi", "emit_one"], &settings(more)).await?;
    let inputs = three(what);
    publish(&stage.jetstream, &inputs).await?;
    let outputs = wait_echoes(&stage.jetstream, inputs.len(), 20).await?;
    let letters = wait_dead_letters(&stage.jetstream, inputs.len(), 40).await?;
    Verdict::on(&inputs, &outputs).clean()?;
    ensure!(
        letters.len() == inputs.len(),
        "{} dead letters",
        letters.len()
    );
    // And again, into a box that was broken before: both handle it.
    publish(&stage.jetstream, &[told("later", 0, "look")]).await?;
    wait_echoes(&stage.jetstream, inputs.len() + 2, 20).await?;
    Ok((stage, letters))
}

/// All letters are of the plug-in `wasi`, with this reason, attempts and words.
fn all(letters: &[Stored], reason: &str, attempts: &str, words: &str) -> Result<()> {
    for letter in letters {
        let headers = &letter.headers;
        ensure!(letter.header("Sluice-Plugin")? == "wasi", "{headers:?}");
        ensure!(letter.header("Sluice-Reason")? == reason, "{headers:?}");
        ensure!(letter.header("Sluice-Attempts")? == attempts, "{headers:?}");
        ensure!(
            letter.header("Sluice-Error")?.contains(words),
            "{headers:?}"
        );
    }
    Ok(())
}

#[test]
fn there_is_a_clock_and_chance_and_nothing_else() -> Result<()> {
    within(60, async {
        let broker = Broker::start().await?;
        let setup = Setup::new(broker.url())
            .guest("wasi")?
            .variable("SLUICE_TEST_SECRET", "seen");
        let stage = Stage::of(broker, setup).await?;
        publish(
            &stage.jetstream,
            &[told("a", 0, "look"), told("b", 0, "look")],
        )
        .await?;
        wait_echoes(&stage.jetstream, 2, 20).await?;
        let mut chances = Vec::new();
        for output in stored(&stage.jetstream, "EVENTS", ECHOES).await? {
            let Report { found } = serde_json::from_slice(&output.body)?;
            let of = |what: &str| {
                found
                    .get(what)
                    .with_context(|| format!("no {what}: {found:?}"))
            };
            ensure!(of("environment")? == "0", "{found:?}");
            ensure!(of("arguments")? == "0", "{found:?}");
            ensure!(
                of("input")? == "there",
                "standard input is empty: {found:?}"
            );
            for way in [
                "read", "write", "list", "up", "tcp", "udp", "name", "thread",
            ] {
                ensure!(of(way)?.starts_with("refused: "), "{way}: {found:?}");
            }
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
            let told = Duration::from_secs(of("unix time")?.parse()?);
            ensure!(now.abs_diff(told) < Duration::from_secs(60), "{found:?}");
            let slept: u64 = of("slept ms")?.parse()?;
            ensure!((30..5_000).contains(&slept), "{found:?}");
            chances.push(of("random")?.clone());
        }
        chances.dedup();
        ensure!(chances.len() == 2, "chance repeats itself: {chances:?}");
        let folder = stage.host.config_path();
        let left = folder.with_file_name("left-behind");
        ensure!(!left.exists(), "it wrote {}", left.display());
        Ok(())
    })
}

#[test]
fn what_it_prints_stands_in_the_log_with_its_event() -> Result<()> {
    within(60, async {
        let stage = Stage::with(&["wasi"], "").await?;
        publish(&stage.jetstream, &[told("a", 7, "print")]).await?;
        for (level, words) in [
            ("INFO", "printed by a-7"),
            ("WARN", "complained by a-7, without a line's end"),
        ] {
            let line = stage.host.wait_log(&[words], 20).await?;
            for part in [level, "\"plugin\":\"wasi\"", "\"event\":\"a-7\""] {
                ensure!(line.contains(part), "no {part}: {line}");
            }
        }
        Ok(())
    })
}

#[test]
fn a_guest_that_sleeps_for_an_hour_costs_one_timeout_an_attempt() -> Result<()> {
    within(90, async {
        let (_stage, letters) = attack("sleep", "timeout = \"1s\"").await?;
        all(&letters, "timeout", "2", "1s")
    })
}

#[test]
fn a_guest_that_sleeps_does_not_keep_the_host_from_ending() -> Result<()> {
    within(90, async {
        let broker = Broker::start().await?;
        let setup = Setup::new(broker.url())
            .guest("wasi")?
            .with(&settings("timeout = \"5m\""))
            .grace("1s");
        let mut stage = Stage::of(broker, setup).await?;
        publish(&stage.jetstream, &three("sleep")).await?;
        until("a call to be under way", 20, async || {
            let metrics = stage.host.metrics().await?;
            let busy = metrics.sum("sluicegate_in_flight", &[("plugin", "wasi")])?;
            ensure!(0.0 < busy, "{busy} in flight");
            Ok(())
        })
        .await?;
        stage.host.terminate()?;
        stage.host.wait_end(10).await?;
        let given_up = dead_letters(&stage.jetstream).await?;
        ensure!(given_up.is_empty(), "{given_up:?}");
        Ok(())
    })
}

#[test]
fn an_exit_is_a_failed_attempt_that_says_so() -> Result<()> {
    within(90, async {
        let (_stage, letters) = attack("exit", "").await?;
        all(
            &letters,
            "trap",
            "2",
            "the plug-in called exit, with success",
        )
    })
}

#[test]
fn a_panic_is_told_where_standard_error_told_it() -> Result<()> {
    within(90, async {
        let (_stage, letters) = attack("panic", "").await?;
        all(&letters, "trap", "2", "broken by k")
    })
}

#[test]
fn a_terabyte_of_chance_is_refused() -> Result<()> {
    within(90, async {
        let (_stage, letters) = attack("random", "").await?;
        all(&letters, "limit", "1", "1099511627776 random bytes at once")
    })
}

#[test]
fn handles_are_counted() -> Result<()> {
    within(90, async {
        let (_stage, letters) = attack("handles", "").await?;
        all(&letters, "trap", "2", "1000 handles of WASI")
    })
}

#[test]
fn a_gigabyte_on_standard_error_is_cut() -> Result<()> {
    within(90, async {
        let stage = Stage::with(&["wasi"], &settings("timeout = \"3s\"")).await?;
        publish(&stage.jetstream, &[told("a", 0, "look")]).await?;
        wait_echoes(&stage.jetstream, 1, 20).await?;
        let before = stage.host.resident_bytes()?;
        let inputs = three("flood");
        publish(&stage.jetstream, &inputs).await?;
        // A fast host gets through it, a slow one runs out of time.
        until("the events to be finished", 60, async || {
            let done = stage.host.metrics().await?.outcomes("wasi", "done")?;
            let dead = dead_letters(&stage.jetstream).await?;
            all(&dead, "timeout", "2", "3s")?;
            let finished = done as usize - 1 + dead.len();
            ensure!(finished == inputs.len(), "{finished} finished");
            Ok(())
        })
        .await?;
        let after = stage.host.resident_bytes()?;
        ensure!(after < before + SLACK, "{before} bytes, then {after}");
        stage
            .host
            .wait_log(&["wasi", "WARN", "suppressed"], 10)
            .await?;
        let log = stage.host.log()?;
        let lines = log.matches("all work and no play").count();
        ensure!(lines <= 6 * 200, "{lines} lines of six calls");
        Ok(())
    })
}

#[test]
fn a_part_of_wasi_that_is_not_virtual_is_refused_at_load() -> Result<()> {
    within(60, async {
        let broker = Broker::start().await?;
        let own = manifest(&std::fs::read(environment::guest("wasi")?)?)?;
        let mut setup = Setup::new(broker.url()).guest("emit_one")?;
        let imports = [
            "wasi:http/outgoing-handler@0.2.0",
            "wasi:keyvalue/store@0.2.0",
            "wasi:cli/environment@0.3.0",
        ];
        for (number, import) in imports.iter().enumerate() {
            let named = own.replace("\"wasi\"", &format!("\"plugin-{number}\""));
            let file = with_manifest(&that_imports(import), &named)?;
            setup = setup.file(&format!("plugin-{number}.wasm"), file);
        }
        let stage = Stage::of(broker, setup).await?;
        for (number, import) in imports.iter().enumerate() {
            let file = format!("plugin-{number}.wasm");
            stage.host.wait_log(&["ERROR", &file, import], 10).await?;
        }
        // The neighbour runs.
        publish(&stage.jetstream, &[told("a", 0, "ok")]).await?;
        wait_echoes(&stage.jetstream, 1, 20).await?;
        Ok(())
    })
}

#[test]
fn too_little_memory_to_begin_with_is_told_at_load() -> Result<()> {
    within(60, async {
        let broker = Broker::start().await?;
        let setup = Setup::new(broker.url())
            .guest("wasi")?
            .guest("emit_one")?
            .with("[plugin.wasi]\nmemory = \"512KiB\"");
        let stage = Stage::of(broker, setup).await?;
        let parts = [
            "ERROR",
            "wasi.wasm",
            "limits.memory allows 524288",
            "[limits]",
        ];
        stage.host.wait_log(&parts, 10).await?;
        Ok(())
    })
}

#[test]
fn a_component_is_packed_only_for_our_world_and_with_its_grants() -> Result<()> {
    within(60, async {
        let folder = TempDir::new()?;
        let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        let guest = std::fs::read(environment::guest("wasi")?)?;
        let own = manifest(&guest)?;
        std::fs::write(path("good.toml"), &own)?;
        std::fs::write(path("greedy.toml"), own.replace("emit =", "# emit ="))?;
        std::fs::write(path("good.wasm"), without_manifest(&guest)?)?;
        std::fs::write(path("other.wasm"), that_imports("wasi:io/poll@0.2.0"))?;
        let build = async |module: &str, manifest: &str| {
            let (module, manifest, out) = (path(module), path(manifest), path("out.wasm"));
            sluice(&[
                "build",
                "--module",
                &module,
                "--manifest",
                &manifest,
                "--out",
                &out,
            ])
            .await
        };
        let good = build("good.wasm", "good.toml").await?;
        good.ok()?;
        ensure!(std::fs::read(path("out.wasm"))? == guest, "it is the same");
        let other = build("other.wasm", "good.toml").await?;
        other.refused(1, &["other.wasm", "sluicegate:plugin/consumer"])?;
        let greedy = build("good.wasm", "greedy.toml").await?;
        greedy.refused(
            1,
            &["good.wasm", "sluicegate:plugin/outbox", "[capabilities]"],
        )?;
        Ok(())
    })
}

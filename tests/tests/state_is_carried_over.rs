//! Promise: a build with another `state_version` finds what its `migrate` makes of the old state,
//! all of it and once, whatever is killed meanwhile; and where it cannot, nothing is lost.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use async_nats::jetstream::Context as JetStream;
use serde_json::Value;
use sluicegate_tests::component::{manifest, with_manifest};
use sluicegate_tests::events::{publish, spread};
use sluicegate_tests::outputs::state;
use sluicegate_tests::sluice::sluice_on;
use sluicegate_tests::stamped::{load, refused};
use sluicegate_tests::{Host, Input, Stage, environment, until, within};
use tokio::sync::watch;
use tokio::task::JoinSet;

const FILE: &str = "carries.wasm";
const PLUGIN: &str = "carries";

/// The build with these lines for what is between `[plugin]`'s version and its config.
fn build(lines: &str, config: &str) -> Result<Vec<u8>> {
    let component = std::fs::read(environment::guest(PLUGIN)?)?;
    let text = manifest(&component)?;
    ensure!(text.contains("shape = \"old\""), "{text}");
    let text = text
        .replace("[subscribe]", &format!("{lines}\n[subscribe]"))
        .replace("shape = \"old\"", config);
    with_manifest(&component, &text)
}

/// Version 2, which carries version 1 over.
fn second(config: &str) -> Result<Vec<u8>> {
    let lines = "state_version = 2\nmigrate_from = 1";
    build(lines, &format!("shape = \"new\"\n{config}"))
}

/// As it stands in the ledger's subjects.
fn subject_of(version: u8, key: &str) -> String {
    match version {
        1 => format!("seen/{key}"),
        _ => format!("%1F{version}%1Fcount/{key}"),
    }
}

async fn count(jetstream: &JetStream, version: u8, key: &str) -> Result<u64> {
    let found = state(jetstream, PLUGIN, &subject_of(version, key)).await?;
    let Some(found) = found else { return Ok(0) };
    let value: Value = serde_json::from_slice(&found)?;
    let count = value.get("count").unwrap_or(&value).as_u64();
    count.with_context(|| format!("{value} is no count"))
}

/// Waits until the version has counted all of these.
async fn counted(jetstream: &JetStream, version: u8, inputs: &[Input]) -> Result<()> {
    let mut expected: BTreeMap<&str, u64> = BTreeMap::new();
    for input in inputs {
        *expected.entry(&input.key).or_default() += 1;
    }
    let mut open: Vec<(&str, u64)> = expected.into_iter().collect();
    until(
        &format!("all counts of version {version}"),
        60,
        async || {
            let mut left = Vec::new();
            for (key, wanted) in &open {
                let found = count(jetstream, version, key).await?;
                ensure!(
                    found <= *wanted,
                    "{key} was counted {found} times, not {wanted}"
                );
                if found < *wanted {
                    left.push((*key, *wanted));
                }
            }
            open = left;
            ensure!(
                open.is_empty(),
                "{} keys are behind: {:?}",
                open.len(),
                open.first()
            );
            Ok(())
        },
    )
    .await
}

#[test]
fn what_a_new_version_finds_is_the_old_state_while_events_keep_coming() -> Result<()> {
    within(120, async {
        let stage = Stage::with(&[PLUGIN], "").await?;
        let (stop, stopped) = watch::channel(false);
        let jetstream = stage.jetstream.clone();
        let mut loading = JoinSet::new();
        loading.spawn(async move { load(&jetstream, stopped).await });
        until("something to carry over", 20, async || {
            ensure!(3 < count(&stage.jetstream, 1, "k42").await?);
            Ok(())
        })
        .await?;
        stage.host.put_plugin(FILE, &second("")?)?;
        stage.host.wait_log(&["state carried over"], 30).await?;
        until("the new version to count", 20, async || {
            let (old, new) = (
                count(&stage.jetstream, 1, "k42").await?,
                count(&stage.jetstream, 2, "k42").await?,
            );
            ensure!(old + 3 < new, "{old} {new}");
            Ok(())
        })
        .await?;
        stop.send(true)?;
        let inputs = loading.join_next().await.context("the load")???;
        counted(&stage.jetstream, 2, &inputs).await?;

        // One that goes back goes on with what it left, and what is forward again is not
        // carried over a second time.
        let left = count(&stage.jetstream, 1, "k42").await?;
        let all = count(&stage.jetstream, 2, "k42").await?;
        let first = std::fs::read(environment::guest(PLUGIN)?)?;
        let one = |n: &str| vec![Input::new(format!("back-{n}"), "k42", 0)];
        stage.host.put_plugin(FILE, &first)?;
        reloads(&stage.host, 2).await?;
        publish(&stage.jetstream, &one("1")).await?;
        until("the first version to count", 20, async || {
            ensure!(count(&stage.jetstream, 1, "k42").await? == left + 1);
            Ok(())
        })
        .await?;
        stage.host.put_plugin(FILE, &second("")?)?;
        reloads(&stage.host, 3).await?;
        publish(&stage.jetstream, &one("2")).await?;
        until("the second version to count", 20, async || {
            ensure!(count(&stage.jetstream, 2, "k42").await? == all + 1);
            Ok(())
        })
        .await
    })
}

async fn reloads(host: &Host, times: usize) -> Result<()> {
    until(&format!("{times} reloads"), 30, async || {
        let reloads = host.metrics().await?;
        let reloads = reloads.sum("sluicegate_reloads_total", &[("plugin", PLUGIN)])?;
        ensure!(reloads == times as f64, "{reloads} reloads");
        Ok(())
    })
    .await
}

#[test]
fn a_state_that_cannot_be_carried_over_keeps_its_events_until_a_build_can() -> Result<()> {
    within(150, async {
        let stage = Stage::with(&[PLUGIN], "").await?;
        // Some keys are counted once, some twice.
        let mut inputs = spread(90, 60);
        publish(&stage.jetstream, &inputs).await?;
        counted(&stage.jetstream, 1, &inputs).await?;
        for (how, words) in [
            (
                "carry = \"refuse\"",
                "an even number cannot be carried over",
            ),
            ("carry = \"trap\"", "broken on purpose"),
            ("carry = \"spin\"", "took longer than 1s"),
            ("carry = \"clash\"", "two of its keys become"),
            (
                "carry = \"write\"",
                "cannot be used but while an event is handled",
            ),
        ] {
            stage.host.put_plugin(FILE, &second(how)?)?;
            refused(&stage.host, &["carries/0 (state)", words]).await?;
            let (status, body) = stage.host.admin("/readyz").await?;
            ensure!(
                status == 503 && body.contains("carries state over"),
                "{status} {body}"
            );
        }
        let more = spread(30, 30).into_iter().map(|input| {
            let id = format!("more-{}", input.id);
            Input::new(id, input.key, input.n)
        });
        let more: Vec<Input> = more.collect();
        publish(&stage.jetstream, &more).await?;
        inputs.extend(more);
        stage.host.put_plugin(FILE, &second("")?)?;
        counted(&stage.jetstream, 2, &inputs).await?;
        until(
            "the host to be ready, and nothing refused",
            20,
            async || {
                let (status, body) = stage.host.admin("/readyz").await?;
                ensure!(
                    status == 200 && !body.contains("(state)"),
                    "{status} {body}"
                );
                Ok(())
            },
        )
        .await
    })
}

#[test]
fn a_host_that_is_killed_while_it_carries_state_over_begins_anew() -> Result<()> {
    within(150, async {
        let mut stage = Stage::with(&[PLUGIN], "").await?;
        let mut inputs = spread(3_000, 1_500);
        publish(&stage.jetstream, &inputs).await?;
        counted(&stage.jetstream, 1, &inputs).await?;
        stage.host.put_plugin(FILE, &second("")?)?;
        let mut kills = 0;
        for _ in 0..5 {
            until("a part to be carried over", 60, async || {
                let begun = stage.host.log()?.contains("carrying state over");
                ensure!(begun, "not begun");
                Ok(())
            })
            .await?;
            kills += usize::from(!stage.host.log()?.contains("state carried over"));
            stage.host.kill9();
            stage.host.start().await?;
        }
        let more = spread(300, 150).into_iter().map(|input| {
            let id = format!("more-{}", input.id);
            Input::new(id, input.key, input.n)
        });
        let more: Vec<Input> = more.collect();
        publish(&stage.jetstream, &more).await?;
        inputs.extend(more);
        counted(&stage.jetstream, 2, &inputs).await?;
        ensure!(0 < kills, "no kill fell into the work");
        Ok(())
    })
}

#[test]
fn a_build_without_the_export_is_refused_and_one_that_carries_is_no_canary() -> Result<()> {
    within(90, async {
        let stage = Stage::with(&[PLUGIN, "count"], "").await?;
        let component = std::fs::read(environment::guest("count")?)?;
        let text = manifest(&component)?.replace(
            "[subscribe]",
            "state_version = 2\nmigrate_from = 1\n[subscribe]",
        );
        stage
            .host
            .put_plugin("count.wasm", &with_manifest(&component, &text)?)?;
        refused(
            &stage.host,
            &["count.wasm", "sluicegate:plugin/migration", "#[migrate]"],
        )
        .await?;
        let same = build("state_version = 2\nmigrate_from = 2", "shape = \"new\"")?;
        stage.host.put_plugin(FILE, &same)?;
        refused(&stage.host, &[FILE, "migrate_from", "state_version"]).await?;

        let inputs = spread(4, 2);
        publish(&stage.jetstream, &inputs).await?;
        counted(&stage.jetstream, 1, &inputs).await?;
        let folder = tempfile::tempdir()?;
        let file = folder.path().join(FILE);
        let file_name = file.to_string_lossy().into_owned();
        std::fs::write(&file, second("carry = \"refuse\"")?)?;
        sluice_on(&stage.broker, &["deploy", &file_name])
            .await?
            .refused(1, &["host-1", "an even number cannot be carried over"])?;
        let shown = sluice_on(&stage.broker, &["plugins"]).await?.ok()?.stdout;
        ensure!(shown.contains("carrying state over: carries/0"), "{shown}");
        sluice_on(&stage.broker, &["undeploy", PLUGIN])
            .await?
            .ok()?;
        std::fs::write(&file, second("")?)?;
        let file = file.to_string_lossy();
        sluice_on(&stage.broker, &["deploy", &file, "--canary", "50%"])
            .await?
            .refused(1, &["carry no state over", "deploy it without --canary"])?;
        sluice_on(&stage.broker, &["deploy", &file]).await?.ok()?;
        stage.host.wait_log(&["state carried over"], 30).await?;
        Ok(())
    })
}

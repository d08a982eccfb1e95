//! Promise: a build is tried on a share of the keys, and one that does worse than the build
//! beside it is taken back without an event that pays for it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sluicegate_tests::checks::Verdict;
use sluicegate_tests::events::{publish, series};
use sluicegate_tests::outputs::{count, wait_dead_letters, wait_echoes};
use sluicegate_tests::sluice::sluice_on as said;
use sluicegate_tests::stamped::{file, refused, runs, stamps};
use sluicegate_tests::{Broker, Fleet, Input, Stage, until, within};
use tempfile::TempDir;

/// Events of `keys` keys, `each` of every one.
fn many(name: &str, keys: u64, each: u64) -> Vec<Input> {
    let keys = (0..keys).map(|key| series(&format!("{name}{key}"), each));
    keys.flatten().collect()
}

/// What `sluice plugins` says of the first host's `stamp`.
async fn shown(broker: &Broker) -> Result<Value> {
    let answers = said(broker, &["plugins", "stamp", "--json"]).await?.ok()?;
    let answers = answers.json()?;
    let entry = answers.pointer("/0/plugins/0");
    Ok(entry.context("no plug-in is shown")?.clone())
}

/// A stage that runs the build `a`, and a folder for others.
async fn stage(settings: &str) -> Result<(Stage, TempDir)> {
    let stage = Stage::with(&["stamp"], settings).await?;
    Ok((stage, tempfile::tempdir()?))
}

/// The build `b`, which is broken in this way.
fn broken(folder: &Path, how: &str) -> Result<String> {
    let more = format!("build = \"b\"\nfails = {how:?}");
    file(folder, "b", &[("1.0.0", "2.0.0"), ("build = \"b\"", &more)])
}

#[test]
fn a_canary_has_a_share_of_the_keys_on_every_host_until_it_has_all() -> Result<()> {
    within(150, async {
        let folder = tempfile::tempdir()?;
        let wide = "[delivery]\npartitions = 2\n[capabilities]";
        let wide = [("[capabilities]", wide)];
        let a = file(folder.path(), "a", &wide)?;
        let b = file(folder.path(), "b", &wide)?;
        let fleet = Fleet::of(2, &[], "").await?;
        let canary = ["deploy", &b, "--canary", "25%"];
        said(&fleet.broker, &canary)
            .await?
            .refused(1, &["a build that runs", "no host runs a plug-in stamp"])?;
        said(&fleet.broker, &["deploy", &a]).await?.ok()?;
        fleet.spread(2, &["host-1", "host-2"], 20).await?;
        let told = said(&fleet.broker, &canary).await?.ok()?.stdout;
        ensure!(
            told.contains("for 25% of the keys: host-1, host-2"),
            "{told}"
        );
        let inputs = many("k", 400, 3);
        publish(&fleet.jetstream, &inputs).await?;
        let outputs = wait_echoes(&fleet.jetstream, inputs.len(), 40).await?;
        Verdict::on(&inputs, &outputs).clean()?;
        let stamps = stamps(&fleet.jetstream).await?;
        let mut builds: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for input in &inputs {
            let build = stamps.get(&input.id).context("no stamp")?;
            builds.entry(&input.key).or_default().insert(build);
        }
        let both = builds.values().filter(|builds| 1 < builds.len()).count();
        ensure!(both == 0, "{both} keys were handled by both builds");
        let by_b = builds
            .values()
            .filter(|builds| builds.contains("b"))
            .count();
        ensure!((60..=140).contains(&by_b), "{by_b} of 400 keys");
        let entry = shown(&fleet.broker).await?;
        ensure!(
            entry.pointer("/canary/broken") == Some(&json!(0)),
            "{entry}"
        );

        // The same file for all, and the one before it again.
        said(&fleet.broker, &["deploy", &b]).await?.ok()?;
        runs(&fleet.jetstream, "b").await?;
        said(&fleet.broker, &["rollback", "stamp"]).await?.ok()?;
        runs(&fleet.jetstream, "a").await
    })
}

/// `reason` is what the verdict has to name.
async fn is_taken_back(how: &str, reason: &str) -> Result<()> {
    let (stage, folder) = stage("[plugin.stamp]\ntimeout = \"400ms\"\nmax_attempts = 1").await?;
    let b = broken(folder.path(), how)?;
    let canary = ["deploy", &b, "--canary", "30%"];
    said(&stage.broker, &canary).await?.ok()?;
    let inputs = many("k", 60, 2);
    publish(&stage.jetstream, &inputs).await?;
    let entry = until("the canary to be taken back", 40, async || {
        let entry = shown(&stage.broker).await?;
        let canary = entry.get("canary");
        ensure!(canary == Some(&Value::Null), "{entry}");
        Ok(entry)
    })
    .await?;
    let told = entry.pointer("/taken_back/reason").and_then(Value::as_str);
    let told = told.with_context(|| format!("no reason: {entry}"))?;
    ensure!(told.contains(reason), "{told}");
    ensure!(
        entry.pointer("/taken_back/version") == Some(&json!("2.0.0")),
        "{entry}"
    );
    let outputs = wait_echoes(&stage.jetstream, inputs.len(), 40).await?;
    Verdict::on(&inputs, &outputs).clean()?;
    let stamps = stamps(&stage.jetstream).await?;
    ensure!(stamps.values().all(|build| build == "a"), "{stamps:?}");
    let letters = count(&stage.jetstream, "DEADLETTER", "dead.>").await?;
    ensure!(letters == 0, "{letters} dead letters");
    let taken = "sluicegate_canaries_taken_back_total";
    let taken = stage.host.metrics().await?.sum(taken, &[])?;
    ensure!(taken == 1.0, "{taken} canaries were taken back");
    let text = said(&stage.broker, &["plugins"]).await?.ok()?.stdout;
    ensure!(text.contains("was taken back by host-1"), "{text}");
    Ok(())
}

#[test]
fn a_canary_that_rejects_is_taken_back() -> Result<()> {
    within(120, is_taken_back("reject", "this build rejects"))
}

#[test]
fn a_canary_that_traps_is_taken_back() -> Result<()> {
    within(120, is_taken_back("trap", "this build traps"))
}

#[test]
fn a_canary_that_spins_is_taken_back() -> Result<()> {
    within(120, is_taken_back("spin", "400ms"))
}

#[test]
fn what_both_builds_fail_tells_nothing_against_the_canary() -> Result<()> {
    within(120, async {
        let (stage, folder) = stage("").await?;
        let b = file(folder.path(), "b", &[])?;
        let canary = ["deploy", &b, "--canary", "50%"];
        said(&stage.broker, &canary).await?.ok()?;
        let poison = (0..30).map(|n| {
            let id = format!("p{n}");
            Input::with_data(id.clone(), id, 0, json!({ "do": "fail" }))
        });
        let poison: Vec<Input> = poison.collect();
        publish(&stage.jetstream, &poison).await?;
        let letters = wait_dead_letters(&stage.jetstream, poison.len(), 30).await?;
        ensure!(letters.len() == poison.len(), "{} letters", letters.len());
        let entry = shown(&stage.broker).await?;
        let calls = entry.pointer("/canary/calls").and_then(Value::as_u64);
        ensure!((5..=25).contains(&calls.context("no calls")?), "{entry}");
        ensure!(
            entry.pointer("/canary/broken") == Some(&json!(0)),
            "{entry}"
        );
        // Each is the dead letter of the build that every key falls back to.
        let a = entry
            .get("digest")
            .and_then(Value::as_str)
            .context("no digest")?;
        for letter in letters {
            ensure!(
                letter.header("Sluice-Plugin-Digest")? == a,
                "{:?}",
                letter.headers
            );
        }
        Ok(())
    })
}

#[test]
fn what_a_canary_wants_to_try_again_is_the_other_builds() -> Result<()> {
    within(120, async {
        let settings = "[plugin.stamp]\nmax_attempts = 1\ninitial = \"100ms\"";
        let (stage, folder) = stage(settings).await?;
        let b = broken(folder.path(), "retry")?;
        let canary = ["deploy", &b, "--canary", "50%"];
        said(&stage.broker, &canary).await?.ok()?;
        let inputs = many("k", 40, 3);
        publish(&stage.jetstream, &inputs).await?;
        let outputs = wait_echoes(&stage.jetstream, inputs.len(), 40).await?;
        Verdict::on(&inputs, &outputs).clean()?;
        // What stands behind both may be down: that is no reason.
        let entry = shown(&stage.broker).await?;
        ensure!(
            entry.pointer("/canary/broken") == Some(&json!(0)),
            "{entry}"
        );
        said(&stage.broker, &["rollback", "stamp"]).await?.ok()?;
        let entry = shown(&stage.broker).await?;
        ensure!(entry.get("canary") == Some(&Value::Null), "{entry}");
        ensure!(entry.get("generation") == Some(&json!(1)), "{entry}");
        Ok(())
    })
}

#[test]
fn a_canary_that_does_not_fit_is_refused() -> Result<()> {
    within(90, async {
        let (stage, folder) = stage("").await?;
        let elsewhere = (
            "d365.custom.test.record.thing.*",
            "d365.custom.test.record.*.*",
        );
        let b = file(folder.path(), "b", &[elsewhere])?;
        let canary = ["deploy", &b, "--canary", "50%"];
        said(&stage.broker, &canary)
            .await?
            .refused(1, &["host-1", "subscribe.subjects", "without --canary"])?;
        refused(&stage.host, &["stamp (canary)"]).await?;
        runs(&stage.jetstream, "a").await?;
        said(&stage.broker, &["rollback", "stamp"]).await?.ok()?;
        let (_, body) = stage.host.admin("/readyz").await?;
        ensure!(body.contains("\"refused\":{}"), "{body}");
        Ok(())
    })
}

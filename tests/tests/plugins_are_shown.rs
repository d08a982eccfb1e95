//! Promise: `sluice plugins` says which build of each plug-in runs on which host, from anywhere.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sluicegate_tests::component::{manifest, with_manifest};
use sluicegate_tests::events::{publish, series};
use sluicegate_tests::outputs::wait_echoes;
use sluicegate_tests::sluice::{Said, sluice_on};
use sluicegate_tests::{Fleet, environment, until, within};

async fn plugins(fleet: &Fleet, more: &[&str]) -> Result<Said> {
    sluice_on(&fleet.broker, &[&["plugins"], more].concat()).await
}

/// What each host says of `stamp`, by the host's name.
async fn stamps(fleet: &Fleet) -> Result<Vec<(String, Value)>> {
    let answers = plugins(fleet, &["--json"]).await?.ok()?.json()?;
    let answers = answers.as_array().context("no array")?.iter();
    let stamp = answers.map(|answer| {
        let host = answer.get("host").and_then(Value::as_str);
        let entry = answer.pointer("/plugins/0").context("no plug-in")?;
        Ok((host.context("no host")?.to_owned(), entry.clone()))
    });
    stamp.collect()
}

fn member<'a>(entry: &'a Value, name: &str) -> Result<&'a Value> {
    entry
        .get(name)
        .with_context(|| format!("no {name}: {entry}"))
}

#[test]
fn each_host_says_what_it_runs() -> Result<()> {
    within(90, async {
        let fleet = Fleet::of(2, &["stamp"], "").await?;
        publish(&fleet.jetstream, &series("a", 3)).await?;
        wait_echoes(&fleet.jetstream, 3, 20).await?;
        let stamps_now = until("the outcomes to be shown", 20, async || {
            let stamps = stamps(&fleet).await?;
            let done = stamps
                .iter()
                .filter_map(|(_, entry)| entry.get("done")?.as_u64());
            ensure!(done.sum::<u64>() == 3, "{stamps:?}");
            Ok(stamps)
        })
        .await?;
        let hosts: Vec<&str> = stamps_now.iter().map(|(host, _)| host.as_str()).collect();
        ensure!(hosts == ["host-1", "host-2"], "{hosts:?}");
        let mut running = Vec::new();
        for (host, entry) in &stamps_now {
            ensure!(member(entry, "plugin")? == "stamp", "{entry}");
            ensure!(member(entry, "version")? == "1.0.0", "{entry}");
            ensure!(member(entry, "generation")? == 1, "{entry}");
            ensure!(member(entry, "dead")? == 0, "{entry}");
            // The one that was warmed, and one more where two calls ran beside each other.
            let instances = member(entry, "instances")?.as_u64();
            ensure!((1..=2).contains(&instances.unwrap_or(0)), "{entry}");
            let digest = member(entry, "digest")?.as_str().unwrap_or_default();
            ensure!(digest.len() == "sha256:".len() + 64, "{entry}");
            if member(entry, "partitions")? == &serde_json::json!(["stamp/0"]) {
                running.push(host);
            }
        }
        ensure!(
            running.len() == 1,
            "one host runs the partition: {running:?}"
        );

        // Another build on the first host, and a file that it cannot run.
        let component = std::fs::read(environment::guest("stamp")?)?;
        let text = manifest(&component)?.replace("1.0.0", "2.0.0");
        let host = fleet.hosts.first().context("host-1")?;
        host.put_plugin("stamp.wasm", &with_manifest(&component, &text)?)?;
        host.put_plugin("broken.wasm", b"no component")?;
        until("both to be shown", 20, async || {
            let shown = plugins(&fleet, &[]).await?.ok()?.stdout;
            for part in [
                "2.0.0",
                "generation 2",
                "1 instance of ",
                "1.0.0",
                "refused on host-1",
                "broken.wasm",
            ] {
                ensure!(shown.contains(part), "no {part}: {shown}");
            }
            Ok(())
        })
        .await?;

        // A host that stands still is named, and the other one is shown.
        host.freeze()?;
        let said = plugins(&fleet, &[]).await?;
        host.thaw()?;
        ensure!(said.code == Some(1), "{said:?}");
        ensure!(said.stderr.contains("host-1 did not answer"), "{said:?}");
        ensure!(said.stdout.contains("on host-2"), "{said:?}");
        Ok(())
    })
}

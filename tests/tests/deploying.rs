//! Promise: what is deployed runs on every host, what cannot run leaves what runs alone, and
//! going back, pausing and going on lose, repeat and reorder nothing.

use anyhow::{Context, Result, ensure};
use async_nats::jetstream::kv;
use serde_json::{Value, json};
use sluicegate_tests::checks::Verdict;
use sluicegate_tests::events::{publish, series};
use sluicegate_tests::outputs::{ECHOES, carried_over, count, echoes, wait_echoes};
use sluicegate_tests::sluice::sluice_on as said;
use sluicegate_tests::stamped::{asked, file, load, named, refused, runs};
use sluicegate_tests::{Broker, Fleet, Setup, Stage, until, within};
use tokio::sync::watch;

/// What each host says of `stamp`: host and entry.
async fn shown(broker: &Broker) -> Result<Vec<(String, Value)>> {
    let answers = said(broker, &["plugins", "stamp", "--json"]).await?.ok()?;
    let answers = answers.json()?;
    let answers = answers.as_array().context("no array")?.iter();
    let entry = |answer: &Value| {
        let host = answer.get("host")?.as_str()?.to_owned();
        Some((host, answer.pointer("/plugins/0")?.clone()))
    };
    Ok(answers.filter_map(entry).collect())
}

#[test]
fn every_host_runs_what_is_deployed_and_goes_back_under_load() -> Result<()> {
    within(180, async {
        let mut fleet = Fleet::of(2, &[], "").await?;
        let folder = tempfile::tempdir()?;
        let wide = "[delivery]\npartitions = 4\n[capabilities]";
        let wide = [("[capabilities]", wide)];
        let a = file(folder.path(), "a", &wide)?;
        let b = file(folder.path(), "b", &wide)?;
        let told = said(&fleet.broker, &["deploy", &a]).await?.ok()?.stdout;
        ensure!(
            told.contains("stamp 1.0.0 sha256:") && told.contains("host-1, host-2"),
            "{told}"
        );
        fleet.spread(4, &["host-1", "host-2"], 20).await?;
        let (stop, stopped) = watch::channel(false);
        let (inputs, worked) = tokio::join!(load(&fleet.jetstream, stopped), async {
            let worked = async {
                runs(&fleet.jetstream, "a").await?;
                said(&fleet.broker, &["deploy", &b]).await?.ok()?;
                runs(&fleet.jetstream, "b").await?;
                said(&fleet.broker, &["rollback", "stamp"]).await?.ok()?;
                runs(&fleet.jetstream, "a").await?;
                let nothing = said(&fleet.broker, &["rollback", "stamp"]).await?;
                nothing.refused(1, &["no build of stamp was deployed before", "undeploy"])?;
                // The build that was left is gone from the object store: it is put in again.
                said(&fleet.broker, &["deploy", &b]).await?.ok()?;
                runs(&fleet.jetstream, "b").await?;
                anyhow::Ok(())
            };
            let worked = worked.await;
            stop.send_replace(true);
            worked
        });
        worked?;
        let inputs = inputs?;
        for host in &fleet.hosts {
            host.settled("stamp", 60).await?;
        }
        // The probes have outputs too, so that a number of outputs tells nothing here.
        let outputs = async || {
            let mut outputs = echoes(&fleet.jetstream).await?;
            outputs.retain(|output| !output.input.starts_with("runs-"));
            anyhow::Ok(outputs)
        };
        until("every output", 30, async || {
            let lost = Verdict::on(&inputs, &outputs().await?).lost;
            ensure!(lost.is_empty(), "{} are missing", lost.len());
            Ok(())
        })
        .await?;
        carried_over(&fleet.jetstream).await?;
        Verdict::on(&inputs, &outputs().await?).clean()?;

        // Who comes later runs it too, and so does who was killed.
        fleet.join().await?;
        if let Some(host) = fleet.hosts.first_mut() {
            host.kill9();
            host.start().await?;
        }
        until("three hosts to run it", 20, async || {
            let shown = shown(&fleet.broker).await?;
            let from = |entry: &Value| entry.get("file") == Some(&json!("deployed"));
            ensure!(
                shown.len() == 3 && shown.iter().all(|(_, entry)| from(entry)),
                "{shown:?}"
            );
            Ok(())
        })
        .await?;
        runs(&fleet.jetstream, "b").await
    })
}

#[test]
fn what_is_deployed_goes_before_the_folder_until_it_is_undeployed() -> Result<()> {
    within(120, async {
        let stage = Stage::with(&["stamp"], "").await?;
        let (broker, jetstream) = (&stage.broker, &stage.jetstream);
        let folder = tempfile::tempdir()?;
        let b = file(folder.path(), "b", &[])?;
        runs(jetstream, "a").await?;
        let undeploy = ["undeploy", "stamp"];
        said(broker, &undeploy)
            .await?
            .refused(1, &["stamp is not deployed"])?;
        said(broker, &["deploy", &b]).await?.ok()?;
        ensure!(asked(jetstream, "next").await? == "b", "the folder's ran");
        refused(&stage.host, &["stamp.wasm", "sluice undeploy stamp"]).await?;
        // What is wrong with a file is told all the while, whatever else is said of the plug-in.
        stage.host.put_plugin("stamp.wasm", b"no component")?;
        refused(&stage.host, &["/stamp.wasm", "not WebAssembly"]).await?;
        for verb in ["pause", "resume"] {
            said(broker, &[verb, "stamp"]).await?.ok()?;
            let (_, body) = stage.host.admin("/readyz").await?;
            let told = ["/stamp.wasm\":\"not WebAssembly", "stamp (folder)"];
            ensure!(told.iter().all(|part| body.contains(part)), "{body}");
        }
        // A newer file does not come between.
        stage.host.put_plugin("stamp.wasm", &named("c")?)?;
        until("the file to be loaded", 20, async || {
            let log = stage.host.log()?;
            let loaded = log.matches("\"plug-in loaded\"").count();
            ensure!(loaded == 2, "loaded {loaded} times");
            Ok(())
        })
        .await?;
        ensure!(asked(jetstream, "later").await? == "b", "the folder's ran");
        said(broker, &undeploy).await?.ok()?;
        ensure!(asked(jetstream, "last").await? == "c", "it ran on");
        let (_, body) = stage.host.admin("/readyz").await?;
        ensure!(body.contains("\"refused\":{}"), "{body}");
        Ok(())
    })
}

#[test]
fn what_one_host_cannot_run_is_told_and_leaves_what_runs_alone() -> Result<()> {
    within(120, async {
        let broker = Broker::start().await?;
        let start = async |name: &str, sections: &str| {
            let setup = Setup::new(broker.url()).named(name).with(sections);
            setup.start().await
        };
        let _open = start("open", "").await?;
        // Its operator takes away what only the new build asks for.
        let narrow = start("narrow", "[plugin.stamp]\nstate = false").await?;
        let jetstream = broker.jetstream().await?;
        let folder = tempfile::tempdir()?;
        let a = file(folder.path(), "a", &[])?;
        said(&broker, &["deploy", &a]).await?.ok()?;
        runs(&jetstream, "a").await?;

        // What cannot run anywhere is not given to anybody.
        let broken = folder.path().join("broken.wasm");
        std::fs::write(&broken, b"no component")?;
        let broken = broken.display().to_string();
        said(&broker, &["deploy", &broken])
            .await?
            .refused(1, &["broken.wasm", "not WebAssembly"])?;

        // A component that got lost.
        let b = file(folder.path(), "b", &[])?;
        said(&broker, &["deploy", &b, "--no-wait"]).await?.ok()?;
        let wishes = jetstream.get_key_value("sluicegate").await?;
        let mut wish: Value = read(&wishes).await?;
        let digest = format!("sha256:{}", "0".repeat(64));
        *wish.pointer_mut("/build/digest").context("no digest")? = json!(digest);
        wishes.put("plugins.stamp", wish.to_string().into()).await?;
        refused(&narrow, &["stamp (deployed)", &digest, "deploy it again"]).await?;
        said(&broker, &["deploy", &a]).await?.ok()?;
        runs(&jetstream, "a").await?;
        let (_, body) = narrow.admin("/readyz").await?;
        ensure!(body.contains("\"refused\":{}"), "{body}");

        // Of another plug-in.
        let mut wish: Value = read(&wishes).await?;
        let other = wish.pointer_mut("/build/version").context("no version")?;
        *other = json!("9.9.9");
        wishes.put("plugins.other", wish.to_string().into()).await?;
        refused(&narrow, &["other (deployed)", "\\\"stamp\\\""]).await?;

        // Into another number of partitions.
        let wide = "[delivery]\npartitions = 4\n[capabilities]";
        let wide = file(folder.path(), "wide", &[("[capabilities]", wide)])?;
        said(&broker, &["deploy", &wide])
            .await?
            .refused(1, &["open", "narrow", "divided into 1"])?;
        runs(&jetstream, "a").await
    })
}

async fn read(wishes: &kv::Store) -> Result<Value> {
    let found = wishes.get("plugins.stamp").await?;
    Ok(serde_json::from_slice(&found.context("no wish")?)?)
}

#[test]
fn a_paused_plug_in_begins_nothing_and_goes_on_where_it_was() -> Result<()> {
    within(120, async {
        let mut stage = Stage::with(&["stamp"], "").await?;
        let before = series("a", 5);
        publish(&stage.jetstream, &before).await?;
        wait_echoes(&stage.jetstream, 5, 20).await?;
        said(&stage.broker, &["pause", "nobody"])
            .await?
            .refused(1, &["no host runs a plug-in nobody"])?;
        let told = said(&stage.broker, &["pause", "stamp"]).await?.ok()?;
        ensure!(told.stdout.contains("stamp paused: host-1"), "{told:?}");

        // More than a host reads ahead, and it is killed meanwhile.
        let mut inputs = series("a", 1_005);
        let later = inputs.split_off(5);
        publish(&stage.jetstream, &later).await?;
        stage.host.kill9();
        stage.host.start().await?;
        let lag = async |least: f64| {
            until("the lag to be told", 20, async || {
                let metrics = stage.host.metrics().await?;
                let lag = metrics.sum("sluicegate_lag_events", &[("plugin", "stamp")])?;
                ensure!(least <= lag, "{lag} behind");
                Ok(())
            })
            .await
        };
        lag(1_000.0).await?;
        // The host that was killed counts as one for as long as its lease.
        until("the pause to be shown", 20, async || {
            let shown = shown(&stage.broker).await?;
            let paused = |entry: &Value| entry.get("paused") == Some(&json!(true));
            ensure!(shown.iter().all(|(_, entry)| paused(entry)), "{shown:?}");
            Ok(())
        })
        .await?;
        let outputs = count(&stage.jetstream, "EVENTS", ECHOES).await?;
        ensure!(outputs == 5, "{outputs} outputs while it was paused");
        said(&stage.broker, &["resume", "stamp"]).await?.ok()?;
        let inputs = series("a", 1_005);
        wait_echoes(&stage.jetstream, inputs.len(), 30).await?;
        stage.host.settled("stamp", 20).await?;
        Verdict::on(&inputs, &echoes(&stage.jetstream).await?).clean()
    })
}

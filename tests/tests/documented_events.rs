//! Promise: `sluice docs` writes down what is really there, and its AsyncAPI document passes the official parser.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sluicegate_tests::events::{publish, spread};
use sluicegate_tests::sluice::{sluice, sluice_on};
use sluicegate_tests::{Input, Stage, environment, within};

#[test]
fn what_is_registered_is_in_the_document_and_on_the_page() -> Result<()> {
    within(120, async {
        let stage = Stage::with(&["emit_one"], "").await?;
        publish(&stage.jetstream, &spread(30, 5)).await?;
        stage.host.settled("emit-one", 30).await?;
        let other = Input::new("odd", "k", 0).header("ce-type", "contoso <odd> type");
        publish(&stage.jetstream, &[other]).await?;
        sluice_on(&stage.broker, &["schema", "learn"]).await?.ok()?;
        let folder = tempfile::tempdir()?;
        let out = folder.path().join("docs");
        let path = out.to_str().context("a path")?;
        let words = ["docs", "--out", path, "--title", "Contoso's events"];
        let said = sluice_on(&stage.broker, &words).await?.ok()?;
        ensure!(said.stdout.contains("asyncapi.json"), "{}", said.stdout);
        let text = std::fs::read_to_string(out.join("asyncapi.json"))?;
        let document: Value = serde_json::from_str(&text)?;
        let at = |pointer: &str| document.pointer(pointer).cloned().unwrap_or_default();
        ensure!(
            at("/asyncapi") == "3.0.0" && at("/info/title") == "Contoso's events",
            "{text}"
        );
        let channel = "d365_custom_test_record_thing_update";
        let address = at(&format!("/channels/{channel}/address"));
        ensure!(
            address == "d365.custom.test.record.thing.update.{slot}",
            "{address}"
        );
        let receives = at(&format!("/operations/emit-one_receive_{channel}/action"));
        ensure!(receives == "receive", "the consumer is missing: {text}");
        let payload = at("/components/messages/d365_custom_thing_update_v1/payload/properties/n");
        ensure!(
            payload == json!({"type": "number"}),
            "the schema is missing: {payload}"
        );
        let page = std::fs::read_to_string(out.join("index.html"))?;
        for part in [
            "Contoso",
            "d365.custom.thing.update",
            "emit-one",
            "/n",
            "contoso &lt;odd&gt; type",
        ] {
            ensure!(page.contains(part), "{part} is not on the page");
        }
        ensure!(!page.contains("<odd>"), "a type became markup");
        let printed = sluice_on(&stage.broker, &["docs", "--json"]).await?.ok()?;
        let printed: Value = serde_json::from_str(&printed.stdout)?;
        ensure!(
            printed.get("channels") == document.get("channels"),
            "two answers"
        );
        let Some(modules) = environment::outsider("SLUICE_ASYNCAPI") else {
            return Ok(());
        };
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/asyncapi/validate.mjs");
        let parser = |file: &std::path::Path| {
            Command::new("node")
                .arg(script)
                .arg(&modules)
                .arg(file)
                .output()
        };
        let parsed = parser(&out.join("asyncapi.json"))?;
        ensure!(parsed.status.success(), "{parsed:?}");
        // And one that is broken does not.
        let broken = text.replace("#/components/messages/", "#/components/nothing/");
        let file = folder.path().join("broken.json");
        std::fs::write(&file, broken)?;
        ensure!(
            !parser(&file)?.status.success(),
            "the parser takes anything"
        );
        Ok(())
    })
}

#[test]
fn a_broker_without_sluicegate_gets_an_error_and_no_files() -> Result<()> {
    within(60, async {
        let broker = sluicegate_tests::Broker::start().await?;
        let folder = tempfile::tempdir()?;
        let out = folder.path().join("docs");
        let path = out.to_str().context("a path")?;
        let said = sluice_on(&broker, &["docs", "--out", path]).await?;
        said.refused(1, &["sluice run"])?;
        ensure!(!out.exists(), "something was written");
        let wrong = sluice(&["docs", "--frobnicate"]).await?;
        wrong.refused(2, &["--frobnicate"])?;
        Ok(())
    })
}

//! Promise: a body that is larger than what the broker takes arrives whole: in the event store by
//! reference, with the plug-in and on the command line as it was sent.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use sha2::{Digest, Sha256};
use sluicegate_tests::bodies::account_update;
use sluicegate_tests::component::{manifest, with_manifest};
use sluicegate_tests::outputs::{Stored, count, wait_dead_letters, wait_echoes};
use sluicegate_tests::sluice::{dlq, sluice};
use sluicegate_tests::{Broker, Setup, Source, Stage, environment, within};

/// What the broker of these tests takes in one message.
const SMALL: &str = "max_payload: 65536";

fn source() -> Source {
    Source::new("cloudevents", "lab")
}

/// An event whose body is as large as this, and says `"n"` at its very end.
fn event(id: &str, n: u64, size: usize) -> (Vec<u8>, String) {
    let padding = "0123456789äöü \\\" ".repeat(size / 20);
    let data = format!("{{\"padding\":\"{padding}\",\"do\":\"ok\",\"n\":{n}}}");
    let event = format!(
        "{{\"specversion\":\"1.0\",\"id\":\"{id}\",\"source\":\"/shop\",\"type\":\"order\",\"partitionkey\":\"k\",\"data\":{data}}}"
    );
    (event.into_bytes(), data)
}

/// A guest that hears what comes through the gateway.
fn hearing(guest: &str) -> Result<Vec<u8>> {
    let component = std::fs::read(environment::guest(guest)?)?;
    let manifest = manifest(&component)?.replace(
        "\"d365.custom.test.record.*.*\"",
        "\"d365.custom.lab.custom.*.raised\", \"d365.dataverse.contoso.record.account.*\"",
    );
    with_manifest(&component, &manifest)
}

/// The event is in the store by reference, its body in the object store.
fn by_reference(stored: &Stored, data: &[u8]) -> Result<()> {
    let digest: String = Sha256::digest(data)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let reference = stored.attribute("dataref")?;
    ensure!(
        reference == format!("nats-object:claims/{digest}"),
        "dataref is {reference}"
    );
    ensure!(
        stored.body.is_empty(),
        "{} bytes beside the reference",
        stored.body.len()
    );
    Ok(())
}

#[test]
fn a_body_beyond_the_brokers_limit_reaches_the_plug_in_whole() -> Result<()> {
    within(90, async {
        let broker = Broker::start_with(SMALL).await?;
        let setup = Setup::new(broker.url()).file("emit_one.wasm", hearing("emit_one")?);
        let mut stage = Stage::of(broker, setup.source(&source())).await?;
        let url = stage.broker.url();
        // Around the limit, and far beyond it.
        for (n, size) in (0..).zip([1_000, 60_000, 64_000, 66_000, 300_000, 900_000]) {
            let id = format!("big-{n}");
            let (event, data) = event(&id, n, size);
            let request = source().post("application/cloudevents+json", event);
            let stored = stage
                .taken(&request)
                .await
                .with_context(|| format!("{size} bytes"))?;
            if 70_000 < data.len() {
                by_reference(&stored, data.as_bytes())?;
            }
            let shown = sluice(&["events", "show", &id, "--data", "--nats", &url])
                .await?
                .ok()?;
            ensure!(
                shown.raw == data.as_bytes(),
                "{size} bytes: other ones are shown"
            );
            let sequence = stored.sequence.to_string();
            let shown = sluice(&["events", "show", &sequence, "--json", "--nats", &url])
                .await?
                .ok()?;
            let shown = shown.json()?;
            let member = shown.get("event").and_then(|event| event.get("data"));
            ensure!(
                member == Some(&serde_json::from_str(&data)?),
                "{size} bytes: the structured event has other data"
            );
        }
        let outputs = wait_echoes(&stage.jetstream, 6, 30).await?;
        let places: Vec<u64> = outputs.iter().map(|output| output.n).collect();
        ensure!(
            places == [0, 1, 2, 3, 4, 5],
            "the ends of the bodies: {places:?}"
        );
        ensure!(
            stage.last_echoes("emit-one").await?.len() == 6,
            "each of them once"
        );
        Ok(())
    })
}

#[test]
fn a_dead_letter_of_a_large_event_can_be_replayed() -> Result<()> {
    within(90, async {
        let broker = Broker::start_with(SMALL).await?;
        let setup = Setup::new(broker.url()).file("mendable.wasm", hearing("mendable")?);
        let mut stage = Stage::of(broker, setup.source(&source())).await?;
        let (event, data) = event("big", 7, 300_000);
        let stored = stage
            .taken(&source().post("application/cloudevents+json", event))
            .await?;
        by_reference(&stored, data.as_bytes())?;
        let letters = wait_dead_letters(&stage.jetstream, 1, 20).await?;
        let letter = letters.first().context("no letter")?;
        ensure!(
            letter.header("Sluice-Reason")? == "rejected",
            "{:?}",
            letter.headers
        );
        stage.host.stop().await?;
        stage
            .host
            .reconfigure("[plugin.mendable.config]\nmended = \"yes\"")?;
        stage.host.start().await?;
        let url = stage.broker.url();
        dlq(&url, &["replay", &letter.sequence.to_string()])
            .await?
            .ok()?;
        let outputs = wait_echoes(&stage.jetstream, 1, 30).await?;
        let output = outputs.first().context("no output")?;
        ensure!(output.input == "big" && output.n == 7, "{output:?}");
        ensure!(
            count(&stage.jetstream, "DEADLETTER", "dead.>").await? == 0,
            "it was to go"
        );
        Ok(())
    })
}

#[test]
fn a_large_webhook_and_a_large_wreck_keep_their_bytes() -> Result<()> {
    within(90, async {
        let broker = Broker::start_with(SMALL).await?;
        let source = Source::new("dataverse", "contoso");
        let setup = Setup::new(broker.url()).source(&source);
        let stage = Stage::of(broker, setup).await?;
        let body = account_update(1, 1)?;
        let padding = format!("\"Padding\":\"{}\",", "\\u00e4 \\/ 0.10 ".repeat(20_000));
        let body = body.replacen('{', &format!("{{{padding}"), 1);
        let stored = stage.taken(&source.json(body.clone())).await?;
        by_reference(&stored, body.as_bytes())?;
        ensure!(stored.attribute("type")? == "d365.dataverse.account.update");
        let id = stored.attribute("id")?;
        let url = stage.broker.url();
        let shown = sluice(&["events", "show", &id, "--data", "--nats", &url])
            .await?
            .ok()?;
        ensure!(shown.raw == body.as_bytes(), "other bytes are shown");
        // Again: the same event.
        let told = stage
            .host
            .gateway()
            .ask(&source.json(body.clone()))
            .await?
            .one()?;
        ensure!(told.get("duplicate") == Some(&Value::Bool(true)), "{told}");

        // What nobody can read is as large: its bytes are kept all the same.
        let wreck = body.get(..body.len() - 1).context("a body")?.to_owned();
        let letters = stage
            .host
            .gateway()
            .ask(&source.json(wreck.clone()))
            .await?
            .dead_letters()?;
        ensure!(letters.len() == 1, "{letters:?}");
        let letters = wait_dead_letters(&stage.jetstream, 1, 20).await?;
        let letter = letters.first().context("no letter")?.sequence.to_string();
        let shown = dlq(&url, &["show", &letter]).await?.ok()?;
        ensure!(
            shown.stdout.contains(&wreck),
            "{} bytes are shown",
            shown.raw.len()
        );
        Ok(())
    })
}

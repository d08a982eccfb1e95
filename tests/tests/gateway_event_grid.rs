//! Promise: what Event Grid delivers is taken in both schemas, alone and in arrays, and what
//! Dynamics 365 sent through it is what it would be directly.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sluicegate_tests::bodies::{account_update, invoice};
use sluicegate_tests::events::slot;
use sluicegate_tests::outputs::{stored, wait_dead_letters};
use sluicegate_tests::{Source, Stage, environment, within};

const SCHEMA: &str = "application/json; charset=utf-8";
const CLOUD: &str = "application/cloudevents+json; charset=utf-8";

fn open() -> Source {
    Source::new("eventgrid", "contoso")
}

/// An event of Event Grid's own schema.
fn grid(id: &str, kind: &str, data: Value) -> Value {
    json!({
        "id": id, "topic": "/subscriptions/1/resourceGroups/x", "subject": "orders/7",
        "eventType": kind, "eventTime": "2026-01-28T09:25:05.1234567Z", "data": data,
        "dataVersion": "1", "metadataVersion": "1",
    })
}

#[test]
fn both_schemas_are_taken_alone_and_in_arrays() -> Result<()> {
    within(60, async {
        let source = open();
        let stage = Stage::taking(&[&source]).await?;
        let data = json!({ "amount": 0.1, "name": "ä" });
        let cloud = |id: &str| {
            json!({
                "specversion": "1.0", "id": id, "source": "/subscriptions/1", "type": "Contoso.Order.Placed",
                "subject": "orders/7", "time": "2026-01-28T09:25:05Z", "data": data,
            })
        };
        let own = |id: &str| grid(id, "Contoso.Order.Placed", data.clone());
        let batch = "application/cloudevents-batch+json";
        for (n, media, body) in [
            (1, SCHEMA, json!([own("g1")])),
            (1, SCHEMA, own("g2")),
            (
                3,
                "application/json",
                json!([own("g3"), own("g4"), own("g5")]),
            ),
            (1, CLOUD, cloud("c1")),
            (1, CLOUD, json!([cloud("c2")])),
            (2, CLOUD, json!([cloud("c3"), cloud("c4")])),
            (2, batch, json!([cloud("c5"), cloud("c6")])),
        ] {
            let request = source
                .post(media, body.to_string())
                .header("aeg-event-type", "Notification")
                .header("aeg-subscription-name", "CONTOSO-ORDERS")
                .header("aeg-delivery-count", "0");
            let answer = stage.host.gateway().ask(&request).await?;
            ensure!(
                answer.clone().dead_letters()?.is_empty(),
                "{body}: {}",
                answer.text()
            );
            let told = answer.accepted()?;
            ensure!(told.len() == n, "{body}: {told:?}");
        }
        let events = stored(&stage.jetstream, "EVENTS", "d365.eventgrid.contoso.>").await?;
        let ids: Vec<String> = events
            .iter()
            .map(|e| e.attribute("id"))
            .collect::<Result<_>>()?;
        let all = [
            "g1", "g2", "g3", "g4", "g5", "c1", "c2", "c3", "c4", "c5", "c6",
        ];
        ensure!(ids == all, "{ids:?}");
        for event in &events {
            ensure!(
                event.attribute("type")? == "Contoso.Order.Placed",
                "{event:?}"
            );
            ensure!(event.attribute("subject")? == "orders/7", "{event:?}");
            ensure!(
                event.attribute("time")?.starts_with("2026-01-28T09:25:05"),
                "{event:?}"
            );
            let body: Value = serde_json::from_slice(&event.body)?;
            ensure!(body == data || body.get("data") == Some(&data), "{body}");
            let tokens: Vec<&str> = event.subject.split('.').collect();
            ensure!(
                tokens.len() == 7 && tokens.get(3) == Some(&"custom"),
                "{}",
                event.subject
            );
        }
        Ok(())
    })
}

#[test]
fn a_body_of_dynamics_in_an_event_is_what_it_is_directly() -> Result<()> {
    within(60, async {
        let source = open();
        let stage = Stage::taking(&[&source]).await?;
        let context = account_update(1, 1)?;
        let business = invoice(1)?;
        for (body, kind, key) in [
            (
                &context,
                "d365.dataverse.account.update",
                "account/3e1d0a7c-6a52-4c7b-b6f1-000000000001",
            ),
            (
                &business,
                "d365.fno.SalesInvoicePostedBusinessEvent",
                "USMF/SalesInvoicePostedBusinessEvent/SO-000712",
            ),
        ] {
            // As text, so that every byte of it is the sender's.
            let event = format!(
                "[{{\"id\":\"{key}\",\"topic\":\"/t\",\"subject\":\"s\",\"eventType\":\"x\",\
                 \"eventTime\":\"2026-01-28T09:25:05Z\",\"data\": {body} ,\"dataVersion\":\"\",\"metadataVersion\":\"1\"}}]"
            );
            let stored = stage.taken(&source.post(SCHEMA, event)).await?;
            ensure!(stored.attribute("type")? == kind, "{:?}", stored.headers);
            ensure!(
                stored.attribute("partitionkey")? == key,
                "{:?}",
                stored.headers
            );
            ensure!(
                stored.subject.ends_with(&format!(".{}", slot(key))),
                "{}",
                stored.subject
            );
            ensure!(stored.body == body.as_bytes(), "the body is another one");
            ensure!(stored.attribute("eventgridid")? == key);
            ensure!(stored.attribute("eventgridtopic")? == "/t");
            // In the other schema it is the same event, and so known.
            let cloud = format!(
                "{{\"specversion\":\"1.0\",\"id\":\"c\",\"source\":\"/t\",\"type\":\"x\",\"data\":{body}}}"
            );
            let answer = stage.host.gateway().ask(&source.post(CLOUD, cloud)).await?;
            let told = answer.one()?;
            ensure!(told.get("duplicate") == Some(&Value::Bool(true)), "{told}");
            ensure!(told.get("type") == Some(&Value::from(kind)), "{told}");
        }
        Ok(())
    })
}

#[test]
fn a_body_of_dynamics_in_a_cloudevent_keeps_every_byte() -> Result<()> {
    within(60, async {
        let source = open();
        let stage = Stage::taking(&[&source]).await?;
        let body = account_update(1, 1)?;
        let cloud = format!(
            "[{{\"specversion\":\"1.0\",\"id\":\"c-1\",\"source\":\"/t\",\"type\":\"x\",\"data\": {body} }}]"
        );
        let stored = stage.taken(&source.post(CLOUD, cloud)).await?;
        ensure!(stored.attribute("type")? == "d365.dataverse.account.update");
        ensure!(stored.attribute("eventgridid")? == "c-1");
        ensure!(stored.attribute("eventgridtopic")? == "/t");
        ensure!(stored.body == body.as_bytes(), "the body is another one");
        Ok(())
    })
}

#[test]
fn a_bad_element_costs_only_itself() -> Result<()> {
    within(60, async {
        let source = open();
        let stage = Stage::taking(&[&source]).await?;
        let good = |id: &str| grid(id, "Contoso.Order.Placed", json!({})).to_string();
        let mut no_id = grid("x", "Contoso.Order.Placed", json!({}));
        no_id.as_object_mut().context("an object")?.remove("id");
        let no_id = no_id.to_string();
        let bad = [
            " 7",
            "\"text\"",
            "null",
            "[]",
            no_id.as_str(),
            "{\"id\":\"\",\"eventType\":\"\"}",
        ];
        let mut elements = Vec::new();
        for (n, bad) in bad.iter().enumerate() {
            elements.extend([good(&format!("good-{n}")), (*bad).to_owned()]);
        }
        let body = format!("[{}]", elements.join(","));
        let answer = stage.host.gateway().ask(&source.post(SCHEMA, body)).await?;
        let letters = answer.clone().dead_letters()?;
        let indexes: Vec<Option<u64>> = letters.iter().map(|l| l.get("index")?.as_u64()).collect();
        ensure!(
            indexes == [1, 3, 5, 7, 9, 11].map(Some),
            "{}",
            answer.text()
        );
        ensure!(answer.accepted()?.len() == bad.len(), "the good ones");
        ensure!(
            stage.events().await? == bad.len(),
            "the good ones are there"
        );
        let kept = wait_dead_letters(&stage.jetstream, bad.len(), 10).await?;
        for (letter, bad) in kept.iter().zip(bad) {
            let body = String::from_utf8_lossy(&letter.body);
            ensure!(body.trim() == bad.trim(), "{body} instead of {bad}");
            ensure!(
                letter.header("Sluice-Source-Kind")? == "eventgrid",
                "{:?}",
                letter.headers
            );
        }
        // What is no array and no event at all.
        for body in ["", "7", "{", "{\"a\":1}"] {
            let answer = stage.host.gateway().ask(&source.post(SCHEMA, body)).await?;
            ensure!(
                answer.clone().dead_letters()?.len() == 1,
                "{body:?}: {answer:?}"
            );
        }
        Ok(())
    })
}

#[test]
fn the_end_of_a_subscription_is_told() -> Result<()> {
    within(60, async {
        let source = open();
        let stage = Stage::taking(&[&source]).await?;
        let data = json!({ "eventSubscriptionId": "/subscriptions/1/x" });
        let event = grid("d1", "Microsoft.EventGrid.SubscriptionDeletedEvent", data);
        let request = source
            .post(SCHEMA, json!([event]).to_string())
            .header("aeg-event-type", "SubscriptionDeletion");
        let stored = stage.taken(&request).await?;
        ensure!(
            stored.subject.starts_with("d365.eventgrid.contoso.system."),
            "{}",
            stored.subject
        );
        Ok(())
    })
}

#[test]
fn the_vendors_samples_are_taken() -> Result<()> {
    let Some(folder) = environment::fixtures() else {
        eprintln!("skipped: no folder of public samples; SLUICEGATE_FIXTURES can name one");
        return Ok(());
    };
    within(60, async {
        let source = open();
        let stage = Stage::taking(&[&source]).await?;
        let body = std::fs::read(folder.join("eventgrid-eg-blobcreated-batch1.json"))?;
        let stored = stage.taken(&source.post(SCHEMA, body)).await?;
        ensure!(stored.attribute("id")? == "831e1650-001e-001b-66ab-eeb76e069631");
        ensure!(stored.attribute("type")? == "Microsoft.Storage.BlobCreated");
        // The documented CloudEvent has braces in its source, which is no URI-reference.
        let text = std::fs::read_to_string(folder.join("eventgrid-ce-blobcreated-single.json"))?;
        let answer = stage
            .host
            .gateway()
            .ask(&source.post(CLOUD, text.clone()))
            .await?;
        ensure!(answer.dead_letters()?.len() == 1);
        let mended = text
            .replace("{subscription-id}", "1")
            .replace("{resource-group}", "g")
            .replace("{storage-account}", "a");
        let stored = stage.taken(&source.post(CLOUD, mended)).await?;
        ensure!(stored.attribute("id")? == "9aeb0fdf-c01e-0131-0922-9eb54906e209");
        Ok(())
    })
}

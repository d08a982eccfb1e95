//! Promise: a 2xx means that the event is in the store: with the id, type, subject, source, time
//! and key that its body says, and with the body byte for byte.

use anyhow::{Context as _, Result, ensure};
use chrono::DateTime;
use serde_json::Value;
use sluicegate_tests::bodies::account_update;
use sluicegate_tests::events::slot;
use sluicegate_tests::outputs::{Stored, dead_letters};
use sluicegate_tests::{Source, Stage, environment, within};

/// When everything in `tests/fixtures` happened, unix seconds.
const MOMENT: i64 = 1_769_592_305;

/// Checks place, key, time, body and attributes of a stored event.
fn is(stored: &Stored, place: &str, key: &str, body: &[u8], more: &[(&str, &str)]) -> Result<()> {
    let subject = format!("d365.{place}.{}", slot(key));
    ensure!(
        stored.subject == subject,
        "{} is not {subject}",
        stored.subject
    );
    ensure!(
        stored.body == body,
        "{subject}: the body is another one:\n{}",
        String::from_utf8_lossy(&stored.body)
    );
    for (name, value) in [more, &[("partitionkey", key), ("specversion", "1.0")]].concat() {
        let found = stored.attribute(name)?;
        ensure!(
            found == value,
            "{name} of {subject}: {found:?}, not {value:?}"
        );
    }
    Ok(())
}

fn happened(stored: &Stored) -> Result<()> {
    let time = DateTime::parse_from_rfc3339(&stored.attribute("time")?)?;
    ensure!(time.timestamp() == MOMENT, "it happened at {time}");
    Ok(())
}

fn fixture(name: &str) -> Result<Vec<u8>> {
    Ok(std::fs::read(environment::own_fixture(name))?)
}

#[test]
fn dataverse_webhooks_are_stored_as_they_came() -> Result<()> {
    within(60, async {
        let source = Source::new("dataverse", "contoso");
        let stage = Stage::taking(&[&source]).await?;
        let body = fixture("dataverse-account-update.json")?;
        let request = source
            .post("application/json; charset=utf-8", body.clone())
            .header("x-ms-dynamics-organization", "contoso.crm4.dynamics.com")
            .header("x-ms-dynamics-entity-name", "account")
            .header("x-ms-dynamics-request-name", "Update")
            .header("x-ms-correlation-request-id", "11d2f6b8-9c1e-4a0f")
            // The body says 2, and it is the body that counts.
            .header("x-ms-dynamics-depth", "99")
            .header(
                "traceparent",
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            )
            .header("tracestate", "vendor=1");
        let stored = stage.taken(&request).await?;
        let key = "account/3e1d0a7c-6a52-4c7b-b6f1-0c2c5f4f9d11";
        let attributes = [
            ("source", "/dataverse/contoso"),
            ("type", "d365.dataverse.account.update"),
            ("subject", key),
            ("datacontenttype", "application/json"),
            ("correlationid", "7c3f1d20-52c4-4f0e-9a53-1f6f6f2f9b01"),
            ("causationid", "a0a1a2a3-b4b5-46c7-98d9-e0e1e2e3e4e5"),
            ("d365depth", "2"),
            ("d365user", "b7a0f1c9-3c55-4f57-8c8e-90f5d2a1e310"),
            ("d365organization", "contoso.crm4.dynamics.com"),
            ("d365entityname", "account"),
            ("d365requestname", "Update"),
            ("d365correlationrequestid", "11d2f6b8-9c1e-4a0f"),
            (
                "traceparent",
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            ),
            ("tracestate", "vendor=1"),
        ];
        let place = "dataverse.contoso.record.account.update";
        is(&stored, place, key, &body, &attributes)?;
        happened(&stored)?;
        ensure!(stored.attribute("d365truncated").is_err(), "it is whole");

        // An unbound custom API, laid out over many lines, a line feed at its end; chunked.
        let body = fixture("dataverse-custom-api.json")?;
        let request = source.json(body.clone()).chunked();
        let stored = stage.taken(&request).await?;
        let place = "dataverse.contoso.custom.contoso_oncreditchecked.raised";
        let attributes = [("type", "d365.dataverse.custom.contoso_oncreditchecked")];
        is(
            &stored,
            place,
            "custom/contoso_oncreditchecked",
            &body,
            &attributes,
        )?;
        happened(&stored)?;

        // Without a media type, as some proxies leave it; with the blanks of a pretty printer.
        let odd = format!(
            " \t\r\n{}\r\n ",
            account_update(1, 1)?.replace("\":", "\" : ")
        );
        let request = source.request("POST").body(odd.clone());
        let stored = stage.taken(&request).await?;
        ensure!(stored.body == odd.as_bytes(), "the blanks are others");
        ensure!(stage.events().await? == 3, "three were sent");
        ensure!(
            dead_letters(&stage.jetstream).await?.is_empty(),
            "all were good"
        );
        Ok(())
    })
}

#[test]
fn a_truncated_webhook_is_marked_and_taken() -> Result<()> {
    within(60, async {
        let source = Source::new("dataverse", "contoso").in_header("x-key");
        let stage = Stage::taking(&[&source]).await?;
        // What Dataverse leaves of a message over 256 KB.
        let mut body: Value = serde_json::from_str(&account_update(5, 1)?)?;
        let members = body.as_object_mut().context("an object")?;
        for name in [
            "ParentContext",
            "InputParameters",
            "PreEntityImages",
            "PostEntityImages",
        ] {
            members.remove(name);
        }
        let body = body.to_string();
        let request = source
            .json(body.clone())
            .header("x-ms-dynamics-msg-size-exceeded", "true");
        let stored = stage.taken(&request).await?;
        ensure!(stored.body == body.as_bytes(), "the body is another one");
        ensure!(stored.attribute("d365truncated")? == "true");
        ensure!(stored.attribute("type")? == "d365.dataverse.account.update");
        ensure!(stored.attribute("subject")?.starts_with("account/"));
        Ok(())
    })
}

#[test]
fn an_event_that_is_sent_again_is_stored_once() -> Result<()> {
    within(60, async {
        let source = Source::new("dataverse", "contoso");
        let stage = Stage::taking(&[&source]).await?;
        let gateway = stage.host.gateway();
        let request = source.json(account_update(1, 1)?);
        let first = gateway.ask(&request).await?.one()?;
        ensure!(
            first.get("duplicate") == Some(&Value::Bool(false)),
            "{first}"
        );
        let again = gateway.ask(&request).await?.one()?;
        ensure!(
            again.get("duplicate") == Some(&Value::Bool(true)),
            "{again}"
        );
        for member in ["id", "sequence", "subject"] {
            ensure!(
                first.get(member) == again.get(member),
                "{first} and {again}"
            );
        }
        // At the same time, on thirty connections.
        let same = source.json(account_update(1, 2)?);
        let answers = futures_util::future::join_all((0..30).map(|_| gateway.ask(&same))).await;
        let mut new = 0;
        for answer in answers {
            let told = answer?.one()?;
            new += usize::from(told.get("duplicate") == Some(&Value::Bool(false)));
        }
        ensure!(new == 1, "{new} of thirty were told to be new");
        ensure!(stage.events().await? == 2, "two are two");
        Ok(())
    })
}

#[test]
fn finance_and_operations_events_are_stored_as_they_came() -> Result<()> {
    within(60, async {
        let source = Source::new("fno", "contoso").in_header("x-functions-key");
        let stage = Stage::taking(&[&source]).await?;
        let body = fixture("fno-sales-order-invoiced.json")?;
        let stored = stage.taken(&source.json(body.clone())).await?;
        let place = "fno.contoso.business.salesinvoicepostedbusinessevent.raised";
        let attributes = [
            ("id", "0d6e3d5a-6b77-4c0b-9e5c-8f2d1a7b4c33"),
            ("source", "/fno/contoso/USMF"),
            ("type", "d365.fno.SalesInvoicePostedBusinessEvent"),
            ("subject", "SO-000712"),
            ("d365controlnumber", "5637611083"),
        ];
        let key = "USMF/SalesInvoicePostedBusinessEvent/SO-000712";
        is(&stored, place, key, &body, &attributes)?;
        happened(&stored)?;

        // What F&O sends when an endpoint is activated: blank ids. It has to be taken.
        let test = r#"{"BusinessEventId":"","BusinessEventLegalEntity":"","ContextRecordSubject":"","ControlNumber":0,"EventId":"","EventTime":"/Date(-2208988800000)/","MajorVersion":0,"MinorVersion":0,"ParentContextRecordSubjects":null}"#;
        let told = stage
            .host
            .gateway()
            .ask(&source.json(test))
            .await?
            .accepted()?;
        ensure!(told.len() == 1, "the test message is an event: {told:?}");

        // A data event is an execution context of a virtual table.
        let body = account_update(3, 1)?
            .replace(
                "\"MessageName\":\"Update\",\"Mode\":1",
                "\"MessageName\":\"OnExternalUpdated\",\"Mode\":1",
            )
            .replace("\"account\"", "\"mserp_custcustomerv3entity\"");
        let stored = stage.taken(&source.json(body.clone())).await?;
        let key = "mserp_custcustomerv3entity/3e1d0a7c-6a52-4c7b-b6f1-000000000003";
        let place = "fno.contoso.record.mserp_custcustomerv3entity.update";
        let attributes = [("type", "d365.fno.mserp_custcustomerv3entity.update")];
        is(&stored, place, key, body.as_bytes(), &attributes)?;
        ensure!(stored.attribute("source")?.starts_with("/fno/contoso"));
        Ok(())
    })
}

#[test]
fn cloud_events_are_stored_in_all_three_modes() -> Result<()> {
    within(60, async {
        let source = Source::new("cloudevents", "lab");
        let stage = Stage::taking(&[&source]).await?;
        // No digit, escape or blank of the data is touched.
        let data = "{ \"amount\": 0.10,\t\"n\":9007199254740993, \"t\":\"\\u00e4\\/\" }";
        let event = |id: &str| {
            format!(
                "{{\"specversion\":\"1.0\",\"id\":\"{id}\",\"source\":\"/shop/1\",\"type\":\"com.example.order\",\
                 \"subject\":\"küche 7\",\"time\":\"2026-01-28T10:25:05.5+01:00\",\"partitionkey\":\"order/7\",\
                 \"datacontenttype\":\"application/json\",\"extint\":-7,\"extbool\":true,\"data\":{data}}}"
            )
        };
        let attributes = [
            ("source", "/shop/1"),
            ("type", "com.example.order"),
            ("subject", "küche 7"),
            ("time", "2026-01-28T10:25:05.5+01:00"),
            ("extint", "-7"),
            ("extbool", "true"),
            ("datacontenttype", "application/json"),
        ];
        let place = "custom.lab.custom.com_example_order.raised";
        let structured = source.post("application/cloudevents+json; charset=utf-8", event("s1"));
        let stored = stage.taken(&structured).await?;
        is(&stored, place, "order/7", data.as_bytes(), &attributes)?;

        let body: &[u8] = &[0, 255, 13, 10, 0x80, b'{', b'\\'];
        let binary = source
            .post("image/png", body)
            .header("ce-specversion", "1.0")
            .header("ce-id", "b1")
            .header("ce-source", "/shop/1")
            .header("ce-type", "com.example.order")
            .header("ce-subject", "k%C3%BCche%207")
            .header("ce-time", "2026-01-28T10:25:05.5+01:00")
            .header("ce-partitionkey", "order/7");
        let stored = stage.taken(&binary).await?;
        let attributes = [
            ("id", "b1"),
            ("subject", "küche 7"),
            ("datacontenttype", "image/png"),
        ];
        is(&stored, place, "order/7", body, &attributes)?;

        let batch: Vec<String> = (0..50).map(|n| event(&format!("m{n}"))).collect();
        let batch = format!("[{}]", batch.join(" ,\n"));
        let batch = source.post("application/cloudevents-batch+json", batch);
        let answer = stage.host.gateway().ask(&batch).await?;
        let told = answer.accepted()?;
        ensure!(told.len() == 50, "{} of 50", told.len());
        for (n, told) in told.iter().enumerate() {
            let id = told.get("id").and_then(Value::as_str);
            ensure!(id == Some(format!("m{n}").as_str()), "not in order: {told}");
        }
        ensure!(
            stage.events().await? == 52,
            "{} events",
            stage.events().await?
        );

        // Nothing in it, nothing to do.
        let empty = source.post("application/cloudevents-batch+json", "[]");
        let told = stage.host.gateway().ask(&empty).await?.accepted()?;
        ensure!(told.is_empty(), "{told:?}");
        Ok(())
    })
}

//! Promise: the command line does to real bodies what the design says, byte for byte.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use chrono::DateTime;
use serde_json::Value;
use sluicegate_tests::events::slot;
use sluicegate_tests::outputs::{Stored, stored};
use sluicegate_tests::sluice::{Said, sluice, sluice_with_input};
use sluicegate_tests::{Stage, environment, within};

const OURS: [&str; 3] = [
    "dataverse-account-update.json",
    "dataverse-custom-api.json",
    "fno-sales-order-invoiced.json",
];

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

async fn send(stage: &Stage, files: &[&Path], more: &[&str]) -> Result<Said> {
    let files: Vec<String> = files.iter().map(|file| text(file)).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let url = stage.broker.url();
    let common = ["--environment", "contoso", "--nats", &url, "--json"];
    sluice(&[&["send"], files.as_slice(), &common, more].concat()).await
}

#[test]
fn raw_bodies_are_sent_byte_for_byte_with_their_attributes() -> Result<()> {
    within(60, async {
        let stage = Stage::with(&["ok"], "").await?;
        let files: Vec<PathBuf> = OURS
            .iter()
            .map(|name| environment::own_fixture(name))
            .collect();
        let paths: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
        let said = send(&stage, &paths, &[]).await?.ok()?.json_lines()?;
        let events = stored(&stage.jetstream, "EVENTS", "d365.>").await?;
        ensure!(said.len() == 3 && events.len() == 3, "{said:?}\n{events:?}");
        for ((event, line), path) in events.iter().zip(&said).zip(&paths) {
            let body = std::fs::read(path)?;
            ensure!(
                event.body.trim_ascii_end() == body.trim_ascii_end(),
                "{}: other bytes",
                path.display()
            );
            for (member, value) in [
                ("subject", event.subject.as_str()),
                ("id", event.header("ce-id")?),
                ("source", event.header("ce-source")?),
                ("type", event.header("ce-type")?),
            ] {
                ensure!(
                    line.get(member).and_then(Value::as_str) == Some(value),
                    "{member}: {line}"
                );
            }
            ensure!(
                line.get("sequence").and_then(Value::as_u64) == Some(event.sequence),
                "{line}"
            );
            ensure!(line.get("duplicate") == Some(&Value::Bool(false)), "{line}");
            ensure!(
                event.header("ce-specversion")? == "1.0",
                "{:?}",
                event.headers
            );
            ensure!(
                event.header("ce-datacontenttype")? == "application/json",
                "{:?}",
                event.headers
            );
        }
        let [account, custom, fno] = events.as_slice() else {
            anyhow::bail!("three were sent")
        };
        let id = "3e1d0a7c-6a52-4c7b-b6f1-0c2c5f4f9d11";
        is(
            account,
            "dataverse.contoso.record.account.update",
            &format!("account/{id}"),
            &[
                ("ce-source", "/dataverse/contoso"),
                ("ce-type", "d365.dataverse.account.update"),
                ("ce-subject", &format!("account/{id}")),
                ("ce-correlationid", "7c3f1d20-52c4-4f0e-9a53-1f6f6f2f9b01"),
                ("ce-causationid", "a0a1a2a3-b4b5-46c7-98d9-e0e1e2e3e4e5"),
                ("ce-d365depth", "2"),
                ("ce-d365user", "b7a0f1c9-3c55-4f57-8c8e-90f5d2a1e310"),
            ],
        )?;
        let message = "custom/contoso_oncreditchecked";
        is(
            custom,
            "dataverse.contoso.custom.contoso_oncreditchecked.raised",
            message,
            &[
                ("ce-source", "/dataverse/contoso"),
                ("ce-type", "d365.dataverse.custom.contoso_oncreditchecked"),
                ("ce-d365depth", "1"),
            ],
        )?;
        let key = "USMF/SalesInvoicePostedBusinessEvent/SO-000712";
        is(
            fno,
            "fno.contoso.business.salesinvoicepostedbusinessevent.raised",
            key,
            &[
                ("ce-id", "0d6e3d5a-6b77-4c0b-9e5c-8f2d1a7b4c33"),
                ("ce-source", "/fno/contoso/USMF"),
                ("ce-type", "d365.fno.SalesInvoicePostedBusinessEvent"),
                ("ce-subject", "SO-000712"),
                ("ce-d365controlnumber", "5637611083"),
            ],
        )
    })
}

/// Checks where an event is and what it says of itself; all three happened at the same second.
fn is(event: &Stored, place: &str, key: &str, headers: &[(&str, &str)]) -> Result<()> {
    let subject = format!("d365.{place}.{}", slot(key));
    ensure!(
        event.subject == subject,
        "it is on {} instead of {subject}",
        event.subject
    );
    for (header, value) in [headers, &[("ce-partitionkey", key)]].concat() {
        let found = event.header(header)?;
        ensure!(
            found == value,
            "{header} of {subject} is {found:?} instead of {value:?}"
        );
    }
    let time = DateTime::parse_from_rfc3339(event.header("ce-time")?)?;
    ensure!(
        time.timestamp() == 1_769_592_305,
        "{subject} happened at {time}"
    );
    Ok(())
}

#[test]
fn what_is_sent_twice_is_stored_once() -> Result<()> {
    within(60, async {
        let stage = Stage::with(&["ok"], "").await?;
        let account = environment::own_fixture("dataverse-account-update.json");
        let first = send(&stage, &[&account], &[]).await?.ok()?.json()?;
        let again = send(&stage, &[&account], &[]).await?.ok()?.json()?;
        ensure!(first.get("id") == again.get("id"), "{first} and {again}");
        ensure!(
            again.get("duplicate") == Some(&Value::Bool(true)),
            "{again}"
        );

        // Another operation on the same record is another event.
        let other = std::fs::read_to_string(&account)?.replace("e1b9c8a4-7d3b", "e1b9c8a4-7d3c");
        let url = stage.broker.url();
        let arguments = [
            "send",
            "-",
            "--environment",
            "contoso",
            "--nats",
            &url,
            "--json",
        ];
        let other = sluice_with_input(&arguments, other.as_bytes())
            .await?
            .ok()?
            .json()?;
        ensure!(other.get("id") != first.get("id"), "{other} and {first}");
        ensure!(
            stored(&stage.jetstream, "EVENTS", "d365.>").await?.len() == 2,
            "two are two"
        );
        Ok(())
    })
}

#[test]
fn many_documents_in_one_file_and_structured_events_are_sent() -> Result<()> {
    within(60, async {
        let stage = Stage::with(&["ok"], "").await?;
        let event = |n: u32| {
            format!(
                "{{\"specversion\":\"1.0\",\"id\":\"s{n}\",\"source\":\"/custom/shop\",\
                 \"type\":\"d365.custom.order.update\",\"partitionkey\":\"order/{n}\",\
                 \"datacontenttype\":\"application/json\",\"data\":{{\"amount\":0.10,\"n\":{n}}}}}"
            )
        };
        let lines: String = (0..200).map(|n| event(n) + "\n").collect();
        let url = stage.broker.url();
        let arguments = ["send", "-", "--nats", &url, "--json"];
        let said = sluice_with_input(&arguments, lines.as_bytes())
            .await?
            .ok()?
            .json_lines()?;
        ensure!(said.len() == 200, "{} lines", said.len());
        let events = stored(&stage.jetstream, "EVENTS", "d365.>").await?;
        ensure!(events.len() == 200, "{} events", events.len());
        for (n, event) in events.iter().enumerate() {
            ensure!(
                event.header("ce-id")? == format!("s{n}"),
                "they are not in the order of the file"
            );
            ensure!(
                event.subject.starts_with("d365.custom."),
                "it is on {}",
                event.subject
            );
            ensure!(
                event
                    .subject
                    .ends_with(&format!(".{}", slot(&format!("order/{n}")))),
                "{}",
                event.subject
            );
            let body = std::str::from_utf8(&event.body)?;
            ensure!(body.contains("0.10"), "a digit was lost: {body}");
        }
        // To a place of the sender's choice.
        let place = ["--subject", "d365.custom.test.record.order.update"];
        let chosen =
            sluice_with_input(&[&arguments[..], &place].concat(), event(500).as_bytes()).await?;
        let chosen = chosen.ok()?.json()?;
        let subject = chosen
            .get("subject")
            .and_then(Value::as_str)
            .context("no subject")?;
        ensure!(
            subject.starts_with("d365.custom.test.record.order.update."),
            "{subject}"
        );
        Ok(())
    })
}

//! Promise: bodies as Dynamics 365 really sends them go in through the gateway and come out of
//! `sluice events show` as they were, to the byte, under the right id, type, subject, time and key.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use chrono::DateTime;
use serde_json::Value;
use sluicegate_tests::events::slot;
use sluicegate_tests::sluice::sluice;
use sluicegate_tests::{Source, Stage, environment, within};

fn text<'a>(body: &'a Value, name: &str) -> &'a str {
    body.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// The Target of an execution context, and the record's id.
fn target(body: &Value) -> (Option<&Value>, String) {
    let parameters = body.get("InputParameters").and_then(Value::as_array);
    let target = parameters
        .into_iter()
        .flatten()
        .find(|pair| text(pair, "key") == "Target");
    let target = target.and_then(|pair| pair.get("value"));
    let primary = text(body, "PrimaryEntityId");
    let zero = primary.chars().all(|c| c == '0' || c == '-');
    let id = if zero {
        target.map(|t| text(t, "Id")).unwrap_or_default()
    } else {
        primary
    };
    (target, id.to_lowercase())
}

/// `/Date(1525647911000)/` or an ISO time, as unix milliseconds.
fn moment(date: &str) -> Option<i64> {
    match date.strip_prefix("/Date(") {
        Some(rest) => {
            let digits = rest.trim_end_matches(")/");
            let end = digits.find(['+', ')']).unwrap_or(digits.len());
            digits.get(..end)?.parse().ok()
        }
        None => DateTime::parse_from_rfc3339(date)
            .ok()
            .map(|time| time.timestamp_millis()),
    }
}

/// What has to be stored of an execution context (the table of the design's section 5, read
/// once more, apart from the code under test).
fn of_context(body: &Value) -> BTreeMap<&'static str, String> {
    let mut expected = BTreeMap::new();
    let (target, id) = target(body);
    let (table, message) = (
        text(body, "PrimaryEntityName"),
        text(body, "MessageName").to_lowercase(),
    );
    let key = if table == "none" || table.is_empty() {
        expected.insert("type", format!("d365.dataverse.custom.{message}"));
        format!("custom/{message}")
    } else {
        expected.insert("type", format!("d365.dataverse.{table}.{message}"));
        expected.insert("subject", format!("{table}/{id}"));
        format!("{table}/{id}")
    };
    expected.insert("partitionkey", key);
    expected.insert("source", "/dataverse/contoso".to_owned());
    expected.insert("correlationid", text(body, "CorrelationId").to_owned());
    expected.insert("d365user", text(body, "InitiatingUserId").to_owned());
    if let Some(depth) = body.get("Depth") {
        expected.insert("d365depth", depth.to_string());
    }
    if let Some(parent) = body
        .get("ParentContext")
        .filter(|parent| parent.is_object())
    {
        expected.insert("causationid", text(parent, "OperationId").to_owned());
    }
    let attributes = target.and_then(|target| target.get("Attributes")?.as_array());
    let modified = attributes
        .into_iter()
        .flatten()
        .find(|pair| text(pair, "key") == "modifiedon");
    if let Some(millis) = modified.and_then(|pair| moment(text(pair, "value"))) {
        expected.insert("time", millis.to_string());
    }
    expected
}

#[test]
fn captured_webhooks_go_in_and_come_out_to_the_byte() -> Result<()> {
    let Some(folder) = environment::fixtures() else {
        eprintln!("skipped: no folder of public samples; SLUICEGATE_FIXTURES can name one");
        return Ok(());
    };
    within(90, async {
        let mut files: Vec<PathBuf> = std::fs::read_dir(folder)?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<_>>()?;
        files.sort();
        let named = |path: &PathBuf, start: &str| {
            let name = path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned());
            name.is_some_and(|name| name.starts_with(start) && name.ends_with(".json"))
        };
        let dataverse = Source::new("dataverse", "contoso");
        let fno = Source::new("fno", "contoso");
        let stage = Stage::taking(&[&dataverse, &fno]).await?;
        let url = stage.broker.url();
        let mut ids = Vec::new();
        for file in files {
            let name = file.display().to_string();
            let (source, is_context) = match () {
                () if named(&file, "dataverse-") => (&dataverse, true),
                () if named(&file, "fno-be-") => (&fno, false),
                () => continue,
            };
            let bytes = std::fs::read(&file)?;
            let body: Value = serde_json::from_slice(&bytes)?;
            let stored = stage
                .taken(&source.json(bytes.clone()))
                .await
                .context(name.clone())?;
            let expected = if is_context {
                of_context(&body)
            } else {
                of_business(&body)
            };
            for (attribute, value) in &expected {
                let mut found = stored.attribute(attribute).context(name.clone())?;
                if *attribute == "time" {
                    found = DateTime::parse_from_rfc3339(&found)?
                        .timestamp_millis()
                        .to_string();
                }
                ensure!(
                    &found == value,
                    "{name}: {attribute} is {found:?} instead of {value:?}"
                );
            }
            let key = expected.get("partitionkey").context("a key")?;
            ensure!(
                stored.subject.ends_with(&format!(".{}", slot(key))),
                "{name}: {}",
                stored.subject
            );

            let id = stored.attribute("id")?;
            let sequence = stored.sequence.to_string();
            for which in [id.as_str(), sequence.as_str()] {
                let shown = sluice(&["events", "show", which, "--data", "--nats", &url])
                    .await?
                    .ok()?;
                ensure!(
                    shown.raw == bytes,
                    "{name}: other bytes are shown for {which}"
                );
            }
            let shown = sluice(&["events", "show", &id, "--nats", &url])
                .await?
                .ok()?;
            ensure!(
                shown.raw.ends_with(&bytes),
                "{name}: the plain view ends with the body"
            );
            for line in [
                format!("id: {id}"),
                format!("type: {}", stored.attribute("type")?),
            ] {
                ensure!(
                    shown.stdout.lines().any(|shown| shown.trim() == line),
                    "{name}: no {line:?}"
                );
            }
            // The same body is the same event, whenever and however it comes again.
            let told = stage
                .host
                .gateway()
                .ask(&source.json(bytes).chunked())
                .await?
                .one()?;
            ensure!(
                told.get("duplicate") == Some(&Value::Bool(true)),
                "{name}: {told}"
            );
            ids.push(id);
        }
        let count = ids.len();
        ids.sort();
        ids.dedup();
        ensure!(
            0 < count && ids.len() == count,
            "{} ids for {count} bodies",
            ids.len()
        );
        sluice(&["events", "show", "no-such-id", "--nats", &url])
            .await?
            .refused(1, &["no-such-id"])?;
        Ok(())
    })
}

fn of_business(body: &Value) -> BTreeMap<&'static str, String> {
    let (company, event) = (
        text(body, "BusinessEventLegalEntity"),
        text(body, "BusinessEventId"),
    );
    let about = text(body, "ContextRecordSubject");
    let number = body
        .get("ControlNumber")
        .map(Value::to_string)
        .unwrap_or_default();
    let subject = if about.is_empty() {
        number.as_str()
    } else {
        about
    };
    let time = moment(text(body, "EventTimeIso8601")).or_else(|| moment(text(body, "EventTime")));
    let time = time.unwrap_or_default().to_string();
    BTreeMap::from([
        ("id", text(body, "EventId").to_lowercase()),
        ("source", format!("/fno/contoso/{company}")),
        ("type", format!("d365.fno.{event}")),
        ("subject", subject.to_owned()),
        ("time", time),
        ("partitionkey", format!("{company}/{event}/{about}")),
        ("d365controlnumber", number.clone()),
    ])
}

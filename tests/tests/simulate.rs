//! Promise: simulated traffic is real in form and repeatable, and none of it is lost.

use std::collections::HashSet;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sluicegate_tests::bodies::account_update;
use sluicegate_tests::broker::free_port;
use sluicegate_tests::events::slot;
use sluicegate_tests::outputs::{Stored, count, stored};
use sluicegate_tests::process::{Process, command};
use sluicegate_tests::sluice::{Said, sluice};
use sluicegate_tests::{Broker, Setup, Source, Stage, environment, until, within};

async fn simulate(arguments: &[&str]) -> Result<Said> {
    let common = ["simulate", "--environment", "contoso", "--json"];
    sluice(&[&common[..], arguments].concat()).await
}

fn number(table: &Value, member: &str) -> Result<u64> {
    let number = table.get(member).and_then(Value::as_u64);
    number.with_context(|| format!("no {member} in {table}"))
}

/// Checks the closing table: the total, and that the rows give it.
fn tells(table: &Value, sent: u64, known: u64) -> Result<()> {
    for (member, expected) in [
        ("sent", sent),
        ("accepted", sent),
        ("duplicates", known),
        ("refused", 0),
        ("unanswered", 0),
    ] {
        ensure!(
            number(table, member)? == expected,
            "{member} is not {expected}: {table}"
        );
        let rows = table.get("rows").and_then(Value::as_array);
        let mut sum = 0;
        for row in rows.context("no rows")? {
            sum += number(row, member)?;
        }
        ensure!(sum == expected, "the rows give {sum} {member}: {table}");
    }
    Ok(())
}

/// Every event once.
fn distinct(events: &[Stored]) -> Result<()> {
    let ids: HashSet<&str> = events
        .iter()
        .map(|event| event.header("Nats-Msg-Id"))
        .collect::<Result<_>>()?;
    ensure!(
        ids.len() == events.len(),
        "{} ids of {} events",
        ids.len(),
        events.len()
    );
    Ok(())
}

#[test]
fn the_same_seed_and_start_write_the_same_bodies() -> Result<()> {
    within(60, async {
        let start = [
            "--seed",
            "7",
            "--start",
            "2026-01-28T09:25:05Z",
            "--count",
            "300",
        ];
        let faults = [
            "--duplicates",
            "5",
            "--reorder",
            "5",
            "--truncate",
            "5",
            "--out",
            "-",
        ];
        let one = simulate(&[&start[..], &faults].concat()).await?.ok()?;
        let two = simulate(&[&start[..], &faults].concat()).await?.ok()?;
        ensure!(one.stdout == two.stdout, "the same seed gave other bodies");
        let other = simulate(&[&start[2..], &["--seed", "8"], &faults].concat())
            .await?
            .ok()?;
        ensure!(
            one.stdout != other.stdout,
            "another seed gave the same bodies"
        );

        let bodies = one.json_lines()?;
        ensure!(
            300 < bodies.len() && bodies.len() < 340,
            "{} bodies",
            bodies.len()
        );
        for body in &bodies {
            let is_one = ["MessageName", "BusinessEventId"]
                .iter()
                .any(|name| body.get(name).is_some_and(Value::is_string));
            ensure!(is_one, "no body of Dynamics 365: {body}");
        }
        let table = one.stderr.lines().last().context("no table")?;
        tells(&serde_json::from_str(table)?, bodies.len() as u64, 0)
    })
}

#[test]
fn traffic_straight_to_the_broker_is_stored_once_and_as_it_was_made() -> Result<()> {
    within(90, async {
        let stage = Stage::with(&["ok"], "").await?;
        let url = stage.broker.url();
        let events = [
            "--seed",
            "3",
            "--start",
            "2026-01-28T09:25:05Z",
            "--count",
            "400",
        ];
        let faults = ["--duplicates", "10", "--reorder", "10"];
        let to_nats = ["--rate", "0", "--nats", &url];
        let said = simulate(&[&events[..], &faults, &to_nats].concat())
            .await?
            .ok()?;
        let found = stored(&stage.jetstream, "EVENTS", "d365.>").await?;
        ensure!(found.len() == 400, "{} events", found.len());
        distinct(&found)?;
        let table = said.json()?;
        let sent = number(&table, "sent")?;
        ensure!(420 < sent && sent < 460, "{sent} were sent");
        tells(&table, sent, sent - 400)?;

        // What is written into a file without a rate is what was sent without one.
        let to_file = ["--rate", "0", "--out", "-"];
        let written = simulate(&[&events[..], &faults, &to_file].concat())
            .await?
            .ok()?;
        let written: HashSet<&[u8]> = written.stdout.lines().map(str::as_bytes).collect();
        ensure!(written.len() == 400, "{} different bodies", written.len());
        for event in &found {
            ensure!(
                written.contains(&event.body[..]),
                "another body in {}",
                event.subject
            );
            let parts: Vec<&str> = event.subject.split('.').collect();
            ensure!(
                parts.get(2) == Some(&"contoso"),
                "it is on {}",
                event.subject
            );
            let key = event.header("ce-partitionkey")?;
            if !key.contains('%') {
                ensure!(
                    parts.get(6) == Some(&slot(key).to_string().as_str()),
                    "{}",
                    event.subject
                );
            }
        }
        // The same again: the broker knows them all.
        let again = simulate(&[&events[..], &to_nats].concat()).await?.ok()?;
        tells(&again.json()?, 400, 400)
    })
}

#[test]
fn traffic_through_the_gateway_arrives_with_its_headers() -> Result<()> {
    within(90, async {
        let dataverse = Source::new("dataverse", "contoso").keyed("a key/with+signs");
        let fno = Source::new("fno", "contoso").keyed("a key/with+signs");
        let stage = Stage::taking(&[&dataverse, &fno]).await?;
        let url = format!("http://127.0.0.1:{}", stage.host.gateway().port());
        let gateway = ["--gateway", url.as_str(), "--key", dataverse.key()];
        let traffic = [
            "--rate",
            "300",
            "--seconds",
            "1",
            "--truncate",
            "20",
            "--duplicates",
            "10",
        ];
        let said = simulate(&[&traffic[..], &gateway].concat())
            .await?
            .ok()?
            .json()?;
        let found = stored(&stage.jetstream, "EVENTS", "d365.>").await?;
        ensure!(found.len() == 300, "{} events", found.len());
        distinct(&found)?;
        // An answer that came too late was asked for again, and the broker knew the event.
        let (sent, known) = (number(&said, "sent")?, number(&said, "duplicates")?);
        tells(&said, sent, known)?;
        let asked_again = known.checked_sub(sent - 300).context("too few known")?;
        ensure!(asked_again <= number(&said, "retried")?, "{said}");
        let mut truncated = 0;
        for event in &found {
            let source = event.header("ce-source")?;
            if event.header("ce-type")?.contains("BusinessEvent") {
                ensure!(source.starts_with("/fno/contoso/"), "{source}");
                continue;
            }
            if source == "/dataverse/contoso" {
                let body: Value = serde_json::from_slice(&event.body)?;
                let name = body.get("MessageName").and_then(Value::as_str);
                ensure!(
                    name == Some(event.header("ce-d365requestname")?),
                    "{:?}",
                    event.headers
                );
                let organization = event.header("ce-d365organization")?;
                ensure!(organization.starts_with("contoso."), "{organization}");
                truncated += u32::from(event.header("ce-d365truncated").is_ok());
            }
        }
        ensure!(10 < truncated, "{truncated} truncated ones");

        // The key in a header where the query was agreed on is no key.
        let wrong = [&gateway[..], &["--count", "5", "--key-in", "header:x-key"]].concat();
        let said = simulate(&wrong).await?;
        ensure!(said.code == Some(1), "{said:?}");
        let table = said.json()?;
        ensure!(number(&table, "refused")? == 5, "{table}");
        ensure!(said.stdout.contains("401"), "{table}");
        Ok(())
    })
}

#[test]
fn a_broker_that_dies_under_the_gateway_costs_no_event() -> Result<()> {
    within(120, async {
        let (dataverse, fno) = (
            Source::new("dataverse", "contoso"),
            Source::new("fno", "contoso"),
        );
        let (dataverse, fno) = (dataverse.keyed("k"), fno.keyed("k"));
        let probe = dataverse.clone();
        let mut stage = Stage::taking(&[&dataverse, &fno]).await?;
        let url = format!("http://127.0.0.1:{}", stage.host.gateway().port());
        let arguments = [
            "--gateway",
            &url,
            "--key",
            "k",
            "--rate",
            "100",
            "--seconds",
            "6",
        ];
        let broken = async {
            until("the first events", 20, async || {
                let stored = count(&stage.jetstream, "EVENTS", "d365.>").await?;
                ensure!(50 < stored, "{stored} events");
                Ok(())
            })
            .await?;
            stage.broker.kill9();
            let probe = probe.json(account_update(1, 1)?);
            stage.host.gateway().ask_until(&probe, 503, 20).await?;
            stage.broker.restart().await
        };
        let (said, broken) = tokio::join!(simulate(&arguments), broken);
        broken?;
        let table = said?.ok()?.json()?;
        ensure!(
            0 < number(&table, "retried")?,
            "the broker was never away: {table}"
        );
        let found = stored(&stage.jetstream, "EVENTS", "d365.>").await?;
        ensure!(found.len() == 600, "{} events", found.len());
        distinct(&found)
    })
}

#[test]
fn a_signal_ends_a_run_with_its_table() -> Result<()> {
    within(60, async {
        let stage = Stage::with(&["ok"], "").await?;
        let folder = tempfile::tempdir()?;
        let log = folder.path().join("said");
        let mut simulate = command(&environment::sluice()?);
        simulate.args([
            "simulate",
            "--rate",
            "50",
            "--seconds",
            "600",
            "--json",
            "--nats",
            &stage.broker.url(),
        ]);
        let mut simulate = Process::start("sluice simulate", simulate, &log)?;
        until("the first events", 20, async || {
            ensure!(0 < stage.events().await?, "none yet");
            Ok(())
        })
        .await?;
        simulate.terminate()?;
        let status = simulate.wait(20).await?;
        let said = std::fs::read_to_string(&log)?;
        ensure!(status.success(), "{status}: {said}");
        let table = said.lines().last().context("it said nothing")?;
        tells(
            &serde_json::from_str(table)?,
            stage.events().await? as u64,
            0,
        )
    })
}

#[test]
fn what_cannot_be_is_said_at_once() -> Result<()> {
    within(60, async {
        let nowhere = format!("127.0.0.1:{}", free_port()?);
        let gateway = format!("http://{nowhere}");
        simulate(&["--gateway", &gateway])
            .await?
            .refused(1, &["--gateway", &nowhere])?;
        simulate(&["--gateway", "contoso"])
            .await?
            .refused(1, &["--gateway", "contoso"])?;
        simulate(&["--rate=-1"])
            .await?
            .refused(2, &["--rate", "-1"])?;
        simulate(&["--truncate", "101"])
            .await?
            .refused(2, &["101", "0 to 100"])?;
        simulate(&["--start", "tomorrow"])
            .await?
            .refused(2, &["RFC 3339"])?;
        simulate(&["--key-in", "cookie:x"])
            .await?
            .refused(2, &["query:NAME"])?;
        simulate(&["--rate", "0", "--burst", "9"])
            .await?
            .refused(2, &["--burst"])?;
        simulate(&["--rate", "0", "--out", "-"])
            .await?
            .refused(2, &["--count"])?;
        // A broker that no daemon was ever connected to.
        let broker = Broker::start().await?;
        simulate(&["--nats", &broker.url()])
            .await?
            .refused(1, &["EVENTS", "sluice run"])?;
        Ok(())
    })
}

#[test]
fn simulated_events_go_over_tls() -> Result<()> {
    within(60, async {
        let identity = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        let certificate = identity.cert.pem();
        let (dataverse, fno) = (
            Source::new("dataverse", "contoso"),
            Source::new("fno", "contoso"),
        );
        let broker = Broker::start().await?;
        let setup = Setup::new(broker.url())
            .beside("gw.pem", certificate.clone())
            .beside("gw-key.pem", identity.signing_key.serialize_pem())
            .gateway("tls = { cert = \"gw.pem\", key = \"gw-key.pem\" }")
            .source(&dataverse.in_header("x-key").keyed("k"))
            .source(&fno.in_header("x-key").keyed("k"));
        let stage = Stage::of(broker, setup).await?;
        let url = format!("https://localhost:{}", stage.host.gateway().port());
        let folder = tempfile::tempdir()?;
        let ca = folder.path().join("ca.pem");
        std::fs::write(&ca, &certificate)?;
        let file = ca.to_string_lossy().into_owned();
        let common = [
            "--gateway",
            &url,
            "--key",
            "k",
            "--key-in",
            "header:x-key",
            "--count",
            "20",
        ];
        let trusting = [&common[..], &["--gateway-ca", &file]].concat();
        tells(&simulate(&trusting).await?.ok()?.json()?, 20, 0)?;
        ensure!(
            stage.events().await? == 20,
            "{} events",
            stage.events().await?
        );
        Ok(())
    })
}

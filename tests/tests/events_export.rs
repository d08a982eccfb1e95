//! Promise: what the event store holds can be taken out and put into another one: the same events,
//! in the same order, on the same subjects, byte for byte, each once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use async_nats::HeaderMap;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::Field;
use serde_json::{Value, json};
use sluicegate_tests::events::{Message, publish, publish_messages, series, spread, subject};
use sluicegate_tests::outputs::{Stored, stored};
use sluicegate_tests::process::{Process, command};
use sluicegate_tests::sluice::{Said, sluice_on, sluice_with_input};
use sluicegate_tests::wait::until_every;
use sluicegate_tests::{Broker, Input, Setup, Source, Stage, environment, until, within};
use tempfile::TempDir;
use tokio::time::Instant;

/// A broker with the streams on it.
async fn stage(settings: &str, events: &str) -> Result<Stage> {
    let broker = Broker::start_with(settings).await?;
    let mut setup = Setup::new(broker.url());
    if !events.is_empty() {
        setup = setup.events(events);
    }
    Stage::of(broker, setup).await
}

async fn everything(stage: &Stage) -> Result<Vec<Stored>> {
    stored(&stage.jetstream, "EVENTS", "d365.>").await
}

/// When it was stored, by the broker's clock, in microseconds since 1970.
async fn micros(stage: &Stage, one: &Stored) -> Result<i64> {
    let events = stage.jetstream.get_stream("EVENTS").await?;
    let message = events.get_raw_message(one.sequence).await?;
    Ok(i64::try_from(message.time.unix_timestamp_nanos() / 1_000)?)
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn number(table: &Value, member: &str) -> Result<u64> {
    let number = table.get(member).and_then(Value::as_u64);
    number.with_context(|| format!("no {member} in {table}"))
}

/// What is in `folder`, hidden files too.
fn files(folder: &Path) -> Result<Vec<String>> {
    std::fs::read_dir(folder)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect()
}

async fn export(stage: &Stage, arguments: &[&str]) -> Result<Vec<Value>> {
    let arguments = [&["events", "export"], arguments].concat();
    sluice_on(&stage.broker, &arguments)
        .await?
        .ok()?
        .json_lines()
}

/// The closing table of an import that succeeded.
async fn import(stage: &Stage, arguments: &[&str]) -> Result<Value> {
    let arguments = [&["events", "import", "--json"], arguments].concat();
    sluice_on(&stage.broker, &arguments).await?.ok()?.json()
}

async fn import_from_pipe(stage: &Stage, more: &[&str], input: &str) -> Result<Said> {
    let url = stage.broker.url();
    let arguments = [&["events", "import", "-", "--json", "--nats", &url], more].concat();
    sluice_with_input(&arguments, input.as_bytes()).await
}

fn ids(lines: &[Value]) -> Vec<&str> {
    let ids = lines.iter().map(|line| line.get("id")?.as_str());
    ids.map(Option::unwrap_or_default).collect()
}

fn message(headers: &[(&str, &str)], body: &[u8]) -> Message {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, *value);
    }
    Message {
        subject: subject("mixed", "k"),
        headers: map,
        body: body.to_vec().into(),
    }
}

/// One of everything that a store may hold.
fn mixed() -> Vec<Message> {
    let bodies: [(&str, &[u8]); 9] = [
        (
            "application/json",
            br#"{"big": 12345678901234567890.00, "a":"\u00e4\/"}"#,
        ),
        ("application/json", b"{\n  \"pretty\": true\n}\n"),
        ("application/json", b"not json at all"),
        ("text/plain", "Zürich 😀\r\n".as_bytes()),
        ("text/plain;%20charset=iso-8859-1", b"Z\xfcrich"),
        ("application/octet-stream", b"\x00\xff\xfe\n\x0a"),
        ("application/json", b"null"),
        ("application/json", b""),
        ("", b"{\"without\":\"a type\"}"),
    ];
    let mut messages = Vec::new();
    for (n, (media, body)) in bodies.into_iter().enumerate() {
        let id = format!("id-{n}%20%C3%A4");
        let mut headers = vec![
            ("ce-specversion", "1.0"),
            ("ce-id", id.as_str()),
            ("ce-source", "/tests/mixed"),
            ("ce-type", "d365.custom.mixed.update"),
            ("ce-partitionkey", "k"),
            ("ce-d365depth", "2"),
            ("x-own", "b"),
            ("x-own", "a & b"),
            ("Sluice-Something", "kept"),
        ];
        if !media.is_empty() {
            headers.push(("ce-datacontenttype", media));
        }
        messages.push(message(&headers, body));
    }
    let structured = br#"{"specversion":"1.0","id":"in-body","source":"/tests/mixed","type":"t","datacontenttype":"application/json","number":5,"data":{"a" : 1.50, "b":"\u00e4\/"}}"#;
    let media = (
        "content-type",
        "application/cloudevents+json; charset=utf-8",
    );
    messages.push(message(&[media, ("x-own", "1")], structured));
    messages.push(message(&[("x-own", "1")], b"no event\n\xff"));
    messages.push(message(&[], b""));
    messages
}

fn source() -> Source {
    Source::new("cloudevents", "lab")
}

/// A stage that takes bodies which its broker does not.
async fn small_broker() -> Result<Stage> {
    let broker = Broker::start_with("max_payload: 65536").await?;
    let setup = Setup::new(broker.url()).source(&source());
    Stage::of(broker, setup).await
}

async fn body_of(stage: &Stage, id: &str) -> Result<Vec<u8>> {
    let shown = sluice_on(&stage.broker, &["events", "show", id, "--data"]).await?;
    Ok(shown.ok()?.raw)
}

#[test]
fn a_store_is_the_same_behind_an_export_and_an_import() -> Result<()> {
    within(120, async {
        let old = small_broker().await?;
        publish_messages(&old.jetstream, &mixed()).await?;
        let big = format!("\"{}\"", "0123456789äöü ".repeat(20_000));
        let event = format!(
            r#"{{"specversion":"1.0","id":"big","source":"/shop","type":"order","data":{big}}}"#
        );
        let request = source().post("application/cloudevents+json", event);
        old.taken(&request).await?.header("ce-dataref")?;

        let folder = TempDir::new()?;
        let file = text(&folder.path().join("events.ndjson"));
        let said = sluice_on(&old.broker, &["events", "export", &file, "--json"]).await?;
        let report = said.ok()?.json()?;
        ensure!(number(&report, "events")? == 13, "{report}");
        ensure!(number(&report, "undecodable")? == 2, "{report}");
        ensure!(
            files(folder.path())? == ["events.ndjson"],
            "nothing beside it"
        );
        let lines = std::fs::read_to_string(&file)?;
        for line in lines.lines() {
            let line: Value = serde_json::from_str(line)?;
            for member in ["specversion", "id", "source", "type", "sluicesubject"] {
                let text = line.get(member).and_then(Value::as_str);
                ensure!(
                    text.is_some_and(|text| !text.is_empty()),
                    "{member}: {line}"
                );
            }
        }
        let before = everything(&old).await?;
        // The same limit, and one that the big body fits into.
        for new in [small_broker().await?, stage("", "").await?] {
            let table = import(&new, &[&file]).await?;
            ensure!(number(&table, "read")? == 13, "{table}");
            ensure!(number(&table, "stored")? == 13, "{table}");
            let after = everything(&new).await?;
            ensure!(after.len() == before.len(), "{} events", after.len());
            for (one, other) in before.iter().zip(&after) {
                same(one, other)?;
            }
            ensure!(
                body_of(&new, "big").await? == big.as_bytes(),
                "the big body"
            );
            // And a second time, out of the new store.
            let again = sluice_on(&new.broker, &["events", "export"]).await?.ok()?;
            let plain = |lines: &str| -> Result<Vec<Value>> {
                let parse = |line| {
                    let mut line: Value = serde_json::from_str(line)?;
                    let is_raw = line.get("sluiceraw").is_some();
                    let members = line.as_object_mut().context("no object")?;
                    members.remove("sluicestored");
                    members.remove("sluicesequence");
                    if is_raw {
                        // These tell of the store, and of the first envelope.
                        for name in ["id", "time", "sluiceheaders"] {
                            members.remove(name);
                        }
                    }
                    anyhow::Ok(line)
                };
                lines.lines().map(parse).collect()
            };
            ensure!(plain(&again.stdout)? == plain(&lines)?, "{}", again.stdout);
        }
        Ok(())
    })
}

/// The same event in another store: subject, attributes, headers and body.
fn same(one: &Stored, other: &Stored) -> Result<()> {
    ensure!(one.subject == other.subject, "{one:?}\n{other:?}");
    let headers = |stored: &Stored| -> Vec<(String, Vec<String>)> {
        let mut headers: Vec<(String, Vec<String>)> = stored
            .headers
            .iter()
            .map(|(name, values)| {
                let values = values.iter().map(|value| value.as_str().to_owned());
                (name.to_string(), values.collect())
            })
            // Whether a body is beside its message is the broker's limit.
            .filter(|(name, _): &(String, Vec<String>)| {
                !name.starts_with("Nats-") && name != "ce-dataref"
            })
            .collect();
        headers.sort();
        headers
    };
    ensure!(headers(one) == headers(other), "{one:?}\n{other:?}");
    let taken_out = one.headers.get("ce-dataref").is_some();
    ensure!(taken_out || one.body == other.body, "{one:?}\n{other:?}");
    Ok(())
}

#[test]
fn an_export_has_what_was_asked_for_the_oldest_first() -> Result<()> {
    within(90, async {
        let stage = stage("", "").await?;
        let first = publish(&stage.jetstream, &spread(40, 4)).await?;
        let mut other = Input::new("other", "k1", 9);
        other.message.headers.insert("ce-type", "d365.custom.other");
        other.message.headers.insert("ce-correlationid", "e3");
        other.message.subject = subject("other", "k1");
        publish(&stage.jetstream, &[other]).await?;
        publish_messages(&stage.jetstream, &[message(&[], b"no event")]).await?;
        let all = export(&stage, &[]).await?;
        ensure!(all.len() == 42, "{}", all.len());
        let sequences: Vec<u64> = all
            .iter()
            .filter_map(|line| line.get("sluicesequence")?.as_str()?.parse().ok())
            .collect();
        ensure!(sequences == (1..=42).collect::<Vec<u64>>(), "{sequences:?}");

        for (arguments, expected) in [
            (&["--type", "d365.custom.o*"][..], &["other"][..]),
            (
                &["--subject", "d365.custom.test.record.other.>"],
                &["other"],
            ),
            (&["--key", "k2", "--to", "12"], &["e2", "e6", "e10"]),
            (&["--key", "k1", "--from", "38"], &["e37", "other"]),
            (&["--from", "7", "--to", "8"], &["e6", "e7"]),
            (&["--id", "e5"], &["e5"]),
            (&["--correlation", "e3"], &["e3", "other"]),
            (&["--until", "2h"], &[]),
            (&["--from", "4000"], &[]),
            (&["--to", "0"], &[]),
            (&["--type", "nothing"], &[]),
        ] {
            let lines = export(&stage, arguments).await?;
            ensure!(ids(&lines) == expected, "{arguments:?}: {lines:?}");
        }
        ensure!(export(&stage, &["--since", "2h"]).await?.len() == 42);
        // From the middle on, by the broker's own clock.
        let middle = everything(&stage).await?;
        let middle = middle.get(20).context("forty were sent")?;
        let at = micros(&stage, middle).await? / 1_000;
        let at = chrono::DateTime::from_timestamp_millis(at).context("a time")?;
        let since = at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
        let lines = export(&stage, &["--since", &since]).await?;
        ensure!(
            (22..=42).contains(&lines.len()) && ids(&lines).contains(&"e20"),
            "{} from {since} on",
            lines.len()
        );
        ensure!(first.len() == 40);
        Ok(())
    })
}

#[test]
fn an_export_that_is_stopped_leaves_no_file() -> Result<()> {
    within(90, async {
        let stage = stage("", "").await?;
        let body = json!({ "fill": "x".repeat(2_000) }).to_string();
        let inputs: Vec<Input> = series("k", 20_000)
            .into_iter()
            .map(|input| input.body(body.clone()))
            .collect();
        publish(&stage.jetstream, &inputs).await?;
        let folder = TempDir::new()?;
        let out = TempDir::new()?;
        for name in ["events.ndjson", "events.parquet"] {
            let file = out.path().join(name);
            let mut running = start(
                &stage.broker,
                &["events", "export", &text(&file)],
                &folder.path().join("log"),
            )?;
            until_every(
                Duration::from_millis(2),
                "the export to begin",
                Duration::from_secs(20),
                async || {
                    ensure!(!files(out.path())?.is_empty(), "nothing yet");
                    Ok(())
                },
            )
            .await?;
            stage.broker.freeze()?;
            running.interrupt()?;
            let status = running.wait(20).await?;
            stage.broker.thaw()?;
            ensure!(status.code() == Some(1), "{status}");
            ensure!(files(out.path())?.is_empty(), "{:?}", files(out.path())?);
        }
        let missing = text(&out.path().join("no-such-folder").join("events.ndjson"));
        let said = sluice_on(&stage.broker, &["events", "export", &missing]).await?;
        said.refused(1, &["no-such-folder"])?;
        Ok(())
    })
}

/// `sluice` with these arguments beside the test.
fn start(broker: &Broker, arguments: &[&str], log: &Path) -> Result<Process> {
    let mut sluice = command(&environment::sluice()?);
    sluice.args(arguments).args(["--nats", &broker.url()]);
    sluice.env_remove("NATS_URL");
    Process::start("sluice", sluice, log)
}

fn plain_event(n: u32) -> String {
    format!(
        "{{\"specversion\":\"1.0\",\"id\":\"s{n}\",\"source\":\"/custom/shop\",\
         \"type\":\"d365.custom.order.update\",\"partitionkey\":\"order/{n}\",\"data\":{n}}}\n"
    )
}

#[test]
fn a_bad_line_stops_an_import_before_anything_is_stored() -> Result<()> {
    within(90, async {
        let stage = stage("", "").await?;
        let folder = TempDir::new()?;
        let good = text(&folder.path().join("good.ndjson"));
        let bad = text(&folder.path().join("bad.ndjson"));
        std::fs::write(&good, plain_event(1) + &plain_event(2))?;
        std::fs::write(&bad, plain_event(3) + "{\"id\":\"x\"}\n" + &plain_event(4))?;
        let run = async |arguments: &[&str]| {
            sluice_on(&stage.broker, &[&["events", "import"], arguments].concat()).await
        };
        let told = ["bad.ndjson, line 2", "specversion", "nothing was imported"];
        run(&[&good, &bad]).await?.refused(1, &told)?;
        run(&["--dry-run", &bad]).await?.refused(1, &told)?;
        let dry = run(&["--dry-run", &good, "--json"]).await?.ok()?.json()?;
        ensure!(number(&dry, "read")? == 2, "{dry}");
        run(&[&text(&folder.path().join("missing.ndjson"))])
            .await?
            .refused(1, &["missing.ndjson"])?;
        run(&[]).await?.refused(2, &["FILE"])?;
        ensure!(everything(&stage).await?.is_empty(), "nothing was stored");

        // Standard input cannot be read twice: what comes before the bad line is stored.
        let input = plain_event(1) + &plain_event(2) + "junk\n" + &plain_event(3);
        let said = import_from_pipe(&stage, &[], &input).await?;
        let said = said.refused(1, &["standard input, line 3", "stopped behind 2 events"])?;
        ensure!(number(&said.json()?, "stored")? == 2, "{}", said.stdout);
        let rest = input.replace("junk\n", "");
        let said = import_from_pipe(&stage, &["--skip", "2"], &rest)
            .await?
            .ok()?;
        let table = said.json()?;
        ensure!(
            number(&table, "stored")? == 1 && number(&table, "skipped")? == 2,
            "{table}"
        );
        let unchecked = run(&["--no-check", &bad]).await?;
        unchecked.refused(1, &["bad.ndjson, line 2", "stopped behind 1 events"])?;
        import_from_pipe(&stage, &["--skip", "5"], &plain_event(1))
            .await?
            .refused(1, &["--skip"])?;

        let events = everything(&stage).await?;
        let found: Vec<&str> = events
            .iter()
            .map(|event| event.header("ce-id"))
            .collect::<Result<_>>()?;
        ensure!(found == ["s1", "s2", "s3"], "{found:?}");
        for event in &events {
            let place = "d365.custom.shop.business.order.update.";
            ensure!(event.subject.starts_with(place), "{}", event.subject);
            ensure!(event.header("Nats-Msg-Id")?.starts_with("/custom/shop#s"));
        }
        let one = plain_event(9);
        let elsewhere = import_from_pipe(&stage, &["--environment", "other"], &one);
        elsewhere.await?.ok()?;
        let events = everything(&stage).await?;
        let last = events.last().context("one more")?;
        ensure!(last.subject.starts_with("d365.custom.other."), "{last:?}");
        let audit = sluice_on(&stage.broker, &["audit"]).await?.ok()?;
        ensure!(audit.stdout.contains("import"), "{}", audit.stdout);
        Ok(())
    })
}

#[test]
fn an_import_that_is_repeated_adds_nothing() -> Result<()> {
    within(60, async {
        let (old, new) = (stage("", "").await?, stage("", "").await?);
        publish(&old.jetstream, &spread(1_200, 5)).await?;
        publish_messages(&old.jetstream, &mixed()).await?;
        let folder = TempDir::new()?;
        let file = text(&folder.path().join("events"));
        sluice_on(&old.broker, &["events", "export", &file])
            .await?
            .ok()?;
        let first = import(&new, &[&file]).await?;
        ensure!(number(&first, "stored")? == 1_212, "{first}");
        let again = import(&new, &[&file]).await?;
        ensure!(
            number(&again, "already_there")? == 1_212 && number(&again, "stored")? == 0,
            "{again}"
        );
        ensure!(new.events().await? == 1_212, "none more");
        Ok(())
    })
}

/// A file of events whose ids are their places in it.
fn numbered(folder: &Path, count: usize, fill: usize) -> Result<PathBuf> {
    let fill = "x".repeat(fill);
    let line = |n| {
        format!(
            "{{\"specversion\":\"1.0\",\"id\":\"{n}\",\"source\":\"/custom/shop\",\
             \"type\":\"d365.custom.order.update\",\"partitionkey\":\"{}\",\
             \"datacontenttype\":\"application/json\",\"data\":{{\"n\":{n},\"fill\":\"{fill}\"}}}}\n",
            n % 7
        )
    };
    let file = folder.join("numbered.ndjson");
    std::fs::write(&file, (0..count).map(line).collect::<String>())?;
    Ok(file)
}

/// Each of `count` events is in the store once, in the order of the file.
async fn in_order(stage: &Stage, count: usize) -> Result<()> {
    let events = everything(stage).await?;
    let found: Vec<String> = events
        .iter()
        .map(|event| Ok(event.header("ce-id")?.to_owned()))
        .collect::<Result<_>>()?;
    let expected: Vec<String> = (0..count).map(|n| n.to_string()).collect();
    if found != expected {
        let mut places = found.iter().zip(&expected);
        let place = places.position(|(one, other)| one != other);
        bail!("{} events, another one from {place:?} on", found.len());
    }
    Ok(())
}

#[test]
fn a_broker_that_is_killed_under_an_import_has_each_event_once_and_in_order() -> Result<()> {
    within(150, async {
        let mut stage = stage("", "").await?;
        stage.host.stop().await?;
        let folder = TempDir::new()?;
        let count = 20_000;
        let file = numbered(folder.path(), count, 1_000)?;
        let log = folder.path().join("log");
        let arguments = ["events", "import", "--json", &text(&file)];
        let mut running = start(&stage.broker, &arguments, &log)?;
        for kill in [1_000, 6_000, 12_000] {
            until_every(
                Duration::from_millis(5),
                "events to come in",
                Duration::from_secs(30),
                async || {
                    let mut events = stage.jetstream.get_stream("EVENTS").await?;
                    let there = events.info().await?.state.messages;
                    ensure!(kill <= there, "{there}");
                    Ok(())
                },
            )
            .await?;
            ensure!(running.ended()?.is_none(), "the import was too fast");
            stage.broker.restart().await?;
        }
        let status = running.wait(60).await?;
        let said = std::fs::read_to_string(&log)?;
        ensure!(status.code() == Some(0), "{status}: {said}");
        let table = said.lines().last().context("no table")?;
        let table: Value = serde_json::from_str(table).with_context(|| said.clone())?;
        eprintln!("{table}");
        ensure!(number(&table, "stored")? == 20_000, "{table}");
        in_order(&stage, count).await
    })
}

#[test]
fn an_import_waits_for_room_and_goes_on_where_it_was_stopped() -> Result<()> {
    within(150, async {
        let mut stage = stage("", "max_bytes = \"1MiB\"").await?;
        let folder = TempDir::new()?;
        let count = 3_000;
        let file = text(&numbered(folder.path(), count, 1_000)?);
        let log = folder.path().join("log");
        let mut running = start(&stage.broker, &["events", "import", "--json", &file], &log)?;
        let full = async |least: usize| {
            until("the store to be full", 30, async || {
                let there = stage.events().await?;
                ensure!(least <= there, "{there}");
                Ok(())
            })
            .await
        };
        full(500).await?;
        until("it to say so", 30, async || {
            let said = std::fs::read_to_string(&log)?;
            ensure!(said.contains("waiting for room"), "{said}");
            Ok(())
        })
        .await?;
        ensure!(running.ended()?.is_none(), "it waits");
        running.interrupt()?;
        let status = running.wait(30).await?;
        let said = std::fs::read_to_string(&log)?;
        ensure!(status.code() == Some(1), "{status}: {said}");
        let skip = said
            .split("--skip ")
            .nth(1)
            .and_then(|rest| rest.split_whitespace().next())
            .with_context(|| format!("it does not say where to go on: {said}"))?
            .to_owned();
        ensure!(skip == stage.events().await?.to_string(), "{skip}: {said}");

        let arguments = ["events", "import", "--json", &file, "--skip", &skip];
        let mut running = start(&stage.broker, &arguments, &log)?;
        stage.host.stop().await?;
        stage.host.reconfigure_events("max_bytes = \"64MiB\"")?;
        stage.host.start().await?;
        let status = running.wait(60).await?;
        let said = std::fs::read_to_string(&log)?;
        ensure!(status.code() == Some(0), "{status}: {said}");
        in_order(&stage, count).await
    })
}

#[test]
fn a_table_has_the_rows_of_the_lines() -> Result<()> {
    within(90, async {
        let stage = small_broker().await?;
        publish_messages(&stage.jetstream, &mixed()).await?;
        publish(&stage.jetstream, &spread(300, 7)).await?;
        let big = format!("\"{}\"", "0123456789äöü ".repeat(20_000));
        let event = format!(
            r#"{{"specversion":"1.0","id":"big","source":"/shop","type":"order","data":{big}}}"#
        );
        let request = source().post("application/cloudevents+json", event);
        stage.taken(&request).await?;
        let folder = TempDir::new()?;
        let file = folder.path().join("events.parquet");
        let arguments = ["events", "export", &text(&file), "--json"];
        let report = sluice_on(&stage.broker, &arguments).await?.ok()?.json()?;
        ensure!(number(&report, "events")? == 313, "{report}");
        ensure!(files(folder.path())? == ["events.parquet"]);
        let lines = export(&stage, &[]).await?;
        let before = everything(&stage).await?;
        let rows = rows(&file)?;
        ensure!(rows.len() == 313 && lines.len() == 313, "{}", rows.len());
        for ((row, line), stored) in rows.iter().zip(&lines).zip(&before) {
            let is_raw = line.get("sluiceraw").is_some();
            ensure!(row.long("sequence")? == i64::try_from(stored.sequence)?);
            ensure!(
                row.long("stored")? == micros(&stage, stored).await?,
                "{row:?}"
            );
            ensure!(row.text("nats_subject")? == Some(stored.subject.as_str()));
            ensure!(row.text("undecodable")?.is_some() == is_raw, "{row:?}");
            for name in ["id", "source", "type", "subject", "time", "datacontenttype"] {
                let said = line.get(name).and_then(Value::as_str);
                let expected = said.filter(|_| !is_raw);
                ensure!(row.text(name)? == expected, "{name}: {line}\n{row:?}");
            }
            if !is_raw {
                let extensions: Value =
                    serde_json::from_str(row.text("extensions")?.unwrap_or("{}"))?;
                let key = extensions.get("partitionkey").and_then(Value::as_str);
                ensure!(key.is_none() || row.text("partitionkey")? == key, "{row:?}");
                ensure!(extensions.get("dataref").is_none(), "{row:?}");
            }
            if stored.headers.get("ce-specversion").is_some() || is_raw {
                let body = match row.text("id")? == Some("big") {
                    true => big.as_bytes(),
                    false => stored.body.as_ref(),
                };
                ensure!(row.bytes("data")?.unwrap_or_default() == body, "{row:?}");
            }
        }
        // To standard output, as a pipe has it.
        let piped = ["events", "export", "--format", "parquet", "--key", "k1"];
        let said = sluice_on(&stage.broker, &piped).await?.ok()?;
        std::fs::write(&file, &said.raw)?;
        ensure!(self::rows(&file)?.len() == 43, "those of one key");
        Ok(())
    })
}

/// A row of a table.
#[derive(Debug)]
struct Row(Vec<(String, Field)>);

impl Row {
    fn field(&self, name: &str) -> Result<&Field> {
        let found = self.0.iter().find(|(column, _)| column == name);
        Ok(&found.with_context(|| format!("no column {name}"))?.1)
    }

    fn long(&self, name: &str) -> Result<i64> {
        match self.field(name)? {
            Field::Long(number) | Field::TimestampMicros(number) => Ok(*number),
            other => bail!("{name} is {other:?}"),
        }
    }

    fn text(&self, name: &str) -> Result<Option<&str>> {
        match self.field(name)? {
            Field::Str(text) => Ok(Some(text)),
            Field::Null => Ok(None),
            other => bail!("{name} is {other:?}"),
        }
    }

    fn bytes(&self, name: &str) -> Result<Option<&[u8]>> {
        match self.field(name)? {
            Field::Bytes(bytes) => Ok(Some(bytes.data())),
            Field::Null => Ok(None),
            other => bail!("{name} is {other:?}"),
        }
    }
}

fn rows(file: &Path) -> Result<Vec<Row>> {
    let reader = SerializedFileReader::new(std::fs::File::open(file)?)?;
    let rows = reader.get_row_iter(None)?;
    rows.map(|row| {
        let row = row?;
        let columns = row.get_column_iter();
        Ok(Row(columns
            .map(|(name, field)| (name.clone(), field.clone()))
            .collect()))
    })
    .collect()
}

/// What a run took, and the most memory that it had.
async fn measured(broker: &Broker, arguments: &[&str], log: &Path) -> Result<(f64, u64)> {
    let started = Instant::now();
    let mut running = start(broker, arguments, log)?;
    let mut peak = 0;
    let status = until_every(
        Duration::from_millis(5),
        "the end",
        Duration::from_secs(100),
        async || {
            // Gone when the process has ended.
            let status = std::fs::read_to_string(format!("/proc/{}/status", running.id()));
            let line = status.unwrap_or_default();
            let line = line.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kib = line.map_or("", |line| line.trim().trim_end_matches(" kB"));
            peak = peak.max(kib.parse().unwrap_or(0) * 1024);
            running.ended()?.context("it runs")
        },
    )
    .await?;
    let said = std::fs::read_to_string(log)?;
    ensure!(status.code() == Some(0), "{status}: {said}");
    Ok((started.elapsed().as_secs_f64(), peak))
}

/// 100 MB of bodies pass through a process that never has a fraction of them in memory.
#[test]
fn many_events_take_little_memory() -> Result<()> {
    within(170, async {
        let (mut old, mut new) = (stage("", "").await?, stage("", "").await?);
        old.host.stop().await?;
        new.host.stop().await?;
        let count = if environment::long() { 100_000 } else { 50_000 };
        let folder = TempDir::new()?;
        let file = text(&numbered(folder.path(), count, 900)?);
        let log = folder.path().join("log");
        let mut figures = Vec::new();
        let lines = text(&folder.path().join("events.ndjson"));
        let table = text(&folder.path().join("events.parquet"));
        for (what, broker, arguments) in [
            ("import", &old.broker, ["events", "import", &file]),
            ("export", &old.broker, ["events", "export", &lines]),
            (
                "export to parquet",
                &old.broker,
                ["events", "export", &table],
            ),
            (
                "import of an export",
                &new.broker,
                ["events", "import", &lines],
            ),
        ] {
            let (seconds, peak) = measured(broker, &arguments, &log).await?;
            figures.push(json!({
                "what": what, "seconds": seconds, "peak_mib": peak >> 20,
                "per_second": count as f64 / seconds,
            }));
            ensure!(peak < 160 << 20, "{what} took {} MiB", peak >> 20);
        }
        let size = |file: &str| Ok::<u64, std::io::Error>(std::fs::metadata(file)?.len() >> 20);
        figures.push(json!({ "lines_mib": size(&lines)?, "parquet_mib": size(&table)? }));
        environment::write_figures("events_export", &json!(figures))?;
        in_order(&old, count).await?;
        in_order(&new, count).await
    })
}

//! Promise: what the event store holds is shown as it is, byte for byte.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use async_nats::HeaderMap;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use serde_json::Value;
use sluicegate_tests::events::{Message, publish_messages, subject};
use sluicegate_tests::sluice::sluice;
use sluicegate_tests::{Stage, within};

fn number(table: &Value, member: &str) -> Result<u64> {
    let number = table.get(member).and_then(Value::as_u64);
    number.with_context(|| format!("no {member} in {table}"))
}

fn message(name: &str, headers: &[(&str, &str)], body: &[u8]) -> Message {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, *value);
    }
    Message {
        subject: subject(name, "k"),
        headers: map,
        body: body.to_vec().into(),
    }
}

/// The binary ones, the structured one, the broken one.
fn messages() -> Vec<Message> {
    let binary = [
        ("ce-specversion", "1.0"),
        ("ce-id", "ab%20c"),
        ("ce-source", "/x"),
        ("ce-type", "t"),
        ("ce-partitionkey", "k"),
    ];
    let structured = br#"{"specversion":"1.0","id":"in-body","source":"/x","type":"t","data": {"a" : 1.50, "b":"\u00e4\/"} }"#;
    vec![
        message("one", &binary, b"{\"n\": 1.0}\r\n"),
        message(
            "one",
            &[("content-type", "application/cloudevents+json")],
            structured,
        ),
        message("two", &binary, b"\xff\x00\n"),
        message("two", &[("x-own", "1")], b"no event\n"),
    ]
}

#[test]
fn an_event_is_shown_byte_for_byte_however_it_is_stored() -> Result<()> {
    within(60, async {
        let stage = Stage::with(&["ok"], "").await?;
        let sequences = publish_messages(&stage.jetstream, &messages()).await?;
        let [first, structured, newest, broken] = sequences.as_slice() else {
            anyhow::bail!("four were sent")
        };
        let url = stage.broker.url();
        let show = async |what: &str, more: &[&str]| {
            sluice(&[&["events", "show", what, "--nats", &url], more].concat())
                .await?
                .ok()
        };
        let raw = |sequence: &u64| sequence.to_string();
        for (what, body) in [
            (raw(first), &b"{\"n\": 1.0}\r\n"[..]),
            (raw(structured), br#"{"a" : 1.50, "b":"\u00e4\/"}"#),
            ("in-body".to_owned(), br#"{"a" : 1.50, "b":"\u00e4\/"}"#),
            (raw(newest), b"\xff\x00\n"),
            ("ab c".to_owned(), b"\xff\x00\n"),
            (raw(broken), b"no event\n"),
        ] {
            let data = show(&what, &["--data"]).await?;
            ensure!(data.raw == body, "{what}: {:?}", data.raw);
            let plain = show(&what, &[]).await?.raw;
            ensure!(
                plain.ends_with(&[b"\n\n", body].concat()),
                "{what}: {plain:?}"
            );
        }
        let subjects = ["--subject", "d365.custom.test.record.one.>", "--data"];
        ensure!(
            show("ab c", &subjects).await?.raw == b"{\"n\": 1.0}\r\n",
            "--subject narrows"
        );

        let json = show("in-body", &["--json"]).await?.json()?;
        ensure!(number(&json, "sequence")? == *structured, "{json}");
        let member = |name: &str| json.pointer(name).and_then(Value::as_str);
        ensure!(
            member("/subject") == Some(subject("one", "k").as_str()),
            "{json}"
        );
        ensure!(member("/event/id") == Some("in-body"), "{json}");
        ensure!(
            member("/stored").is_some_and(|time| time.ends_with('Z')),
            "{json}"
        );
        ensure!(
            json.pointer("/event/data/b") == Some(&"ä/".into()),
            "{json}"
        );

        let said = show(&raw(broken), &[]).await?;
        ensure!(said.stderr.contains("no CloudEvent"), "{}", said.stderr);
        ensure!(said.stdout.contains("x-own: 1\n"), "{}", said.stdout);
        for missing in ["nothing-of-it", "4711"] {
            let said = sluice(&["events", "show", missing, "--nats", &url]).await?;
            said.refused(1, &[missing])?;
        }
        tail(&url, &sequences).await
    })
}

/// A nats-server from 2.15 on refuses more than a thousand unless the stream says otherwise, and
/// each partition that catches up has one.
#[test]
fn more_than_a_thousand_may_read_at_once() -> Result<()> {
    within(60, async {
        let stage = Stage::with(&["ok"], "").await?;
        for name in ["EVENTS", "LEDGER"] {
            let stream = stage.jetstream.get_stream(name).await?;
            for number in 0..1_100 {
                let consumer = pull::Config {
                    ack_policy: AckPolicy::None,
                    memory_storage: true,
                    inactive_threshold: Duration::from_secs(60),
                    ..pull::Config::default()
                };
                let made = stream.create_consumer(consumer).await;
                made.with_context(|| format!("consumer {number} of {name}"))?;
            }
        }
        Ok(())
    })
}

async fn tail(url: &str, sequences: &[u64]) -> Result<()> {
    let tail = async |more: &[&str]| {
        let common = ["events", "tail", "--json", "--nats", url];
        let lines = sluice(&[&common[..], more].concat())
            .await?
            .ok()?
            .json_lines()?;
        lines
            .iter()
            .map(|line| number(line, "sequence"))
            .collect::<Result<Vec<u64>>>()
    };
    ensure!(tail(&[]).await? == sequences, "all of them, in order");
    ensure!(
        tail(&["--last", "2"]).await? == sequences.get(2..).unwrap_or_default(),
        "the last two"
    );
    let of_one = ["--last", "1", "--subject", "d365.custom.test.record.one.>"];
    ensure!(
        tail(&of_one).await? == sequences.get(1..2).unwrap_or_default(),
        "the last one of these subjects"
    );
    ensure!(tail(&["--last", "0"]).await?.is_empty(), "none of them");
    Ok(())
}

//! Promise: CloudEvents in Kafka records are read as the Kafka protocol binding has it: what the
//! scenarios of the conformance suite say, and the rules for keys and values of headers.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sluicegate_tests::kafka::{KafkaBroker, write};
use sluicegate_tests::outputs::{Stored, stored, wait_dead_letters};
use sluicegate_tests::{Broker, Setup, Stage, until, within};

const TOPIC: &str = "binding";

type Headers<'a> = &'a [(&'a str, &'a str)];

/// The scenarios of `features/kafka-protocol-binding.feature` in the conformance repository of
/// CloudEvents, as of commit 6366de1: headers and payload of each.
const SCENARIOS: [(Headers<'static>, &str); 3] = [
    // Binary content mode.
    (
        &[
            ("ce_specversion", "1.0"),
            ("ce_id", "1234-1234-1234"),
            ("ce_type", "com.example.someevent"),
            ("ce_source", "/mycontext/subcontext"),
            ("ce_time", "2018-04-05T03:56:24Z"),
            ("content-type", "application/json"),
        ],
        r#"{"message": "Hello World!"}"#,
    ),
    // Structured content mode, with each content type of the examples.
    (
        &[("content-type", "application/cloudevents+json")],
        STRUCTURED,
    ),
    (
        &[(
            "content-type",
            "application/cloudevents+json; charset=utf-8",
        )],
        STRUCTURED,
    ),
];
const STRUCTURED: &str = r#"{
    "specversion": "1.0",
    "type": "com.example.someevent",
    "time": "2018-04-05T03:56:24Z",
    "id": "1234-1234-1234",
    "source": "/mycontext/subcontext",
    "datacontenttype": "application/json",
    "data": {
        "message": "Hello World!"
    }
}"#;
/// What each has to be read as.
const ATTRIBUTES: Headers<'static> = &[
    ("id", "1234-1234-1234"),
    ("specversion", "1.0"),
    ("type", "com.example.someevent"),
    ("source", "/mycontext/subcontext"),
    ("time", "2018-04-05T03:56:24Z"),
    ("datacontenttype", "application/json"),
];

/// A host that reads the topic; none where there is no broker.
async fn reading(kafka: &KafkaBroker, topic: &str) -> Result<Stage> {
    kafka.topic(topic, 1).await?;
    let bridge = format!(
        "[[bridge]]\nname = \"reads\"\ndirection = \"in\"\nenvironment = \"lab\"\n\
         format = \"cloudevents\"\n[bridge.kafka]\nbrokers = [\"{}\"]\ntopic = \"{topic}\"\n\
         security = \"none\"\ngroup = \"g\"\nsession_timeout = \"6s\"\n",
        kafka.address()
    );
    let broker = Broker::start().await?;
    let setup = Setup::new(broker.url()).with(&bridge);
    Stage::of(broker, setup).await
}

/// Waits for so many events in the store.
async fn read(stage: &Stage, count: usize) -> Result<Vec<Stored>> {
    until("the records to be read", 30, async || {
        let found = stored(&stage.jetstream, "EVENTS", "d365.>").await?;
        ensure!(found.len() == count, "{} of {count}", found.len());
        Ok(found)
    })
    .await
}

#[test]
fn the_conformance_scenarios_hold() -> Result<()> {
    within(90, async {
        let Some(kafka) = KafkaBroker::start().await? else {
            return Ok(());
        };
        let producer = kafka.producer()?;
        let expected: BTreeMap<String, String> = ATTRIBUTES
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        for (number, (headers, payload)) in SCENARIOS.into_iter().enumerate() {
            // All have the same id: a store for each.
            let topic = format!("{TOPIC}-{number}");
            let stage = reading(&kafka, &topic).await?;
            write(&producer, &topic, (None, headers), Some(payload.as_bytes())).await?;
            let found = read(&stage, 1).await?;
            let found = found.first().context("nothing")?;
            let attributes = found.attributes()?;
            ensure!(attributes == expected, "{number}: {attributes:?}");
            let data: Value = serde_json::from_slice(&found.body)?;
            ensure!(
                data == json!({"message": "Hello World!"}),
                "{number}: {data}"
            );
        }
        Ok(())
    })
}

#[test]
fn values_are_taken_as_they_are_and_keys_order() -> Result<()> {
    within(90, async {
        let Some(kafka) = KafkaBroker::start().await? else {
            return Ok(());
        };
        let stage = reading(&kafka, TOPIC).await?;
        let producer = kafka.producer()?;
        let texts = [
            "plain words",
            "Euro € 😀",
            "Euro%20%E2%82%AC",
            "\"quoted\"",
            "100% sure",
        ];
        for (number, text) in texts.into_iter().enumerate() {
            let id = format!("v{number}");
            let headers = [
                ("ce_specversion", "1.0"),
                ("ce_id", &id),
                ("ce_source", "/x"),
                ("ce_type", "t"),
                ("ce_subject", text),
                ("ce_ext", text),
                // Over HTTP it would be one; here it is some header of somebody's.
                ("ce-id", "other"),
                ("unknown", "\u{1}"),
            ];
            let key = (number % 2 == 0).then_some("the key");
            write(&producer, TOPIC, (key, &headers), Some(b"data")).await?;
        }
        // Structured mode is told by the media type in any case, whatever ce_ headers say.
        let headers = [
            ("ce_id", "other"),
            ("content-type", "Application/CloudEvents+JSON"),
        ];
        let event = br#"{"specversion":"1.0","id":"v5","source":"/x","type":"t","data":1.10}"#;
        write(&producer, TOPIC, (Some("the key"), &headers), Some(event)).await?;
        let mut found = read(&stage, texts.len() + 1).await?;
        // Different keys have no order.
        found.sort_by_key(|stored| stored.attribute("id").unwrap_or_default());
        for (number, (stored, text)) in found.iter().zip(texts).enumerate() {
            for name in ["subject", "ext"] {
                ensure!(
                    stored.attribute(name)? == text,
                    "{name} {text:?}: {stored:?}"
                );
            }
            ensure!(stored.body == "data", "{stored:?}");
            let key = stored.attribute("partitionkey").ok();
            let meant = (number % 2 == 0).then(|| "the key".to_owned());
            ensure!(key == meant, "{stored:?}");
        }
        let last = found.last().context("nothing")?;
        ensure!(last.body == "1.10", "{last:?}");
        ensure!(last.attribute("partitionkey")? == "the key", "{last:?}");
        Ok(())
    })
}

#[test]
fn what_is_no_event_is_a_dead_letter() -> Result<()> {
    within(90, async {
        let Some(kafka) = KafkaBroker::start().await? else {
            return Ok(());
        };
        let stage = reading(&kafka, TOPIC).await?;
        let producer = kafka.producer()?;
        let good = [
            ("ce_specversion", "1.0"),
            ("ce_id", "a"),
            ("ce_source", "/x"),
            ("ce_type", "t"),
        ];
        let with = |more: Headers<'static>| [&good[..], more].concat();
        let cases = [
            Vec::new(),
            with(&[("ce_time", "yesterday")]),
            with(&[("ce_id", "b")]),
            with(&[("ce_my ext", "x")]),
            with(&[("content-type", "application/cloudevents+avro")]),
            with(&[("content-encoding", "gzip")]),
        ];
        for headers in &cases {
            write(&producer, TOPIC, (None, headers), Some(b"the data")).await?;
        }
        // Without a value it is an event without data.
        write(&producer, TOPIC, (Some("k"), &good), None).await?;
        let letters = wait_dead_letters(&stage.jetstream, cases.len(), 30).await?;
        for (letter, headers) in letters.iter().zip(&cases) {
            ensure!(letter.body == "the data", "{headers:?}: {letter:?}");
        }
        let found = read(&stage, 1).await?;
        ensure!(found.iter().all(|found| found.body.is_empty()), "{found:?}");
        Ok(())
    })
}

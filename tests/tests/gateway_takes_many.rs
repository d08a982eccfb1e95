//! Promise: many events at once, in one request or on one connection, are all stored before the
//! answer says so, in the order in which they came; and each sender stays in its place.

use anyhow::{Result, ensure};
use serde_json::Value;
use sluicegate_tests::bodies::invoice;
use sluicegate_tests::outputs::stored;
use sluicegate_tests::{Broker, Setup, Source, Stage, within};

const BATCH: &str = "application/cloudevents-batch+json";

/// Events of one key, so that their order counts.
fn events(count: usize, padding: usize) -> Vec<String> {
    let padding = "x".repeat(padding);
    let event = |n| {
        format!(
            "{{\"specversion\":\"1.0\",\"id\":\"{n}\",\"source\":\"/s\",\"type\":\"t\",\"partitionkey\":\"k\",\"data\":\"{padding}\"}}"
        )
    };
    (0..count).map(event).collect()
}

async fn ids(stage: &Stage) -> Result<Vec<String>> {
    let events = stored(&stage.jetstream, "EVENTS", "d365.>").await?;
    events.iter().map(|event| event.attribute("id")).collect()
}

#[test]
fn a_batch_of_thousands_is_stored_in_its_order() -> Result<()> {
    within(60, async {
        let source = Source::new("cloudevents", "lab");
        let stage = Stage::taking(&[&source]).await?;
        let batch = format!("[{}]", events(10_000, 10).join(","));
        let answer = stage.host.gateway().ask(&source.post(BATCH, batch)).await?;
        ensure!(answer.accepted()?.len() == 10_000, "not all were taken");
        let ids = ids(&stage).await?;
        let in_order = ids.iter().enumerate().all(|(n, id)| *id == n.to_string());
        ensure!(
            ids.len() == 10_000 && in_order,
            "{} are stored, or in another order",
            ids.len()
        );
        Ok(())
    })
}

#[test]
fn a_batch_that_finds_no_room_is_answered_503_and_completed_later() -> Result<()> {
    within(60, async {
        let source = Source::new("cloudevents", "lab");
        let broker = Broker::start().await?;
        let setup = Setup::new(broker.url())
            .events("max_bytes = \"1MiB\"")
            .source(&source);
        let stage = Stage::of(broker, setup).await?;
        let gateway = stage.host.gateway();
        // More than the stream holds with all the headers, and less than a request may have.
        let batch = source.post(BATCH, format!("[{}]", events(900, 1_000).join(",")));
        gateway.ask(&batch).await?.try_again()?;
        let part = ids(&stage).await?;
        ensure!(part.len() < 900, "all found room: this proves nothing");
        let in_order = part.iter().enumerate().all(|(n, id)| *id == n.to_string());
        ensure!(in_order, "what is there is the start of it: {part:?}");
        stage.jetstream.get_stream("EVENTS").await?.purge().await?;
        let told = gateway.ask_until(&batch, 202, 10).await?.accepted()?;
        let known = told
            .iter()
            .filter(|told| told.get("duplicate") == Some(&Value::Bool(true)));
        ensure!(
            known.count() == part.len(),
            "what was stored before is known"
        );
        let rest = ids(&stage).await?;
        ensure!(
            part.len() + rest.len() == 900,
            "{} and {}",
            part.len(),
            rest.len()
        );
        Ok(())
    })
}

#[test]
fn a_batch_with_events_beyond_the_brokers_limit_is_taken() -> Result<()> {
    within(60, async {
        let source = Source::new("cloudevents", "lab");
        let broker = Broker::start_with("max_payload: 65536").await?;
        let setup = Setup::new(broker.url()).source(&source);
        let stage = Stage::of(broker, setup).await?;
        let batch = format!("[{}]", events(6, 150_000).join(","));
        let told = stage
            .host
            .gateway()
            .ask(&source.post(BATCH, batch))
            .await?
            .accepted()?;
        ensure!(told.len() == 6, "{told:?}");
        ensure!(
            ids(&stage).await? == ["0", "1", "2", "3", "4", "5"],
            "in their order"
        );
        Ok(())
    })
}

#[test]
fn a_sender_of_cloud_events_stays_in_its_environment() -> Result<()> {
    within(60, async {
        let source = Source::new("cloudevents", "lab");
        let stage = Stage::taking(&[&source]).await?;
        for (n, kind) in [
            "d365.dataverse.account.update",
            "d365.custom.order.placed",
            "d365.fno.record.thing.update",
            "d365.replay.credit-hold",
            "a.b.*.>. $SYS",
            "Ünïcode\u{1F3ED}",
        ]
        .into_iter()
        .enumerate()
        {
            let event = format!(
                "{{\"specversion\":\"1.0\",\"id\":\"{n}\",\"source\":\"/dataverse/contoso\",\"type\":\"{kind}\"}}"
            );
            let request = source.post("application/cloudevents+json", event);
            let stored = stage.taken(&request).await?;
            let tokens: Vec<&str> = stored.subject.split('.').collect();
            ensure!(
                tokens.len() == 7 && tokens.get(2) == Some(&"lab"),
                "{kind} is on {}",
                stored.subject
            );
        }
        Ok(())
    })
}

#[test]
fn many_senders_on_few_connections_are_answered_in_order() -> Result<()> {
    within(60, async {
        let source = Source::new("fno", "contoso").in_file("fno.key");
        let broker = Broker::start().await?;
        let setup = Setup::new(broker.url())
            .beside("fno.key", format!("{}\n", source.key()))
            .source(&source);
        let stage = Stage::of(broker, setup).await?;
        // One after another without waiting: HTTP pipelining.
        let mut connection = stage.host.gateway().connect().await?;
        let requests: Vec<Vec<u8>> = (0..100)
            .map(|n| Ok(source.json(invoice(n)?).bytes()))
            .collect::<Result<_>>()?;
        connection.send(&requests.concat()).await?;
        for n in 0..100 {
            let told = connection.answer().await?.one()?;
            let id = format!("0d6e3d5a-6b77-4c0b-9e5c-{n:012x}");
            ensure!(
                told.get("id").and_then(Value::as_str) == Some(&id),
                "{told}"
            );
        }
        ensure!(stage.events().await? == 100, "all are there");
        Ok(())
    })
}

//! Promise: the harness itself can be trusted. What it says of the broker is what is there.

use anyhow::{Result, ensure};
use async_nats::jetstream::stream::Config;
use sluicegate_tests::checks::Verdict;
use sluicegate_tests::events::{publish, publish_messages, spread};
use sluicegate_tests::outputs::{Echo, carried_over, count, state, stored, wait_echoes};
use sluicegate_tests::{Broker, within};

#[test]
fn a_killed_broker_comes_back_on_its_port_with_its_messages() -> Result<()> {
    within(60, async {
        let mut broker = Broker::start().await?;
        let jetstream = broker.jetstream().await?;
        let config = Config {
            name: "EVENTS".to_owned(),
            subjects: vec!["d365.>".to_owned()],
            ..Default::default()
        };
        jetstream.create_stream(config).await?;
        let inputs = spread(1_200, 30);
        let sequences = publish(&jetstream, &inputs).await?;
        ensure!(sequences.last() == Some(&1_200), "{:?}", sequences.last());
        let url = broker.url();
        broker.kill9();
        ensure!(
            broker.jetstream().await.is_err(),
            "it answers though it was killed"
        );
        broker.restart().await?;
        ensure!(broker.url() == url, "it came back somewhere else");

        let found = count(&jetstream, "EVENTS", "d365.custom.>").await?;
        ensure!(found == 1_200, "{found} messages are counted");
        let messages = stored(&jetstream, "EVENTS", "d365.custom.>").await?;
        let same = messages.iter().zip(&inputs).all(|(message, input)| {
            message.body == input.message.body && message.subject == input.message.subject
        });
        ensure!(
            messages.len() == 1_200 && same,
            "{} messages are read",
            messages.len()
        );
        ensure!(stored(&jetstream, "EVENTS", "d365.fno.>").await?.is_empty());
        Ok(())
    })
}

#[test]
fn outputs_and_state_are_read_as_they_are_stored() -> Result<()> {
    within(60, async {
        let broker = Broker::start().await?;
        let jetstream = broker.jetstream().await?;
        for (name, subject) in [("EVENTS", "d365.>"), ("LEDGER", "ledger.>")] {
            let config = Config {
                name: name.to_owned(),
                subjects: vec![subject.to_owned()],
                ..Default::default()
            };
            jetstream.create_stream(config).await?;
        }
        ensure!(state(&jetstream, "count", "total").await?.is_none());
        jetstream
            .publish("ledger.count.0.state.total", "41".into())
            .await?
            .await?;
        jetstream
            .publish("ledger.count.0.state.total", "42".into())
            .await?
            .await?;
        ensure!(state(&jetstream, "count", "total").await?.as_deref() == Some(&b"42"[..]));

        let inputs = spread(600, 10);
        let mut messages = Vec::new();
        for input in &inputs {
            let mut message = input.message.clone();
            message.body = format!(
                "{{\"input\":{:?},\"key\":{:?},\"n\":{}}}",
                input.id, input.key, input.n
            )
            .into();
            message.subject = "d365.custom.test.business.echo.raised.3".to_owned();
            messages.push(message.clone());
            message.subject = "ledger.out.custom.test.business.echo.raised.3".to_owned();
            messages.push(message);
        }
        publish_messages(&jetstream, &messages).await?;
        carried_over(&jetstream).await?;
        let outputs: Vec<Echo> = wait_echoes(&jetstream, 600, 10).await?;
        Verdict::on(&inputs, &outputs).clean()?;
        ensure!(
            wait_echoes(&jetstream, 601, 0).await.is_err(),
            "it waits for what is there"
        );
        Ok(())
    })
}

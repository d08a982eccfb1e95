//! Promise: what happens to the host is an event, once, that plug-ins can react to, and never a chain without end.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sluicegate_tests::component::with_words;
use sluicegate_tests::events::{publish, spread};
use sluicegate_tests::outputs::{Stored, stored, wait_dead_letters};
use sluicegate_tests::sluice::sluice_on;
use sluicegate_tests::{
    Broker, Input, Setup, Source, Stage, environment, guests, stamped, until, within,
};

const LETTERS: &str = "d365.custom.*.system.dead-letter.raised.*";

async fn wait_told(stage: &Stage, filter: &str, count: usize) -> Result<Vec<Stored>> {
    let told = async || stored(&stage.jetstream, "EVENTS", filter).await;
    until(&format!("{count} at {filter}"), 60, async || {
        let found = told().await?.len();
        ensure!(found == count, "{found} are there");
        Ok(())
    })
    .await?;
    told().await
}

fn data(event: &Stored) -> Result<Value> {
    Ok(serde_json::from_slice(&event.body)?)
}

#[test]
fn a_dead_letter_is_told_once_and_plug_ins_hear_of_it() -> Result<()> {
    within(120, async {
        let broker = Broker::start().await?;
        let listens = with_words(
            &std::fs::read(environment::guest("emit_one")?)?,
            &[(
                "subjects = [\"d365.custom.test.record.*.*\"]",
                "subjects = [\"d365.custom.*.system.dead-letter.raised\"]",
            )],
        )?;
        let setup = Setup::new(broker.url())
            .telemetry("events = true")
            .guest("reject")?
            .file("listens.wasm", listens);
        let mut stage = Stage::of(broker, setup).await?;
        let inputs = spread(3, 3);
        publish(&stage.jetstream, &inputs).await?;
        let told = wait_told(&stage, LETTERS, 3).await?;
        let mut ids: Vec<String> = Vec::new();
        for event in &told {
            ensure!(event.attribute("type")? == "d365.system.dead-letter");
            ensure!(event.attribute("subject")? == "reject");
            let data = data(event)?;
            ensure!(data.get("plugin") == Some(&json!("reject")), "{data}");
            ensure!(data.get("reason") == Some(&json!("rejected")), "{data}");
            let id = data.pointer("/event/id").and_then(Value::as_str);
            ids.push(id.context("no id of the event")?.to_owned());
        }
        ids.sort();
        let mut expected: Vec<String> = inputs.iter().map(|input| input.id.clone()).collect();
        expected.sort();
        ensure!(ids == expected, "{ids:?}");
        stage.host.settled("emit-one", 30).await?;
        let done = stage.host.metrics().await?.outcomes("emit-one", "done")?;
        ensure!(done == 3.0, "the listener was called {done} times");
        // Neither a start nor a crash tells of them anew.
        stage.host.kill9();
        stage.host.start().await?;
        publish(&stage.jetstream, &[Input::new("later", "k", 0)]).await?;
        wait_told(&stage, LETTERS, 4).await?;
        Ok(())
    })
}

#[test]
fn who_fails_on_system_events_makes_no_chain_of_them() -> Result<()> {
    within(120, async {
        let broker = Broker::start().await?;
        let rejects = with_words(
            &std::fs::read(environment::guest("reject")?)?,
            &[(
                "subjects = [\"d365.custom.test.record.*.*\"]",
                "subjects = [\"d365.>\"]",
            )],
        )?;
        let setup = Setup::new(broker.url())
            .telemetry("events = true")
            .file("rejects.wasm", rejects);
        let stage = Stage::of(broker, setup).await?;
        publish(&stage.jetstream, &spread(2, 2)).await?;
        // Two of the events, and two of the events about those.
        wait_dead_letters(&stage.jetstream, 4, 30).await?;
        // A deed is told of behind them, so by then a fifth letter would be.
        sluice_on(&stage.broker, &["pause", "reject"]).await?.ok()?;
        wait_told(&stage, "d365.custom.*.system.pause.raised.*", 1).await?;
        wait_told(&stage, LETTERS, 2).await?;
        Ok(())
    })
}

#[test]
fn deeds_of_operators_are_told() -> Result<()> {
    within(90, async {
        let broker = Broker::start().await?;
        let setup = Setup::new(broker.url())
            .telemetry("events = true")
            .guest("emit_one")?;
        let stage = Stage::of(broker, setup).await?;
        for verb in ["pause", "resume"] {
            sluice_on(&stage.broker, &[verb, "emit-one"]).await?.ok()?;
            let filter = format!("d365.custom.host-1.system.{verb}.raised.*");
            let told = wait_told(&stage, &filter, 1).await?;
            let event = told.first().context("nothing")?;
            ensure!(event.attribute("type")? == format!("d365.system.{verb}"));
            let data = data(event)?;
            ensure!(data.get("target") == Some(&json!("emit-one")), "{data}");
            ensure!(data.get("name").is_some(), "nobody did it: {data}");
        }
        Ok(())
    })
}

#[test]
fn a_host_that_is_to_be_silent_is() -> Result<()> {
    within(90, async {
        let broker = Broker::start().await?;
        let setup = Setup::new(broker.url())
            .telemetry("events = false")
            .guest("reject")?;
        let mut stage = Stage::of(broker, setup).await?;
        publish(&stage.jetstream, &spread(3, 3)).await?;
        wait_dead_letters(&stage.jetstream, 3, 30).await?;
        stage.host.stop().await?;
        let told = stored(&stage.jetstream, "EVENTS", "d365.*.*.system.>").await?;
        ensure!(told.is_empty(), "{told:?}");
        Ok(())
    })
}

#[test]
fn records_of_other_systems_are_of_their_kind() -> Result<()> {
    within(60, async {
        let source = Source::new("cloudevents", "tenant");
        let stage = Stage::taking(&[&source]).await?;
        for (id, event_type, subject) in [
            (
                "s1",
                "Microsoft.Entra.SignIn.Failed",
                "d365.custom.tenant.system.microsoft_entra_signin.failed.",
            ),
            (
                "s2",
                "d365.system.audit.read",
                "d365.custom.tenant.system.audit.read.",
            ),
        ] {
            let event = json!({
                "specversion": "1.0", "id": id, "source": "/m365", "type": event_type,
                "data": {"user": "vera"},
            });
            let request = source.post("application/cloudevents+json", event.to_string());
            let stored = stage.taken(&request).await?;
            ensure!(stored.subject.starts_with(subject), "{}", stored.subject);
        }
        Ok(())
    })
}

#[test]
fn of_two_hosts_each_thing_is_told_once() -> Result<()> {
    within(120, async {
        let broker = Broker::start().await?;
        let host = |name: &str| {
            Setup::new(broker.url())
                .named(name)
                .telemetry("events = true")
                .guest("reject")
        };
        let mut first = host("host-1")?.start().await?;
        let second = host("host-2")?.start().await?;
        let jetstream = broker.jetstream().await?;
        let stage = Stage {
            host: second,
            jetstream,
            broker,
        };
        publish(&stage.jetstream, &spread(50, 50)).await?;
        wait_told(&stage, LETTERS, 50).await?;
        // Whichever of them reads, the other goes on.
        first.kill9();
        publish(&stage.jetstream, &[Input::new("later", "k", 0)]).await?;
        let told = wait_told(&stage, LETTERS, 51).await?;
        let mut letters = std::collections::BTreeSet::new();
        for event in &told {
            letters.insert(event.attribute("id")?);
        }
        ensure!(letters.len() == 51, "{letters:?}");
        Ok(())
    })
}

#[test]
fn a_circuit_that_opens_and_closes_is_told() -> Result<()> {
    within(120, async {
        let broker = Broker::start().await?;
        let setup = Setup::new(broker.url())
            .telemetry("events = true")
            .guest("outage")?;
        let stage = Stage::of(broker, setup).await?;
        publish(&stage.jetstream, &spread(12, 12)).await?;
        let opened = "d365.custom.host-1.system.breaker-opened.raised.*";
        let told = wait_told(&stage, opened, 1).await?;
        let event = told.first().context("nothing")?;
        ensure!(event.attribute("type")? == "d365.system.breaker-opened");
        ensure!(event.attribute("subject")? == "outage");
        let opened = data(event)?;
        ensure!(opened.get("plugin") == Some(&json!("outage")), "{opened}");
        ensure!(
            opened.get("error").is_some_and(Value::is_string),
            "{opened}"
        );
        publish(&stage.jetstream, &[guests::told("heal", 0, "heal")]).await?;
        let closed = "d365.custom.host-1.system.breaker-closed.raised.*";
        let told = wait_told(&stage, closed, 1).await?;
        let closed = data(told.first().context("nothing")?)?;
        ensure!(
            closed.get("partition") == opened.get("partition"),
            "{closed}"
        );
        Ok(())
    })
}

#[test]
fn a_canary_that_is_taken_back_is_told_once_by_two_hosts() -> Result<()> {
    within(180, async {
        let folder = tempfile::tempdir()?;
        let broker = Broker::start().await?;
        let host = |name: &str| {
            Setup::new(broker.url())
                .named(name)
                .telemetry("events = true")
                .guest("stamp")
        };
        let _first = host("host-1")?.start().await?;
        let second = host("host-2")?.start().await?;
        let jetstream = broker.jetstream().await?;
        let stage = Stage {
            host: second,
            jetstream,
            broker,
        };
        let broken = "build = \"b\"\nfails = \"reject\"";
        let changes = [("1.0.0", "2.0.0"), ("build = \"b\"", broken)];
        let file = stamped::file(folder.path(), "b", &changes)?;
        sluice_on(&stage.broker, &["deploy", &file, "--canary", "50%"])
            .await?
            .ok()?;
        publish(&stage.jetstream, &spread(200, 200)).await?;
        let failed = "d365.custom.*.system.canary-failed.raised.*";
        let told = wait_told(&stage, failed, 1).await?;
        let data = data(told.first().context("nothing")?)?;
        ensure!(data.get("plugin") == Some(&json!("stamp")), "{data}");
        let reason = data.get("reason").and_then(Value::as_str);
        ensure!(
            reason.is_some_and(|reason| reason.contains("rejects")),
            "{data}"
        );
        // A deed behind it is told of, and by then another would be.
        sluice_on(&stage.broker, &["pause", "stamp"]).await?.ok()?;
        wait_told(&stage, "d365.custom.*.system.pause.raised.*", 1).await?;
        wait_told(&stage, failed, 1).await?;
        Ok(())
    })
}

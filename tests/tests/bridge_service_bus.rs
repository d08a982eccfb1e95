//! Promise: a bridge to Service Bus loses nothing and keeps the order of each key, whichever end is killed.
//!
//! RabbitMQ with its AMQP 1.0 plug-in stands in for Service Bus; `docs/connect-service-bus.md`
//! says what that cannot prove.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use sluicegate_tests::amqp::{Received, message, receive_until, send_surely};
use sluicegate_tests::checks::Verdict;
use sluicegate_tests::events::publish;
use sluicegate_tests::outputs::{Echo, Stored, dead_letters, stored, wait_dead_letters};
use sluicegate_tests::rabbitmq::{PASSWORD, RabbitMq, USER};
use sluicegate_tests::{Broker, Host, Input, Setup, Stage, bodies, environment, until, within};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};

const QUEUES: [&str; 2] = ["to-us", "from-us"];
const BRIDGED: &str = "d365.custom.bridged.>";
const CLAIMS: &str = "http://schemas.microsoft.com/xrm/2011/Claims/";

/// `[[bridge]]` with a queue of this broker.
fn bridge(rabbit: &RabbitMq, name: &str, lines: &str, queue: &str, more: &str) -> String {
    format!(
        "[[bridge]]\nname = \"{name}\"\n{lines}\n[bridge.service_bus]\nurl = \"{}\"\nqueue = \
         \"/amq/queue/{queue}\"\nuser = \"{USER}\"\npassword = \"${{RABBITMQ_PASSWORD}}\"\n{more}\n",
        rabbit.url()
    )
}

fn inward(rabbit: &RabbitMq, format: &str) -> String {
    let lines = format!("direction = \"in\"\nenvironment = \"bridged\"\nformat = \"{format}\"");
    bridge(rabbit, "into", &lines, "to-us", "")
}

fn outward(rabbit: &RabbitMq, more: &str) -> String {
    let lines = format!("direction = \"out\"\nsubjects = [\"{BRIDGED}\"]");
    bridge(rabbit, "out-of", &lines, "from-us", more)
}

fn setup(broker: &Broker, sections: &str) -> Setup {
    Setup::new(broker.url())
        .with(sections)
        .variable("RABBITMQ_PASSWORD", PASSWORD)
}

/// Events in rounds: each round has one of every key.
fn inputs(events: u64, keys: u64) -> Vec<Input> {
    let input = |i| {
        let (key, n) = (format!("k{}", i % keys), i / keys);
        Input::new(format!("{key}-{n}"), key, n)
    };
    (0..events).map(input).collect()
}

fn properties(input: &Input) -> [(&str, &str); 5] {
    [
        ("cloudEvents:specversion", "1.0"),
        ("cloudEvents:id", &input.id),
        ("cloudEvents:source", "/tests/promises"),
        ("cloudEvents:type", "d365.custom.thing.update"),
        ("cloudEvents:partitionkey", &input.key),
    ]
}

/// Sends `rate` a second, one after another; gives how many had to be sent again.
async fn traffic(
    port: u16,
    inputs: &[Input],
    rate: u64,
    done: watch::Sender<bool>,
) -> Result<usize> {
    let mut ticks = interval(Duration::from_millis(500));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut again = 0;
    for part in inputs.chunks(usize::try_from(rate / 2)?) {
        ticks.tick().await;
        let messages: Vec<_> = part
            .iter()
            .map(|input| message(&input.id, &properties(input), &input.message.body))
            .collect();
        again += send_surely(port, "to-us", &messages).await?;
    }
    done.send_replace(true);
    Ok(again)
}

/// Kills one of the three every `pace`, each at least once, until the traffic is over.
async fn strike(
    (host, broker, rabbit): (&mut Host, &mut Broker, &mut RabbitMq),
    (random, pace): (&mut StdRng, Duration),
    over: watch::Receiver<bool>,
) -> Result<BTreeMap<&'static str, u32>> {
    let mut kills = BTreeMap::new();
    let kinds = ["host", "nats-server", "rabbitmq"];
    let mut first = kinds;
    first.shuffle(random);
    let mut first = first.into_iter();
    loop {
        let next = first.next();
        if next.is_none() && *over.borrow() {
            return Ok(kills);
        }
        sleep(pace.mul_f64(random.random_range(0.5..1.5))).await;
        let kind = match next {
            Some(kind) => kind,
            None => *kinds.choose(random).context("no kind")?,
        };
        *kills.entry(kind).or_default() += 1;
        let away = Duration::from_millis(random.random_range(0..1_500));
        match kind {
            "host" => {
                host.kill9();
                sleep(away).await;
                host.spawn()?;
                host.wait_ready(60).await?;
            }
            "nats-server" => {
                broker.kill9();
                sleep(away).await;
                broker.restart().await?;
            }
            _ => {
                rabbit.kill9();
                sleep(away).await;
                rabbit.restart().await?;
            }
        }
    }
}

fn number(body: &[u8]) -> Result<u64> {
    let body: Value = serde_json::from_slice(body)?;
    body.get("n").and_then(Value::as_u64).context("no n")
}

fn kept(stored: &Stored) -> Result<Echo> {
    Ok(Echo {
        input: stored.attribute("id")?,
        key: stored.attribute("partitionkey")?,
        n: number(&stored.body)?,
    })
}

fn arrived(received: &Received) -> Result<Echo> {
    let id = received.property("cloudEvents:id")?;
    let expected = format!("/tests/promises#{id}");
    ensure!(received.id == expected, "message-id {}", received.id);
    Ok(Echo {
        input: id.to_owned(),
        key: received.group.clone().context("no group-id")?,
        n: number(&received.body)?,
    })
}

fn has_all(events: usize) -> impl FnMut(&[Received]) -> bool {
    let (mut seen, mut looked) = (HashSet::new(), 0);
    move |all| {
        let new = all.get(looked..).unwrap_or_default();
        seen.extend(new.iter().map(|received| received.id.clone()));
        looked = all.len();
        events <= seen.len()
    }
}

#[test]
fn in_and_out_whatever_is_killed() -> Result<()> {
    let (events, keys, rate, pace, limit) = match environment::long() {
        true => (100_000, 1_000, 500, 6, 2_400),
        false => (3_000, 100, 250, 3, 170),
    };
    let seed = environment::seed()?;
    within(limit, async {
        let Some(mut rabbit) = RabbitMq::start(&QUEUES).await? else {
            return Ok(());
        };
        let mut random = StdRng::seed_from_u64(seed);
        let broker = Broker::start().await?;
        let sections = [inward(&rabbit, "cloudevents"), outward(&rabbit, "")].concat();
        let setup = setup(&broker, &sections);
        let Stage {
            mut host,
            jetstream,
            mut broker,
        } = Stage::of(broker, setup).await?;
        let inputs = inputs(events, keys);
        let port = rabbit.port();
        let (done, over) = watch::channel(false);
        let pace = (&mut random, Duration::from_secs(pace));
        let (last, first) = inputs.split_last().context("no inputs")?;
        let (again, kills, received) = tokio::join!(
            traffic(port, first, rate, done),
            strike((&mut host, &mut broker, &mut rabbit), pace, over),
            receive_until(port, "from-us", limit - 20, has_all(first.len())),
        );
        let (again, kills, mut received) = (again?, kills?, received?);
        eprintln!("kills: {kills:?}");
        // What was not settled before a kill comes again, before this one, and is known.
        let after = message(&last.id, &properties(last), &last.message.body);
        send_surely(port, "to-us", &[after]).await?;
        let is_last = |one: &Received| one.property("cloudEvents:id").is_ok_and(|id| id == last.id);
        let has_last = |all: &[Received]| all.iter().any(is_last);
        received.extend(receive_until(port, "from-us", 60, has_last).await?);
        host.settled("out-of", 60).await?;
        host.stop().await?;
        let events = stored(&jetstream, "EVENTS", BRIDGED).await?;
        let events = events.iter().map(kept).collect::<Result<Vec<_>>>()?;
        let outputs = received.iter().map(arrived).collect::<Result<Vec<_>>>()?;
        let inside = Verdict::on(&inputs, &events);
        let outside = Verdict::on(&inputs, &outputs);
        let left = receive_until(port, "to-us", 3, |_| false).await;
        let letters = dead_letters(&jetstream).await?.len();
        let figures = json!({
            "inputs": inputs.len(), "sent_again": again, "kills": kills, "seed": seed,
            "in": { "outputs": inside.outputs, "lost": inside.lost.len(),
                    "repeated": inside.repeated.len(), "reordered": inside.reordered.len() },
            "out": { "outputs": outside.outputs, "lost": outside.lost.len(),
                     "with_a_message_id_again": outside.repeated.len(),
                     "reordered": outside.reordered.len() },
            "dead_letters": letters,
        });
        environment::write_figures("bridge_service_bus", &figures)?;
        inside.clean()?;
        let faults = outside.lost.len() + outside.reordered.len() + outside.foreign.len();
        ensure!(faults == 0, "the promise was broken: {outside:#?}");
        ensure!(letters == 0, "{letters} dead letters");
        ensure!(kills.len() == 3, "not all were killed: {kills:?}");
        let left = left
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        ensure!(
            left.starts_with("0 received"),
            "not all was settled: {left}"
        );
        host.hush();
        Ok(())
    })
}

#[test]
fn what_dataverse_sends_is_what_its_webhook_would_have_sent() -> Result<()> {
    within(90, async {
        let Some(rabbit) = RabbitMq::start(&QUEUES).await? else {
            return Ok(());
        };
        let broker = Broker::start().await?;
        let setup = setup(&broker, &inward(&rabbit, "dataverse"));
        let mut stage = Stage::of(broker, setup).await?;
        let body = bodies::account_update(1, 1)?;
        let organization = format!("{CLAIMS}Organization");
        let entity = format!("{CLAIMS}EntityLogicalName");
        let named = [
            (organization.as_str(), "contoso.crm.dynamics.com"),
            (entity.as_str(), "account"),
            ("MessageMaxSizeExceeded", "true"),
        ];
        // The same event in both formats.
        let text = include_bytes!("../../d365/fixtures/xml/account-update.xml");
        let same = include_bytes!("../../d365/fixtures/account-update.json");
        let mut of_xml = message("m-6", &named, text);
        let properties = of_xml.properties.as_mut().context("no properties")?;
        properties.content_type = Some("application/xml".into());
        let xml = b"<RemoteExecutionContext xmlns=\"x\"/>";
        let binary = b"@\x16RemoteExecutionContext\x08\x0a";
        let messages = [
            message("m-1", &named, body.as_bytes()),
            message("m-2", &named, xml),
            message("m-3", &named, binary),
            message("m-4", &named, b"{}"),
            message("m-5", &named, body.as_bytes()),
            of_xml,
        ];
        send_surely(rabbit.port(), "to-us", &messages).await?;
        let letters = wait_dead_letters(&stage.jetstream, 3, 30).await?;
        for (body, reason) in [
            (&xml[..], "message format 3"),
            (binary, "message format 1"),
            (b"{}", ""),
        ] {
            let letter = letters.iter().find(|letter| letter.body == body);
            let letter = letter.with_context(|| format!("no dead letter with {body:?}"))?;
            let error = letter.header("Sluice-Error")?;
            ensure!(error.contains(reason), "{error}");
        }
        let events = until("the events", 20, async || {
            let events = stored(&stage.jetstream, "EVENTS", "d365.dataverse.bridged.>").await?;
            ensure!(2 <= events.len(), "not yet");
            Ok(events)
        })
        .await?;
        // The same body a second time is the same event.
        ensure!(events.len() == 2, "{events:?}");
        let of_xml = events.iter().find(|event| event.body == same.trim_ascii());
        let of_xml = of_xml.context("XML did not become the JSON of its event")?;
        let media_type = of_xml.attribute("datacontenttype")?;
        ensure!(media_type == "application/json", "{media_type}");
        let event = events.iter().find(|event| event.body == body.as_bytes());
        let event = event.context("another body")?;
        for (name, value) in [
            ("type", "d365.dataverse.account.update"),
            ("d365organization", "contoso.crm.dynamics.com"),
            ("d365entityname", "account"),
            ("d365truncated", "true"),
        ] {
            let found = event.attribute(name)?;
            ensure!(found == value, "{name} is {found}");
        }
        let left = receive_until(rabbit.port(), "to-us", 2, |_| false).await;
        ensure!(left.is_err(), "something was left");
        stage.host.stop().await?;
        stage.host.hush();
        Ok(())
    })
}

#[test]
fn an_event_goes_out_as_properties_and_data_or_as_one_object() -> Result<()> {
    within(90, async {
        let Some(rabbit) = RabbitMq::start(&["parts", "whole"]).await? else {
            return Ok(());
        };
        let broker = Broker::start().await?;
        let lines = "direction = \"out\"\nsubjects = [\"d365.custom.>\"]";
        let sections = [
            bridge(&rabbit, "parts", lines, "parts", ""),
            bridge(&rabbit, "whole", lines, "whole", "mode = \"structured\""),
        ];
        let setup = setup(&broker, &sections.concat());
        let mut stage = Stage::of(broker, setup).await?;
        let long = "x".repeat(300);
        let inputs = [Input::new("1", "a key", 1), Input::new(&long, &long, 2)];
        publish(&stage.jetstream, &inputs).await?;
        let parts = receive_until(rabbit.port(), "parts", 30, has_all(2)).await?;
        let whole = receive_until(rabbit.port(), "whole", 30, has_all(2)).await?;
        let part = parts.iter().find(|part| part.id == "/tests/promises#1");
        let part = part.context("no message of the first event")?;
        ensure!(part.group.as_deref() == Some("a key"), "{part:?}");
        ensure!(
            part.content_type.as_deref() == Some("application/json"),
            "{part:?}"
        );
        let [input, _] = &inputs;
        ensure!(part.body == input.message.body, "{part:?}");
        for (name, value) in [
            ("specversion", "1.0"),
            ("type", "d365.custom.thing.update"),
            ("time", "2026-01-28T09:25:05Z"),
            ("partitionkey", "a key"),
        ] {
            let found = part.property(&format!("cloudEvents:{name}"))?;
            ensure!(found == value, "{name} is {found}");
        }
        let object = whole.iter().find(|object| object.id == part.id);
        let object = object.context("no message of the first event")?;
        let media_type = object.content_type.as_deref().unwrap_or_default();
        ensure!(
            media_type.starts_with("application/cloudevents+json"),
            "{media_type}"
        );
        ensure!(object.properties.is_empty(), "{:?}", object.properties);
        let event: Value = serde_json::from_slice(&object.body)?;
        ensure!(event.get("id") == Some(&json!("1")), "{event}");
        // What Service Bus takes for an id has 128 characters at most.
        for received in parts.iter().chain(&whole) {
            let group = received.group.as_deref().unwrap_or_default();
            ensure!(
                received.id.len() <= 128 && group.len() <= 128,
                "{received:?}"
            );
        }
        stage.host.stop().await?;
        stage.host.hush();
        Ok(())
    })
}

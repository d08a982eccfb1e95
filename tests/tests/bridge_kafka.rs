//! Promise: what a Kafka topic has is in the event store once and in order per key, and the other
//! way round; whatever is killed on the way.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use async_nats::jetstream::Context as JetStream;
use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use sluicegate_tests::checks::Verdict;
use sluicegate_tests::dataverse::{CLIENT_ID, CLIENT_SECRET, Dataverse};
use sluicegate_tests::events::{Message, publish, spread};
use sluicegate_tests::kafka::{KafkaBroker, Record, produce, without_repeats};
use sluicegate_tests::kafka_front::{Front, PASSWORD, USERNAME};
use sluicegate_tests::outputs::{Echo, Stored, count, stored, wait_dead_letters};
use sluicegate_tests::tls::Identity;
use sluicegate_tests::{Broker, Input, Setup, Stage, environment, until, within};
use tokio::time::{sleep, timeout};

const TOPIC: &str = "orders";
const PARTITIONS: i32 = 4;

/// A bridge from the topic. The group takes a host that was killed for dead soon.
fn inward(kafka: &KafkaBroker, format: &str) -> String {
    format!(
        "[[bridge]]\nname = \"orders-in\"\ndirection = \"in\"\nenvironment = \"lab\"\n\
         format = \"{format}\"\n[bridge.kafka]\nbrokers = [\"{}\"]\ntopic = \"{TOPIC}\"\n\
         security = \"none\"\ngroup = \"sluicegate\"\nsession_timeout = \"6s\"\n\
         properties = {{ \"reconnect.backoff.max.ms\" = 500, \"heartbeat.interval.ms\" = 1000 }}\n",
        kafka.address()
    )
}

/// A bridge to the topic.
fn outward(kafka: &KafkaBroker, more: &str) -> String {
    format!(
        "[[bridge]]\nname = \"orders-out\"\ndirection = \"out\"\nsubjects = [\"d365.custom.>\"]\n\
         [bridge.kafka]\nbrokers = [\"{}\"]\ntopic = \"{TOPIC}\"\nsecurity = \"none\"\n\
         properties = {{ \"reconnect.backoff.max.ms\" = 500 }}\n{more}",
        kafka.address()
    )
}

/// A Kafka broker with the topic, and a host with one bridge on a broker of its own.
async fn stage(bridge: impl Fn(&KafkaBroker) -> String) -> Result<Option<(KafkaBroker, Stage)>> {
    let Some(kafka) = KafkaBroker::start().await? else {
        return Ok(None);
    };
    kafka.topic(TOPIC, PARTITIONS).await?;
    let broker = Broker::start().await?;
    let setup = Setup::new(broker.url()).with(&bridge(&kafka));
    let stage = Stage::of(broker, setup).await?;
    Ok(Some((kafka, stage)))
}

fn echo(stored: &Stored) -> Result<Echo> {
    let data: Value = serde_json::from_slice(&stored.body)?;
    Ok(Echo {
        input: stored.attribute("id")?,
        key: stored.attribute("partitionkey")?,
        n: data.get("n").and_then(Value::as_u64).context("no n")?,
    })
}

/// Waits until the event store has so many, and judges it.
async fn all_in(stage: &Stage, inputs: &[Input], seconds: u64) -> Result<Verdict> {
    until("everything to be in the event store", seconds, async || {
        let found = count(&stage.jetstream, "EVENTS", "d365.>").await?;
        ensure!(inputs.len() <= found, "{found} of {}", inputs.len());
        Ok(())
    })
    .await?;
    let found = stored(&stage.jetstream, "EVENTS", "d365.>").await?;
    let echoes: Vec<Echo> = found.iter().map(echo).collect::<Result<_>>()?;
    Ok(Verdict::on(inputs, &echoes))
}

/// Waits until the group has committed all that is in the topic.
async fn all_committed(kafka: &KafkaBroker, seconds: u64) -> Result<()> {
    let end = kafka.end(TOPIC).await?;
    until("everything to be committed", seconds, async || {
        let committed = kafka.committed("sluicegate", TOPIC, PARTITIONS).await?;
        ensure!(committed == end, "{committed} of {end}");
        Ok(())
    })
    .await
}

/// Publishes each key's events one after another, however often the broker is killed.
async fn publish_in_order(jetstream: &JetStream, inputs: &[Input]) -> Result<()> {
    let mut keys: BTreeMap<&str, Vec<&Input>> = BTreeMap::new();
    for input in inputs {
        keys.entry(&input.key).or_default().push(input);
    }
    let publishing = keys.into_values().map(async |inputs| {
        for input in inputs {
            let Message {
                subject,
                mut headers,
                body,
            } = input.message.clone();
            headers.insert("Nats-Msg-Id", input.id.as_str());
            until("the broker to take it", 60, async || {
                let (subject, headers) = (subject.clone(), headers.clone());
                let sent = jetstream.publish_with_headers(subject, headers, body.clone());
                let stored = async { anyhow::Ok(sent.await?.await?) };
                timeout(Duration::from_secs(2), stored).await?
            })
            .await?;
        }
        anyhow::Ok(())
    });
    join_all(publishing).await.into_iter().collect()
}

/// How often each was killed.
#[derive(Debug, Default)]
struct Kills {
    host: usize,
    kafka: usize,
    broker: usize,
}

/// Kills one of the three after another, drawn, and brings it back.
async fn kill(
    (kafka, stage): (&mut KafkaBroker, &mut Stage),
    kills: usize,
    random: &mut StdRng,
) -> Result<Kills> {
    let mut done = Kills::default();
    // Each of them, and then whichever.
    for number in 0..kills {
        sleep(Duration::from_millis(random.random_range(700..2_000))).await;
        let away = Duration::from_millis(random.random_range(0..600));
        let whom = if number < 3 {
            number
        } else {
            random.random_range(0..3)
        };
        match whom {
            0 => {
                stage.host.kill9();
                sleep(away).await;
                stage.host.start().await?;
                done.host += 1;
            }
            1 => {
                kafka.kill9().await;
                sleep(away).await;
                kafka.restart().await?;
                done.kafka += 1;
            }
            _ => {
                stage.broker.kill9();
                sleep(away).await;
                stage.broker.restart().await?;
                done.broker += 1;
            }
        }
    }
    Ok(done)
}

/// Events, keys, kills, seconds for all of it.
fn size() -> (u64, u64, usize, u64) {
    if environment::long() {
        (100_000, 200, 60, 900)
    } else {
        (3_000, 50, 3, 90)
    }
}

fn figures(verdict: &Verdict, repeated_there: usize, kills: &Kills, seconds: f64) -> Value {
    json!({
        "inputs": verdict.inputs, "outputs": verdict.outputs, "lost": verdict.lost.len(),
        "repeated": verdict.repeated.len(), "reordered": verdict.reordered.len(),
        "written_again_with_the_same_id": repeated_there,
        "kills": { "host": kills.host, "kafka": kills.kafka, "nats": kills.broker },
        "seconds": seconds,
    })
}

#[test]
fn what_is_in_the_topic_comes_in_once_and_in_order_over_kills() -> Result<()> {
    let (events, keys, kills, seconds) = size();
    within(seconds + 60, async {
        let Some((mut kafka, mut stage)) = stage(|kafka| inward(kafka, "cloudevents")).await?
        else {
            return Ok(());
        };
        let mut random = StdRng::seed_from_u64(environment::seed()?);
        let inputs = spread(events, keys);
        let started = tokio::time::Instant::now();
        // The producer has to go on while its broker is killed.
        let producer = kafka.producer()?;
        let pause = Duration::from_millis(100);
        let producing = produce(&producer, TOPIC, &inputs, pause);
        let killing = kill((&mut kafka, &mut stage), kills, &mut random);
        let (produced, killed) = tokio::join!(producing, killing);
        let killed = killed?;
        produced?;
        let verdict = all_in(&stage, &inputs, seconds).await?;
        all_committed(&kafka, 60).await?;
        let took = started.elapsed().as_secs_f64();
        let again = kafka.records(TOPIC).await?.len() - inputs.len();
        environment::write_figures("bridge_kafka_in", &figures(&verdict, again, &killed, took))?;
        verdict.clean()?;
        stage.host.stop().await
    })
}

#[test]
fn what_goes_out_is_in_the_topic_in_order_over_kills() -> Result<()> {
    let (events, keys, kills, seconds) = size();
    within(seconds + 60, async {
        let Some((mut kafka, mut stage)) = stage(|kafka| outward(kafka, "")).await? else {
            return Ok(());
        };
        let mut random = StdRng::seed_from_u64(environment::seed()?);
        let inputs = spread(events, keys);
        let started = tokio::time::Instant::now();
        let jetstream = stage.broker.jetstream().await?;
        let publishing = publish_in_order(&jetstream, &inputs);
        let killing = kill((&mut kafka, &mut stage), kills, &mut random);
        let (published, killed) = tokio::join!(publishing, killing);
        let killed = killed?;
        published?;
        stage.host.settled("orders-out", seconds).await?;
        let records = kafka.records(TOPIC).await?;
        let took = started.elapsed().as_secs_f64();
        let echoes: Vec<Echo> = records.iter().map(Record::echo).collect::<Result<_>>()?;
        let (echoes, again) = without_repeats(echoes);
        let verdict = Verdict::on(&inputs, &echoes);
        environment::write_figures("bridge_kafka_out", &figures(&verdict, again, &killed, took))?;
        verdict.clean()?;
        // A crash repeats what was on its way, and that is bounded.
        ensure!(again <= killed.host * 1_000, "{again} were written again");
        stage.host.stop().await
    })
}

#[test]
fn a_record_is_committed_only_when_the_event_store_has_it() -> Result<()> {
    within(90, async {
        let Some((kafka, mut stage)) = stage(|kafka| inward(kafka, "cloudevents")).await? else {
            return Ok(());
        };
        let inputs = spread(200, 10);
        let (first, second) = inputs.split_at(100);
        produce(&kafka.producer()?, TOPIC, first, Duration::ZERO).await?;
        all_in(&stage, first, 30).await?.clean()?;
        all_committed(&kafka, 20).await?;
        stage.broker.freeze()?;
        produce(&kafka.producer()?, TOPIC, second, Duration::ZERO).await?;
        // It has read them when it says that the event store does not take them.
        until("the host to notice", 30, async || {
            let metrics = stage.host.metrics().await?;
            let refused = metrics.sum("sluicegate_bridge_refused_total", &[])?;
            ensure!(0.0 < refused, "{refused}");
            Ok(())
        })
        .await?;
        let committed = kafka.committed("sluicegate", TOPIC, PARTITIONS).await?;
        ensure!(committed == 100, "{committed} are committed");
        stage.broker.thaw()?;
        all_in(&stage, &inputs, 40).await?.clean()?;
        all_committed(&kafka, 20).await?;
        // A host that ends well leaves nothing to be read again, and its place to the next at once.
        stage.host.stop().await?;
        stage.host.start().await?;
        let more = spread(220, 10);
        produce(&kafka.producer()?, TOPIC, &more[200..], Duration::ZERO).await?;
        all_in(&stage, &more, 20).await?.clean()?;
        let metrics = stage.host.metrics().await?;
        let repeated = metrics.sum("sluicegate_bridge_repeated_total", &[])?;
        ensure!(repeated == 0.0, "{repeated} were read again");
        stage.host.stop().await
    })
}

#[test]
fn what_nobody_understands_is_a_dead_letter_and_holds_nothing_up() -> Result<()> {
    within(60, async {
        let Some((kafka, mut stage)) = stage(|kafka| inward(kafka, "cloudevents")).await? else {
            return Ok(());
        };
        let mut bad = Input::new("bad", "k0", 0);
        bad.message.headers.insert("ce-time", "yesterday");
        let inputs = [bad, Input::new("good", "k0", 1)];
        produce(&kafka.producer()?, TOPIC, &inputs, Duration::ZERO).await?;
        let letters = wait_dead_letters(&stage.jetstream, 1, 30).await?;
        let letter = letters.first().context("no letter")?;
        ensure!(letter.body == inputs[0].message.body, "{letter:?}");
        let error = letter.header("Sluice-Error")?;
        ensure!(error.contains("time"), "{error}");
        all_in(&stage, &inputs[1..], 20).await?.clean()?;
        all_committed(&kafka, 20).await?;
        stage.host.stop().await
    })
}

#[test]
fn what_a_bridge_writes_another_reads_as_the_same_event() -> Result<()> {
    within(90, async {
        for mode in ["binary", "structured"] {
            let mode_line = format!("mode = \"{mode}\"\n");
            let Some((kafka, mut out)) = stage(|kafka| outward(kafka, &mode_line)).await? else {
                return Ok(());
            };
            let odd = "Zürich \"100%\" %20 ";
            let input = Input::new("i-1", "account/1", 1)
                .header("ce-subject", "Z%C3%BCrich%20%22100%25%22%20%2520%20")
                .header("ce-d365depth", "2");
            let input = Input {
                message: Message {
                    body: "{\"n\": 1.10}".into(),
                    ..input.message
                },
                ..input
            };
            publish(&out.jetstream, &[input]).await?;
            out.host.settled("orders-out", 30).await?;
            let records = kafka.records(TOPIC).await?;
            let [record] = records.as_slice() else {
                anyhow::bail!("{records:?}")
            };
            ensure!(record.key.as_deref() == Some("account/1"), "{record:?}");
            if mode == "binary" {
                ensure!(
                    record
                        .headers
                        .get("ce_subject")
                        .is_some_and(|found| found == odd)
                );
                let media = record.headers.get("content-type").map(String::as_str);
                ensure!(media == Some("application/json"), "{record:?}");
            }
            out.host.stop().await?;
            let broker = Broker::start().await?;
            let setup = Setup::new(broker.url()).with(&inward(&kafka, "cloudevents"));
            let mut back = Stage::of(broker, setup).await?;
            until("it to come back", 30, async || {
                ensure!(back.events().await? == 1, "not yet");
                Ok(())
            })
            .await?;
            let came = stored(&back.jetstream, "EVENTS", "d365.>").await?;
            let came = came.first().context("nothing came")?;
            ensure!(came.attribute("subject")? == odd, "{came:?}");
            ensure!(came.attribute("d365depth")? == "2", "{came:?}");
            ensure!(came.attribute("partitionkey")? == "account/1", "{came:?}");
            ensure!(came.body == "{\"n\": 1.10}", "{came:?}");
            back.host.stop().await?;
        }
        Ok(())
    })
}

/// In and out over TLS, as one who shows `sasl`, which has to be let in, or not.
async fn shown(sasl: &str, is_welcome: bool) -> Result<()> {
    let Some(mut kafka) = KafkaBroker::start().await? else {
        return Ok(());
    };
    kafka.topic(TOPIC, 1).await?;
    let identity = Identity::of(&["localhost", "127.0.0.1"])?;
    let front = Front::start(&identity, kafka.port()).await?;
    let tokens = Dataverse::start(&identity, "https://127.0.0.1:1/elsewhere").await?;
    let inputs = [Input::new("secret", "k", 0)];
    produce(&kafka.producer()?, TOPIC, &inputs, Duration::ZERO).await?;
    kafka.behind(front.port).await?;
    let kafka_table = format!(
        "[bridge.kafka]\nbrokers = [\"localhost:{}\"]\ntopic = \"{TOPIC}\"\nca = \"ca.pem\"\n",
        front.port
    );
    let sasl = sasl.replace("{origin}", &tokens.origin());
    let bridges = format!(
        "[http]\nca = \"ca.pem\"\n[[bridge]]\nname = \"orders-in\"\ndirection = \"in\"\n\
         environment = \"lab\"\nformat = \"cloudevents\"\n{kafka_table}group = \"sluicegate\"\n{sasl}\
         [[bridge]]\nname = \"orders-out\"\ndirection = \"out\"\nsubjects = [\"d365.custom.>\"]\n\
         types = [\"d365.custom.other\"]\n{kafka_table}{sasl}"
    );
    let broker = Broker::start().await?;
    let setup = Setup::new(broker.url())
        .beside("ca.pem", identity.cert.as_bytes())
        .variable("PASSWORD", PASSWORD)
        .variable("CLIENT_SECRET", CLIENT_SECRET)
        .with(&bridges);
    let mut stage = Stage::of(broker, setup).await?;
    if !is_welcome {
        until("it to be refused", 20, async || {
            ensure!(0 < front.refused(), "not yet");
            Ok(())
        })
        .await?;
        ensure!(stage.events().await? == 0, "something came in");
        let (status, told) = stage.host.admin("/readyz").await?;
        ensure!(
            status == 503 || told.contains("orders-in"),
            "{status} {told}"
        );
        return stage.host.stop().await;
    }
    all_in(&stage, &inputs, 30).await?.clean()?;
    let other = Input::new("other", "k", 1)
        .header("ce-type", "d365.custom.other")
        .header("Nats-Msg-Id", "/tests/promises#other");
    publish(&stage.jetstream, &[other]).await?;
    stage.host.settled("orders-out", 20).await?;
    // The bridge in has read it already.
    ensure!(stage.events().await? == 2, "it came back as another event");
    ensure!(front.refused() == 0, "{front:?}");
    ensure!(1 < front.passwords() + front.tokens(), "{front:?}");
    ensure!((0 < front.tokens()) == (0 < tokens.tokens()), "{front:?}");
    stage.host.stop().await
}

#[test]
fn tls_and_a_password_lead_in() -> Result<()> {
    let sasl = format!(
        "sasl = {{ mechanism = \"PLAIN\", username = \"{USERNAME}\", password = \"${{PASSWORD}}\" }}\n"
    );
    within(90, shown(&sasl, true))
}

#[test]
fn tls_and_a_token_lead_in() -> Result<()> {
    let sasl = format!(
        "[bridge.kafka.sasl]\nmechanism = \"OAUTHBEARER\"\ntoken_url = \"{{origin}}/token\"\n\
         client_id = \"{CLIENT_ID}\"\nclient_secret = \"${{CLIENT_SECRET}}\"\nscope = \"s\"\n"
    );
    within(90, shown(&sasl, true))
}

#[test]
fn a_wrong_password_does_not() -> Result<()> {
    let sasl = "sasl = { mechanism = \"PLAIN\", username = \"u\", password = \"${PASSWORD}\" }\n";
    within(90, shown(sasl, false))
}

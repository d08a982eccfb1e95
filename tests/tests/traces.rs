//! Promise: with a collector, one trace leads from the sender through the gateway, every attempt
//! and every emitted event; what it shows is what happened, and a collector that is away costs
//! spans and nothing else. The collector is a program of others; where it cannot be had, the
//! tests say so.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::{Value, json};
use sluicegate_tests::collector::{Collector, Span};
use sluicegate_tests::component::with_words;
use sluicegate_tests::dataverse::Dataverse;
use sluicegate_tests::events::{publish, spread};
use sluicegate_tests::outputs::{
    ECHOES, Stored, carried_over, count, stored, wait_dead_letters, wait_echoes,
};
use sluicegate_tests::tls::Identity;
use sluicegate_tests::{Broker, Input, Request, Setup, Source, Stage, environment, until, within};

/// A sender's.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SENDER: &str = "00f067aa0ba902b7";

fn of_sender(flags: &str) -> String {
    format!("00-{TRACE}-{SENDER}-{flags}")
}

/// A guest under other words.
fn plugin(guest: &str, changes: &[(&str, &str)]) -> Result<Vec<u8>> {
    with_words(&std::fs::read(environment::guest(guest)?)?, changes)
}

/// `order.placed` → first → `one.raised` → second, at its second attempt → `two.raised` →
/// third, which sends a request.
fn chain(setup: Setup, origin: &str) -> Result<Setup> {
    let first = plugin(
        "relay",
        &[("\"relay\"", "\"first\""), ("echo.raised", "one.raised")],
    )?;
    let second = plugin(
        "relay",
        &[
            ("\"relay\"", "\"second\""),
            ("order.placed", "one.raised"),
            ("echo.raised", "two.raised"),
            ("attempt = \"1\"", "attempt = \"2\""),
        ],
    )?;
    let third = plugin(
        "sends",
        &[
            ("\"sends\"", "\"third\""),
            ("record.*.*", "business.two.raised"),
            ("https://localhost:1", origin),
        ],
    )?;
    Ok(setup
        .file("first.wasm", first)
        .file("second.wasm", second)
        .file("third.wasm", third))
}

/// An order in binary mode.
fn order(source: &Source, id: &str, body: &str) -> Request {
    source
        .post("application/json", body)
        .header("ce-specversion", "1.0")
        .header("ce-id", id)
        .header("ce-source", "/tests/orders")
        .header("ce-type", "d365.custom.order.placed")
        .header("ce-subject", "order/1")
        .header("ce-correlationid", "c-1")
}

async fn emitted(stage: &Stage, name: &str) -> Result<Stored> {
    let subject = format!("d365.custom.test.business.{name}.raised.*");
    until(&format!("an event on {subject}"), 30, async || {
        let mut found = stored(&stage.jetstream, "EVENTS", &subject).await?;
        ensure!(found.len() == 1, "{} are there", found.len());
        found.pop().context("none")
    })
    .await
}

fn only<'a>(spans: &'a [Span], kind: SpanKind, what: &str) -> Result<&'a Span> {
    let found: Vec<&Span> = spans
        .iter()
        .filter(|span| span.kind == kind && span.name.starts_with(what))
        .collect();
    match found.as_slice() {
        [one] => Ok(one),
        _ => anyhow::bail!("{} spans {kind:?} {what}: {spans:#?}", found.len()),
    }
}

#[test]
fn one_order_is_one_trace() -> Result<()> {
    within(120, async {
        let Some(collector) = Collector::start().await? else {
            return Ok(());
        };
        let identity = Identity::of(&["localhost"])?;
        let server = Dataverse::start(&identity, "https://127.0.0.1:1/elsewhere").await?;
        let source = Source::new("cloudevents", "test");
        let broker = Broker::start().await?;
        let setup = Setup::new(broker.url())
            .source(&source)
            .telemetry(&collector.config())
            .beside("ca.pem", identity.cert.as_bytes())
            .with("[http]\nca = \"ca.pem\"");
        let stage = Stage::of(broker, chain(setup, &server.origin())?).await?;
        let body = format!(
            " {{\"n\": 1,\"url\":\"{}/api/x?k=secret\"}}\n",
            server.origin()
        );
        let request = order(&source, "o-1", &body)
            .header("traceparent", of_sender("01"))
            .header("tracestate", "vendor=1");
        let event = stage.taken(&request).await?;
        let [one, two] = [emitted(&stage, "one").await?, emitted(&stage, "two").await?];
        wait_echoes(&stage.jetstream, 1, 30).await?;
        let mut all = collector.wait(SpanKind::Consumer, 4, 30).await?;
        for kind in [SpanKind::Server, SpanKind::Producer, SpanKind::Client] {
            all.extend(collector.wait(kind, 1, 30).await?);
        }
        ensure!(all.len() == 7, "{all:#?}");
        for span in &all {
            ensure!(span.trace == TRACE, "{span:#?}");
            ensure!(span.time.0 <= span.time.1, "{span:#?}");
            let service = span.resource.get("service.name").map(String::as_str);
            ensure!(service == Some("sluicegate"), "{span:#?}");
        }

        // Who is under whom.
        let of = |kind, name| only(&all, kind, name);
        let request = of(SpanKind::Server, "POST /cloudevents/{environment}")?;
        let published = of(
            SpanKind::Producer,
            "publish d365.custom.test.business.order.",
        )?;
        let first = of(SpanKind::Consumer, "first")?;
        let third = of(SpanKind::Consumer, "third")?;
        let sent = of(SpanKind::Client, "GET")?;
        let mut second: Vec<&Span> = all.iter().filter(|span| span.name == "second").collect();
        second.sort_by_key(|span| span.attribute("sluicegate.attempt"));
        let &[failed, again] = second.as_slice() else {
            anyhow::bail!("two attempts: {second:#?}");
        };
        for (span, parent) in [
            (request, SENDER),
            (published, &request.id),
            (first, &published.id),
            (failed, &first.id),
            (again, &first.id),
            (third, &again.id),
            (sent, &third.id),
        ] {
            ensure!(span.parent == parent, "under {parent}? {span:#?}");
        }

        // The events say the same, and are what they were.
        ensure!(event.body == body.as_bytes(), "other bytes");
        ensure!(event.attribute("traceparent")? == published.traceparent());
        ensure!(event.attribute("tracestate")? == "vendor=1");
        for (event, by, cause) in [(&one, first, "o-1"), (&two, again, &one.attribute("id")?)] {
            ensure!(event.body == body.as_bytes(), "other bytes");
            ensure!(event.attribute("traceparent")? == by.traceparent());
            ensure!(event.attribute("tracestate")? == "vendor=1");
            ensure!(event.attribute("correlationid")? == "c-1");
            ensure!(event.attribute("causationid")? == cause);
        }

        // What the guests saw and said.
        for (span, attempt) in [(first, 1), (failed, 1), (again, 2)] {
            let id = span.attribute("cloudevents.event_id");
            let line = format!("{id} attempt {attempt} in {}", span.traceparent());
            ensure!(span.lines() == [line.as_str()], "{line}: {span:#?}");
            let trace = format!("\"trace\":\"{TRACE}\"");
            let of_log = stage.host.wait_log(&[&line, &trace], 10).await?;
            ensure!(of_log.contains("\"correlation\":\"c-1\""), "{of_log}");
        }
        let again_soon = ["will be tried again", "\"correlation\":\"c-1\""];
        stage.host.wait_log(&again_soon, 10).await?;
        let server_saw = server.seen();
        let seen = server_saw.first().context("no request")?;
        let header = seen.headers.get("traceparent").context("no traceparent")?;
        ensure!(header.to_str()? == sent.traceparent(), "{header:?}");

        // And what they are.
        ensure!(failed.error.as_deref() == Some("not yet"), "{failed:#?}");
        let version = first.attribute("sluicegate.plugin.digest");
        ensure!(version.starts_with("sha256:"), "{first:#?}");
        for (span, name, value) in [
            (request, "http.response.status_code", "202"),
            (request, "sluicegate.events", "1"),
            (request, "sluicegate.source.environment", "test"),
            (published, "cloudevents.event_id", "o-1"),
            (published, "sluicegate.correlationid", "c-1"),
            (published, "messaging.destination.name", &event.subject),
            (first, "sluicegate.outcome", "done"),
            (first, "sluicegate.partition_key", "order/1"),
            (failed, "sluicegate.outcome", "retry"),
            (again, "sluicegate.outcome", "done"),
            (again, "sluicegate.causationid", "o-1"),
            (third, "sluicegate.correlationid", "c-1"),
            (sent, "http.response.status_code", "200"),
            (sent, "url.path", "/api/x"),
        ] {
            ensure!(span.attribute(name) == value, "{name} {value}: {span:#?}");
        }
        let shown = format!("{all:?}");
        ensure!(!shown.contains("secret"), "a query is in a span");
        ensure!(!shown.contains(source.key()), "a key is in a span");
        Ok(())
    })
}

/// In batches of a hundred, as structured CloudEvents.
fn batches(source: &Source, orders: &[Value]) -> Vec<Request> {
    let batch = |part: &[Value]| {
        source.post(
            "application/cloudevents-batch+json",
            json!(part).to_string(),
        )
    };
    orders.chunks(100).map(batch).collect()
}

#[test]
fn every_attempt_and_every_event_has_its_span() -> Result<()> {
    const EVENTS: usize = 2_000;
    within(150, async {
        let Some(collector) = Collector::start().await? else {
            return Ok(());
        };
        let source = Source::new("cloudevents", "test");
        let broker = Broker::start().await?;
        let setup = Setup::new(broker.url())
            .source(&source)
            .telemetry(&collector.config())
            .guest("fail_by_data")?;
        let mut stage = Stage::of(broker, setup).await?;
        let data = |n: usize| match n % 20 {
            7 => json!({ "do": "retry", "until": 1, "n": n }),
            11 => json!({ "do": "reject", "n": n }),
            13 => json!({ "do": "trap", "n": n }),
            _ => json!({ "do": "ok", "n": n }),
        };
        let orders: Vec<Value> = (0..EVENTS)
            .map(|n| {
                json!({
                    "specversion": "1.0", "id": format!("e{n}"), "source": "/tests/promises",
                    "type": "d365.dataverse.thing.update", "partitionkey": format!("k{}", n % 200),
                    "datacontenttype": "application/json", "data": data(n),
                })
            })
            .collect();
        let mut requests = batches(&source, &orders);
        // The same again, and something that nobody understands.
        requests.extend(batches(&source, orders.get(..100).unwrap_or_default()));
        requests.push(source.post("application/cloudevents+json", "{\"id\": 5}"));
        let requested = requests.len();
        for request in requests {
            stage.host.gateway().ask(&request).await?.of(202)?;
        }
        // And events that came another way, two of which are one.
        let direct = Input::new("d-1", "d", 0);
        publish(&stage.jetstream, &[direct.clone(), direct]).await?;
        stage.host.settled("fail-by-data", 60).await?;

        let metrics = stage.host.metrics().await?;
        let outcomes = metrics.sum("sluicegate_outcomes_total", &[])? as usize;
        let published = metrics.sum("sluicegate_gateway_events_published_total", &[])? as usize;
        ensure!(published == EVENTS + 100 + 1, "{published} published");
        let duplicates = metrics.outcomes("fail-by-data", "duplicate")?;
        ensure!(duplicates == 1.0, "{duplicates} duplicates");
        // 100 are tried twice, 100 trap five times.
        ensure!(outcomes == EVENTS + 2 + 100 + 400, "{outcomes} outcomes");

        let attempts = collector.wait(SpanKind::Consumer, outcomes, 60).await?;
        let produced = collector.wait(SpanKind::Producer, published, 60).await?;
        stage.host.stop().await?;
        let all = collector.spans();
        let of = |kind| all.iter().filter(|span| span.kind == kind).count();
        ensure!(
            of(SpanKind::Consumer) == outcomes,
            "{}",
            of(SpanKind::Consumer)
        );
        ensure!(
            of(SpanKind::Producer) == published,
            "{}",
            of(SpanKind::Producer)
        );
        ensure!(
            of(SpanKind::Server) == requested,
            "{}",
            of(SpanKind::Server)
        );
        let ids: BTreeSet<&str> = all.iter().map(|span| span.id.as_str()).collect();
        ensure!(ids.len() == all.len(), "a span came twice");

        // Each attempt is under the span with which its event was published, in that trace.
        let parents: BTreeMap<&str, &Span> = produced
            .iter()
            .map(|span| (span.id.as_str(), span))
            .collect();
        let mut by_outcome: BTreeMap<&str, usize> = BTreeMap::new();
        for attempt in &attempts {
            *by_outcome
                .entry(attempt.attribute("sluicegate.outcome"))
                .or_default() += 1;
            let id = attempt.attribute("cloudevents.event_id");
            if id == "d-1" {
                ensure!(attempt.parent.is_empty(), "{attempt:#?}");
                continue;
            }
            let parent = parents.get(attempt.parent.as_str());
            let parent = parent.with_context(|| format!("no parent: {attempt:#?}"))?;
            ensure!(parent.trace == attempt.trace, "{attempt:#?}");
            ensure!(
                parent.attribute("cloudevents.event_id") == id,
                "{attempt:#?}"
            );
        }
        let expected = [
            ("done", 1_801),
            ("duplicate", 1),
            ("reject", 100),
            ("retry", 100),
            ("trap", 500),
        ];
        ensure!(by_outcome == BTreeMap::from(expected), "{by_outcome:?}");
        let dead = |reason: &str| {
            let is = |span: &&Span| span.attribute("sluicegate.dead_letter") == reason;
            all.iter().filter(is).count()
        };
        let letters = [dead("rejected"), dead("trap"), dead("undecodable")];
        ensure!(letters == [100, 100, 1], "{letters:?}");
        // A dead letter names the trace that shows how it came to that.
        let traces: BTreeSet<&str> = attempts
            .iter()
            .filter(|span| !span.attribute("sluicegate.dead_letter").is_empty())
            .map(|span| span.trace.as_str())
            .collect();
        let letters = wait_dead_letters(&stage.jetstream, 201, 20).await?;
        let named = letters
            .iter()
            .filter_map(|letter| letter.header("Sluice-Trace-Id").ok());
        let named: BTreeSet<&str> = named.collect();
        ensure!(named == traces, "{} and {}", named.len(), traces.len());
        Ok(())
    })
}

#[test]
fn a_collector_that_is_away_costs_spans_and_nothing_else() -> Result<()> {
    const WHILE_AWAY: u64 = 18_000;
    within(170, async {
        let Some(mut collector) = Collector::start().await? else {
            return Ok(());
        };
        let broker = Broker::start().await?;
        let setup = Setup::new(broker.url())
            .telemetry(&collector.config())
            .guest("emit_one")?;
        let mut stage = Stage::of(broker, setup).await?;
        publish(&stage.jetstream, &spread(500, 50)).await?;
        collector.wait(SpanKind::Consumer, 500, 30).await?;
        collector.kill9();

        let away: Vec<Input> = (0..WHILE_AWAY)
            .map(|n| Input::new(format!("a{n}"), format!("k{}", n % 50), n))
            .collect();
        publish(&stage.jetstream, &away).await?;
        stage.host.settled("emit-one", 100).await?;
        let dropped = async || {
            let metrics = stage.host.metrics().await?;
            metrics.sum("sluicegate_trace_spans_dropped_total", &[])
        };
        until("spans to be dropped", 30, async || {
            let dropped = dropped().await?;
            ensure!(0.0 < dropped, "none");
            Ok(())
        })
        .await?;
        let away = "the collector takes no spans";
        stage.host.wait_log(&[away], 20).await?;

        collector.restart().await?;
        stage.host.wait_log(&["takes spans again"], 60).await?;
        publish(
            &stage.jetstream,
            &spread(100, 50)
                .into_iter()
                .map(|input| Input::new(format!("b-{}", input.id), input.key, input.n))
                .collect::<Vec<_>>(),
        )
        .await?;
        stage.host.settled("emit-one", 30).await?;
        // Each event had one attempt, and each attempt a span that got there or was counted.
        let total = (500 + WHILE_AWAY + 100) as f64;
        until("all spans to be told of", 60, async || {
            let metrics = stage.host.metrics().await?;
            let exported = metrics.sum("sluicegate_trace_spans_exported_total", &[])?;
            let dropped = metrics.sum("sluicegate_trace_spans_dropped_total", &[])?;
            ensure!(
                exported + dropped == total,
                "{exported} and {dropped} of {total}"
            );
            Ok(())
        })
        .await?;
        until("spans of the last events", 30, async || {
            let spans = collector.spans();
            let last = |span: &&Span| span.attribute("cloudevents.event_id").starts_with("b-");
            let last = spans.iter().filter(last).count();
            ensure!(last == 100, "{last}");
            Ok(())
        })
        .await?;
        let warned = stage.host.log()?.matches(away).count();
        ensure!(warned == 1, "told {warned} times");
        stage.host.stop().await?;
        carried_over(&stage.jetstream).await?;
        let echoes = count(&stage.jetstream, "EVENTS", ECHOES).await?;
        ensure!(echoes as f64 == total, "{echoes} outputs of {total}");
        Ok(())
    })
}

#[test]
fn a_host_that_stops_does_not_wait_for_a_collector_that_is_away() -> Result<()> {
    within(60, async {
        // Nothing listens there.
        let setup_of =
            |broker: &Broker| Setup::new(broker.url()).telemetry("otlp = \"http://127.0.0.1:9\"");
        let broker = Broker::start().await?;
        let setup = setup_of(&broker).grace("20s").guest("emit_one")?;
        let mut stage = Stage::of(broker, setup).await?;
        publish(&stage.jetstream, &spread(10, 5)).await?;
        wait_echoes(&stage.jetstream, 10, 30).await?;
        let begun = tokio::time::Instant::now();
        stage.host.stop().await?;
        ensure!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
        stage
            .host
            .wait_log(&["before the collector took its spans", "\"spans\":10"], 5)
            .await?;
        Ok(())
    })
}

#[test]
fn the_sender_decides_what_is_sampled_and_only_who_has_a_key() -> Result<()> {
    within(90, async {
        let Some(collector) = Collector::start().await? else {
            return Ok(());
        };
        let source = Source::new("cloudevents", "test");
        let broker = Broker::start().await?;
        let setup = Setup::new(broker.url())
            .source(&source)
            .telemetry(&collector.config())
            .telemetry("sample = 0.0")
            .file("relay.wasm", plugin("relay", &[])?);
        let mut stage = Stage::of(broker, setup).await?;
        let own = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331";
        let mut flags = BTreeMap::new();
        for (id, header, extension) in [
            ("wanted", Some(of_sender("01")), None),
            ("unwanted", Some(of_sender("00")), None),
            ("nobody-said", None, None),
            ("broken", Some("00-xyz-01".to_owned()), None),
            ("of-its-own", None, Some(format!("{own}-01"))),
            ("of-two", Some(of_sender("01")), Some(format!("{own}-00"))),
        ] {
            let mut request = order(&source, id, "{\"n\": 1}");
            if let Some(header) = &header {
                request = request.header("traceparent", header);
            }
            if let Some(extension) = &extension {
                request = request.header("ce-traceparent", extension);
            }
            let event = stage.taken(&request).await?;
            flags.insert(id, event.attribute("traceparent")?);
        }
        let stranger = source.clone().keyed("another");
        let request = order(&stranger, "stranger", "{}").header("traceparent", of_sender("01"));
        stage.host.gateway().ask(&request).await?.of(401)?;
        stage.host.settled("relay", 30).await?;
        stage.host.stop().await?;
        for (id, trace, sampled) in [
            ("wanted", TRACE, "-01"),
            ("unwanted", TRACE, "-00"),
            ("nobody-said", "", "-00"),
            ("broken", "", "-00"),
            ("of-its-own", "0af7651916cd43dd8448eb211c80319c", "-01"),
            ("of-two", "0af7651916cd43dd8448eb211c80319c", "-00"),
        ] {
            let found = flags.get(id).context("not stored")?;
            ensure!(
                found.contains(trace) && found.ends_with(sampled),
                "{id}: {found}"
            );
        }
        // Two in whole; of the request with two traces, the part of its own.
        let spans = collector.wait(SpanKind::Server, 3, 20).await?;
        ensure!(spans.len() == 3, "{spans:#?}");
        let all = collector.spans();
        let of = |kind| all.iter().filter(|span| span.kind == kind).count();
        let found = [of(SpanKind::Producer), of(SpanKind::Consumer)];
        ensure!(found == [2, 2], "{all:#?}");
        Ok(())
    })
}

#[test]
fn without_a_collector_nothing_is_other_than_before() -> Result<()> {
    within(90, async {
        let identity = Identity::of(&["localhost"])?;
        let server = Dataverse::start(&identity, "https://127.0.0.1:1/elsewhere").await?;
        let source = Source::new("cloudevents", "test");
        let broker = Broker::start().await?;
        let setup = Setup::new(broker.url())
            .source(&source)
            .beside("ca.pem", identity.cert.as_bytes())
            .with("[http]\nca = \"ca.pem\"");
        let stage = Stage::of(broker, chain(setup, &server.origin())?).await?;
        let body = json!({ "n": 1, "url": format!("{}/api/x", server.origin()) }).to_string();
        let request = order(&source, "o-1", &body)
            .header(
                "traceparent",
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            )
            .header("ce-traceparent", of_sender("01"));
        let event = stage.taken(&request).await?;
        wait_echoes(&stage.jetstream, 1, 30).await?;
        for event in [
            &event,
            &emitted(&stage, "one").await?,
            &emitted(&stage, "two").await?,
        ] {
            ensure!(
                event.attribute("traceparent")? == of_sender("01"),
                "{event:?}"
            );
        }
        // Each attempt has an id of its own in the sender's trace, as ever.
        let line = stage
            .host
            .wait_log(&["o-1 attempt 1 in 00-", TRACE], 10)
            .await?;
        ensure!(!line.contains("\"trace\""), "{line}");
        let seen = server.seen();
        let seen = seen.first().context("no request")?;
        ensure!(!seen.headers.contains_key("traceparent"), "{seen:?}");
        let metrics = stage.host.metrics().await?;
        for name in ["exported", "dropped"] {
            let name = format!("sluicegate_trace_spans_{name}_total");
            ensure!(metrics.sum(&name, &[])? == 0.0, "{name}");
        }
        Ok(())
    })
}

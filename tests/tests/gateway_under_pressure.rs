//! Promise: what cannot be stored now is answered 503 with `Retry-After`, within a second: never
//! a hang, never a 2xx. When the trouble has passed, it is taken.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use sluicegate_tests::bodies::{account_update, input, output};
use sluicegate_tests::checks::Verdict;
use sluicegate_tests::outputs::stored;
use sluicegate_tests::proxy::{Proxy, Wire};
use sluicegate_tests::{Broker, Gateway, Input, Request, Setup, Source, Stage, within};
use tokio::time::sleep;

/// A second, and what a busy machine adds to it.
const SOON: Duration = Duration::from_millis(1_800);

fn source() -> Source {
    Source::new("dataverse", "contoso")
}

/// What is promised. Of several attempts one at least has to keep it to the letter.
const PROMISED: Duration = Duration::from_secs(1);

/// The request has to be turned away in time, again and again.
async fn turned_away(gateway: Gateway, request: &Request, times: usize) -> Result<()> {
    let mut fastest = Duration::MAX;
    for time in 0..times {
        let (answer, took) = gateway.timed(request).await?;
        answer.try_again().with_context(|| format!("time {time}"))?;
        ensure!(took < SOON, "time {time}: it took {took:?}");
        fastest = fastest.min(took);
    }
    ensure!(
        times < 3 || fastest < PROMISED,
        "of {times} the fastest took {fastest:?}"
    );
    Ok(())
}

/// Exactly these are in the store, in their order.
async fn there_are(stage: &Stage, inputs: &[Input]) -> Result<()> {
    let stored = stored(&stage.jetstream, "EVENTS", "d365.>").await?;
    let outputs: Vec<_> = stored.iter().map(output).collect::<Result<_>>()?;
    Verdict::on(inputs, &outputs).clean()
}

#[test]
fn a_broker_that_is_not_there_yet() -> Result<()> {
    within(90, async {
        let mut broker = Broker::not_started()?;
        let source = source();
        let mut host = Setup::new(broker.url()).source(&source).write()?;
        host.spawn()?;
        let gateway = host.gateway();
        gateway.wait_listening().await?;
        let request = source.json(account_update(1, 0)?);
        turned_away(gateway, &request, 3).await?;
        // What is wrong is told as if nothing were missing.
        gateway
            .ask(&Request::new("GET", &source.path()))
            .await?
            .problem(405)?;
        gateway
            .ask(&source.clone().keyed("wrong").json("{}"))
            .await?
            .problem(401)?;
        gateway
            .ask(&source.post("text/xml", "<a/>"))
            .await?
            .problem(415)?;
        // Nor is a dead letter a thing to lose.
        turned_away(gateway, &source.json("no json"), 1).await?;

        broker.restart().await?;
        gateway.ask_until(&request, 202, 30).await?.one()?;
        let jetstream = broker.jetstream().await?;
        let stage = Stage {
            host,
            jetstream,
            broker,
        };
        there_are(&stage, &[input(1, 0)]).await
    })
}

#[test]
fn a_broker_that_is_killed() -> Result<()> {
    within(90, async {
        let source = source();
        let mut stage = Stage::taking(&[&source]).await?;
        let gateway = stage.host.gateway();
        let requests: Vec<Request> = (0..4)
            .map(|n| Ok(source.json(account_update(1, n)?)))
            .collect::<Result<_>>()?;
        let [first, second, third, fourth] = requests.as_slice() else {
            anyhow::bail!("four")
        };
        gateway.ask(first).await?.one()?;
        stage.broker.kill9();
        turned_away(gateway, second, 8).await?;
        // Many at a time do not wait for each other.
        let all = (0..200).map(|_| turned_away(gateway, third, 1));
        futures_util::future::try_join_all(all).await?;
        stage.broker.restart().await?;
        for request in [second, third, fourth] {
            gateway.ask_until(request, 202, 20).await?.one()?;
        }
        let inputs: Vec<Input> = (0..4).map(|n| input(1, n)).collect();
        there_are(&stage, &inputs).await
    })
}

#[test]
fn a_broker_that_hangs() -> Result<()> {
    within(90, async {
        let source = source();
        let stage = Stage::taking(&[&source]).await?;
        let gateway = stage.host.gateway();
        gateway
            .ask(&source.json(account_update(1, 0)?))
            .await?
            .one()?;
        stage.broker.freeze()?;
        let request = source.json(account_update(1, 1)?);
        turned_away(gateway, &request, 5).await?;
        let many = (0..100).map(|_| turned_away(gateway, &request, 1));
        futures_util::future::try_join_all(many).await?;
        stage.broker.thaw()?;
        // What the broker finds in its buffers and what is sent again is one event.
        gateway.ask_until(&request, 202, 20).await?.one()?;
        gateway
            .ask(&source.json(account_update(1, 2)?))
            .await?
            .one()?;
        let inputs: Vec<Input> = (0..3).map(|n| input(1, n)).collect();
        there_are(&stage, &inputs).await
    })
}

#[test]
fn a_wire_that_swallows_and_one_that_is_cut() -> Result<()> {
    within(90, async {
        let source = source();
        let broker = Broker::start().await?;
        let proxy = Proxy::before(broker.port()).await?;
        let stage = Stage::of(broker, Setup::new(proxy.url()).source(&source)).await?;
        let gateway = stage.host.gateway();
        gateway
            .ask(&source.json(account_update(1, 0)?))
            .await?
            .one()?;
        for (n, wire) in [(1, Wire::Swallowing), (2, Wire::Cut)] {
            proxy.set(wire);
            let request = source.json(account_update(1, n)?);
            turned_away(gateway, &request, 3).await?;
            if wire == Wire::Swallowing {
                proxy.cut().await;
            }
            proxy.set(Wire::Open);
            gateway.ask_until(&request, 202, 30).await?.one()?;
        }
        let inputs: Vec<Input> = (0..3).map(|n| input(1, n)).collect();
        there_are(&stage, &inputs).await
    })
}

#[test]
fn a_stream_that_is_full_refuses_and_forgets_nothing() -> Result<()> {
    within(90, async {
        let source = source();
        let broker = Broker::start().await?;
        let setup = Setup::new(broker.url())
            .events("max_bytes = \"1MiB\"")
            .source(&source);
        let stage = Stage::of(broker, setup).await?;
        let gateway = stage.host.gateway();
        let mut inputs = Vec::new();
        let refused = loop {
            let n = inputs.len() as u64;
            let mut body = account_update(1, n)?.into_bytes();
            body.resize(150 << 10, b' ');
            let request = source.json(body);
            let (answer, took) = gateway.timed(&request).await?;
            if answer.status == 503 {
                answer.try_again()?;
                ensure!(took < SOON, "it took {took:?}");
                break request;
            }
            answer.one()?;
            inputs.push(input(1, n));
            ensure!(n < 10, "1 MiB holds {n} of 150 KB");
        };
        ensure!(3 < inputs.len(), "{} found room", inputs.len());
        turned_away(gateway, &refused, 3).await?;
        there_are(&stage, &inputs).await?;
        stage.jetstream.get_stream("EVENTS").await?.purge().await?;
        gateway.ask_until(&refused, 202, 10).await?.one()?;
        there_are(&stage, &[input(1, inputs.len() as u64)]).await
    })
}

#[test]
fn requests_of_one_source_are_bounded_and_leave_others_alone() -> Result<()> {
    within(60, async {
        let bounded = source().with("max_in_flight = 2");
        let other = Source::new("dataverse", "fabrikam");
        let stage = Stage::taking(&[&bounded, &other]).await?;
        let gateway = stage.host.gateway();
        let mut held = Vec::new();
        for key in 0..2 {
            let request = bounded.json(account_update(key, 0)?);
            let request = request.header("expect", "100-continue");
            let (head, bytes) = (request.head(), request.bytes());
            let mut connection = gateway.connect().await?;
            connection.send(&head).await?;
            // It is asked for its body: it has its place.
            connection.continues().await?;
            let body = bytes.get(head.len()..).unwrap_or_default();
            let (start, rest) = body.split_at(body.len() - 1);
            connection.send(start).await?;
            held.push((connection, rest.to_vec()));
        }
        let third = bounded.json(account_update(2, 0)?);
        gateway.ask(&third).await?.try_again()?;
        // A stranger takes no place, and another source has its own.
        gateway
            .ask(&bounded.clone().keyed("wrong").json("{}"))
            .await?
            .problem(401)?;
        gateway
            .ask(&other.json(account_update(3, 0)?))
            .await?
            .one()?;
        for (mut connection, rest) in held {
            connection.send(&rest).await?;
            connection.answer().await?.one()?;
        }
        gateway.ask_until(&third, 202, 10).await?.one()?;
        // Who hangs up gives the place back.
        for key in 4..8 {
            let bytes = bounded.json(account_update(key, 0)?).bytes();
            let mut connection = gateway.connect().await?;
            connection
                .send(bytes.get(..bytes.len() / 2).unwrap_or_default())
                .await?;
        }
        gateway
            .ask_until(&bounded.json(account_update(9, 0)?), 202, 10)
            .await?
            .one()?;
        Ok(())
    })
}

#[test]
fn a_stop_answers_what_is_under_way() -> Result<()> {
    within(60, async {
        let source = source();
        let mut stage = Stage::taking(&[&source]).await?;
        let gateway = stage.host.gateway();
        let mut senders = tokio::task::JoinSet::new();
        for key in 0..8_u64 {
            let source = source.clone();
            senders.spawn(async move {
                let mut accepted = Vec::new();
                for n in 0.. {
                    let request = source.json(account_update(key, n)?);
                    let Ok(mut connection) = gateway.connect().await else {
                        break;
                    };
                    match connection.ask(&request).await {
                        Ok(answer) if answer.status == 202 => accepted.push(input(key, n)),
                        Ok(answer) => {
                            answer.try_again()?;
                            break;
                        }
                        // Connected in the system's queue, and never accepted.
                        Err(_) => break,
                    }
                }
                anyhow::Ok(accepted)
            });
        }
        sleep(Duration::from_millis(500)).await;
        stage.host.stop().await?;
        let mut accepted = Vec::new();
        while let Some(sender) = senders.join_next().await {
            accepted.extend(sender??);
        }
        ensure!(
            8 < accepted.len(),
            "only {} posts before the stop",
            accepted.len()
        );
        let stored = stored(&stage.jetstream, "EVENTS", "d365.>").await?;
        let outputs: Vec<_> = stored.iter().map(output).collect::<Result<_>>()?;
        let verdict = Verdict::on(&accepted, &outputs);
        ensure!(
            verdict.lost.is_empty() && verdict.repeated.is_empty(),
            "{verdict:?}"
        );
        ensure!(
            verdict.foreign.is_empty(),
            "a stop waits for what is under way: stored, but not answered: {:?}",
            verdict.foreign
        );
        Ok(())
    })
}

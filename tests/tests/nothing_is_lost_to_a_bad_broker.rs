//! Promise: nothing is lost when the broker dies, comes late, or cannot be reached; the host
//! recovers by itself.

use std::time::Duration;

use anyhow::{Result, ensure};
use sluicegate_tests::broker::connect;
use sluicegate_tests::checks::Verdict;
use sluicegate_tests::events::{publish, series, spread};
use sluicegate_tests::outputs::{dead_letters, echoes, wait_echoes};
use sluicegate_tests::proxy::{Proxy, Wire};
use sluicegate_tests::{Broker, Setup, Stage, until, within};
use tokio::time::sleep;

#[test]
fn the_host_recovers_when_the_broker_is_killed() -> Result<()> {
    within(150, async {
        let mut stage = Stage::with(&["emit_one"], "[ledger]\ncommit_events = 10").await?;
        let inputs = spread(900, 30);
        let (before, after) = inputs.split_at(600);
        publish(&stage.jetstream, before).await?;
        wait_echoes(&stage.jetstream, 20, 30).await?;
        stage.broker.kill9();
        until("/readyz to say that the broker is away", 20, async || {
            let (status, body) = stage.host.admin("/readyz").await?;
            ensure!(status == 503, "/readyz says {status}: {body}");
            Ok(())
        })
        .await?;
        let (status, _) = stage.host.admin("/healthz").await?;
        ensure!(
            status == 200,
            "a host without a broker is alive, but /healthz says {status}"
        );

        stage.broker.restart().await?;
        let jetstream = stage.broker.jetstream().await?;
        publish(&jetstream, after).await?;
        let outputs = wait_echoes(&jetstream, inputs.len(), 60).await?;
        stage.host.wait_ready(30).await?;
        stage.host.settled("emit-one", 20).await?;
        Verdict::on(&inputs, &outputs).clean()?;
        ensure!(stage.host.runs()?, "the host did not survive");
        ensure!(
            dead_letters(&jetstream).await?.is_empty(),
            "a broker that is away costs no event"
        );
        Ok(())
    })
}

#[test]
fn a_wire_that_is_cut_slowed_and_swallowing_loses_nothing() -> Result<()> {
    within(170, async {
        let broker = Broker::start().await?;
        let proxy = Proxy::before(broker.port()).await?;
        let setup = Setup::new(proxy.url())
            .guest("emit_one")?
            .with("[ledger]\ncommit_events = 10");
        let mut stage = Stage::of(broker, setup).await?;
        let inputs = spread(1_200, 30);
        let mut parts = inputs.chunks(300);
        let mut sent = 0;

        // Each fault falls into a stream that is under way.
        for fault in [
            Fault::Cut,
            Fault::Swallow(Duration::from_secs(7)),
            Fault::Slow,
            Fault::CutInAHole,
        ] {
            let Some(part) = parts.next() else { break };
            publish(&stage.jetstream, part).await?;
            wait_echoes(&stage.jetstream, sent + 20, 60).await?;
            sent += part.len();
            fault.strike(&proxy).await;
        }
        let outputs = wait_echoes(&stage.jetstream, inputs.len(), 90).await?;
        stage.host.wait_ready(30).await?;
        stage.host.settled("emit-one", 30).await?;
        Verdict::on(&inputs, &outputs).clean()?;
        ensure!(
            dead_letters(&stage.jetstream).await?.is_empty(),
            "a bad wire costs no event"
        );
        Ok(())
    })
}

/// What is done to the wire; the lengths of time are the faults themselves, no waiting.
enum Fault {
    Cut,
    /// Longer than the client library's patience for one answer (5 s).
    Swallow(Duration),
    Slow,
    CutInAHole,
}

impl Fault {
    async fn strike(self, proxy: &Proxy) {
        match self {
            Fault::Cut => proxy.cut().await,
            Fault::Swallow(time) => {
                proxy.set(Wire::Swallowing);
                sleep(time).await;
                proxy.set(Wire::Open);
            }
            Fault::Slow => {
                proxy.set(Wire::Slow(Duration::from_millis(30)));
                sleep(Duration::from_secs(2)).await;
                proxy.set(Wire::Open);
            }
            Fault::CutInAHole => {
                proxy.set(Wire::Swallowing);
                sleep(Duration::from_millis(500)).await;
                proxy.cut().await;
            }
        }
    }
}

#[test]
fn a_broker_of_the_hosts_own_survives_the_death_of_both() -> Result<()> {
    within(90, async {
        let mut host = Setup::new("embedded").guest("emit_one")?.start().await?;
        let inputs = series("k", 20);
        let (before, after) = inputs.split_at(10);
        for part in [before, after] {
            let url = std::fs::read_to_string(host.data_dir().join("nats.url"))?;
            let jetstream = connect(url.trim()).await?;
            publish(&jetstream, part).await?;
            wait_echoes(&jetstream, part.len(), 30).await?;
            host.kill9();
            host.start().await?;
        }
        let url = std::fs::read_to_string(host.data_dir().join("nats.url"))?;
        let jetstream = connect(url.trim()).await?;
        let outputs = wait_echoes(&jetstream, inputs.len(), 30).await?;
        Verdict::on(&inputs, &outputs).clean()
    })
}

#[test]
fn a_host_waits_for_a_broker_that_is_not_there_yet() -> Result<()> {
    within(90, async {
        let mut broker = Broker::not_started()?;
        let mut host = Setup::new(broker.url()).guest("emit_one")?.write()?;
        host.spawn()?;
        until("/readyz to say what is missing", 30, async || {
            let (status, body) = host.admin("/readyz").await?;
            ensure!(
                status == 503 && !body.trim().is_empty(),
                "/readyz says {status}: {body}"
            );
            Ok(())
        })
        .await?;
        ensure!(host.runs()?, "it gave up");

        broker.restart().await?;
        host.wait_ready(40).await?;
        let jetstream = broker.jetstream().await?;
        let inputs = series("k", 5);
        publish(&jetstream, &inputs).await?;
        wait_echoes(&jetstream, inputs.len(), 20).await?;
        Verdict::on(&inputs, &echoes(&jetstream).await?).clean()
    })
}

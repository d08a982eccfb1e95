//! Promise: on three nats-servers, the death of one costs nothing.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use async_nats::jetstream;
use sluicegate_tests::checks::Verdict;
use sluicegate_tests::events::{publish_surely, spread};
use sluicegate_tests::outputs::{
    ECHOES, carried_over, count, dead_letters, echoes, state, wait_echoes,
};
use sluicegate_tests::{Broker, Input, Setup, environment, until, within};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// Three copies of everything, and commits so small that a death falls between two.
const THREE: &str = "[ledger]\ncommit_events = 20";
const STREAMS: [&str; 5] = [
    "EVENTS",
    "LEDGER",
    "DEADLETTER",
    "KV_sluicegate",
    "OBJ_claims",
];

/// Publishes 200 a second until `over`, and gives what it has published.
async fn traffic(
    jetstream: &jetstream::Context,
    mut over: watch::Receiver<bool>,
) -> Result<Vec<Input>> {
    let mut inputs = spread(100_000, 100);
    let mut published = 0;
    for part in inputs.chunks(20) {
        publish_surely(jetstream, part, 0).await?;
        published += part.len();
        let pause = Duration::from_millis(100);
        if timeout(pause, over.wait_for(|over| *over)).await.is_ok() {
            break;
        }
    }
    inputs.truncate(published);
    Ok(inputs)
}

/// Waits until every copy of every stream is up to date.
async fn whole(jetstream: &jetstream::Context, seconds: u64) -> Result<()> {
    until("every stream to have three copies", seconds, async || {
        for name in STREAMS {
            let info = jetstream.get_stream(name).await?.get_info().await?;
            let cluster = info
                .cluster
                .with_context(|| format!("{name} has one copy"))?;
            let current = cluster.replicas.iter().filter(|copy| copy.current).count();
            ensure!(
                cluster.leader.is_some() && current == 2,
                "{name}: {cluster:?}"
            );
        }
        Ok(())
    })
    .await
}

#[test]
fn a_node_that_dies_and_comes_back_costs_nothing() -> Result<()> {
    let (deaths, limit) = if environment::long() {
        (24, 900)
    } else {
        (2, 175)
    };
    within(limit, async {
        let mut nodes = Broker::cluster().await?;
        let urls: Vec<String> = nodes.iter().map(Broker::url).collect();
        let setup = Setup::new(urls.join(",")).replicas(3).with(THREE);
        let mut host = setup.guest("emit_one")?.guest("count")?.start().await?;
        let jetstream = nodes.first().context("no node")?.jetstream().await?;
        whole(&jetstream, 60).await?;
        let publisher = jetstream.clone();
        let (done, over) = watch::channel(false);
        let (published, struck) = tokio::join!(traffic(&publisher, over), async {
            for death in 0..deaths {
                let node = nodes.get_mut(death % 3).context("no node")?;
                let before = count(&jetstream, "EVENTS", ECHOES).await.unwrap_or(0);
                wait_echoes(&jetstream, before + 20, 60).await?;
                node.kill9();
                sleep(Duration::from_secs(2)).await;
                node.restart().await?;
                // A second death before that would be the death of two.
                whole(&jetstream, 60).await?;
            }
            done.send_replace(true);
            Ok(())
        });
        let struck: Result<()> = struck;
        struck?;
        let inputs = published?;
        eprintln!("{} events", inputs.len());
        wait_echoes(&jetstream, inputs.len(), 60).await?;
        for plugin in ["emit-one", "count"] {
            host.settled(plugin, 60).await?;
        }
        host.stop().await?;
        carried_over(&jetstream).await?;
        // A reading that meets a change of leaders is made once more.
        let outputs = until("the outputs to be read", 30, async || {
            echoes(&jetstream).await
        })
        .await?;
        Verdict::on(&inputs, &outputs).clean()?;
        let total = async || state(&jetstream, "count", "total").await;
        let total = until("the total to be read", 30, total).await?;
        let total = total.context("nothing was counted")?;
        ensure!(
            std::str::from_utf8(&total)? == inputs.len().to_string(),
            "counted {total:?} of {}",
            inputs.len()
        );
        let letters = until("the dead letters to be read", 30, async || {
            dead_letters(&jetstream).await
        });
        let letters = letters.await?;
        ensure!(letters.is_empty(), "the death of a node costs no event");
        Ok(())
    })
}

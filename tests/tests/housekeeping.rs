//! Promise: a host that runs for months keeps its house: what the dedup window has passed is let
//! go, and a broker of its own that dies alone is started again.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use sluicegate_tests::broker::connect;
use sluicegate_tests::checks::Verdict;
use sluicegate_tests::events::{publish, series};
use sluicegate_tests::outputs::{count, echoes, wait_echoes};
use sluicegate_tests::{Host, Setup, Stage, until, within};
use tokio::time::sleep;

const LOG: &str = "ledger.emit-one.0.log";

#[test]
fn old_log_messages_are_purged_and_the_position_stays() -> Result<()> {
    within(120, async {
        let settings = "[ledger]\ndedup_window = \"2s\"\ncommit_events = 1";
        let mut stage = Stage::with(&["emit_one"], settings).await?;
        let inputs = series("k", 40);
        // Over more than a window's length: its entries are let go in parts of it.
        for input in &inputs {
            publish(&stage.jetstream, std::slice::from_ref(input)).await?;
            sleep(Duration::from_millis(100)).await;
        }
        wait_echoes(&stage.jetstream, inputs.len(), 20).await?;
        let before = count(&stage.jetstream, "LEDGER", LOG).await?;
        ensure!(20 < before, "{before} log messages of 40 commits");
        // The house is kept every half minute.
        until("the log to be purged", 75, async || {
            let now = count(&stage.jetstream, "LEDGER", LOG).await?;
            ensure!(
                0 < now && now <= before / 4,
                "{now} of {before} log messages"
            );
            Ok(())
        })
        .await?;
        // The newest stays, and with it the position, over a crash.
        stage.host.kill9();
        stage.host.start().await?;
        let more = series("after", 3);
        publish(&stage.jetstream, &more).await?;
        wait_echoes(&stage.jetstream, inputs.len() + more.len(), 20).await?;
        stage.host.settled("emit-one", 20).await?;
        let read = stage.host.metrics().await?;
        let read = read.sum("sluicegate_deliveries_total", &[("plugin", "emit-one")])?;
        ensure!(
            read == 3.0,
            "after the restart {read} deliveries instead of the 3 new ones"
        );
        stage.host.stop().await?;
        let outputs = echoes(&stage.jetstream).await?;
        Verdict::on(&[inputs, more].concat(), &outputs).clean()
    })
}

/// The nats-server that the host has started, by `/proc`.
fn broker_of(host: &Host) -> Result<Pid> {
    let parent = host.pid()?.to_string();
    for entry in std::fs::read_dir("/proc")? {
        let folder = entry?.path();
        // Others may end while this looks.
        let Ok(stat) = std::fs::read_to_string(folder.join("stat")) else {
            continue;
        };
        // `id (name) state parent …`, proc(5); a name may have blanks.
        let Some((head, rest)) = stat.rsplit_once(") ") else {
            continue;
        };
        let is_child = rest.split(' ').nth(1) == Some(parent.as_str());
        if is_child && head.contains("(nats-server") {
            let id = head.split(' ').next().unwrap_or_default().parse()?;
            return Pid::from_raw(id).context("no process has the id 0");
        }
    }
    bail!("the host has no nats-server")
}

#[test]
fn a_broker_of_the_hosts_own_that_dies_alone_is_started_again() -> Result<()> {
    within(120, async {
        let mut host = Setup::new("embedded").guest("emit_one")?.start().await?;
        let url = std::fs::read_to_string(host.data_dir().join("nats.url"))?;
        let inputs = series("k", 30);
        for (n, part) in inputs.chunks(10).enumerate() {
            let jetstream = connect(url.trim()).await?;
            publish(&jetstream, part).await?;
            wait_echoes(&jetstream, (n + 1) * 10, 30).await?;
            let dead = broker_of(&host)?;
            kill_process(dead, Signal::KILL)?;
            until("another nats-server", 30, async || {
                let now = broker_of(&host)?;
                ensure!(now != dead, "it is the same");
                Ok(())
            })
            .await?;
            host.wait_ready(40).await?;
        }
        ensure!(host.runs()?, "the host went with it");
        let again = std::fs::read_to_string(host.data_dir().join("nats.url"))?;
        ensure!(url == again, "it came back on {again} instead of {url}");
        let jetstream = connect(url.trim()).await?;
        Verdict::on(&inputs, &echoes(&jetstream).await?).clean()
    })
}

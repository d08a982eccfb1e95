//! Takes larger bodies, more partitions and a second host, gives the rate of one plug-in with each.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;
use sluicegate_tests::sluice::sluice_on;
use sluicegate_tests::wait::until_every;
use sluicegate_tests::{Broker, Host, Setup};

use super::progress::watch;
use super::{LOOK, Plan, decides, start, stop, stored};
use crate::backlog::{Events, KEYS};
use crate::report::Row;
use crate::worked::{self, DECIDES, Mode, ROOM, Subject};

/// KB of a body, and events of the backlog for each thousand of small ones.
const PAYLOADS: [(usize, u64); 5] = [(1, 500), (4, 200), (16, 60), (64, 20), (256, 6)];
/// Into which one plug-in is divided.
const PARTITIONS: [u8; 3] = [1, 4, 16];
/// And where hosts share it.
const SHARED: u8 = 4;
/// For partitions to find their hosts.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn rows(plan: &Plan) -> Result<Vec<Row>> {
    let mut rows = payloads(plan).await?;
    rows.extend(partitions(plan).await?);
    rows.extend(hosts(plan).await?);
    Ok(rows)
}

async fn payloads(plan: &Plan) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (kb, share) in PAYLOADS {
        let events = Events::Columns { size: kb << 10 };
        let count = plan.events * share / 1_000;
        let broker = stored(&events, count).await?;
        let mut rates = Vec::new();
        for round in 1..=plan.rounds {
            let subject = Subject::new(&broker.url(), DECIDES, round, Mode::warm(true))?;
            let worked = worked::through(subject, count, async || Ok(true)).await?;
            println!(
                "{kb} KB, round {round} of {}: {:.0}/s",
                plan.rounds, worked.rate
            );
            rates.push(worked.rate);
        }
        let bytes = events.size() as f64 / 1e6;
        let megabytes = rates.iter().map(|rate| rate * bytes).collect();
        rows.extend(Row::several(format!("bodies of {kb} KB"), rates, "1/s"));
        rows.extend(Row::several("  the same in bytes", megabytes, "MB/s"));
    }
    Ok(rows)
}

async fn partitions(plan: &Plan) -> Result<Vec<Row>> {
    let broker = stored(&Events::Small { keys: KEYS }, plan.events).await?;
    let mut rates = PARTITIONS.map(|partitions| (partitions, Vec::new()));
    for round in 1..=plan.rounds {
        for (partitions, rates) in &mut rates {
            let plugin = format!("decide-{round}-{partitions}");
            let mut host = host(&broker, "host-1", &plugin, *partitions)?;
            start(&mut host).await?;
            let seen = watch(&[&host], &[plugin], plan.events, plan.look).await?;
            stop(&mut host).await?;
            let (rate, rounds) = (seen.rate, plan.rounds);
            println!("partitions {partitions}, round {round} of {rounds}: {rate:.0}/s");
            rates.push(rate);
        }
    }
    let row = |(partitions, rates): (u8, Vec<f64>)| {
        Row::several(
            format!("partitions of one plug-in: {partitions}"),
            rates,
            "1/s",
        )
    };
    Ok(rates.into_iter().filter_map(row).collect())
}

/// Both on the same cores, so the second one adds none.
async fn hosts(plan: &Plan) -> Result<Vec<Row>> {
    let name = format!("2 hosts share {SHARED} partitions and the same cores; other: 1 host");
    let mut found = Vec::new();
    for round in 1..=plan.rounds {
        let (ours, other) = (shared(plan, 2).await?, shared(plan, 1).await?);
        let rounds = plan.rounds;
        println!("{name}, pair {round} of {rounds}: {ours:.0}/s, {other:.0}/s");
        found.push((ours, other));
    }
    Ok(vec![Row::pairs(name, &found, "1/s")])
}

/// The rate of so many hosts together, on a backlog that came when each had its partitions.
async fn shared(plan: &Plan, count: usize) -> Result<f64> {
    let broker = worked::broker().await?;
    let mut hosts = Vec::new();
    for number in 1..=count {
        hosts.push(host(&broker, &format!("host-{number}"), DECIDES, SHARED)?);
    }
    for host in &mut hosts {
        start(host).await?;
    }
    for host in &hosts {
        has(host, usize::from(SHARED) / count).await?;
    }
    // Nobody begins before all of it is there.
    sluice_on(&broker, &["pause", DECIDES]).await?.ok()?;
    let events = Events::Small { keys: KEYS };
    events
        .store(&broker.jetstream().await?, plan.events)
        .await?;
    sluice_on(&broker, &["resume", DECIDES]).await?.ok()?;
    let all: Vec<&Host> = hosts.iter().collect();
    let plugins = [DECIDES.to_owned()];
    let seen = watch(&all, &plugins, plan.events, plan.look).await?;
    for host in &mut hosts {
        stop(host).await?;
    }
    Ok(seen.rate)
}

fn host(broker: &Broker, name: &str, plugin: &str, partitions: u8) -> Result<Host> {
    let words = format!("[plugin.{plugin}]\npartitions = {partitions}\n");
    Setup::new(broker.url())
        .named(name)
        .events(ROOM)
        .with(&words)
        .file("decide.wasm", decides(plugin)?)
        .write()
}

/// Waits until the host runs so many partitions.
async fn has(host: &Host, wanted: usize) -> Result<()> {
    let what = format!("a host to run {wanted} partitions");
    until_every(LOOK, &what, PATIENCE, async || {
        let (_, body) = host.admin("/readyz").await?;
        let body: Value = serde_json::from_str(&body)?;
        let partitions = body.get("partitions").and_then(Value::as_object);
        let partitions = partitions.into_iter().flatten();
        let runs = partitions.filter(|(_, state)| *state == "running").count();
        ensure!(runs == wanted, "it runs {runs}: {body}");
        Ok(())
    })
    .await
}

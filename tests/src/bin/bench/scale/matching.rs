//! Takes plug-ins that all want every event, gives what each costs, and how often an event is read.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use async_nats::jetstream;
use futures_util::TryStreamExt;
use sluicegate_tests::metrics::Metrics;
use sluicegate_tests::{Broker, Host, Setup};
use tokio::time::sleep;

use super::progress::watch;
use super::{Plan, decides, start, stop, stored};
use crate::backlog::{Events, KEYS, message};
use crate::delay::{self, Load};
use crate::ledger::Js;
use crate::report::{Row, Target};
use crate::worked::{self, ROOM};

/// So many plug-ins match every event, in one backlog after the other.
const MATCHING: [usize; 3] = [1, 5, 20];
/// Events a second, where they come one by one.
const RATE: f64 = 1_000.0;
/// What the broker may send of an event, however many plug-ins want it.
const READS: f64 = 1.2;
/// What the host says of the same.
const METRIC: &str = "sluicegate_messages_read_total";
/// For the last plug-in to be done with what it caught up with.
const SETTLES: Duration = Duration::from_secs(3);

/// A host whose plug-ins all want every event.
struct Crowd {
    plugins: Vec<String>,
    host: Host,
}

pub(super) async fn rows(plan: &Plan) -> Result<Vec<Row>> {
    let mut rows = backlogs(plan).await?;
    rows.extend(live(plan).await?);
    Ok(rows)
}

/// What was found of one number of plug-ins.
#[derive(Default)]
struct Found {
    rates: Vec<f64>,
    each: Vec<f64>,
}

async fn backlogs(plan: &Plan) -> Result<Vec<Row>> {
    let count = plan.events / 2;
    let broker = stored(&Events::Small { keys: KEYS }, count).await?;
    let mut found: BTreeMap<usize, Found> = BTreeMap::new();
    for round in 1..=plan.rounds {
        for many in MATCHING {
            let Crowd { plugins, mut host } = Crowd::of(&broker, many, round)?;
            start(&mut host).await?;
            let all = count * many as u64;
            let seen = watch(&[&host], &plugins, all, plan.look).await?;
            stop(&mut host).await?;
            let found = found.entry(many).or_default();
            found.rates.push(seen.rate);
            found
                .each
                .extend(seen.each.map(|(host, broker)| host + broker));
            let (rate, rounds) = (seen.rate, plan.rounds);
            println!("matching {many}, round {round} of {rounds}: {rate:.0} calls/s");
        }
    }
    let rows = found.into_iter().flat_map(|(many, found)| {
        let name = |what: &str| format!("plug-ins that match every event, {many}: {what}");
        [
            Row::several(name("calls in a backlog"), found.rates, "1/s"),
            Row::several(name("processor time a call"), found.each, "µs"),
        ]
    });
    Ok(rows.flatten().collect())
}

/// The most of them, when they have caught up and events come one by one.
async fn live(plan: &Plan) -> Result<Vec<Row>> {
    let broker = worked::broker().await?;
    let jetstream = broker.jetstream().await?;
    let most = MATCHING.last().copied().unwrap_or_default();
    let Crowd { plugins, mut host } = Crowd::of(&broker, most, 1)?;
    // They have something to catch up with.
    let before = plan.events / 20;
    Events::Small { keys: KEYS }
        .store(&jetstream, before)
        .await?;
    start(&mut host).await?;
    for plugin in &plugins {
        host.settled(plugin, 60).await?;
    }
    sleep(SETTLES).await;
    let (sent, metrics) = (delivered(&jetstream).await?, host.metrics().await?);
    let load = Load {
        rate: RATE,
        time: plan.live,
        first: before,
        message: &message,
    };
    load.send(&jetstream, delay::soon()).await?;
    for plugin in &plugins {
        host.settled(plugin, 60).await?;
    }
    let events = load.count() as f64;
    let now = delivered(&jetstream).await?;
    let new = |(name, count): (&String, &u64)| count - sent.get(name).copied().unwrap_or(0);
    let read = now.iter().map(new).sum::<u64>() as f64 / events;
    println!("{most} plug-ins match, {RATE:.0} events/s: {read:.2} messages an event");
    let what = |who: &str| format!("{most} plug-ins match: messages read of an event, by {who}");
    let said = |metrics: &Metrics| metrics.sum(METRIC, &[]);
    let said = (said(&host.metrics().await?)? - said(&metrics)?) / events;
    stop(&mut host).await?;
    let rows = [(what("the broker"), read), (what("the host"), said)];
    let row = |(name, read)| Row::new(name, read, "messages").with_target(Target::AtMost(READS));
    Ok(rows.map(row).into())
}

/// How many messages each consumer of the event store was sent so far.
async fn delivered(jetstream: &Js) -> Result<BTreeMap<String, u64>> {
    let stream: jetstream::stream::Stream = jetstream.get_stream("EVENTS").await?;
    let infos: Vec<_> = stream.consumers().try_collect().await?;
    let sent = infos
        .into_iter()
        .map(|info| (info.name, info.delivered.consumer_sequence));
    Ok(sent.collect())
}

impl Crowd {
    fn of(broker: &Broker, many: usize, round: usize) -> Result<Self> {
        let mut setup = Setup::new(broker.url()).events(ROOM);
        let mut plugins = Vec::new();
        for number in 0..many {
            let plugin = format!("decide-{round}-{many}-{number}");
            setup = setup.file(&format!("{plugin}.wasm"), decides(&plugin)?);
            plugins.push(plugin);
        }
        let host = setup.write()?;
        Ok(Self { plugins, host })
    }
}

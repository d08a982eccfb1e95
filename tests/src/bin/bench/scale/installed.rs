//! Takes a number of plug-ins that see no event, gives what they cost the host and the one that does.

use std::time::Duration;

use anyhow::Result;
use sluicegate_tests::component::with_words;
use sluicegate_tests::{Broker, Host, Setup, environment};
use tokio::time::sleep;

use super::progress::watch;
use super::{Plan, decides, start, stop, stored};
use crate::backlog::{Events, KEYS};
use crate::cpu::Used;
use crate::report::{Row, Target};
use crate::worked::ROOM;

/// What a host with so many plug-ins has to keep to.
const CACHED: usize = 100;
const READY_MS: f64 = 1_000.0;
const IDLE_MB: f64 = 150.0;
/// What is left of the rate of one plug-in beside the most.
const SHARE: f64 = 0.9;
/// After it is ready, a host is left alone for so long.
const IDLE: Duration = Duration::from_secs(10);
/// Starts of a host whose plug-ins are compiled.
const STARTS: usize = 3;
/// What a host that has just become ready still has to do.
const SETTLES: Duration = Duration::from_secs(2);

/// A host with a thousand plug-ins can be asked a few times only: its backlog takes longer.
const LONGER: u32 = 4;

/// A host's folder with plug-ins, on a broker of its own that holds a backlog for another one.
struct Installed {
    /// Killed when it goes.
    _broker: Broker,
    host: Host,
    events: u64,
    look: Duration,
    /// Plug-ins that worked through the backlog so far: each begins with the first event.
    measured: usize,
}

pub(super) async fn rows(plan: &Plan) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut alone = Installed::with(0, plan).await?;
    let most = plan.installed.last().copied();
    for count in plan.installed.iter().copied() {
        let mut many = Installed::with(count, plan).await?;
        rows.extend(many.idle(count).await?);
        let has_target = most == Some(count);
        let pairs = if has_target { plan.pairs } else { plan.rounds };
        let name = format!("1 of {} plug-ins matches; other: 1 of 1", count + 1);
        let mut found = Vec::new();
        for pair in 1..=pairs {
            let (ours, other) = (many.rate().await?, alone.rate().await?);
            println!("{name}, pair {pair} of {pairs}: {ours:.0}/s, {other:.0}/s");
            found.push((ours, other));
        }
        let mut row = Row::pairs(name, &found, "1/s");
        if has_target {
            row.target_ratio(Target::AtLeast(SHARE));
        }
        rows.push(row);
    }
    Ok(rows)
}

impl Installed {
    async fn with(count: usize, plan: &Plan) -> Result<Self> {
        let events = plan.events * u64::from(LONGER);
        let broker = stored(&Events::Small { keys: KEYS }, events).await?;
        let mut setup = Setup::new(broker.url()).events(ROOM);
        let component = std::fs::read(environment::guest("ok")?)?;
        for number in 0..count {
            let name = format!("name = \"idle-{number}\"");
            let subject = format!("record.thing{number}.*");
            let words = [("name = \"ok\"", name.as_str()), ("record.*.*", &subject)];
            let component = with_words(&component, &words)?;
            setup = setup.file(&format!("idle-{number}.wasm"), component);
        }
        Ok(Self {
            host: setup.write()?,
            _broker: broker,
            events,
            look: plan.look * LONGER,
            measured: 0,
        })
    }

    /// What it costs that they are there.
    async fn idle(&mut self, count: usize) -> Result<Vec<Row>> {
        let first = start(&mut self.host).await? / 1e3;
        stop(&mut self.host).await?;
        println!("{count} plug-ins: ready {first:.1} s after the first start");
        let (mut starts, mut memory) = (Vec::new(), Vec::new());
        let (mut ours, mut brokers) = (Vec::new(), Vec::new());
        for _ in 0..STARTS {
            let ready = start(&mut self.host).await?;
            sleep(SETTLES).await;
            let before = Used::now();
            sleep(IDLE - SETTLES).await;
            let used = before.and_then(|before| Some(Used::now()?.since(before)));
            let megabytes = self.host.resident_bytes()? as f64 / 1e6;
            println!("{count} plug-ins: ready after {ready:.0} ms, {megabytes:.0} MB");
            starts.push(ready);
            memory.push(megabytes);
            if let Some(used) = used {
                let share =
                    |time: Duration| 1e2 * time.as_secs_f64() / (IDLE - SETTLES).as_secs_f64();
                ours.push(share(used.sluice));
                brokers.push(share(used.broker));
            }
            stop(&mut self.host).await?;
        }
        let what = |what: &str| format!("{count} plug-ins: {what}");
        let mut ready = Row::several(what("start to ready, compiled before"), starts, "ms");
        let mut memory = Row::several(what("resident memory, idle"), memory, "MB");
        if count == CACHED {
            ready = ready.map(|row| row.with_target(Target::AtMost(READY_MS)));
            memory = memory.map(|row| row.with_target(Target::AtMost(IDLE_MB)));
        }
        let first = Row::new(what("first start to ready, all compiled"), first, "s");
        let rows = [
            Some(first),
            ready,
            memory,
            Row::several(what("processor time, idle, host"), ours, "% of a core"),
            Row::several(
                what("processor time, idle, nats-server"),
                brokers,
                "% of a core",
            ),
        ];
        Ok(rows.into_iter().flatten().collect())
    }

    /// Calls a second of a plug-in that comes when all others are there, and has the backlog to
    /// itself.
    async fn rate(&mut self) -> Result<f64> {
        self.measured += 1;
        start(&mut self.host).await?;
        sleep(SETTLES).await;
        let plugin = format!("decide-{}", self.measured);
        self.host.put_plugin("decide.wasm", &decides(&plugin)?)?;
        let seen = watch(&[&self.host], &[plugin], self.events, self.look).await?;
        stop(&mut self.host).await?;
        std::fs::remove_file(self.host.plugins_dir().join("decide.wasm"))?;
        Ok(seen.rate)
    }
}

//! Takes plug-ins that do damage, gives how late the outputs of a good one beside each of them are.

use std::time::Duration;

use anyhow::Result;
use sluicegate_tests::{Broker, Setup};

use crate::backlog::message;
use crate::delay::{self, Load};
use crate::machine::Machine;
use crate::report::{Report, Row, Target};

/// Events a second, each for both plug-ins.
const RATE: f64 = 50.0;
/// What a neighbour may cost.
const AT_MOST: f64 = 2.0;
/// Guests, and what each does with every event.
const DAMAGE: [(&str, &str, &str); 4] = [
    ("spin", "spin", "spins until it is stopped"),
    (
        "grow_memory",
        "grow-memory",
        "takes memory until it gets no more",
    ),
    ("trap", "trap", "traps"),
    ("log_flood", "log-flood", "logs without end"),
];

pub(crate) async fn run(quick: bool) -> Result<Report> {
    let (pairs, time) = if quick { (1, 8) } else { (5, 15) };
    let time = Duration::from_secs(time);
    let broker = Broker::start().await?;
    let server = broker.jetstream().await?.client().server_info().version;
    let machine = Machine::this(server, format!("{RATE} events/s, {pairs} pairs"));
    let mut rows = Vec::new();
    for (guest, plugin, what) in DAMAGE {
        let mut found = Vec::new();
        for pair in 1..=pairs {
            let beside = p99(Some((guest, plugin)), time).await?;
            let alone = p99(None, time).await?;
            println!(
                "{what}, pair {pair} of {pairs}: {beside:.2} ms beside it, {alone:.2} ms alone"
            );
            found.push((beside, alone));
        }
        let name = format!("p99 of an output beside a plug-in that {what}; other: alone");
        let mut row = Row::pairs(name, &found, "ms");
        row.target_ratio(Target::AtMost(AT_MOST));
        rows.push(row);
    }
    Ok(Report { machine, rows })
}

/// Milliseconds, on a broker and a host of its own.
async fn p99(beside: Option<(&str, &str)>, time: Duration) -> Result<f64> {
    let broker = Broker::start().await?;
    let mut setup = Setup::new(broker.url()).guest("emit_one")?.grace("1s");
    if let Some((guest, plugin)) = beside {
        setup = setup
            .guest(guest)?
            .with(&format!("[plugin.{plugin}]\ntimeout = \"2s\"\n"));
    }
    let mut host = setup.start().await?;
    let load = Load {
        rate: RATE,
        time,
        first: 0,
        message: &message,
    };
    let seen = delay::measure(&broker.jetstream().await?, &load).await?;
    host.stop().await?;
    host.hush();
    Ok(seen.delay.value_at_percentile(99.0) as f64 / 1e3)
}

//! Takes backlogs, gives how fast a host works through them beside what people write by hand.

use std::time::Duration;

use anyhow::Result;
use sluicegate_tests::Broker;

use crate::backlog::{self, BODY, Events, FILTER, KEYS};
use crate::body::Template;
use crate::machine::Machine;
use crate::peer::Consumer;
use crate::report::{Report, Row, Target};
use crate::worked::{self, DECIDES, Mode, Subject};

/// A backlog, and who works through it beside us.
struct Field {
    what: &'static str,
    events: Events,
    count: u64,
    rows: &'static [(Mode, Consumer, Option<Target>)],
}

const OFF: Mode = Mode::warm(false);
const ON: Mode = Mode::warm(true);
const FRESH: Mode = Mode::fresh();

/// The targets.
const SMALL: [(Mode, Consumer, Option<Target>); 8] = [
    (OFF, Consumer::Native, Some(Target::AtLeast(1.0))),
    (ON, Consumer::Native, Some(Target::AtLeast(0.8))),
    (ON, Consumer::NativeWithoutAcks, Some(Target::AtLeast(0.6))),
    (FRESH, Consumer::BareWasmtime, Some(Target::AtLeast(2.0))),
    (ON, Consumer::JavaScript, Some(Target::AtLeast(0.8))),
    (ON, Consumer::JavaScriptCallback, None),
    (ON, Consumer::Python, Some(Target::AtLeast(2.5))),
    (ON, Consumer::Extism, Some(Target::AtLeast(1.0))),
];
const DATAVERSE: [(Mode, Consumer, Option<Target>); 2] = [
    (ON, Consumer::Native, Some(Target::AtLeast(1.1))),
    (FRESH, Consumer::Native, Some(Target::AtLeast(0.8))),
];
const OTHERS: [(Mode, Consumer, Option<Target>); 1] = [(ON, Consumer::Native, None)];

/// What was found of one row, ours beside the other's.
#[derive(Default)]
struct Found {
    /// Events a second.
    rates: Vec<(f64, f64)>,
    /// Processor time an event, in microseconds, the broker's with it.
    used: Vec<(f64, f64)>,
}

/// A broker whose store holds a backlog.
struct Bench {
    broker: Broker,
    count: u64,
    /// Hosts so far: each has a plug-in of a name of its own.
    hosts: usize,
}

pub(crate) async fn run(quick: bool) -> Result<Report> {
    backlog::check()?;
    let pairs = if quick { 2 } else { 5 };
    let mut rows = Vec::new();
    let mut server = String::new();
    for field in fields(quick)? {
        let size = field.events.size();
        println!("storing {} events of {size} bytes", field.count);
        let mut bench = Bench::with(&field).await?;
        server = bench
            .broker
            .jetstream()
            .await?
            .client()
            .server_info()
            .version;
        for (mode, consumer, target) in field.rows {
            let name = format!(
                "{}, {}; other: {}",
                field.what,
                mode.name(),
                consumer.name()
            );
            if !consumer.is_there() {
                println!("{name}: SKIPPED, it could not be had or built");
                continue;
            }
            let found = bench.pairs(&name, pairs, *mode, *consumer).await?;
            let mut row = Row::pairs(name, &found.rates, "1/s");
            if let Some(target) = target {
                row.target_ratio(*target);
            }
            rows.push(row);
            if !found.used.is_empty() {
                let name = "  processor time an event, nats-server's with it";
                rows.push(Row::pairs(name, &found.used, "µs"));
            }
        }
    }
    let run = format!("{KEYS} keys of {BODY} bytes, else 10,000; {pairs} pairs");
    Ok(Report {
        machine: Machine::this(server, run),
        rows,
    })
}

fn fields(quick: bool) -> Result<[Field; 4]> {
    let less = if quick { 2 } else { 1 };
    Ok([
        Field {
            what: "235 B",
            events: Events::Small { keys: KEYS },
            count: 300_000 / less,
            rows: &SMALL,
        },
        Field {
            what: "2 KB",
            events: Events::Dataverse(Template::small()?),
            count: 100_000 / less,
            rows: &OTHERS,
        },
        Field {
            what: "5.9 KB",
            events: Events::Dataverse(Template::new()?),
            count: 50_000 / less,
            rows: &DATAVERSE,
        },
        Field {
            what: "64 KB",
            events: Events::Dataverse(Template::large(64 << 10)?),
            count: 6_000 / less,
            rows: &OTHERS,
        },
    ])
}

impl Bench {
    async fn with(field: &Field) -> Result<Self> {
        let broker = worked::broker().await?;
        field
            .events
            .store(&broker.jetstream().await?, field.count)
            .await?;
        Ok(Self {
            broker,
            count: field.count,
            hosts: 0,
        })
    }

    /// Both in turn.
    async fn pairs(
        &mut self,
        name: &str,
        pairs: usize,
        mode: Mode,
        consumer: Consumer,
    ) -> Result<Found> {
        let mut found = Found::default();
        for pair in 1..=pairs {
            self.hosts += 1;
            let url = self.broker.url();
            let subject = Subject::new(&url, DECIDES, self.hosts, mode)?;
            let ours = worked::through(subject, self.count, async || Ok(true)).await?;
            let other = consumer.through(&url, FILTER, self.count).await?;
            let each = |used: Duration| used.as_secs_f64() * 1e6 / self.count as f64;
            let ours_used = ours.used.map(|used| (each(used.sluice), each(used.broker)));
            let other_used = other.used.map(|(own, broker)| (each(own), each(broker)));
            println!(
                "{name}, pair {pair} of {pairs}: {:.0}/s, {:.0}/s, ratio {:.2}{}",
                ours.rate,
                other.rate,
                ours.rate / other.rate,
                said(ours_used, other_used)
            );
            found.rates.push((ours.rate, other.rate));
            if let (Some(ours), Some(other)) = (ours_used, other_used) {
                found.used.push((ours.0 + ours.1, other.0 + other.1));
            }
        }
        Ok(found)
    }
}

/// Processor time an event, ours and the other's: of the consumer itself and of the broker.
fn said(ours: Option<(f64, f64)>, other: Option<(f64, f64)>) -> String {
    let (Some(ours), Some(other)) = (ours, other) else {
        return String::new();
    };
    format!(
        "; {:.1} + {:.1} and {:.1} + {:.1} µs of processor time",
        ours.0, ours.1, other.0, other.1
    )
}

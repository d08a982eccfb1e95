//! Takes a hundred plug-ins that all emit, gives how late their outputs are beside those of one
//! with the same load.

use anyhow::Result;
use async_nats::HeaderValue;
use sluicegate_tests::component::with_words;
use sluicegate_tests::events::{Message, subject};
use sluicegate_tests::{Broker, Host, Setup, environment};

use crate::backlog;
use crate::delay::{self, Load};
use crate::latency::{Plan, columns};
use crate::report::{Percentiles, Row, Target, percentiles};
use crate::worked::{self, EMITS, ROOM};

/// Plug-ins that share the load.
const MANY: u64 = 100;
/// Events a second, of all of them together.
const RATE: f64 = 2_000.0;
/// What the company may cost: the ratio of the p50.
const AT_MOST: f64 = 2.0;
/// The first start compiles all of them.
const FIRST_START: u64 = 300;

/// A host with plug-ins that have a subject each, on a broker that both share.
struct Crowd {
    size: u64,
    host: Host,
}

/// Both in turn.
pub(crate) async fn rows(plan: Plan) -> Result<Vec<Row>> {
    let broker = worked::broker().await?;
    let (mut many, mut one) = (Crowd::of(MANY, &broker)?, Crowd::of(1, &broker)?);
    let mut runs = Vec::new();
    let mut first = 0;
    for pair in 1..=plan.pairs {
        let company = many.run(&broker, plan, &mut first).await?;
        let alone = one.run(&broker, plan, &mut first).await?;
        println!(
            "{MANY} plug-ins, pair {pair} of {}: p50 {:.2} ms, {:.2} ms of one",
            plan.pairs, company[0], alone[0]
        );
        runs.push((company, alone));
    }
    let name = format!("output read, {MANY} plug-ins emit, at {RATE:.0} events/s in all");
    let mut rows = columns(&name, "1 plug-in", &runs);
    if let Some(p50) = rows.first_mut() {
        p50.target_ratio(Target::AtMost(AT_MOST));
    }
    Ok(rows)
}

impl Crowd {
    fn of(size: u64, broker: &Broker) -> Result<Self> {
        let component = std::fs::read(environment::guest(EMITS)?)?;
        let mut setup = Setup::new(broker.url()).events(ROOM);
        for member in 0..size {
            let name = format!("name = {:?}", plugin(size, member));
            let subject = format!("d365.custom.test.record.{}.*", table(size, member));
            let words = [
                ("name = \"emit-one\"", name.as_str()),
                ("d365.custom.test.record.*.*", &subject),
            ];
            let file = format!("{}.wasm", plugin(size, member));
            setup = setup.file(&file, with_words(&component, &words)?);
        }
        let host = setup.write()?;
        Ok(Self { size, host })
    }

    async fn run(&mut self, broker: &Broker, plan: Plan, first: &mut u64) -> Result<Percentiles> {
        self.host.spawn()?;
        self.host.wait_ready(FIRST_START).await?;
        for member in 0..self.size {
            self.host.settled(&plugin(self.size, member), 60).await?;
        }
        let load = Load {
            rate: RATE,
            time: plan.time,
            first: *first,
            message: &|number| message(self.size, number),
        };
        *first += load.count();
        let seen = delay::measure(&broker.jetstream().await?, &load).await?;
        self.host.stop().await?;
        self.host.hush();
        Ok(percentiles(&seen.delay, &seen.late))
    }
}

fn plugin(size: u64, member: u64) -> String {
    format!("of-{size}-{member}")
}

fn table(size: u64, member: u64) -> String {
    format!("of{size}n{member}")
}

/// Input `number`, for the plug-in whose turn it is.
fn message(size: u64, number: u64) -> Message {
    let message = backlog::message(number);
    let key = message.headers.get("ce-partitionkey");
    let key = key.map_or("", HeaderValue::as_str);
    Message {
        subject: subject(&table(size, number % size), key),
        ..message
    }
}

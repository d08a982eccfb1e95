//! Takes a backlog of few keys and one of many, gives how fast a host works through each.

use anyhow::Result;
use sluicegate_tests::Broker;

use super::{Plan, stored};
use crate::backlog::{Events, KEYS};
use crate::report::{Row, Target};
use crate::worked::{self, DECIDES, Mode, Subject};

/// What many keys leave of the rate.
const SHARE: f64 = 0.9;

pub(super) async fn rows(plan: &Plan) -> Result<Vec<Row>> {
    // Each key of the many comes once.
    let count = plan.keys;
    let many = stored(&Events::Small { keys: plan.keys }, count).await?;
    let few = stored(&Events::Small { keys: KEYS }, count).await?;
    let name = format!("{} keys in {count} events; other: {KEYS} keys", plan.keys);
    let mut found = Vec::new();
    for pair in 1..=plan.pairs {
        let ours = rate(&many, pair, count).await?;
        let other = rate(&few, pair, count).await?;
        let pairs = plan.pairs;
        println!("{name}, pair {pair} of {pairs}: {ours:.0}/s, {other:.0}/s");
        found.push((ours, other));
    }
    let mut row = Row::pairs(name, &found, "1/s");
    row.target_ratio(Target::AtLeast(SHARE));
    Ok(vec![row])
}

async fn rate(broker: &Broker, number: usize, count: u64) -> Result<f64> {
    let subject = Subject::new(&broker.url(), DECIDES, number, Mode::warm(true))?;
    Ok(worked::through(subject, count, async || Ok(true))
        .await?
        .rate)
}

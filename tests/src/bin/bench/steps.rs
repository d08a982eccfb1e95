//! Takes outputs that were read, gives where the time of each went.

use std::collections::HashMap;

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use sluicegate_tests::outputs::{ECHOES_IN_LEDGER, stored};

use crate::backlog::FILTER;
use crate::delay::{Arrival, LONGEST};
use crate::ledger::Js;
use crate::report::Row;

/// What an output waits for, one behind the other. The moments between them are the broker's.
const STEPS: [&str; 4] = [
    "the input to be stored",
    "the call and the commit, until the ledger has it",
    "the broker to carry it over to EVENTS",
    "the reader",
];

/// Microseconds of each step, of many outputs.
pub(crate) struct Steps([Histogram<u64>; STEPS.len()]);

impl Steps {
    pub(crate) fn new() -> Result<Self> {
        let histogram = || Histogram::new_with_bounds(1, LONGEST, 3);
        Ok(Self([
            histogram()?,
            histogram()?,
            histogram()?,
            histogram()?,
        ]))
    }

    /// Looks up when the broker had each input, and when it had each output first.
    pub(crate) async fn add(&mut self, jetstream: &Js, arrivals: &[Arrival]) -> Result<()> {
        let id = |input: &sluicegate_tests::outputs::Stored| input.attribute("id");
        let inputs = stored(jetstream, "EVENTS", FILTER).await?;
        let inputs: Result<HashMap<String, i128>> = inputs
            .iter()
            .map(|input| Ok((id(input)?, input.at)))
            .collect();
        let inputs = inputs?;
        let outputs = stored(jetstream, "LEDGER", ECHOES_IN_LEDGER).await?;
        let outputs: HashMap<u64, i128> = outputs
            .iter()
            .map(|output| (output.sequence, output.at))
            .collect();
        for arrival in arrivals {
            let input = inputs.get(&arrival.input).context("an input is gone")?;
            let sequence = arrival.source.split(' ').nth(1).unwrap_or_default();
            let output = outputs.get(&sequence.parse()?);
            let output = output.context("an output is not in the ledger")?;
            let moments = [arrival.due, *input, *output, arrival.stored, arrival.read];
            for (step, moments) in self.0.iter_mut().zip(moments.windows(2)) {
                if let [from, to] = moments {
                    step.saturating_record(u64::try_from((to - from) / 1_000).unwrap_or(0));
                }
            }
        }
        Ok(())
    }

    pub(crate) fn rows(&self) -> Vec<Row> {
        let row = |(what, step): (&&str, &Histogram<u64>)| {
            [50.0, 99.0].map(|share| {
                let name = format!("  of that {what}, p{share:.0}");
                Row::new(name, step.value_at_percentile(share) as f64 / 1e3, "ms")
            })
        };
        STEPS.iter().zip(&self.0).flat_map(row).collect()
    }
}

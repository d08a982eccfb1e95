//! Takes a rate, gives how long after each input its output can be read.
//!
//! Inputs leave at fixed moments whatever the host does, and a delay counts from the moment at
//! which the input should have left: a host that stalls cannot hide it.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use futures_util::StreamExt;
use hdrhistogram::Histogram;
use serde::Deserialize;
use sluicegate_tests::outputs::ECHOES;
use tokio::time::{Instant, sleep_until, timeout};

use crate::backlog::{id, message};
use crate::ledger::Js;

/// Microseconds up to a minute, to three digits.
const LONGEST: u64 = 60_000_000;
/// After the last input.
const PATIENCE: Duration = Duration::from_secs(30);
/// Inputs of the first part do not count.
const WARM_UP: Duration = Duration::from_secs(2);

/// What was seen, in microseconds.
pub(crate) struct Seen {
    pub(crate) delay: Histogram<u64>,
    /// How much later than it should each input was sent.
    pub(crate) late: Histogram<u64>,
}

#[derive(Deserialize)]
struct Echo {
    input: String,
}

/// `first` is the number of the first input: no two measures on one store may share numbers,
/// since an event that was handled before has no output.
pub(crate) async fn measure(jetstream: &Js, rate: f64, time: Duration, first: u64) -> Result<Seen> {
    let count = ((WARM_UP + time).as_secs_f64() * rate) as u64;
    let warm = (WARM_UP.as_secs_f64() * rate) as u64;
    let start = Instant::now() + Duration::from_millis(200);
    let due = |number: u64| start + Duration::from_secs_f64(number as f64 / rate);
    let consumer = jetstream
        .get_stream("EVENTS")
        .await?
        .create_consumer(pull::Config {
            filter_subject: ECHOES.to_owned(),
            deliver_policy: DeliverPolicy::New,
            ack_policy: AckPolicy::None,
            memory_storage: true,
            ..pull::Config::default()
        })
        .await?;
    let mut outputs = consumer.messages().await?;
    let sending = async {
        let mut late = Histogram::new_with_bounds(1, LONGEST, 3)?;
        let client = jetstream.client();
        for number in 0..count {
            sleep_until(due(number)).await;
            if warm <= number {
                late.saturating_record(micros(due(number).elapsed()));
            }
            let message = message(first + number);
            client
                .publish_with_headers(message.subject, message.headers, message.body)
                .await?;
        }
        anyhow::Ok(late)
    };
    let reading = async {
        let mut delay = Histogram::new_with_bounds(1, LONGEST, 3)?;
        let mut open: HashMap<String, u64> = (0..count)
            .map(|number| (id(first + number), number))
            .collect();
        let end = due(count) + PATIENCE;
        while !open.is_empty() {
            let left = end.saturating_duration_since(Instant::now());
            let next = timeout(left, outputs.next()).await;
            let next = next.with_context(|| format!("{} outputs did not come", open.len()))?;
            let output = next
                .context("the outputs ended")?
                .map_err(|error| anyhow!("{error}"))?;
            let echo: Echo = serde_json::from_slice(&output.payload)?;
            let number = open.remove(&echo.input);
            let number = number.with_context(|| format!("{} came twice", echo.input))?;
            if warm <= number {
                delay.saturating_record(micros(due(number).elapsed()));
            }
        }
        anyhow::Ok(delay)
    };
    let (late, delay) = tokio::try_join!(sending, reading)?;
    ensure!(delay.len() == count - warm, "an output is missing");
    Ok(Seen { delay, late })
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(LONGEST)
}

//! Takes a rate, gives how long after each input its output can be read.
//!
//! Inputs leave at fixed moments whatever the host does, and a delay counts from the moment at
//! which the input should have left: a host that stalls cannot hide it.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, ensure};
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use futures_util::StreamExt;
use hdrhistogram::Histogram;
use serde::Deserialize;
use sluicegate_tests::events::Message;
use sluicegate_tests::outputs::ECHOES;
use tokio::time::{Instant, sleep_until, timeout};

use crate::backlog::id;
use crate::ledger::Js;

/// Microseconds up to a minute, to three digits.
pub(crate) const LONGEST: u64 = 60_000_000;
/// After the last input.
const PATIENCE: Duration = Duration::from_secs(30);
/// Where the broker says what it has carried a message over from.
const SOURCE: &str = "Nats-Stream-Source";
/// Inputs of the first part do not count.
const WARM_UP: Duration = Duration::from_secs(2);

/// Inputs that leave at a rate, whatever becomes of them.
pub(crate) struct Load<'a> {
    /// A second.
    pub(crate) rate: f64,
    /// Behind the warm-up.
    pub(crate) time: Duration,
    /// The number of the first input: no two measures on one store may share numbers, since an
    /// event that was handled before has no output.
    pub(crate) first: u64,
    /// Makes an input with the [`id`] of a number.
    pub(crate) message: &'a dyn Fn(u64) -> Message,
}

impl Load<'_> {
    /// All inputs.
    pub(crate) fn count(&self) -> u64 {
        ((WARM_UP + self.time).as_secs_f64() * self.rate) as u64
    }

    /// Those at the beginning that do not count.
    pub(crate) fn warm(&self) -> u64 {
        (WARM_UP.as_secs_f64() * self.rate) as u64
    }

    /// When an input is to leave.
    pub(crate) fn due(&self, start: Instant, number: u64) -> Instant {
        start + Duration::from_secs_f64(number as f64 / self.rate)
    }

    /// Sends them, and gives how much later than it should each was sent, in microseconds.
    pub(crate) async fn send(&self, jetstream: &Js, start: Instant) -> Result<Histogram<u64>> {
        let mut late = Histogram::new_with_bounds(1, LONGEST, 3)?;
        let client = jetstream.client();
        for number in 0..self.count() {
            let due = self.due(start, number);
            sleep_until(due).await;
            if self.warm() <= number {
                late.saturating_record(micros(due.elapsed()));
            }
            let message = (self.message)(self.first + number);
            client
                .publish_with_headers(message.subject, message.headers, message.body)
                .await?;
        }
        Ok(late)
    }
}

/// A moment that is a little ahead.
pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_millis(200)
}

/// What was seen, in microseconds.
pub(crate) struct Seen {
    pub(crate) delay: Histogram<u64>,
    /// How much later than it should each input was sent.
    pub(crate) late: Histogram<u64>,
    /// All that counted, in the order in which they came.
    pub(crate) arrivals: Vec<Arrival>,
}

/// An output that was read; moments are nanoseconds since 1970.
pub(crate) struct Arrival {
    pub(crate) input: String,
    /// When the input should have left.
    pub(crate) due: i128,
    /// Where the broker has carried it over from: `<stream> <sequence> …`.
    pub(crate) source: String,
    /// When it was stored in `EVENTS`.
    pub(crate) stored: i128,
    pub(crate) read: i128,
}

#[derive(Deserialize)]
struct Echo {
    input: String,
}

/// Sends the load and reads what it causes.
pub(crate) async fn measure(jetstream: &Js, load: &Load<'_>) -> Result<Seen> {
    let (count, warm) = (load.count(), load.warm());
    let start = soon();
    let start_at = nanos(SystemTime::now() + (start - Instant::now()))?;
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
    let reading = async {
        let mut delay = Histogram::new_with_bounds(1, LONGEST, 3)?;
        let mut arrivals = Vec::new();
        let mut open: HashMap<String, u64> = (0..count)
            .map(|number| (id(load.first + number), number))
            .collect();
        let end = load.due(start, count) + PATIENCE;
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
                let due = load.due(start, number);
                delay.saturating_record(micros(due.elapsed()));
                let info = output.info().map_err(|error| anyhow!("{error}"))?;
                let stored = info.published.unix_timestamp_nanos();
                let source = output.headers.as_ref();
                let source = source.and_then(|headers| headers.get(SOURCE));
                arrivals.push(Arrival {
                    input: echo.input,
                    due: start_at + i128::try_from((due - start).as_nanos())?,
                    source: source.map_or_else(String::new, ToString::to_string),
                    stored,
                    read: nanos(SystemTime::now())?,
                });
            }
        }
        anyhow::Ok((delay, arrivals))
    };
    let (late, (delay, arrivals)) = tokio::try_join!(load.send(jetstream, start), reading)?;
    ensure!(delay.len() == count - warm, "an output is missing");
    Ok(Seen {
        delay,
        late,
        arrivals,
    })
}

fn nanos(time: SystemTime) -> Result<i128> {
    Ok(i128::try_from(time.duration_since(UNIX_EPOCH)?.as_nanos())?)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(LONGEST)
}

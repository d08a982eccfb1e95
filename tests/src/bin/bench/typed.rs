//! Takes a Dataverse body of 6 KB, gives how long the guest `typed` takes over it as a component,
//! and natively.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sluicegate_guest::testing;
use sluicegate_tests::environment;
use sluicegate_tests::sluice::sluice;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::body::Template;
use crate::machine::Machine;
use crate::report::{Report, Row, Target};

/// The same source that is built for WebAssembly: see `tests/guests`.
#[path = "../../../guests/examples/typed.rs"]
mod guest;

/// What the sandbox may cost: issue and docs/performance.md say the same.
const AT_MOST: f64 = 1.5;
/// What a component may have: docs/writing-a-plugin.md.
const SMALLEST_KB: f64 = 40.0;

pub(crate) async fn run(quick: bool) -> Result<Report> {
    let (pairs, calls) = if quick { (5, 2_000) } else { (11, 10_000) };
    let bodies = bodies(calls)?;
    let folder = TempDir::with_prefix("sluice-bench-")?;
    let file = folder.path().join("events.ndjson");
    std::fs::write(&file, bodies.join(&b"\n"[..]))?;
    let file = file.to_str().context("the folder's name is no text")?;
    let plugin = environment::guest("typed")?;
    let plugin = plugin.to_str().context("the guest's path is no text")?;
    let mut found = Vec::new();
    for pair in 1..=pairs {
        let component = component(plugin, file, calls).await?;
        let native = native(&bodies)?;
        println!(
            "pair {pair} of {pairs}: {component:.1} µs in the sandbox, {native:.1} µs natively"
        );
        found.push((component, native));
    }
    let mut typed = Row::pairs(
        "a typed handler over a Dataverse body of 6 KB, warm instance; other: native",
        &found,
        "µs",
    );
    typed.target_ratio(Target::AtMost(AT_MOST));
    let smallest = std::fs::metadata(environment::guest("ok")?)?.len();
    let smallest = Row::new("the smallest Rust plug-in", smallest as f64 / 1024.0, "KB")
        .with_target(Target::AtMost(SMALLEST_KB));
    Ok(Report {
        machine: Machine::this("none".to_owned(), format!("{calls} calls, {pairs} pairs")),
        rows: vec![typed, smallest],
    })
}

fn bodies(calls: u64) -> Result<Vec<Vec<u8>>> {
    let template = Template::new()?;
    let body = |number| {
        let mut body = template.bytes().to_vec();
        template.vary(&mut body, number);
        body
    };
    Ok((0..calls).map(body).collect())
}

/// The median time of a call by `sluice test`, in microseconds.
async fn component(plugin: &str, events: &str, calls: u64) -> Result<f64> {
    let environment = ["--environment", "contoso", "--json"];
    let arguments = [&["test", plugin, "--event", events][..], &environment].concat();
    let lines = sluice(&arguments).await?.ok()?.json_lines()?;
    ensure!(
        lines.len() as u64 == calls,
        "{} of {calls} calls",
        lines.len()
    );
    let took = |line: &Value| line["duration_ns"].as_u64().context("no duration_ns");
    let took = lines.iter().map(took).collect::<Result<Vec<_>>>()?;
    Ok(median(took))
}

/// The median time of the same function in this process, in microseconds.
fn native(bodies: &[Vec<u8>]) -> Result<f64> {
    let mut host = testing::Host::new();
    let mut took = Vec::new();
    for body in bodies {
        let event = testing::event_of("contoso", body.as_slice());
        let begun = Instant::now();
        let called = host.call(guest::handle, event);
        took.push(nanoseconds(begun.elapsed()));
        ensure!(called.outcome.is_ok(), "{:?}", called.outcome);
    }
    Ok(median(took))
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn median(mut took: Vec<u64>) -> f64 {
    took.sort_unstable();
    took.get(took.len() / 2).copied().unwrap_or_default() as f64 / 1e3
}

//! What the demo shows, step by step.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::Folder;
use super::broker::Broker;
use super::checks::Checks;
use super::host::{Host, LIMIT, Sluice};
use super::metrics::Metrics;
use crate::clock::{self, Stopwatch};
use crate::setup::Tools;

/// The plug-ins, and what each is expected to have done before the host is restarted.
const EXPECTED: [Row; 5] = [
    Row {
        plugin: "audit-trail",
        done: 34,
        duplicate: 1,
        retry: 0,
        dead: 0,
    },
    Row {
        plugin: "credit-hold",
        done: 10,
        duplicate: 1,
        retry: 0,
        dead: 0,
    },
    Row {
        plugin: "order-mirror",
        done: 11,
        duplicate: 0,
        retry: 0,
        dead: 0,
    },
    Row {
        plugin: "slow-erp",
        done: 1,
        duplicate: 0,
        retry: 2,
        dead: 0,
    },
    Row {
        plugin: "strict-import",
        done: 4,
        duplicate: 0,
        retry: 0,
        dead: 1,
    },
];

/// The events, in the order in which they are sent.
const FILES: [&str; 5] = [
    "events/sales.ndjson",
    "events/credit-limit-raised.json",
    "events/invoice-for-the-erp.json",
    "events/finance.ndjson",
    "events/invoice-in-francs.json",
];
const SENT: usize = 40;
const TWICE: &str = "events/credit-limit-raised.json";
const ENVIRONMENT: [&str; 2] = ["--environment", "contoso"];

/// Tells whether every number was as expected; an error is a step that did not come about.
pub(super) fn tell(name: &str, folder: &Folder, sluice: &Path, tools: &Tools) -> Result<bool> {
    let mut checks = Checks::default();
    heading("A broker and a host of our own");
    println!("   Everything below happens in {name}.");
    let broker = Broker::start(&tools.nats_server, &folder.path("nats"))?;
    println!("   nats-server at {}, with JetStream on file", broker.url);
    let sluice = Sluice::new(sluice, &folder.0, &broker.url)?;
    sluice.configure("")?;
    let watch = Stopwatch::start();
    let host = sluice.run()?;
    println!(
        "   sluice run: ready after {watch}, with {} plug-ins",
        EXPECTED.len()
    );

    arrive(&sluice, &host, &mut checks)?;
    retried(&host, &mut checks)?;
    duplicate(&sluice, &host, &mut checks)?;
    let id = poisoned(&sluice, &mut checks)?;
    let before = counts(&host.metrics()?);
    for (expected, seen) in EXPECTED.iter().zip(&before) {
        expected.compare(seen, &mut checks);
    }

    let host = mended(&sluice, host, &mut checks)?;
    replayed(&sluice, &host, &id, &mut checks)?;

    heading("What was expected, and what was seen");
    Ok(checks.close())
}

fn arrive(sluice: &Sluice, host: &Host<'_>, checks: &mut Checks) -> Result<()> {
    heading("Events of Dataverse and of Finance and Operations arrive");
    let sent = send(sluice, &FILES, &[])?;
    let mut by_type: Vec<(String, usize)> = Vec::new();
    for event in &sent {
        let name = text(event, "type");
        match by_type.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += 1,
            None => by_type.push((name, 1)),
        }
    }
    for (name, count) in by_type {
        println!("   {count:>3}  {name}");
    }
    checks.add("events that the broker has stored", SENT, sent.len());

    let watch = Stopwatch::start();
    wait_for(host, |row| row.done + row.dead)?;
    println!("\n   What each plug-in has made of them, {watch} later, by /metrics:");
    show(&counts(&host.metrics()?));
    println!("\n   Some of what they had to say, from the host's log:");
    for plugin in ["credit-hold", "order-mirror", "strict-import"] {
        let lines = host.plugin_lines()?;
        for line in lines.iter().filter(|line| line.plugin == plugin).take(2) {
            println!("   {plugin:<14} {}", line.message);
        }
    }
    Ok(())
}

fn retried(host: &Host<'_>, checks: &mut Checks) -> Result<()> {
    heading("One event is retried until it works");
    let lines = host.plugin_lines()?;
    let lines: Vec<_> = lines
        .iter()
        .filter(|line| line.plugin == "slow-erp")
        .collect();
    for line in &lines {
        println!("   slow-erp       {}", line.message);
    }
    println!("   Its own record waited, and nobody else did.");
    let booked = lines
        .iter()
        .filter(|line| line.message.ends_with("is booked"))
        .count();
    checks.add("slow-erp: times that the invoice was booked", 1, booked);
    Ok(())
}

fn duplicate(sluice: &Sluice, host: &Host<'_>, checks: &mut Checks) -> Result<()> {
    heading("The same event comes twice");
    println!("   As if Dataverse had sent it again, and the broker's own window were over:");
    let sent = send(sluice, &[TWICE], &["--no-broker-dedup"])?;
    let event = sent
        .first()
        .context("`sluice send` told nothing about the event")?;
    println!(
        "   the broker stored it again, as number {}",
        event["sequence"]
    );
    checks.add(
        "the repeated event: a duplicate to the broker",
        false,
        &event["duplicate"],
    );
    wait_for(host, |row| row.done + row.dead + row.duplicate)?;
    for row in counts(&host.metrics()?)
        .iter()
        .filter(|row| row.duplicate > 0)
    {
        println!("   {:<14} knows it and was not called", row.plugin);
    }
    Ok(())
}

fn poisoned(sluice: &Sluice, checks: &mut Checks) -> Result<String> {
    heading("One event cannot be handled, and waits as a dead letter");
    let letters = clock::poll("a dead letter", LIMIT, || {
        let letters = sluice.json(&["dlq", "list"])?;
        let letters = letters.as_array().cloned().unwrap_or_default();
        Ok((!letters.is_empty()).then_some(letters))
    })?;
    checks.add("dead letters", 1, letters.len());
    let letter = letters.first().context("a dead letter")?;
    checks.add("its plug-in", "strict-import", text(letter, "plugin"));
    checks.add("its reason", "rejected", text(letter, "reason"));
    let id = letter["id"].to_string().trim_matches('"').to_owned();
    sluice.shown(&["dlq", "list"])?;
    println!();
    sluice.shown(&["dlq", "show", &id])?;
    Ok(id)
}

/// Restarts the host with the currency that was missing.
fn mended<'a>(sluice: &'a Sluice, host: Host<'a>, checks: &mut Checks) -> Result<Host<'a>> {
    heading("Its cause is mended, and the host restarted");
    let section = "[plugin.strict-import]\nconfig = { currencies = \"EUR USD CHF\" }\n";
    sluice.configure(section)?;
    println!("   sluice.toml now says:");
    for line in section.lines() {
        println!("     {line}");
    }
    let watch = Stopwatch::start();
    let status = host.terminate()?;
    println!("   SIGTERM: drained and ended with {status} after {watch}");
    checks.add("exit status after SIGTERM", 0, status.code().unwrap_or(-1));
    let watch = Stopwatch::start();
    let host = sluice.run()?;
    println!("   sluice run: ready again after {watch}, and goes on where it was");
    Ok(host)
}

fn replayed(sluice: &Sluice, host: &Host<'_>, id: &str, checks: &mut Checks) -> Result<()> {
    heading("The dead letter is replayed");
    sluice.shown(&["dlq", "replay", id])?;
    let imported = || -> Result<usize> {
        let lines = host.plugin_lines()?;
        Ok(lines
            .iter()
            .filter(|line| line.message.ends_with("is imported, replayed"))
            .count())
    };
    let done = |metrics: &Metrics| Row::read("strict-import", metrics).done;
    clock::poll("the replayed invoice", LIMIT, || {
        Ok((done(&host.metrics()?) > 0).then_some(()))
    })?;
    for line in host
        .plugin_lines()?
        .iter()
        .filter(|line| line.message.ends_with("replayed"))
    {
        println!("   {:<14} {}", line.plugin, line.message);
    }
    println!();
    sluice.shown(&["dlq", "list"])?;
    checks.add("strict-import: times that it was imported", 1, imported()?);
    let left = sluice.json(&["dlq", "list"])?;
    checks.add(
        "dead letters that are left",
        0,
        left.as_array().map_or(0, Vec::len),
    );
    settled(host)?;
    let again = counts(&host.metrics()?);
    let calls: u64 = again
        .iter()
        .map(|row| row.done + row.duplicate + row.retry + row.dead)
        .sum();
    checks.add(
        "outcomes since the restart: the replay, and nothing again",
        1,
        calls,
    );
    Ok(())
}

/// Sends and gives what `sluice send --json` says about each event.
fn send(sluice: &Sluice, files: &[&str], flags: &[&str]) -> Result<Vec<Value>> {
    let args = [&["send"], files, &ENVIRONMENT, flags].concat();
    println!("   $ sluice {}", args.join(" "));
    let told = sluice.quiet(&[&args[..], &["--json"]].concat())?;
    told.lines()
        .map(|line| {
            serde_json::from_str(line).with_context(|| format!("`sluice send` printed {line}"))
        })
        .collect()
}

/// Outcomes of one plug-in since the host was started.
struct Row {
    plugin: &'static str,
    done: u64,
    duplicate: u64,
    retry: u64,
    dead: u64,
}

impl Row {
    fn read(plugin: &'static str, metrics: &Metrics) -> Self {
        let outcome = |outcome| {
            metrics.sum(
                "sluicegate_outcomes_total",
                &[("plugin", plugin), ("outcome", outcome)],
            )
        };
        Self {
            plugin,
            done: outcome("done"),
            duplicate: outcome("duplicate"),
            retry: outcome("retry"),
            dead: outcome("dead"),
        }
    }

    fn compare(&self, seen: &Self, checks: &mut Checks) {
        let numbers = [
            ("handled", self.done, seen.done),
            ("suppressed as a duplicate", self.duplicate, seen.duplicate),
            ("retries", self.retry, seen.retry),
            ("dead letters", self.dead, seen.dead),
        ];
        for (what, expected, seen) in numbers {
            if expected + seen > 0 {
                checks.add(format!("{}: {what}", self.plugin), expected, seen);
            }
        }
    }
}

fn counts(metrics: &Metrics) -> Vec<Row> {
    EXPECTED
        .iter()
        .map(|row| Row::read(row.plugin, metrics))
        .collect()
}

fn show(rows: &[Row]) {
    println!(
        "   {:<14} {:>6} {:>10} {:>8} {:>6}",
        "", "done", "duplicate", "retried", "dead"
    );
    for row in rows {
        println!(
            "   {:<14} {:>6} {:>10} {:>8} {:>6}",
            row.plugin, row.done, row.duplicate, row.retry, row.dead
        );
    }
}

/// Waits until every plug-in has come to as many ends, of the kind that `ends` adds up, as
/// are expected; what it has too many is for the closing table.
fn wait_for(host: &Host<'_>, ends: impl Fn(&Row) -> u64) -> Result<()> {
    let mut last = Vec::new();
    let waited = clock::poll("all outcomes that are expected", LIMIT, || {
        last = counts(&host.metrics()?);
        let all = EXPECTED
            .iter()
            .zip(&last)
            .all(|(expected, seen)| ends(expected) <= ends(seen));
        Ok(all.then_some(()))
    });
    if waited.is_err() {
        show(&last);
    }
    waited
}

/// Waits until no plug-in has anything left to read or to do.
fn settled(host: &Host<'_>) -> Result<()> {
    clock::poll("a host with nothing left to do", LIMIT, || {
        let metrics = host.metrics()?;
        let left = [
            "sluicegate_lag_events",
            "sluicegate_in_flight",
            "sluicegate_lanes_parked",
        ];
        let left: u64 = left.iter().map(|name| metrics.sum(name, &[])).sum();
        Ok((left == 0).then_some(()))
    })
}

fn heading(title: &str) {
    println!("\n── {title}\n");
}

fn text(facts: &Value, name: &str) -> String {
    facts
        .get(name)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

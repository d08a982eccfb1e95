//! What the demo shows, step by step.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::Folder;
use super::broker::Broker;
use super::checks::Checks;
use super::host::{Host, LIMIT, Sluice};
use super::log::Line;
use super::outcomes::{self, Outcomes, PLUGINS};
use crate::clock::{self, Stopwatch};
use crate::setup::Tools;

/// What `sluice send` sends, in this order.
const FILES: [&str; 4] = [
    "events/sales.ndjson",
    "events/invoice-for-the-erp.json",
    "events/finance.ndjson",
    "events/invoice-in-francs.json",
];
/// What Dataverse's webhook posts after them.
const POSTED: &str = "events/credit-limit-raised.json";
const SENT: u64 = 40;

/// What plug-ins emit: credit-hold about two accounts over the bound and one that is within
/// it again, order-mirror about each of its five events.
const EMITTED: u64 = 3 + 5;

/// Sent a second time.
const TWICE: &str = POSTED;

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
        "   sluice run: ready after {watch}, with {} plug-ins:",
        PLUGINS.len()
    );
    for plugin in &PLUGINS {
        println!("     {:<14} {}", plugin.name, plugin.about);
    }

    arrive(&sluice, &host, &mut checks)?;
    emitted(&broker, &mut checks)?;
    retried(&host, &mut checks)?;
    repeated(&sluice, &host, &mut checks)?;
    let id = poisoned(&sluice, &mut checks)?;
    outcomes::compare(&outcomes::read(&host.metrics()?), &mut checks);

    let host = mended(&sluice, host, &mut checks)?;
    replayed(&sluice, &host, &id, &mut checks)?;
    // Once more, now that nothing is under way any more: the repeated event and the replay
    // have come to the store, and nothing was emitted again.
    let more = broker.messages("EVENTS")?.saturating_sub(SENT + EMITTED);
    checks.add(
        "events stored since: the repeated one and the replay",
        2,
        more,
    );
    checks.add(
        "dead letters left, by the broker's count",
        0,
        broker.messages("DEADLETTER")?,
    );

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
    checks.add(
        "events sent, and stored by the broker",
        SENT - 1,
        sent.len(),
    );
    println!("\n   And one by Dataverse's webhook, through the gateway:");
    let answer = sluice.webhook(POSTED)?;
    checks.add("the webhook's answer", 202, answer.status);

    let watch = Stopwatch::start();
    wait_for(host, |outcomes| outcomes.done + outcomes.dead)?;
    println!("\n   What each plug-in has made of them, {watch} later, by /metrics:");
    outcomes::show(&outcomes::read(&host.metrics()?));
    println!("\n   Some of what they had to say, from the host's log:");
    let lines = host.plugin_lines()?;
    for plugin in ["credit-hold", "order-mirror", "strict-import"] {
        show(lines.iter().filter(|line| line.plugin == plugin).take(3));
    }
    Ok(())
}

/// What plug-ins emit comes to the store by way of the ledger.
fn emitted(broker: &Broker, checks: &mut Checks) -> Result<()> {
    let stored = clock::poll("the events that plug-ins emit, in the store", LIMIT, || {
        let stored = broker.messages("EVENTS")?;
        Ok((stored >= SENT + EMITTED).then_some(stored))
    })?;
    let emitted = stored - SENT;
    println!("\n   credit-hold and order-mirror have emitted {emitted} events of their own.");
    checks.add("events emitted, and stored by the broker", EMITTED, emitted);
    Ok(())
}

fn retried(host: &Host<'_>, checks: &mut Checks) -> Result<()> {
    heading("One event is retried until it works");
    let lines = host.plugin_lines()?;
    let lines: Vec<_> = lines
        .iter()
        .filter(|line| line.plugin == "slow-erp")
        .collect();
    show(lines.iter().copied());
    println!("   Between the attempts its own lane is parked, and no other.");
    let booked = lines
        .iter()
        .filter(|line| line.message.ends_with("is booked"))
        .count();
    checks.add("slow-erp: times that the invoice was booked", 1, booked);
    Ok(())
}

fn repeated(sluice: &Sluice, host: &Host<'_>, checks: &mut Checks) -> Result<()> {
    heading("The same event comes twice");
    println!("   As if Dataverse had sent it again, and the broker's own window were over:");
    let sent = send(sluice, &[TWICE], &["--no-broker-dedup"])?;
    let event = sent
        .first()
        .context("`sluice send` told nothing about the event")?;
    let fact = |name| event.get(name).cloned().unwrap_or_default();
    println!(
        "   the broker stores it again, as number {}",
        fact("sequence")
    );
    checks.add(
        "the repeated event: known to the broker",
        false,
        fact("duplicate"),
    );
    wait_for(host, Outcomes::ended)?;
    for (plugin, seen) in PLUGINS.iter().zip(outcomes::read(&host.metrics()?)) {
        if seen.duplicate > 0 {
            println!(
                "   {:<14} has it in its inbox, and is not called",
                plugin.name
            );
        }
    }
    Ok(())
}

/// Gives the dead letter's id.
fn poisoned(sluice: &Sluice, checks: &mut Checks) -> Result<String> {
    heading("One event cannot be handled, and waits as a dead letter");
    let letters = clock::poll("a dead letter", LIMIT, || {
        let letters = dead_letters(sluice)?;
        Ok((!letters.is_empty()).then_some(letters))
    })?;
    checks.add("dead letters", 1, letters.len());
    let letter = letters.first().context("there is no dead letter")?;
    checks.add("its plug-in", "strict-import", text(letter, "plugin"));
    checks.add("its reason", "rejected", text(letter, "reason"));
    let id = letter
        .get("id")
        .context("the dead letter has no id")?
        .to_string();
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
    println!("   SIGTERM: the host drains and ends after {watch}, {status}");
    checks.add("exit status after SIGTERM", 0, status.code().unwrap_or(-1));
    let watch = Stopwatch::start();
    let host = sluice.run()?;
    println!("   sluice run: ready again after {watch}, and goes on where it was");
    Ok(host)
}

fn replayed(sluice: &Sluice, host: &Host<'_>, id: &str, checks: &mut Checks) -> Result<()> {
    heading("The dead letter is replayed");
    sluice.shown(&["dlq", "replay", id])?;
    clock::poll("the replayed invoice", LIMIT, || {
        let seen = Outcomes::of("strict-import", &host.metrics()?);
        Ok((seen.ended() > 0).then_some(()))
    })?;
    settled(host)?;
    let lines = host.plugin_lines()?;
    let lines: Vec<_> = lines
        .iter()
        .filter(|line| line.message.ends_with("replayed"))
        .collect();
    show(lines.iter().copied());
    println!();
    sluice.shown(&["dlq", "list"])?;
    checks.add(
        "strict-import: times that the invoice was imported",
        1,
        lines.len(),
    );
    checks.add("dead letters left", 0, dead_letters(sluice)?.len());
    let seen = outcomes::read(&host.metrics()?);
    let seen: u64 = seen.into_iter().map(Outcomes::all).sum();
    checks.add(
        "outcomes since the restart: the replay and nothing again",
        1,
        seen,
    );
    Ok(())
}

/// Sends and gives what `sluice send --json` says about each event.
fn send(sluice: &Sluice, files: &[&str], flags: &[&str]) -> Result<Vec<Value>> {
    let args = [&["send"], files, &ENVIRONMENT, flags].concat();
    println!("   $ sluice {}", args.join(" "));
    let told = sluice.quiet(&[&args[..], &["--json"]].concat())?;
    told.lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("`sluice send`: {line}")))
        .collect()
}

fn dead_letters(sluice: &Sluice) -> Result<Vec<Value>> {
    let letters = sluice.json(&["dlq", "list"])?;
    letters
        .as_array()
        .cloned()
        .with_context(|| format!("`sluice dlq list`: {letters}"))
}

/// Waits until every plug-in has come to as many outcomes, of the kind that `kind` adds up,
/// as are expected. What it has too many is for the closing table.
fn wait_for(host: &Host<'_>, kind: impl Fn(Outcomes) -> u64) -> Result<()> {
    let mut last = Default::default();
    let waited = clock::poll("all outcomes that are expected", LIMIT, || {
        last = outcomes::read(&host.metrics()?);
        let mut pairs = PLUGINS.iter().zip(last);
        let all = pairs.all(|(plugin, seen)| kind(plugin.expected) <= kind(seen));
        Ok(all.then_some(()))
    });
    if waited.is_err() {
        outcomes::show(&last);
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

fn show<'a>(lines: impl Iterator<Item = &'a Line>) {
    for line in lines {
        println!("   {:<14} {}", line.plugin, line.message);
    }
}

fn text(facts: &Value, name: &str) -> String {
    facts
        .get(name)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

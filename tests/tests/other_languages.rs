//! Promise: a plug-in may be written in Python or JavaScript, and everything holds of it that
//! holds of one in Rust. Where the tools of a language cannot be had, its test says so.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde::Deserialize;
use serde_json::json;
use sluicegate_tests::events::publish;
use sluicegate_tests::guests::told;
use sluicegate_tests::outputs::{
    ECHOES, Stored, carried_over, state, stored, wait_dead_letters, wait_echoes,
};
use sluicegate_tests::{Broker, Input, Setup, environment, within};

/// Compiling an interpreter takes a host this long, on a busy machine and unoptimised.
const COMPILED: u64 = 120;

/// What both guests emit.
#[derive(Debug, Deserialize)]
struct Told {
    input: String,
    key: String,
    /// By the state: how many events of this key were handled, this one included.
    seen: u64,
    /// By a variable of the program: how many calls this instance has had.
    calls: u64,
}

fn handles_events(language: &str, error: &str) -> Result<()> {
    let Some(guest) = environment::language_guest(language)? else {
        return Ok(());
    };
    within(170, async {
        let broker = Broker::start().await?;
        let setup = Setup::new(broker.url()).file("guest.wasm", std::fs::read(guest)?);
        let mut host = setup.write()?;
        host.spawn()?;
        host.wait_ready(COMPILED).await?;
        let jetstream = broker.jetstream().await?;

        let good: Vec<Input> = (0..20)
            .flat_map(|n| ["a", "b"].map(|key| told(key, n, "print")))
            .collect();
        publish(&jetstream, &good).await?;
        let retried = Input::with_data("r-0", "r", 0, json!({ "do": "retry", "until": 1 }));
        let bad = [
            told("x", 1, "raise"),
            told("x", 2, "reject"),
            retried,
            told("x", 3, "look"),
            told("s", 0, "sleep"),
        ];
        publish(&jetstream, &bad).await?;
        wait_echoes(&jetstream, good.len() + 2, 30).await?;
        let letters = wait_dead_letters(&jetstream, 3, 30).await?;
        host.settled(language, 30).await?;
        carried_over(&jetstream).await?;

        // Effects once, in order, and only of the calls that ended well.
        let mut of_key: BTreeMap<String, Vec<Told>> = BTreeMap::new();
        for output in stored(&jetstream, "EVENTS", ECHOES).await? {
            let told: Told = serde_json::from_slice(&output.body)?;
            of_key.entry(told.key.clone()).or_default().push(told);
        }
        for (key, count) in [("a", 20), ("b", 20), ("r", 1), ("x", 1)] {
            let outputs = of_key.get(key).map(Vec::as_slice).unwrap_or_default();
            let seen: Vec<u64> = outputs.iter().map(|told| told.seen).collect();
            ensure!(
                seen == (1..=count).collect::<Vec<_>>(),
                "{key}: {outputs:?}"
            );
            let kept = state(&jetstream, language, key).await?;
            let kept = kept.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            ensure!(kept == Some(count.to_string()), "state of {key}: {kept:?}");
        }
        let a = of_key.get("a").into_iter().flatten();
        let inputs: Vec<&str> = a.map(|told| told.input.as_str()).collect();
        let sent: Vec<String> = (0..20).map(|n| format!("a-{n}")).collect();
        ensure!(inputs == sent, "{inputs:?}");
        let warm = of_key.values().flatten().map(|told| told.calls).max();
        ensure!(Some(1) < warm, "no instance was used twice");

        // An exception is a failed attempt with its words; a rejection is one too.
        let of = |reason: &str| -> Result<&Stored> {
            let mut found = letters.iter();
            let found = found.find(|letter| letter.header("Sluice-Reason").ok() == Some(reason));
            found.ok_or_else(|| anyhow::anyhow!("no letter {reason}: {letters:?}"))
        };
        ensure!(letters.len() == 3, "{letters:?}");
        let late = of("timeout")?;
        ensure!(late.header("Sluice-Attempts")? == "2", "{late:?}");
        let trap = of("trap")?;
        ensure!(trap.header("Sluice-Attempts")? == "2", "{trap:?}");
        ensure!(trap.header("Sluice-Error")?.contains(error), "{trap:?}");
        let rejected = of("rejected")?;
        ensure!(
            rejected.header("Sluice-Error")? == "no customer 2",
            "{rejected:?}"
        );
        host.wait_log(&["WARN", error, "\"event\":\"x-1\""], 10)
            .await?;

        // What it prints is the log's, with the event; what it looks for is not there.
        for (level, words) in [
            ("INFO", "printed by a-3"),
            ("WARN", "complained by a-3"),
            ("INFO", "logged by a-3"),
            ("INFO", "found environment {}"),
        ] {
            let line = host.wait_log(&[level, words], 10).await?;
            ensure!(
                line.contains(&format!("\"plugin\":\"{language}\"")),
                "{line}"
            );
        }
        let log = host.log()?;
        for never in ["found file", "found folder"] {
            ensure!(!log.contains(never), "{never}");
        }
        host.stop().await
    })
}

#[test]
fn a_plug_in_in_python_handles_events() -> Result<()> {
    handles_events("python", "ValueError: no such thing: 1")
}

#[test]
fn a_plug_in_in_javascript_handles_events() -> Result<()> {
    handles_events("javascript", "Error: no such thing: 1")
}

//! Promise: a plug-in cannot hurt its neighbours or the host. Time, memory, output and log
//! are bounded, nothing is granted that was not asked for, and a trap costs one attempt.

use anyhow::{Result, ensure};
use sluicegate_tests::checks::Verdict;
use sluicegate_tests::component::{manifest, with_manifest};
use sluicegate_tests::events::{publish, series};
use sluicegate_tests::outputs::{
    ECHOES, Stored, count, dead_letters, wait_dead_letters, wait_echoes,
};
use sluicegate_tests::{Broker, Input, Setup, Stage, environment, until, within};

/// Two attempts, close together.
fn two_attempts(plugin: &str, more: &str) -> String {
    format!("[plugin.{plugin}]\nmax_attempts = 2\ninitial = \"50ms\"\nfactor = 1.0\n{more}\n")
}

/// Events of `count` keys, one each.
fn one_a_key(count: u64) -> Vec<Input> {
    (0..count)
        .map(|n| Input::new(format!("e{n}"), format!("k{n}"), 0))
        .collect()
}

/// Runs a bad guest beside a good one: the good one handles everything, once, and the bad
/// one's events all end as dead letters, which are given back.
async fn beside_a_neighbour(guest: &str, plugin: &str, more: &str) -> Result<(Stage, Vec<Stored>)> {
    let stage = Stage::with(&[guest, "emit_one"], &two_attempts(plugin, more)).await?;
    let inputs = one_a_key(6);
    publish(&stage.jetstream, &inputs).await?;
    let letters = wait_dead_letters(&stage.jetstream, inputs.len(), 40).await?;
    let outputs = wait_echoes(&stage.jetstream, inputs.len(), 20).await?;
    Verdict::on(&inputs, &outputs).clean()?;
    ensure!(
        letters.len() == inputs.len(),
        "{} dead letters",
        letters.len()
    );
    for letter in &letters {
        ensure!(
            letter.header("Sluice-Plugin")? == plugin,
            "{:?}",
            letter.headers
        );
    }

    // And again, into a box that was broken before.
    let later = series("later", 1);
    publish(&stage.jetstream, &later).await?;
    wait_echoes(&stage.jetstream, inputs.len() + 1, 20).await?;
    Ok((stage, letters))
}

#[test]
fn a_plug_in_that_spins_is_stopped_and_holds_nobody_up() -> Result<()> {
    within(90, async {
        let settings = two_attempts("spin", "timeout = \"1500ms\"");
        let stage = Stage::with(&["spin", "emit_one"], &settings).await?;
        // More calls that never end than the machine has cores.
        let inputs = one_a_key(8);
        publish(&stage.jetstream, &inputs).await?;
        let outputs = wait_echoes(&stage.jetstream, inputs.len(), 20).await?;
        let ended = dead_letters(&stage.jetstream).await?.len();
        ensure!(
            ended < inputs.len(),
            "the neighbour had to wait for the spinning plug-in's end"
        );
        Verdict::on(&inputs, &outputs).clean()?;
        for letter in wait_dead_letters(&stage.jetstream, inputs.len(), 60).await? {
            ensure!(
                letter.header("Sluice-Reason")? == "timeout",
                "{:?}",
                letter.headers
            );
            ensure!(
                letter.header("Sluice-Attempts")? == "2",
                "{:?}",
                letter.headers
            );
            ensure!(
                letter.header("Sluice-Error")?.contains("1.5s"),
                "{:?}",
                letter.headers
            );
        }
        Ok(())
    })
}

#[test]
fn a_plug_in_that_takes_memory_gets_no_more_than_its_limit() -> Result<()> {
    within(90, async {
        let (_stage, letters) =
            beside_a_neighbour("grow_memory", "grow-memory", "memory = \"16MiB\"").await?;
        for letter in letters {
            let reason = letter.header("Sluice-Reason")?;
            ensure!(["limit", "trap"].contains(&reason), "{:?}", letter.headers);
            ensure!(
                letter.header("Sluice-Error")?.contains("memory"),
                "{:?}",
                letter.headers
            );
        }
        Ok(())
    })
}

#[test]
fn a_trap_costs_one_attempt_and_its_text_is_told() -> Result<()> {
    within(90, async {
        let (stage, letters) = beside_a_neighbour("trap", "trap", "").await?;
        for letter in letters {
            ensure!(
                letter.header("Sluice-Reason")? == "trap",
                "{:?}",
                letter.headers
            );
            ensure!(
                letter.header("Sluice-Attempts")? == "2",
                "{:?}",
                letter.headers
            );
            let error = letter.header("Sluice-Error")?;
            ensure!(
                error.contains("panicked at"),
                "the guest's own words are missing: {error}"
            );
        }
        let retries = stage.host.metrics().await?.outcomes("trap", "retry")?;
        ensure!(
            6.0 <= retries,
            "{retries} retries of 6 events with two attempts each"
        );
        Ok(())
    })
}

#[test]
fn a_subject_that_was_not_granted_stays_shut() -> Result<()> {
    within(90, async {
        let (stage, letters) = beside_a_neighbour("forbidden_emit", "forbidden-emit", "").await?;
        for letter in letters {
            ensure!(
                letter.header("Sluice-Reason")? == "forbidden",
                "{:?}",
                letter.headers
            );
            ensure!(
                letter.header("Sluice-Attempts")? == "1",
                "no attempt can help: {:?}",
                letter.headers
            );
            ensure!(
                letter.header("Sluice-Error")?.contains("d365."),
                "{:?}",
                letter.headers
            );
        }
        let all = count(&stage.jetstream, "EVENTS", "d365.>").await?;
        let known = count(&stage.jetstream, "EVENTS", "d365.custom.test.>").await?;
        ensure!(
            all == known,
            "{} events on a subject that was not granted",
            all - known
        );
        Ok(())
    })
}

#[test]
fn an_output_over_the_limit_is_refused_whole() -> Result<()> {
    within(90, async {
        let (_stage, letters) = beside_a_neighbour("big_output", "big-output", "").await?;
        for letter in letters {
            ensure!(
                letter.header("Sluice-Reason")? == "limit",
                "{:?}",
                letter.headers
            );
            ensure!(
                letter.header("Sluice-Attempts")? == "1",
                "no attempt can help: {:?}",
                letter.headers
            );
        }
        Ok(())
    })
}

#[test]
fn a_flood_of_log_lines_is_cut() -> Result<()> {
    within(60, async {
        let settings = "[plugin.log-flood]\ntimeout = \"30s\"";
        let stage = Stage::with(&["log_flood", "ok"], settings).await?;
        publish(&stage.jetstream, &one_a_key(3)).await?;
        for plugin in ["log-flood", "ok"] {
            until("the events to be done", 40, async || {
                let done = stage.host.metrics().await?.outcomes(plugin, "done")?;
                ensure!(done == 3.0, "{done} of 3 done by {plugin}");
                Ok(())
            })
            .await?;
        }
        stage.host.wait_log(&["log-flood", "WARN"], 10).await?;
        let log = stage.host.log()?;
        let longest = log.lines().map(str::len).max().unwrap_or_default();
        ensure!(
            log.lines().count() < 3_000,
            "{} lines for three events",
            log.lines().count()
        );
        ensure!(longest < 64 * 1024, "a line of {longest} bytes");
        ensure!(
            log.len() < 6 * 1024 * 1024,
            "{} bytes of log for three events",
            log.len()
        );
        Ok(())
    })
}

#[test]
fn a_plug_in_that_feeds_itself_is_stopped() -> Result<()> {
    within(60, async {
        // It hears its own output, and answers it.
        let component = std::fs::read(environment::guest("emit_one")?)?;
        let own = manifest(&component)?.replace("record.*.*", "*.*.*");
        let broker = Broker::start().await?;
        let setup = Setup::new(broker.url()).file("loop.wasm", with_manifest(&component, &own)?);
        let stage = Stage::of(broker, setup).await?;
        publish(&stage.jetstream, &one_a_key(3)).await?;
        let letters = wait_dead_letters(&stage.jetstream, 3, 20).await?;
        for letter in &letters {
            ensure!(
                letter.header("Sluice-Reason")? == "loop",
                "{:?}",
                letter.headers
            );
            ensure!(
                letter.header("ce-sluicehops")? == "8",
                "{:?}",
                letter.headers
            );
        }
        stage.host.settled("emit-one", 20).await?;
        let outputs = count(&stage.jetstream, "EVENTS", ECHOES).await?;
        ensure!(
            outputs == 3 * 8,
            "{outputs} outputs of 3 events that may pass 8 plug-ins each"
        );
        Ok(())
    })
}

#[test]
fn an_import_that_was_not_granted_is_refused_at_load() -> Result<()> {
    within(60, async {
        let broker = Broker::start().await?;
        let setup = Setup::new(broker.url())
            .guest("needs_state_ungranted")?
            .guest("emit_one")?;
        let mut host = setup.write()?;
        host.spawn()?;
        let line = host
            .wait_log(
                &["needs_state_ungranted.wasm", "sluicegate:plugin/state"],
                40,
            )
            .await?;
        ensure!(
            line.contains("ERROR"),
            "it is not logged as an error: {line}"
        );
        // The others run, and the host says what it left out.
        let jetstream = broker.jetstream().await?;
        let inputs = one_a_key(5);
        until("the streams to be there", 20, async || {
            publish(&jetstream, &inputs).await
        })
        .await?;
        let outputs = wait_echoes(&jetstream, inputs.len(), 20).await?;
        Verdict::on(&inputs, &outputs).clean()?;
        let (status, body) = host.admin("/readyz").await?;
        ensure!(
            body.contains("needs_state_ungranted.wasm"),
            "/readyz says {status}: {body}"
        );
        ensure!(host.runs()?, "the host ended");
        Ok(())
    })
}

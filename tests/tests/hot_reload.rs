//! Promise: swapping a plug-in loses, repeats and reorders nothing, and what cannot be loaded
//! leaves what runs alone.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use sluicegate_tests::checks::Verdict;
use sluicegate_tests::component::{manifest, with_manifest};
use sluicegate_tests::events::{publish, series};
use sluicegate_tests::outputs::{state, wait_dead_letters, wait_echoes};
use sluicegate_tests::sluice::sluice;
use sluicegate_tests::stamped::{build, load, named, refused, runs, stamps};
use sluicegate_tests::{Host, Input, Stage, environment, until, within};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

const FILE: &str = "stamp.wasm";

/// Waits until so many builds have taken over.
async fn reloaded(host: &Host, times: usize) -> Result<()> {
    until(&format!("{times} reloads"), 30, async || {
        let metrics = host.metrics().await?;
        let reloads = metrics.sum("sluicegate_reloads_total", &[("plugin", "stamp")])?;
        ensure!(reloads == times as f64, "{reloads} reloads");
        Ok(())
    })
    .await
}

/// Writes a file in place and in two parts, as a careless copy does it.
async fn write_slowly(host: &Host, bytes: &[u8]) -> Result<()> {
    let file = host.plugins_dir().join(FILE);
    let (half, _) = bytes.split_at(bytes.len() / 2);
    std::fs::write(&file, half)?;
    sleep(Duration::from_millis(30)).await;
    Ok(std::fs::write(&file, bytes)?)
}

/// What was seen while builds took turns.
struct Turns {
    /// One event for each turn.
    probes: Vec<Input>,
    /// Bytes in memory and open files after a quarter of the turns.
    early: (u64, usize),
    /// Turns that took longer than they should have.
    late: usize,
    seconds: f64,
}

/// Has two builds take turns, one every 300 ms, and asks for one event after each.
async fn take_turns(stage: &Stage, turns: usize) -> Result<Turns> {
    let every = Duration::from_millis(300);
    let builds = [named("a")?, named("b")?];
    let (mut probes, mut early, mut late) = (Vec::new(), (0, 0), 0);
    let started = Instant::now();
    for turn in 1..=turns {
        let begun = Instant::now();
        let bytes = builds.get(turn % 2).context("two builds")?;
        if turn % 5 == 0 {
            write_slowly(&stage.host, bytes).await?;
        } else {
            stage.host.put_plugin(FILE, bytes)?;
        }
        reloaded(&stage.host, turn).await?;
        let id = format!("probe-{turn}");
        let probe = Input::new(id.clone(), id, 0);
        publish(&stage.jetstream, std::slice::from_ref(&probe)).await?;
        probes.push(probe);
        if turn == turns / 4 {
            early = (stage.host.resident_bytes()?, stage.host.open_files()?);
        }
        late += usize::from(every < begun.elapsed());
        sleep(every.saturating_sub(begun.elapsed())).await;
    }
    Ok(Turns {
        probes,
        early,
        late,
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// Two builds take turns while events come in, and after each turn one event has to be handled
/// by the build that was put there last.
#[test]
fn builds_take_turns_under_load_and_nothing_is_lost() -> Result<()> {
    let (turns, share) = if environment::long() {
        (200, 0.99)
    } else {
        (40, 0.95)
    };
    within(240, async {
        let mut stage = Stage::with(&["stamp"], "").await?;
        let (stop, stopped) = watch::channel(false);
        let (inputs, taken) = tokio::join!(load(&stage.jetstream, stopped), async {
            let taken = take_turns(&stage, turns).await;
            stop.send_replace(true);
            taken
        });
        let (mut inputs, taken) = (inputs?, taken?);
        inputs.extend(taken.probes);
        stage.host.settled("stamp", 60).await?;
        let late = (stage.host.resident_bytes()?, stage.host.open_files()?);
        let metrics = stage.host.metrics().await?;
        let in_memory = metrics.sum("sluicegate_generations", &[("plugin", "stamp")])?;
        let pauses = "sluicegate_reload_pause_seconds_bucket";
        let short = metrics.sum(pauses, &[("le", "0.0064")])?;

        let verdict = Verdict::on(&inputs, &stage.last_echoes("stamp").await?);
        let stamps = stamps(&stage.jetstream).await?;
        let by_the_other = (1..=turns).filter(|turn| {
            let stamp = stamps.get(&format!("probe-{turn}")).map(String::as_str);
            stamp != ["a", "b"].get(turn % 2).copied()
        });
        let by_the_other = by_the_other.count();
        let figures = json!({
            "reloads": turns, "seconds": taken.seconds, "late": taken.late,
            "inputs": verdict.inputs, "outputs": verdict.outputs, "lost": verdict.lost.len(),
            "repeated": verdict.repeated.len(), "reordered": verdict.reordered.len(),
            "foreign": verdict.foreign.len(), "by_the_other_build": by_the_other,
            "pauses_under_6.4_ms": short, "builds_in_memory": in_memory,
            "resident_early": taken.early.0, "resident_late": late.0,
            "files_early": taken.early.1, "files_late": late.1,
        });
        environment::write_figures("hot_reload", &figures)?;
        verdict.clean()?;
        ensure!(by_the_other == 0, "{by_the_other} by the other build");
        ensure!(in_memory == 1.0, "{in_memory} builds are in memory");
        ensure!(share * turns as f64 <= short, "{short} short pauses");
        let (early, files) = taken.early;
        ensure!(late.0 < early + early / 4, "memory: {figures}");
        ensure!(late.1 <= files + 3, "open files: {figures}");
        Ok(())
    })
}

#[test]
fn what_cannot_be_loaded_leaves_what_runs_alone() -> Result<()> {
    within(90, async {
        let stage = Stage::with(&["stamp"], "").await?;
        runs(&stage.jetstream, "a").await?;
        let whole = named("b")?;
        stage.host.put_plugin(FILE, b"no component")?;
        refused(&stage.host, &[FILE, "not WebAssembly"]).await?;
        runs(&stage.jetstream, "a").await?;
        let wide = build(&[(
            "[capabilities]",
            "[delivery]\npartitions = 4\n[capabilities]",
        )])?;
        stage.host.put_plugin(FILE, &wide)?;
        refused(&stage.host, &["stamp", "partitions = 4", "divided into 1"]).await?;
        runs(&stage.jetstream, "a").await?;
        // Another file with the same plug-in.
        stage.host.put_plugin("other.wasm", &whole)?;
        refused(&stage.host, &["other.wasm", "stamp"]).await?;
        runs(&stage.jetstream, "a").await?;
        // As its error says: with the other one gone it runs, untouched.
        std::fs::remove_file(stage.host.plugins_dir().join(FILE))?;
        runs(&stage.jetstream, "b").await?;
        std::fs::rename(
            stage.host.plugins_dir().join("other.wasm"),
            stage.host.plugins_dir().join(FILE),
        )?;
        // The same build in another file is no other build.
        let folder = stage.host.plugins_dir();
        std::fs::rename(folder.join(FILE), folder.join("renamed.wasm"))?;
        until("the new name to be shown", 20, async || {
            let url = stage.broker.url();
            let shown = sluice(&["plugins", "--nats", &url]).await?.ok()?.stdout;
            ensure!(shown.contains("renamed.wasm"), "{shown}");
            Ok(())
        })
        .await?;
        reloaded(&stage.host, 1).await?;
        runs(&stage.jetstream, "b").await?;
        let (status, body) = stage.host.admin("/readyz").await?;
        ensure!(status == 200 && body.contains("\"refused\":{}"), "{body}");
        Ok(())
    })
}

#[test]
fn a_plug_in_comes_and_goes_with_its_file() -> Result<()> {
    within(90, async {
        let mut stage = Stage::with(&[], "").await?;
        let component = std::fs::read(environment::guest("stamp")?)?;
        publish(&stage.jetstream, &series("early", 3)).await?;
        stage.host.put_plugin(FILE, &component)?;
        runs(&stage.jetstream, "a").await?;
        std::fs::remove_file(stage.host.plugins_dir().join(FILE))?;
        until("the plug-in to end", 20, async || {
            let (_, body) = stage.host.admin("/readyz").await?;
            ensure!(body.contains("\"partitions\":{}"), "{body}");
            Ok(())
        })
        .await?;
        let meanwhile = series("meanwhile", 3);
        publish(&stage.jetstream, &meanwhile).await?;
        stage.host.put_plugin("renamed.wasm", &named("b")?)?;
        runs(&stage.jetstream, "b").await?;
        let mut inputs = series("early", 3);
        inputs.extend(meanwhile);
        let outputs = stage.last_echoes("stamp").await?;
        let outputs: Vec<_> = outputs
            .into_iter()
            .filter(|output| !output.input.starts_with("runs-"))
            .collect();
        Verdict::on(&inputs, &outputs).clean()
    })
}

#[test]
fn a_build_that_reads_or_orders_other_events_goes_on_where_the_last_one_was() -> Result<()> {
    within(90, async {
        let mut stage = Stage::with(&["stamp"], "").await?;
        let more = ("record.thing.*", "record.*.*");
        let strict = (
            "[capabilities]",
            "[delivery]\nordering = \"strict\"\n[capabilities]",
        );
        let builds = [vec![more], vec![more, strict], vec![]];
        let swap = async {
            for (turn, changes) in builds.iter().enumerate() {
                sleep(Duration::from_millis(300)).await;
                stage.host.put_plugin(FILE, &build(changes)?)?;
                reloaded(&stage.host, turn + 1).await?;
            }
            Ok(())
        };
        let (stop, stopped) = watch::channel(false);
        let (inputs, swapped) = tokio::join!(load(&stage.jetstream, stopped), async {
            let swapped: Result<()> = swap.await;
            stop.send_replace(true);
            swapped
        });
        swapped?;
        let inputs = inputs?;
        wait_echoes(&stage.jetstream, inputs.len(), 20).await?;
        Verdict::on(&inputs, &stage.last_echoes("stamp").await?).clean()
    })
}

#[test]
fn a_dead_letter_says_which_build_it_was() -> Result<()> {
    within(60, async {
        let stage = Stage::with(&["stamp"], "").await?;
        let next = build(&[("1.0.0", "2.0.0"), ("build = \"a\"", "build = \"b\"")])?;
        let fail = |n| Input::with_data(format!("f-{n}"), "f", n, json!({ "do": "fail" }));
        publish(&stage.jetstream, &[fail(0)]).await?;
        wait_dead_letters(&stage.jetstream, 1, 20).await?;
        stage.host.put_plugin(FILE, &next)?;
        reloaded(&stage.host, 1).await?;
        publish(&stage.jetstream, &[fail(1)]).await?;
        let letters = wait_dead_letters(&stage.jetstream, 2, 20).await?;
        let versions: Result<Vec<&str>> = letters
            .iter()
            .map(|letter| letter.header("Sluice-Plugin-Version"))
            .collect();
        ensure!(versions? == ["1.0.0", "2.0.0"], "{letters:?}");
        Ok(())
    })
}

#[test]
fn a_new_version_of_the_state_starts_clean_and_the_old_one_is_found_again() -> Result<()> {
    within(90, async {
        let stage = Stage::with(&["count"], "").await?;
        let component = std::fs::read(environment::guest("count")?)?;
        let words = manifest(&component)?;
        let second = words.replace("[subscribe]", "state_version = 2\n[subscribe]");
        let third = words.replace("[subscribe]", "state_version = 0\n[subscribe]");
        // As it stands in the ledger's subjects.
        let mut expected = [("total", 0_u64), ("%1F2%1Ftotal", 0)];
        for (round, (text, version, events)) in [
            (&words, 0, 3),
            (&second, 1, 2),
            (&words, 0, 4),
            (&second, 1, 1),
        ]
        .into_iter()
        .enumerate()
        {
            if 0 < round {
                let file = with_manifest(&component, text)?;
                stage.host.put_plugin("count.wasm", &file)?;
                until("the build to take over", 20, async || {
                    let metrics = stage.host.metrics().await?;
                    let reloads =
                        metrics.sum("sluicegate_reloads_total", &[("plugin", "count")])?;
                    ensure!(reloads == round as f64, "{reloads} reloads");
                    Ok(())
                })
                .await?;
            }
            publish(&stage.jetstream, &series(&format!("r{round}"), events)).await?;
            let (key, total) = expected.get_mut(version).context("two versions")?;
            *total += events;
            let (key, total) = (*key, total.to_string());
            until(&format!("{total} under {key}"), 20, async || {
                let found = state(&stage.jetstream, "count", key).await?;
                let found = found.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
                ensure!(found.as_deref() == Some(&*total), "{found:?}");
                Ok(())
            })
            .await?;
        }
        let wrong = with_manifest(&component, &third)?;
        stage.host.put_plugin("count.wasm", &wrong)?;
        refused(&stage.host, &["count.wasm", "state_version"]).await
    })
}

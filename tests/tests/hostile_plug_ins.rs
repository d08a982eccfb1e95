//! Promise: whatever a plug-in does, it costs an attempt of one delivery, or is refused at load,
//! and says what it was; the others go on.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sluicegate_tests::checks::Verdict;
use sluicegate_tests::component::{that_imports, with_manifest};
use sluicegate_tests::events::{publish, series};
use sluicegate_tests::guests::told;
use sluicegate_tests::module::{Body, Module, bomb, nested};
use sluicegate_tests::outputs::{count, echoes, state, wait_dead_letters, wait_echoes};
use sluicegate_tests::sluice::{sluice, sluice_with_input};
use sluicegate_tests::{Broker, Input, Setup, Stage, environment, until, within};
use tempfile::TempDir;
use tokio::time::Instant;

/// Memory that the host may have more of after all of it.
const SLACK: u64 = 300 << 20;

/// What is done, how the dead letter calls it, and a word of what it says.
const DAMAGE: [(&str, &str, &str); 23] = [
    ("recurse", "trap", "wasm trap"),
    ("reject much", "rejected", "xxx"),
    ("retry much", "exhausted", "xxx"),
    ("retry late", "exhausted", "never"),
    ("emit a gigabyte", "limit", "3145728 bytes"),
    ("emit many", "limit", "200 events"),
    ("emit a long attribute", "limit", "bytes of attributes"),
    ("emit many attributes", "limit", "extensions"),
    ("emit a long id", "limit", "bytes of attributes"),
    ("emit a header", "forbidden", "not a valid CloudEvent"),
    ("emit to a long subject", "limit", "255 are allowed"),
    ("emit to a wildcard", "forbidden", "not a subject"),
    ("emit to two lines", "forbidden", "not a subject"),
    ("emit to the ledger", "forbidden", "not a subject"),
    ("log a gigabyte", "rejected", "nothing stopped it"),
    ("log a million", "rejected", "nothing stopped it"),
    ("write a million", "limit", "200 state keys"),
    ("read a million", "limit", "1000 state keys"),
    ("a long key", "limit", "1 to 512 are allowed"),
    ("no key", "limit", "1 to 512 are allowed"),
    ("a big value", "limit", "921600 are allowed"),
    ("a key of all kinds", "trap", "and then it breaks"),
    ("keep all", "limit", "memory"),
];

#[test]
fn each_kind_of_damage_is_stopped_and_named() -> Result<()> {
    within(150, async {
        let stage = Stage::with(&["hostile", "emit_one"], "").await?;
        let before = stage.host.resident_bytes()?;
        let mut inputs: Vec<Input> = DAMAGE
            .iter()
            .enumerate()
            .map(|(n, (what, ..))| told(&format!("d{n}"), 0, what))
            .collect();
        inputs.push(told("last", 0, "break after emitting"));
        publish(&stage.jetstream, &inputs).await?;
        let letters = wait_dead_letters(&stage.jetstream, inputs.len(), 90).await?;
        ensure!(letters.len() == inputs.len(), "{} letters", letters.len());
        let mut wrong = String::new();
        for (n, (what, reason, word)) in DAMAGE.iter().enumerate() {
            let id = format!("d{n}-0");
            let mut found = letters.iter();
            let letter = found.find(|letter| letter.attribute("id").is_ok_and(|found| found == id));
            let letter = letter.with_context(|| format!("no letter of {what}"))?;
            let (found, error) = (
                letter.header("Sluice-Reason")?,
                letter.header("Sluice-Error")?,
            );
            let is_right = found == *reason && error.contains(word) && error.len() < 16 << 10;
            if letter.header("Sluice-Plugin")? != "hostile" || !is_right {
                let start = error.get(..200).unwrap_or(error);
                writeln!(wrong, "{what}: {found}: {} bytes: {start}", error.len())?;
            }
        }
        ensure!(wrong.is_empty(), "{wrong}");

        // The neighbour has handled all of it, and nothing that was staged is there.
        let outputs = wait_echoes(&stage.jetstream, inputs.len(), 20).await?;
        Verdict::on(&inputs, &outputs).clean()?;
        ensure!(
            state(&stage.jetstream, "hostile", "staged")
                .await?
                .is_none(),
            "state is there"
        );
        let all = count(&stage.jetstream, "EVENTS", "d365.>").await?;
        ensure!(all == 2 * inputs.len(), "{all} events");
        let after = stage.host.resident_bytes()?;
        ensure!(after < before + SLACK, "{before} bytes, then {after}");
        let log = stage.host.log()?;
        ensure!(log.len() < 8 << 20, "{} bytes of log", log.len());
        let longest = log.lines().map(str::len).max().unwrap_or_default();
        ensure!(longest < 64 << 10, "a line of {longest} bytes");

        // And it still works.
        publish(&stage.jetstream, &series("later", 3)).await?;
        wait_echoes(&stage.jetstream, inputs.len() + 6, 20).await?;
        Ok(())
    })
}

/// Has `sluice build` make a plug-in of a core module.
async fn made(folder: &TempDir, name: &str, module: &Module, more: &str) -> Result<Vec<u8>> {
    let path = |ending: &str| folder.path().join(format!("{name}.{ending}"));
    std::fs::write(path("core.wasm"), module.encode())?;
    std::fs::write(path("toml"), manifest_of(name, more))?;
    let texts = ["core.wasm", "toml", "wasm"].map(|ending| path(ending).display().to_string());
    let [core, manifest, out] = &texts;
    sluice(&[
        "build",
        "--module",
        core,
        "--manifest",
        manifest,
        "--out",
        out,
    ])
    .await?
    .ok()?;
    Ok(std::fs::read(out)?)
}

fn manifest_of(name: &str, more: &str) -> String {
    format!(
        "[plugin]\nname = {name:?}\nversion = \"1.0.0\"\n[subscribe]\n\
         subjects = [\"d365.custom.test.record.*.*\"]\n[delivery]\ntimeout = \"1s\"\n\
         [retry]\nmax_attempts = 2\ninitial = \"50ms\"\n{more}"
    )
}

#[test]
fn what_cannot_be_run_in_bounds_is_refused_at_load_and_says_why() -> Result<()> {
    within(150, async {
        let folder = TempDir::new()?;
        let spins = Module::of(Body::Answer).starting_with(Body::Spin);
        let spins = made(&folder, "spins", &spins, "").await?;
        let traps = Module::of(Body::Answer).starting_with(Body::Trap);
        let traps = made(&folder, "traps", &traps, "").await?;
        let plain = |bytes: Vec<u8>, name: &str| with_manifest(&bytes, &manifest_of(name, ""));
        let other = that_imports("evil:thing/door@1.0.0");
        let big = Module::of(Body::Answer).with_data(50 << 20);
        let big = made(&folder, "big", &big, "").await?;
        let files = [
            ("spins", spins, "does not start"),
            ("traps", traps, "does not start"),
            (
                "nothing",
                plain(that_imports("sluicegate:plugin/log@0.1.0"), "nothing")?,
                "no sluicegate:plugin/consumer@0.1.0",
            ),
            ("other", plain(other, "other")?, "evil:thing/door"),
            ("many", plain(bomb(400_000, 1), "many")?, "functions"),
            (
                "long",
                plain(bomb(1, 1 << 20), "long")?,
                "bytes in one function",
            ),
            ("fat", plain(bomb(60, 400 << 10), "fat")?, "bytes of code"),
            ("big", big, "limits.memory allows"),
            ("huge", vec![0; 65 << 20], "67108864 are allowed"),
        ];
        let broker = Broker::start().await?;
        let mut setup = Setup::new(broker.url()).guest("emit_one")?;
        for (name, bytes, _) in &files {
            setup = setup.file(&format!("{name}.wasm"), bytes.clone());
        }
        // Names that look like another's, or like a part of the ledger.
        let own = std::fs::read(environment::guest("emit_one")?)?;
        for (n, name) in ["ledger.x", "../up", "*", "Emit-One", "еmit-one", "out", ""]
            .iter()
            .enumerate()
        {
            let file = with_manifest(&own, &manifest_of(name, ""))?;
            setup = setup.file(&format!("name-{n}.wasm"), file);
        }
        let begun = Instant::now();
        let stage = Stage::of(broker, setup).await?;
        let took = begun.elapsed();
        ensure!(
            took < Duration::from_secs(40),
            "the host took {took:?} to start"
        );
        let (_, ready) = stage.host.admin("/readyz").await?;
        let ready: serde_json::Value = serde_json::from_str(&ready)?;
        let refused = ready.get("refused").and_then(serde_json::Value::as_object);
        let refused = refused.context("no refused")?;
        for (name, _, why) in &files {
            let file = format!("/{name}.wasm");
            let found = refused.iter().find(|(place, _)| place.ends_with(&file));
            let (_, error) =
                found.with_context(|| format!("{name} is not refused: {refused:?}"))?;
            ensure!(error.to_string().contains(why), "{name}: {error}");
        }
        let names = refused.keys().filter(|place| place.contains("/name-"));
        ensure!(names.count() == 7, "{refused:?}");
        publish(&stage.jetstream, &series("a", 5)).await?;
        wait_echoes(&stage.jetstream, 5, 20).await?;
        // And nothing of them is left in memory.
        let compiled = stage.host.resident_bytes()?;
        ensure!(compiled < 1 << 30, "{compiled} bytes");
        Ok(())
    })
}

#[test]
fn a_compiler_that_takes_too_much_is_ended() -> Result<()> {
    within(120, async {
        let verb = ["compile-component", "--seconds", "2"];
        let small = sluice_with_input(&verb, &nested(100)).await?.ok()?;
        ensure!(small.raw.starts_with(b"\x7fELF"), "machine code");
        // Memory enough that it is the time which ends it.
        let verb = [&verb[..], &["--memory", "20000000000"]].concat();
        let long = sluice_with_input(&verb, &nested(1_000_000)).await?;
        ensure!(long.code.is_none(), "not ended by a signal: {long:?}");
        // The allocator alone sets a gigabyte aside: there is room for a small one in this.
        let memory = ["compile-component", "--memory", "1100000000"];
        let small = sluice_with_input(&memory, &nested(100)).await?.ok()?;
        ensure!(small.raw.starts_with(b"\x7fELF"), "machine code");
        let much = sluice_with_input(&memory, &bomb(400_000, 1)).await?;
        ensure!(
            much.code.is_none() && much.raw.is_empty(),
            "not ended: {much:?}"
        );
        let wrong = sluice_with_input(&verb, b"no component").await?;
        wrong.refused(1, &["error:"])?;
        Ok(())
    })
}

#[test]
fn a_module_that_breaks_the_rules_of_its_calls_pays_with_attempts() -> Result<()> {
    within(120, async {
        let folder = TempDir::new()?;
        let modules = [
            ("grows-tables", Module::of(Body::GrowTable), ""),
            ("recurses", Module::of(Body::Recurse), "trap"),
            ("answers-nowhere", Module::of(Body::AnswerFrom(-8)), "trap"),
            (
                "answers-endlessly",
                Module::of(Body::AnswerWithLength(-1)),
                "trap",
            ),
            (
                "allocates-for-ever",
                Module::of(Body::Answer).allocating_with(Body::Spin),
                "timeout",
            ),
            (
                "allocates-nowhere",
                Module::of(Body::Answer).allocating_with(Body::AnswerFrom(-8)),
                "trap",
            ),
        ];
        let broker = Broker::start().await?;
        let mut setup = Setup::new(broker.url()).guest("emit_one")?;
        for (name, module, _) in &modules {
            let bytes = made(&folder, name, module, "").await?;
            setup = setup.file(&format!("{name}.wasm"), bytes);
        }
        let stage = Stage::of(broker, setup).await?;
        publish(&stage.jetstream, &series("a", 1)).await?;
        let broken = modules.iter().filter(|(_, _, reason)| !reason.is_empty());
        let broken: Vec<_> = broken.collect();
        let letters = wait_dead_letters(&stage.jetstream, broken.len(), 40).await?;
        for (name, _, reason) in broken {
            let mut found = letters.iter();
            let letter = found.find(|letter| letter.header("Sluice-Plugin").ok() == Some(name));
            let letter = letter.with_context(|| format!("no letter of {name}"))?;
            ensure!(
                letter.header("Sluice-Reason")? == *reason,
                "{name}: {:?}",
                letter.headers
            );
            ensure!(
                letter.header("Sluice-Attempts")? == "2",
                "{name}: {:?}",
                letter.headers
            );
        }
        // It was told that it has enough, and went on.
        until("the tables to be enough", 20, async || {
            let done = stage
                .host
                .metrics()
                .await?
                .outcomes("grows-tables", "done")?;
            ensure!(done == 1.0, "{done} done");
            Ok(())
        })
        .await?;
        ensure!(echoes(&stage.jetstream).await?.len() == 1, "the neighbour");
        Ok(())
    })
}

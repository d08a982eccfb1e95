//! Promise: what is wrong is said at once, with its place, and hurts nothing else.

use anyhow::{Context, Result, ensure};
use sluicegate_tests::component::{manifest, with_manifest, without_manifest};
use sluicegate_tests::events::{publish, series};
use sluicegate_tests::outputs::{count, wait_echoes};
use sluicegate_tests::sluice::{Said, sluice, sluice_with_input};
use sluicegate_tests::{Broker, Setup, Stage, environment, until, within};
use tempfile::TempDir;

/// Nothing listens there; a command that gets as far as connecting fails.
const NOWHERE: &str = "nats://127.0.0.1:9";

fn file(folder: &TempDir, name: &str, content: impl AsRef<[u8]>) -> Result<String> {
    let path = folder.path().join(name);
    std::fs::write(&path, content)?;
    Ok(path.to_string_lossy().into_owned())
}

#[test]
fn a_bad_config_is_told_with_file_line_and_key() -> Result<()> {
    within(60, async {
        let folder = TempDir::new()?;
        for (content, named) in [
            (
                "[host]\nplugin_dir = \"x\"\n",
                ["sluice.toml:2", "plugin_dir"],
            ),
            ("[hots]\nname = \"x\"\n", ["sluice.toml:1", "hots"]),
            (
                "\n\n[ledger]\nmode = \"perhaps\"\n",
                ["sluice.toml:4", "perhaps"],
            ),
            (
                "[host]\nshutdown_grace = \"soon\"\n",
                ["sluice.toml:2", "shutdown_grace"],
            ),
            (
                "[events]\nmax_bytes = \"many\"\n",
                ["sluice.toml:2", "max_bytes"],
            ),
            (
                "[admin]\nlisten = \"nowhere\"\n",
                ["sluice.toml:2", "listen"],
            ),
            (
                "[plugin.a]\n\ntimeuot = \"1s\"\n",
                ["sluice.toml:3", "timeuot"],
            ),
            (
                "[plugin.a]\nmax_attempts = 0\n",
                ["sluice.toml:2", "max_attempts"],
            ),
            (
                "[nats]\nurl = \"${SLUICE_TEST_NOT_SET}\"\n",
                ["sluice.toml:2", "SLUICE_TEST_NOT_SET"],
            ),
            ("[nats\n", ["sluice.toml:1", "sluice.toml"]),
            (
                "[[gateway.source]]\nenvironment = \"a\"\nkind = \"dataverse\"\n",
                ["sluice.toml:1", "auth"],
            ),
            (
                "[[gateway.source]]\nenvironment = \"a\"\nkind = \"sap\"\nauth = \"none-i-am-sure\"\n",
                ["sluice.toml:3", "sap"],
            ),
            (
                "[[gateway.source]]\nenvironment = \"../a\"\nkind = \"fno\"\nauth = \"none-i-am-sure\"\n",
                ["sluice.toml:2", "environment"],
            ),
            (
                "[[gateway.source]]\nenvironment = \"a\"\nkind = \"fno\"\nauth = \"none\"\n",
                ["sluice.toml:4", "none-i-am-sure"],
            ),
            (
                "[[gateway.source]]\nenvironment = \"a\"\nkind = \"fno\"\nauth = { query = \"code\", key = \"hunter2\" }\n",
                ["sluice.toml:4", "${"],
            ),
            (
                "[gateway]\ntls = { cert = \"a.pem\" }\n",
                ["sluice.toml:2", "key"],
            ),
        ] {
            let config = file(&folder, "sluice.toml", content)?;
            let said = sluice(&["run", "--config", &config])
                .await?
                .refused(2, &named);
            said.with_context(|| content.to_owned())?;
            let said = sluice(&["check", "--config", &config]).await?;
            ensure!(said.code != Some(0), "`check` finds nothing in {content:?}");
            let all = said.stdout + &said.stderr;
            ensure!(!all.contains("hunter2"), "a key is told: {all}");
            ensure!(named.iter().all(|part| all.contains(part)), "{all}");
        }
        let missing = folder
            .path()
            .join("absent.toml")
            .to_string_lossy()
            .into_owned();
        sluice(&["run", "--config", &missing])
            .await?
            .refused(2, &["absent.toml"])?;
        Ok(())
    })
}

/// A folder with `sluice.toml` and these plug-in files, for `sluice check`.
async fn check(plugins: Vec<(&str, Vec<u8>)>, sections: &str) -> Result<(Option<i32>, String)> {
    let mut setup = Setup::new(NOWHERE).with(sections);
    for (name, bytes) in plugins {
        setup = setup.file(name, bytes);
    }
    let host = setup.write()?;
    let config = host.config_path().to_string_lossy().into_owned();
    let Said {
        code,
        stdout,
        stderr,
        ..
    } = sluice(&["check", "--config", &config]).await?;
    ensure!(!stderr.contains("panicked at"), "it panicked: {stderr}");
    Ok((code, stdout + &stderr))
}

fn guest(name: &str) -> Result<Vec<u8>> {
    Ok(std::fs::read(environment::guest(name)?)?)
}

/// `emit_one` with lines added to a table of its manifest, or at its end.
fn remade(table: &str, lines: &str) -> Result<Vec<u8>> {
    let component = guest("emit_one")?;
    let old = manifest(&component)?;
    let new = match old.contains(table) {
        true => old.replacen(table, &format!("{table}\n{lines}"), 1),
        false => format!("{old}\n{table}\n{lines}\n"),
    };
    with_manifest(&component, &new)
}

#[test]
fn a_good_folder_passes_the_check() -> Result<()> {
    within(60, async {
        let (code, said) = check(
            vec![("a.wasm", guest("emit_one")?), ("b.wasm", guest("count")?)],
            "",
        )
        .await?;
        ensure!(code == Some(0), "{code:?}: {said}");
        Ok(())
    })
}

#[test]
fn every_bad_plug_in_is_named_by_the_check() -> Result<()> {
    within(90, async {
        let (code, said) = check(
            vec![
                ("good.wasm", guest("ok")?),
                (
                    "unknown-key.wasm",
                    remade("[delivery]", "orderign = \"key\"")?,
                ),
                ("bad-value.wasm", remade("[limits]", "memory = \"plenty\"")?),
                ("no-manifest.wasm", without_manifest(&guest("emit_one")?)?),
                ("text.wasm", b"this is no component".to_vec()),
                ("module.wasm", b"\0asm\x01\0\0\0".to_vec()),
                (
                    "cut.wasm",
                    guest("emit_one")?.into_iter().take(2_000).collect(),
                ),
                ("ungranted.wasm", guest("needs_state_ungranted")?),
            ],
            "",
        )
        .await?;
        ensure!(code == Some(1), "{code:?}: {said}");
        for named in [
            "unknown-key.wasm",
            "orderign",
            "bad-value.wasm",
            "plenty",
            "no-manifest.wasm",
            "text.wasm",
            "module.wasm",
            "cut.wasm",
            "ungranted.wasm",
            "sluicegate:plugin/state",
        ] {
            ensure!(said.contains(named), "{named} is not named:\n{said}");
        }
        Ok(())
    })
}

#[test]
fn the_operator_cannot_grant_more_than_was_asked_for() -> Result<()> {
    within(60, async {
        let more = "[plugin.emit-one]\nemit = [\"d365.>\"]";
        let (code, said) = check(vec![("a.wasm", guest("emit_one")?)], more).await?;
        ensure!(code == Some(1), "{code:?}: {said}");
        ensure!(
            said.contains("emit-one") && said.contains("d365.>"),
            "{said}"
        );
        Ok(())
    })
}

#[test]
fn two_plug_ins_of_one_name_are_refused() -> Result<()> {
    within(90, async {
        let twins = vec![
            ("one.wasm", guest("emit_one")?),
            ("two.wasm", guest("emit_one")?),
        ];
        let (code, said) = check(twins.clone(), "").await?;
        ensure!(code == Some(1), "{code:?}: {said}");
        for named in ["one.wasm", "two.wasm", "emit-one"] {
            ensure!(said.contains(named), "{named} is not named:\n{said}");
        }
        // Nor may they run side by side and do everything twice.
        let broker = Broker::start().await?;
        let mut setup = Setup::new(broker.url()).guest("ok")?;
        for (name, bytes) in twins {
            setup = setup.file(name, bytes);
        }
        let mut host = setup.write()?;
        host.spawn()?;
        host.wait_log(&["emit-one", "two.wasm"], 40).await?;
        let jetstream = broker.jetstream().await?;
        let inputs = series("k", 20);
        until("the streams to be there", 20, async || {
            publish(&jetstream, &inputs).await
        })
        .await?;
        until("the neighbour to be done", 20, async || {
            let done = host.metrics().await?.outcomes("ok", "done")?;
            ensure!(done == 20.0, "{done} done");
            Ok(())
        })
        .await?;
        let outputs = count(
            &jetstream,
            "EVENTS",
            "d365.custom.test.business.echo.raised.*",
        )
        .await?;
        ensure!(outputs <= 20, "{outputs} outputs of 20 events");
        Ok(())
    })
}

#[test]
fn one_bad_file_does_not_stop_the_others() -> Result<()> {
    within(60, async {
        let broker = Broker::start().await?;
        let setup = Setup::new(broker.url())
            .guest("emit_one")?
            .file("broken.wasm", b"\0asm broken".to_vec())
            .file("typo.wasm", remade("[limits]", "memroy = \"1MiB\"")?);
        let mut host = setup.write()?;
        host.spawn()?;
        host.wait_log(&["broken.wasm"], 40).await?;
        host.wait_log(&["typo.wasm", "memroy"], 10).await?;
        let jetstream = broker.jetstream().await?;
        let inputs = series("k", 5);
        until("the streams to be there", 20, async || {
            publish(&jetstream, &inputs).await
        })
        .await?;
        wait_echoes(&jetstream, inputs.len(), 20).await?;
        ensure!(host.runs()?, "the host ended");
        Ok(())
    })
}

#[test]
fn what_cannot_be_sent_is_refused_whole() -> Result<()> {
    within(90, async {
        let stage = Stage::with(&["ok"], "").await?;
        let url = stage.broker.url();
        let folder = TempDir::new()?;
        let good =
            std::fs::read_to_string(environment::own_fixture("fno-sales-order-invoiced.json"))?;
        let padding = format!("{{\"Padding\":\"{}\",", "x".repeat(2 * 1024 * 1024));
        let two_mb = good.replacen('{', &padding, 1);
        let third_is_bad = format!("{}\n{}\n{{\"a\":1}}\n", good.trim(), good.trim());
        let without_id =
            "{\"specversion\":\"1.0\",\"source\":\"/s\",\"type\":\"d365.custom.thing.update\"}";
        for (name, content, named) in [
            ("junk.json", "not json at all", "junk.json"),
            ("cut.json", "{\"MessageName\":\"Update\",", "cut.json"),
            ("other.json", "{\"a\":1}", "other.json"),
            ("number.json", "12", "number.json"),
            ("no-id.json", without_id, "no-id.json"),
            ("third.ndjson", third_is_bad.as_str(), "3"),
            ("large.json", two_mb.as_str(), "large.json"),
        ] {
            let path = file(&folder, name, content)?;
            let said = sluice(&["send", &path, "--nats", &url]).await?;
            said.refused(1, &[name, named])
                .with_context(|| name.to_owned())?;
        }
        let binary = file(&folder, "binary.json", [0xff, 0xfe, 0x00, b'\n', 0x80])?;
        sluice(&["send", &binary, "--nats", &url])
            .await?
            .refused(1, &["binary.json"])?;
        sluice(&["send", "absent.json", "--nats", &url])
            .await?
            .refused(1, &["absent.json"])?;
        let piped = sluice_with_input(&["send", "-", "--nats", &url], b"{").await?;
        piped.refused(1, &[])?;
        let good = file(&folder, "good.json", good)?;
        sluice(&["send", &good, "--nats", &url, "--origin", "mars"])
            .await?
            .refused(2, &["mars", "dataverse"])?;
        let sent = count(&stage.jetstream, "EVENTS", "d365.>").await?;
        ensure!(sent == 0, "{sent} events were sent all the same");

        // A bad file beside it does not spoil a good one for later.
        sluice(&["send", &good, "--nats", &url]).await?.ok()?;
        ensure!(
            count(&stage.jetstream, "EVENTS", "d365.>").await? == 1,
            "the good file was not sent"
        );
        Ok(())
    })
}

#[test]
fn what_is_no_plug_in_cannot_be_tested() -> Result<()> {
    within(60, async {
        let folder = TempDir::new()?;
        let event = environment::own_fixture("fno-sales-order-invoiced.json");
        let event = event.to_string_lossy();
        for (name, content) in [
            ("text.wasm", &b"no component"[..]),
            ("module.wasm", b"\0asm\x01\0\0\0"),
        ] {
            let path = file(&folder, name, content)?;
            sluice(&["test", &path, "--event", &event])
                .await?
                .refused(1, &[name])?;
        }
        let ok = environment::guest("ok")?;
        let junk = file(&folder, "junk.json", "not json")?;
        sluice(&["test", &ok.to_string_lossy(), "--event", &junk])
            .await?
            .refused(1, &["junk.json"])?;
        Ok(())
    })
}

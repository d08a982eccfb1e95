//! Promise: where signatures are wanted, nothing runs that no trusted key has signed, and where a
//! digest is pinned, nothing but that build.

use anyhow::{Context, Result, ensure};
use sluicegate_tests::component::{manifest, with_manifest};
use sluicegate_tests::sluice::sluice;
use sluicegate_tests::stamped::{build, file, named, refused, runs};
use sluicegate_tests::{Broker, Host, Setup, Stage, environment, within};
use tempfile::TempDir;

/// A folder with two keys in it, `ours` and `theirs`.
async fn keys() -> Result<TempDir> {
    let folder = TempDir::new()?;
    for name in ["ours", "theirs"] {
        let key = folder.path().join(name).display().to_string();
        sluice(&["sign", "--new-key", &key]).await?.ok()?;
    }
    Ok(folder)
}

/// Signs these bytes.
async fn signed(folder: &TempDir, key: &str, bytes: &[u8]) -> Result<Vec<u8>> {
    let plugin = folder.path().join("signed.wasm");
    std::fs::write(&plugin, bytes)?;
    let key = folder.path().join(key).display().to_string();
    let text = plugin.display().to_string();
    sluice(&["sign", &text, "--key", &key]).await?.ok()?;
    Ok(std::fs::read(plugin)?)
}

fn setup(broker: &Broker, folder: &TempDir) -> Result<Setup> {
    let public = std::fs::read(folder.path().join("ours.pub"))?;
    Ok(Setup::new(broker.url())
        .beside("ours.pub", public)
        .with("[plugins]\nrequire_signature = true\ntrusted_keys = [\"ours.pub\"]\n"))
}

#[test]
fn only_what_a_trusted_key_has_signed_is_run() -> Result<()> {
    within(120, async {
        let folder = keys().await?;
        let broker = Broker::start().await?;
        let good = signed(&folder, "ours", &named("a")?).await?;
        let setup = setup(&broker, &folder)?.file("stamp.wasm", good.clone());
        let stage = Stage::of(broker, setup).await?;
        runs(&stage.jetstream, "a").await?;
        let unsigned = named("b")?;
        let theirs = signed(&folder, "theirs", &unsigned).await?;
        let words = manifest(&good)?.replace("build = \"a\"", "build = \"c\"");
        let changed = with_manifest(&good, &words)?;
        for (bytes, why) in [
            (&unsigned, "is not signed"),
            (&theirs, "none of the trusted keys"),
            (&changed, "was changed after it was signed"),
        ] {
            stage.host.put_plugin("stamp.wasm", bytes)?;
            refused(&stage.host, &["stamp.wasm", why]).await?;
            runs(&stage.jetstream, "a").await?;
        }
        let next = signed(&folder, "ours", &unsigned).await?;
        stage.host.put_plugin("stamp.wasm", &next)?;
        runs(&stage.jetstream, "b").await?;

        // What is deployed is looked at in the same way, by each host.
        let url = stage.broker.url();
        let wrong = file(folder.path(), "d", &[])?;
        let said = sluice(&["deploy", &wrong, "--nats", &url]).await?;
        said.refused(1, &["host-1", "is not signed"])?;
        runs(&stage.jetstream, "b").await?;
        let right = signed(&folder, "ours", &named("e")?).await?;
        std::fs::write(&wrong, right)?;
        sluice(&["deploy", &wrong, "--nats", &url]).await?.ok()?;
        runs(&stage.jetstream, "e").await
    })
}

#[test]
fn sign_and_verify_say_whose_it_is() -> Result<()> {
    within(60, async {
        let folder = keys().await?;
        let path = |name: &str| folder.path().join(name).display().to_string();
        let plugin = path("plugin.wasm");
        std::fs::copy(environment::guest("stamp")?, &plugin)?;
        let unsigned = sluice(&["verify", &plugin]).await?;
        unsigned.refused(1, &["plugin.wasm", "is not signed"])?;
        let said = sluice(&["sign", &plugin, "--key", &path("ours")])
            .await?
            .ok()?;
        let key = said.stdout.split("signed by ").nth(1).context("no key")?;
        let key = key.split_whitespace().next().context("no key")?;
        ensure!(key.len() == "ed25519:".len() + 64, "{key}");
        let told = sluice(&["verify", &plugin]).await?.ok()?.stdout;
        ensure!(told.contains(key), "{told}");
        let ours = ["verify", &plugin, "--key", &path("ours.pub")];
        sluice(&ours).await?.ok()?;
        let theirs = sluice(&["verify", &plugin, "--key", &path("theirs.pub")]).await?;
        theirs.refused(1, &["none of the trusted keys"])?;
        let no_key = sluice(&["sign", &plugin, "--key", &plugin]).await?;
        no_key.refused(1, &["cannot be read as a private key"])?;
        let again = sluice(&["sign", "--new-key", &path("ours")]).await?;
        again.refused(1, &["ours cannot be made"])?;
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &std::fs::metadata(path("ours"))?.permissions(),
        );
        ensure!(mode & 0o077 == 0, "{mode:o}");
        Ok(())
    })
}

#[test]
fn a_digest_that_is_pinned_keeps_every_other_build_out() -> Result<()> {
    within(90, async {
        let broker = Broker::start().await?;
        let wanted = build(&[])?;
        let plugin = TempDir::new()?;
        let path = plugin.path().join("x.wasm");
        std::fs::write(&path, &wanted)?;
        let digest = sha256(&wanted);
        let pinned = format!("[plugin.stamp]\ndigest = \"{digest}\"\n");
        let setup = Setup::new(broker.url())
            .with(&pinned)
            .file("stamp.wasm", wanted);
        let stage = Stage::of(broker, setup).await?;
        runs(&stage.jetstream, "a").await?;
        stage.host.put_plugin("stamp.wasm", &named("b")?)?;
        refused(
            &stage.host,
            &["stamp.wasm", "the daemon's file has digest", &digest],
        )
        .await?;
        runs(&stage.jetstream, "a").await
    })
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(bytes);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

#[test]
fn a_host_that_could_trust_nobody_does_not_start() -> Result<()> {
    within(60, async {
        let folder = keys().await?;
        let broker = Broker::start().await?;
        for (words, why) in [
            ("require_signature = true", "without trusted_keys"),
            (
                "trusted_keys = [\"nowhere.pub\"]",
                "nowhere.pub cannot be read",
            ),
            (
                "trusted_keys = [\"private.pem\"]",
                "private.pem cannot be read as a public key",
            ),
        ] {
            let private = std::fs::read(folder.path().join("ours"))?;
            let setup = Setup::new(broker.url())
                .beside("private.pem", private)
                .with(&format!("[plugins]\n{words}\n"));
            let mut host: Host = setup.write()?;
            let (code, said) = sluicegate_tests::host::refused(&mut host).await?;
            ensure!(code == Some(2) && said.contains(why), "{code:?}: {said}");
        }
        Ok(())
    })
}

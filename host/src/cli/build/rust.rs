//! Takes a Rust plug-in's folder, gives the core module that cargo makes of it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

const TARGET: &str = "wasm32-unknown-unknown";
/// The module begins with a heap of 1 MiB, of which a page costs something once it is used: see
/// the SDK's allocator.
const HEAP: &str = "-Clink-arg=--initial-heap=1048576";

/// Runs cargo, and finds the core module among what it made.
pub(super) fn build(dir: &Path) -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["rustc", "--release", "--lib", "--target", TARGET])
        .arg("--message-format=json-render-diagnostics")
        .arg("--manifest-path")
        .arg(dir.join("Cargo.toml"))
        .args(["--", HEAP])
        .stderr(Stdio::inherit())
        .output()
        .context("cargo cannot be run; is Rust installed?")?;
    if !output.status.success() {
        bail!("cargo rustc failed; if the target is missing: rustup target add {TARGET}");
    }
    let manifest = dir.join("Cargo.toml").canonicalize()?;
    output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<Artifact>(line).ok())
        .filter(|artifact| Path::new(&artifact.manifest_path) == manifest)
        .flat_map(|artifact| artifact.filenames)
        .find(|file| {
            file.extension()
                .is_some_and(|extension| extension == "wasm")
        })
        .with_context(|| {
            format!(
                "cargo made no .wasm file; {} needs [lib] crate-type = [\"cdylib\"]",
                dir.join("Cargo.toml").display()
            )
        })
}

#[derive(serde::Deserialize)]
struct Artifact {
    manifest_path: String,
    filenames: Vec<PathBuf>,
}

//! Builds the consumers that the benchmark `dispatch` compares with, as far as they can be built.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::{build, program};
use crate::clock::Stopwatch;
use crate::layout::Layout;
use crate::run;

const WASM: &str = "wasm32-unknown-unknown";

/// Builds them with the profile `release`: what the benchmark finds in its environment. One that
/// cannot be built, for want of a registry above all, is told and is no error; its rows are left
/// out.
pub(crate) fn peers(layout: &Layout) -> Vec<(&'static str, PathBuf)> {
    let source = layout.root.join("tests/peers");
    let target = layout.target.join("peers");
    let consumer = |package: &str| {
        let target = target.to_str().context("the target folder is not text")?;
        let args = ["--release", "--package", package, "--target-dir", target];
        program(&build(&source, &args)?, package)
    };
    let guest = || {
        let mut cargo = run::cargo(&source.join("extism-guest"));
        cargo.args(["build", "--release", "--target", WASM, "--target-dir"]);
        run::plain(cargo.arg(&target))?;
        Ok(target.join(WASM).join("release/extism_guest.wasm"))
    };
    let ways: [(_, _, &dyn Fn() -> Result<PathBuf>); 3] = [
        ("SLUICE_PEER_NATIVE", "native", &|| consumer("native")),
        ("SLUICE_PEER_EXTISM_GUEST", "extism guest", &guest),
        // By itself, since it is heavy: it brings a Wasmtime of its own.
        ("SLUICE_PEER_EXTISM", "extism", &|| consumer("extism-peer")),
    ];
    ways.into_iter()
        .filter_map(|(variable, what, way)| {
            let watch = Stopwatch::start();
            match way() {
                Ok(path) => {
                    println!("  {what:<12} {}, {watch}", layout.short(&path));
                    Some((variable, path))
                }
                Err(error) => {
                    println!("  {what:<12} cannot be built, so it is not compared with: {error:#}");
                    None
                }
            }
        })
        .collect()
}

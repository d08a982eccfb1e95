//! Builds the consumers that benchmarks compare with, as far as they can be built.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::{build, program};
use crate::clock::Stopwatch;
use crate::layout::Layout;
use crate::run;

const WASM: &str = "wasm32-unknown-unknown";

/// What a benchmark finds in its environment.
type Found = (&'static str, PathBuf);

/// The native consumer, built with the profile `release`. Where it cannot be built, for want of a
/// registry above all, that is told and is no error.
pub(crate) fn native_peer(layout: &Layout) -> Option<Found> {
    let built = || consumer(layout, "native");
    told(layout, ("SLUICE_PEER_NATIVE", "native"), built)
}

/// The others that are compiled, in the same way; rows of one that is not there are left out.
pub(crate) fn peers(layout: &Layout) -> Vec<Found> {
    let guest = || {
        let source = layout.root.join("tests/peers/extism-guest");
        let target = layout.target.join("peers");
        let mut cargo = run::cargo(&source);
        cargo.args(["build", "--release", "--target", WASM, "--target-dir"]);
        run::plain(cargo.arg(&target))?;
        Ok(target.join(WASM).join("release/extism_guest.wasm"))
    };
    // By itself, since it is heavy: it brings a Wasmtime of its own.
    let extism = || consumer(layout, "extism-peer");
    let found = [
        told(layout, ("SLUICE_PEER_EXTISM_GUEST", "extism guest"), guest),
        told(layout, ("SLUICE_PEER_EXTISM", "extism"), extism),
    ];
    found.into_iter().flatten().collect()
}

fn consumer(layout: &Layout, package: &str) -> Result<PathBuf> {
    let target = layout.target.join("peers");
    let target = target.to_str().context("the target folder is not text")?;
    let args = ["--release", "--package", package, "--target-dir", target];
    let source = layout.root.join("tests/peers");
    program(&build(&source, &args)?, package)
}

fn told(
    layout: &Layout,
    (variable, what): (&'static str, &str),
    way: impl FnOnce() -> Result<PathBuf>,
) -> Option<Found> {
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
}

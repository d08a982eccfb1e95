//! An OpenTelemetry collector for the tests of traces. It is had if it can be.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::told;
use super::wheel::{Wheel, make_executable};
use crate::clock::Stopwatch;
use crate::layout::Layout;
use crate::run;

/// A collector in Rust, with the receiver that the host exports to.
const ROTEL: Wheel = Wheel {
    package: "rotel",
    version: "0.0.1a15",
    file: "rotel-0.0.1a15-cp311-cp311-manylinux_2_34_x86_64.whl",
    sha256: "2f4117e58410c933e0dc042a268ef738dab2e3a5d63b5831209acdac2a6ddcb7",
};
const PROGRAM: &str = "rotel/rotel-agent";

/// Looks for it, and fetches it when it is missing. Only tests want it, so that it cannot be had
/// is told and is no error.
pub(crate) fn ensure(layout: &Layout) -> Option<PathBuf> {
    let shown = |_: &Path| format!("rotel {}", ROTEL.version);
    let without = "traces are tested without one";
    told("collector", shown, without, found(layout)).ok()
}

fn found(layout: &Layout) -> Result<(PathBuf, String)> {
    let folder = format!("{}-{}", ROTEL.package, ROTEL.version);
    let own = layout.target.join("tools").join(folder);
    let program = own.join(PROGRAM);
    let mut how = "already there".to_owned();
    if !own.is_dir() {
        let watch = Stopwatch::start();
        let unpacked = ROTEL.fetch(layout)?;
        make_executable(&unpacked.folder().join(PROGRAM))?;
        fs::rename(unpacked.folder(), &own)
            .with_context(|| format!("could not make {}", own.display()))?;
        how = format!("fetched in {watch}");
    }
    // It is linked to the library of one version of Python.
    run::output(Command::new(&program).args(["start", "--help"]))?;
    Ok((program, how))
}

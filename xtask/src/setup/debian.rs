//! Programs that Debian's packages bring. What is on PATH is used as it is; else a package is
//! unpacked below `target/tools`, or, when it needs others beside it, installed.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::temp_folder::TempFolder;
use crate::clock::Stopwatch;
use crate::layout::Layout;
use crate::run;

/// One program, the package that brings it, and how.
pub(super) struct Program {
    /// What it may be called on PATH, the package's own name for it first.
    pub(super) names: &'static [&'static str],
    /// Debian's package. apt checks that it is the one that Debian signed.
    pub(super) package: &'static str,
    /// Whether the package is of use without those that it depends on.
    pub(super) alone: bool,
}

impl Program {
    /// Where it is, and how it came there. It was started once and told its version.
    ///
    /// # Errors
    /// When it is not there and its package cannot be had.
    pub(super) fn ensure(&self, layout: &Layout) -> Result<(PathBuf, String)> {
        if let Some(path) = self.on_path() {
            runs(&path)?;
            return Ok((path, "already there".to_owned()));
        }
        match self.alone {
            true => self.unpack(layout),
            false => self.install(),
        }
    }

    fn on_path(&self) -> Option<PathBuf> {
        let path = env::var_os("PATH")?;
        let mut places = self
            .names
            .iter()
            .flat_map(|name| env::split_paths(&path).map(move |folder| folder.join(name)));
        places.find(|path| path.is_file())
    }

    fn unpack(&self, layout: &Layout) -> Result<(PathBuf, String)> {
        let name = self.names.first().copied().unwrap_or(self.package);
        let (folder, how) = unpacked(layout, self.package, &[self.package])?;
        let program = folder.join("usr/bin").join(name);
        runs(&program)?;
        Ok((program, how))
    }

    fn install(&self) -> Result<(PathBuf, String)> {
        if !rustix::process::geteuid().is_root() {
            bail!(
                "{} is not on PATH, and only root can install Debian's package {}",
                self.names.join(" or "),
                self.package
            );
        }
        let watch = Stopwatch::start();
        with_newer_lists(|| {
            let mut install = apt()?;
            install.env("DEBIAN_FRONTEND", "noninteractive");
            install.args(["install", "-y", "--no-install-recommends", self.package]);
            run::output(&mut install)
        })?;
        let program = self
            .on_path()
            .with_context(|| format!("{} brought no {}", self.package, self.names.join(" or ")))?;
        runs(&program)?;
        Ok((program, format!("installed in {watch}")))
    }
}

/// The packages that Debian would install for one on this machine, the machine's own left out.
///
/// # Errors
/// When apt does not know it.
pub(super) fn needed(package: &str) -> Result<Vec<String>> {
    let listed = with_newer_lists(|| {
        let mut list = apt()?;
        list.args([
            "install",
            "-y",
            "--no-install-recommends",
            "--print-uris",
            package,
        ]);
        run::output(&mut list)
    })?;
    // 'address' name_version_architecture.deb bytes digest
    let files = listed.lines().filter_map(|line| line.split(' ').nth(1));
    let names = files.filter_map(|file| Some(file.split_once('_')?.0.to_owned()));
    Ok(names.collect())
}

/// A folder `target/tools/<name>` with what these packages hold, and how it came there.
/// Nothing of the system is changed, no service is started, and nobody need be root.
///
/// # Errors
/// When one cannot be had.
pub(super) fn unpacked(
    layout: &Layout,
    name: &str,
    packages: &[&str],
) -> Result<(PathBuf, String)> {
    let tools = layout.target.join("tools");
    let own = tools.join(name);
    if own.is_dir() {
        return Ok((own, "already there".to_owned()));
    }
    let watch = Stopwatch::start();
    let folder = TempFolder::make(&tools, name)?;
    with_newer_lists(|| {
        let mut download = apt()?;
        download.current_dir(folder.path());
        download.arg("download").args(packages);
        run::output(&mut download)
    })?;
    let found: Vec<PathBuf> = fs::read_dir(folder.path())?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|found| found == "deb"))
        .collect();
    if found.len() != packages.len() {
        bail!(
            "apt-get left {} packages of {}",
            found.len(),
            packages.len()
        );
    }
    let together = folder.path().join("unpacked");
    for package in &found {
        let mut unpack = Command::new("dpkg-deb");
        run::output(unpack.arg("-x").arg(package).arg(&together))?;
    }
    // In one step, so that nobody ever sees half of it.
    fs::rename(&together, &own).with_context(|| format!("could not make {}", own.display()))?;
    Ok((own, format!("fetched in {watch}")))
}

/// Tries a second time after apt has looked at what there is by now: a fresh machine knows no
/// package, and an old one knows versions that are gone.
fn with_newer_lists(mut attempt: impl FnMut() -> Result<String>) -> Result<String> {
    let first = match attempt() {
        Ok(said) => return Ok(said),
        Err(error) => error,
    };
    match run::output(apt()?.arg("update")) {
        Ok(_) => attempt(),
        Err(_) => Err(first),
    }
}

fn apt() -> Result<Command> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut places = env::split_paths(&path).map(|folder| folder.join("apt-get"));
    let apt = places.find(|path| path.is_file());
    let mut apt = Command::new(apt.context("it is not on PATH, and there is no apt-get")?);
    apt.arg("-qq");
    Ok(apt)
}

fn runs(program: &PathBuf) -> Result<()> {
    run::output(Command::new(program).arg("--version")).map(|_| ())
}

//! Packages of npm's registry: those of a lock file, with its hashes, in a folder of their own.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::clock::Stopwatch;
use crate::layout::Layout;
use crate::run;

const LOCK: &str = "package-lock.json";

/// What npm is to install, and by which of its files one sees that it did.
pub(super) struct Packages {
    /// The folder below `target/tools`.
    pub(super) folder: &'static str,
    /// Where the files are that npm reads.
    pub(super) source: &'static str,
    /// Each of them there, and what npm calls it.
    pub(super) files: [(&'static str, &'static str); 3],
    /// A file in the folder that is there afterwards.
    pub(super) wanted: &'static str,
}

impl Packages {
    /// Installs them, unless what the lock file asks for is there already: where the wanted
    /// file is, and how it came there.
    ///
    /// # Errors
    /// When there is no npm or no registry, or a package is not the one in the lock file.
    pub(super) fn ensure(&self, layout: &Layout) -> Result<(PathBuf, String)> {
        let source = layout.root.join(self.source);
        let own = layout.target.join("tools").join(self.folder);
        let wanted = own.join(self.wanted);
        let lock = fs::read(self.lock(&source)?)?;
        // Written last: what it says is there whole.
        let installed = own.join("installed");
        if fs::read(&installed).is_ok_and(|found| found == lock) && wanted.exists() {
            return Ok((wanted, "already there".to_owned()));
        }
        let watch = Stopwatch::start();
        fs::create_dir_all(&own)?;
        for (file, name) in self.files {
            fs::copy(source.join(file), own.join(name))
                .with_context(|| format!("could not copy {file}"))?;
        }
        let npm = env::var_os("NPM").unwrap_or_else(|| "npm".into());
        let mut npm = Command::new(npm);
        npm.current_dir(&own);
        // Nothing of what it brings is run while it is installed.
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
        run::output(&mut npm)?;
        if !wanted.exists() {
            bail!("npm left no {}", wanted.display());
        }
        fs::write(&installed, lock)?;
        Ok((wanted, format!("installed in {watch}")))
    }

    fn lock(&self, source: &Path) -> Result<PathBuf> {
        let lock = self.files.iter().find(|(_, name)| *name == LOCK);
        let (file, _) = lock.context("no lock file among them")?;
        Ok(source.join(file))
    }
}

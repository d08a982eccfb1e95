//! A folder below `target/tools` for what is being fetched; gone when dropped.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// One such folder, of this process alone.
pub(super) struct TempFolder(PathBuf);

impl TempFolder {
    pub(super) fn make(parent: &Path, what: &str) -> Result<Self> {
        let path = parent.join(format!("fetching-{what}-{}", std::process::id()));
        fs::create_dir_all(&path)
            .with_context(|| format!("could not make the folder {}", path.display()))?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        // Left behind it is only a few megabytes below target/.
        let _ = fs::remove_dir_all(&self.0);
    }
}

//! Where things are: the repository and its target folder.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::run;

/// The folders that every verb works in.
pub(crate) struct Layout {
    /// The repository: the folder of the workspace's `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// Cargo's target folder; everything that xtask makes goes below it.
    pub(crate) target: PathBuf,
}

impl Layout {
    /// Asks cargo, which knows about `CARGO_TARGET_DIR` and configuration files.
    pub(crate) fn find() -> Result<Self> {
        let mut metadata = run::cargo(Path::new("."));
        metadata.args(["metadata", "--no-deps", "--format-version", "1"]);
        let facts: Value = serde_json::from_str(&run::output(&mut metadata)?)?;
        let folder = |name: &str| {
            facts
                .get(name)
                .and_then(Value::as_str)
                .map(PathBuf::from)
                .with_context(|| format!("`cargo metadata` names no {name}"))
        };
        Ok(Self {
            root: folder("workspace_root")?,
            target: folder("target_directory")?,
        })
    }

    /// A path as a person in the repository's folder would write it.
    pub(crate) fn short<'a>(&self, path: &'a Path) -> std::path::Display<'a> {
        path.strip_prefix(&self.root).unwrap_or(path).display()
    }
}

//! Takes nothing, gives the files that `sluice` writes into the folders of plug-ins: templates,
//! the SDKs, the WIT.

use std::fs;
use std::path::Path;

use anyhow::Context;
use include_dir::{Dir, include_dir};

/// What `sluice new` begins with, a folder for each language and one for all.
pub(super) static TEMPLATES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/templates");
/// The SDKs of all languages.
pub(super) static SDK: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../guest-sdk");
/// The sources of a crate that the Rust SDK stands on; beside them are fuzz targets and what they
/// have found, which is nothing to give away.
pub(super) static D365: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../d365/src");
/// And its manifest.
pub(super) const D365_MANIFEST: &str = include_str!("../../../d365/Cargo.toml");
/// The rules of sagas, which the Rust SDK runs in tests,
pub(super) static SAGA: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../saga/src");
/// and their manifest.
pub(super) const SAGA_MANIFEST: &str = include_str!("../../../saga/Cargo.toml");
/// The contract between host and plug-in.
pub(super) static WIT: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../wit");

/// Writes what is in a folder, but for the parts named, which are paths inside it.
pub(super) fn unpack(from: &Dir<'_>, without: &[&str], to: &Path) -> anyhow::Result<()> {
    let inside = |path: &Path| path.strip_prefix(from.path()).unwrap_or(path).to_owned();
    for file in from.files() {
        write(&to.join(inside(file.path())), file.contents())?;
    }
    for folder in from.dirs() {
        let name = inside(folder.path());
        let is_left_out = without.iter().any(|left_out| Path::new(left_out) == name);
        let is_made = name.ends_with("__pycache__") || name.ends_with("target");
        if !is_left_out && !is_made {
            unpack(folder, without, &to.join(name))?;
        }
    }
    Ok(())
}

/// Writes a file and the folders above it. One that is there with these bytes stays as it is, so
/// that what is built of it need not be built again.
pub(super) fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    if fs::read(path).is_ok_and(|found| found == bytes) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)
            .with_context(|| format!("{} cannot be made", folder.display()))?;
    }
    fs::write(path, bytes).with_context(|| format!("{} cannot be written", path.display()))
}

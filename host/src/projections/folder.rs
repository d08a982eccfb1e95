//! Takes a projection's name, gives its folder: which files are its versions, and their components.
//!
//! `versions.json` says what answers and what is being built; it is changed by a rename, so that at
//! every moment it is the old one or the new one. What it does not name is of nobody, and goes at
//! the start.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::store::Error;
use super::store::sqlite::remove;
use crate::plugin::generation::Generation;

const VERSIONS: &str = "versions.json";
/// Digits of a digest that a file's name has.
const DIGITS: usize = 12;

/// A version, as it is written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Named {
    /// What its files are called.
    pub(super) id: String,
    /// `sha256:<hex>` of its build.
    pub(super) digest: String,
    /// The values that it was built with.
    pub(super) config: BTreeMap<String, String>,
}

impl Named {
    /// Whether this build, with these values, makes the same rows.
    pub(super) fn is_of(&self, build: &Generation) -> bool {
        self.digest == build.digest() && self.config == build.manifest().config
    }
}

/// What there is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Written {
    /// What answers.
    pub(super) current: Option<Named>,
    /// What is to take its place.
    pub(super) building: Option<Named>,
    /// Counts the versions that there were.
    pub(super) runs: u64,
}

impl Written {
    /// A name for a new version of this build.
    pub(super) fn name(&mut self, build: &Generation) -> Named {
        self.runs += 1;
        let digest = build.digest();
        let digits = digest.strip_prefix("sha256:").unwrap_or(digest);
        let digits = digits.get(..DIGITS).unwrap_or(digits);
        Named {
            id: format!("{digits}-{}", self.runs),
            digest: digest.to_owned(),
            config: build.manifest().config.clone(),
        }
    }
}

/// The folder of one projection.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes it.
    pub(super) fn open(data_dir: &Path, name: &str) -> Result<Self, Error> {
        let path = data_dir.join("projections").join(name);
        let made = std::fs::create_dir_all(&path);
        made.map_err(disk(&path))?;
        Ok(Self { path })
    }

    pub(super) fn read(&self) -> Result<Written, Error> {
        let path = self.path.join(VERSIONS);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Written::default());
            }
            Err(error) => return Err(disk(&path)(error)),
        };
        let written = serde_json::from_slice(&text);
        written.map_err(|error| disk(&path)(error.into()))
    }

    /// From here on that is what there is.
    pub(super) fn write(&self, written: &Written) -> Result<(), Error> {
        let path = self.path.join(VERSIONS);
        // The types have no way to fail.
        let text = serde_json::to_vec_pretty(written).unwrap_or_default();
        self.put(&path, &text)
    }

    pub(super) fn database(&self, named: &Named) -> PathBuf {
        self.path.join(format!("{}.sqlite", named.id))
    }

    fn component_path(&self, named: &Named) -> PathBuf {
        self.path.join(format!("{}.wasm", named.id))
    }

    /// The bytes of its build.
    pub(super) fn component(&self, named: &Named) -> Result<Vec<u8>, Error> {
        let path = self.component_path(named);
        std::fs::read(&path).map_err(disk(&path))
    }

    /// Keeps the bytes of its build, for when nobody else has them any more.
    pub(super) fn keep_component(&self, named: &Named, bytes: &[u8]) -> Result<(), Error> {
        let path = self.component_path(named);
        let length = std::fs::metadata(&path).map(|metadata| metadata.len());
        if length.is_ok_and(|length| length == bytes.len() as u64) {
            return Ok(());
        }
        self.put(&path, bytes)
    }

    pub(super) fn forget_component(&self, named: &Named) {
        // What stays is taken away at the next start.
        let _ = std::fs::remove_file(self.component_path(named));
    }

    /// Takes away what `written` does not name.
    pub(super) fn tidy(&self, written: &Written) {
        let named: Vec<&str> = written
            .current
            .iter()
            .chain(&written.building)
            .map(|named| named.id.as_str())
            .collect();
        let Ok(entries) = std::fs::read_dir(&self.path) else {
            return;
        };
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let Some((id, rest)) = name.split_once('.') else {
                continue;
            };
            if !named.contains(&id) && (rest.starts_with("sqlite") || rest == "wasm") {
                tracing::info!(file = %path.display(), "a file that no version has goes");
                remove(&path);
            }
        }
    }

    fn put(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        let write = || {
            let mut file = tempfile::NamedTempFile::new_in(&self.path)?;
            file.write_all(bytes)?;
            file.as_file().sync_all()?;
            file.persist(path).map_err(|error| error.error)?;
            std::fs::File::open(&self.path)?.sync_all()
        };
        write().map_err(disk(path))
    }
}

fn disk(path: &Path) -> impl Fn(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Disk {
        path: path.clone(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(id: &str) -> Named {
        Named {
            id: id.to_owned(),
            digest: "sha256:00".to_owned(),
            config: BTreeMap::new(),
        }
    }

    #[test]
    fn what_nobody_names_goes_and_the_rest_stays() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path(), "p").unwrap();
        assert_eq!(folder.read().unwrap(), Written::default());
        let written = Written {
            current: Some(named("aa-1")),
            building: Some(named("bb-2")),
            runs: 2,
        };
        folder.write(&written).unwrap();
        assert_eq!(folder.read().unwrap(), written);
        for id in ["aa-1", "bb-2", "aa-3"] {
            std::fs::write(folder.database(&named(id)), "x").unwrap();
            folder.keep_component(&named(id), b"y").unwrap();
        }
        folder.tidy(&written);
        assert!(folder.database(&named("aa-1")).exists());
        assert_eq!(folder.component(&named("bb-2")).unwrap(), b"y");
        assert!(!folder.database(&named("aa-3")).exists());
        assert!(folder.component(&named("aa-3")).is_err());
        assert!(folder.read().is_ok());
    }
}

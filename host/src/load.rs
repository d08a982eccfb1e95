//! Takes the folder of plug-ins, gives a generation for each file, or why not.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::{self, Config};
use crate::manifest::{self, Manifest};
use crate::plugin::engine::Engine;
use crate::plugin::generation::{self, Generation};
use crate::plugin::package;

/// Why a file is not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file or the folder cannot be read.
    #[error("cannot be read")]
    Read(#[source] std::io::Error),
    /// Not a plug-in at all.
    #[error(transparent)]
    Package(#[from] package::Error),
    /// Its manifest is wrong.
    #[error(transparent)]
    Manifest(#[from] manifest::Error),
    /// The operator's file does not fit it.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// It asks for what this host cannot do yet.
    #[error("the manifest uses {0}, which this version of the host does not have yet")]
    NotYet(&'static str),
    /// Its component cannot be run.
    #[error(transparent)]
    Generation(#[from] generation::Error),
    /// Another file has the same name; neither runs, since it is not clear which is meant.
    #[error("its plug-in is called {name:?}, and so is that of {}; remove one", other.display())]
    SameName {
        /// The plug-in's name.
        name: String,
        /// The other file.
        other: PathBuf,
    },
}

/// One file of the folder, and what came of it.
pub struct Loaded {
    /// The file.
    pub file: PathBuf,
    /// The plug-in, or what is wrong.
    pub result: Result<Arc<Generation>, Error>,
}

/// Loads every `*.wasm` of the folder; one that fails leaves the others alone. Compiles, so
/// it takes seconds: not on a runtime thread.
pub fn folder(engine: &Arc<Engine>, config: &Config) -> Result<Vec<Loaded>, Error> {
    let mut read = Vec::new();
    let mut names: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for file in components(&config.host.plugins_dir)? {
        let content = open(&file, config);
        if let Ok((_, manifest)) = &content {
            let files = names.entry(manifest.name.clone()).or_default();
            files.push(file.clone());
        }
        read.push((file, content));
    }
    let load = |(file, content): (PathBuf, Result<(Vec<u8>, Manifest), Error>)| {
        let result = content.and_then(|(bytes, manifest)| {
            let same = names.get(&manifest.name);
            if let Some(other) = same.and_then(|files| files.iter().find(|other| **other != file)) {
                return Err(Error::SameName {
                    name: manifest.name,
                    other: other.clone(),
                });
            }
            Ok(Arc::new(Generation::load(engine, &bytes, manifest)?))
        });
        Loaded { file, result }
    };
    Ok(read.into_iter().map(load).collect())
}

/// Reads one file and its manifest, with the operator's words applied.
pub fn open(file: &Path, config: &Config) -> Result<(Vec<u8>, Manifest), Error> {
    let bytes = std::fs::read(file).map_err(Error::Read)?;
    let text = package::manifest_text(&bytes)?;
    let manifest = manifest::parse(&text, &format!("{}:plugin.toml", file.display()))?;
    let manifest = config.apply(manifest)?;
    check_supported(&manifest)?;
    Ok((bytes, manifest))
}

/// What the manifest may say but this host does not do: refused, never ignored.
fn check_supported(manifest: &Manifest) -> Result<(), Error> {
    if manifest.subscribe.filter.is_some() {
        return Err(Error::NotYet("subscribe.where"));
    }
    if !manifest.capabilities.http.is_empty() {
        return Err(Error::NotYet("capabilities.http"));
    }
    if !manifest.capabilities.secrets.is_empty() {
        return Err(Error::NotYet("capabilities.secrets"));
    }
    Ok(())
}

fn components(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(Error::Read)? {
        let path = entry.map_err(Error::Read)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "wasm")
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

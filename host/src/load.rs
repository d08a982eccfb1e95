//! Takes a plug-in's file, gives its bytes and its manifest, the operator's words applied, or why it is not run.

use std::path::{Path, PathBuf};

use crate::config::{self, Config};
use crate::manifest::{self, Manifest};
use crate::plugin::bounds::MAX_FILE;
use crate::plugin::generation;
use crate::plugin::package;
use crate::plugin::signature;

/// Why a file is not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file or the folder cannot be read.
    #[error("cannot be read")]
    Read(#[source] std::io::Error),
    /// Not even read.
    #[error("the file has {0} bytes; {MAX_FILE} are allowed")]
    TooBig(u64),
    /// Not a plug-in at all.
    #[error(transparent)]
    Package(#[from] package::Error),
    /// Nobody who is trusted has signed it.
    #[error(transparent)]
    Signature(#[from] signature::Error),
    /// The operator wants another build.
    #[error("the build is {found}, and the daemon's file has digest = {pinned:?} for it")]
    NotPinned {
        /// This build.
        found: String,
        /// The one that is wanted.
        pinned: String,
    },
    /// Its manifest is wrong.
    #[error(transparent)]
    Manifest(#[from] manifest::Error),
    /// The operator's file does not fit it.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// It asks for what this host cannot do yet.
    #[error("the manifest uses {0}, which this version of the host does not have yet")]
    NotYet(&'static str),
    /// It is to use a secret that nobody has told this host.
    #[error("the manifest asks for the secret {0:?}, and the daemon's file has no [secret.{0}]")]
    NoSecret(String),
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

/// Reads one file and its manifest, with the operator's words applied.
pub fn open(file: &Path, config: &Config) -> Result<(Vec<u8>, Manifest), Error> {
    let length = std::fs::metadata(file).map_err(Error::Read)?.len();
    if (MAX_FILE as u64) < length {
        return Err(Error::TooBig(length));
    }
    let bytes = std::fs::read(file).map_err(Error::Read)?;
    let manifest = manifest(&bytes, &file.display().to_string(), config)?;
    Ok((bytes, manifest))
}

/// The manifest of a component from `place`, with the operator's words applied.
pub fn manifest(bytes: &[u8], place: &str, config: &Config) -> Result<Manifest, Error> {
    let manifest = trusted(bytes, place, config)?;
    let words = config.overrides_for(&manifest.name);
    if let Some(pinned) = words.and_then(|words| words.digest.clone()) {
        let found = package::digest(bytes);
        if found != pinned {
            return Err(Error::NotPinned { found, pinned });
        }
    }
    let manifest = config.apply(manifest)?;
    check_supported(&manifest)?;
    Ok(manifest)
}

/// The manifest of a component that sagas began with, with the operator's words applied. It need not
/// be the build that is pinned now; it has to be signed as that has.
pub fn manifest_of_saga(bytes: &[u8], place: &str, config: &Config) -> Result<Manifest, Error> {
    Ok(config.apply(trusted(bytes, place, config)?)?)
}

/// The author's words, where whoever signed them is trusted.
fn trusted(bytes: &[u8], place: &str, config: &Config) -> Result<Manifest, Error> {
    if config.trust.require_signature {
        signature::check(bytes, &config.trust.keys)?;
    }
    let text = package::manifest_text(bytes)?;
    Ok(manifest::parse(&text, &format!("{place}:plugin.toml"))?)
}

/// What the manifest may say but this host does not do: refused, never ignored.
fn check_supported(manifest: &Manifest) -> Result<(), Error> {
    if manifest.subscribe.filter.is_some() {
        return Err(Error::NotYet("subscribe.where"));
    }
    Ok(())
}

/// Whether this host has the secrets that the plug-in is to use.
pub fn check_secrets(manifest: &Manifest, config: &Config) -> Result<(), Error> {
    let mut secrets = manifest.capabilities.secrets.iter();
    match secrets.find(|name| !config.secrets.contains_key(*name)) {
        Some(name) => Err(Error::NoSecret(name.clone())),
        None => Ok(()),
    }
}

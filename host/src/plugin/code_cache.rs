//! Takes a component's bytes, gives it compiled: as it was compiled before, or anew.
//!
//! Machine code that is loaded is run, so what stands in the folder is trusted only with a MAC
//! over all of it, by a key that this host made and nobody else can read. What does not have
//! one (another key, a torn write, a changed byte) is compiled anew and takes its place.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::compiler::Compiler;
use super::package;

const KEY: &str = "key";
const KEY_BYTES: usize = 32;
const MAC_BYTES: usize = 32;
const EXTENSION: &str = "code";
/// Those that were not used for the longest time go beyond so many bytes. All that a host runs
/// has to fit with room to spare: with one too many, each that is compiled would push out one that
/// the same start comes to later.
const MAX_BYTES: u64 = 8 << 30;

/// A folder of compiled components.
pub struct CodeCache {
    folder: PathBuf,
    key: hmac::Key,
    compiler: Option<Compiler>,
    max_bytes: u64,
}

impl CodeCache {
    /// Opens the folder, which nobody but this user may look into, and its key.
    ///
    /// # Errors
    /// When one of them cannot be made or read.
    pub fn open(folder: PathBuf) -> io::Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)?;
        let key = hmac::Key::new(HMAC_SHA256, &key(&folder.join(KEY))?);
        Ok(Self {
            folder,
            key,
            compiler: None,
            max_bytes: MAX_BYTES,
        })
    }

    /// The folder, with a process for what is compiled anew.
    #[must_use]
    pub fn with_compiler(mut self, compiler: Option<Compiler>) -> Self {
        self.compiler = compiler;
        self
    }

    /// The component, compiled for this engine.
    pub(super) fn compiled(&self, engine: &Engine, bytes: &[u8]) -> wasmtime::Result<Component> {
        let name = name(engine, bytes);
        let file = self.folder.join(format!("{name}.{EXTENSION}"));
        if let Some(component) = self.load(engine, &name, &file) {
            return Ok(component);
        }
        let code = match &self.compiler {
            Some(compiler) => compiler.compile(bytes)?,
            None => engine.precompile_component(bytes)?,
        };
        if let Err(error) = self.store(&name, &file, &code) {
            let file = file.display();
            tracing::warn!(%file, %error, "the compiled plug-in was not kept; the next start compiles it again");
        }
        made_here(engine, &code)
    }

    /// None when it is not there, or not as this host wrote it.
    fn load(&self, engine: &Engine, name: &str, file: &Path) -> Option<Component> {
        let content = fs::read(file).ok()?;
        let (mac, code) = content.split_at_checked(MAC_BYTES)?;
        if hmac::verify(&self.key, &message(name, code), mac).is_err() {
            let file = file.display();
            tracing::warn!(%file, "a compiled plug-in is not as this host wrote it: compiled anew");
            return None;
        }
        let component = made_here(engine, code);
        if component.is_ok()
            && let Ok(used) = fs::File::open(file)
        {
            // Those that were not used for the longest time go first; it is no more than a hint.
            let _ = used.set_modified(SystemTime::now());
        }
        component.ok()
    }

    fn store(&self, name: &str, file: &Path, code: &[u8]) -> io::Result<()> {
        let mac = hmac::sign(&self.key, &message(name, code));
        let mut new = tempfile::NamedTempFile::new_in(&self.folder)?;
        new.write_all(mac.as_ref())?;
        new.write_all(code)?;
        new.persist(file).map_err(|error| error.error)?;
        self.prune()
    }

    fn prune(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == EXTENSION)
            {
                let file = fs::metadata(&path)?;
                files.push((file.modified()?, file.len(), path));
            }
        }
        files.sort();
        let mut bytes = 0;
        for (_, length, path) in files.iter().rev() {
            bytes += length;
            if self.max_bytes < bytes {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

/// The component of machine code that this host made: now, or before, as its MAC says.
#[expect(
    unsafe_code,
    reason = "machine code can be trusted only by who made it: see below"
)]
fn made_here(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: deserialize asks for what `Engine::precompile_component` gave, unchanged. It gave
    // these very bytes, already in memory: in this process or one that this one has started for
    // it, or, as the MAC says, to a process that had the key, under the name that is a hash of
    // the component and of the engine's settings.
    unsafe { Component::deserialize(engine, code) }
}

/// The MAC covers the name too: a file that is moved over another is noticed.
fn message(name: &str, code: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(name.len() + code.len());
    message.extend_from_slice(name.as_bytes());
    message.extend_from_slice(code);
    message
}

/// A hash of the component, and of everything about the engine that its code depends on.
fn name(engine: &Engine, bytes: &[u8]) -> String {
    let mut settings = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut settings);
    let digest = package::digest(bytes).replace(':', "-");
    format!("{digest}-{:016x}", settings.finish())
}

/// The key in this file; made when there is none.
fn key(file: &Path) -> io::Result<Vec<u8>> {
    let new: [u8; KEY_BYTES] = rand::random();
    let created = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file);
    match created {
        Ok(mut created) => {
            created.write_all(&new)?;
            Ok(new.to_vec())
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let key = fs::read(file)?;
            if key.len() == KEY_BYTES {
                return Ok(key);
            }
            // A torn write: nothing that was signed with it can be read any more.
            fs::remove_file(file)?;
            self::key(file)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

    fn code(folder: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).expect("the folder");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        paths
            .filter(|path| {
                path.extension()
                    .is_some_and(|extension| extension == EXTENSION)
            })
            .collect()
    }

    fn known(cache: &CodeCache, engine: &Engine) -> bool {
        let name = name(engine, COMPONENT);
        let file = cache.folder.join(format!("{name}.{EXTENSION}"));
        cache.load(engine, &name, &file).is_some()
    }

    #[test]
    fn what_was_compiled_is_found_again_and_nothing_else_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let engine = Arc::new(Engine::default());
        let open = || CodeCache::open(folder.path().join("code")).expect("a cache");
        let cache = open();
        assert!(!known(&cache, &engine));
        cache.compiled(&engine, COMPONENT).expect("a component");
        assert!(known(&cache, &engine));
        assert!(known(&open(), &engine), "the key was kept");

        let file = code(&cache.folder).pop().expect("a file");
        let whole = fs::read(&file).expect("the file");
        for at in [0, MAC_BYTES, whole.len() / 2, whole.len() - 1] {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(&file, &changed).expect("written");
            assert!(!known(&cache, &engine), "byte {at} was changed");
        }
        fs::write(&file, &whole[..MAC_BYTES - 1]).expect("written");
        assert!(!known(&cache, &engine), "a torn write");
        cache.compiled(&engine, COMPONENT).expect("a component");
        assert!(known(&cache, &engine), "it takes its place");

        fs::write(cache.folder.join(KEY), [7; KEY_BYTES]).expect("written");
        assert!(!known(&open(), &engine), "another key");
    }

    #[test]
    fn the_folder_does_not_grow_for_ever() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut cache = CodeCache::open(folder.path().to_owned()).expect("a cache");
        let stored = |cache: &CodeCache, n: u64| {
            let file = folder.path().join(format!("{n}.{EXTENSION}"));
            cache.store("n", &file, b"code").expect("stored");
            let used = SystemTime::UNIX_EPOCH + Duration::from_secs(n);
            let stored = fs::File::open(file).expect("stored");
            stored.set_modified(used).expect("touched");
        };
        for n in 0..100 {
            stored(&cache, n);
        }
        assert_eq!(code(folder.path()).len(), 100, "there is room");
        cache.max_bytes = 5 * (MAC_BYTES as u64 + 4);
        stored(&cache, 100);
        let mut left = code(folder.path());
        let newest = [96, 97, 98, 99, 100].map(|n| folder.path().join(format!("{n}.{EXTENSION}")));
        left.sort_by_key(|file| fs::metadata(file).and_then(|file| file.modified()).ok());
        assert_eq!(left, newest, "the oldest go");
    }
}

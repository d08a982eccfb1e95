//! Takes the folder of plug-ins, gives what came, changed and went since it was last looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::config::Config;
use crate::load::{self, Error};
use crate::manifest::Manifest;
use crate::plugin::engine::Engine;
use crate::plugin::generation::Generation;
use crate::plugin::package;

/// A file that was written so recently may be half of one.
const SETTLES: Duration = Duration::from_secs(1);

/// What was found.
pub enum Change {
    /// A build that can be run; it takes the place of its plug-in's last one.
    Loaded {
        /// Where it is.
        file: PathBuf,
        /// The build.
        generation: Arc<Generation>,
    },
    /// A file that cannot be run. What runs already goes on.
    Refused {
        /// Which.
        file: PathBuf,
        /// Why.
        error: Error,
    },
    /// A file that is no plug-in's any more.
    Gone {
        /// Which.
        file: PathBuf,
    },
    /// No file has this plug-in any more.
    Ended {
        /// Its name.
        plugin: String,
    },
}

/// What tells a file that was written from one that was not.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    length: u64,
    modified: Option<SystemTime>,
}

#[derive(Debug)]
struct File {
    stamp: Stamp,
    /// Name and digest of the newest build of it that could be run.
    plugin: Option<(String, String)>,
    found: Found,
}

/// What came of a file when it was looked at last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// It can be run.
    Sound,
    /// It cannot be run. That may come from another file, so it is looked at again when one
    /// of the others has changed.
    Refused,
    /// It cannot be run, and is perhaps still being written.
    Unsettled,
}

/// Bytes and manifest of a file.
type Opened = Result<(Vec<u8>, Manifest), Error>;

/// The folder as it was last looked at.
pub struct Catalog {
    engine: Arc<Engine>,
    config: Arc<Config>,
    files: BTreeMap<PathBuf, File>,
    looked: bool,
}

impl Catalog {
    /// Nothing was looked at yet.
    pub fn new(engine: Arc<Engine>, config: Arc<Config>) -> Self {
        Self {
            engine,
            config,
            files: BTreeMap::new(),
            looked: false,
        }
    }

    /// Whether to look again soon: something may be half written.
    pub fn is_unsettled(&self) -> bool {
        let mut files = self.files.values();
        files.any(|file| file.found == Found::Unsettled)
    }

    /// Looks at every `*.wasm` of the folder; one that fails leaves the others alone. Compiles,
    /// so it takes seconds: not on a runtime thread.
    ///
    /// # Errors
    /// When the folder cannot be read; then nothing has changed.
    pub fn look(&mut self) -> Result<Vec<Change>, Error> {
        let found = components(&self.config.host.plugins_dir)?;
        let before = self.names();
        let mut changes = Vec::new();
        self.files.retain(|file, _| {
            let stays = found.contains_key(file);
            if !stays {
                changes.push(Change::Gone { file: file.clone() });
            }
            stays
        });
        let is_new = |(file, stamp): (&PathBuf, &Stamp)| {
            let known = self.files.get(file);
            known.is_none_or(|known| known.stamp != *stamp)
        };
        let others_changed = !changes.is_empty() || found.iter().any(is_new);
        let mut opened = Vec::new();
        for (path, stamp) in found {
            if let Some(known) = self.files.get(&path)
                && known.stamp == stamp
                && match known.found {
                    Found::Sound => true,
                    Found::Refused => !others_changed,
                    Found::Unsettled => false,
                }
            {
                continue;
            }
            let content = load::open(&path, &self.config);
            let plugin = self.files.remove(&path).and_then(|known| known.plugin);
            let file = File {
                stamp,
                plugin,
                found: Found::Sound,
            };
            self.files.insert(path.clone(), file);
            opened.push((path, content));
        }
        let names = self.holders(&opened);
        for (file, content) in opened {
            match content.and_then(|content| self.load(&file, content, &names)) {
                Ok(None) => {}
                Ok(Some(generation)) => changes.push(Change::Loaded { file, generation }),
                // Whoever writes it may not be done. What is there at the start is what it is.
                Err(_) if self.looked && self.is_fresh(&file) => {
                    self.mark(&file, Found::Unsettled);
                }
                Err(error) => {
                    self.mark(&file, Found::Refused);
                    changes.push(Change::Refused { file, error });
                }
            }
        }
        self.looked = true;
        let after = self.names();
        let ended = before.into_iter().filter(|name| !after.contains(name));
        changes.extend(ended.map(|plugin| Change::Ended { plugin }));
        Ok(changes)
    }

    fn mark(&mut self, file: &Path, found: Found) {
        if let Some(file) = self.files.get_mut(file) {
            file.found = found;
        }
    }

    fn is_fresh(&self, file: &Path) -> bool {
        let modified = self.files.get(file).and_then(|file| file.stamp.modified);
        let age = modified.and_then(|at| at.elapsed().ok());
        age.is_some_and(|age| age < SETTLES)
    }

    /// The plug-ins that some file has.
    fn names(&self) -> BTreeSet<String> {
        let plugins = self.files.values().filter_map(|file| file.plugin.as_ref());
        plugins.map(|(name, _)| name.clone()).collect()
    }

    /// Which files have, or want, each name.
    fn holders(&self, opened: &[(PathBuf, Opened)]) -> BTreeMap<String, Vec<PathBuf>> {
        let mut names: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
        let is_opened = |path: &PathBuf| opened.iter().any(|(file, _)| file == path);
        for (path, file) in &self.files {
            if let Some((name, _)) = file.plugin.as_ref().filter(|_| !is_opened(path)) {
                names.entry(name.clone()).or_default().push(path.clone());
            }
        }
        for (path, content) in opened {
            if let Ok((_, manifest)) = content {
                let files = names.entry(manifest.name.clone()).or_default();
                files.push(path.clone());
            }
        }
        names
    }

    /// None when the file has what it had.
    fn load(
        &mut self,
        file: &Path,
        (bytes, manifest): (Vec<u8>, Manifest),
        names: &BTreeMap<String, Vec<PathBuf>>,
    ) -> Result<Option<Arc<Generation>>, Error> {
        let same = names.get(&manifest.name).map(Vec::as_slice).unwrap_or(&[]);
        if let Some(other) = same.iter().find(|other| *other != file) {
            return Err(Error::SameName {
                name: manifest.name,
                other: other.clone(),
            });
        }
        let plugin = (manifest.name.clone(), package::digest(&bytes));
        let known = self.files.get(file).and_then(|file| file.plugin.as_ref());
        if known == Some(&plugin) {
            return Ok(None);
        }
        load::check_secrets(&manifest, &self.config)?;
        let generation = Generation::load(&self.engine, &bytes, manifest)?;
        generation.warm()?;
        if let Some(file) = self.files.get_mut(file) {
            file.plugin = Some(plugin);
        }
        Ok(Some(Arc::new(generation)))
    }
}

fn components(folder: &Path) -> Result<BTreeMap<PathBuf, Stamp>, Error> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(Error::Read)? {
        let path = entry.map_err(Error::Read)?.path();
        if path.extension().is_none_or(|extension| extension != "wasm") {
            continue;
        }
        // It may have gone meanwhile; a broken link is a file that cannot be read.
        let stamp = stamp(std::fs::metadata(&path).ok().as_ref());
        files.insert(path, stamp);
    }
    Ok(files)
}

fn stamp(found: Option<&Metadata>) -> Stamp {
    Stamp {
        length: found.map_or(0, Metadata::len),
        modified: found.and_then(|found| found.modified().ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder {
        folder: tempfile::TempDir,
        catalog: Catalog,
    }

    impl Folder {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let mut config = Config::default();
            config.host.plugins_dir = folder.path().to_owned();
            let engine = Engine::new().expect("an engine");
            let catalog = Catalog::new(Arc::new(engine), Arc::new(config));
            Self { folder, catalog }
        }

        /// Writes a file so that it was last touched so long ago.
        fn write(&self, name: &str, content: &str, age: Duration) {
            let path = self.folder.path().join(name);
            std::fs::write(&path, content).expect("written");
            let file = std::fs::File::options().write(true).open(path);
            let touched = SystemTime::now() - age;
            file.and_then(|file| file.set_modified(touched))
                .expect("touched");
        }

        fn look(&mut self) -> Vec<String> {
            let found = self.catalog.look().expect("a folder");
            let name = |file: &Path| file.file_name().expect("a name").display().to_string();
            let text = |change: &Change| match change {
                Change::Loaded { file, .. } => format!("loaded {}", name(file)),
                Change::Refused { file, .. } => format!("refused {}", name(file)),
                Change::Gone { file } => format!("gone {}", name(file)),
                Change::Ended { plugin } => format!("ended {plugin}"),
            };
            found.iter().map(text).collect()
        }
    }

    const OLD: Duration = Duration::from_secs(60);
    const NEW: Duration = Duration::ZERO;

    #[test]
    fn a_file_is_refused_once_and_again_when_it_was_written() {
        let mut folder = Folder::new();
        folder.write("a.wasm", "no component", NEW);
        folder.write("a.txt", "not looked at", NEW);
        assert_eq!(
            folder.look(),
            ["refused a.wasm"],
            "at the start there is no waiting"
        );
        assert_eq!(folder.look(), [""; 0]);
        folder.write("a.wasm", "no component either", OLD);
        assert_eq!(folder.look(), ["refused a.wasm"]);
        std::fs::remove_file(folder.folder.path().join("a.wasm")).expect("removed");
        assert_eq!(folder.look(), ["gone a.wasm"]);
    }

    #[test]
    fn what_was_refused_is_looked_at_again_when_another_file_has_changed() {
        let mut folder = Folder::new();
        folder.write("a.wasm", "no component", OLD);
        assert_eq!(folder.look(), ["refused a.wasm"]);
        folder.write("b.wasm", "no component", OLD);
        assert_eq!(folder.look(), ["refused a.wasm", "refused b.wasm"]);
        assert_eq!(folder.look(), [""; 0]);
        std::fs::remove_file(folder.folder.path().join("b.wasm")).expect("removed");
        assert_eq!(folder.look(), ["gone b.wasm", "refused a.wasm"]);
    }

    #[test]
    fn what_may_be_half_written_is_looked_at_again() {
        let mut folder = Folder::new();
        assert_eq!(folder.look(), [""; 0]);
        folder.write("a.wasm", "half", NEW);
        assert_eq!(folder.look(), [""; 0]);
        assert!(folder.catalog.is_unsettled());
        folder.write("a.wasm", "half", OLD);
        assert_eq!(folder.look(), ["refused a.wasm"]);
        assert!(!folder.catalog.is_unsettled());
    }

    #[test]
    fn a_folder_that_cannot_be_read_changes_nothing() {
        let mut folder = Folder::new();
        folder.write("a.wasm", "no component", OLD);
        assert_eq!(folder.look(), ["refused a.wasm"]);
        let (there, aside) = (
            folder.folder.path(),
            folder.folder.path().with_extension("x"),
        );
        std::fs::rename(there, &aside).expect("moved");
        assert!(folder.catalog.look().is_err());
        std::fs::rename(&aside, there).expect("moved back");
        assert_eq!(folder.look(), [""; 0]);
    }
}

//! Takes where an export goes, gives somewhere to write: a file that has its name once it is whole, or standard output.

use std::fs::Permissions;
use std::io::{self, Stdout, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tempfile::NamedTempFile;

/// Where it goes.
pub(super) enum Target {
    Stdout(Stdout),
    File {
        /// Gone with this value, unless it was given its name.
        file: NamedTempFile,
        name: PathBuf,
    },
}

impl Target {
    /// `-` is standard output.
    pub(super) fn open(name: &Path) -> anyhow::Result<Self> {
        if name == Path::new("-") {
            return Ok(Self::Stdout(io::stdout()));
        }
        let folder = match name.parent() {
            Some(folder) if folder != Path::new("") => folder,
            Some(_) | None => Path::new("."),
        };
        // Less what the umask takes away, as any file.
        let file = tempfile::Builder::new()
            .prefix(".sluice-export-")
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder)
            .with_context(|| format!("{} cannot be written in", folder.display()))?;
        Ok(Self::File {
            file,
            name: name.to_owned(),
        })
    }

    /// All was written.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        match self {
            Self::Stdout(mut out) => Ok(out.flush()?),
            Self::File { file, name } => {
                let cannot = || format!("{} cannot be written", name.display());
                file.as_file().sync_all().with_context(cannot)?;
                file.persist(&name).with_context(cannot)?;
                Ok(())
            }
        }
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(out) => out.write(bytes),
            Self::File { file, .. } => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(out) => out.flush(),
            Self::File { file, .. } => file.flush(),
        }
    }
}

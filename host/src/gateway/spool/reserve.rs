//! Takes a folder, gives a little room in it that can be had when the disk is full.
//!
//! The store writes pages even to remove records. Without this, a spool that has filled its
//! disk could not be drained when the broker is back.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

const FILE: &str = "reserve";
const BYTES: usize = 1 << 20;

/// A file that nobody reads.
pub(super) struct Reserve {
    path: PathBuf,
    is_there: bool,
}

impl Reserve {
    /// Makes it, where there is room.
    pub(super) fn new(folder: &Path) -> Self {
        let mut reserve = Self {
            path: folder.join(FILE),
            is_there: false,
        };
        reserve.make();
        reserve
    }

    /// Makes it again, where there is room.
    pub(super) fn make(&mut self) {
        if self.is_there {
            return;
        }
        // Not zeros: some file systems would not keep room for those.
        let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(BYTES).collect();
        let written = File::create(&self.path).and_then(|mut file| {
            file.write_all(&bytes)?;
            file.sync_all()
        });
        match written {
            Ok(()) => self.is_there = true,
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "no reserve for a full disk");
                self.remove();
            }
        }
    }

    /// Gives its room to whoever needs it now. False when there is none.
    pub(super) fn give(&mut self) -> bool {
        if !self.is_there {
            return false;
        }
        self.is_there = false;
        self.remove()
    }

    fn remove(&self) -> bool {
        fs::remove_file(&self.path).is_ok()
    }
}

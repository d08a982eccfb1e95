//! A PostgreSQL for the tests: the folder of its programs, as the machine has them, or unpacked below
//! `target/tools`. No server is started by that, and nothing of the system is changed.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::debian;
use crate::layout::Layout;
use crate::run;

/// Names the folder of the programs.
pub(super) const VARIABLE: &str = "SLUICE_POSTGRES";
/// What the tests run.
const PROGRAMS: [&str; 3] = ["postgres", "initdb", "psql"];
/// Debian's package of the version that it supports.
const PACKAGE: &str = "postgresql";

/// Where its programs are, and how they came there. One was started once and told its version.
///
/// # Errors
/// When they are not there and cannot be had.
pub(super) fn ensure(layout: &Layout) -> Result<(PathBuf, String)> {
    if let Some(folder) = env::var_os(VARIABLE).filter(|value| !value.is_empty()) {
        let folder = PathBuf::from(folder);
        if !has_programs(&folder) {
            bail!(
                "{VARIABLE} names {}, which has not {PROGRAMS:?}",
                folder.display()
            );
        }
        return checked(folder, "already there");
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path).find(|folder| has_programs(folder));
    if let Some(folder) = on_path.or_else(|| below(Path::new("/"))) {
        return checked(folder, "already there");
    }
    let own = layout.target.join("tools").join(PACKAGE);
    if let Some(folder) = below(&own) {
        return checked(folder, "already there");
    }
    // The server, its clients and the libraries of both; not what compiles queries, nor Perl.
    let is_wanted = |package: &str| {
        let is_library = package.starts_with("lib")
            && !["libllvm", "libperl", "libjson-perl", "libcommon"]
                .iter()
                .any(|other| package.starts_with(other));
        is_library || package.starts_with("postgresql-")
    };
    let needed = debian::needed(PACKAGE)?;
    let wanted = needed.iter().map(String::as_str);
    let wanted: Vec<&str> = wanted.filter(|name| is_wanted(name)).collect();
    let (own, how) = debian::unpacked(layout, PACKAGE, &wanted)?;
    let folder = below(&own).with_context(|| format!("{PACKAGE} brought no {PROGRAMS:?}"))?;
    checked(folder, &how)
}

fn has_programs(folder: &Path) -> bool {
    PROGRAMS
        .iter()
        .all(|program| folder.join(program).is_file())
}

/// Where Debian has them, of the newest version there is.
fn below(root: &Path) -> Option<PathBuf> {
    let versions = fs::read_dir(root.join("usr/lib/postgresql")).ok()?;
    let folders = versions.filter_map(|entry| Some(entry.ok()?.path()));
    let version = |folder: &PathBuf| folder.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = folders
        .filter(|folder| has_programs(&folder.join("bin")))
        .max_by_key(version)?;
    Some(newest.join("bin"))
}

fn checked(folder: PathBuf, how: &str) -> Result<(PathBuf, String)> {
    for program in PROGRAMS {
        let mut command = Command::new(folder.join(program));
        if let Some(libraries) = libraries(&folder) {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        run::output(command.arg("--version"))?;
    }
    Ok((folder, how.to_owned()))
}

/// Those of `…/usr/lib/postgresql/15/bin` that was unpacked are in `…/usr/lib/<triple>`.
fn libraries(folder: &Path) -> Option<OsString> {
    let root = folder.ancestors().nth(5)?;
    if root == Path::new("/") {
        return None;
    }
    let folders = ["usr/lib", "lib"].map(|below| fs::read_dir(root.join(below)));
    let folders = folders.into_iter().flatten().flatten().flatten();
    let folders = folders
        .map(|entry| entry.path())
        .filter(|path| path.is_dir());
    env::join_paths(folders)
        .ok()
        .filter(|paths| !paths.is_empty())
}

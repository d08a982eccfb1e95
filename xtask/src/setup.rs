//! `cargo xtask setup`: the wasm targets, a nats-server, the tools of other languages, and what
//! looks at a host from outside. Changes nothing that is there.

mod collector;
mod debian;
mod kafka;
mod languages;
mod nats;
mod npm;
mod outsiders;
mod peers;
mod postgres;
mod rabbitmq;
mod temp_folder;
mod version;
mod wasm;
mod wheel;

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::layout::Layout;

pub(crate) use collector::ensure as collector;
pub(crate) use kafka::ensure as kafka;
pub(crate) use languages::{Languages, componentize_py, ensure as languages};
pub(crate) use outsiders::ensure as outsiders;
pub(crate) use peers::ensure as peers;

/// What the build and the tests use and the project does not hold.
pub(crate) struct Tools {
    /// A nats-server of a version that the host accepts.
    pub(crate) nats_server: PathBuf,
}

/// Makes sure of each thing in turn and prints a line about it.
///
/// # Errors
/// The first thing that cannot be had, with what was tried and what to do.
pub(crate) fn run(layout: &Layout) -> Result<Tools> {
    println!("setup");
    wasm::ensure(layout)?;
    let nats_server = nats::ensure(layout)?;
    Ok(Tools { nats_server })
}

/// Reports what was found, or why it was not and what that means.
fn told(
    what: &str,
    shown: impl FnOnce(&Path) -> String,
    without: &str,
    result: Result<(PathBuf, String)>,
) -> Result<PathBuf> {
    match result {
        Ok((path, how)) => {
            report(what, &shown(&path), &how);
            Ok(path)
        }
        Err(error) => {
            println!("  {what:<12} cannot be had, so {without}: {error:#}");
            Err(error)
        }
    }
}

fn report(what: &str, found: &str, how: &str) {
    println!("  {what:<12} {found}, {how}");
}

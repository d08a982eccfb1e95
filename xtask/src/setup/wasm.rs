//! The standard libraries for the two targets that guests are built for.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::report;
use crate::clock::Stopwatch;
use crate::layout::Layout;
use crate::run;

/// What plug-ins are built for, and what the test guest is built for that imports WASI.
const TARGETS: [&str; 2] = ["wasm32-unknown-unknown", "wasm32-wasip2"];

/// Without a target, and without a way to fetch it.
const FALL_BACK: &str = "\
rust-toolchain.toml lists the targets, so rustup normally fetches them together with the \
toolchain. Where rustup cannot download, Debian's own Rust builds the guests too:
  apt-get install --no-install-recommends rustc-web cargo-web rust-web-src lld-19
  RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=wasm-ld-19 \
/usr/bin/cargo build -Zbuild-std=std,panic_abort --target wasm32-unknown-unknown --release";

pub(super) fn ensure(layout: &Layout) -> Result<()> {
    let rustc = rustc(layout, "--version")?;
    let libraries = Path::new(&rustc_sysroot(layout)?).join("lib/rustlib");
    for target in TARGETS {
        one(layout, target, &libraries.join(target), &rustc)?;
    }
    Ok(())
}

fn one(layout: &Layout, target: &str, library: &Path, rustc: &str) -> Result<()> {
    let how = if library.is_dir() {
        "already there".to_owned()
    } else {
        let watch = Stopwatch::start();
        add(layout, target)
            .with_context(|| format!("{target} is missing ({}). {FALL_BACK}", library.display()))?;
        if !library.is_dir() {
            bail!(
                "rustup says that it added {target}, but the compiler in use ({rustc}) looks \
                 for it in {} and that is not there. {FALL_BACK}",
                library.display()
            );
        }
        format!("added in {watch}")
    };
    report("wasm target", &format!("{target} for {rustc}"), &how);
    Ok(())
}

fn add(layout: &Layout, target: &str) -> Result<()> {
    let mut rustup = Command::new("rustup");
    rustup
        .current_dir(&layout.root)
        .args(["target", "add", target]);
    run::output(&mut rustup).map(|_| ())
}

fn rustc_sysroot(layout: &Layout) -> Result<PathBuf> {
    let mut rustc = rustc_command(layout);
    Ok(run::output(rustc.args(["--print", "sysroot"]))?
        .trim_end()
        .into())
}

fn rustc(layout: &Layout, arg: &str) -> Result<String> {
    Ok(run::output(rustc_command(layout).arg(arg))?
        .trim_end()
        .to_owned())
}

fn rustc_command(layout: &Layout) -> Command {
    let mut rustc = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.current_dir(&layout.root);
    rustc
}

//! Takes a JavaScript plug-in's folder, gives the component that componentize-js makes of it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::bail;

use super::{tool, world};
use crate::manifest::Manifest;

/// The module that has the handler.
pub(super) const SOURCE: &str = "plugin.js";
/// Where to find the tool, when it is not the plug-in's own: its command line, for node.
const TOOL: &str = "SLUICE_COMPONENTIZE_JS";
const OWN: &str = "node_modules/@bytecodealliance/componentize-js/src/cli.js";
const NODE: &str = "Node.js 20 or newer is needed";

pub(super) fn build(dir: &Path, manifest: &Manifest) -> anyhow::Result<PathBuf> {
    world::sdk(dir, "javascript")?;
    let wit = world::write(dir, manifest)?;
    let cli = cli(dir)?;
    // componentize-js says that a source does not parse, and not where.
    let mut check = Command::new("node");
    check.arg("--check").arg(dir.join(SOURCE));
    tool::run(&mut check, "node --check", NODE)?;
    let component = world::made(dir).join("component.wasm");
    eprintln!(
        "componentize-js: {} (some 15 s)",
        dir.join(SOURCE).display()
    );
    let mut command = Command::new("node");
    command.arg(cli).arg(dir.join(SOURCE));
    command.arg("--wit").arg(&wit);
    command.args(["--world-name", world::NAME]);
    // A component that imports what is not granted is refused.
    command.args(["--disable", "fetch-event"]);
    if manifest.capabilities.http.is_empty() {
        command.args(["--disable", "http"]);
    }
    command.arg("--out").arg(&component);
    tool::run(&mut command, "componentize-js", NODE)?;
    Ok(component)
}

/// The tool's command line; npm installs what the lock file says where it is not there.
fn cli(dir: &Path) -> anyhow::Result<PathBuf> {
    if let Some(cli) = env::var_os(TOOL) {
        return Ok(cli.into());
    }
    let own = dir.join(OWN);
    if own.is_file() {
        return Ok(own);
    }
    let is_locked = dir.join("package-lock.json").is_file();
    let verb = if is_locked { "ci" } else { "install" };
    eprintln!("npm {verb}: installing what package.json asks for");
    let npm = env::var_os("NPM").unwrap_or_else(|| "npm".into());
    let mut command = Command::new(npm);
    command.current_dir(dir);
    // Nothing of what it brings is run while it is installed.
    command.args([verb, "--ignore-scripts", "--no-audit", "--no-fund"]);
    tool::run(&mut command, "npm", NODE)?;
    if !own.is_file() {
        bail!(
            "npm left no {}; package.json has to name @bytecodealliance/componentize-js among its \
             dependencies, as the one that `sluice new --lang javascript` writes",
            own.display()
        );
    }
    Ok(own)
}

//! Takes a JavaScript or TypeScript plug-in's folder, gives the component that componentize-js makes of it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::bail;

use super::{tool, world};
use crate::manifest::Manifest;

/// The module that has the handler.
pub(super) const SOURCE: &str = "plugin.js";
/// The same in TypeScript.
pub(super) const TYPED_SOURCE: &str = "plugin.ts";
/// Where to find the tool, when it is not the plug-in's own: its command line, for node.
const TOOL: &str = "SLUICE_COMPONENTIZE_JS";
const OWN: &str = "node_modules/@bytecodealliance/componentize-js/src/cli.js";
const NODE: &str = "Node.js 20 or newer is needed";

pub(super) fn build(dir: &Path, manifest: &Manifest) -> anyhow::Result<PathBuf> {
    world::sdk(dir, "javascript")?;
    let wit = world::write(dir, manifest)?;
    let cli = cli(dir)?;
    let typed = dir.join(TYPED_SOURCE);
    let source = if typed.is_file() {
        bundle(&typed, world::made(dir).join("plugin.js"), &cli)?
    } else {
        dir.join(SOURCE)
    };
    // componentize-js says that a source does not parse, and not where.
    let mut check = Command::new("node");
    check.arg("--check").arg(&source);
    tool::run(&mut check, "node --check", NODE)?;
    check_http(&source, manifest)?;
    let component = world::made(dir).join("component.wasm");
    eprintln!("componentize-js: {} (some 15 s)", source.display());
    let mut command = Command::new("node");
    command.arg(&cli).arg(&source);
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

/// A component without HTTP is ended by the first `fetch`, and nothing then says why.
fn check_http(source: &Path, manifest: &Manifest) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(source).unwrap_or_default();
    let asks = text.contains("sluicegate/http.js") || calls(&text, "fetch");
    if asks && manifest.capabilities.http.is_empty() {
        bail!(
            "{} sends requests, which needs `http = [\"https://<host>\"]` under [capabilities] in \
             plugin.toml",
            source.display()
        );
    }
    Ok(())
}

/// Whether a text has a call of this function, and not of a method or of another one's.
fn calls(text: &str, function: &str) -> bool {
    let call = format!("{function}(");
    text.match_indices(&call).any(|(at, _)| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '$'))
    })
}

/// TypeScript, and the packages that it imports, as one JavaScript module. Types are not checked:
/// that is for the editor, or for tsc.
fn bundle(source: &Path, to: PathBuf, cli: &Path) -> anyhow::Result<PathBuf> {
    let mut folders = cli.ancestors();
    let modules = folders.find(|folder| folder.ends_with("node_modules"));
    let esbuild = modules.map(|modules| modules.join("esbuild/bin/esbuild"));
    let Some(esbuild) = esbuild.filter(|esbuild| esbuild.is_file()) else {
        bail!(
            "{} needs esbuild; package.json has to name it among its dependencies, as the one that \
             `sluice new --lang typescript` writes",
            source.display()
        );
    };
    let mut command = Command::new(esbuild);
    command.arg(source).args(["--bundle", "--format=esm"]);
    command.args(["--external:sluicegate:*", "--log-level=warning"]);
    command.arg(format!("--outfile={}", to.display()));
    tool::run(&mut command, "esbuild", NODE)?;
    Ok(to)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_told_from_a_method_and_from_part_of_a_name() {
        assert!(calls("const a = await fetch(url);", "fetch"));
        assert!(calls("fetch(url)", "fetch"));
        for other in [
            "cache.fetch(url)",
            "prefetch(url)",
            "_fetch()",
            "fetch = 1",
            "refetch",
        ] {
            assert!(!calls(other, "fetch"), "{other}");
        }
    }
}

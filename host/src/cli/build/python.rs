//! Takes a Python plug-in's folder, gives the component that componentize-py makes of it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::{tool, world};
use crate::manifest::Manifest;

/// The module that has the handler.
pub(super) const SOURCE: &str = "plugin.py";
/// Where to find the tool, when it is not to be fetched: a folder for `PYTHONPATH`.
const TOOL: &str = "SLUICE_COMPONENTIZE_PY";
/// What is fetched where a folder has no requirements.txt.
const REQUIREMENT: &str = include_str!("../../../templates/python/requirements.txt");

pub(super) fn build(dir: &Path, manifest: &Manifest) -> anyhow::Result<PathBuf> {
    world::sdk(dir, "python")?;
    let wit = world::write(dir, manifest)?;
    let packages = packages(dir)?;
    let component = world::made(dir).join("component.wasm");
    eprintln!(
        "componentize-py: {} (some 10 s)",
        dir.join(SOURCE).display()
    );
    let mut command = python();
    command.env("PYTHONPATH", &packages);
    command.args(["-c", "import componentize_py; componentize_py.script()"]);
    command.arg("--quiet").arg("--wit-path").arg(&wit);
    command.args(["--world", world::NAME, "componentize", "plugin"]);
    command.arg("--python-path").arg(dir);
    // Pure Python that requirements.txt names is built in.
    command.arg("--python-path").arg(&packages);
    command.arg("--output").arg(&component);
    tool::run(&mut command, "componentize-py", "Python 3 is needed")?;
    Ok(component)
}

fn python() -> Command {
    Command::new(env::var_os("PYTHON").unwrap_or_else(|| "python3".into()))
}

/// The folder that has componentize-py in it. pip puts it into one of the plug-in's own, so that
/// neither a virtual environment nor the system's packages come into it.
fn packages(dir: &Path) -> anyhow::Result<PathBuf> {
    if let Some(folder) = env::var_os(TOOL) {
        return Ok(folder.into());
    }
    let packages = world::made(dir).join("python");
    let wanted = dir.join("requirements.txt");
    let wanted = std::fs::read_to_string(wanted).unwrap_or_else(|_| REQUIREMENT.to_owned());
    // Written last: what it says is there whole.
    let installed = packages.join("installed.txt");
    if std::fs::read_to_string(&installed).is_ok_and(|found| found == wanted) {
        return Ok(packages);
    }
    eprintln!(
        "pip: installing {}",
        wanted.split_whitespace().collect::<Vec<_>>().join(", ")
    );
    let mut command = python();
    command.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]);
    command
        .args(["--only-binary", ":all:", "--upgrade", "--target"])
        .arg(&packages);
    command.args(
        wanted
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#')),
    );
    tool::run(&mut command, "pip install", "Python 3 with pip is needed")?;
    std::fs::write(&installed, wanted)
        .with_context(|| format!("{} cannot be written", installed.display()))?;
    Ok(packages)
}

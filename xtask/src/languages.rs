//! The test guests of `tests/languages`, each made by the tool of its language.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::compile::is_newer;
use crate::layout::Layout;
use crate::run;
use crate::setup::{Languages, componentize_py};

/// Builds what there is a tool for into `out`, and says of each language what became of it.
pub(crate) fn guests(
    layout: &Layout,
    sluice: &Path,
    languages: &Languages,
    out: &Path,
) -> Result<Vec<String>> {
    let one = |name: &str, tool: &Result<PathBuf>, make: Make| {
        let file = out.join(format!("{name}.wasm"));
        match tool {
            Ok(tool) => {
                let guest = Guest::of(layout, name);
                guest.build(sluice, tool, make, &file)?;
                Ok::<_, anyhow::Error>(format!("{name} built"))
            }
            Err(error) => {
                // One of an earlier day would be tested as if it were today's.
                let _ = fs::remove_file(&file);
                let error = error.to_string();
                let first = error.lines().next().unwrap_or_default();
                Ok(format!("{name} SKIPPED: {first}"))
            }
        }
    };
    Ok(vec![
        one("python", &languages.python, python)?,
        one("javascript", &languages.javascript, javascript)?,
    ])
}

/// The call that makes `component` of the sources in `folder`.
type Make = fn(tool: &Path, folder: &Path, wit: &Path, component: &Path) -> Command;

struct Guest {
    folder: PathBuf,
    wit: PathBuf,
    /// What the language's tool made, without a manifest.
    component: PathBuf,
}

impl Guest {
    fn of(layout: &Layout, name: &str) -> Self {
        Self {
            folder: layout.root.join("tests/languages").join(name),
            wit: layout.root.join("wit"),
            component: layout
                .target
                .join("guests")
                .join(format!("{name}.component.wasm")),
        }
    }

    fn build(&self, sluice: &Path, tool: &Path, make: Make, out: &Path) -> Result<()> {
        let mut sources = entries(&self.wit)?;
        sources.extend(entries(&self.folder)?);
        let sources: Vec<&Path> = sources.iter().map(PathBuf::as_path).collect();
        if !is_newer(&self.component, &sources) {
            run::output(&mut make(tool, &self.folder, &self.wit, &self.component))?;
        }
        let manifest = self.folder.join("plugin.toml");
        if !is_newer(out, &[&self.component, &manifest, sluice]) {
            let mut build = run::program(sluice);
            build.arg("build").arg("--module").arg(&self.component);
            build.arg("--manifest").arg(&manifest).arg("--out").arg(out);
            run::output(&mut build)?;
        }
        Ok(())
    }
}

fn python(tool: &Path, folder: &Path, wit: &Path, component: &Path) -> Command {
    let mut command = componentize_py(tool);
    command.arg("--quiet").arg("--wit-path").arg(wit);
    command.args(["--world", "consumer-plugin", "componentize", "app"]);
    command.arg("--python-path").arg(folder);
    command.arg("--output").arg(component);
    command
}

fn javascript(tool: &Path, folder: &Path, wit: &Path, component: &Path) -> Command {
    let mut command = Command::new("node");
    command.arg(tool).arg(folder.join("app.js"));
    command.arg("--wit").arg(wit);
    command.args(["--world-name", "consumer-plugin"]);
    // A plug-in gets no HTTP, and a component that imports it is refused.
    command.args(["--disable", "http", "--disable", "fetch-event"]);
    command.arg("--out").arg(component);
    command
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    fs::read_dir(folder)
        .with_context(|| format!("could not read the folder {}", folder.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect()
}

//! The tools that make components of Python and of JavaScript. They are had if they can be.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::npm::Packages;
use super::told;
use super::wheel::Wheel;
use crate::layout::Layout;
use crate::run;

const COMPONENTIZE_PY: Wheel = Wheel {
    package: "componentize-py",
    version: "0.25.1",
    file: "componentize_py-0.25.1-cp39-abi3-manylinux_2_28_x86_64.whl",
    sha256: "8623cd8cab8453cb0cd8bf03f3c7103420d06f2f3d360186a280a70a1ca5e89f",
};

/// What npm installs, and by which hashes, stands in the lock file that every new plug-in gets.
const COMPONENTIZE_JS: Packages = Packages {
    folder: "componentize-js",
    source: "host/templates",
    files: [
        ("javascript/package.json", "package.json"),
        ("node/package-lock.json", "package-lock.json"),
        ("node/npmrc", ".npmrc"),
    ],
    wanted: "node_modules/@bytecodealliance/componentize-js/src/cli.js",
};

/// Where each tool is, or why it is not.
pub(crate) struct Languages {
    /// The folder for `PYTHONPATH` that holds componentize-py.
    pub(crate) python: Result<PathBuf>,
    /// The command line of componentize-js, for node.
    pub(crate) javascript: Result<PathBuf>,
}

/// Looks for both tools, and fetches what is missing. Neither is needed to build or to run
/// Sluicegate, so that one cannot be had is told and is no error.
pub(crate) fn ensure(layout: &Layout) -> Languages {
    let told = |language: &str, tool: &str, result| {
        let without = "what is written in it is left out";
        told(language, |_| tool.to_owned(), without, result)
    };
    Languages {
        python: told("python", "componentize-py", python(layout)),
        javascript: told(
            "javascript",
            "componentize-js",
            COMPONENTIZE_JS.ensure(layout),
        ),
    }
}

impl Languages {
    /// Whether the tool of this plug-in's language is there.
    pub(crate) fn can_build(&self, plugin: &Path) -> bool {
        match plugin.join("plugin.py").is_file() {
            true => self.python.is_ok(),
            false => self.javascript.is_ok(),
        }
    }

    /// Where `sluice build` is to look for them.
    pub(crate) fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        let found = [
            ("SLUICE_COMPONENTIZE_PY", &self.python),
            ("SLUICE_COMPONENTIZE_JS", &self.javascript),
        ];
        let found = found.into_iter();
        found
            .filter_map(|(name, tool)| Some((name, tool.as_ref().ok()?.clone())))
            .collect()
    }
}

fn python(layout: &Layout) -> Result<(PathBuf, String)> {
    let (own, how) = COMPONENTIZE_PY.ensure(layout)?;
    run::output(componentize_py(&own).arg("--version"))?;
    Ok((own, how))
}

/// componentize-py in this folder, without arguments.
pub(crate) fn componentize_py(folder: &Path) -> Command {
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", folder);
    python.args(["-c", "import componentize_py; componentize_py.script()"]);
    python
}

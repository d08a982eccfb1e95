//! What stands outside a host: a browser and Prometheus, which look at it as its users do, the
//! database that projections may have their rows in, and the brokers that it is bridged to. They
//! are had if they can be.

use std::path::{Path, PathBuf};

use anyhow::{Error, Result};

use super::debian::Program;
use super::npm::Packages;
use super::{postgres, rabbitmq, told};
use crate::layout::Layout;

const CHROMIUM: Program = Program {
    names: &["chromium", "chromium-browser", "google-chrome"],
    package: "chromium",
    alone: false,
};

const PROMETHEUS: Program = Program {
    names: &["prometheus"],
    package: "prometheus",
    alone: true,
};

const PROMTOOL: Program = Program {
    names: &["promtool"],
    ..PROMETHEUS
};

/// Drives the browser.
const PLAYWRIGHT: Packages = Packages {
    folder: "browser",
    source: "tests/browser",
    files: [
        ("package.json", "package.json"),
        ("package-lock.json", "package-lock.json"),
        (".npmrc", ".npmrc"),
    ],
    wanted: "node_modules/playwright-core/package.json",
};

/// Reads AsyncAPI documents, as the specification's own parser does.
const ASYNCAPI: Packages = Packages {
    folder: "asyncapi",
    source: "tests/asyncapi",
    files: [
        ("package.json", "package.json"),
        ("package-lock.json", "package-lock.json"),
        (".npmrc", ".npmrc"),
    ],
    wanted: "node_modules/@asyncapi/parser/package.json",
};

/// Where each is, or why it is not.
pub(crate) struct Outsiders {
    /// Under the name of the variable by which the tests find it.
    found: Vec<(&'static str, &'static str, Result<PathBuf>)>,
}

/// Looks for them, and fetches what is missing. None is needed to build or to run Sluicegate,
/// so that one cannot be had is told and is no error.
pub(crate) fn ensure(layout: &Layout) -> Outsiders {
    let told = |what: &str, result| {
        let shown = |path: &Path| layout.short(path).to_string();
        told(what, shown, "its tests are left out", result)
    };
    let modules = |(file, how): (PathBuf, String)| {
        let folder = file.ancestors().nth(2).map_or(file.clone(), Into::into);
        (folder, how)
    };
    let scoped = |(file, how): (PathBuf, String)| {
        let folder = file.ancestors().nth(3).map_or(file.clone(), Into::into);
        (folder, how)
    };
    let ways = [
        ("SLUICE_CHROMIUM", "chromium", CHROMIUM.ensure(layout)),
        (
            "SLUICE_PLAYWRIGHT",
            "playwright",
            PLAYWRIGHT.ensure(layout).map(modules),
        ),
        (
            "SLUICE_ASYNCAPI",
            "asyncapi",
            ASYNCAPI.ensure(layout).map(scoped),
        ),
        ("SLUICE_PROMETHEUS", "prometheus", PROMETHEUS.ensure(layout)),
        ("SLUICE_PROMTOOL", "promtool", PROMTOOL.ensure(layout)),
        (postgres::VARIABLE, "postgresql", postgres::ensure(layout)),
        ("SLUICE_RABBITMQ", "rabbitmq", rabbitmq::ensure(layout)),
    ];
    let found = ways.map(|(variable, what, result)| (variable, what, told(what, result)));
    Outsiders {
        found: found.into(),
    }
}

impl Outsiders {
    /// Where tests are to look for them.
    pub(crate) fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        let found = self.found.iter();
        found
            .filter_map(|(variable, _, path)| Some((*variable, path.as_ref().ok()?.clone())))
            .collect()
    }

    /// A word about each.
    pub(crate) fn said(&self) -> Vec<String> {
        let skipped = |error: &Error| {
            let error = error.to_string();
            error.lines().next().unwrap_or_default().to_owned()
        };
        let one = |what: &str, path: &Result<PathBuf>| match path {
            Ok(_) => format!("{what} there"),
            Err(error) => format!("{what} SKIPPED: {}", skipped(error)),
        };
        self.found
            .iter()
            .map(|(_, what, path)| one(what, path))
            .collect()
    }
}

//! `cargo xtask tidy`: what neither the compiler nor clippy checks, one line a finding.

mod docs;
mod prose;
mod shape;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use crate::layout::Layout;
use crate::run;

/// The text files of the project by their path from its root, with `/` between.
type Texts = BTreeMap<String, String>;

/// Something that is not as it should be.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    file: String,
    line: usize,
    what: String,
}

impl Finding {
    /// `line` counts from 1.
    fn new(file: &str, line: usize, what: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line,
            what: what.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

/// Looks at every file that git tracks or would add, and tells whether all are as they should be.
pub(crate) fn run(layout: &Layout) -> Result<bool> {
    let mut findings = Vec::new();
    let texts = read(layout, &mut findings)?;
    for (path, text) in &texts {
        findings.extend(prose::check(path, text));
        findings.extend(shape::check(path, text));
    }
    findings.extend(shape::stages(&texts));
    findings.extend(docs::links(&texts, |path| layout.root.join(path).exists()));
    findings.extend(docs::metrics(&texts));
    findings.extend(docs::contract_version(&texts));
    findings.extend(docs::changelog(&texts));
    findings.sort();
    for finding in &findings {
        println!("{finding}");
    }
    if findings.is_empty() {
        println!("tidy: {} files, nothing found", texts.len());
        return Ok(true);
    }
    println!("tidy: {} found", findings.len());
    Ok(false)
}

/// The text files; files that are too big or no text are findings.
fn read(layout: &Layout, findings: &mut Vec<Finding>) -> Result<Texts> {
    let mut git = Command::new("git");
    git.current_dir(&layout.root);
    git.args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]);
    let mut texts = Texts::new();
    for path in run::output(&mut git)?.split_terminator('\0') {
        let file = layout.root.join(path);
        // Removed, and git has not been told yet.
        if !file.is_file() {
            continue;
        }
        let bytes = fs::read(&file).with_context(|| format!("could not read {path}"))?;
        findings.extend(shape::weight(path, &bytes));
        if let Ok(text) = String::from_utf8(bytes) {
            texts.insert(path.to_owned(), text);
        }
    }
    Ok(texts)
}

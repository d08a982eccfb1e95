//! `cargo xtask demo`: a host on a broker of its own, shown at work with some 40 events.

mod broker;
mod checks;
mod host;
mod http;
mod log;
mod metrics;
mod outcomes;
mod story;

use std::fs;
use std::path::{Path, PathBuf};
use std::process;

use anyhow::{Context, Result};
use rustix::process::{Pid, test_kill_process};

use crate::clock::Stopwatch;
use crate::compile::{self, Scope};
use crate::layout::Layout;
use crate::setup;

/// Lines of the host's log that a failed demo shows.
const SHOWN_LINES: usize = 30;

/// Tells whether every number was as expected.
pub(crate) fn run(layout: &Layout) -> Result<bool> {
    let tools = setup::run(layout)?;
    println!("build");
    let watch = Stopwatch::start();
    let sluice = compile::sluice(layout, Scope::Binary)?;
    println!("  sluice       {}, {watch}", layout.short(&sluice));
    let watch = Stopwatch::start();
    let folder = Folder::make(layout)?;
    for source in ["plugins", "xtask/demo/plugins"] {
        compile::plugins(
            layout,
            &sluice,
            &layout.root.join(source),
            &folder.path("plugins"),
            // Their tools are for `cargo xtask test`: the demo shows what is in Rust.
            None,
        )?;
    }
    println!(
        "  plug-ins     {}, {watch}",
        layout.short(&folder.path("plugins"))
    );

    let told = story::tell(
        &layout.short(&folder.0).to_string(),
        &folder,
        &sluice,
        &tools,
    );
    if !matches!(told, Ok(true)) {
        folder.show_log(layout);
    }
    told
}

/// `target/demo/<process id>`: two demos at once have nothing in common.
struct Folder(PathBuf);

impl Folder {
    /// Makes it, with a copy of the events, and removes those of demos that have ended.
    fn make(layout: &Layout) -> Result<Self> {
        let demos = layout.target.join("demo");
        remove_old(&demos);
        let folder = Self(demos.join(process::id().to_string()));
        for part in ["plugins", "events"] {
            let path = folder.path(part);
            fs::create_dir_all(&path)
                .with_context(|| format!("could not make {}", path.display()))?;
        }
        for entry in fs::read_dir(layout.root.join("xtask/demo/events"))? {
            let entry = entry?;
            fs::copy(entry.path(), folder.path("events").join(entry.file_name()))?;
        }
        Ok(folder)
    }

    fn path(&self, part: &str) -> PathBuf {
        self.0.join(part)
    }

    fn show_log(&self, layout: &Layout) {
        let path = self.path("host.log");
        let Ok(log) = fs::read_to_string(&path) else {
            return;
        };
        let lines: Vec<&str> = log.lines().collect();
        let skipped = lines.len().saturating_sub(SHOWN_LINES);
        println!("\nThe end of {}:", layout.short(&path));
        for line in lines.iter().skip(skipped) {
            println!("  {line}");
        }
    }
}

/// A folder that cannot be removed is only in nobody's way.
fn remove_old(demos: &Path) {
    for entry in fs::read_dir(demos).into_iter().flatten().flatten() {
        let pid = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        if pid
            .and_then(Pid::from_raw)
            .is_some_and(|pid| test_kill_process(pid).is_err())
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

//! What a figure was measured on.

use std::fmt;
use std::fs;

use serde::Serialize;

/// The machine and the settings that decide about a figure.
#[derive(Serialize)]
pub(crate) struct Machine {
    pub(crate) cores: usize,
    pub(crate) cpu: String,
    pub(crate) os: String,
    /// Processes that ran or waited to run in the minute before: 0 on a machine that is free.
    pub(crate) load_before: Option<f64>,
    pub(crate) nats_server: String,
    /// When nats-server writes to disk.
    pub(crate) sync: &'static str,
    /// How much memory it takes before it collects garbage, in percent of what lives.
    pub(crate) gogc: String,
    pub(crate) build: &'static str,
    /// How long and how often things were measured.
    pub(crate) run: String,
}

impl Machine {
    /// This one, a nats-server of this version with its default settings but for `GOGC`.
    pub(crate) fn this(nats_server: String, run: String) -> Self {
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            cpu: cpu(),
            os: os(),
            load_before: load(),
            nats_server,
            sync: "sync_interval 2m (nats-server's default), file storage, 1 replica",
            gogc: std::env::var("GOGC").unwrap_or_else(|_| "100".to_owned()),
            build: if cfg!(debug_assertions) {
                "dev"
            } else {
                "release"
            },
            run,
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  {} cores, {}, {}", self.cores, self.cpu, self.os)?;
        let (server, sync, gogc) = (&self.nats_server, self.sync, &self.gogc);
        writeln!(f, "  nats-server {server}: {sync}, GOGC={gogc}")?;
        write!(f, "  {} build; {}", self.build, self.run)?;
        if let Some(load) = self.load_before.filter(|load| *load > 0.5) {
            write!(
                f,
                "\n  the machine had other work before (load {load:.1}): figures come out worse"
            )?;
        }
        Ok(())
    }
}

fn cpu() -> String {
    let facts = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = facts
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = model.map(|rest| rest.trim_start_matches([' ', '\t', ':']));
    model.unwrap_or(std::env::consts::ARCH).to_owned()
}

fn os() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{} {}", std::env::consts::OS, release.trim())
        .trim_end()
        .to_owned()
}

/// None where the system does not say.
fn load() -> Option<f64> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    text.split(' ').next()?.parse().ok()
}

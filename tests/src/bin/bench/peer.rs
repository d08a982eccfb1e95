//! Takes a consumer that somebody would write instead of a plug-in, gives the rate at which it
//! works through a backlog.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use sluicegate_tests::environment;
use tokio::process::Command;
use tokio::time::timeout;

use crate::cpu::Used;

/// For one run.
const PATIENCE: Duration = Duration::from_secs(120);

/// Those that are compared with. All do the same with every event: parse, decide, acknowledge.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consumer {
    /// async-nats, an acknowledgement for every event: at least once.
    Native,
    /// async-nats that acknowledges nothing and keeps no position: the most that can be read.
    NativeWithoutAcks,
    /// wasmtime with its defaults and a new store for every event.
    BareWasmtime,
    /// The plug-in library Extism.
    Extism,
    /// nats.js, a loop over its messages.
    JavaScript,
    /// nats.js, a callback for each.
    JavaScriptCallback,
    /// nats-py.
    Python,
}

/// One that is through.
pub(crate) struct Ran {
    /// Events a second, the first tenth left out.
    pub(crate) rate: f64,
    /// Processor time of it and of the broker, with its start, where the system tells.
    pub(crate) used: Option<(Duration, Duration)>,
}

/// What one of them prints when it is through.
#[derive(Deserialize)]
struct Through {
    events: f64,
    seconds: f64,
}

impl Consumer {
    /// For a table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Native => "async-nats with acks",
            Self::NativeWithoutAcks => "async-nats without acks or position",
            Self::BareWasmtime => "bare wasmtime, new store an event",
            Self::Extism => "Extism",
            Self::JavaScript => "nats.js, for await",
            Self::JavaScriptCallback => "nats.js, callback",
            Self::Python => "nats-py",
        }
    }

    /// Whether what it needs could be had.
    pub(crate) fn is_there(self) -> bool {
        self.command().is_ok()
    }

    fn command(self) -> Result<Command> {
        Ok(match self {
            Self::Native => native("acks")?,
            Self::NativeWithoutAcks => native("free")?,
            Self::BareWasmtime => {
                let mut command = program(std::env::current_exe()?, &["bare"]);
                command.arg(environment::guest("decide")?);
                command
            }
            Self::Extism => {
                let mut command = program(found("SLUICE_PEER_EXTISM")?, &[]);
                command.arg(found("SLUICE_PEER_EXTISM_GUEST")?);
                // It makes an error in every call and drops it.
                command.env("RUST_LIB_BACKTRACE", "0");
                command
            }
            Self::JavaScript | Self::JavaScriptCallback => {
                let is_loop = self == Self::JavaScript;
                let mut command = program("node".into(), &[]);
                command.arg(found("SLUICE_PEER_JAVASCRIPT")?);
                command.arg(if is_loop { "loop" } else { "callback" });
                command
            }
            Self::Python => {
                let mut command = program("python3".into(), &[]);
                command.arg(found("SLUICE_PEER_PYTHON")?);
                command.env("PYTHONPATH", found("SLUICE_PEER_PYTHONPATH")?);
                command
            }
        })
    }

    /// Works through the first `count` messages of `EVENTS`.
    pub(crate) async fn through(self, broker: &str, filter: &str, count: u64) -> Result<Ran> {
        let before = Used::now();
        let mut command = self.command()?;
        command.args([broker, "EVENTS", filter, &count.to_string()]);
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output = timeout(PATIENCE, command.output()).await;
        let output = output.with_context(|| format!("{} does not end", self.name()))?;
        let output = output.with_context(|| format!("starting {}", self.name()))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("{} ended with {}: {said}", self.name(), output.status);
        }
        let through: Through = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("what {} printed", self.name()))?;
        ensure!(through.seconds > 0.0, "{} took no time", self.name());
        let used = before.and_then(|before| Some(Used::now()?.since(before)));
        Ok(Ran {
            rate: through.events / through.seconds,
            used: used.map(|used| (used.ended, used.broker)),
        })
    }
}

/// The consumer on async-nats in one of its modes.
pub(crate) fn native(mode: &str) -> Result<Command> {
    Ok(program(found("SLUICE_PEER_NATIVE")?, &[mode]))
}

/// Where something is that could be had.
fn found(variable: &str) -> Result<PathBuf> {
    let path = std::env::var_os(variable).map(PathBuf::from);
    path.with_context(|| format!("{variable} is not set"))
}

fn program(path: PathBuf, words: &[&str]) -> Command {
    let mut command = Command::new(path);
    command.args(words);
    command
}

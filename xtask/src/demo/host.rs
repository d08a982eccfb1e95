//! `sluice` as an operator uses it: the daemon as a child, the other verbs as commands.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::http;
use super::log::{self, Line};
use super::metrics::Metrics;
use crate::child::Child;
use crate::clock;
use crate::run;

/// How long anything may take before the demo gives up.
pub(super) const LIMIT: Duration = Duration::from_secs(60);

const CONFIG: &str = "sluice.toml";
/// The webhook's key; a real one comes from a secret store.
const KEY: (&str, &str) = ("CONTOSO_KEY", "only-for-the-demo");

/// The `sluice` binary in the demo's folder, with the demo's broker.
pub(super) struct Sluice {
    binary: PathBuf,
    folder: PathBuf,
    broker: String,
    admin: u16,
    gateway: u16,
}

impl Sluice {
    pub(super) fn new(binary: &Path, folder: &Path, broker: &str) -> Result<Self> {
        Ok(Self {
            binary: binary.to_owned(),
            folder: folder.to_owned(),
            broker: broker.to_owned(),
            admin: http::free_port()?,
            gateway: http::free_port()?,
        })
    }

    /// Writes `sluice.toml`; `plugins` are its `[plugin.…]` sections.
    pub(super) fn configure(&self, plugins: &str) -> Result<()> {
        let text = format!(
            "[nats]\nurl = \"{}\"\n\n\
             [host]\nname = \"demo\"\ndata_dir = \"data\"\nplugins_dir = \"plugins\"\n\
             shutdown_grace = \"10s\"\n\n\
             [admin]\nlisten = \"127.0.0.1:{}\"\n\n\
             [gateway]\nlisten = \"127.0.0.1:{}\"\n\n\
             [[gateway.source]]\nenvironment = \"contoso\"\nkind = \"dataverse\"\n\
             auth = {{ query = \"code\", key = \"${{{}}}\" }}\n\n\
             [telemetry]\nlog = \"json\"\n# What the host tells of itself would be counted with the rest.\nevents = false\n\n{plugins}",
            self.broker, self.admin, self.gateway, KEY.0
        );
        fs::write(self.folder.join(CONFIG), text)
            .with_context(|| format!("could not write {CONFIG}"))
    }

    /// Starts the daemon and waits until `/readyz` says that every plug-in runs.
    pub(super) fn run(&self) -> Result<Host<'_>> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())?;
        let mut process = Child::start(self.command().args(["run", "--config", CONFIG]), log)?;
        let mut last = String::from("no answer");
        let ready = clock::poll("a host that is ready", LIMIT, || {
            if let Some(status) = process.ended()? {
                bail!("`sluice run` ended at once: {status}");
            }
            // Nothing listens until the host has got that far.
            let Ok(answer) = http::get(self.admin, "/readyz") else {
                return Ok(None);
            };
            last = format!("{} {}", answer.status, answer.body.trim());
            Ok((answer.status == 200).then_some(()))
        });
        ready.with_context(|| format!("/readyz: {last}"))?;
        Ok(Host {
            sluice: self,
            process,
        })
    }

    /// Posts a file to the gateway as Dataverse's webhook does, and shows the answer.
    pub(super) fn webhook(&self, file: &str) -> Result<http::Answer> {
        let path = "/dataverse/contoso?code=";
        println!("   POST {path}…   {file}");
        let body = fs::read(self.folder.join(file))?;
        let answer = http::post_json(self.gateway, &format!("{path}{}", KEY.1), &body)?;
        println!("   {} {}", answer.status, answer.body.trim());
        Ok(answer)
    }

    /// Runs a verb and gives what it printed.
    pub(super) fn quiet(&self, args: &[&str]) -> Result<String> {
        run::output(self.command().args(args))
    }

    /// As [`Sluice::quiet`], with `--json`, whose output is one document.
    pub(super) fn json(&self, args: &[&str]) -> Result<Value> {
        let text = self.quiet(&[args, &["--json"]].concat())?;
        serde_json::from_str(&text)
            .with_context(|| format!("`sluice {} --json` printed no JSON: {text}", args.join(" ")))
    }

    /// Runs a verb and shows it as it looks on a terminal.
    pub(super) fn shown(&self, args: &[&str]) -> Result<String> {
        println!("   $ sluice {}", args.join(" "));
        let text = self.quiet(args)?;
        for line in text.lines() {
            println!("   {line}");
        }
        Ok(text)
    }

    pub(super) fn log_path(&self) -> PathBuf {
        self.folder.join("host.log")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .current_dir(&self.folder)
            .env("NATS_URL", &self.broker)
            .env(KEY.0, KEY.1);
        command
    }
}

/// A running daemon.
pub(super) struct Host<'a> {
    sluice: &'a Sluice,
    process: Child,
}

impl Host<'_> {
    pub(super) fn metrics(&self) -> Result<Metrics> {
        let answer = http::get(self.sluice.admin, "/metrics")?;
        if answer.status != 200 {
            bail!("/metrics: {} {}", answer.status, answer.body.trim());
        }
        Ok(Metrics::parse(&answer.body))
    }

    /// What plug-ins have logged so far, over all starts of the daemon.
    pub(super) fn plugin_lines(&self) -> Result<Vec<Line>> {
        Ok(log::of_plugins(&fs::read_to_string(
            self.sluice.log_path(),
        )?))
    }

    /// Asks the daemon to end and waits for that.
    pub(super) fn terminate(self) -> Result<ExitStatus> {
        self.process.terminate(LIMIT)
    }
}

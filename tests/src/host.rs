//! Takes plug-ins and settings, gives a running `sluice run` that can be killed and started again.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitStatus;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::broker::free_port;
use crate::environment;
use crate::http;
use crate::metrics::Metrics;
use crate::process::{Process, command};
use crate::wait::until;

/// Lines of the host's log that a failed test shows.
const SHOWN_LINES: usize = 120;

/// What goes into the host's folder: plug-in files and `sluice.toml`.
#[derive(Debug, Clone)]
pub struct Setup {
    nats_url: String,
    name: String,
    grace: String,
    plugins: Vec<(String, Vec<u8>)>,
    sections: String,
}

impl Setup {
    /// A host without plug-ins on the broker at `nats_url`.
    pub fn new(nats_url: impl Into<String>) -> Self {
        Self {
            nats_url: nats_url.into(),
            name: "host-1".to_owned(),
            grace: "10s".to_owned(),
            plugins: Vec::new(),
            sections: String::new(),
        }
    }

    /// Adds a guest of `tests/guests`; the plug-in's name is the guest's in kebab-case.
    ///
    /// # Errors
    /// When the guest was not built.
    pub fn guest(self, name: &str) -> Result<Self> {
        let file = environment::guest(name)?;
        Ok(self.file(&format!("{name}.wasm"), std::fs::read(file)?))
    }

    /// Adds a file to the plug-ins folder.
    #[must_use]
    pub fn file(mut self, name: &str, bytes: Vec<u8>) -> Self {
        self.plugins.push((name.to_owned(), bytes));
        self
    }

    /// Adds lines to `sluice.toml`: `[plugin.spin]\ntimeout = "200ms"`.
    #[must_use]
    pub fn with(mut self, sections: &str) -> Self {
        self.sections.push_str(sections);
        self.sections.push('\n');
        self
    }

    /// Another name than the harness's `host-1`.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Another `shutdown_grace` than the harness's 10 s.
    #[must_use]
    pub fn grace(mut self, grace: &str) -> Self {
        grace.clone_into(&mut self.grace);
        self
    }

    /// Writes the folder, starts nothing.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn write(self) -> Result<Host> {
        let folder = TempDir::with_prefix("sluice-host-")?;
        let host = Host {
            folder,
            admin: free_port()?,
            setup: self,
            process: None,
        };
        host.write_files()?;
        Ok(host)
    }

    /// Writes the folder, starts the host and waits until it is ready.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn start(self) -> Result<Host> {
        let mut host = self.write()?;
        host.start().await?;
        Ok(host)
    }
}

/// One host: its folder, and its process while it runs.
///
/// Dropped, it is killed and shows the end of its log, which the test runner prints only
/// for a test that failed.
#[derive(Debug)]
pub struct Host {
    folder: TempDir,
    admin: u16,
    setup: Setup,
    process: Option<Process>,
}

impl Host {
    /// Starts the process and waits until `/readyz` says 200.
    ///
    /// # Errors
    /// When it ends, or is not ready in 40 s.
    pub async fn start(&mut self) -> Result<()> {
        self.spawn()?;
        self.wait_ready(40).await
    }

    /// Starts the process.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(&mut self) -> Result<()> {
        self.kill9();
        let mut sluice = command(&environment::sluice()?);
        sluice
            .args(["run", "--config"])
            .arg(self.config_path())
            .current_dir(self.folder.path());
        self.process = Some(Process::start("sluice run", sluice, &self.log_path())?);
        Ok(())
    }

    /// Waits until `/readyz` says 200.
    ///
    /// # Errors
    /// When the process ends, or is not ready in `seconds`.
    pub async fn wait_ready(&mut self, seconds: u64) -> Result<()> {
        let url = self.admin_url("/readyz");
        let process = self.process.as_mut().context("the host was not started")?;
        let ready = until("the host to be ready", seconds, async || {
            if let Some(status) = process.ended()? {
                return Ok(Err(status));
            }
            let (status, body) = http::get(url.clone()).await?;
            ensure!(status == 200, "/readyz says {status}: {body}");
            Ok(Ok(()))
        })
        .await?;
        ready.map_err(|status| anyhow::anyhow!("the host ended with {status}:\n{}", self.log_end()))
    }

    /// SIGKILL.
    pub fn kill9(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill9();
        }
    }

    /// SIGTERM, without waiting.
    ///
    /// # Errors
    /// When it does not run.
    pub fn terminate(&self) -> Result<()> {
        self.process
            .as_ref()
            .context("the host does not run")?
            .terminate()
    }

    /// Waits until the process has ended.
    ///
    /// # Errors
    /// When it does not run, or still does after `seconds`.
    pub async fn wait_end(&mut self, seconds: u64) -> Result<ExitStatus> {
        let mut process = self.process.take().context("the host does not run")?;
        process.wait(seconds).await
    }

    /// SIGTERM, and waits for the end, which has to be exit status 0.
    ///
    /// # Errors
    /// When it does not run, does not end within 30 s, or ends with another status.
    pub async fn stop(&mut self) -> Result<()> {
        self.terminate()?;
        let status = self.wait_end(30).await?;
        ensure!(
            status.success(),
            "the host ended with {status} after SIGTERM"
        );
        Ok(())
    }

    /// Whether the process is still there.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn runs(&mut self) -> Result<bool> {
        match self.process.as_mut() {
            Some(process) => Ok(process.ended()?.is_none()),
            None => Ok(false),
        }
    }

    /// Adds lines to `sluice.toml`, for the next start.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn reconfigure(&mut self, sections: &str) -> Result<()> {
        self.setup = self.setup.clone().with(sections);
        self.write_files()
    }

    /// A GET on the admin address: status and body.
    ///
    /// # Errors
    /// When nothing answers.
    pub async fn admin(&self, path: &str) -> Result<(u16, String)> {
        http::get(self.admin_url(path)).await
    }

    /// A reading of `/metrics`.
    ///
    /// # Errors
    /// When there is none.
    pub async fn metrics(&self) -> Result<Metrics> {
        let (status, body) = self.admin("/metrics").await?;
        ensure!(status == 200, "/metrics says {status}: {body}");
        Ok(Metrics::new(body))
    }

    /// Waits until `plugin` has read everything and holds nothing back: what was read since
    /// the host's start has its final outcome.
    ///
    /// # Errors
    /// When that is not so after `seconds`.
    pub async fn settled(&self, plugin: &str, seconds: u64) -> Result<()> {
        until(
            &format!("{plugin} to have nothing left to do"),
            seconds,
            async || {
                let metrics = self.metrics().await?;
                ensure!(
                    metrics.has("sluicegate_lag_events"),
                    "no sluicegate_lag_events yet"
                );
                for name in [
                    "sluicegate_lag_events",
                    "sluicegate_in_flight",
                    "sluicegate_lanes_parked",
                ] {
                    let value = metrics.sum(name, &[("plugin", plugin)])?;
                    ensure!(value == 0.0, "{name} is {value}");
                }
                Ok(())
            },
        )
        .await
    }

    /// What the host wrote to standard error, over all its starts.
    ///
    /// # Errors
    /// When it was never started.
    pub fn log(&self) -> Result<String> {
        let bytes = std::fs::read(self.log_path())?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Waits until one log line holds all of `parts`, and gives it.
    ///
    /// # Errors
    /// When there is none after `seconds`.
    pub async fn wait_log(&self, parts: &[&str], seconds: u64) -> Result<String> {
        until(&format!("a log line with {parts:?}"), seconds, async || {
            let log = self.log()?;
            let line = log
                .lines()
                .find(|line| parts.iter().all(|part| line.contains(part)));
            line.map(str::to_owned)
                .with_context(|| format!("none in {} lines", log.lines().count()))
        })
        .await
    }

    /// The `sluice.toml` of this host.
    pub fn config_path(&self) -> PathBuf {
        self.folder.path().join("sluice.toml")
    }

    /// Its `plugins_dir`.
    pub fn plugins_dir(&self) -> PathBuf {
        self.folder.path().join("plugins")
    }

    /// Its `data_dir`.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The port of its admin address.
    pub fn admin_port(&self) -> u16 {
        self.admin
    }

    fn admin_url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.admin)
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("host.log")
    }

    fn log_end(&self) -> String {
        let log = self.log().unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines
            .get(lines.len().saturating_sub(SHOWN_LINES)..)
            .unwrap_or_default()
            .join("\n")
    }

    fn write_files(&self) -> Result<()> {
        std::fs::create_dir_all(self.plugins_dir())?;
        for (name, bytes) in &self.setup.plugins {
            std::fs::write(self.plugins_dir().join(name), bytes)?;
        }
        let config = self.config()?;
        std::fs::write(self.config_path(), config)?;
        Ok(())
    }

    fn config(&self) -> Result<String> {
        let setup = &self.setup;
        let mut config = String::new();
        writeln!(config, "[nats]\nurl = {:?}", setup.nats_url)?;
        writeln!(
            config,
            "[host]\nname = {:?}\ndata_dir = {:?}",
            setup.name,
            self.data_dir()
        )?;
        writeln!(
            config,
            "plugins_dir = {:?}\nshutdown_grace = {:?}",
            self.plugins_dir(),
            setup.grace
        )?;
        writeln!(config, "[admin]\nlisten = \"127.0.0.1:{}\"", self.admin)?;
        writeln!(config, "[events]\nmax_bytes = \"1GiB\"")?;
        writeln!(config, "[telemetry]\nlog = \"json\"")?;
        config.push_str(&setup.sections);
        Ok(config)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.kill9();
        let end = self.log_end();
        if !end.is_empty() {
            eprintln!("--- the end of the host's log ---\n{end}\n---");
        }
    }
}

/// Waits for a host that is expected to refuse to run, and gives its exit status and log.
///
/// # Errors
/// When it still runs after 30 s.
pub async fn refused(host: &mut Host) -> Result<(Option<i32>, String)> {
    host.spawn()?;
    let status = host.wait_end(30).await?;
    if status.success() {
        bail!(
            "the host should have refused to run, and ended with {status}:\n{}",
            host.log()?
        );
    }
    Ok((status.code(), host.log()?))
}

//! Takes a host's folder, gives a running `sluice run` that can be killed and started again.

use std::path::PathBuf;
use std::process::ExitStatus;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::environment;
use crate::gateway::Gateway;
use crate::http;
use crate::metrics::Metrics;
use crate::process::{Process, command};
use crate::setup::{Ports, Setup};
use crate::wait::until;

/// Lines of the host's log that a failed test shows.
const SHOWN_LINES: usize = 120;

/// One host: its folder, and its process while it runs.
///
/// Dropped, it is killed and shows the end of its log, which the test runner prints only
/// for a test that failed.
#[derive(Debug)]
pub struct Host {
    folder: TempDir,
    ports: Ports,
    setup: Setup,
    process: Option<Process>,
    hushed: bool,
}

impl Host {
    pub(crate) fn written(folder: TempDir, ports: Ports, setup: Setup) -> Result<Self> {
        setup.write_into(folder.path(), ports)?;
        Ok(Self {
            folder,
            ports,
            setup,
            process: None,
            hushed: false,
        })
    }

    /// Has the end of its log not shown when it goes: all went well.
    pub fn hush(&mut self) {
        self.hushed = true;
    }

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
            .envs(self.setup.variables())
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
        let token = self.setup.token().map(str::to_owned);
        let process = self.process.as_mut().context("the host was not started")?;
        let ready = until("the host to be ready", seconds, async || {
            if let Some(status) = process.ended()? {
                return Ok(Err(status));
            }
            let (status, body) = http::get(url.clone(), token.as_deref()).await?;
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

    /// SIGSTOP: it stands still, its connections stay.
    ///
    /// # Errors
    /// When it does not run.
    pub fn freeze(&self) -> Result<()> {
        let process = self.process.as_ref();
        process.context("the host does not run")?.freeze()
    }

    /// SIGCONT after [`Host::freeze`].
    ///
    /// # Errors
    /// When it does not run.
    pub fn thaw(&self) -> Result<()> {
        let process = self.process.as_ref();
        process.context("the host does not run")?.thaw()
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

    /// What its process has in memory (`VmRSS` of Linux), in bytes.
    ///
    /// # Errors
    /// When it does not run, or the system has no `/proc`.
    pub fn resident_bytes(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()?))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.context("no VmRSS")?.trim().trim_end_matches(" kB");
        Ok(kib.parse::<u64>()? * 1024)
    }

    /// How many files its process has open, by Linux.
    ///
    /// # Errors
    /// When it does not run, or the system has no `/proc`.
    pub fn open_files(&self) -> Result<usize> {
        Ok(std::fs::read_dir(format!("/proc/{}/fd", self.pid()?))?.count())
    }

    /// Puts a file into its plug-ins folder, in one step: no reader sees a part of it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put_plugin(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let aside = self.plugins_dir().join(format!("{name}.new"));
        std::fs::write(&aside, bytes)?;
        Ok(std::fs::rename(aside, self.plugins_dir().join(name))?)
    }

    /// Adds lines to `sluice.toml`, for the next start.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn reconfigure(&mut self, sections: &str) -> Result<()> {
        self.setup = self.setup.clone().with(sections);
        self.setup.write_into(self.folder.path(), self.ports)
    }

    /// Other lines in `[events]`, for the next start.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn reconfigure_events(&mut self, lines: &str) -> Result<()> {
        self.setup = self.setup.clone().events(lines);
        self.setup.write_into(self.folder.path(), self.ports)
    }

    /// A GET on the admin address: status and body.
    ///
    /// # Errors
    /// When nothing answers.
    pub async fn admin(&self, path: &str) -> Result<(u16, String)> {
        http::get(self.admin_url(path), self.setup.token()).await
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
                    "sluicegate_lanes_blocked",
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
        self.ports.admin
    }

    /// Its gateway, which listens if the setup has a source.
    pub fn gateway(&self) -> Gateway {
        Gateway::at(self.ports.gateway)
    }

    /// The id of its process.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pid(&self) -> Result<u32> {
        let process = self.process.as_ref().context("the host does not run")?;
        Ok(process.id())
    }

    /// The address of a page of its admin port.
    pub fn admin_url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.ports.admin)
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
}

impl Drop for Host {
    fn drop(&mut self) {
        self.kill9();
        let end = self.log_end();
        if !end.is_empty() && !self.hushed {
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

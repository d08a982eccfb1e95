//! Takes a broker's address, gives a `sluice run` that nothing is loaded into but its gateway.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use sluicegate_tests::broker::free_port;
use sluicegate_tests::process::{Process, command};
use sluicegate_tests::{environment, until};
use tempfile::TempDir;

const KEY_VARIABLE: &str = "SLUICE_BENCH_KEY";
const KEY: &str = "5d0c7a1e4b8f4f0e9a63c2f1d7b85e46";

/// Where Dataverse would post to.
pub(crate) fn path() -> String {
    format!("/dataverse/x?code={KEY}")
}

/// A running daemon, killed when dropped.
pub(crate) struct Sluice {
    _process: Process,
    pub(crate) gateway: SocketAddr,
    folder: TempDir,
}

impl Sluice {
    /// Starts it and waits until it is ready.
    pub(crate) async fn start(broker: &str) -> Result<Self> {
        let folder = TempDir::with_prefix("sluice-bench-")?;
        let (gateway, admin) = (free_port()?, free_port()?);
        let config = folder.path().join("sluice.toml");
        std::fs::create_dir(folder.path().join("plugins"))?;
        std::fs::write(
            &config,
            format!(
                "[nats]\nurl = \"{broker}\"\n\
                 [host]\nname = \"bench\"\ndata_dir = \"data\"\nplugins_dir = \"plugins\"\n\
                 [events]\nmax_bytes = \"4GiB\"\n\
                 [admin]\nlisten = \"127.0.0.1:{admin}\"\n\
                 [gateway]\nlisten = \"127.0.0.1:{gateway}\"\n\
                 [[gateway.source]]\nenvironment = \"x\"\nkind = \"dataverse\"\n\
                 auth = {{ query = \"code\", key = \"${{{KEY_VARIABLE}}}\" }}\n"
            ),
        )?;
        let mut run = command(&environment::sluice()?);
        run.args(["run", "--config"]).arg(&config);
        run.env(KEY_VARIABLE, KEY).env_remove("NATS_URL");
        let log = folder.path().join("host.log");
        let mut process = Process::start("sluice", run, &log)?;
        let ready = until("sluice to be ready", 30, async || {
            if let Some(status) = process.ended()? {
                return Ok(Err(status));
            }
            let (status, body) =
                sluicegate_tests::http::get(format!("http://127.0.0.1:{admin}/readyz"), None)
                    .await?;
            if status != 200 {
                bail!("/readyz says {status}: {body}");
            }
            Ok(Ok(()))
        })
        .await;
        let log = || std::fs::read_to_string(&log).unwrap_or_default();
        if let Err(status) = ready.with_context(log)? {
            bail!("`sluice run` ended with {status}; its log:\n{}", log());
        }
        Ok(Self {
            _process: process,
            gateway: SocketAddr::from(([127, 0, 0, 1], gateway)),
            folder,
        })
    }

    /// The end of what it logged, for an error.
    pub(crate) fn log(&self) -> String {
        let log = std::fs::read_to_string(self.folder.path().join("host.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let end = lines.get(lines.len().saturating_sub(20)..);
        end.unwrap_or_default().join("\n")
    }
}

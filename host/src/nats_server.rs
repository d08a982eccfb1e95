//! Takes a data folder, gives a nats-server of the host's own, for `nats.url = "embedded"`.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use async_nats::ServerAddr;
use tokio::process::{Child, Command};

/// Names the nats-server to use before `PATH` is searched.
pub const BINARY: &str = "SLUICE_NATS_SERVER";

const START_PATIENCE: Duration = Duration::from_secs(20);

/// Why there is no nats-server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// None is installed.
    #[error(
        "nats.url is \"embedded\", but no nats-server was found: set {BINARY} to its path, put it \
         on PATH, or give nats.url an address"
    )]
    NotFound,
    /// Its folder, its port or its process cannot be had.
    #[error("nats-server cannot be started: {what}")]
    Start {
        /// What was being done.
        what: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// It runs but does not answer.
    #[error("nats-server does not listen on port {port} after {START_PATIENCE:?}; see {}", log.display())]
    Silent {
        /// The port it was given.
        port: u16,
        /// Its log.
        log: PathBuf,
    },
    /// It ended by itself.
    #[error("nats-server ended with {status}; see {}", log.display())]
    Ended {
        /// Its exit status.
        status: std::process::ExitStatus,
        /// Its log.
        log: PathBuf,
    },
}

/// A running child. It is killed when this is dropped, and, where `setpriv` is installed,
/// also when the host is killed.
pub struct NatsServer {
    child: Child,
    port: u16,
    log: PathBuf,
}

impl NatsServer {
    /// Starts it, on a free port of the loopback, and waits until it listens. The address is
    /// also written to `nats.url` in the folder, for the command line.
    pub async fn start(data_dir: &Path) -> Result<Self, Error> {
        let port = free_port().map_err(|source| Error::Start {
            what: "finding a free port".to_owned(),
            source,
        })?;
        Self::start_on(data_dir, port).await
    }

    async fn start_on(data_dir: &Path, port: u16) -> Result<Self, Error> {
        let binary = find().ok_or(Error::NotFound)?;
        let folder = data_dir.join("nats");
        let failed = |what: &str| {
            let what = what.to_owned();
            move |source| Error::Start { what, source }
        };
        std::fs::create_dir_all(&folder).map_err(failed("making its folder"))?;
        let log = folder.join("nats-server.log");
        let mut command = dying_with_us(&binary);
        // A small heap of short-lived messages: the default collects it many times a second.
        if std::env::var_os("GOGC").is_none() {
            command.env("GOGC", "400");
        }
        command
            .args(["-a", "127.0.0.1", "-p", &port.to_string(), "-js", "-sd"])
            .arg(&folder)
            .arg("-l")
            .arg(&log)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let child = command.spawn().map_err(failed("running it"))?;
        let mut server = Self { child, port, log };
        server.wait_until_it_listens().await?;
        std::fs::write(data_dir.join("nats.url"), server.url())
            .map_err(failed("writing nats.url"))?;
        tracing::info!(url = server.url(), "nats-server started");
        Ok(server)
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The same, parsed.
    pub fn address(&self) -> Result<ServerAddr, Error> {
        self.url().parse().map_err(|source| Error::Start {
            what: format!("reading its address {}", self.url()),
            source,
        })
    }

    /// Starts it again, on the same port and folder, whenever it ends by itself; gives back
    /// only when that fails.
    pub async fn keep_running(&mut self, data_dir: &Path) -> Error {
        loop {
            match self.child.wait().await {
                Ok(status) => tracing::error!(%status, "nats-server ended; starting it again"),
                Err(error) => tracing::error!(%error, "nats-server is gone; starting it again"),
            }
            match Self::start_on(data_dir, self.port).await {
                Ok(again) => *self = again,
                Err(error) => return error,
            }
        }
    }

    async fn wait_until_it_listens(&mut self) -> Result<(), Error> {
        let deadline = tokio::time::Instant::now() + START_PATIENCE;
        loop {
            let address = (Ipv4Addr::LOCALHOST, self.port);
            if tokio::net::TcpStream::connect(address).await.is_ok() {
                return Ok(());
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                let log = self.log.clone();
                return Err(Error::Ended { status, log });
            }
            if deadline < tokio::time::Instant::now() {
                return Err(Error::Silent {
                    port: self.port,
                    log: self.log.clone(),
                });
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn find() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os(BINARY) {
        return Some(PathBuf::from(named));
    }
    on_path("nats-server")
}

fn on_path(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// `setpriv` has the kernel kill the child when the thread that started it ends.
fn dying_with_us(binary: &Path) -> Command {
    match on_path("setpriv") {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL", "--"]).arg(binary);
            command
        }
        None => Command::new(binary),
    }
}

fn free_port() -> std::io::Result<u16> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()
        .map(|address| address.port())
}

//! Takes the nats-server binary, gives a broker of the test's own that can be killed and brought back.

use std::net::TcpListener;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use async_nats::jetstream;
use serde::Deserialize;
use tempfile::TempDir;

use crate::environment;
use crate::process::{Process, command};
use crate::wait::until;

/// A nats-server child on a port of its own, with a store folder that survives its death.
#[derive(Debug)]
pub struct Broker {
    folder: TempDir,
    port: u16,
    /// Lines of its configuration file.
    settings: String,
    process: Option<Process>,
}

/// The part of the server's ports file that is read.
#[derive(Deserialize)]
struct Ports {
    nats: Vec<String>,
}

impl Broker {
    /// Starts one on a port that the server picks itself.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start() -> Result<Self> {
        Self::start_with("").await
    }

    /// Starts one with these lines in its configuration file: `max_payload: 65536`.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start_with(settings: &str) -> Result<Self> {
        let mut broker = Self {
            folder: TempDir::with_prefix("sluice-broker-")?,
            port: 0,
            settings: settings.to_owned(),
            process: None,
        };
        broker.launch()?;
        broker.port = until("nats-server's ports file", 20, async || {
            broker.port_from_file()
        })
        .await?;
        broker.wait_up().await?;
        Ok(broker)
    }

    /// Starts three that are one cluster, and waits until it has a leader.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn cluster() -> Result<[Self; 3]> {
        let ports = [free_port()?, free_port()?, free_port()?];
        let routes = ports.map(|port| format!("nats-route://127.0.0.1:{port}"));
        let mut nodes = Vec::new();
        for (number, port) in ports.iter().enumerate() {
            let mut node = Self::not_started()?;
            node.settings = format!(
                "server_name: n{number}\ncluster {{ name: tests, listen: \"127.0.0.1:{port}\", \
                 routes: [{}] }}\n",
                routes.join(", ")
            );
            node.launch()?;
            nodes.push(node);
        }
        for node in &mut nodes {
            node.wait_up().await?;
        }
        nodes
            .try_into()
            .map_err(|_| anyhow::anyhow!("not three nodes"))
    }

    /// A broker that is not there yet: its address is known, nothing listens on it.
    ///
    /// # Errors
    /// When no free port can be had.
    pub fn not_started() -> Result<Self> {
        let folder = TempDir::with_prefix("sluice-broker-")?;
        Ok(Self {
            folder,
            port: free_port()?,
            settings: String::new(),
            process: None,
        })
    }

    /// Starts it (again) on the same port and the same store.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn restart(&mut self) -> Result<()> {
        self.kill9();
        // Another test's outgoing connection may sit on the port for a moment.
        until("nats-server to come up again", 30, async || {
            self.launch()?;
            let started = self.wait_up().await;
            if started.is_err() {
                self.kill9();
            }
            started
        })
        .await
    }

    /// SIGKILL: nothing is flushed, nobody is told.
    pub fn kill9(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill9();
        }
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Errors
    /// When it does not run, or does not end in 20 s.
    pub async fn stop(&mut self) -> Result<()> {
        let mut process = self.process.take().context("the broker does not run")?;
        process.terminate()?;
        process.wait(20).await.map(drop)
    }

    /// The files of its store that hold these bytes.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn files_with(&self, bytes: &[u8]) -> Result<Vec<PathBuf>> {
        let mut folders = vec![self.folder.path().join("store")];
        let mut found = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                // One that has gone meanwhile holds nothing.
                let content = std::fs::read(&path).unwrap_or_default();
                if content.windows(bytes.len()).any(|window| window == bytes) {
                    found.push(path);
                }
            }
        }
        Ok(found)
    }

    /// SIGSTOP: it accepts connections still, for the kernel does, and answers nothing.
    ///
    /// # Errors
    /// When it does not run.
    pub fn freeze(&self) -> Result<()> {
        let process = self.process.as_ref();
        process.context("the broker does not run")?.freeze()
    }

    /// SIGCONT after [`Broker::freeze`].
    ///
    /// # Errors
    /// When it does not run.
    pub fn thaw(&self) -> Result<()> {
        let process = self.process.as_ref();
        process.context("the broker does not run")?.thaw()
    }

    /// The port of its client connections.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `nats://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// A JetStream context on a connection of its own, which reconnects after a restart.
    ///
    /// # Errors
    /// When it cannot be connected.
    pub async fn jetstream(&self) -> Result<jetstream::Context> {
        connect(&self.url()).await
    }

    fn launch(&mut self) -> Result<()> {
        let mut server = command(&environment::nats_server()?);
        if !self.settings.is_empty() {
            let file = self.folder.path().join("nats.conf");
            std::fs::write(&file, &self.settings)?;
            server.arg("--config").arg(file);
        }
        let port = if self.port == 0 {
            "-1".to_owned()
        } else {
            self.port.to_string()
        };
        server.args([
            "--addr",
            "127.0.0.1",
            "--port",
            &port,
            "--jetstream",
            "--store_dir",
        ]);
        server.arg(self.folder.path().join("store"));
        server.arg("--ports_file_dir").arg(self.folder.path());
        self.process = Some(Process::start("nats-server", server, &self.log())?);
        Ok(())
    }

    async fn wait_up(&mut self) -> Result<()> {
        let (url, log) = (self.url(), self.log());
        let Some(process) = self.process.as_mut() else {
            bail!("the broker was not started")
        };
        let up = until("nats-server to answer", 20, async || {
            if let Some(status) = process.ended()? {
                return Ok(Err(status));
            }
            connect(&url).await?.query_account().await?;
            Ok(Ok(()))
        })
        .await?;
        if let Err(status) = up {
            bail!(
                "nats-server ended with {status}; its log: {}",
                std::fs::read_to_string(log)?
            );
        }
        Ok(())
    }

    fn port_from_file(&self) -> Result<u16> {
        for entry in std::fs::read_dir(self.folder.path())? {
            let path = entry?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "ports")
            {
                let ports: Ports = serde_json::from_slice(&std::fs::read(path)?)?;
                let url = ports.nats.first().context("no address in the ports file")?;
                let port = url.rsplit(':').next().context("no port in the address")?;
                return Ok(port.parse()?);
            }
        }
        bail!("no ports file yet")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("nats-server.log")
    }
}

/// A JetStream context on a new connection.
///
/// # Errors
/// When nobody answers at `url`.
pub async fn connect(url: &str) -> Result<jetstream::Context> {
    let client = async_nats::connect(url)
        .await
        .with_context(|| format!("connecting to {url}"))?;
    Ok(jetstream::new(client))
}

/// A port that nothing listens on at the moment.
///
/// # Errors
/// When the system has none.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

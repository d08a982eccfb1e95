//! Takes plug-ins, sources and settings, gives the folder of a host: `sluice.toml` and what it names.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::broker::free_port;
use crate::environment;
use crate::gateway::Source;
use crate::host::Host;

/// What goes into the host's folder: plug-in files and `sluice.toml`.
#[derive(Debug, Clone)]
pub struct Setup {
    nats_url: String,
    replicas: u8,
    name: String,
    grace: String,
    events: String,
    plugins: Vec<(String, Vec<u8>)>,
    beside: Vec<(String, Vec<u8>)>,
    sources: Vec<Source>,
    gateway: String,
    admin: String,
    token: Option<String>,
    telemetry: String,
    sections: String,
    variables: Vec<(String, String)>,
}

/// The ports that a host was given when its folder was written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) admin: u16,
    pub(crate) gateway: u16,
}

impl Setup {
    /// A host without plug-ins on the broker at `nats_url`.
    pub fn new(nats_url: impl Into<String>) -> Self {
        Self {
            nats_url: nats_url.into(),
            replicas: 1,
            name: "host-1".to_owned(),
            grace: "10s".to_owned(),
            events: "max_bytes = \"1GiB\"".to_owned(),
            plugins: Vec::new(),
            beside: Vec::new(),
            sources: Vec::new(),
            gateway: String::new(),
            admin: String::new(),
            token: None,
            telemetry: String::new(),
            sections: String::new(),
            variables: Vec::new(),
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

    /// Adds a file beside `sluice.toml`, for a setting to name.
    #[must_use]
    pub fn beside(mut self, name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.beside.push((name.to_owned(), bytes.into()));
        self
    }

    /// Has the gateway listen, on a port of its own, and take what `source` sends.
    #[must_use]
    pub fn source(mut self, source: &Source) -> Self {
        self.sources.push(source.clone());
        self
    }

    /// Adds lines to `[gateway]`: `spool = true`. They count only beside a [`Setup::source`].
    #[must_use]
    pub fn gateway(mut self, lines: &str) -> Self {
        self.gateway.push_str(lines);
        self.gateway.push('\n');
        self
    }

    /// Adds lines to `[admin]`.
    #[must_use]
    pub fn admin(mut self, lines: &str) -> Self {
        self.admin.push_str(lines);
        self.admin.push('\n');
        self
    }

    /// Has the admin port ask for this token, and the harness give it.
    #[must_use]
    pub fn guarded(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self.variable("ADMIN_TOKEN", token)
            .admin("token = \"${ADMIN_TOKEN}\"")
    }

    pub(crate) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Adds lines to `[telemetry]`: `sample = 0.5`.
    #[must_use]
    pub fn telemetry(mut self, lines: &str) -> Self {
        self.telemetry.push_str(lines);
        self.telemetry.push('\n');
        self
    }

    /// Other lines in `[events]` than the harness's `max_bytes = "1GiB"`.
    #[must_use]
    pub fn events(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.events);
        self
    }

    /// Adds lines to `sluice.toml`: `[plugin.spin]\ntimeout = "200ms"`.
    #[must_use]
    pub fn with(mut self, sections: &str) -> Self {
        self.sections.push_str(sections);
        self.sections.push('\n');
        self
    }

    /// So many copies of each stream, on a broker that is a cluster.
    #[must_use]
    pub fn replicas(mut self, replicas: u8) -> Self {
        self.replicas = replicas;
        self
    }

    /// A variable in the environment of the host.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
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
        let ports = Ports {
            admin: free_port()?,
            gateway: free_port()?,
        };
        Host::written(folder, ports, self)
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

    /// The variables that the host's process has to have, the keys of the sources among them.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        let numbered = self.sources.iter().enumerate();
        numbered
            .map(|(number, source)| (Source::variable(number), source.key().to_owned()))
            .chain(self.variables.clone())
            .collect()
    }

    /// Writes everything into `folder`.
    pub(crate) fn write_into(&self, folder: &Path, ports: Ports) -> Result<()> {
        std::fs::create_dir_all(folder.join("plugins"))?;
        for (name, bytes) in &self.plugins {
            std::fs::write(folder.join("plugins").join(name), bytes)?;
        }
        for (name, bytes) in &self.beside {
            std::fs::write(folder.join(name), bytes)?;
        }
        let config = folder.join("sluice.toml");
        std::fs::write(&config, self.config(folder, ports)?)
            .with_context(|| config.display().to_string())
    }

    fn config(&self, folder: &Path, ports: Ports) -> Result<String> {
        let mut config = String::new();
        writeln!(
            config,
            "[nats]\nurl = {:?}\nreplicas = {}",
            self.nats_url, self.replicas
        )?;
        writeln!(
            config,
            "[host]\nname = {:?}\ndata_dir = {:?}",
            self.name,
            folder.join("data")
        )?;
        writeln!(
            config,
            "plugins_dir = {:?}\nshutdown_grace = {:?}",
            folder.join("plugins"),
            self.grace
        )?;
        let listen = format!("127.0.0.1:{}", ports.admin);
        writeln!(config, "[admin]\nlisten = {listen:?}\n{}", self.admin)?;
        writeln!(config, "[events]\n{}", self.events)?;
        writeln!(config, "[telemetry]\nlog = \"json\"\n{}", self.telemetry)?;
        // Most tests count what is in the event store.
        if !self.telemetry.contains("events = ") {
            writeln!(config, "events = false")?;
        }
        if !self.sources.is_empty() {
            writeln!(
                config,
                "[gateway]\nlisten = \"127.0.0.1:{}\"\n{}",
                ports.gateway, self.gateway
            )?;
        }
        for (number, source) in self.sources.iter().enumerate() {
            config.push_str(&source.config(number));
        }
        config.push_str(&self.sections);
        Ok(config)
    }
}

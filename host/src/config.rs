//! Takes `sluice.toml` and the environment, gives a Config.
//!
//! Every value has its default filled in, every path is absolute or starts at the
//! file's folder. docs/config.md shows each key; a test keeps the two together.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::manifest::{self, Manifest};

mod access;
pub(crate) mod admin;
pub mod bridge;
mod events;
mod gateway;
mod nats;
mod outgoing;
mod plugin;
mod projections;
mod raw;
mod resolve;
mod schemas;
mod secret;
#[cfg(test)]
mod tests;
mod trust;

pub use bridge::Bridge;
pub use events::{Events, StreamSource};
pub use gateway::{Auth, Gateway, GatewaySource, GatewayTls, Place, SourceKind};
pub use nats::{Nats, Server, Tls};
pub use outgoing::{Credential, Http, SecretUse};
pub use plugin::Override;
pub use projections::{Postgresql, Projections};
pub use schemas::{Policy, Schemas};
pub use secret::Secret;
pub use trust::{Trust, key as public_key};

/// Why the daemon's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file itself cannot be read.
    #[error("{}: cannot be read; check that it is there and that this user may read it", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Something in it is wrong.
    #[error(transparent)]
    File(#[from] manifest::Error),
    /// A file that holds a secret cannot be read, or is empty.
    #[error("{file}:{line}: {key}: the secret's file {} {reason}", path.display())]
    SecretFile {
        /// The file that names it.
        file: String,
        /// Line, from 1.
        line: usize,
        /// `[table] key`.
        key: String,
        /// The secret's file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// `[plugin.<name>]` grants what the plug-in's manifest does not ask for.
    #[error(
        "{file}:{line}: [plugin.{plugin}] {key}: found {found:?}, which the manifest does not ask for; expected some of {asked}, since this file may narrow a capability but not widen it"
    )]
    Widened {
        /// The daemon's file.
        file: String,
        /// Line, from 1.
        line: usize,
        /// Name of the plug-in.
        plugin: String,
        /// The capability.
        key: &'static str,
        /// What was granted.
        found: String,
        /// What the manifest asks for.
        asked: String,
    },
    /// With the overrides, the plug-in's manifest contradicts itself.
    #[error("{file}:{line}: [plugin.{plugin}] with the plug-in's manifest: {key}: {reason}")]
    Override {
        /// The daemon's file.
        file: String,
        /// Line of the table, from 1.
        line: usize,
        /// Name of the plug-in.
        plugin: String,
        /// What of the manifest.
        key: &'static str,
        /// What is wrong and what to do.
        reason: String,
    },
}

/// The daemon's configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The broker.
    pub nats: Nats,
    /// This daemon.
    pub host: Host,
    /// The event store.
    pub events: Events,
    /// Positions, inbox, state, outbox.
    pub ledger: Ledger,
    /// HTTP in.
    pub gateway: Gateway,
    /// HTTP for operators.
    pub admin: Admin,
    /// Logs and traces.
    pub telemetry: Telemetry,
    /// Outgoing requests of plug-ins.
    pub http: Http,
    /// Where the rows of projections are.
    pub projections: Projections,
    /// What becomes of events that do not fit their schema.
    pub schemas: Schemas,
    /// `[secret.<name>]`, by name.
    pub secrets: BTreeMap<String, SecretUse>,
    /// Whose plug-ins are run.
    pub trust: Trust,
    /// `[[bridge]]`: what is exchanged with other brokers.
    pub bridges: Vec<Bridge>,
    /// `[plugin.<name>]`, by name; see [`Config::apply`].
    pub plugins: BTreeMap<String, Override>,
}

/// `[host]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Name among the hosts of one cluster, 1 to 63 of `[A-Za-z0-9_-]`.
    pub name: String,
    /// What the daemon writes: an embedded server's data, compiled plug-ins.
    pub data_dir: PathBuf,
    /// Watched for `*.wasm`.
    pub plugins_dir: PathBuf,
    /// How long a stop waits for calls under way.
    pub shutdown_grace: Duration,
}

/// `[ledger]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    /// Whether there is one.
    pub mode: LedgerMode,
    /// How long finished event ids are remembered.
    pub dedup_window: Duration,
    /// Most events of one commit, 1 to 1000.
    pub commit_events: usize,
    /// How long a commit waits for more events.
    pub commit_delay: Duration,
}

/// Whether outcomes, state and emitted events are committed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LedgerMode {
    /// Yes: effects happen once.
    On,
    /// No inbox: at least once.
    Off,
}

/// `[admin]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Where `/healthz`, `/readyz` and `/metrics` are served.
    pub listen: SocketAddr,
    /// Bearer token of an operator who is called `operator`; it or a user is there unless
    /// `listen` is a loopback address.
    pub token: Option<Secret>,
    /// Served over TLS only.
    pub tls: Option<AdminTls>,
    /// Who may look, and who may act.
    pub users: Vec<User>,
    /// JSON pointers, `*` for any member, to what viewers do not see of a body.
    pub mask: Vec<String>,
}

/// `[admin.tls]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminTls {
    /// PEM, leaf first.
    pub cert: PathBuf,
    /// PEM.
    pub key: PathBuf,
    /// PEM of the authorities whose certificates users show.
    pub client_ca: Option<PathBuf>,
}

/// `[[admin.user]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// By which the audit knows them.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// How they show who they are.
    pub proof: Proof,
}

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Look, at bodies with `admin.mask` over them.
    Viewer,
    /// Look at everything, and act.
    Operator,
}

/// How a user shows who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// A bearer token; the console asks for it once.
    Token(Secret),
    /// The common name of a certificate of `admin.tls.client_ca`.
    Certificate(String),
}

/// `[telemetry]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Telemetry {
    /// Form of the log.
    pub log: LogFormat,
    /// Where an OpenTelemetry collector takes traces, by OTLP over gRPC.
    pub otlp: Option<String>,
    /// The share of traces that are exported, 0 to 1, where no sender has decided.
    pub sample: f64,
    /// Whether the host's own life is told as events.
    pub events: bool,
    /// Which attempts are written down.
    pub journal: JournalMode,
    /// Bytes of the stream that they are written down in; the oldest go first.
    pub journal_max_bytes: u64,
}

/// Which attempts are written down in the stream JOURNAL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JournalMode {
    /// Every one.
    All,
    /// Those that did not end well.
    Failures,
    /// None.
    Off,
}

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines to read.
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for Host {
    fn default() -> Self {
        Self {
            name: "host-1".to_owned(),
            data_dir: PathBuf::from(".sluicegate"),
            plugins_dir: PathBuf::from("plugins"),
            shutdown_grace: Duration::from_secs(20),
        }
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Default for Ledger {
    fn default() -> Self {
        Self {
            mode: LedgerMode::On,
            dedup_window: 7 * DAY,
            commit_events: 500,
            commit_delay: Duration::from_millis(2),
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9365)),
            token: None,
            tls: None,
            users: Vec::new(),
            mask: Vec::new(),
        }
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            log: LogFormat::Text,
            otlp: None,
            events: true,
            journal: JournalMode::All,
            journal_max_bytes: 256 << 20,
            sample: 1.0,
        }
    }
}

/// What an empty file gives, with paths from the current folder: for verbs that are
/// called without a file.
impl Default for Config {
    fn default() -> Self {
        Self {
            nats: Nats::default(),
            host: Host::default(),
            events: Events::default(),
            ledger: Ledger::default(),
            gateway: Gateway::default(),
            admin: Admin::default(),
            telemetry: Telemetry::default(),
            http: Http::default(),
            projections: Projections::default(),
            schemas: Schemas::default(),
            secrets: BTreeMap::new(),
            trust: Trust::default(),
            bridges: Vec::new(),
            plugins: BTreeMap::new(),
        }
    }
}

impl Config {
    /// Reads a file and the environment. Relative paths start at the file's folder.
    ///
    /// # Errors
    /// The first thing that is wrong: [`Error`] names file, line, key, what was found
    /// and what is allowed. No value from the environment is ever in it.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Read {
            file: path.to_owned(),
            source,
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, &path.display().to_string(), folder, &|name| {
            std::env::var(name).ok()
        })
    }

    /// Reads a text. `origin` is the file's name in errors, relative paths start at
    /// `folder`, `lookup` gives the environment's variables.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(
        text: &str,
        origin: &str,
        folder: &Path,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Error> {
        resolve::config(text, origin, folder, lookup)
    }

    /// What the file says about one plug-in.
    pub fn overrides_for(&self, plugin: &str) -> Option<&Override> {
        self.plugins.get(plugin)
    }

    /// The operator's word over the manifest's: delivery, retry, limits and config
    /// values replace; capabilities only narrow.
    ///
    /// # Errors
    /// [`Error::Widened`] for a capability that the manifest does not ask for,
    /// [`Error::Override`] when the result contradicts itself.
    pub fn apply(&self, manifest: Manifest) -> Result<Manifest, Error> {
        match self.overrides_for(&manifest.name) {
            Some(words) => words.apply(manifest),
            None => Ok(manifest),
        }
    }
}

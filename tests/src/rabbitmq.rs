//! Takes Debian's RabbitMQ, gives an AMQP 1.0 broker that can be killed and brought back.
//!
//! It stands in for Azure Service Bus. One process: Erlang's runtime is started by itself, with
//! files in a folder of the test's own, without the port mapper that its nodes otherwise share.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::json;
use tempfile::TempDir;

use crate::amqp::Peer;
use crate::broker::free_port;
use crate::environment;
use crate::process::{Process, command};
use crate::wait::until;

/// Who may come.
pub const USER: &str = "sluice";
/// His password.
pub const PASSWORD: &str = "of-the-test";

/// A RabbitMQ child; dropped, it is killed.
#[derive(Debug)]
pub struct RabbitMq {
    root: PathBuf,
    folder: TempDir,
    port: u16,
    own_port: u16,
    process: Option<Process>,
}

impl RabbitMq {
    /// Starts one with these durable queues; what a queue `orders` is rejected goes to
    /// `orders.dead`. `None` when there is no RabbitMQ: then that is told, and the caller skips.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start(queues: &[&str]) -> Result<Option<Self>> {
        let Some(root) = environment::outsider("SLUICE_RABBITMQ") else {
            return Ok(None);
        };
        let mut broker = Self {
            root,
            folder: TempDir::with_prefix("sluice-rabbitmq-")?,
            port: free_port()?,
            own_port: free_port()?,
            process: None,
        };
        broker.write_files(queues)?;
        broker.restart().await?;
        Ok(Some(broker))
    }

    /// SIGKILL: nothing is flushed, nobody is told.
    pub fn kill9(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill9();
        }
    }

    /// Starts it (again) on the same port and the same files.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn restart(&mut self) -> Result<()> {
        self.kill9();
        self.launch()?;
        let (port, log) = (self.port, self.log());
        let process = self.process.as_mut().context("it was not started")?;
        let up = until("RabbitMQ to answer", 120, async || {
            if let Some(status) = process.ended()? {
                return Ok(Err(status));
            }
            Peer::connect(port).await.map(|_| Ok(()))
        })
        .await?;
        if let Err(status) = up {
            bail!(
                "RabbitMQ ended with {status}; its log: {}",
                std::fs::read_to_string(log)?
            );
        }
        Ok(())
    }

    /// `amqp://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("amqp://127.0.0.1:{}", self.port)
    }

    /// The port that it takes connections on.
    pub fn port(&self) -> u16 {
        self.port
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("rabbitmq.log")
    }

    fn write_files(&self, queues: &[&str]) -> Result<()> {
        let folder = self.folder.path();
        let queues = queues.iter().flat_map(|name| {
            let dead = format!("{name}.dead");
            let rejected = json!({
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": dead,
            });
            [
                json!({ "name": name, "vhost": "/", "durable": true, "auto_delete": false,
                        "arguments": rejected }),
                json!({ "name": dead, "vhost": "/", "durable": true, "auto_delete": false,
                        "arguments": {} }),
            ]
        });
        let definitions = json!({
            "vhosts": [{ "name": "/" }],
            "users": [{ "name": USER, "password": PASSWORD, "tags": "" }],
            "permissions": [{ "user": USER, "vhost": "/", "configure": ".*", "write": ".*",
                              "read": ".*" }],
            "queues": queues.collect::<Vec<_>>(),
        });
        let file = folder.join("definitions.json");
        std::fs::write(&file, definitions.to_string())?;
        let settings = format!(
            "listeners.tcp.default = 127.0.0.1:{}\nlog.console = true\nlog.console.level = \
             warning\nlog.file = false\nload_definitions = {}\n",
            self.port,
            file.display()
        );
        std::fs::write(folder.join("rabbitmq.conf"), settings)?;
        std::fs::write(folder.join("enabled_plugins"), "[rabbitmq_amqp1_0].")?;
        Ok(())
    }

    fn launch(&mut self) -> Result<()> {
        let erlang = self.root.join("usr/lib/erlang");
        let programs = only(&erlang, "erts-")?.join("bin");
        let home = only(&self.root.join("usr/lib/rabbitmq/lib"), "rabbitmq_server-")?;
        let folder = self.folder.path();
        let node = format!("n{}@localhost", self.port);
        let mut erl = command(&programs.join("erlexec"));
        erl.current_dir(folder)
            .env("ROOTDIR", &erlang)
            .env("BINDIR", &programs)
            .env("EMU", "beam")
            .env("PROGNAME", "erl")
            .env("HOME", folder)
            .env("SYS_PREFIX", "")
            .env("ERL_LIBS", home.join("plugins"))
            .env("ERL_MAX_ETS_TABLES", "50000")
            .env("RABBITMQ_HOME", &home)
            .env("RABBITMQ_PLUGINS_DIR", home.join("plugins"))
            .env("RABBITMQ_CONFIG_FILE", folder.join("rabbitmq"))
            .env("RABBITMQ_CONF_ENV_FILE", folder.join("none"))
            .env(
                "RABBITMQ_ENABLED_PLUGINS_FILE",
                folder.join("enabled_plugins"),
            )
            .env("RABBITMQ_GENERATED_CONFIG_DIR", folder.join("generated"))
            .env("RABBITMQ_MNESIA_BASE", folder.join("store"))
            .env("RABBITMQ_MNESIA_DIR", folder.join("store/node"))
            .env("RABBITMQ_LOG_BASE", folder.join("log"))
            .env("RABBITMQ_PID_FILE", folder.join("pid"))
            .env("RABBITMQ_NODENAME", &node)
            .args(["-pa", "", "-noinput", "-s", "rabbit", "boot"])
            .args(["-boot", "start_sasl", "-start_epmd", "false"])
            .args(["-erl_epmd_port", &self.own_port.to_string()])
            .args(["-sname", &node])
            .args(["-kernel", "inet_dist_use_interface", "{127,0,0,1}"])
            .args(["+W", "w", "+sbwt", "none", "+S", "2:2"])
            .args(["-syslog", "logger", "[]"])
            .args(["-syslog", "syslog_error_logger", "false"])
            .args(["-kernel", "prevent_overlapping_partitions", "false"]);
        self.process = Some(Process::start("RabbitMQ", erl, &self.log())?);
        Ok(())
    }
}

/// The folder below `parent` whose name begins so: versions are in the names.
fn only(parent: &Path, beginning: &str) -> Result<PathBuf> {
    let entries = std::fs::read_dir(parent).with_context(|| parent.display().to_string())?;
    let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let is_it = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with(beginning))
    };
    let found = paths.find(is_it);
    found.with_context(|| format!("nothing in {} is called {beginning}…", parent.display()))
}

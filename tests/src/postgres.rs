//! Takes nothing, gives a real PostgreSQL of a test's own, that can be killed and comes back.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::broker::free_port;
use crate::environment;
use crate::process::{Process, command};
use crate::setup::Setup;
use crate::tls::Identity;
use crate::wait::until;

/// Who runs it where the test is root, which it refuses to be run by: `nobody`.
const NOBODY: u32 = 65_534;

/// One server, with one database.
#[derive(Debug)]
pub struct Postgres {
    process: Option<Process>,
    folder: TempDir,
    programs: PathBuf,
    port: u16,
}

impl Postgres {
    /// Starts one. `None` when there is none here: that is told.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start() -> Result<Option<Self>> {
        let Some(programs) = environment::outsider("SLUICE_POSTGRES") else {
            return Ok(None);
        };
        let folder = TempDir::with_prefix("sluice-postgres-")?;
        let identity = Identity::of(&["localhost", "127.0.0.1"])?;
        fs::write(folder.path().join("server.pem"), identity.cert)?;
        let key = folder.path().join("server-key.pem");
        fs::write(&key, identity.key)?;
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
        let mut server = Self {
            process: None,
            folder,
            programs,
            port: free_port()?,
        };
        if is_root() {
            for path in [server.folder.path(), &key] {
                chown(path, Some(NOBODY), Some(NOBODY))?;
            }
        }
        let mut init = server.program("initdb");
        init.args([
            "-U",
            "sluice",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        ]);
        init.arg("-D").arg(server.data());
        let made = tokio::task::spawn_blocking(move || init.output()).await??;
        let said = String::from_utf8_lossy(&made.stderr);
        ensure!(made.status.success(), "initdb: {said}");
        server.run().await?;
        server.query("CREATE DATABASE projections").await?;
        Ok(Some(server))
    }

    /// SIGKILL: what it was doing is not done.
    pub fn kill9(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill9();
        }
    }

    /// Starts it again, with what it has on disk.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn run(&mut self) -> Result<()> {
        self.kill9();
        let log = self.folder.path().join("postgres.log");
        let end = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
        loop {
            // What a killed one has left to its children may be in use for a moment.
            self.process = Some(Process::start("postgres", self.server(), &log)?);
            let up = until("PostgreSQL to be ready", 30, async || {
                let process = self.process.as_mut().context("it was not started")?;
                if process.ended()?.is_some() {
                    return Ok(false);
                }
                ask(self.psql("SELECT 1")).await.map(|_| true)
            });
            if up.await? {
                return Ok(());
            }
            if end < tokio::time::Instant::now() {
                bail!("it does not stay: {}", fs::read_to_string(&log)?);
            }
        }
    }

    fn server(&self) -> Command {
        let mut server = self.program("postgres");
        let beside = |name: &str| self.folder.path().join(name).display().to_string();
        server.arg("-D").arg(self.data());
        for setting in [
            format!("port={}", self.port),
            "listen_addresses=127.0.0.1".to_owned(),
            format!("unix_socket_directories={}", self.folder.path().display()),
            "ssl=on".to_owned(),
            format!("ssl_cert_file={}", beside("server.pem")),
            format!("ssl_key_file={}", beside("server-key.pem")),
            // A process that is killed loses nothing by it; a machine would.
            "fsync=off".to_owned(),
            "shared_buffers=32MB".to_owned(),
        ] {
            server.arg("-c").arg(setting);
        }
        server
    }

    /// What this SQL gives, a line a row.
    ///
    /// # Errors
    /// When it is none.
    pub async fn query(&self, sql: &str) -> Result<Vec<String>> {
        ask(self.psql(sql)).await
    }

    fn psql(&self, sql: &str) -> Command {
        let mut psql = self.program("psql");
        let database = if sql.contains("DATABASE") || sql == "SELECT 1" {
            "postgres"
        } else {
            "projections"
        };
        let port = self.port.to_string();
        psql.args([
            "-X",
            "-A",
            "-t",
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "-U",
            "sluice",
        ]);
        psql.args(["-d", database, "-c", sql]);
        psql
    }

    /// The same host, whose projections are in this database, over TLS.
    pub fn keep(&self, setup: Setup) -> Setup {
        let url = format!(
            "postgresql://sluice:not-asked@localhost:{}/projections?sslmode=require",
            self.port
        );
        let ca = self.folder.path().join("server.pem");
        let lines = format!(
            "[projections]\nstore = \"postgresql\"\nurl = \"${{PROJECTIONS_URL}}\"\nca = {:?}",
            ca.display().to_string()
        );
        setup.variable("PROJECTIONS_URL", &url).with(&lines)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A program of its, run by somebody who is not root, with the libraries that were fetched
    /// beside it.
    fn program(&self, name: &str) -> Command {
        let program = self.programs.join(name);
        let mut command = if is_root() {
            let mut other = Command::new("setpriv");
            let nobody = NOBODY.to_string();
            other.args(["--reuid", &nobody, "--regid", &nobody, "--clear-groups"]);
            other.args(["--pdeathsig", "KILL", "--"]).arg(&program);
            other
        } else {
            command(&program)
        };
        command.current_dir(self.folder.path());
        command.env("LC_ALL", "C.UTF-8").env("PGSSLMODE", "disable");
        if let Some(libraries) = libraries(&self.programs) {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        command
    }
}

async fn ask(mut command: Command) -> Result<Vec<String>> {
    let said = tokio::task::spawn_blocking(move || command.output()).await??;
    let error = String::from_utf8_lossy(&said.stderr);
    ensure!(said.status.success(), "psql: {error}");
    let text = String::from_utf8(said.stdout)?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// `…/usr/lib/postgresql/15/bin` that was unpacked has its libraries in `…/usr/lib/<triple>`.
fn libraries(programs: &Path) -> Option<std::ffi::OsString> {
    let root = programs.ancestors().nth(5)?;
    if root == Path::new("/") {
        return None;
    }
    let triples = ["usr/lib", "lib"].map(|folder| fs::read_dir(root.join(folder)));
    let folders = triples.into_iter().flatten().flatten().flatten();
    let folders = folders
        .map(|entry| entry.path())
        .filter(|path| path.is_dir());
    std::env::join_paths(folders)
        .ok()
        .filter(|paths| !paths.is_empty())
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

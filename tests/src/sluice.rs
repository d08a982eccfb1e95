//! Takes arguments, gives what a `sluice` command said and how it ended.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::broker::Broker;
use crate::environment;
use crate::process::command;

/// A command that is not done by then has failed.
const LIMIT: Duration = Duration::from_secs(60);

/// What a command said.
#[derive(Debug, Clone)]
pub struct Said {
    /// Exit status; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// The same, byte for byte.
    pub raw: Vec<u8>,
    /// Standard error.
    pub stderr: String,
}

impl Said {
    /// Itself, when the command succeeded.
    ///
    /// # Errors
    /// With all that it said, when it did not.
    pub fn ok(self) -> Result<Self> {
        ensure!(
            self.code == Some(0),
            "exit status {:?}\n{}\n{}",
            self.code,
            self.stdout,
            self.stderr
        );
        Ok(self)
    }

    /// Itself, when the command ended with `code` and named all of `parts` on standard error.
    ///
    /// # Errors
    /// With all that it said, when it did not.
    pub fn refused(self, code: i32, parts: &[&str]) -> Result<Self> {
        ensure!(
            self.code == Some(code),
            "exit status {:?} instead of {code}\n{}\n{}",
            self.code,
            self.stdout,
            self.stderr
        );
        for part in parts {
            ensure!(
                self.stderr.contains(part),
                "standard error does not name {part:?}:\n{}",
                self.stderr
            );
        }
        ensure!(
            !self.stderr.contains("panicked at"),
            "it panicked:\n{}",
            self.stderr
        );
        Ok(self)
    }

    /// Standard output as one JSON document.
    ///
    /// # Errors
    /// When it is none.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.stdout).with_context(|| format!("no JSON: {}", self.stdout))
    }

    /// Standard output as one JSON document a line.
    ///
    /// # Errors
    /// When a line is none.
    pub fn json_lines(&self) -> Result<Vec<Value>> {
        let parse = |line| serde_json::from_str(line).with_context(|| format!("no JSON: {line}"));
        self.stdout
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(parse)
            .collect()
    }
}

/// Runs `sluice` with `arguments`.
///
/// # Errors
/// When it cannot be run or takes more than a minute.
pub async fn sluice(arguments: &[&str]) -> Result<Said> {
    sluice_with_input(arguments, b"").await
}

/// Runs `sluice` with `arguments`, on this broker.
///
/// # Errors
/// When it cannot be run or takes more than a minute.
pub async fn sluice_on(broker: &Broker, arguments: &[&str]) -> Result<Said> {
    let url = broker.url();
    sluice(&[arguments, &["--nats", &url]].concat()).await
}

/// Runs `sluice` with `arguments` and `input` on standard input.
///
/// # Errors
/// When it cannot be run or takes more than a minute.
pub async fn sluice_with_input(arguments: &[&str], input: &[u8]) -> Result<Said> {
    let mut command = tokio::process::Command::from(command(&environment::sluice()?));
    command
        .args(arguments)
        .env_remove("NATS_URL")
        .kill_on_drop(true);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().context("starting sluice")?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    let feed = async {
        // A command that does not read its input closes the pipe: no concern of the test.
        let _ = stdin.write_all(input).await;
        drop(stdin);
    };
    let run = async { tokio::join!(feed, child.wait_with_output()).1 };
    let done = timeout(LIMIT, run).await;
    let output =
        done.with_context(|| format!("sluice {} is not done in {LIMIT:?}", arguments.join(" ")))??;
    Ok(Said {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        raw: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Runs `sluice dlq` with `arguments` on the broker at `url`.
///
/// # Errors
/// As [`sluice`].
pub async fn dlq(url: &str, arguments: &[&str]) -> Result<Said> {
    sluice(&[&["dlq"], arguments, &["--nats", url]].concat()).await
}

//! Takes what a person would write instead of a plug-in, gives how late it was with each event
//! that came.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use tokio::time::timeout;

use crate::delay::Load;
use crate::peer;

/// Until it is ready, and from the last event on until it is through.
const PATIENCE: Duration = Duration::from_secs(30);

/// A consumer on async-nats with acknowledgements that waits for events.
pub(crate) struct Follower {
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
}

/// What it prints at its end, in microseconds.
#[derive(Deserialize)]
struct Through {
    p50: f64,
    p99: f64,
    p999: f64,
}

impl Follower {
    /// Starts it behind what `EVENTS` holds now; where it `emits`, it stores an event for each
    /// before it acknowledges that.
    pub(crate) async fn start(
        broker: &str,
        filter: &str,
        emits: bool,
        load: &Load<'_>,
    ) -> Result<Self> {
        let (warm, all) = (load.warm(), load.count());
        let mut command = peer::native(if emits { "emit" } else { "follow" })?;
        command.args([broker, "EVENTS", filter]);
        command.args([warm, all - warm].map(|count| count.to_string()));
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn()?;
        let said = child.stdout.take().context("it has no output")?;
        let mut follower = Self {
            child,
            said: BufReader::new(said).lines(),
        };
        let said = follower.line().await?;
        ensure!(said == "ready", "the consumer says {said}");
        Ok(follower)
    }

    /// Waits until it is through, and gives p50, p99 and p99.9 in milliseconds.
    pub(crate) async fn ended(mut self) -> Result<[f64; 3]> {
        let through: Through = serde_json::from_str(&self.line().await?)?;
        let status = timeout(PATIENCE, self.child.wait()).await??;
        ensure!(status.success(), "the consumer ended with {status}");
        Ok([through.p50, through.p99, through.p999].map(|micros| micros / 1e3))
    }

    async fn line(&mut self) -> Result<String> {
        let line = timeout(PATIENCE, self.said.next_line()).await;
        line.context("the consumer says nothing")??
            .context("the consumer ended too early")
    }
}

//! A nats-server child with a store and ports of its own.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::http;
use crate::child::Child;
use crate::clock;

/// Runs until dropped.
pub(super) struct Broker {
    _process: Child,
    /// `nats://127.0.0.1:<port>`.
    pub(super) url: String,
    monitoring: u16,
}

impl Broker {
    /// Starts `server` with its store and its log in `folder`, on ports that it picks itself.
    pub(super) fn start(server: &Path, folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let mut command = Command::new(server);
        command
            .current_dir(folder)
            .args(["--addr", "127.0.0.1", "--port", "-1", "--http_port", "-1"])
            .args([
                "--jetstream",
                "--store_dir",
                "store",
                "--ports_file_dir",
                ".",
            ]);
        let log = folder.join("nats-server.log");
        let mut process = Child::start(&command, File::create(&log)?)?;
        let ports = clock::poll("nats-server's ports", Duration::from_secs(20), || {
            if let Some(status) = process.ended()? {
                let log = fs::read_to_string(&log).unwrap_or_default();
                bail!("nats-server ended at once: {status}\n{log}");
            }
            ports(folder)
        })?;
        Ok(Self {
            _process: process,
            url: format!("nats://127.0.0.1:{}", port_of(&ports, "nats")?),
            monitoring: port_of(&ports, "monitoring")?,
        })
    }

    /// How many messages the broker itself says that `stream` holds.
    pub(super) fn messages(&self, stream: &str) -> Result<u64> {
        let answer = http::get(self.monitoring, "/jsz?streams=true")?;
        let facts: Value = serde_json::from_str(&answer.body)?;
        stored(&facts, stream).with_context(|| format!("the broker knows no stream {stream}"))
    }
}

/// What the server wrote about its ports, once it has.
fn ports(folder: &Path) -> Result<Option<Value>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "ports")
        {
            // A file that is not complete yet is read again.
            return Ok(serde_json::from_slice(&fs::read(path)?).ok());
        }
    }
    Ok(None)
}

fn port_of(ports: &Value, what: &str) -> Result<u16> {
    ports
        .pointer(&format!("/{what}/0"))
        .and_then(Value::as_str)
        .and_then(|url| url.rsplit(':').next()?.parse().ok())
        .with_context(|| format!("nats-server names no port for {what}: {ports}"))
}

fn stored(facts: &Value, stream: &str) -> Option<u64> {
    let accounts = facts.get("account_details")?.as_array()?;
    accounts
        .iter()
        .filter_map(|account| account.get("stream_detail")?.as_array())
        .flatten()
        .find(|detail| detail.get("name").and_then(Value::as_str) == Some(stream))?
        .pointer("/state/messages")?
        .as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_what_the_server_says() {
        let ports = json!({"nats": ["nats://127.0.0.1:41217"], "monitoring": []});
        assert_eq!(port_of(&ports, "nats").unwrap(), 41217);
        assert!(port_of(&ports, "monitoring").is_err());

        let facts = json!({"account_details": [{"stream_detail": [
            {"name": "LEDGER", "state": {"messages": 3}},
            {"name": "EVENTS", "state": {"messages": 47}},
        ]}]});
        assert_eq!(stored(&facts, "EVENTS"), Some(47));
        assert_eq!(stored(&facts, "DEADLETTER"), None);
    }
}

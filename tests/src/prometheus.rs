//! Takes an admin port and rules, gives a real Prometheus that scrapes it, and what it says.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::broker::free_port;
use crate::environment;
use crate::process::{Process, command};
use crate::wait::until;

/// One server, with a store of its own.
#[derive(Debug)]
pub struct Prometheus {
    _process: Process,
    folder: TempDir,
    port: u16,
}

impl Prometheus {
    /// Starts one that scrapes `127.0.0.1:<port>` every second as the job `sluicegate`, and
    /// evaluates these rules as often. `None` when there is no Prometheus here: that is told.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn scraping(target: u16, rules: &Path) -> Result<Option<Self>> {
        let Some(program) = environment::outsider("SLUICE_PROMETHEUS") else {
            return Ok(None);
        };
        let folder = TempDir::with_prefix("sluice-prometheus-")?;
        let port = free_port()?;
        let config = folder.path().join("prometheus.yml");
        let text = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\n\
             rule_files: [{:?}]\n\
             scrape_configs:\n  \
               - job_name: sluicegate\n    \
                 static_configs: [{{ targets: [\"127.0.0.1:{target}\"] }}]\n",
            rules.canonicalize()?
        );
        std::fs::write(&config, text)?;
        let mut prometheus = command(&program);
        prometheus.arg("--config.file").arg(&config);
        prometheus
            .arg("--storage.tsdb.path")
            .arg(folder.path().join("data"));
        prometheus.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let log = folder.path().join("prometheus.log");
        let process = Process::start("prometheus", prometheus, &log)?;
        let server = Self {
            _process: process,
            folder,
            port,
        };
        until("Prometheus to be ready", 30, async || {
            let (status, body) = server.get("/-/ready", None).await?;
            ensure!(status == 200, "{status}: {body}");
            Ok(())
        })
        .await?;
        Ok(Some(server))
    }

    /// What an expression comes to now: each series with its value.
    ///
    /// # Errors
    /// When it is no expression.
    pub async fn series(&self, expression: &str) -> Result<Vec<(Value, f64)>> {
        let data = self.api("/api/v1/query", Some(expression)).await?;
        let found = data.get("result").and_then(Value::as_array);
        let found = found.with_context(|| format!("no result: {data}"))?;
        let one = |series: &Value| {
            let value = series.pointer("/value/1").and_then(Value::as_str);
            let value = value.context("no value")?.parse()?;
            Ok((series.get("metric").cloned().unwrap_or_default(), value))
        };
        found.iter().map(one).collect()
    }

    /// The one value of an expression.
    ///
    /// # Errors
    /// When it gives none, or several.
    pub async fn value(&self, expression: &str) -> Result<f64> {
        let series = self.series(expression).await?;
        match series.as_slice() {
            [(_, value)] => Ok(*value),
            other => anyhow::bail!("{expression} gives {other:?}"),
        }
    }

    /// The member `data` of an answer of its HTTP API.
    ///
    /// # Errors
    /// When it says that something is wrong.
    pub async fn api(&self, path: &'static str, query: Option<&str>) -> Result<Value> {
        let (status, body) = self.get(path, query).await?;
        let mut answer: Value = serde_json::from_str(&body).with_context(|| body.clone())?;
        ensure!(status == 200, "{path} {query:?}: {status} {body}");
        Ok(answer.get_mut("data").map(Value::take).unwrap_or_default())
    }

    /// What it wrote to standard error.
    ///
    /// # Errors
    /// When that cannot be read.
    pub fn log(&self) -> Result<String> {
        Ok(std::fs::read_to_string(
            self.folder.path().join("prometheus.log"),
        )?)
    }

    async fn get(&self, path: &'static str, query: Option<&str>) -> Result<(u16, String)> {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let query = query.map(ToOwned::to_owned);
        let asking = tokio::task::spawn_blocking(move || -> Result<(u16, String)> {
            let config = ureq::Agent::config_builder()
                .timeout_global(Some(Duration::from_secs(5)))
                .http_status_as_error(false)
                .build();
            let mut request = config.new_agent().get(&url);
            if let Some(query) = query {
                request = request.query("query", query);
            }
            let mut response = request.call()?;
            let status = response.status().as_u16();
            Ok((status, response.body_mut().read_to_string()?))
        });
        asking.await?
    }
}

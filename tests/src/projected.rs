//! Takes a host and a projection, gives its rows as a program gets them, and a native oracle of what
//! the guest `project` makes of the same events.

#![expect(
    clippy::indexing_slicing,
    reason = "a member of a JSON value that is not there is null"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead as _;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rand::Rng as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::broker::Broker;
use crate::events::Input;
use crate::host::Host;
use crate::postgres::Postgres;
use crate::setup::Setup;
use crate::stage::Stage;
use crate::wait::until;

/// Where a test's projections have their rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// In files of the host.
    Files,
    /// In a PostgreSQL.
    Database,
}

/// A stage with the guest `project`, and the database that has its rows. `None` when there is to be
/// a PostgreSQL and none is here: that is told.
///
/// # Errors
/// When one of them does not come up.
pub async fn stage(kept: Kept) -> Result<Option<(Stage, Option<Postgres>)>> {
    let database = match kept {
        Kept::Files => None,
        Kept::Database => match Postgres::start().await? {
            Some(database) => Some(database),
            None => return Ok(None),
        },
    };
    let broker = Broker::start().await?;
    let mut setup = Setup::new(broker.url()).guest("project")?;
    if let Some(database) = &database {
        setup = database.keep(setup);
    }
    Ok(Some((Stage::of(broker, setup).await?, database)))
}

/// One answer over HTTP.
#[derive(Debug, Clone)]
pub struct Said {
    /// Its status.
    pub status: u16,
    /// Its headers, the names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Its body; null where there is none.
    pub body: Value,
}

impl Said {
    /// Itself, when it has this status.
    ///
    /// # Errors
    /// With all that was said, when it has another.
    pub fn is(self, status: u16) -> Result<Self> {
        ensure!(self.status == status, "{status} was expected: {self:?}");
        Ok(self)
    }

    /// Its rows: key, row.
    ///
    /// # Errors
    /// When there are none.
    pub fn rows(&self) -> Result<Vec<(String, Value)>> {
        let rows = self.body["rows"].as_array();
        let rows = rows.with_context(|| format!("no rows: {}", self.body))?;
        let of = |row: &Value| Some((row["key"].as_str()?.to_owned(), row["row"].clone()));
        rows.iter()
            .map(|row| of(row).with_context(|| format!("no row: {row}")))
            .collect()
    }

    /// The keys of its rows.
    ///
    /// # Errors
    /// When there are none.
    pub fn keys(&self) -> Result<Vec<String>> {
        Ok(self.rows()?.into_iter().map(|(key, _)| key).collect())
    }
}

/// A GET of `/api/v1/projections/<path>` with these headers.
///
/// # Errors
/// When nothing answers, or not with JSON.
pub async fn ask(host: &Host, path: &str, headers: &[(&str, &str)]) -> Result<Said> {
    let url = host.admin_url(&format!("/api/v1/projections{path}"));
    let headers: Vec<(String, String)> = headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let answer = tokio::task::spawn_blocking(move || -> Result<Said> {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(20)))
            .http_status_as_error(false)
            .build();
        let mut request = config.new_agent().get(&url);
        for (name, value) in &headers {
            request = request.header(name, value);
        }
        let mut response = request.call()?;
        let headers = response.headers().iter();
        let headers = headers.filter_map(|(name, value)| {
            Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
        });
        let (status, headers) = (response.status().as_u16(), headers.collect());
        let text = response
            .body_mut()
            .with_config()
            .limit(64 << 20)
            .read_to_string()?;
        Ok(Said {
            status,
            headers,
            body: serde_json::from_str(&text).unwrap_or(Value::Null),
        })
    });
    answer.await?
}

/// All rows of a table: page after page, from one version.
///
/// # Errors
/// When a page is not there, or a key comes twice.
pub async fn all(host: &Host, path: &str) -> Result<BTreeMap<String, Value>> {
    let (mut rows, mut cursor) = (BTreeMap::new(), String::new());
    let mark = if path.contains('?') { '&' } else { '?' };
    loop {
        let page = ask(host, &format!("{path}{mark}limit=1000{cursor}"), &[]).await?;
        let page = page.is(200)?;
        for (key, row) in page.rows()? {
            ensure!(rows.insert(key.clone(), row).is_none(), "{key} came twice");
        }
        match page.body["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(rows),
        }
    }
}

/// What the list says of a projection.
///
/// # Errors
/// When it is not there.
pub async fn listed(host: &Host, name: &str) -> Result<Value> {
    let list = ask(host, "", &[]).await?.is(200)?.body;
    let list = list.as_array().context("no list")?;
    let found = list.iter().find(|one| one["name"] == name);
    found
        .cloned()
        .with_context(|| format!("no {name} in {list:?}"))
}

/// Waits until the projection has everything up to this place.
///
/// # Errors
/// When it has not after so many seconds.
pub async fn reached(host: &Host, name: &str, sequence: u64, seconds: u64) -> Result<()> {
    until("the projection to have everything", seconds, async || {
        let listed = listed(host, name).await?;
        let position = listed["current"]["position"].as_u64();
        ensure!(Some(sequence) <= position, "{listed}");
        Ok(())
    })
    .await
}

/// What the guest `project` makes of events, one after another.
#[derive(Debug, Clone, Default)]
pub struct Oracle {
    /// Its tables: `keys` and `lines`.
    pub tables: BTreeMap<&'static str, BTreeMap<String, Value>>,
    seen: BTreeSet<String>,
    /// Events that it could not take.
    pub refused: Vec<u64>,
}

impl Oracle {
    /// The next event has its turn. Gives whether it was taken.
    pub fn take(&mut self, input: &Input, sequence: u64) -> bool {
        let data: Value = serde_json::from_slice(&input.message.body).unwrap_or_default();
        if self.seen.contains(&input.id) {
            return false;
        }
        let what = data["do"].as_str().unwrap_or_default();
        if ["reject", "trap", "array", "stranger"].contains(&what) {
            self.refused.push(sequence);
            return false;
        }
        self.seen.insert(input.id.clone());
        let keys = self.tables.entry("keys").or_default();
        let empty = || json!({ "count": 0, "sum": 0, "last": 0, "text": null });
        let mut row = keys.get(&input.key).cloned().unwrap_or_else(empty);
        let n = data["n"].as_i64().unwrap_or_default();
        row["count"] = (row["count"].as_u64().unwrap_or(0) + 1).into();
        row["sum"] = (row["sum"].as_i64().unwrap_or(0) + n).into();
        row["last"] = n.into();
        if data["text"].is_string() {
            row["text"] = data["text"].clone();
        }
        keys.insert(input.key.clone(), row.clone());
        match what {
            "delete" => drop(keys.remove(&input.key)),
            "move" => {
                let to = data["to"].as_str().unwrap_or_default().to_owned();
                let mut other = keys.get(&to).cloned().unwrap_or_else(empty);
                let sum = other["sum"].as_i64().unwrap_or(0) + row["sum"].as_i64().unwrap_or(0);
                other["sum"] = sum.into();
                keys.insert(to, other);
                keys.remove(&input.key);
            }
            _ => {}
        }
        let line = json!({ "key": input.key, "n": n, "at": { "sequence": sequence } });
        let lines = self.tables.entry("lines").or_default();
        lines.insert(input.id.clone(), line);
        true
    }

    /// A table.
    pub fn table(&self, name: &str) -> BTreeMap<String, Value> {
        self.tables.get(name).cloned().unwrap_or_default()
    }
}

/// Events that change, delete and move rows of a few keys, some of them sent twice.
pub fn drawn(random: &mut StdRng, numbers: std::ops::Range<u64>) -> Vec<Input> {
    let mut inputs: Vec<Input> = Vec::new();
    for number in numbers {
        let key = format!("k{}", random.random_range(0..60));
        let data = match random.random_range(0..40) {
            0..3 => json!({ "do": "delete" }),
            3..7 => json!({ "do": "move", "to": format!("m{}", random.random_range(0..20)) }),
            7 => json!({ "do": "reject" }),
            8..12 => json!({ "text": format!("naïve {number} \"quoted\"") }),
            _ => json!({}),
        };
        let n = random.random_range(0..1_000);
        inputs.push(Input::with_data(format!("e{number}"), key, n, data));
        if random.random_range(0..50) == 0 {
            let again = random.random_range(0..inputs.len());
            inputs.extend(inputs.get(again).cloned());
        }
    }
    inputs
}

/// What is otherwise, of two tables.
pub fn differing(found: &BTreeMap<String, Value>, wanted: &BTreeMap<String, Value>) -> String {
    let keys = found.keys().chain(wanted.keys());
    let mut differing = keys.filter(|key| found.get(*key) != wanted.get(*key));
    let first = differing.next();
    format!(
        "{} and {} rows; {first:?} is {:?} and should be {:?}",
        found.len(),
        wanted.len(),
        first.and_then(|key| found.get(key)),
        first.and_then(|key| wanted.get(key))
    )
}

/// One server-sent event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sent {
    /// What happened.
    pub event: String,
    /// Where one goes on behind it; empty where it says none.
    pub id: String,
    /// What it says.
    pub data: String,
}

/// Listens to the changes of a table, behind an event that came before; ends with the host.
pub fn listen(host: &Host, path: &str, last: Option<&str>) -> mpsc::UnboundedReceiver<Sent> {
    let url = host.admin_url(&format!("/api/v1/projections{path}"));
    let last = last.map(str::to_owned);
    let (tell, told) = mpsc::unbounded_channel();
    tokio::task::spawn_blocking(move || {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(120)))
            .build();
        let mut request = config.new_agent().get(&url);
        if let Some(last) = &last {
            request = request.header("last-event-id", last);
        }
        let Ok(response) = request.call() else { return };
        let reader = std::io::BufReader::new(response.into_body().into_reader());
        let mut sent = Sent::default();
        for line in reader.lines() {
            let Ok(line) = line else { return };
            match line.split_once(": ").unwrap_or((&line, "")) {
                ("event", event) => sent.event = event.to_owned(),
                ("id", id) => sent.id = id.to_owned(),
                ("data", data) => sent.data = data.to_owned(),
                ("", _) if !sent.event.is_empty() => {
                    // Nobody may listen any more: then the next line ends it.
                    let _ = tell.send(std::mem::take(&mut sent));
                }
                _ => {}
            }
        }
    });
    told
}

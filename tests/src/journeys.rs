//! Takes plans for the guest `journey`, gives what its sagas did and undid, and what they should have.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use async_nats::jetstream::Context as JetStream;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::broker::Broker;
use crate::component::with_words;
use crate::environment;
use crate::events::{Input, slot};
use crate::outputs::stored;
use crate::sluice::{Said, sluice_on};
use crate::wait::until;

/// What sagas tell.
const TOLD: &str = "d365.custom.test.business.journey.told.*";

/// A saga and what it is to do, a letter a step.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Its key.
    pub key: String,
    /// Its letters.
    pub letters: String,
}

/// What a saga did or undid, with the number of the step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// A step.
    Did(usize),
    /// A compensation.
    Undid(usize),
}

#[derive(Deserialize)]
struct Told {
    what: String,
    at: usize,
    version: String,
}

impl Plan {
    /// The saga `key` that goes by these letters.
    pub fn new(key: impl Into<String>, letters: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            letters: letters.into(),
        }
    }

    /// The event that begins it.
    pub fn event(&self) -> Input {
        let data = json!({ "plan": self.letters });
        event("planned", &format!("{}-begins", self.key), &self.key, data)
    }

    /// The same, when a person does what cannot be undone otherwise.
    pub fn expected_by_hand(&self) -> Vec<Deed> {
        let (mut deeds, _) = self.expected();
        deeds.retain(|deed| matches!(deed, Deed::Did(_)));
        let undone = (0..deeds.len()).rev();
        let undone = undone.filter(|at| self.letters.as_bytes().get(*at) != Some(&b'P'));
        deeds.extend(undone.map(Deed::Undid));
        deeds
    }

    /// Its first step fails.
    pub fn is_unable_to_begin(&self) -> bool {
        self.letters.to_ascii_lowercase().starts_with(['x', 'j'])
    }

    /// What it is to do and undo, and how it is in the end.
    pub fn expected(&self) -> (Vec<Deed>, &'static str) {
        let mut did = Vec::new();
        let mut fails = false;
        for (at, letter) in self.letters.chars().enumerate() {
            let letter = letter.to_ascii_lowercase();
            if matches!(letter, 'x' | 'j') {
                fails = true;
                break;
            }
            did.push(at);
            if letter == 'f' {
                fails = true;
                break;
            }
        }
        let mut deeds: Vec<Deed> = did.iter().map(|at| Deed::Did(*at)).collect();
        if !fails {
            return (deeds, "done");
        }
        for at in did.into_iter().rev() {
            if self.letters.as_bytes().get(at) == Some(&b'P') {
                return (deeds, "parked");
            }
            deeds.push(Deed::Undid(at));
        }
        (deeds, "compensated")
    }
}

/// An event of the type `d365.custom.journey.<name>`.
pub fn event(name: &str, id: &str, key: &str, data: Value) -> Input {
    let mut input = Input::with_data(id, key, 0, data);
    let kind = format!("d365.custom.journey.{name}");
    input.message.headers.insert("ce-type", kind.as_str());
    input.message.subject = format!("d365.custom.test.business.journey.{name}.{}", slot(key));
    input
}

/// What a saga that waits without an end waits for.
pub fn awaited(key: &str) -> Input {
    came(key, json!({ "journey": key }))
}

/// The same, with letters that the saga is to go on by, under this name.
pub fn awaited_with(key: &str, (name, letters): (&str, &str)) -> Input {
    came(key, json!({ "journey": key, name: letters }))
}

fn came(key: &str, data: Value) -> Input {
    event(
        "never",
        &format!("{key}-awaited"),
        &format!("other/{key}"),
        data,
    )
}

/// The guest with these changes in its manifest.
///
/// # Errors
/// When the guest is not there.
pub fn guest(changes: &[(&str, &str)]) -> Result<Vec<u8>> {
    with_words(&std::fs::read(environment::guest("journey")?)?, changes)
}

/// What each saga did and undid, in the order of the store.
///
/// # Errors
/// When the broker does not answer.
pub async fn deeds(jetstream: &JetStream) -> Result<BTreeMap<String, Vec<Deed>>> {
    let mut deeds: BTreeMap<String, Vec<Deed>> = BTreeMap::new();
    for told in stored(jetstream, "EVENTS", TOLD).await? {
        let key = told.attribute("partitionkey")?;
        let told: Told = serde_json::from_slice(&told.body)?;
        deeds
            .entry(key)
            .or_default()
            .push(match told.what.as_str() {
                "did" => Deed::Did(told.at),
                "undid" => Deed::Undid(told.at),
                other => anyhow::bail!("{other:?} was told"),
            });
    }
    Ok(deeds)
}

/// What the builds call themselves that ran the steps of a saga.
///
/// # Errors
/// When the broker does not answer.
pub async fn versions(jetstream: &JetStream, key: &str) -> Result<Vec<String>> {
    let mut versions = Vec::new();
    for told in stored(jetstream, "EVENTS", TOLD).await? {
        if told.attribute("partitionkey")? == key {
            let told: Told = serde_json::from_slice(&told.body)?;
            versions.push(told.version);
        }
    }
    Ok(versions)
}

/// How each saga is.
///
/// # Errors
/// When `sluice` fails.
pub async fn statuses(broker: &Broker) -> Result<BTreeMap<String, String>> {
    let said = sluice_on(
        broker,
        &["sagas", "list", "journey", "--limit", "0", "--json"],
    )
    .await?;
    let lines = said.ok()?.json_lines()?;
    let text = |line: &Value, name: &str| {
        let text = line.get(name).and_then(Value::as_str);
        text.map(str::to_owned)
            .with_context(|| format!("no {name} in {line}"))
    };
    let lines = lines.iter();
    lines
        .map(|line| Ok((text(line, "key")?, text(line, "status")?)))
        .collect()
}

/// Waits until the saga is so.
///
/// # Errors
/// When it is not after a minute.
pub async fn is(broker: &Broker, key: &str, status: &str) -> Result<Value> {
    until(&format!("{key} to be {status}"), 60, async || {
        let said = show(broker, key).await?.ok()?.json()?;
        let is = said.get("status").and_then(Value::as_str);
        ensure!(is == Some(status), "{said}");
        Ok(said)
    })
    .await
}

/// What `sluice sagas show` says.
///
/// # Errors
/// When it cannot be run.
pub async fn show(broker: &Broker, key: &str) -> Result<Said> {
    sluice_on(broker, &["sagas", "show", "journey", key, "--json"]).await
}

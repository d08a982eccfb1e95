//! Takes the guest `stamp`, gives builds of it that tell themselves apart, and what they have handled.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use async_nats::jetstream::Context as JetStream;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::interval;

use crate::component::with_words;
use crate::environment;
use crate::events::{Input, publish};
use crate::host::Host;
use crate::outputs::{ECHOES, stored};
use crate::wait::until;

#[derive(Debug, Deserialize)]
struct Stamped {
    input: String,
    build: String,
}

/// `stamp` with other words in its manifest.
///
/// # Errors
/// When a word is not there.
pub fn build(changes: &[(&str, &str)]) -> Result<Vec<u8>> {
    with_words(&std::fs::read(environment::guest("stamp")?)?, changes)
}

/// The build that calls itself `name`.
///
/// # Errors
/// When the guest is not there.
pub fn named(name: &str) -> Result<Vec<u8>> {
    build(&[("build = \"a\"", &format!("build = {name:?}"))])
}

/// The build that calls itself `name`, written to a file of its own in `folder`.
///
/// # Errors
/// When the guest is not there.
pub fn file(folder: &std::path::Path, name: &str, changes: &[(&str, &str)]) -> Result<String> {
    let own = format!("build = {name:?}");
    let mut all = vec![("build = \"a\"", own.as_str())];
    all.extend(changes);
    let file = folder.join(format!("{name}.wasm"));
    std::fs::write(&file, build(&all)?)?;
    Ok(file.display().to_string())
}

/// Which build handled each input.
///
/// # Errors
/// When the broker does not answer.
pub async fn stamps(jetstream: &JetStream) -> Result<BTreeMap<String, String>> {
    let outputs = stored(jetstream, "EVENTS", ECHOES).await?;
    let stamped = outputs.iter().map(|output| {
        let stamped: Stamped = serde_json::from_slice(&output.body)?;
        Ok((stamped.input, stamped.build))
    });
    stamped.collect()
}

/// Publishes one event and gives the build that handled it.
///
/// # Errors
/// When there is none in time.
pub async fn asked(jetstream: &JetStream, id: &str) -> Result<String> {
    publish(jetstream, &[Input::new(id, id, 0)]).await?;
    until(&format!("the output of {id}"), 20, async || {
        stamps(jetstream).await?.remove(id).context("none yet")
    })
    .await
}

/// Waits until a new event is handled by this build.
///
/// # Errors
/// When it does not in time.
pub async fn runs(jetstream: &JetStream, build: &str) -> Result<()> {
    let mut asks = 0;
    until(&format!("build {build} to run"), 30, async || {
        asks += 1;
        let found = asked(jetstream, &format!("runs-{build}-{asks}")).await?;
        ensure!(found == build, "{found} runs");
        Ok(())
    })
    .await
}

/// Waits for a text under `refused` of `/readyz`.
///
/// # Errors
/// When there is none in time.
pub async fn refused(host: &Host, parts: &[&str]) -> Result<()> {
    until(&format!("a refusal with {parts:?}"), 20, async || {
        let (_, body) = host.admin("/readyz").await?;
        let readiness: Value = serde_json::from_str(&body)?;
        let refused = readiness.get("refused").context("no refused")?.to_string();
        ensure!(parts.iter().all(|part| refused.contains(part)), "{refused}");
        Ok(())
    })
    .await
}

/// Ten events every 20 ms, over a hundred keys, until told to stop; gives all of them.
///
/// # Errors
/// When the broker does not take them.
pub async fn load(jetstream: &JetStream, stop: watch::Receiver<bool>) -> Result<Vec<Input>> {
    let mut inputs: Vec<Input> = Vec::new();
    let mut tick = interval(Duration::from_millis(20));
    while !*stop.borrow() {
        tick.tick().await;
        let (n, from) = (inputs.len() as u64 / 100, inputs.len() % 100);
        let keys = (from..from + 10).map(|key| format!("k{key}"));
        let more: Vec<Input> = keys
            .map(|key| Input::new(format!("{key}-{n}"), key, n))
            .collect();
        publish(jetstream, &more).await?;
        inputs.extend(more);
    }
    Ok(inputs)
}

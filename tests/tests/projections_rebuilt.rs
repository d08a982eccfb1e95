//! Promise: a new build of a projection takes the place of the one before at once, when it has caught
//! up: every answer is the old one's or the new one's, whatever dies meanwhile, and who listens is told.

#![allow(
    clippy::indexing_slicing,
    reason = "a member of a JSON value that is not there is null"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;
use sluicegate_tests::component::with_words;
use sluicegate_tests::events::publish;
use sluicegate_tests::projected::{
    Kept, Oracle, all, ask, differing, drawn, listed, listen, reached, stage,
};
use sluicegate_tests::sluice::sluice_on;
use sluicegate_tests::{Input, Stage, environment, until, within};
use tokio::time::timeout;

/// The guest with another version, whose rows have a mark.
fn marked(mark: &str) -> Result<Vec<u8>> {
    let component = std::fs::read(environment::guest("project")?)?;
    let config = format!("version = \"2.0.0-{mark}\"\n\n[config]\nmark = {mark:?}\n");
    with_words(&component, &[("version = \"1.0.0\"\n", &config)])
}

/// The mark of all rows of an answer, and the version that gave it.
fn mark(body: &Value) -> Result<(Option<String>, String)> {
    let rows = body["rows"].as_array().context("no rows")?;
    let mut marks = rows.iter().map(|row| row["row"]["mark"].as_str());
    let first = marks.next().context("no row")?;
    ensure!(
        marks.all(|mark| mark == first),
        "rows of both builds: {body}"
    );
    let version = body["version"].as_str().context("no version")?;
    Ok((first.map(str::to_owned), version.to_owned()))
}

#[test]
fn a_new_build_is_swapped_in_under_traffic_and_sigkills() -> Result<()> {
    within(300, swapped(Kept::Files))
}

#[test]
fn a_new_build_is_swapped_in_under_traffic_and_sigkills_in_postgresql() -> Result<()> {
    within(300, swapped(Kept::Database))
}

async fn swapped(kept: Kept) -> Result<()> {
    let mut random = StdRng::seed_from_u64(environment::seed()?);
    let Some((mut stage, database)) = stage(kept).await? else {
        return Ok(());
    };
    let mut oracle = Oracle::default();
    let begun = drawn(&mut random, 0..4_000);
    let mut last = 0;
    for (input, sequence) in begun.iter().zip(publish(&stage.jetstream, &begun).await?) {
        oracle.take(input, sequence);
        last = sequence;
    }
    reached(&stage.host, "project", last, 60).await?;
    let old = ask(&stage.host, "/project/keys?limit=5", &[])
        .await?
        .is(200)?;
    let cursor = old.body["next"].as_str().context("no cursor")?.to_owned();
    let (before, old_version) = mark(&old.body)?;
    ensure!(before.is_none());
    stage.host.put_plugin("project.wasm", &marked("new")?)?;
    until("the new build to begin", 60, async || {
        let listed = listed(&stage.host, "project").await?;
        let building = &listed["building"];
        let current = &listed["current"];
        ensure!(building["version"] == "2.0.0-new" || current["version"] == "2.0.0-new");
        Ok(())
    })
    .await?;
    // In the middle of it: both go on where they were.
    stage.host.kill9();
    stage.host.start().await?;
    let mut number = 10_000;
    let (mut versions, mut place) = (BTreeMap::new(), 0);
    let end = tokio::time::Instant::now() + Duration::from_secs(90);
    let mut after_swap = 0;
    while after_swap < 20 {
        ensure!(
            tokio::time::Instant::now() < end,
            "it was never swapped: {versions:?}"
        );
        let some = drawn(&mut random, number..number + 20);
        number += 20;
        for (input, sequence) in some.iter().zip(publish(&stage.jetstream, &some).await?) {
            oracle.take(input, sequence);
            last = sequence;
        }
        let said = ask(&stage.host, "/project/keys?limit=1000", &[])
            .await?
            .is(200)?;
        let position = said
            .headers
            .get("sluice-position")
            .context("no position")?
            .parse()?;
        ensure!(place <= position, "it went back from {place} to {position}");
        place = position;
        let (mark, version) = mark(&said.body)?;
        let known = versions
            .entry(version)
            .or_insert_with(|| mark.clone())
            .clone();
        ensure!(known == mark, "{versions:?}");
        after_swap += u32::from(mark.is_some());
        ensure!(after_swap == 0 || mark.is_some(), "the old one came back");
    }
    reached(&stage.host, "project", last, 60).await?;
    let mut found = all(&stage.host, "/project/keys").await?;
    for row in found.values_mut() {
        let row = row.as_object_mut().context("no object")?;
        ensure!(
            row.remove("mark").is_some_and(|mark| mark == "new"),
            "{row:?}"
        );
    }
    let wanted = oracle.table("keys");
    ensure!(found == wanted, "{}", differing(&found, &wanted));
    // What was begun with the old one is told so, and its files are gone.
    let path = format!("/project/keys?limit=5&cursor={cursor}");
    ask(&stage.host, &path, &[]).await?.is(410)?;
    let folder = stage.host.data_dir().join("projections/project");
    until("the old rows to go", 30, async || {
        if let Some(database) = &database {
            let schemas = database.query("SELECT nspname FROM pg_namespace").await?;
            let old = format!("sluicegate_{old_version}");
            ensure!(!schemas.contains(&old), "{schemas:?}");
            return Ok(());
        }
        for entry in std::fs::read_dir(&folder)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            ensure!(!name.starts_with(&old_version), "{name} is there");
        }
        Ok(())
    })
    .await?;
    stage.host.kill9();
    stage.host.start().await?;
    let again = all(&stage.host, "/project/lines").await?;
    let wanted = oracle.table("lines");
    ensure!(again == wanted, "{}", differing(&again, &wanted));
    stage.host.hush();
    Ok(())
}

#[test]
fn a_rebuild_gives_the_same_rows_and_who_listens_is_told() -> Result<()> {
    within(120, async {
        let mut random = StdRng::seed_from_u64(environment::seed()?);
        let mut stage = Stage::with(&["project"], "").await?;
        let inputs = drawn(&mut random, 0..1_500);
        let last = publish(&stage.jetstream, &inputs).await?.last().copied();
        reached(&stage.host, "project", last.context("no event")?, 60).await?;
        let before = all(&stage.host, "/project/keys").await?;
        let mut told = listen(&stage.host, "/project/changes", None);
        let begins = timeout(Duration::from_secs(10), told.recv())
            .await?
            .context("it ended")?;
        ensure!(begins.event == "begins", "{begins:?}");
        let id = listed(&stage.host, "project").await?["current"]["id"].clone();
        let said = sluice_on(
            &stage.broker,
            &["projections", "rebuild", "project", "--json"],
        )
        .await?;
        ensure!(said.ok()?.json()?[0]["begun"] == true);
        let rebuilt = timeout(Duration::from_secs(60), told.recv())
            .await?
            .context("it ended")?;
        ensure!(rebuilt.event == "rebuilt", "{rebuilt:?}");
        let after = listed(&stage.host, "project").await?;
        ensure!(
            after["current"]["id"] != id && after["building"].is_null(),
            "{after}"
        );
        ensure!(all(&stage.host, "/project/keys").await? == before);
        let audit = sluice_on(&stage.broker, &["audit", "--json"])
            .await?
            .ok()?
            .stdout;
        ensure!(audit.contains("\"rebuild\""), "{audit}");
        stage.host.hush();
        Ok(())
    })
}

#[test]
fn who_listens_has_the_rows_in_the_end_over_sigkills() -> Result<()> {
    within(180, heard(Kept::Files))
}

#[test]
fn who_listens_has_the_rows_in_the_end_over_sigkills_in_postgresql() -> Result<()> {
    within(180, heard(Kept::Database))
}

async fn heard(kept: Kept) -> Result<()> {
    let mut random = StdRng::seed_from_u64(environment::seed()?);
    let Some((mut stage, _database)) = stage(kept).await? else {
        return Ok(());
    };
    let (mut rows, mut place) = (BTreeMap::new(), None::<String>);
    let mut number = 0;
    for round in 0..4 {
        // Some come while nobody listens.
        let inputs: Vec<Input> = drawn(&mut random, number..number + 300);
        number += 300;
        if round > 0 {
            publish(&stage.jetstream, &inputs[..150]).await?;
        }
        let mut told = listen(&stage.host, "/project/keys/changes", place.as_deref());
        let begins = timeout(Duration::from_secs(10), told.recv())
            .await?
            .context("it ended")?;
        ensure!(begins.event == "begins", "{begins:?}");
        place.get_or_insert(begins.id);
        let left = if round > 0 { &inputs[150..] } else { &inputs };
        let last = publish(&stage.jetstream, left).await?.last().copied();
        reached(&stage.host, "project", last.context("no event")?, 60).await?;
        let wanted = all(&stage.host, "/project/keys").await?;
        while rows != wanted {
            let next = timeout(Duration::from_secs(20), told.recv()).await;
            let next = next
                .with_context(|| differing(&rows, &wanted))?
                .context("it ended")?;
            ensure!(next.event == "row", "{next:?}");
            let data: Value = serde_json::from_str(&next.data)?;
            let key = data["key"].as_str().context("no key")?.to_owned();
            match data["row"].is_null() {
                true => drop(rows.remove(&key)),
                false => drop(rows.insert(key, data["row"].clone())),
            }
            if !next.id.is_empty() {
                place = Some(next.id);
            }
        }
        if random.random_range(0..2) == 0 || round == 1 {
            stage.host.kill9();
            stage.host.start().await?;
        }
    }
    stage.host.hush();
    Ok(())
}

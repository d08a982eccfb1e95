//! Promise: rows in a PostgreSQL that hosts share are what the events make of them, none twice and none
//! left out, whoever dies meanwhile: the host that writes, another one, or the database.

#![allow(
    clippy::indexing_slicing,
    reason = "a member of a JSON value that is not there is null"
)]

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use sluicegate_tests::events::publish;
use sluicegate_tests::projected::{
    Kept, Oracle, all, ask, differing, drawn, listed, reached, stage,
};
use sluicegate_tests::sluice::sluice_on;
use sluicegate_tests::{Broker, Host, Input, Postgres, Setup, environment, until, within};
use tokio::time::sleep;

/// Publishes these, and has the oracle take them. Gives the place of the last one.
async fn send(
    jetstream: &async_nats::jetstream::Context,
    oracle: &mut Oracle,
    inputs: &[Input],
) -> Result<u64> {
    let mut last = 0;
    for (input, sequence) in inputs.iter().zip(publish(jetstream, inputs).await?) {
        oracle.take(input, sequence);
        last = sequence;
    }
    Ok(last)
}

/// The host has all up to this place, and it is what the oracle has.
async fn agrees(host: &Host, oracle: &Oracle, last: u64) -> Result<()> {
    reached(host, "project", last, 60).await?;
    for table in ["keys", "lines"] {
        let found = all(host, &format!("/project/{table}")).await?;
        let wanted = oracle.table(table);
        ensure!(found == wanted, "{table}: {}", differing(&found, &wanted));
    }
    let listed = listed(host, "project").await?;
    let applied = listed["current"]["applied"].as_u64();
    ensure!(
        applied == Some(oracle.table("lines").len() as u64),
        "{listed}"
    );
    ensure!(
        listed["current"]["refused"] == oracle.refused.len(),
        "{listed}"
    );
    Ok(())
}

#[test]
fn rows_are_those_of_a_sequential_oracle_over_sigkills_of_host_and_database() -> Result<()> {
    within(300, async {
        let mut random = StdRng::seed_from_u64(environment::seed()?);
        let Some((mut stage, Some(mut database))) = stage(Kept::Database).await? else {
            return Ok(());
        };
        let inputs = drawn(&mut random, 0..4_000);
        let (mut oracle, mut last) = (Oracle::default(), 0);
        for (round, part) in inputs.chunks(inputs.len().div_ceil(6)).enumerate() {
            last = send(&stage.jetstream, &mut oracle, part).await?;
            // In the middle of it, most times.
            sleep(Duration::from_millis(random.random_range(0..250))).await;
            if round % 3 != 0 {
                database.kill9();
            }
            if round % 3 != 1 {
                stage.host.kill9();
                stage.host.spawn()?;
            }
            if round % 3 != 0 {
                database.run().await?;
            }
            stage.host.wait_ready(40).await?;
        }
        agrees(&stage.host, &oracle, last).await?;
        // What other tools find is the same.
        let sums = "SELECT key || '=' || (row ->> 'sum') FROM sluice_project.keys \
                    ORDER BY key COLLATE \"C\"";
        let found = database.query(sums).await?;
        let wanted = oracle.table("keys").into_iter();
        let wanted: Vec<String> = wanted
            .map(|(key, row)| format!("{key}={}", row["sum"]))
            .collect();
        ensure!(found == wanted, "{found:?} instead of {wanted:?}");
        stage.host.hush();
        Ok(())
    })
}

/// The host that writes, by its place among these.
async fn writer(hosts: &[Host]) -> Result<usize> {
    let mut writers = Vec::new();
    for (place, host) in hosts.iter().enumerate() {
        if listed(host, "project").await?["follows"].is_null() {
            writers.push(place);
        }
    }
    match writers[..] {
        [writer] => Ok(writer),
        _ => anyhow::bail!("{writers:?} write"),
    }
}

#[test]
fn of_two_hosts_one_writes_and_the_other_goes_on_for_it() -> Result<()> {
    within(300, async {
        let mut random = StdRng::seed_from_u64(environment::seed()?);
        let Some(database) = Postgres::start().await? else {
            return Ok(());
        };
        let broker = Broker::start().await?;
        let jetstream = broker.jetstream().await?;
        let mut hosts = Vec::new();
        for name in ["host-1", "host-2"] {
            let setup = Setup::new(broker.url()).named(name).guest("project")?;
            hosts.push(database.keep(setup).start().await?);
        }
        let (mut oracle, mut number) = (Oracle::default(), 0);
        let mut some = |random: &mut StdRng, count: u64| {
            let inputs = drawn(random, number..number + count);
            number += count;
            inputs
        };
        let mut last = send(&jetstream, &mut oracle, &some(&mut random, 1_000)).await?;
        for host in &hosts {
            agrees(host, &oracle, last).await?;
        }

        // Who asks the one that follows reads what was written too, and hears of what does not
        // concern the projection.
        let first = until("one to write", 20, async || writer(&hosts).await).await?;
        let follower = &hosts[1 - first];
        let input = Input::with_data("mine".to_owned(), "mine", 7, json!({}));
        last = send(&jetstream, &mut oracle, &[input]).await?;
        let path = format!("/project/keys/rows/mine?after={last}");
        let row = ask(follower, &path, &[]).await?.is(200)?.body;
        ensure!(row["row"]["sum"] == 7, "{row}");
        let other = Input::new("x", "a", 1);
        let sent = jetstream.publish_with_headers(
            "d365.custom.other.record.thing.update.1",
            other.message.headers.clone(),
            "{}".into(),
        );
        let sequence = sent.await?.await?.sequence;
        let path = format!("/project/keys?after={sequence}");
        ask(follower, &path, &[]).await?.is(200)?;

        // The one that writes is killed in the middle of it, then the other stands still for so long
        // that it is taken to be gone, and comes back.
        last = send(&jetstream, &mut oracle, &some(&mut random, 1_500)).await?;
        hosts[first].kill9();
        agrees(&hosts[1 - first], &oracle, last).await?;
        hosts[first].start().await?;
        let second = until("one to write", 20, async || writer(&hosts).await).await?;
        ensure!(second == 1 - first, "{second} writes");
        last = send(&jetstream, &mut oracle, &some(&mut random, 1_500)).await?;
        hosts[second].freeze()?;
        reached(&hosts[first], "project", last, 30).await?;
        hosts[second].thaw()?;
        last = send(&jetstream, &mut oracle, &some(&mut random, 500)).await?;
        for host in &hosts {
            agrees(host, &oracle, last).await?;
        }

        // Built anew, it is built once, and both answer from it.
        let before = listed(&hosts[0], "project").await?["current"]["id"].clone();
        sluice_on(&broker, &["projections", "rebuild", "project"])
            .await?
            .ok()?;
        let ids = until("both to answer from the new one", 30, async || {
            let mut ids = Vec::new();
            for host in &hosts {
                let listed = listed(host, "project").await?;
                ensure!(listed["current"]["id"] != before, "{listed}");
                ensure!(listed["building"].is_null(), "{listed}");
                ids.push(listed["current"]["id"].clone());
            }
            Ok(ids)
        })
        .await?;
        ensure!(ids[0] == ids[1], "{ids:?}");
        for host in &mut hosts {
            agrees(host, &oracle, last).await?;
            host.hush();
        }
        Ok(())
    })
}

#[test]
fn a_database_that_is_away_is_told_and_waited_for() -> Result<()> {
    within(180, async {
        let mut random = StdRng::seed_from_u64(environment::seed()?);
        let Some((mut stage, Some(mut database))) = stage(Kept::Database).await? else {
            return Ok(());
        };
        let mut oracle = Oracle::default();
        let some = drawn(&mut random, 0..300);
        let mut last = send(&stage.jetstream, &mut oracle, &some).await?;
        agrees(&stage.host, &oracle, last).await?;
        database.kill9();
        let said = ask(&stage.host, "/project/keys", &[]).await?.is(503)?;
        let kind = said.headers.get("content-type").map(String::as_str);
        ensure!(kind == Some("application/problem+json"), "{said:?}");
        ensure!(said.headers.contains_key("retry-after"), "{said:?}");
        ensure!(
            said.body["detail"].to_string().contains("PostgreSQL"),
            "{said:?}"
        );
        let some = drawn(&mut random, 300..600);
        last = last.max(send(&stage.jetstream, &mut oracle, &some).await?);
        until("it to say why it stands", 20, async || {
            let listed = listed(&stage.host, "project").await?;
            let stands = listed["current"]["stands"].to_string();
            ensure!(stands.contains("PostgreSQL"), "{listed}");
            let (_, ready) = stage.host.admin("/readyz").await?;
            let ready: Value = serde_json::from_str(&ready)?;
            let why = ready["refused"]["project/projection"].to_string();
            ensure!(why.contains("PostgreSQL"), "{ready}");
            Ok(())
        })
        .await?;
        database.run().await?;
        agrees(&stage.host, &oracle, last).await?;
        until("it to be well", 20, async || {
            let listed = listed(&stage.host, "project").await?;
            ensure!(listed["current"]["stands"].is_null(), "{listed}");
            let (_, ready) = stage.host.admin("/readyz").await?;
            let ready: Value = serde_json::from_str(&ready)?;
            let why = &ready["refused"]["project/projection"];
            ensure!(why.is_null(), "{ready}");
            Ok(())
        })
        .await?;

        // A host that starts meanwhile begins when the database is there.
        stage.host.kill9();
        database.kill9();
        stage.host.spawn()?;
        stage
            .host
            .wait_log(&["it cannot begin", "PostgreSQL"], 20)
            .await?;
        database.run().await?;
        stage.host.wait_ready(40).await?;
        agrees(&stage.host, &oracle, last).await?;
        stage.host.hush();
        Ok(())
    })
}

#[test]
fn what_comes_from_an_address_is_a_value_and_no_sql() -> Result<()> {
    within(120, async {
        let Some((mut stage, Some(database))) = stage(Kept::Database).await? else {
            return Ok(());
        };
        let texts = [
            "'; DROP SCHEMA sluicegate CASCADE; --",
            "\"$1\\",
            "a%_b",
            "{}",
        ];
        let inputs: Vec<Input> = (0..)
            .zip(texts)
            .map(|(n, text)| {
                Input::with_data(
                    format!("e{n}"),
                    format!("k'{n}\""),
                    n,
                    json!({ "text": text }),
                )
            })
            .collect();
        let mut oracle = Oracle::default();
        let last = send(&stage.jetstream, &mut oracle, &inputs).await?;
        agrees(&stage.host, &oracle, last).await?;
        for (n, text) in texts.iter().enumerate() {
            for operator in ["text=", "text.prefix=", "text.in="] {
                let text = match operator {
                    "text.in=" => json!([text]).to_string(),
                    _ => json!(text).to_string(),
                };
                let word: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
                let said = ask(&stage.host, &format!("/project?{operator}{word}"), &[]).await?;
                let keys = said.is(200)?.keys().context(text)?;
                ensure!(keys == [format!("k'{n}\"")], "{operator}{word}: {keys:?}");
            }
        }
        for word in [
            "text=%00",
            "@key=%00",
            "sum=1e308",
            "sum.gt=-1e-320",
            "@key.gt=1",
        ] {
            ask(&stage.host, &format!("/project?{word}"), &[])
                .await?
                .is(200)?;
        }
        let there = "SELECT count(*) FROM pg_namespace WHERE nspname = 'sluicegate'";
        ensure!(database.query(there).await? == ["1"]);
        stage.host.hush();
        Ok(())
    })
}

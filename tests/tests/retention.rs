//! Promise: events leave the store when the operator's words say so, and never one that a plug-in
//! has still to handle.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sluicegate_tests::events::{Message, publish, publish_messages, series, spread};
use sluicegate_tests::outputs::{Stored, stored};
use sluicegate_tests::sluice::sluice_on;
use sluicegate_tests::{Broker, Input, Setup, Stage, until, within};

async fn stage(guests: &[&str], events: &str) -> Result<Stage> {
    let broker = Broker::start().await?;
    let mut setup = Setup::new(broker.url()).events(events);
    for guest in guests {
        setup = setup.guest(guest)?;
    }
    Stage::of(broker, setup).await
}

async fn on(stage: &Stage, subject: &str) -> Result<Vec<Stored>> {
    stored(&stage.jetstream, "EVENTS", subject).await
}

const RECORDS: &str = "d365.*.*.record.>";

/// An event of another kind.
fn of_kind(kind: &str, id: &str) -> Message {
    let mut message = Input::new(id, "k", 0).message;
    message.subject = message.subject.replace(".record.", &format!(".{kind}."));
    message
}

#[test]
fn events_of_a_kind_leave_after_their_time_and_others_stay() -> Result<()> {
    within(120, async {
        let mut stage = stage(&["ok"], "keep = { record = \"3s\" }").await?;
        publish(&stage.jetstream, &spread(200, 20)).await?;
        publish_messages(
            &stage.jetstream,
            &[of_kind("custom", "c"), of_kind("system", "s")],
        )
        .await?;
        until("the records to leave", 30, async || {
            let left = on(&stage, RECORDS).await?;
            ensure!(left.is_empty(), "{} are there", left.len());
            Ok(())
        })
        .await?;
        ensure!(on(&stage, "d365.>").await?.len() == 2, "others left too");
        // Nobody takes the hole for a loss, and what comes is handled.
        publish(&stage.jetstream, &series("later", 5)).await?;
        until("what came later to be handled", 30, async || {
            let done = stage.host.metrics().await?.outcomes("ok", "done")?;
            ensure!(done == 205.0, "{done} done");
            Ok(())
        })
        .await?;
        stage.host.kill9();
        stage.host.start().await?;
        stage.host.settled("ok", 30).await?;
        let letters = sluicegate_tests::outputs::dead_letters(&stage.jetstream).await?;
        ensure!(letters.is_empty(), "{} dead letters", letters.len());
        Ok(())
    })
}

#[test]
fn the_younger_ones_of_a_kind_stay() -> Result<()> {
    within(120, async {
        let stage = stage(&["ok"], "keep = { record = \"6s\" }").await?;
        publish(&stage.jetstream, &series("old", 10)).await?;
        let begun = tokio::time::Instant::now();
        until("the old ones to be old", 10, async || {
            ensure!(4 <= begun.elapsed().as_secs(), "{:?}", begun.elapsed());
            Ok(())
        })
        .await?;
        publish(&stage.jetstream, &series("young", 10)).await?;
        let left = until("the old ones to leave", 30, async || {
            let left = on(&stage, RECORDS).await?;
            let is_old = |event: &Stored| event.header("ce-id").is_ok_and(|id| id.contains("old"));
            ensure!(!left.iter().any(is_old), "{} are there", left.len());
            Ok(left)
        })
        .await?;
        ensure!(left.len() == 10, "{} of 10 young ones are left", left.len());
        Ok(())
    })
}

#[test]
fn what_a_plug_in_has_still_to_handle_stays_however_old() -> Result<()> {
    within(120, async {
        let stage = stage(&["ok", "retry_forever"], "keep = { record = \"1s\" }").await?;
        sluice_on(&stage.broker, &["pause", "ok"]).await?.ok()?;
        publish(&stage.jetstream, &series("a", 10)).await?;
        let old = until("an event to be three times too old", 30, async || {
            let events = on(&stage, RECORDS).await?;
            let first = events.first().context("it has left")?;
            let events = stage.jetstream.get_stream("EVENTS").await?;
            let stored = events.get_raw_message(first.sequence).await?.time;
            let age = chrono::Utc::now().timestamp() - stored.unix_timestamp();
            ensure!(3 < age, "{age} s old");
            Ok(())
        });
        old.await?;
        ensure!(on(&stage, RECORDS).await?.len() == 10, "some have left");
        sluice_on(&stage.broker, &["resume", "ok"]).await?.ok()?;
        // The other one gives up in the end, and so nobody wants them any more.
        until("all to be handled, and to leave", 60, async || {
            let left = on(&stage, RECORDS).await?;
            ensure!(left.is_empty(), "{} are there", left.len());
            Ok(())
        })
        .await?;
        let done = stage.host.metrics().await?.outcomes("ok", "done")?;
        ensure!(done == 10.0, "{done} done");
        Ok(())
    })
}

#[test]
fn of_each_key_the_last_event_stays() -> Result<()> {
    within(120, async {
        let stage = stage(&["ok"], "").await?;
        publish(&stage.jetstream, &spread(60, 6)).await?;
        publish_messages(
            &stage.jetstream,
            &[of_kind("custom", "c"), of_kind("custom", "d")],
        )
        .await?;
        stage.host.settled("ok", 30).await?;
        let before = on(&stage, "d365.>").await?;
        let compact = ["events", "compact", "--subject", RECORDS, "--json"];
        let number = |table: &Value, name: &str| table.get(name).and_then(Value::as_u64);
        let dry = [&compact[..], &["--dry-run"]].concat();
        until("all of them to be committed", 30, async || {
            let dry = sluice_on(&stage.broker, &dry).await?.ok()?.json()?;
            let is_all = number(&dry, "older") == Some(54) && number(&dry, "left") == Some(0);
            ensure!(is_all, "{dry}");
            Ok(())
        })
        .await?;
        ensure!(
            on(&stage, "d365.>").await?.len() == before.len(),
            "a dry run"
        );
        let asked = sluice_on(&stage.broker, &compact).await?;
        asked.refused(1, &["cannot be undone", "--yes"])?;
        let done = sluice_on(&stage.broker, &[&compact[..], &["--yes"]].concat()).await?;
        let done = done.ok()?.json()?;
        ensure!(
            number(&done, "left") == Some(54) && number(&done, "keys") == Some(6),
            "{done}"
        );
        let after = on(&stage, "d365.>").await?;
        let ids: BTreeSet<&str> = after
            .iter()
            .map(|event| event.header("ce-id"))
            .collect::<Result<_>>()?;
        let expected = ["c", "d", "e54", "e55", "e56", "e57", "e58", "e59"];
        ensure!(ids == BTreeSet::from(expected), "{ids:?}");
        let audit = sluice_on(&stage.broker, &["audit", "--json"]).await?.ok()?;
        ensure!(audit.stdout.contains("\"compact\""), "{}", audit.stdout);
        Ok(())
    })
}

#[test]
fn compaction_leaves_what_a_plug_in_has_still_to_handle() -> Result<()> {
    within(120, async {
        let mut stage = stage(&["ok"], "").await?;
        publish(&stage.jetstream, &series("a", 5)).await?;
        let dry = [
            "events",
            "compact",
            "--subject",
            RECORDS,
            "--json",
            "--dry-run",
        ];
        until("all of them to be committed", 30, async || {
            let dry = sluice_on(&stage.broker, &dry).await?.ok()?.json()?;
            ensure!(dry.get("older") == Some(&4.into()), "{dry}");
            Ok(())
        })
        .await?;
        sluice_on(&stage.broker, &["pause", "ok"]).await?.ok()?;
        publish(&stage.jetstream, &series("b", 5)).await?;
        let compact = ["events", "compact", "--subject", RECORDS, "--json", "--yes"];
        let done = sluice_on(&stage.broker, &compact).await?.ok()?.json()?;
        ensure!(done.get("left") == Some(&4.into()), "{done}");
        ensure!(done.get("wanted_by") == Some(&"ok".into()), "{done}");
        ensure!(on(&stage, RECORDS).await?.len() == 6, "others have left");
        stage.host.stop().await?;
        let nobody = sluice_on(&stage.broker, &compact).await?;
        nobody.refused(1, &["no host runs"])?;
        Ok(())
    })
}

//! Promise: nothing is lost. The position moves only with the outcome; what cannot be
//! handled is a dead letter with its bytes intact.

use anyhow::{Context as _, Result, ensure};
use async_nats::HeaderMap;
use bytes::Bytes;
use serde_json::json;
use sluicegate_tests::checks::Verdict;
use sluicegate_tests::events::{Message, publish, publish_messages, series, spread, subject};
use sluicegate_tests::outputs::{dead_letters, original_headers, wait_dead_letters, wait_echoes};
use sluicegate_tests::{Input, Stage, within};

#[test]
fn events_sent_while_the_host_is_down_are_handled_at_its_start() -> Result<()> {
    within(90, async {
        let mut stage = Stage::with(&["emit_one"], "").await?;
        stage.host.stop().await?;
        let inputs = spread(200, 10);
        publish(&stage.jetstream, &inputs).await?;
        stage.host.start().await?;
        let outputs = wait_echoes(&stage.jetstream, inputs.len(), 30).await?;
        Verdict::on(&inputs, &outputs).clean()
    })
}

#[test]
fn a_restart_goes_on_where_the_last_commit_stood() -> Result<()> {
    within(90, async {
        let mut stage = Stage::with(&["emit_one"], "").await?;
        let mut inputs = spread(200, 10);
        publish(&stage.jetstream, &inputs).await?;
        wait_echoes(&stage.jetstream, inputs.len(), 30).await?;
        stage.host.settled("emit-one", 20).await?;
        stage.host.stop().await?;

        stage.host.start().await?;
        let more = series("after-the-restart", 1);
        publish(&stage.jetstream, &more).await?;
        inputs.extend(more);
        let outputs = wait_echoes(&stage.jetstream, inputs.len(), 30).await?;
        stage.host.settled("emit-one", 20).await?;
        let metrics = stage.host.metrics().await?;
        let read = metrics.sum("sluicegate_deliveries_total", &[("plugin", "emit-one")])?;
        ensure!(
            read == 1.0,
            "after the restart {read} deliveries were read instead of the 1 new one"
        );
        Verdict::on(&inputs, &outputs).clean()
    })
}

#[test]
fn a_killed_host_leaves_nothing_behind() -> Result<()> {
    within(120, async {
        let mut stage = Stage::with(&["emit_one"], "[ledger]\ncommit_events = 10").await?;
        let inputs = spread(600, 30);
        publish(&stage.jetstream, &inputs).await?;
        wait_echoes(&stage.jetstream, 50, 30).await?;
        stage.host.kill9();
        stage.host.start().await?;
        let outputs = wait_echoes(&stage.jetstream, inputs.len(), 60).await?;
        Verdict::on(&inputs, &outputs).clean()
    })
}

#[test]
fn what_cannot_be_decoded_is_kept_with_its_bytes() -> Result<()> {
    within(120, async {
        let mut stage = Stage::with(&["emit_one"], "").await?;
        let junk = undecodable();
        let neighbours = series("neighbour", junk.len() as u64 + 1);
        let mut messages = Vec::new();
        for (index, neighbour) in neighbours.iter().enumerate() {
            messages.push(neighbour.message.clone());
            messages.extend(junk.get(index).map(|(_, message)| message.clone()));
        }
        let sequences = publish_messages(&stage.jetstream, &messages).await?;

        let outputs = wait_echoes(&stage.jetstream, neighbours.len(), 30).await?;
        Verdict::on(&neighbours, &outputs).clean()?;
        wait_dead_letters(&stage.jetstream, junk.len(), 30).await?;

        // The position is past them for good: no second letter after a restart.
        stage.host.stop().await?;
        stage.host.start().await?;
        stage.host.settled("emit-one", 20).await?;
        let letters = dead_letters(&stage.jetstream).await?;
        ensure!(
            letters.len() == junk.len(),
            "{} dead letters for {} bad messages",
            letters.len(),
            junk.len()
        );

        let bad_sequences = sequences.iter().skip(1).step_by(2);
        for ((what, message), sequence) in junk.iter().zip(bad_sequences) {
            let mut found = letters.iter().filter(|letter| {
                letter
                    .header("Sluice-Sequence")
                    .is_ok_and(|text| text == sequence.to_string())
            });
            let (Some(letter), None) = (found.next(), found.next()) else {
                anyhow::bail!("{what}: not exactly one dead letter of sequence {sequence}");
            };
            ensure!(
                letter.subject == "dead.emit-one.undecodable",
                "{what}: it is on {}",
                letter.subject
            );
            ensure!(
                letter.header("Sluice-Reason")? == "undecodable",
                "{what}: {:?}",
                letter.headers
            );
            ensure!(
                letter.header("Sluice-Subject")? == message.subject,
                "{what}: {:?}",
                letter.headers
            );
            ensure!(
                !letter.header("Sluice-Error")?.is_empty(),
                "{what}: no error text"
            );
            ensure!(
                letter.body == message.body,
                "{what}: the bytes are not those that came"
            );
            let (kept, came) = (
                letter.original_headers(),
                original_headers(&message.headers),
            );
            ensure!(kept == came, "{what}: headers {kept:?} instead of {came:?}");
        }
        Ok(())
    })
}

/// Messages that are no CloudEvent, each with what is wrong with it.
fn undecodable() -> Vec<(&'static str, Message)> {
    let good = |name: &str| Input::new(name, name, 0).message;
    let changed = |name: &str, header: &str, value: Option<&str>| {
        let mut message = good(name);
        let mut headers = HeaderMap::new();
        for (name, values) in message
            .headers
            .iter()
            .filter(|(name, _)| name.to_string() != header)
        {
            values
                .iter()
                .for_each(|value| headers.append(name.clone(), value.clone()));
        }
        if let Some(value) = value {
            headers.insert(header, value);
        }
        message.headers = headers;
        message
    };
    let mut structured = HeaderMap::new();
    structured.insert("content-type", "application/cloudevents+json");
    let broken = "{\"specversion\":\"1.0\",\"id\":\"cut-o";
    let not_text: &[u8] = &[0xff, 0x00, 0xfe, b'\r', b'\n', 0x80];
    let bare = |name: &str, headers: HeaderMap, body: Bytes| Message {
        subject: subject("thing", name),
        headers,
        body,
    };
    vec![
        ("no ce-id", changed("bad-id", "ce-id", None)),
        (
            "a time that is none",
            changed("bad-time", "ce-time", Some("yesterday")),
        ),
        (
            "no headers, not even text",
            bare("bad-bytes", HeaderMap::new(), not_text.into()),
        ),
        (
            "an empty message",
            bare("bad-empty", HeaderMap::new(), Bytes::new()),
        ),
        (
            "broken JSON",
            bare("bad-json", structured.clone(), broken.into()),
        ),
        (
            "JSON that is no event",
            bare("bad-shape", structured, "[]".into()),
        ),
        (
            "specversion 0.3",
            changed("bad-version", "ce-specversion", Some("0.3")),
        ),
        (
            "no UTF-8 behind the percent signs",
            changed("bad-percent", "ce-subject", Some("%ff%fe")),
        ),
    ]
}

#[test]
fn both_content_modes_and_their_dialects_are_read() -> Result<()> {
    within(60, async {
        let stage = Stage::with(&["emit_one"], "").await?;
        let mut structured = HeaderMap::new();
        structured.insert(
            "content-type",
            "application/cloudevents+json; charset=utf-8",
        );
        let event = json!({
            "specversion": "1.0", "id": "structured", "source": "/tests/promises",
            "type": "d365.custom.thing.update", "partitionkey": "küche/7", "data": { "n": 1 },
        });
        let in_json = Message {
            subject: subject("thing", "küche/7"),
            headers: structured,
            body: event.to_string().into(),
        };
        // As the NATS binding has it: percent-encoded, and the media type as a ce- header.
        let by_the_binding =
            Input::new("binding", "küche/7", 2).header("ce-partitionkey", "k%C3%BCche/7");
        // As other publishers do it: not encoded, a bare content-type.
        let bare = Input::new("bare", "küche/7", 3).header("content-type", "application/json");
        let messages = [in_json, by_the_binding.message, bare.message];
        publish_messages(&stage.jetstream, &messages).await?;

        let outputs = wait_echoes(&stage.jetstream, messages.len(), 20).await?;
        let ids: Vec<&str> = outputs.iter().map(|output| output.input.as_str()).collect();
        ensure!(
            ids == ["structured", "binding", "bare"],
            "one key, one order: {ids:?}"
        );
        ensure!(
            outputs.iter().all(|output| output.key == "küche/7"),
            "{outputs:?}"
        );
        Ok(())
    })
}

#[test]
fn a_body_of_900_kb_passes() -> Result<()> {
    within(60, async {
        let stage = Stage::with(&["emit_one"], "").await?;
        let inputs = [
            Input::with_data(
                "large",
                "k",
                0,
                json!({ "padding": "x".repeat(900 * 1024) }),
            ),
            Input::new("behind", "k", 1),
        ];
        publish(&stage.jetstream, &inputs).await?;
        let outputs = wait_echoes(&stage.jetstream, inputs.len(), 30).await?;
        Verdict::on(&inputs, &outputs).clean()
    })
}

#[test]
fn an_event_that_fills_the_brokers_limit_blocks_nobody_when_it_fails() -> Result<()> {
    within(60, async {
        // Its dead letter is larger than itself, and so than what the broker takes.
        let stage = Stage::with(&["reject"], "").await?;
        let small = Input::new("full", "k", 0);
        let headers: usize = original_headers(&small.message.headers)
            .iter()
            .map(|(name, values)| name.len() + values.concat().len() + 4)
            .sum();
        let full = small.body(vec![b'x'; 1024 * 1024 - headers - 64]);
        let sequences = publish(&stage.jetstream, &[full, Input::new("behind", "k", 1)]).await?;
        let letters = wait_dead_letters(&stage.jetstream, sequences.len(), 30).await?;
        for sequence in sequences {
            let text = sequence.to_string();
            let told = letters
                .iter()
                .any(|l| l.header("Sluice-Sequence").is_ok_and(|found| found == text));
            ensure!(told, "no dead letter of sequence {sequence}");
        }
        Ok(())
    })
}

#[test]
fn what_left_the_store_unread_is_told_and_holds_nobody_up() -> Result<()> {
    within(90, async {
        let mut stage = Stage::with(&["emit_one"], "").await?;
        publish(&stage.jetstream, &series("read", 3)).await?;
        wait_echoes(&stage.jetstream, 3, 30).await?;
        stage.host.settled("emit-one", 20).await?;
        stage.host.stop().await?;
        let unread = publish(&stage.jetstream, &series("unread", 4)).await?;
        // As if they had grown older than `events.max_age` while the host was away.
        let events = stage.jetstream.get_stream("EVENTS").await?;
        events.purge().await?;
        stage.host.start().await?;

        let letters = wait_dead_letters(&stage.jetstream, 1, 20).await?;
        let letter = letters.first().context("no letter")?;
        let reason = letter.header("Sluice-Reason")?;
        ensure!(reason == "aged-out", "{:?}", letter.headers);
        let last = unread.last().context("nothing was published")?.to_string();
        let error = letter.header("Sluice-Error")?;
        ensure!(error.contains(&last), "{error} does not name {last}");

        let next = series("next", 2);
        publish(&stage.jetstream, &next).await?;
        let outputs = wait_echoes(&stage.jetstream, 2, 30).await?;
        Verdict::on(&next, &outputs).clean()
    })
}

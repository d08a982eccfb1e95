//! Promise: what cannot be handled ends as a dead letter that tells all, and that can be sent
//! again to the one plug-in that could not handle it.

use anyhow::{Context, Result, ensure};
use chrono::DateTime;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sluicegate_tests::events::{publish, series};
use sluicegate_tests::outputs::{
    Stored, dead_letters, original_headers, wait_dead_letters, wait_echoes,
};
use sluicegate_tests::sluice::dlq;
use sluicegate_tests::{Input, Stage, environment, until, within};
use tokio::time::{Duration, sleep};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn traced(id: &str) -> Input {
    Input::new(id, "account/7 (west)", 0)
        .header("ce-partitionkey", "account/7%20(west)")
        .header("ce-traceparent", &format!("00-{TRACE}-00f067aa0ba902b7-01"))
        .header("ce-d365user", "b7a0f1c9-3c55-4f57-8c8e-90f5d2a1e310")
        .header("X-Own", "stays")
        .body(&b"{\"n\": 0,  \"kept\": \"\xc3\xa4 byte\tfor byte\"}\n"[..])
}

#[test]
fn a_dead_letter_tells_everything() -> Result<()> {
    within(60, async {
        let stage = Stage::with(&["reject"], "").await?;
        let input = traced("lost-cause");
        let sequences = publish(&stage.jetstream, std::slice::from_ref(&input)).await?;
        let letters = wait_dead_letters(&stage.jetstream, 1, 20).await?;
        let letter = letters.first().context("no letter")?;

        ensure!(
            letter.subject == "dead.reject.rejected",
            "it is on {}",
            letter.subject
        );
        ensure!(letter.body == input.message.body, "the bytes are others");
        let (kept, came) = (
            letter.original_headers(),
            original_headers(&input.message.headers),
        );
        ensure!(kept == came, "headers {kept:?} instead of {came:?}");
        let sequence = sequences.first().context("no sequence")?.to_string();
        for (header, value) in [
            ("Sluice-Plugin", "reject"),
            ("Sluice-Plugin-Version", "1.0.0"),
            ("Sluice-Reason", "rejected"),
            ("Sluice-Attempts", "1"),
            ("Sluice-Sequence", sequence.as_str()),
            ("Sluice-Subject", input.message.subject.as_str()),
            ("Sluice-Trace-Id", TRACE),
        ] {
            let found = letter.header(header)?;
            ensure!(found == value, "{header} is {found:?} instead of {value:?}");
        }
        ensure!(
            letter
                .header("Sluice-Error")?
                .contains("lost-cause is not wanted"),
            "{:?}",
            letter.headers
        );
        let key = letter.header("Sluice-Partition-Key")?;
        ensure!(
            ["account/7 (west)", "account/7%20(west)"].contains(&key),
            "the key is {key:?}"
        );
        let component = std::fs::read(environment::guest("reject")?)?;
        let digest: String = Sha256::digest(&component)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let found = letter.header("Sluice-Plugin-Digest")?;
        ensure!(
            found.trim_start_matches("sha256:") == digest,
            "digest {found} instead of {digest}"
        );
        let first = DateTime::parse_from_rfc3339(letter.header("Sluice-First-Time")?)?;
        let last = DateTime::parse_from_rfc3339(letter.header("Sluice-Last-Time")?)?;
        ensure!(
            first <= last,
            "the first attempt was at {first}, the last at {last}"
        );
        Ok(())
    })
}

#[test]
fn attempts_are_counted_over_a_crash() -> Result<()> {
    within(90, async {
        let settings = "[plugin.retry-forever]\nmax_attempts = 4\ninitial = \"1500ms\"\nmax = \"1500ms\"\nfactor = 1.0";
        let mut stage = Stage::with(&["retry_forever"], settings).await?;
        publish(&stage.jetstream, &series("k", 1)).await?;
        until("the second failed attempt", 20, async || {
            let retries = stage
                .host
                .metrics()
                .await?
                .outcomes("retry-forever", "retry")?;
            ensure!(2.0 <= retries, "{retries} retries");
            Ok(())
        })
        .await?;
        stage.host.kill9();
        stage.host.start().await?;
        let letters = wait_dead_letters(&stage.jetstream, 1, 30).await?;
        let letter = letters.first().context("no letter")?;
        ensure!(
            letter.header("Sluice-Reason")? == "exhausted",
            "{:?}",
            letter.headers
        );
        ensure!(
            letter.header("Sluice-Attempts")? == "4",
            "{:?}",
            letter.headers
        );
        let metrics = stage.host.metrics().await?;
        let after = metrics.outcomes("retry-forever", "retry")?;
        // The attempt whose outcome was under way at the crash may be repeated; no other is.
        ensure!(
            after <= 2.0,
            "{after} retries after the crash: the attempts before it were forgotten"
        );
        let reason = [("plugin", "retry-forever"), ("reason", "exhausted")];
        ensure!(
            metrics.sum("sluicegate_dead_letters_total", &reason)? == 1.0,
            "it is not counted"
        );
        Ok(())
    })
}

#[test]
fn an_event_that_waited_longer_than_its_time_to_live_is_told_and_not_handled() -> Result<()> {
    within(60, async {
        let mut stage = Stage::with(&["emit_one"], "[plugin.emit-one]\nttl = \"2s\"").await?;
        stage.host.stop().await?;
        publish(&stage.jetstream, &[Input::new("old", "k", 0)]).await?;
        // Its age, which is counted from its arrival in the store.
        sleep(Duration::from_millis(2_100)).await;
        stage.host.start().await?;
        let letters = wait_dead_letters(&stage.jetstream, 1, 20).await?;
        publish(&stage.jetstream, &[Input::new("young", "k", 1)]).await?;
        let outputs = wait_echoes(&stage.jetstream, 1, 20).await?;
        let letter = letters.first().context("no letter")?;
        ensure!(
            letter.header("Sluice-Reason")? == "expired",
            "{:?}",
            letter.headers
        );
        ensure!(letter.header("ce-id")? == "old", "{:?}", letter.headers);
        ensure!(
            outputs.iter().all(|output| output.input == "young"),
            "{outputs:?}"
        );
        Ok(())
    })
}

#[test]
fn dead_letters_are_listed_shown_and_discarded() -> Result<()> {
    within(90, async {
        let stage = Stage::with(&["reject", "mendable"], "").await?;
        let url = stage.broker.url();
        let input = traced("e0");
        publish(
            &stage.jetstream,
            &[input.clone(), Input::new("e1", "k1", 1)],
        )
        .await?;
        let letters = wait_dead_letters(&stage.jetstream, 4, 20).await?;

        let all = dlq(&url, &["list", "--json"]).await?.ok()?.json()?;
        let all = all.as_array().context("the list is no array")?;
        ensure!(all.len() == 4, "{all:?}");
        for letter in &letters {
            agree(entry(all, letter.sequence)?, letter)?;
        }
        let rejects = dlq(
            &url,
            &[
                "list", "--plugin", "reject", "--reason", "rejected", "--json",
            ],
        )
        .await?;
        let rejects = rejects.ok()?.json()?;
        let rejects = rejects.as_array().context("the list is no array")?;
        ensure!(rejects.len() == 2, "{rejects:?}");
        let none = dlq(&url, &["list", "--reason", "timeout", "--json"])
            .await?
            .ok()?
            .json()?;
        ensure!(none == Value::Array(Vec::new()), "{none}");

        let shown = rejects
            .iter()
            .find(|entry| text(entry, "event_id") == "e0")
            .context("e0 is not listed")?;
        let id = shown.get("id").context("no id")?.to_string();
        let table = dlq(&url, &["list"]).await?.ok()?.stdout;
        ensure!(
            table.contains(&id) && table.contains("reject") && table.contains("rejected"),
            "{table}"
        );
        let plain = dlq(&url, &["show", &id]).await?.ok()?.stdout;
        ensure!(plain.contains("byte\tfor byte"), "no body: {plain}");
        ensure!(
            plain.contains("X-Own") && plain.contains("rejected"),
            "no headers: {plain}"
        );
        let full = dlq(&url, &["show", &id, "--json"]).await?.ok()?.json()?;
        ensure!(
            full.get("headers")
                .is_some_and(|headers| headers.to_string().contains("stays")),
            "{full}"
        );
        let body = full
            .get("body")
            .context("no body")?
            .as_str()
            .context("the body is no text")?;
        ensure!(
            body.as_bytes() == input.message.body.as_ref(),
            "the body is shown as {body:?}"
        );

        dlq(&url, &["discard", &id]).await?.ok()?;
        dlq(&url, &["show", &id]).await?.refused(1, &[&id])?;
        ensure!(
            dead_letters(&stage.jetstream).await?.len() == 3,
            "only the one was to go"
        );
        dlq(&url, &["discard", "--all", "--plugin", "mendable"])
            .await?
            .ok()?;
        let left = dead_letters(&stage.jetstream).await?;
        ensure!(left.len() == 1, "{} left", left.len());
        ensure!(
            left.iter()
                .all(|letter| letter.subject == "dead.reject.rejected"),
            "{left:?}"
        );
        Ok(())
    })
}

/// What the list says of a letter is what its headers say.
fn agree(entry: &Value, letter: &Stored) -> Result<()> {
    for (member, header) in [
        ("plugin", "Sluice-Plugin"),
        ("version", "Sluice-Plugin-Version"),
        ("digest", "Sluice-Plugin-Digest"),
        ("reason", "Sluice-Reason"),
        ("error", "Sluice-Error"),
        ("attempts", "Sluice-Attempts"),
        ("subject", "Sluice-Subject"),
        ("sequence", "Sluice-Sequence"),
        ("first_time", "Sluice-First-Time"),
        ("last_time", "Sluice-Last-Time"),
        ("trace_id", "Sluice-Trace-Id"),
        ("event_id", "ce-id"),
        ("event_type", "ce-type"),
    ] {
        let listed = text(entry, member);
        ensure!(
            listed == letter.header(header)?,
            "{member} is {listed:?}: {:?}",
            letter.headers
        );
    }
    ensure!(
        !text(entry, "partition_key").is_empty(),
        "no partition_key: {entry}"
    );
    let size = text(entry, "size").parse::<usize>()?;
    ensure!(
        letter.body.len() <= size,
        "size {size} of a body of {}",
        letter.body.len()
    );
    Ok(())
}

fn entry(list: &[Value], id: u64) -> Result<&Value> {
    let found = list
        .iter()
        .find(|entry| text(entry, "id") == id.to_string());
    found.with_context(|| format!("dead letter {id} is not listed"))
}

/// A member's text, or its JSON when it is a number.
fn text(entry: &Value, member: &str) -> String {
    match entry.get(member) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}

#[test]
fn commands_for_letters_that_are_not_there_say_so() -> Result<()> {
    within(60, async {
        let stage = Stage::with(&["ok"], "").await?;
        let url = stage.broker.url();
        dlq(&url, &["show", "4711"]).await?.refused(1, &["4711"])?;
        dlq(&url, &["replay", "4711"])
            .await?
            .refused(1, &["4711"])?;
        dlq(&url, &["discard", "4711"])
            .await?
            .refused(1, &["4711"])?;
        dlq(&url, &["show", "first"])
            .await?
            .refused(2, &["first"])?;
        // Neither an id nor --all: that is not "all".
        let said = dlq(&url, &["discard"]).await?;
        ensure!(said.code == Some(2), "{said:?}");
        Ok(())
    })
}

#[test]
fn what_a_plug_in_decides_by_the_data_is_what_happens() -> Result<()> {
    within(60, async {
        let stage = Stage::with(&["decide"], "").await?;
        let account = |id: &str, limit: u64| {
            let body = json!({ "accountnumber": id, "creditlimit": limit }).to_string();
            Input::new(id, id, 0).body(body)
        };
        let inputs = [account("low", 50_000), account("high", 50_001)];
        publish(&stage.jetstream, &inputs).await?;
        let letters = wait_dead_letters(&stage.jetstream, 1, 20).await?;
        let letter = letters.first().context("no letter")?;
        ensure!(letter.header("Sluice-Error")? == "high is over its limit");
        stage.host.settled("decide", 20).await?;
        let done = stage.host.metrics().await?.outcomes("decide", "done")?;
        ensure!(done == 1.0, "{done} done");
        Ok(())
    })
}

//! Promise: what a handler asks for by type it gets, with every digit, or the event is rejected
//! with the column's name.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sluicegate_guest::{Event, testing};
use sluicegate_tests::sluice::sluice;
use sluicegate_tests::{environment, within};
use tempfile::TempDir;

/// What `sluice test` says of the guest `typed` on each of these.
async fn tried(events: &[Event]) -> Result<Vec<Value>> {
    let folder = TempDir::with_prefix("sluice-typed-")?;
    let file = folder.path().join("events.ndjson");
    let bodies: Vec<&[u8]> = events.iter().map(Event::data).collect();
    std::fs::write(&file, bodies.join(&b"\n"[..]))?;
    let guest = environment::guest("typed")?;
    let (guest, file) = (guest.to_string_lossy(), file.to_string_lossy());
    let arguments = [
        "test",
        &guest,
        "--event",
        &file,
        "--environment=contoso",
        "--json",
    ];
    sluice(&arguments).await?.json_lines()
}

#[test]
fn columns_arrive_by_type_and_state_is_kept_for_each_record() -> Result<()> {
    within(60, async {
        let limit = testing::money("922337203685477.5807");
        let held = |held: bool| testing::record("account").set("creditonhold", held);
        let lines = tried(&[
            held(true)
                .set("creditlimit", limit)
                .set("paymenttermscode", testing::choice(4))
                .set("primarycontactid", testing::lookup("contact", "7c1f2d68"))
                .set("modifiedon", testing::date("2026-11-24T09:30:00.25Z"))
                .pre_image("before", [("name", "Contoso")])
                .event(),
            held(false)
                .pre_image("before", [("creditonhold", true)])
                .event(),
            held(false)
                .pre_image("before", [("creditonhold", true)])
                .event(),
            testing::record("account")
                .set("creditonhold", "maybe")
                .event(),
        ])
        .await?;
        let [read, first, second, wrong] = &lines[..] else {
            anyhow::bail!("{lines:?}");
        };
        let message = read["message"].as_str().context("no message")?;
        for part in [
            "name: Some(\"Contoso\")",
            "creditlimit: Some(922337203685477.5807)",
            "paymenttermscode: Some(4)",
            "id: Some(\"7c1f2d68\")",
            "2026-11-24",
        ] {
            ensure!(message.contains(part), "no {part} in {message}");
        }
        for (line, total) in [(first, "1"), (second, "2")] {
            ensure!(line["outcome"] == "done", "{line}");
            ensure!(line["state"][0]["new"] == total, "{line}");
            let key = line["state"][0]["key"].as_str().unwrap_or_default();
            ensure!(key.starts_with("contoso/account/"), "{line}");
        }
        ensure!(wrong["outcome"] == "reject", "{wrong}");
        let message = wrong["message"].as_str().unwrap_or_default();
        ensure!(message.contains("column creditonhold: "), "{message}");
        Ok(())
    })
}

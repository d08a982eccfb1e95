//! Promise: no bytes from outside stop the gateway or get past it. What its sender may send but
//! nobody can read is a dead letter with its bytes intact.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use sluicegate_tests::bodies::account_update;
use sluicegate_tests::outputs::{dead_letters, wait_dead_letters};
use sluicegate_tests::sluice::dlq;
use sluicegate_tests::{Request, Source, Stage, within};

/// The gateway is there, and takes what is good.
async fn still_well(stage: &Stage, source: &Source, n: u64) -> Result<()> {
    let request = source.json(account_update(0, n)?);
    stage.host.gateway().ask(&request).await?.one().map(|_| ())
}

fn undecodable() -> Vec<(&'static str, Vec<u8>)> {
    let deep = |open: &str, close: &str| open.repeat(100_000) + &close.repeat(100_000);
    let text = |text: &str| text.as_bytes().to_vec();
    vec![
        ("nothing", text("")),
        ("blanks", text(" \r\n\t")),
        ("NUL bytes", vec![0; 512]),
        ("NUL in a name", text("{\"Message\0Name\":\"Update\"}")),
        (
            "no UTF-8",
            text("{\"MessageName\":\"Upd\u{e4}te\"}")
                .iter()
                .map(|b| b & 0xbf)
                .collect(),
        ),
        (
            "UTF-16",
            "{\"MessageName\":\"Update\"}"
                .encode_utf16()
                .flat_map(u16::to_le_bytes)
                .collect(),
        ),
        ("half a document", text("{\"MessageName\":\"Update\",")),
        ("two documents", text("{} {}")),
        ("a comma too many", text("{\"MessageName\":\"Update\",}")),
        ("XML", text("<RemoteExecutionContext/>")),
        ("null", text("null")),
        ("a number", text("1e400")),
        ("an empty object", text("{}")),
        ("an empty array", text("[]")),
        ("an array", text("[{\"MessageName\":\"Update\"}]")),
        (
            "a message name of the wrong type",
            text("{\"MessageName\":7}"),
        ),
        ("another object", text("{\"hello\":\"world\"}")),
        ("deep arrays", text(&deep("[", "]"))),
        (
            "deep objects",
            text(&(deep("{\"a\":", "").replace("}", "") + "1" + &"}".repeat(100_000))),
        ),
        ("deep and open", "[".repeat(1 << 19).into_bytes()),
        (
            "deep inside of an event",
            text(&format!(
                "{{\"MessageName\":\"Update\",\"PrimaryEntityName\":\"account\",\"InputParameters\":{}}}",
                deep("[", "]")
            )),
        ),
        (
            "a name of 100 KB",
            text(&format!("{{\"MessageName\":\"{}\"}}", "x".repeat(100_000))),
        ),
        ("an escape that is none", text("{\"MessageName\":\"\\x\"}")),
        (
            "half a surrogate pair",
            text("{\"MessageName\":\"\\ud800\"}"),
        ),
    ]
}

#[test]
fn what_nobody_can_read_is_a_dead_letter_with_its_bytes() -> Result<()> {
    within(120, async {
        let source = Source::new("dataverse", "contoso");
        let stage = Stage::taking(&[&source]).await?;
        let gateway = stage.host.gateway();
        let bodies = undecodable();
        let media = "application/json; charset=utf-8";
        for (n, (what, body)) in (0..).zip(&bodies) {
            let answer = gateway
                .ask(&source.post(media, body.clone()))
                .await
                .context(*what)?;
            let letters = answer.clone().dead_letters().context(*what)?;
            let [letter] = letters.as_slice() else {
                anyhow::bail!("{what}: {}", answer.text())
            };
            ensure!(
                letter.get("index").and_then(Value::as_u64) == Some(0),
                "{what}: {letter}"
            );
            let error = letter
                .get("error")
                .and_then(Value::as_str)
                .unwrap_or_default();
            ensure!(!error.is_empty() && error.len() < 2_000, "{what}: {letter}");
            ensure!(answer.accepted()?.is_empty(), "{what} is no event");
            still_well(&stage, &source, n).await.context(*what)?;
        }
        ensure!(
            stage.events().await? == bodies.len(),
            "only the good ones are events"
        );

        let labels = [("plugin", "gateway"), ("reason", "undecodable")];
        let metrics = stage.host.metrics().await?;
        let counted = metrics.sum("sluicegate_dead_letters_total", &labels)?;
        ensure!(counted == bodies.len() as f64, "{counted} are counted");

        let letters = wait_dead_letters(&stage.jetstream, bodies.len(), 20).await?;
        ensure!(letters.len() == bodies.len(), "{} letters", letters.len());
        let url = stage.broker.url();
        for (letter, (what, body)) in letters.iter().zip(&bodies) {
            ensure!(
                letter.body == body.as_slice(),
                "{what}: the bytes are others"
            );
            ensure!(
                letter.subject == "dead.gateway.undecodable",
                "{}",
                letter.subject
            );
            for (header, value) in [
                ("Sluice-Plugin", "gateway"),
                ("Sluice-Reason", "undecodable"),
                ("Sluice-Source-Kind", "dataverse"),
                ("Sluice-Source-Environment", "contoso"),
            ] {
                ensure!(
                    letter.header(header)? == value,
                    "{what}: {:?}",
                    letter.headers
                );
            }
            ensure!(
                !letter.header("Sluice-Error")?.is_empty(),
                "{what}: no error"
            );
            let kept = letter.original_headers();
            let kept = kept
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
            ensure!(
                kept.is_some_and(|(_, values)| values == &[media.to_owned()]),
                "{what}: {:?}",
                letter.headers
            );
            let shown = dlq(&url, &["show", &letter.sequence.to_string()])
                .await?
                .ok()?;
            ensure!(
                shown
                    .raw
                    .windows(body.len().max(1))
                    .any(|part| part == body.as_slice())
                    || body.is_empty()
                    || std::str::from_utf8(body).is_err(),
                "{what} is not shown"
            );
        }
        let listed = dlq(&url, &["list", "--reason", "undecodable", "--json"])
            .await?
            .ok()?;
        let listed = listed.json()?;
        let listed = listed.as_array().context("an array")?;
        ensure!(listed.len() == bodies.len(), "{} are listed", listed.len());
        let plugin = listed.first().and_then(|letter| letter.get("plugin"));
        // As long as nobody understands them they stay, whoever presses the button.
        let all = ["replay", "--all", "--plugin", "gateway"];
        dlq(&url, &all).await?.refused(1, &["stays"])?;
        let kept = dead_letters(&stage.jetstream).await?;
        ensure!(
            kept.len() == bodies.len(),
            "{} of them are left",
            kept.len()
        );
        ensure!(
            plugin.and_then(Value::as_str) == Some("gateway"),
            "{plugin:?}"
        );
        Ok(())
    })
}

#[test]
fn members_that_come_twice_are_never_two_things_at_once() -> Result<()> {
    within(60, async {
        let source = Source::new("dataverse", "contoso");
        let stage = Stage::taking(&[&source]).await?;
        // A reader that takes the first and one that takes the last must not differ here.
        let body = account_update(1, 1)?;
        let twice = body.replacen('{', "{\"MessageName\":\"Delete\",", 1);
        let answer = stage
            .host
            .gateway()
            .ask(&source.json(twice.clone()))
            .await?;
        let letters = answer.clone().dead_letters()?;
        let accepted = answer.accepted()?;
        ensure!(
            letters.len() + accepted.len() == 1,
            "{letters:?} {accepted:?}"
        );
        for letter in dead_letters(&stage.jetstream).await? {
            ensure!(letter.body == twice.as_bytes(), "the bytes are others");
        }
        still_well(&stage, &source, 1).await
    })
}

#[test]
fn an_environments_name_cannot_leave_its_place() -> Result<()> {
    within(60, async {
        let source = Source::new("dataverse", "contoso").open();
        let stage = Stage::taking(&[&source]).await?;
        let gateway = stage.host.gateway();
        let long = "a".repeat(5_000);
        for name in [
            "..%2f..%2fetc",
            "%2e%2e",
            "%2e%2e%2fcontoso",
            "..",
            "../contoso",
            "./contoso",
            "",
            "contoso%00",
            "contoso%2f",
            "contoso/",
            "contoso/..",
            "CONTOSO",
            "cont%6Fso%20",
            "*",
            ">",
            "%3e",
            "contoso.>",
            "contoso.record",
            "%0d%0aX-Evil:%201",
            "%ff",
            "%",
            "%zz",
            "$JS.API",
            "c%CC%83ontoso",
            long.as_str(),
        ] {
            let target = format!("/dataverse/{name}");
            let request = Request::new("POST", &target)
                .header("content-type", "application/json")
                .body(account_update(1, 1)?);
            let answer = gateway
                .ask(&request)
                .await
                .with_context(|| target.clone())?;
            ensure!(
                matches!(answer.status, 400 | 401 | 404 | 414),
                "{target}: {} {}",
                answer.status,
                answer.text()
            );
            ensure!(answer.header("x-evil").is_none(), "{target}: {answer:?}");
            ensure!(stage.events().await? == 0, "{target} was stored");
        }
        // A percent-encoded letter is that letter (RFC 3986 section 2.3), or refused; never another.
        let request = Request::new("POST", "/dataverse/cont%6Fso").body(account_update(1, 1)?);
        let answer = gateway.ask(&request).await?;
        ensure!(matches!(answer.status, 202 | 401 | 404), "{answer:?}");
        still_well(&stage, &source, 7).await?;
        ensure!(!stage.host.data_dir().join("../etc").exists());
        Ok(())
    })
}

//! Promise: requests that bend HTTP itself get nothing past the gateway, and hold up nobody.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use sluicegate_tests::bodies::account_update;
use sluicegate_tests::outputs::stored;
use sluicegate_tests::{Request, Source, Stage, within};

/// The gateway is there, and takes what is good.
async fn still_well(stage: &Stage, source: &Source, n: u64) -> Result<()> {
    let request = source.json(account_update(0, n)?);
    stage.host.gateway().ask(&request).await?.one().map(|_| ())
}

#[test]
fn nothing_is_smuggled_in_headers() -> Result<()> {
    within(60, async {
        let source = Source::new("dataverse", "contoso");
        let stage = Stage::taking(&[&source]).await?;
        let name = "x-ms-dynamics-organization";
        // The parser has to refuse these, or has to keep them out of what is stored.
        for (n, value) in (1..).zip([
            &b"a\rNats-Msg-Id: evil"[..],
            b"a\nNats-Msg-Id: evil",
            b"a\0b",
            b"a\x1bb",
            b"a\x7fb",
            b"\xff\xfe",
        ]) {
            let request = source.json(account_update(1, n)?).header(name, value);
            let mut connection = stage.host.gateway().connect().await?;
            // Refusing may be hanging up.
            let answer = connection.ask(&request).await;
            if let Ok(answer) = answer {
                ensure!(matches!(answer.status, 202 | 400), "{value:?}: {answer:?}");
            }
        }
        // These are carried, safely.
        for (n, value, carried) in [
            (
                10,
                "contoso%0d%0aNats-Msg-Id: evil",
                "contoso%0d%0aNats-Msg-Id: evil",
            ),
            (11, "100 % \"crm\" \u{20ac}", "100 % \"crm\" \u{20ac}"),
        ] {
            let request = source.json(account_update(1, n)?).header(name, value);
            let stored = stage.taken(&request).await?;
            let found = stored.attribute("d365organization")?;
            ensure!(found == carried, "{value:?} became {found:?}");
        }
        for event in stored(&stage.jetstream, "EVENTS", "d365.>").await? {
            let id = event.header("Nats-Msg-Id")?;
            ensure!(id.starts_with("/dataverse/contoso#"), "{:?}", event.headers);
        }
        // A sender's own ce-, Nats- and Sluice- headers are no business of the broker's.
        let request = source
            .json(account_update(1, 20)?)
            .header("Nats-Msg-Id", "evil")
            .header("Nats-Expected-Last-Sequence", "999")
            .header("Nats-Rollup", "all")
            .header("Nats-TTL", "1s")
            .header("Sluice-Replay", "1")
            .header("ce-id", "evil")
            .header("ce-type", "evil");
        let stored = stage.taken(&request).await?;
        ensure!(stored.attribute("type")? == "d365.dataverse.account.update");
        let foreign = [
            "Nats-Rollup",
            "Nats-TTL",
            "Nats-Expected-Last-Sequence",
            "Sluice-Replay",
        ];
        for name in foreign {
            ensure!(stored.header(name).is_err(), "{name} went through");
        }
        Ok(())
    })
}

#[test]
fn headers_are_bounded_in_number_and_size() -> Result<()> {
    within(60, async {
        let source = Source::new("dataverse", "contoso");
        let stage = Stage::taking(&[&source]).await?;
        let gateway = stage.host.gateway();
        let body = account_update(1, 1)?;
        let thousand = (0..1_000).fold(source.json(body.clone()), |request, n| {
            request.header(&format!("x-ms-dynamics-{n}"), "x".repeat(20))
        });
        let huge = source
            .json(body.clone())
            .header("x-ms-dynamics-organization", "x".repeat(1 << 20));
        let name = source.json(body.clone()).header(&"x".repeat(1 << 20), "x");
        let target = Request::new(
            "POST",
            &format!("/dataverse/contoso?x={}", "x".repeat(1 << 20)),
        );
        for (what, request) in [
            ("1,000 headers", thousand),
            ("a header of 1 MiB", huge),
            ("a name of 1 MiB", name),
            ("a target of 1 MiB", target),
        ] {
            match gateway.ask(&request).await {
                Ok(answer) => ensure!(
                    matches!(answer.status, 400 | 401 | 414 | 431),
                    "{what}: {} {}",
                    answer.status,
                    answer.text()
                ),
                // Hanging up is an answer as well.
                Err(error) => eprintln!("{what}: {error:#}"),
            }
            still_well(&stage, &source, 1).await.context(what)?;
        }
        // A few long ones: carried or left out, the event is taken.
        let request = (0..20).fold(source.json(body), |request, n| {
            request.header(&format!("x-ms-dynamics-long{n}"), "v".repeat(2_000))
        });
        gateway.ask(&request).await?.accepted()?;
        ensure!(stage.events().await? == 2, "{}", stage.events().await?);
        Ok(())
    })
}

#[test]
fn requests_are_not_smuggled_behind_others() -> Result<()> {
    within(90, async {
        let source = Source::new("dataverse", "contoso");
        let stage = Stage::taking(&[&source]).await?;
        let hidden = source.json(account_update(66, 6)?).bytes();
        let by_hand = || {
            source
                .request("POST")
                .header("content-type", "application/json")
                .by_hand()
        };
        let length = hidden.len().to_string();
        let chunked = [&b"0\r\n\r\n"[..], &hidden].concat();
        for (what, request) in [
            (
                "both, length first",
                by_hand()
                    .header("content-length", &length)
                    .header("transfer-encoding", "chunked"),
            ),
            (
                "both, chunked first",
                by_hand()
                    .header("transfer-encoding", "chunked")
                    .header("content-length", &length),
            ),
            (
                "two lengths",
                by_hand()
                    .header("content-length", "0")
                    .header("content-length", &length),
            ),
            (
                "a list of lengths",
                by_hand().header("content-length", format!("0, {length}")),
            ),
            (
                "a length with a sign",
                by_hand().header("content-length", "+0"),
            ),
            (
                "a length that is none",
                by_hand().header("content-length", "0x10"),
            ),
            (
                "a negative length",
                by_hand().header("content-length", "-1"),
            ),
            (
                "a length beyond all numbers",
                by_hand().header("content-length", "99999999999999999999999"),
            ),
            (
                "chunked in the middle",
                by_hand().header("transfer-encoding", "chunked, identity"),
            ),
            (
                "hidden chunked",
                by_hand().header("transfer-encoding", "\x0bchunked"),
            ),
            (
                "a blank before the colon",
                by_hand().header("transfer-encoding ", "chunked"),
            ),
            (
                "a chunk size that is none",
                by_hand()
                    .header("transfer-encoding", "chunked")
                    .header("x-bad", "1"),
            ),
        ] {
            let body = if what.starts_with("a chunk size") {
                [&b"-1\r\n\r\n"[..], &hidden].concat()
            } else {
                chunked.clone()
            };
            let mut connection = stage.host.gateway().connect().await?;
            // It may be hung up on in the middle.
            let _ = connection.send(&[request.head(), body].concat()).await;
            let heard = match connection.answer_within(Duration::from_secs(5)).await {
                Ok(first) => {
                    ensure!(
                        first.status != 202 || first.clone().accepted()?.is_empty(),
                        "{what}: {first:?}"
                    );
                    let second = connection.answer_within(Duration::from_millis(400)).await;
                    second.map_or(0, |second| second.status)
                }
                Err(_) => 0,
            };
            // Behind a request whose end is in doubt nothing counts any more. A request without
            // body (chunked and its length ignored, as RFC 9112 section 6.3 allows) is not in
            // doubt if the connection ends with it.
            ensure!(heard != 202, "{what}: the hidden request was taken");
            ensure!(stage.events().await? == 0, "{what}: something was stored");
        }
        still_well(&stage, &source, 1).await
    })
}

#[test]
fn a_refused_body_is_not_read_as_the_next_request() -> Result<()> {
    within(60, async {
        let source = Source::new("dataverse", "contoso");
        let stage = Stage::taking(&[&source]).await?;
        let hidden = source.json(account_update(66, 6)?).bytes();
        let stranger = source.clone().keyed("wrong");
        for (what, refused) in [
            ("401", stranger.json(hidden.clone())),
            ("404", Request::new("POST", "/nothing").body(hidden.clone())),
            (
                "405",
                Request::new("PUT", "/dataverse/contoso").body(hidden.clone()),
            ),
            ("415", source.post("text/plain", hidden.clone())),
            ("401 in chunks", stranger.json(hidden.clone()).chunked()),
        ] {
            let mut connection = stage.host.gateway().connect().await?;
            connection.send(&refused.bytes()).await?;
            let status = connection.answer().await?.status;
            ensure!(what.starts_with(&status.to_string()), "{what}: {status}");
            // The connection goes on behind the body, or ends.
            let good = Request::new("GET", "/nothing");
            if let Ok(answer) = connection.ask(&good).await {
                answer.problem(404).context(what)?;
            }
            ensure!(
                stage.events().await? == 0,
                "{what}: a body was taken as a request"
            );
        }
        still_well(&stage, &source, 1).await
    })
}

#[test]
fn many_slow_senders_hold_up_nobody() -> Result<()> {
    within(90, async {
        let source = Source::new("dataverse", "contoso");
        let stage = Stage::taking(&[&source]).await?;
        let gateway = stage.host.gateway();
        let head = source.json(account_update(1, 1)?).head();
        let mut slow = Vec::new();
        for n in 0..800 {
            let mut connection = gateway.connect().await?;
            // Nothing at all, half a line, half of the headers.
            let part = head.get(..(n % 3) * head.len() / 3).unwrap_or_default();
            connection.send(part).await?;
            slow.push(connection);
        }
        for n in 0..20 {
            let request = source.json(account_update(2, n)?);
            let (answer, took) = gateway.timed(&request).await?;
            answer.one()?;
            ensure!(took < Duration::from_millis(1_500), "it took {took:?}");
        }
        // One more header every second does not keep a connection for ever.
        let mut dripping = slow.pop().context("800 were opened")?;
        let limit = Duration::from_secs(40);
        let dripped = tokio::time::timeout(limit, async {
            while dripping.send(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        });
        dripped
            .await
            .context("a dripping connection still stands after 40 s")?;
        let first = slow.first_mut().context("800 were opened")?;
        first
            .end(Duration::from_secs(10))
            .await
            .context("a silent connection")?;
        still_well(&stage, &source, 1).await
    })
}

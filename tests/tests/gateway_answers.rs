//! Promise: whoever may not, cannot or should not send is told so in one exact way, and nothing of
//! it is stored.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use sluicegate_tests::bodies::{account_update, gzip_bomb, invoice};
use sluicegate_tests::outputs::dead_letters;
use sluicegate_tests::{Answer, Request, Source, Stage, within};

/// What an answer says, without what differs from second to second.
fn said(answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let headers = answer.headers.iter().filter(|(name, _)| name != "date");
    (answer.status, headers.cloned().collect(), answer.text())
}

async fn nothing_came_of_it(stage: &Stage) -> Result<()> {
    let events = stage.events().await?;
    ensure!(events == 0, "{events} events were stored");
    let letters = dead_letters(&stage.jetstream).await?;
    ensure!(letters.is_empty(), "{letters:?}");
    Ok(())
}

#[test]
fn every_wrong_key_gets_one_and_the_same_401() -> Result<()> {
    within(60, async {
        let ours = Source::new("dataverse", "contoso").keyed("s3cr+t/of=ours & more%");
        let other = Source::new("dataverse", "fabrikam");
        let fno = Source::new("fno", "contoso").in_header("x-key");
        let stage = Stage::taking(&[&ours, &other, &fno]).await?;
        let gateway = stage.host.gateway();
        let path = ours.path();
        let post = |target: &str| {
            let body = account_update(1, 1)?;
            anyhow::Ok(
                Request::new("POST", target)
                    .header("content-type", "application/json")
                    .body(body),
            )
        };
        let at = |query: &str| post(&format!("{path}{query}"));
        let mut first: Option<Answer> = None;
        for (what, request) in [
            ("no key", at("")?),
            ("an empty key", at("?code=")?),
            ("a name without a value", at("?code")?),
            ("a wrong key", at("?code=wrong")?),
            ("the start of the key", at("?code=s3cr%2Bt%2Fof%3D")?),
            (
                "the key and more",
                at("?code=s3cr%2Bt%2Fof%3Dours%20%26%20more%25x")?,
            ),
            (
                "the key of another environment",
                at(&format!("?code={}", other.key()))?,
            ),
            (
                "the key of another kind",
                at(&format!("?code={}", fno.key()))?,
            ),
            (
                "another kind's header",
                post(&path)?.header("x-key", fno.key()),
            ),
            (
                "the key under another name",
                at("?key=s3cr%2Bt%2Fof%3Dours%20%26%20more%25")?,
            ),
            (
                "the key in a header",
                post(&path)?.header("code", ours.key()),
            ),
            (
                "basic",
                post(&path)?.header("authorization", "Basic Y29kZTprZXk="),
            ),
            (
                "an unknown environment",
                post(&format!("/dataverse/nobody?code={}", other.key()))?,
            ),
            (
                "an environment of another kind",
                post(&format!("/eventgrid/contoso?code={}", other.key()))?,
            ),
            ("no key at all for nobody", post("/dataverse/nobody")?),
            (
                "a wrong key in a header",
                post(&fno.path())?.header("x-key", "wrong"),
            ),
            (
                "an empty key in a header",
                post(&fno.path())?.header("x-key", ""),
            ),
            (
                "a header's key in the query",
                post(&format!("{}?x-key={}", fno.path(), fno.key()))?,
            ),
            ("a key that is no UTF-8", at("?code=%ff%fe")?),
            (
                "a header's key that is no text",
                post(&fno.path())?.header("x-key", [0xff, 0xfe]),
            ),
        ] {
            let answer = gateway.ask(&request).await.context(what)?;
            let detail = answer.clone().problem(401).context(what)?;
            for secret in [ours.key(), other.key(), fno.key()] {
                ensure!(!detail.contains(secret), "{what}: it tells a key: {detail}");
            }
            match &first {
                None => first = Some(answer),
                Some(first) => ensure!(
                    said(first) == said(&answer),
                    "{what} is told apart:\n{first:?}\n{answer:?}"
                ),
            }
        }
        nothing_came_of_it(&stage).await?;
        // Nor is it in the log.
        for secret in [ours.key(), other.key(), fno.key()] {
            ensure!(!stage.host.log()?.contains(secret), "a key is in the log");
        }
        // The right ones, one of them percent-encoded.
        gateway
            .ask(&ours.json(account_update(1, 1)?))
            .await?
            .one()?;
        gateway
            .ask(&other.json(account_update(2, 1)?))
            .await?
            .one()?;
        gateway.ask(&fno.json(invoice(1)?)).await?.one()?;
        Ok(())
    })
}

#[test]
fn other_paths_and_methods_are_404_and_405() -> Result<()> {
    within(60, async {
        let source = Source::new("dataverse", "contoso");
        let grid = Source::new("eventgrid", "contoso");
        let stage = Stage::taking(&[&source, &grid]).await?;
        let gateway = stage.host.gateway();
        let key = source.key();
        for path in [
            "/",
            "/nothing",
            "/dataverse",
            "/dataverse/contoso/more",
            "/Dataverse/contoso",
            "/healthz",
            "/metrics",
            "/api/v1/plugins",
            "//dataverse/contoso",
        ] {
            for method in ["POST", "GET"] {
                let request = Request::new(method, &format!("{path}?code={key}"));
                let answer = gateway.ask(&request).await?;
                answer
                    .problem(404)
                    .with_context(|| format!("{method} {path}"))?;
            }
        }
        // The method is told before the key is asked for: it says nothing about sources.
        for path in [
            source.path(),
            format!("{}?code={key}", source.path()),
            "/fno/nobody".into(),
        ] {
            for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"] {
                let answer = gateway.ask(&Request::new(method, &path)).await?;
                let allow = answer.header("allow").unwrap_or_default().to_owned();
                answer
                    .problem(405)
                    .with_context(|| format!("{method} {path}"))?;
                ensure!(allow == "POST", "allow is {allow:?} for {method} {path}");
            }
        }
        let answer = gateway.ask(&Request::new("GET", &grid.path())).await?;
        let allow = answer.header("allow").unwrap_or_default().to_owned();
        answer.problem(405)?;
        ensure!(
            allow.contains("POST") && allow.contains("OPTIONS"),
            "allow is {allow:?}"
        );
        nothing_came_of_it(&stage).await
    })
}

#[test]
fn what_is_too_large_is_413_before_it_is_read() -> Result<()> {
    within(60, async {
        let source = Source::new("dataverse", "contoso");
        let stage = Stage::taking(&[&source]).await?;
        let gateway = stage.host.gateway();
        // Announced: the answer comes though not one byte of the body was sent.
        let ten = source.json(vec![b'x'; 10 << 20]);
        let mut connection = gateway.connect().await?;
        connection.send(&ten.head()).await?;
        let limit = Duration::from_secs(3);
        connection.answer_within(limit).await?.problem(413)?;
        connection.end(limit).await?;
        // All of it sent.
        gateway
            .ask(&ten)
            .await
            .context("10 MB with a length")?
            .problem(413)?;
        // Not announced: it is cut off behind the limit. The last chunk never comes.
        let chunked = ten.chunked();
        let bytes = chunked.bytes();
        let most = chunked.head().len() + (12 << 17);
        let mut connection = gateway.connect().await?;
        connection
            .send(bytes.get(..most).unwrap_or_default())
            .await?;
        connection.answer_within(limit).await?.problem(413)?;
        gateway
            .ask(&chunked)
            .await
            .context("10 MB in chunks")?
            .problem(413)?;
        // One byte over.
        let over = source.json(vec![b' '; (1 << 20) + 1]);
        gateway.ask(&over).await?.problem(413)?;
        gateway.ask(&over.chunked()).await?.problem(413)?;
        nothing_came_of_it(&stage).await?;
        // Exactly as much as may be.
        let mut body = account_update(1, 1)?.into_bytes();
        body.resize(1 << 20, b' ');
        gateway.ask(&source.json(body)).await?.one()?;
        Ok(())
    })
}

#[test]
fn what_is_no_json_by_its_own_word_is_415() -> Result<()> {
    within(60, async {
        let dataverse = Source::new("dataverse", "contoso");
        let fno = Source::new("fno", "contoso");
        let grid = Source::new("eventgrid", "contoso");
        let cloud = Source::new("cloudevents", "contoso");
        let stage = Stage::taking(&[&dataverse, &fno, &grid, &cloud]).await?;
        let gateway = stage.host.gateway();
        // Compressed: refused unread, and at once, whatever would become of it.
        let bomb = gzip_bomb(100);
        for source in [&dataverse, &fno, &grid, &cloud] {
            for coding in [
                "gzip",
                "GZIP",
                "deflate",
                "br",
                "zstd",
                "identity, gzip",
                "x-unknown",
            ] {
                let media = if source.path().starts_with("/cloud") {
                    "application/cloudevents+json"
                } else {
                    "application/json"
                };
                let request = source
                    .post(media, bomb.clone())
                    .header("content-encoding", coding);
                let (answer, took) = gateway.timed(&request).await?;
                answer
                    .problem(415)
                    .with_context(|| format!("{coding} at {}", source.path()))?;
                ensure!(took < Duration::from_secs(3), "{coding} took {took:?}");
            }
        }
        let memory = stage.host.resident_bytes()?;
        ensure!(memory < 400 << 20, "it went off: {memory} bytes");
        let event = "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/a\",\"type\":\"b\"}";
        for (source, media) in [
            (&dataverse, "application/msbin1"),
            (&dataverse, "text/xml"),
            (&dataverse, "text/plain"),
            (&dataverse, "application/x-www-form-urlencoded"),
            (&dataverse, "application/jsonp"),
            (&dataverse, "jason"),
            (&fno, "application/xml"),
            (&fno, "multipart/form-data; boundary=x"),
            (&grid, "text/plain"),
            (&grid, "application/octet-stream"),
            (&cloud, "application/json"),
            (&cloud, "application/cloudevents+xml"),
            (&cloud, "application/cloudevents+avro"),
            (&cloud, "application/cloudevents-batch+protobuf"),
            (&cloud, "text/plain"),
        ] {
            let answer = gateway.ask(&source.post(media, event)).await?;
            answer
                .problem(415)
                .with_context(|| format!("{media} at {}", source.path()))?;
        }
        // A CloudEvents source without any media type and without ce- headers.
        gateway
            .ask(&cloud.request("POST").body(event))
            .await?
            .problem(415)?;
        nothing_came_of_it(&stage).await?;
        // What is all right in other letters and with parameters.
        for (n, media) in [
            "Application/JSON",
            "text/json",
            "application/vnd.x+json;q=1",
            "application/json;charset=UTF-8",
        ]
        .into_iter()
        .enumerate()
        {
            let body = account_update(1, n as u64)?;
            let request = dataverse
                .post(media, body)
                .header("content-encoding", "identity");
            gateway.ask(&request).await?.one().context(media)?;
        }
        Ok(())
    })
}

#[test]
fn a_key_is_asked_for_before_anything_of_the_body_is_looked_at() -> Result<()> {
    within(60, async {
        let source = Source::new("dataverse", "contoso");
        let stage = Stage::taking(&[&source]).await?;
        let gateway = stage.host.gateway();
        let stranger = source.clone().keyed("wrong");
        for request in [
            stranger.post("text/xml", "<a/>"),
            stranger.json("{}").header("content-encoding", "gzip"),
            stranger.json(vec![b'x'; 2 << 20]),
            stranger.json("{ no json"),
        ] {
            // Before the body has come: a stranger's is not waited for.
            let mut connection = gateway.connect().await?;
            connection.send(&request.head()).await?;
            connection
                .answer_within(Duration::from_secs(3))
                .await?
                .problem(401)?;
        }
        nothing_came_of_it(&stage).await
    })
}

#[test]
fn a_body_that_does_not_come_is_given_up() -> Result<()> {
    within(60, async {
        let source = Source::new("dataverse", "contoso");
        let stage = Stage::taking(&[&source]).await?;
        let gateway = stage.host.gateway();
        let request = source.json(account_update(1, 1)?);
        let whole = request.bytes();
        let mut stalled = gateway.connect().await?;
        stalled
            .send(whole.get(..whole.len() / 2).unwrap_or_default())
            .await?;
        // Others are served meanwhile.
        gateway
            .ask(&source.json(account_update(2, 1)?))
            .await?
            .one()?;
        let end = stalled.end(Duration::from_secs(27)).await?;
        ensure!(
            end.is_empty() || end.starts_with(b"HTTP/1.1 408 "),
            "{}",
            String::from_utf8_lossy(&end)
        );
        ensure!(stage.events().await? == 1, "half a body is no event");
        ensure!(
            dead_letters(&stage.jetstream).await?.is_empty(),
            "nor a dead letter"
        );
        Ok(())
    })
}

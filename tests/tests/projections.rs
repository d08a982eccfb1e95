//! Promise: the rows of a projection are what its events make of them, one after another: none twice
//! and none left out, whatever dies meanwhile; and they can be asked for as it is said.

#![allow(
    clippy::indexing_slicing,
    reason = "a member of a JSON value that is not there is null"
)]

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use sluicegate_tests::component::with_words;
use sluicegate_tests::events::publish;
use sluicegate_tests::projected::{
    Kept, Oracle, all, ask, differing, drawn, listed, reached, stage,
};
use sluicegate_tests::sluice::sluice_on;
use sluicegate_tests::{Broker, Input, Setup, Stage, environment, until, within};
use tokio::time::sleep;

/// An event that tells the guest something.
fn told(number: u64, key: &str, n: u64, data: Value) -> Input {
    Input::with_data(format!("e{number}"), key, n, data)
}

#[test]
fn rows_are_those_of_a_sequential_oracle_over_sigkills() -> Result<()> {
    within(300, async {
        let mut random = StdRng::seed_from_u64(environment::seed()?);
        let mut stage = Stage::with(&["project"], "").await?;
        let inputs = drawn(&mut random, 0..6_000);
        let mut oracle = Oracle::default();
        let mut last = 0;
        for part in inputs.chunks(inputs.len().div_ceil(8)) {
            for (input, sequence) in part.iter().zip(publish(&stage.jetstream, part).await?) {
                oracle.take(input, sequence);
                last = sequence;
            }
            // In the middle of it, most times.
            sleep(Duration::from_millis(random.random_range(0..250))).await;
            stage.host.kill9();
            stage.host.start().await?;
        }
        reached(&stage.host, "project", last, 120).await?;
        for table in ["keys", "lines"] {
            let found = all(&stage.host, &format!("/project/{table}")).await?;
            ensure!(
                found == oracle.table(table),
                "{table}: {}",
                differing(&found, &oracle.table(table))
            );
        }
        let listed = listed(&stage.host, "project").await?;
        let applied = listed["current"]["applied"].as_u64();
        ensure!(
            applied == Some(oracle.table("lines").len() as u64),
            "{listed}"
        );
        ensure!(
            listed["current"]["refused"] == oracle.refused.len(),
            "{listed}"
        );
        stage.host.hush();
        Ok(())
    })
}

#[test]
fn what_it_cannot_take_is_told_and_the_next_event_has_its_turn() -> Result<()> {
    within(120, async {
        let mut stage = Stage::with(&["project"], "").await?;
        let inputs = [
            told(1, "a", 1, json!({})),
            told(2, "a", 2, json!({ "do": "reject" })),
            told(3, "a", 3, json!({ "do": "trap" })),
            told(4, "a", 4, json!({ "do": "retry" })),
            told(5, "a", 5, json!({ "do": "array" })),
            told(6, "a", 6, json!({ "do": "stranger" })),
            told(7, "a", 7, json!({})).body("no json"),
            told(8, "a", 8, json!({})),
        ];
        let sequences = publish(&stage.jetstream, &inputs).await?;
        let last = sequences.last().copied().context("no event")?;
        let row = ask(
            &stage.host,
            &format!("/project/keys/rows/a?after={last}"),
            &[],
        )
        .await?;
        let row = row.is(200)?.body;
        ensure!(row["row"]["count"] == 3 && row["row"]["sum"] == 13, "{row}");
        ensure!(row["sequence"] == last, "{row}");
        let refused = ask(&stage.host, "/project/refused", &[])
            .await?
            .is(200)?
            .body;
        let refused = refused.as_array().context("no list")?;
        let found: Vec<(&str, &str)> = refused
            .iter()
            .filter_map(|one| Some((one["id"].as_str()?, one["reason"].as_str()?)))
            .collect();
        let wanted = [
            ("e7", "rejected"),
            ("e6", "limit"),
            ("e5", "limit"),
            ("e3", "trap"),
            ("e2", "rejected"),
        ];
        ensure!(found == wanted, "{refused:?}");
        let text = json!(refused).to_string();
        for word in ["told to", "no table \\\"others\\\"", "a JSON object"] {
            ensure!(text.contains(word), "{word}: {text}");
        }
        let metrics = stage.host.metrics().await?;
        let labels = [("projection", "project")];
        ensure!(metrics.sum("sluicegate_projection_refused_total", &labels)? == 5.0);
        ensure!(metrics.sum("sluicegate_projection_applied_total", &labels)? == 3.0);
        let shown = sluice_on(&stage.broker, &["projections", "show", "project"]).await?;
        let shown = shown.ok()?.stdout;
        ensure!(
            shown.contains("refused 3 ") && shown.contains("told to"),
            "{shown}"
        );
        let shown = sluice_on(&stage.broker, &["plugins"]).await?.ok()?.stdout;
        ensure!(
            shown.contains("project") && shown.contains("3 applied, 5 refused"),
            "{shown}"
        );
        stage.host.hush();
        Ok(())
    })
}

#[test]
fn rows_are_filtered_ordered_and_paged() -> Result<()> {
    within(120, filtered(Kept::Files))
}

#[test]
fn rows_are_filtered_ordered_and_paged_in_postgresql() -> Result<()> {
    within(120, filtered(Kept::Database))
}

async fn filtered(kept: Kept) -> Result<()> {
    let Some((mut stage, _database)) = stage(kept).await? else {
        return Ok(());
    };
    let mut inputs = Vec::new();
    for number in 0..250_u64 {
        let text = match number % 5 {
            0 => json!({}),
            1 => json!({ "text": number.to_string() }),
            2 => json!({ "text": "Ääkköset" }),
            _ => json!({ "text": format!("text {number:03}") }),
        };
        inputs.push(told(number, &format!("k{number:03}"), number % 7, text));
    }
    let last = publish(&stage.jetstream, &inputs).await?.last().copied();
    let last = last.context("no event")?;
    reached(&stage.host, "project", last, 60).await?;
    let rows = all(&stage.host, "/project").await?;
    ensure!(rows.len() == 250, "{}", rows.len());
    let keys = async |query: &str| {
        let found = ask(
            &stage.host,
            &format!("/project/keys?limit=1000&{query}"),
            &[],
        )
        .await?;
        found.is(200)?.keys()
    };
    let wanted = |met: &dyn Fn(&str, &Value) -> bool| -> Vec<String> {
        let met = rows.iter().filter(|(key, row)| met(key, row));
        met.map(|(key, _)| key.clone()).collect()
    };
    let text = |row: &Value| row["text"].as_str().map(str::to_owned);
    let sum = |row: &Value| row["sum"].as_i64().unwrap_or(-1);
    for (query, found) in [
        ("sum=3", wanted(&|_, row| sum(row) == 3)),
        ("sum.ne=3", wanted(&|_, row| sum(row) != 3)),
        ("sum.gt=4", wanted(&|_, row| 4 < sum(row))),
        (
            "sum.gte=4&sum.lt=6",
            wanted(&|_, row| (4..6).contains(&sum(row))),
        ),
        ("sum.lte=1.5", wanted(&|_, row| sum(row) <= 1)),
        ("sum.in=1,6", wanted(&|_, row| [1, 6].contains(&sum(row)))),
        ("sum=%222%22", wanted(&|_, _| false)),
        ("text=null", wanted(&|_, row| row["text"].is_null())),
        ("text.ne=null", wanted(&|_, row| !row["text"].is_null())),
        (
            "text=101",
            wanted(&|_, row| text(row).as_deref() == Some("101")),
        ),
        (
            "text=%22101%22",
            wanted(&|_, row| text(row).as_deref() == Some("101")),
        ),
        (
            "text.prefix=text%2002",
            wanted(&|_, row| text(row).is_some_and(|text| text.starts_with("text 02"))),
        ),
        (
            "text.gt=text%20200",
            wanted(&|_, row| text(row).is_some_and(|text| *"text 200" < *text)),
        ),
        (
            "text=%C3%84%C3%A4kk%C3%B6set",
            wanted(&|_, row| text(row).as_deref() == Some("Ääkköset")),
        ),
        ("@key.prefix=k12", wanted(&|key, _| key.starts_with("k12"))),
        (
            "@key.gte=k2&sum=0",
            wanted(&|key, row| "k2" <= key && sum(row) == 0),
        ),
        ("nothing=1", Vec::new()),
        ("text.gt=true", Vec::new()),
    ] {
        let keys = keys(query).await.context(query.to_owned())?;
        ensure!(keys == found, "{query}: {keys:?} instead of {found:?}");
    }
    let nested = ask(&stage.host, "/project/lines?at.sequence=17", &[]).await?;
    ensure!(nested.is(200)?.keys()? == ["e16"]);

    // Each order, in pages of all sizes, is the order of all rows.
    let rank = |row: &Value| match row {
        Value::Null => (0, 0, String::new()),
        Value::Number(number) => (1, number.as_i64().unwrap_or(0), String::new()),
        other => (2, 0, other.as_str().unwrap_or_default().to_owned()),
    };
    for order in ["text", "-text", "sum,-text", "-sum,text", "-sum", "-@key"] {
        let mut wanted: Vec<(&String, &Value)> = rows.iter().collect();
        wanted.sort_by(|(key, row), (other_key, other)| {
            let mut ordering = std::cmp::Ordering::Equal;
            for member in order.split(',') {
                let (name, descends) = match member.strip_prefix('-') {
                    Some(name) => (name, true),
                    None => (member, false),
                };
                let one = match name {
                    "@key" => key.cmp(other_key),
                    name => rank(&row[name]).cmp(&rank(&other[name])),
                };
                ordering = ordering.then(if descends { one.reverse() } else { one });
            }
            ordering.then(key.cmp(other_key))
        });
        let wanted: Vec<String> = wanted.into_iter().map(|(key, _)| key.clone()).collect();
        for limit in [7, 100, 249, 250] {
            let (mut found, mut cursor) = (Vec::new(), String::new());
            loop {
                let path = format!("/project/keys?order={order}&limit={limit}{cursor}");
                let page = ask(&stage.host, &path, &[]).await?.is(200)?;
                found.extend(page.keys()?);
                match page.body["next"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => break,
                }
            }
            ensure!(found == wanted, "{order} by {limit}: {found:?}");
        }
    }

    // What is no question is told so, with what is one.
    let page = ask(&stage.host, "/project/keys?order=sum&limit=7", &[])
        .await?
        .is(200)?;
    let next = page.body["next"].as_str().context("no cursor")?.to_owned();
    for (query, words) in [
        ("sum.above=3".to_owned(), &["sum.above", "gt, gte"][..]),
        ("limit=0".to_owned(), &["limit=0", "1 to 1000"]),
        ("limit=1001".to_owned(), &["1 to 1000"]),
        ("order=a%20b".to_owned(), &["order=a b", "-address.city"]),
        ("a'b=1".to_owned(), &["a'b", "as-of", "prefix"]),
        ("after=x".to_owned(), &["after=x"]),
        ("as-of=yesterday".to_owned(), &["as-of=yesterday", "2026-"]),
        ("cursor=xyz".to_owned(), &["cursor"]),
        (format!("order=-sum&cursor={next}"), &["another question"]),
    ] {
        let said = ask(&stage.host, &format!("/project/keys?{query}"), &[]).await?;
        let kind = said.headers.get("content-type").cloned();
        let detail = said.is(400)?.body["detail"].to_string();
        ensure!(
            kind.as_deref() == Some("application/problem+json"),
            "{kind:?}"
        );
        for word in words {
            ensure!(detail.contains(word), "{query}: {detail}");
        }
    }
    for path in ["/nobody", "/project/nothing", "/project/keys/rows/nobody"] {
        ask(&stage.host, path, &[]).await?.is(404)?;
    }
    stage.host.hush();
    Ok(())
}

#[test]
fn who_has_written_reads_it_and_who_knows_it_is_told_that_nothing_has_changed() -> Result<()> {
    within(120, read_again(Kept::Files))
}

#[test]
fn who_has_written_reads_it_and_who_knows_it_is_told_that_nothing_has_changed_in_postgresql()
-> Result<()> {
    within(120, read_again(Kept::Database))
}

async fn read_again(kept: Kept) -> Result<()> {
    let Some((mut stage, _database)) = stage(kept).await? else {
        return Ok(());
    };
    for round in 0..20 {
        let input = told(round, "a", round, json!({}));
        let sequence = publish(&stage.jetstream, &[input]).await?[0];
        let path = format!("/project/keys/rows/a?after={sequence}");
        let row = ask(&stage.host, &path, &[]).await?.is(200)?.body;
        ensure!(row["row"]["count"] == round + 1, "{row}");
    }
    let page = ask(&stage.host, "/project/keys", &[]).await?.is(200)?;
    let tag = page.headers.get("etag").context("no ETag")?.clone();
    let same = ask(&stage.host, "/project/keys", &[("if-none-match", &tag)]).await?;
    ensure!(
        same.clone().is(304)?.headers.get("etag") == Some(&tag),
        "{same:?}"
    );
    // An event that does not concern it moves it on too, and changes nothing.
    let other = Input::new("x", "a", 1);
    let headers = other.message.headers.clone();
    let subject = "d365.custom.other.record.thing.update.1";
    let sent = stage
        .jetstream
        .publish_with_headers(subject, headers, "{}".into());
    let sequence = sent.await?.await?.sequence;
    let path = format!("/project/keys?after={sequence}");
    let same = ask(&stage.host, &path, &[("if-none-match", &tag)])
        .await?
        .is(304)?;
    let position = same.headers.get("sluice-position").context("no position")?;
    ensure!(sequence <= position.parse()?, "{position}");
    // A place that is not there yet is waited for, and then told.
    let far = sequence + 100;
    let behind = ask(
        &stage.host,
        &format!("/project/keys?after={far}&wait=300ms"),
        &[],
    )
    .await?;
    let behind = behind.is(503)?;
    ensure!(behind.headers.contains_key("retry-after"), "{behind:?}");
    ensure!(
        behind.body["after"] == far && behind.body["position"] == sequence,
        "{behind:?}"
    );
    let sequence = publish(&stage.jetstream, &[told(99, "b", 1, json!({}))]).await?[0];
    let path = format!("/project/keys?after={sequence}");
    let changed = ask(&stage.host, &path, &[("if-none-match", &tag)])
        .await?
        .is(200)?;
    ensure!(changed.headers.get("etag") != Some(&tag), "{changed:?}");
    // A paused one stands still, and says where.
    sluice_on(&stage.broker, &["pause", "project"])
        .await?
        .ok()?;
    until("it to be paused", 20, async || {
        let shown = sluice_on(&stage.broker, &["projections", "list", "--json"]).await?;
        let paused = shown.ok()?.json()?[0]["paused"] == true;
        ensure!(paused, "it is not");
        Ok(())
    })
    .await?;
    let sequence = publish(&stage.jetstream, &[told(100, "b", 1, json!({}))]).await?[0];
    let path = format!("/project/keys?after={sequence}&wait=300ms");
    ask(&stage.host, &path, &[]).await?.is(503)?;
    sluice_on(&stage.broker, &["resume", "project"])
        .await?
        .ok()?;
    let path = format!("/project/keys?after={sequence}&wait=20s");
    ask(&stage.host, &path, &[]).await?.is(200)?;
    stage.host.hush();
    Ok(())
}

#[test]
fn a_component_that_is_not_what_its_manifest_says_is_refused() -> Result<()> {
    within(120, async {
        let broker = Broker::start().await?;
        let project = std::fs::read(environment::guest("project")?)?;
        let ok = std::fs::read(environment::guest("ok")?)?;
        let count = std::fs::read(environment::guest("count")?)?;
        let table = "[projection]\ntables = [\"keys\", \"lines\"]";
        let own = "[projection]\ntables = [\"keys\", \"lines\"]\nindexes = [\"keys.sum\", \"lines.key\"]\nhistory = \"30d\"\n";
        let mut setup = Setup::new(broker.url());
        let mut wanted = Vec::new();
        let mut refuse = |file: &str, bytes: Vec<u8>, words: &'static [&'static str]| {
            setup = setup.clone().file(&format!("{file}.wasm"), bytes);
            wanted.push((format!("{file}.wasm"), words));
        };
        refuse(
            "consumer",
            with_words(&ok, &[("[retry]", &format!("{table}\n[retry]"))])?,
            &["consumer@0.1.0", "projector@0.1.0", "[projection]"],
        );
        refuse(
            "projector",
            with_words(&project, &[(own, "")])?,
            &["rows@0.1.0", "[projection]"],
        );
        refuse(
            "state",
            with_words(
                &count,
                &[
                    ("[retry]", &format!("{table}\n[retry]")),
                    ("state = true", ""),
                ],
            )?,
            &["sluicegate:plugin/state@0.1.0", "log, config and rows"],
        );
        for (file, words, key) in [
            (
                "emits",
                "[capabilities]\nemit = [\"d365.custom.test.business.echo.raised\"]\n",
                "[capabilities] emit",
            ),
            (
                "keeps",
                "[capabilities]\nstate = true\n",
                "[capabilities] state",
            ),
            (
                "asks",
                "[capabilities]\nhttp = [\"https://a.example\"]\n",
                "[capabilities] http",
            ),
            (
                "parts",
                "[delivery]\npartitions = 4\n",
                "[delivery] partitions",
            ),
            ("expires", "[delivery]\nttl = \"1d\"\n", "[delivery] ttl"),
        ] {
            let bytes = with_words(
                &project,
                &[("[projection]", &format!("{words}\n[projection]"))],
            )?;
            refuse(
                file,
                bytes,
                match key {
                    "[capabilities] emit" => {
                        &["[capabilities] emit", "does not go with [projection]"]
                    }
                    "[capabilities] state" => &["[capabilities] state"],
                    "[capabilities] http" => &["[capabilities] http"],
                    "[delivery] partitions" => &["[delivery] partitions"],
                    _ => &["[delivery] ttl"],
                },
            );
        }
        refuse(
            "blocks",
            with_words(
                &project,
                &[("jitter = 0.0", "jitter = 0.0\non_exhausted = \"block-key\"")],
            )?,
            &["[retry] on_exhausted"],
        );
        refuse(
            "index",
            with_words(&project, &[("keys.sum", "others.sum")])?,
            &["others.sum", "not among the tables"],
        );
        refuse(
            "table",
            with_words(&project, &[("\"lines\"]\nindexes", "\"Lines\"]\nindexes")])?,
            &["Lines", "lower-case"],
        );
        let mut host = setup.start().await?;
        let (_, ready) = host.admin("/readyz").await?;
        let ready: Value = serde_json::from_str(&ready)?;
        let refused = ready["refused"].as_object().context("no refused")?;
        for (file, words) in wanted {
            let why = refused.iter().find(|(name, _)| name.ends_with(&file));
            let why = why
                .with_context(|| format!("{file} is not refused: {refused:?}"))?
                .1;
            let why = why.as_str().unwrap_or_default();
            for word in words {
                ensure!(why.contains(word), "{file}: {word:?} is not in {why}");
            }
        }
        host.hush();
        Ok(())
    })
}

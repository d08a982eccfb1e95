//! Promise: CloudEvents over HTTP are read as the HTTP protocol binding 1.0.2 has it: what the
//! conformance scenarios say, and the rules for header values.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use sluicegate_tests::outputs::{Stored, wait_dead_letters};
use sluicegate_tests::{Request, Source, Stage, environment, within};

fn source() -> Source {
    Source::new("cloudevents", "lab")
}

/// A scenario outline of the conformance feature, with one line of its examples put in.
#[derive(Debug, Default)]
struct Scenario {
    headers: Vec<(String, String)>,
    body: String,
    attributes: BTreeMap<String, String>,
    data: String,
}

/// Reads the part of Gherkin that the feature uses: outlines with two doc strings, a table, and
/// examples of one column.
fn scenarios(feature: &str) -> Result<Vec<Scenario>> {
    let mut found = Vec::new();
    for outline in feature.split("Scenario Outline:").skip(1) {
        let (steps, examples) = outline.split_once("Examples:").context("no examples")?;
        let cell = |line: &str| line.trim().trim_matches('|').trim().to_owned();
        let examples: Vec<String> = examples
            .lines()
            .map(cell)
            .filter(|cell| !cell.is_empty())
            .collect();
        for example in examples.iter().skip(1) {
            let steps = steps.replace("<contentType>", example);
            let parts: Vec<&str> = steps.split("\"\"\"").collect();
            let [_, request, table, data, _] = parts.as_slice() else {
                anyhow::bail!("not two doc strings: {steps}")
            };
            let mut scenario = Scenario {
                data: data.trim().to_owned(),
                ..Scenario::default()
            };
            let mut lines = request.trim().lines().map(str::trim).skip(1);
            for line in lines.by_ref().take_while(|line| !line.is_empty()) {
                let (name, value) = line.split_once(": ").context("no header")?;
                // Both are of the harness: the address, and the length without the indentation.
                if !["Host", "Content-Length"].contains(&name) {
                    scenario.headers.push((name.to_owned(), value.to_owned()));
                }
            }
            scenario.body = lines.collect::<Vec<_>>().join("\n");
            for row in table
                .lines()
                .filter(|line| line.trim().starts_with('|'))
                .skip(1)
            {
                let cells: Vec<&str> = row
                    .trim()
                    .trim_matches('|')
                    .split('|')
                    .map(str::trim)
                    .collect();
                let [name, value] = cells.as_slice() else {
                    continue;
                };
                scenario
                    .attributes
                    .insert((*name).to_owned(), (*value).to_owned());
            }
            found.push(scenario);
        }
    }
    Ok(found)
}

#[test]
fn the_conformance_scenarios_hold() -> Result<()> {
    let file = environment::fixtures()
        .map(|folder| folder.join("ce-conformance-http-protocol-binding.feature"))
        .filter(|file| file.is_file());
    let Some(file) = file else {
        eprintln!("skipped: no conformance feature; SLUICEGATE_FIXTURES can name its folder");
        return Ok(());
    };
    within(60, async {
        let scenarios = scenarios(&std::fs::read_to_string(file)?)?;
        ensure!(scenarios.len() == 4, "{} scenarios", scenarios.len());
        for scenario in scenarios {
            // All have the same id: a store for each.
            let source = source();
            let stage = Stage::taking(&[&source]).await?;
            let request = source.request("POST").body(scenario.body.clone());
            let request = scenario
                .headers
                .iter()
                .fold(request, |request, (name, value)| {
                    request.header(name, value)
                });
            let stored = stage
                .taken(&request)
                .await
                .with_context(|| format!("{scenario:?}"))?;
            let mut attributes = stored.attributes()?;
            attributes.remove("partitionkey");
            ensure!(
                attributes == scenario.attributes,
                "{scenario:?}\n{attributes:?}"
            );
            let found: Value = serde_json::from_slice(&stored.body)?;
            ensure!(
                found == serde_json::from_str::<Value>(&scenario.data)?,
                "{found}"
            );
        }
        Ok(())
    })
}

/// A binary request with these headers in place of the usual ones, or beside them.
fn binary(id: &str, changes: &[(&str, Option<&str>)]) -> Request {
    let usual = [
        ("ce-specversion", "1.0"),
        ("ce-id", id),
        ("ce-source", "/x"),
        ("ce-type", "io.example.test"),
        ("content-type", "text/plain"),
    ];
    let changed = |name: &str| changes.iter().any(|(other, _)| *other == name);
    let request = source().request("POST").body("the data");
    let request = usual
        .iter()
        .filter(|(name, _)| !changed(name))
        .fold(request, |request, (name, value)| {
            request.header(name, value)
        });
    changes
        .iter()
        .filter_map(|(name, value)| Some((name, (*value)?)))
        .fold(request, |request, (name, value)| {
            request.header(name, value)
        })
}

#[test]
fn header_values_are_unquoted_and_decoded_once() -> Result<()> {
    within(60, async {
        let stage = Stage::taking(&[&source()]).await?;
        for (n, (encoded, meant)) in [
            ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
            ("Euro%20%e2%82%ac", "Euro €"),
            ("%48%45%4C%4C%4F", "HELLO"),
            ("\"quoted words\"", "quoted words"),
            ("\"a \\\"b\\\" \\\\ c\"", "a \"b\" \\ c"),
            ("\"half%20and half\"", "half and half"),
            ("100%25%20sure%2520", "100% sure%20"),
            ("plain words", "plain words"),
            ("a(no comment)b", "a(no comment)b"),
            ("  blanks around  ", "blanks around"),
        ]
        .into_iter()
        .enumerate()
        {
            let id = format!("h{n}");
            let request = binary(
                &id,
                &[("ce-subject", Some(encoded)), ("CE-Ext", Some(encoded))],
            );
            let stored: Stored = stage.taken(&request).await.context(encoded)?;
            for name in ["subject", "ext"] {
                let found = stored.attribute(name)?;
                ensure!(found == meant, "{name} {encoded:?} became {found:?}");
            }
            ensure!(stored.body == "the data", "{:?}", stored.body);
            ensure!(stored.attribute("datacontenttype")? == "text/plain");
        }
        Ok(())
    })
}

#[test]
fn binary_mode_has_data_of_any_kind_and_none() -> Result<()> {
    within(60, async {
        let stage = Stage::taking(&[&source()]).await?;
        let bytes: Vec<u8> = (0..=255).collect();
        for (n, (media, body)) in [
            (Some("application/octet-stream"), bytes),
            (
                Some("application/json; charset=utf-8"),
                b"{ \"a\" : 0.10 }\n".to_vec(),
            ),
            (Some("application/json"), b"no json at all".to_vec()),
            (None, b"of no type".to_vec()),
            (None, Vec::new()),
            (Some("text/plain"), Vec::new()),
        ]
        .into_iter()
        .enumerate()
        {
            let request = binary(&format!("d{n}"), &[("content-type", media)]).body(body.clone());
            let stored = stage.taken(&request).await?;
            ensure!(stored.body == body, "{media:?}: {:?}", stored.body);
            ensure!(
                stored.attribute("datacontenttype").ok().as_deref() == media,
                "{media:?}: {:?}",
                stored.headers
            );
        }
        Ok(())
    })
}

#[test]
fn binary_events_that_break_a_rule_are_dead_letters() -> Result<()> {
    within(60, async {
        let stage = Stage::taking(&[&source()]).await?;
        let gateway = stage.host.gateway();
        let cases: Vec<Vec<(&str, Option<&str>)>> = vec![
            vec![("ce-id", None)],
            vec![("ce-id", Some(""))],
            vec![("ce-source", None)],
            vec![("ce-source", Some(""))],
            vec![("ce-source", Some("%20not%20a%20uri"))],
            vec![("ce-type", None)],
            vec![("ce-type", Some(""))],
            vec![("ce-specversion", Some("0.3"))],
            vec![("ce-specversion", Some(""))],
            vec![("ce-time", Some("yesterday"))],
            vec![("ce-time", Some("2018-04-05T17:31:00"))],
            vec![("ce-dataschema", Some("relative"))],
            vec![("ce-subject", Some(""))],
            vec![("ce-subject", Some("%C0%A0"))],
            vec![("ce-subject", Some("%ff"))],
            vec![("ce-subject", Some("%00"))],
            vec![("ce-subject", Some("%ef%bf%bf"))],
            vec![("ce-my-ext", Some("x"))],
            vec![("ce-my_ext", Some("x"))],
            vec![("ce-my.ext", Some("x"))],
            vec![("ce-", Some("x"))],
            vec![("ce-id", Some("a")), ("ce-id", Some("b"))],
            vec![("ce-ext", Some("a")), ("Ce-Ext", Some("a"))],
            vec![("content-type", Some("no media type"))],
        ];
        let mut wrong = Vec::new();
        for changes in &cases {
            let answer = gateway
                .ask(&binary("x", changes))
                .await
                .with_context(|| format!("{changes:?}"))?;
            // Without a media type of CloudEvents and without a version it may be no CloudEvent
            // at all, which is 415.
            let letter = answer
                .clone()
                .dead_letters()
                .is_ok_and(|letters| letters.len() == 1);
            if !letter {
                wrong.push(format!("{changes:?}: {} {}", answer.status, answer.text()));
            }
        }
        ensure!(
            wrong.is_empty(),
            "these are no dead letters:\n{}",
            wrong.join("\n")
        );
        ensure!(stage.events().await? == 0, "something was stored");
        // Binary mode: the headers are half of the event, and have to be kept with the bytes.
        let letters = wait_dead_letters(&stage.jetstream, cases.len(), 20).await?;
        for (letter, changes) in letters.iter().zip(&cases) {
            ensure!(letter.body == "the data", "{changes:?}: {:?}", letter.body);
        }
        gateway
            .ask(&binary("y", &[("ce-specversion", None)]))
            .await?
            .problem(415)?;
        Ok(())
    })
}

#[test]
fn the_mode_is_told_by_the_media_type() -> Result<()> {
    within(60, async {
        let source = source();
        let stage = Stage::taking(&[&source]).await?;
        let event = |id: &str| {
            format!("{{\"specversion\":\"1.0\",\"id\":\"{id}\",\"source\":\"/s\",\"type\":\"t\"}}")
        };
        for (n, media) in [
            "application/cloudevents+json",
            "Application/CloudEvents+JSON",
            "application/cloudevents+json;charset=UTF-8",
            "application/cloudevents+json ; charset=\"utf-8\"",
        ]
        .into_iter()
        .enumerate()
        {
            // Structured mode counts, whatever stands in ce- headers (section 3.2: they may be there).
            let request = source
                .post(media, event(&format!("m{n}")))
                .header("ce-id", "other")
                .header("ce-specversion", "1.0");
            let stored = stage.taken(&request).await.context(media)?;
            ensure!(
                stored.attribute("id")? == format!("m{n}"),
                "{media}: {:?}",
                stored.headers
            );
        }
        for media in [
            "Application/CloudEvents-Batch+JSON",
            "application/cloudevents-batch+json; charset=utf-8",
        ] {
            let request = source.post(media, format!("[{}]", event(media)));
            let told = stage.host.gateway().ask(&request).await?.accepted()?;
            ensure!(told.len() == 1, "{media}: {told:?}");
        }
        Ok(())
    })
}

//! Promise: what a real Prometheus sees of a host from outside is what happened, to the event; the
//! alerts of docs/monitoring are heard when they have to be; the dashboard shows what there is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sluicegate_tests::events::{Input, publish};
use sluicegate_tests::outputs::wait_dead_letters;
use sluicegate_tests::prometheus::Prometheus;
use sluicegate_tests::{Stage, environment, until, within};

const EVENTS: u64 = 5_000;

fn file(name: &str) -> PathBuf {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    docs.join(name)
}

fn text(name: &str) -> Result<String> {
    std::fs::read_to_string(file(name)).with_context(|| name.to_owned())
}

/// Every word of a text that begins like one of our metrics.
fn metrics_in(text: &str) -> BTreeSet<&str> {
    let is_of_a_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c| !is_of_a_word(c))
        .filter(|word| word.starts_with("sluicegate_"))
        .collect()
}

/// The dashboard's panels that show something, with title and queries.
fn panels() -> Result<Vec<(String, Vec<String>)>> {
    let dashboard: Value = serde_json::from_str(&text("monitoring/grafana-dashboard.json")?)?;
    let panels = dashboard.get("panels").and_then(Value::as_array);
    let word = |value: &Value, name: &str| {
        let text = value.get(name).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let panels = panels.context("no panels")?.iter();
    let panels = panels.filter(|panel| word(panel, "type") != "row");
    Ok(panels
        .map(|panel| {
            let targets = panel.get("targets").and_then(Value::as_array);
            let queries = targets.into_iter().flatten();
            let queries = queries.map(|target| word(target, "expr"));
            (word(panel, "title"), queries.collect())
        })
        .collect())
}

#[test]
fn the_rules_are_rules_and_each_alert_fires_and_is_silent() -> Result<()> {
    let Some(promtool) = environment::outsider("SLUICE_PROMTOOL") else {
        return Ok(());
    };
    for (verb, name) in [("check", "alerts.yml"), ("test", "alerts_test.yml")] {
        let mut command = Command::new(&promtool);
        command
            .args([verb, "rules"])
            .arg(file("monitoring").join(name));
        let output = command.output()?;
        ensure!(output.status.success(), "{output:?}");
    }
    Ok(())
}

#[test]
fn each_alert_has_both_tests_and_says_what_to_do() -> Result<()> {
    let (rules, tests) = (
        text("monitoring/alerts.yml")?,
        text("monitoring/alerts_test.yml")?,
    );
    let guide = text("monitoring.md")?;
    let parts = rules.split("- alert: ").skip(1);
    let mut count = 0;
    for rule in parts {
        count += 1;
        let name = rule.lines().next().unwrap_or_default();
        for key in ["severity: ", "summary: ", "runbook: "] {
            ensure!(rule.contains(key), "{name} has no {key}");
        }
        ensure!(
            guide.contains(name),
            "docs/monitoring.md does not name {name}"
        );
        let silent = format!("alertname: {name}, exp_alerts: []");
        ensure!(tests.contains(&silent), "{name} is never silent in a test");
        let fires = format!("alertname: {name}\n        exp_alerts:\n          - exp_labels");
        ensure!(tests.contains(&fires), "{name} never fires in a test");
    }
    ensure!(count == 14, "{count} alerts");
    Ok(())
}

#[test]
fn rules_and_dashboard_name_only_metrics_that_there_are() -> Result<()> {
    let documented = text("metrics.md")?;
    let documented = metrics_in(&documented);
    let sources = [
        "monitoring/alerts.yml",
        "monitoring/grafana-dashboard.json",
        "monitoring.md",
    ];
    for source in sources {
        let text = text(source)?;
        for name in metrics_in(&text) {
            let series = ["_bucket", "_sum", "_count"];
            let of = series.iter().find_map(|end| name.strip_suffix(end));
            let is_known =
                documented.contains(name) || of.is_some_and(|of| documented.contains(of));
            ensure!(is_known, "{source}: docs/metrics.md has no {name}");
        }
    }
    // And every metric is shown somewhere.
    let shown = text("monitoring/grafana-dashboard.json")?;
    for name in documented {
        ensure!(shown.contains(name), "no panel shows {name}");
    }
    Ok(())
}

#[test]
fn each_panel_has_a_query() -> Result<()> {
    let panels = panels()?;
    ensure!(panels.len() > 20, "{} panels", panels.len());
    for (title, queries) in panels {
        ensure!(!title.is_empty(), "a panel without a title");
        let is_asked = !queries.is_empty() && queries.iter().all(|query| !query.is_empty());
        ensure!(is_asked, "{title} has no query");
    }
    Ok(())
}

/// What the data of event `n` says to do: of a hundred events three are rejected, two break
/// the plug-in at each of five attempts, and five succeed at the third attempt.
fn input(n: u64) -> Input {
    let data = match n % 100 {
        10 | 40 | 70 => json!({ "do": "reject" }),
        20 | 60 => json!({ "do": "trap" }),
        5 | 25 | 45 | 65 | 85 => json!({ "do": "retry", "until": 2 }),
        _ => json!({ "do": "ok" }),
    };
    Input::with_data(format!("e{n}"), format!("k{}", n % 200), n, data)
}

#[test]
fn an_outside_scrape_agrees_to_the_event() -> Result<()> {
    within(170, async {
        let stage = Stage::with(&["fail_by_data", "journey"], "").await?;
        let port = stage.host.admin_port();
        let rules = file("monitoring/alerts.yml");
        let Some(prometheus) = Prometheus::scraping(port, &rules).await? else {
            return Ok(());
        };
        let outcomes = "sluicegate_outcomes_total{plugin=\"fail-by-data\"}";
        // What begins at 0 is seen at 0, or nothing has increased.
        until("four outcomes, twice", 30, async || {
            let seen = format!("count(count_over_time({outcomes}[1m]) >= 2)");
            let count = prometheus.value(&seen).await?;
            ensure!(count == 4.0, "{count}");
            Ok(())
        })
        .await?;
        let inputs: Vec<Input> = (0..EVENTS).map(input).collect();
        publish(&stage.jetstream, &inputs).await?;
        stage.host.settled("fail-by-data", 90).await?;
        let (dead, retried) = (EVENTS / 100 * 5, EVENTS / 100 * 5);
        wait_dead_letters(&stage.jetstream, usize::try_from(dead)?, 30).await?;

        let expected = BTreeMap::from([
            ("done", EVENTS - dead),
            ("duplicate", 0),
            // Two for each that succeeds at the third attempt, four for each that breaks.
            ("retry", 2 * retried + 4 * (EVENTS / 100 * 2)),
            ("dead", dead),
        ]);
        let seen = until("Prometheus to have seen it all", 20, async || {
            let mut seen = BTreeMap::new();
            let by_outcome = format!("sum by (outcome) ({outcomes})");
            let series = prometheus.series(&by_outcome).await?;
            for (labels, value) in &series {
                let outcome = labels.get("outcome").and_then(Value::as_str);
                seen.insert(outcome.context("no outcome")?.to_owned(), *value);
            }
            for (outcome, count) in &expected {
                let value = seen.get(*outcome).copied();
                ensure!(
                    value == Some(*count as f64),
                    "{outcome}: {seen:?} {expected:?}"
                );
            }
            Ok(seen)
        })
        .await?;
        // The host's own word, by its own text.
        let metrics = stage.host.metrics().await?;
        for (outcome, value) in &seen {
            let own = metrics.outcomes("fail-by-data", outcome)?;
            ensure!(own == *value, "{outcome}: {own} and {value}");
        }
        for (expression, count) in [
            ("sum(sluicegate_deliveries_total)", EVENTS),
            (
                "sluicegate_dead_letters_total{reason=\"rejected\"}",
                EVENTS / 100 * 3,
            ),
            (
                "sluicegate_dead_letters_total{reason=\"trap\"}",
                EVENTS / 100 * 2,
            ),
            ("sum(sluicegate_dead_letters_total)", dead),
            // One for each event that was done or buried, whatever the attempts.
            ("sum(sluicegate_end_to_end_seconds_count)", EVENTS),
            ("sum(sluicegate_lag_events)", 0),
            ("sum(sluicegate_in_flight)", 0),
            ("sluicegate_ready", 1),
            ("up{job=\"sluicegate\"}", 1),
        ] {
            let value = prometheus.value(expression).await?;
            ensure!(
                value == count as f64,
                "{expression} is {value}, not {count}"
            );
        }
        // What the host asks of the broker from time to time.
        until("the streams' gauges", 20, async || {
            let standing = "sluicegate_stream_messages{stream=\"DEADLETTER\"}";
            let value = prometheus.value(standing).await?;
            ensure!(value == dead as f64, "{value} dead letters stand");
            Ok(())
        })
        .await?;
        let targets = prometheus.api("/api/v1/targets", None).await?;
        let target = targets.pointer("/activeTargets/0").context("no target")?;
        let word = |name: &str| {
            target
                .get(name)
                .and_then(Value::as_str)
                .map(ToOwned::to_owned)
        };
        ensure!(word("health").as_deref() == Some("up"), "{target}");
        ensure!(word("lastError").as_deref() == Some(""), "{target}");
        let log = prometheus.log()?;
        ensure!(
            !log.contains("level=warn") && !log.contains("level=error"),
            "{log}"
        );

        alert_is_heard(&prometheus, "SluicegateDeadLetters").await?;
        dashboard_shows(&prometheus).await
    })
}

async fn alert_is_heard(prometheus: &Prometheus, name: &str) -> Result<()> {
    until(name, 20, async || {
        let alerts = prometheus.api("/api/v1/alerts", None).await?;
        let alerts = alerts.get("alerts").and_then(Value::as_array);
        let alerts = alerts.context("no alerts")?;
        let fires = alerts.iter().find(|alert| {
            alert.get("state").and_then(Value::as_str) == Some("firing")
                && alert.pointer("/labels/alertname").and_then(Value::as_str) == Some(name)
        });
        let summary = fires
            .with_context(|| format!("{alerts:?}"))?
            .pointer("/annotations/summary");
        ensure!(
            summary.and_then(Value::as_str) == Some("New dead letters of fail-by-data"),
            "{summary:?}"
        );
        Ok(())
    })
    .await
}

/// Each query of the dashboard is one, and those of what went on here have an answer.
async fn dashboard_shows(prometheus: &Prometheus) -> Result<()> {
    let mut empty = Vec::new();
    for (title, queries) in panels()? {
        for query in queries {
            let query = query
                .replace("$job", "sluicegate")
                .replace("$plugin", ".*")
                .replace("$__rate_interval", "1m");
            // There is no projection here, no schema and no bridge.
            let is_elsewhere = ["Projections: ", "Schemas: ", "Bridges: "];
            let is_here = !is_elsewhere.iter().any(|start| title.starts_with(start));
            if is_here && prometheus.series(&query).await?.is_empty() {
                empty.push(title.clone());
            }
        }
    }
    // There is no source here, nothing was reloaded, and no canary was tried. (A quantile of
    // nothing is an answer, NaN.)
    let without = [
        "Builds in memory, reloads",
        "Builds in memory, reloads",
        "Requests by status",
        "Request duration, 99th of a hundred",
        "Events received and made durable",
        "Events received and made durable",
    ];
    let mut without = without.map(ToOwned::to_owned).to_vec();
    without.sort();
    empty.sort();
    ensure!(empty == without, "{empty:?}");
    Ok(())
}

//! Promise: a number of Dynamics 365 comes out as it was written, whatever its digits; and no
//! body, however odd, makes a plug-in panic.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sluicegate_tests::sluice::sluice;
use sluicegate_tests::{environment, within};

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[test]
fn audit_trail_loses_no_digit_of_our_own_bodies() -> Result<()> {
    within(60, async {
        let file = environment::own_fixture("dataverse-account-update.json");
        audited(&[file]).await
    })
}

#[test]
fn audit_trail_loses_no_digit_of_public_samples() -> Result<()> {
    let Some(folder) = environment::fixtures() else {
        eprintln!("skipped: no folder of public samples; SLUICEGATE_FIXTURES can name one");
        return Ok(());
    };
    within(150, async {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                files.push(path);
            }
        }
        files.sort();
        let dataverse = |path: &PathBuf| {
            text(path)
                .rsplit('/')
                .next()
                .is_some_and(|n| n.starts_with("dataverse-"))
        };
        let (contexts, others): (Vec<PathBuf>, Vec<PathBuf>) =
            files.into_iter().partition(dataverse);
        ensure!(
            !contexts.is_empty(),
            "the folder of public samples has none of Dataverse"
        );
        audited(&contexts).await?;

        // Whatever the others are: an answer, no panic.
        let plugin = text(&environment::plugin("audit-trail")?);
        for file in others {
            let said = sluice(&["test", &plugin, "--event", &text(&file), "--json"]).await?;
            ensure!(
                matches!(said.code, Some(0 | 1)),
                "{}: {said:?}",
                file.display()
            );
            ensure!(
                !said.stderr.contains("panicked at"),
                "{}: {}",
                file.display(),
                said.stderr
            );
            for line in said.json_lines()? {
                let outcome = line
                    .get("outcome")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                ensure!(
                    ["done", "reject"].contains(&outcome),
                    "{}: {line}",
                    file.display()
                );
            }
        }
        Ok(())
    })
}

/// Runs audit-trail over Dataverse bodies; every number of the Targets has to come out as it
/// is written there.
async fn audited(files: &[PathBuf]) -> Result<()> {
    let mut arguments = vec![
        "test".to_owned(),
        text(&environment::plugin("audit-trail")?),
    ];
    for file in files {
        arguments.extend(["--event".to_owned(), text(file)]);
    }
    arguments.extend([
        "--environment".to_owned(),
        "contoso".to_owned(),
        "--json".to_owned(),
    ]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let said = sluice(&arguments).await?;
    ensure!(
        matches!(said.code, Some(0 | 1)) && !said.stderr.contains("panicked at"),
        "{said:?}"
    );
    let lines = said.json_lines()?;
    ensure!(
        lines.len() == files.len(),
        "{} lines for {} files",
        lines.len(),
        files.len()
    );
    let mut checked = 0;
    for (line, file) in lines.iter().zip(files) {
        let outcome = line
            .get("outcome")
            .and_then(Value::as_str)
            .unwrap_or_default();
        ensure!(
            ["done", "reject"].contains(&outcome),
            "{}: {line}",
            file.display()
        );
        let changes = line
            .get("state")
            .and_then(Value::as_array)
            .context("no state")?;
        let written: Vec<&str> = changes
            .iter()
            .filter_map(|change| change.get("new")?.as_str())
            .collect();
        let written = written.join("\n");
        let body: Value = serde_json::from_slice(&std::fs::read(file)?)?;
        for number in numbers_of_target(&body) {
            ensure!(
                holds(&written, &number),
                "{}: {number} is not in {written}",
                file.display()
            );
            checked += 1;
        }
    }
    ensure!(0 < checked, "no number was there to be lost");
    Ok(())
}

/// The literals of all numbers in the attribute values of the Target, nested ones too.
fn numbers_of_target(body: &Value) -> Vec<String> {
    let parameters = body
        .get("InputParameters")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let targets =
        parameters.filter(|pair| pair.get("key").and_then(Value::as_str) == Some("Target"));
    let attributes = targets
        .filter_map(|pair| pair.get("value")?.get("Attributes")?.as_array())
        .flatten();
    let mut found = Vec::new();
    attributes
        .filter_map(|pair| pair.get("value"))
        .for_each(|value| collect_numbers(value, &mut found));
    found
}

fn collect_numbers(value: &Value, found: &mut Vec<String>) {
    match value {
        // With `arbitrary_precision` this is the literal.
        Value::Number(number) => found.push(number.to_string()),
        Value::Array(items) => items.iter().for_each(|item| collect_numbers(item, found)),
        Value::Object(members) => members
            .values()
            .for_each(|member| collect_numbers(member, found)),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// Whether the literal stands there by itself, not as a part of a longer one.
fn holds(text: &str, literal: &str) -> bool {
    let part = |c: char| c.is_ascii_digit() || c == '.' || c == '-';
    text.match_indices(literal).any(|(at, _)| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        let behind = text
            .get(at + literal.len()..)
            .and_then(|behind| behind.chars().next());
        !before.is_some_and(part) && !behind.is_some_and(part)
    })
}

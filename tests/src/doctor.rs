//! Takes a host's folder, gives what `sluice doctor` finds there.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::host::Host;
use crate::sluice::{Said, sluice};

/// What the doctor said.
#[derive(Debug)]
pub struct Report {
    said: Said,
    findings: Vec<Value>,
}

impl Report {
    /// Calls the doctor with this host's `sluice.toml`.
    ///
    /// # Errors
    /// When it does not answer in JSON.
    pub async fn of(host: &Host) -> Result<Self> {
        let config = host.config_path();
        let config = config.to_str().context("a path")?;
        Self::by(&["--config", config]).await
    }

    /// Calls the doctor with these arguments.
    ///
    /// # Errors
    /// When it does not answer in JSON.
    pub async fn by(arguments: &[&str]) -> Result<Self> {
        let said = sluice(&[&["doctor", "--json"], arguments].concat()).await?;
        let report = said.json()?;
        let findings = report.get("findings").and_then(Value::as_array);
        Ok(Self {
            findings: findings.context("no findings")?.clone(),
            said,
        })
    }

    /// Its exit status.
    pub fn code(&self) -> Option<i32> {
        self.said.code
    }

    /// Every finding of this level about something that is not among `beside`.
    pub fn all(&self, level: &str, beside: &[&str]) -> Vec<&Value> {
        let of_level = self
            .findings
            .iter()
            .filter(|one| word(one, "level") == level);
        of_level
            .filter(|one| !beside.contains(&word(one, "about")))
            .collect()
    }

    /// That there is a finding of this level about this part which says all of `parts`, and to
    /// do all of `todo`.
    ///
    /// # Errors
    /// With all findings, when there is none.
    pub fn finds(&self, (level, about): (&str, &str), parts: &[&str], todo: &[&str]) -> Result<()> {
        let says = |text: &str, parts: &[&str]| parts.iter().all(|part| text.contains(part));
        let found = self.findings.iter().any(|one| {
            word(one, "level") == level
                && word(one, "about") == about
                && says(word(one, "what"), parts)
                && says(word(one, "todo"), todo)
        });
        let shown: Vec<String> = self.findings.iter().map(ToString::to_string).collect();
        ensure!(
            found,
            "no {level} about {about} with {parts:?} and {todo:?}:\n{}\n{}",
            shown.join("\n"),
            self.said.stderr
        );
        Ok(())
    }
}

fn word<'a>(finding: &'a Value, name: &str) -> &'a str {
    finding
        .get(name)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

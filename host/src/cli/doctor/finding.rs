//! Takes what the parts of the doctor found, gives it as lines or as JSON, and an exit status.

use std::process::ExitCode;

use serde::Serialize;

use crate::cli::output::line;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    Warn,
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    level: Level,
    /// The part of the system.
    about: &'static str,
    what: String,
    /// What to do, or to know.
    #[serde(skip_serializing_if = "Option::is_none")]
    todo: Option<String>,
}

/// All of them, in the order in which they were looked at.
#[derive(Debug, Default, Serialize)]
pub(super) struct Findings {
    findings: Vec<Finding>,
}

/// The findings about one part of the system.
pub(super) struct About<'a> {
    name: &'static str,
    all: &'a mut Findings,
}

impl Findings {
    pub(super) fn about(&mut self, name: &'static str) -> About<'_> {
        About { name, all: self }
    }

    /// Prints them and gives 1 when something fails.
    pub(super) fn tell(&self, json: bool) -> anyhow::Result<ExitCode> {
        let count = |level| {
            self.findings
                .iter()
                .filter(|one| one.level == level)
                .count()
        };
        let (ok, warn, fail) = (count(Level::Ok), count(Level::Warn), count(Level::Fail));
        if json {
            let counts = serde_json::json!({
                "findings": self.findings, "ok": ok, "warn": warn, "fail": fail,
            });
            line!("{counts}");
        } else {
            self.show();
            line!("{ok} ok, {warn} to look at, {fail} wrong");
        }
        Ok(match fail {
            0 => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        })
    }

    fn show(&self) {
        for Finding {
            level,
            about,
            what,
            todo,
        } in &self.findings
        {
            let level = match level {
                Level::Ok => "ok",
                Level::Warn => "warn",
                Level::Fail => "FAIL",
            };
            line!("{level:<5} {about:<12} {what}");
            if let Some(todo) = todo {
                line!("{:<18} > {todo}", "");
            }
        }
    }
}

impl About<'_> {
    pub(super) fn ok(&mut self, what: impl Into<String>) {
        self.add(Level::Ok, what.into(), None);
    }

    /// Nothing is wrong, and there is something to know.
    pub(super) fn note(&mut self, what: impl Into<String>, know: impl Into<String>) {
        self.add(Level::Ok, what.into(), Some(know.into()));
    }

    pub(super) fn warn(&mut self, what: impl Into<String>, todo: impl Into<String>) {
        self.add(Level::Warn, what.into(), Some(todo.into()));
    }

    pub(super) fn fail(&mut self, what: impl Into<String>, todo: impl Into<String>) {
        self.add(Level::Fail, what.into(), Some(todo.into()));
    }

    fn add(&mut self, level: Level, what: String, todo: Option<String>) {
        self.all.findings.push(Finding {
            level,
            about: self.name,
            what,
            todo,
        });
    }
}

//! Takes what became of each event, gives the closing table.

use std::time::Duration;

use serde::Serialize;

/// Refusals that are told one by one.
const TOLD: usize = 20;

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended {
    /// The broker has it.
    Stored,
    /// The broker had it already.
    Known,
    /// The broker will not have it.
    Refused(String),
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Tally {
    /// Events of the files, those that were skipped included.
    pub(super) read: u64,
    pub(super) skipped: u64,
    pub(super) stored: u64,
    pub(super) already_there: u64,
    pub(super) refused: u64,
    refusals: Vec<Refusal>,
}

#[derive(Debug, Serialize)]
struct Refusal {
    place: String,
    reason: String,
}

/// The table as `--json` has it.
#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    tally: &'a Tally,
    seconds: f64,
}

impl Tally {
    /// Of an import that passes over so many.
    pub(super) fn behind(skipped: u64) -> Self {
        Self {
            read: skipped,
            skipped,
            ..Self::default()
        }
    }

    pub(super) fn ended(&mut self, place: &str, ended: Ended) {
        match ended {
            Ended::Stored => self.stored += 1,
            Ended::Known => self.already_there += 1,
            Ended::Refused(reason) => {
                self.refused += 1;
                if self.refusals.len() < TOLD {
                    self.refusals.push(Refusal {
                        place: place.to_owned(),
                        reason,
                    });
                }
            }
        }
    }

    /// Events that are done with, those that were skipped included.
    pub(super) fn done(&self) -> u64 {
        self.skipped + self.stored + self.already_there + self.refused
    }

    /// Whether the store has all that was read.
    pub(super) fn is_clean(&self) -> bool {
        self.refused == 0 && self.read == self.done()
    }

    /// For the progress bar.
    pub(super) fn note(&self) -> String {
        let mut note = format!("{} stored", self.stored);
        for (count, what) in [
            (self.already_there, "already there"),
            (self.refused, "refused"),
        ] {
            if 0 < count {
                note.push_str(&format!(", {count} {what}"));
            }
        }
        note
    }

    pub(super) fn json(&self, took: Duration) -> anyhow::Result<String> {
        let seconds = took.as_secs_f64();
        Ok(serde_json::to_string(&Report {
            tally: self,
            seconds,
        })?)
    }

    /// For people.
    pub(super) fn table(&self, took: Duration) -> String {
        let mut table = String::new();
        for (what, count) in [
            ("read", self.read),
            ("skipped", self.skipped),
            ("stored", self.stored),
            ("already there", self.already_there),
            ("refused", self.refused),
        ] {
            if 0 < count || what != "skipped" {
                table.push_str(&format!("{what:<14}{count:>10}\n"));
            }
        }
        for Refusal { place, reason } in &self.refusals {
            table.push_str(&format!("{place}: {reason}\n"));
        }
        table.push_str(&format!("{:.1} s", took.as_secs_f64()));
        table
    }
}

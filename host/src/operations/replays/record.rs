//! Takes what a replay was asked for and what became of it, gives its record.

use serde::{Deserialize, Serialize};

use super::TOLD;
use super::begun::End;
use crate::clock;
use crate::operations::Who;

/// Where a replay stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It goes on, or will as soon as a host sees that nobody does it.
    Running,
    /// An operator has stopped it: what was sent stays sent, the rest stays where it is.
    Cancelled,
    /// All that it is of was sent, was gone, or failed.
    Done,
}

impl State {
    /// As it is shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Cancelled => "cancelled",
            Self::Done => "done",
        }
    }
}

/// One replay: of dead letters, or of a part of the event store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Replay {
    /// Its name.
    pub id: String,
    /// Who asked for it.
    #[serde(flatten)]
    pub who: Who,
    /// When, RFC 3339.
    pub asked: String,
    /// Which letters, as they were written, or which events; none for all.
    pub conditions: Vec<String>,
    /// The number of the newest letter at that time; the last sequence of the part.
    pub up_to: u64,
    /// Letters or events a second.
    pub rate: u32,
    /// How many met the conditions at that time.
    pub total: u64,
    /// Where it stands.
    pub state: State,
    /// All of the set up to this number is finished.
    #[serde(default)]
    pub cursor: u64,
    /// How many were sent again.
    #[serde(default)]
    pub replayed: u64,
    /// How many were not there any more.
    #[serde(default)]
    pub gone: u64,
    /// How many could not be sent, and stay.
    #[serde(default)]
    pub failed: u64,
    /// The first of those, and why.
    #[serde(default)]
    pub failures: Vec<Failure>,
    /// Who does it: `host host-1`, `command line of …`; and which process of theirs.
    #[serde(default)]
    pub by: String,
    /// When it came to its end, RFC 3339.
    #[serde(default)]
    pub ended: Option<String>,
    /// What is given again where it is not dead letters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<History>,
}

/// What could not be sent again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The letter's number, or the event's sequence.
    #[serde(rename = "letter")]
    pub number: u64,
    /// Why.
    pub error: String,
}

/// A part of the event store that a plug-in is given again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// Whom.
    pub plugin: String,
    /// The first sequence of the part.
    pub from: u64,
    /// What the plug-in heard when it was asked for: of these subjects, as filters,
    pub subjects: Vec<String>,
    /// and of these types; none for all.
    pub types: Vec<String>,
    /// In how many shares.
    pub partitions: u8,
    /// Each event waits for the one before it, whatever its key.
    pub is_strict: bool,
    /// What the plug-in emits leaves, and its requests do.
    pub with_effects: bool,
    /// Messages that were left out since they are no CloudEvents.
    pub undecodable: u64,
    /// Of those sent, how many the plug-in was not through with when it was last looked.
    #[serde(default)]
    pub unhandled: u64,
    /// What it waits for; empty while it goes on.
    #[serde(default)]
    pub waits: String,
}

impl Replay {
    /// How many have had their turn.
    pub fn finished(&self) -> u64 {
        self.replayed + self.gone + self.failed
    }

    /// What it is of, in the plural.
    pub fn things(&self) -> &'static str {
        match self.history {
            None => "dead letters",
            Some(_) => "events",
        }
    }

    /// Which of them.
    pub fn which(&self) -> String {
        let conditions = self.conditions.join(" and ");
        match &self.history {
            None if conditions.is_empty() => "all dead letters".to_owned(),
            None => conditions,
            Some(history) => {
                let History { plugin, from, .. } = history;
                let effects = match history.with_effects {
                    true => ", with effects",
                    false => "",
                };
                let only = match conditions.is_empty() {
                    true => String::new(),
                    false => format!(" with {conditions}"),
                };
                format!(
                    "events {from} to {}{only} for {plugin}{effects}",
                    self.up_to
                )
            }
        }
    }

    /// One has come to its end.
    pub(super) fn count(&mut self, number: u64, end: End) {
        match end {
            End::Replayed => self.replayed += 1,
            End::Gone => self.gone += 1,
            End::Failed(error) => {
                self.failed += 1;
                if self.failures.len() < TOLD {
                    self.failures.push(Failure { number, error });
                }
            }
        }
    }

    /// All have.
    pub(super) fn end(&mut self) {
        self.state = State::Done;
        self.ended = Some(clock::rfc3339(clock::unix_millis()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_an_earlier_version_is_one_of_letters() {
        let old = r#"{"id":"1-a","name":"vera","via":"console of h","asked":"2026-11-01T00:00:00Z",
            "conditions":["plugin=a","reason=trap"],"up_to":9,"rate":200,"total":4,"state":"running",
            "failed":1,"failures":[{"letter":3,"error":"no"}]}"#;
        let replay: Replay = serde_json::from_str(old).expect("a record");
        assert_eq!(replay.which(), "plugin=a and reason=trap");
        assert_eq!((replay.things(), replay.finished()), ("dead letters", 1));
        let again = serde_json::to_string(&replay).expect("a record");
        assert!(
            !again.contains("history") && again.contains("\"letter\":3"),
            "{again}"
        );
    }

    #[test]
    fn a_part_of_history_says_what_it_is() {
        let text = r#"{"id":"history-1-a","name":"vera","via":"x","asked":"","conditions":["key=7"],
            "up_to":90,"rate":1,"total":2,"state":"done","history":{"plugin":"watch","from":12,
            "subjects":[],"types":[],"partitions":1,"is_strict":false,"with_effects":true,
            "undecodable":0}}"#;
        let replay: Replay = serde_json::from_str(text).expect("a record");
        let which = "events 12 to 90 with key=7 for watch, with effects";
        assert_eq!(replay.which(), which);
        assert_eq!(replay.things(), "events");
    }
}

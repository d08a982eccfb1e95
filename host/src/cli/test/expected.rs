//! Takes what is to be found of each event and what was found, gives the differences.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use anyhow::{Context, bail};
use serde_json::{Map, Value};

use super::super::embedded;

/// One place at which an event is not as expected.
#[derive(Debug, PartialEq)]
pub(super) struct Difference {
    /// Which event, from 1.
    event: usize,
    /// `emitted[0].event.data.limit`
    place: String,
    expected: Option<Value>,
    found: Option<Value>,
}

/// Reads a list of objects, or one object after the other.
pub(super) fn read(file: &Path) -> anyhow::Result<Vec<Value>> {
    let text = std::fs::read(file)
        .with_context(|| format!("{} cannot be read; --accept makes it", file.display()))?;
    let documents = serde_json::Deserializer::from_slice(&text).into_iter::<Value>();
    let documents: Vec<Value> = documents
        .collect::<Result<_, _>>()
        .with_context(|| format!("{} is not JSON", file.display()))?;
    let expected = match <[Value; 1]>::try_from(documents) {
        Ok([Value::Array(list)]) => list,
        Ok([one]) => vec![one],
        Err(documents) => documents,
    };
    if let Some(at) = expected.iter().position(|one| !one.is_object()) {
        bail!(
            "{}: what is expected of event {} is no object; it names what counts of that which \
             --json prints, such as {{\"outcome\": \"done\"}}",
            file.display(),
            at + 1
        );
    }
    Ok(expected)
}

/// Writes what was found of each event, but for what another run, or another host, does not find
/// again.
pub(super) fn write(file: &Path, found: &[Value]) -> anyhow::Result<()> {
    let lasting: Vec<Value> = found.iter().map(lasting).collect();
    let mut text = serde_json::to_vec_pretty(&lasting)?;
    text.push(b'\n');
    embedded::write(file, &text)
}

fn lasting(found: &Value) -> Value {
    let mut lasting = Map::new();
    for name in ["outcome", "message", "retry_after_ms", "logs", "state"] {
        let value = found.get(name).cloned().unwrap_or_default();
        if !value.is_null() {
            lasting.insert(name.to_owned(), value);
        }
    }
    let emitted = found.get("emitted").and_then(Value::as_array);
    let emitted = emitted.into_iter().flatten().map(|one| {
        let mut event = Map::new();
        for name in ["type", "subject", "partitionkey", "data"] {
            if let Some(value) = one.pointer(&format!("/event/{name}")) {
                event.insert(name.to_owned(), value.clone());
            }
        }
        let subject = one.get("subject").and_then(Value::as_str);
        let subject = subject.map(without_slot).unwrap_or_default();
        Value::Object(Map::from_iter([
            ("subject".to_owned(), subject.into()),
            ("event".to_owned(), Value::Object(event)),
        ]))
    });
    lasting.insert("emitted".to_owned(), emitted.collect());
    Value::Object(lasting)
}

/// Every place at which what is expected is not what was found. Members that are not expected do
/// not count; of a list every item does.
pub(super) fn differences(expected: &[Value], found: &[Value]) -> Vec<Difference> {
    let mut differences = Vec::new();
    for event in 0..expected.len().max(found.len()) {
        let mut walk = Walk {
            event: event + 1,
            differences: &mut differences,
        };
        match (expected.get(event), found.get(event)) {
            (Some(expected), Some(found)) => walk.compare("", expected, found),
            (expected, found) => walk.differ("", expected, found),
        }
    }
    differences
}

/// How many events the differences are of.
pub(super) fn of_events(differences: &[Difference]) -> usize {
    let events: BTreeSet<usize> = differences.iter().map(|one| one.event).collect();
    events.len()
}

struct Walk<'a> {
    event: usize,
    differences: &'a mut Vec<Difference>,
}

impl Walk<'_> {
    fn compare(&mut self, place: &str, expected: &Value, found: &Value) {
        match (expected, found) {
            (Value::Object(expected), Value::Object(found)) => {
                for (name, expected) in expected {
                    let place = match place {
                        "" => name.clone(),
                        place => format!("{place}.{name}"),
                    };
                    match found.get(name) {
                        Some(found) => self.compare(&place, expected, found),
                        None => self.differ(&place, Some(expected), None),
                    }
                }
            }
            (Value::Array(expected), Value::Array(found)) => {
                for at in 0..expected.len().max(found.len()) {
                    let place = format!("{place}[{at}]");
                    match (expected.get(at), found.get(at)) {
                        (Some(expected), Some(found)) => self.compare(&place, expected, found),
                        (expected, found) => self.differ(&place, expected, found),
                    }
                }
            }
            _ if expected == found || is_enough(place, expected, found) => {}
            _ => self.differ(place, Some(expected), Some(found)),
        }
    }

    fn differ(&mut self, place: &str, expected: Option<&Value>, found: Option<&Value>) {
        self.differences.push(Difference {
            event: self.event,
            place: place.to_owned(),
            expected: expected.cloned(),
            found: found.cloned(),
        });
    }
}

/// Whether a text is as much as a person can be expected to write: a part of a message, a subject
/// without the slot.
fn is_enough(place: &str, expected: &Value, found: &Value) -> bool {
    let (Value::String(expected), Value::String(found)) = (expected, found) else {
        return false;
    };
    match place {
        "message" => found.contains(expected),
        _ if place.starts_with("emitted[") && place.ends_with("].subject") => {
            without_slot(found) == expected
        }
        _ => false,
    }
}

fn without_slot(subject: &str) -> &str {
    subject.rsplit_once('.').map_or(subject, |(rest, _)| rest)
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let event = self.event;
        if self.place.is_empty() {
            return match &self.expected {
                Some(_) => write!(f, "event {event} is expected, and there is none"),
                None => write!(f, "event {event} is not expected"),
            };
        }
        write!(f, "event {event}, {}", self.place)?;
        for (sign, value) in [('-', &self.expected), ('+', &self.found)] {
            let Some(value) = value else {
                continue;
            };
            let shown = match value {
                Value::String(text) => text.clone(),
                other => serde_json::to_string_pretty(other).map_err(|_| fmt::Error)?,
            };
            for line in shown.lines() {
                write!(f, "\n  {sign} {line}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(expected: Value, found: Value) -> Vec<String> {
        let differences = differences(&[expected], &[found]);
        differences.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn only_what_is_expected_counts_and_of_a_list_all() {
        let found = json!({"outcome": "done", "duration_us": 7, "logs": [{"level": "info", "message": "a"}]});
        assert!(shown(json!({"outcome": "done"}), found.clone()).is_empty());
        assert!(shown(json!({"logs": [{"message": "a"}]}), found.clone()).is_empty());
        assert_eq!(
            shown(json!({"outcome": "reject", "logs": []}), found),
            [
                "event 1, logs[0]\n  + {\n  +   \"level\": \"info\",\n  +   \"message\": \"a\"\n  + }",
                "event 1, outcome\n  - reject\n  + done",
            ]
        );
    }

    #[test]
    fn a_part_of_a_message_and_a_subject_without_its_slot_are_enough() {
        let found =
            json!({"message": "the order has no number", "emitted": [{"subject": "d365.a.b.3"}]});
        let enough = json!({"message": "no number", "emitted": [{"subject": "d365.a.b"}]});
        assert!(shown(enough, found.clone()).is_empty());
        let other = json!({"message": "no amount", "emitted": [{"subject": "d365.a"}]});
        assert_eq!(shown(other, found).len(), 2);
    }

    #[test]
    fn digits_count() {
        let expected: Value = serde_json::from_str(r#"{"limit": 50000.0001}"#).unwrap();
        let found: Value = serde_json::from_str(r#"{"limit": 50000.00010}"#).unwrap();
        assert_eq!(
            shown(expected, found),
            ["event 1, limit\n  - 50000.0001\n  + 50000.00010"]
        );
    }

    #[test]
    fn an_event_too_many_or_too_few_is_said() {
        let one = json!({});
        let differences = differences(&[one.clone(), one.clone()], std::slice::from_ref(&one));
        assert_eq!(
            differences[0].to_string(),
            "event 2 is expected, and there is none"
        );
        assert_eq!(of_events(&differences), 1);
        let differences = super::differences(&[], &[one]);
        assert_eq!(differences[0].to_string(), "event 1 is not expected");
    }

    #[test]
    fn what_is_written_down_is_found_again_and_holds_nothing_that_changes() {
        let found = json!({
            "event": {"id": "1"}, "outcome": "reject", "message": "no", "duration_us": 7,
            "logs": [], "state": [],
            "emitted": [{"subject": "d365.custom.x", "event": {"id": "a", "time": "b", "type": "t", "data": {"n": 1}}}],
        });
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("expected.json");
        write(&file, std::slice::from_ref(&found)).unwrap();
        let expected = read(&file).unwrap();
        assert!(differences(&expected, &[found]).is_empty());
        let text = std::fs::read_to_string(&file).unwrap();
        for volatile in ["duration_us", "\"id\"", "time"] {
            assert!(!text.contains(volatile), "{text}");
        }
    }

    #[test]
    fn one_after_the_other_is_a_list_too_and_what_is_no_object_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("expected.json");
        std::fs::write(&file, "{\"outcome\":\"done\"}\n{\"outcome\":\"retry\"}\n").unwrap();
        assert_eq!(read(&file).unwrap().len(), 2);
        std::fs::write(&file, "[\"done\"]").unwrap();
        let error = read(&file).unwrap_err().to_string();
        assert!(error.contains("event 1 is no object"), "{error}");
    }
}

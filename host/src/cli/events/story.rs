//! `sluice events show --story`: takes an event's story, tells it in the order of its happening.

use std::time::Duration;

use crate::cli::output::line;
use crate::clock;
use crate::operations::history::{Row, Story};
use crate::redacted::Mark;

/// Told to a person.
pub(super) fn show(story: &Story) {
    if let Some(event) = &story.event {
        line!(
            "{}  stored as {} on {}",
            event.stored,
            event.sequence,
            event.subject
        );
        if let Some(mark) = &event.redacted {
            let Mark {
                sequence,
                stored,
                by,
                at,
                why,
            } = mark;
            line!("    redacted on {at} by {by}: {why}");
            line!("    stood as {sequence}, stored {stored}");
        }
        line!("    {}  {}", event.event_type, event.id);
        line!(
            "    key {}{}",
            event.key,
            told("correlation", &event.correlation)
        );
        match &story.cause {
            Some(cause) => line!("    comes of {}", short(cause)),
            None if event.causation.is_empty() => {}
            None => line!(
                "    comes of {}, which is not in the store",
                event.causation
            ),
        }
    }
    for told in &story.attempts {
        let attempt = &told.attempt;
        line!(
            "{}  {} {}{}, attempt {} on {}: {} after {:?}{}",
            clock::rfc3339(attempt.began),
            told.plugin,
            told.version,
            if told.is_canary { " (canary)" } else { "" },
            attempt.attempt,
            told.host,
            attempt.ended.name(),
            Duration::from_micros(attempt.micros),
            if attempt.error.is_empty() {
                String::new()
            } else {
                format!(": {}", attempt.error)
            }
        );
        for (level, text) in &attempt.lines {
            line!("    {}  {text}", level_name(*level));
        }
    }
    for one in &story.emitted {
        let place = match one.sequence {
            Some(sequence) => sequence.to_string(),
            None => "not found".to_owned(),
        };
        line!(
            "emitted by {}: {place}  {}  {}",
            one.plugin,
            one.subject,
            one.id
        );
    }
    for letter in &story.letters {
        line!(
            "{}  dead letter {} of {}: {}: {}",
            letter.last_time,
            letter.id,
            letter.plugin,
            letter.reason,
            letter.error
        );
    }
    for row in &story.again {
        line!(
            "{}  sent again as {} on {}",
            row.stored,
            row.sequence,
            row.subject
        );
    }
    if story.attempts.is_empty() {
        line!("no attempt is written down; `telemetry.journal` says which are");
    }
}

fn told(what: &str, text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!(", {what} {text}")
    }
}

fn short(row: &Row) -> String {
    format!("{}  {}  {}", row.sequence, row.event_type, row.id)
}

/// The word of a line's level.
pub(crate) fn level_name(level: u8) -> &'static str {
    match level {
        1 => "error",
        2 => "warn",
        3 => "info",
        4 => "debug",
        _ => "trace",
    }
}

//! Takes what became of an event, gives it as JSON, or prints it for people.

use std::time::Duration;

use serde_json::json;
use serde_json::value::RawValue;

use super::super::output::line;
use super::Tried;
use crate::encode;
use crate::plugin::call::Failure;

fn outcome(result: &Result<(), Failure>) -> (&'static str, Option<String>) {
    let Err(failure) = result else {
        return ("done", None);
    };
    let name = match failure {
        Failure::Retry { .. } => "retry",
        Failure::Reject(_) => "reject",
        Failure::Trap(_) => "trap",
        Failure::Timeout(_) => "timeout",
        Failure::Memory { .. } => "memory",
        Failure::Limit(_) => "limit",
        Failure::Forbidden(_) => "forbidden",
        Failure::Misfit(_) => "schema",
        Failure::Host(_) => "host",
        Failure::Build(_) => "build",
    };
    (name, Some(failure.to_string()))
}

/// One event as a line of JSON: what `--json` prints and `--expect` compares.
pub(super) fn json(tried: &Tried) -> anyhow::Result<String> {
    let Tried {
        place,
        call,
        returned,
        cpu,
        changes,
    } = tried;
    let (outcome, message) = outcome(&returned.result);
    let logs: Vec<_> = returned
        .staged
        .said
        .lines
        .iter()
        .map(|(level, message)| json!({"level": level_name(*level), "message": message}))
        .collect();
    let mut emitted = Vec::new();
    for one in &returned.staged.emitted {
        let event: Box<RawValue> = serde_json::from_str(&encode::structured(&one.event))?;
        emitted.push(json!({"subject": one.subject, "event": event}));
    }
    let state: Vec<_> = changes
        .iter()
        .map(|(key, old, new)| json!({"key": key, "old": old, "new": new}))
        .collect();
    Ok(serde_json::to_string(&json!({
        "event": {
            "id": call.event.id,
            "type": call.event.event_type,
            "subject": call.event.subject,
            "nats_subject": place.subject,
            "place": place.place,
        },
        "outcome": outcome,
        "message": message,
        "retry_after_ms": retry_after(&returned.result).map(|after| micros(after) / 1_000),
        "duration_us": micros(returned.duration),
        "duration_ns": u64::try_from(returned.duration.as_nanos()).unwrap_or(u64::MAX),
        "cpu_us": micros(*cpu),
        "memory_bytes": returned.memory,
        "logs": logs,
        "emitted": emitted,
        "state": state,
    }))?)
}

/// One event for people.
pub(super) fn print(tried: &Tried) {
    let Tried {
        place,
        call,
        returned,
        cpu,
        changes,
    } = tried;
    let (outcome, message) = outcome(&returned.result);
    line!("{}", place.place);
    line!("  {}  {}", call.event.event_type, call.event.id);
    let message = message.map(|text| format!(": {text}")).unwrap_or_default();
    let after = retry_after(&returned.result);
    let after = after
        .map(|after| format!(" after {after:?}"))
        .unwrap_or_default();
    line!(
        "  {outcome}{after}{message}  ({:.2?}, processor {:.2?}, {} KiB)",
        returned.duration,
        cpu,
        returned.memory / 1024
    );
    for (level, line) in &returned.staged.said.lines {
        line!("  log {}: {line}", level_name(*level));
    }
    for one in &returned.staged.emitted {
        line!("  emit {}", one.subject);
        let data = one.event.data.as_deref().map(text).unwrap_or_default();
        line!("       {}  {data}", one.event.event_type);
    }
    for (key, old, new) in changes {
        line!("  state {key}");
        for (sign, value) in [('-', old), ('+', new)] {
            for line in value.iter().flat_map(|value| value.lines()) {
                line!("    {sign} {line}");
            }
        }
    }
}

/// How long a retry is to wait at least, where the plug-in says.
fn retry_after(result: &Result<(), Failure>) -> Option<Duration> {
    match result {
        Err(Failure::Retry { after, .. }) => *after,
        _ => None,
    }
}

fn level_name(level: tracing::Level) -> &'static str {
    match level {
        tracing::Level::TRACE => "trace",
        tracing::Level::DEBUG => "debug",
        tracing::Level::INFO => "info",
        tracing::Level::WARN => "warn",
        tracing::Level::ERROR => "error",
    }
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

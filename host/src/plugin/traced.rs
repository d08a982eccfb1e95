//! Takes a delivery at its call and what came of it, gives the span of that attempt.

use tracing::Level;

use super::generation::Generation;
use super::instance::Call;
use crate::ledger::reason::Reason;
use crate::outcome::Outcome;
use crate::telemetry::traces::{Context, Span, SpanKind, Traces, Under, attribute, trace_of};

/// The attempt begins: its span is the call's from here on, under what the event names. An event
/// of no trace begins one, the same at each attempt of each plug-in.
pub(super) fn begin(traces: &Traces, call: &mut Call, (by, is_canary): (&Generation, bool)) {
    if !traces.is_on() {
        return;
    }
    let event = &call.event;
    let parent = event.text("traceparent");
    let parent = parent.and_then(|text| Context::parse(&text));
    let under = match parent {
        Some(parent) => Under::Span(parent),
        None => trace_of(&call.traceparent).map_or(Under::Nothing, Under::Trace),
    };
    let manifest = by.manifest();
    let span = traces.span(manifest.name.clone(), SpanKind::Consumer, under);
    if let Some(own) = span.traceparent() {
        call.traceparent = own;
    }
    if span.is_seen() {
        span.set("messaging.system", "nats");
        span.set("messaging.operation.name", "handle");
        span.set("messaging.operation.type", "process");
        span.set("messaging.consumer.group.name", manifest.name.clone());
        span.describe(event);
        span.set("sluicegate.plugin", manifest.name.clone());
        span.set("sluicegate.plugin.version", manifest.version.clone());
        span.set("sluicegate.plugin.digest", by.digest().to_owned());
        span.set("sluicegate.attempt", i64::from(call.attempt));
        span.set("sluicegate.sequence", number(call.sequence));
        span.set("sluicegate.partition_key", call.key.clone());
        if is_canary {
            span.set("sluicegate.canary", true);
        }
        if call.is_replay {
            span.set("sluicegate.replay", true);
        }
    }
    call.span = span;
}

/// The attempt came to its end, and this is what became of it.
pub(super) fn end(span: &Span, outcome: &Outcome) {
    if !span.is_seen() {
        return;
    }
    span.end();
    span.set("sluicegate.outcome", name(outcome));
    match outcome {
        Outcome::Done | Outcome::Duplicate => {}
        Outcome::Retry { error, .. } | Outcome::Again { error } | Outcome::Dead { error, .. } => {
            span.set("error.type", name(outcome));
            span.fail(error.clone());
        }
    }
}

/// No other attempt follows: the event is a dead letter.
pub fn buried(span: &Span, reason: Reason) {
    span.set("sluicegate.dead_letter", reason.as_str());
    span.event(
        "dead letter",
        vec![attribute("sluicegate.dead_letter", reason.as_str())],
    );
}

/// The same attempt ran once more, since what it had read was changed meanwhile.
pub(super) fn ran_again(span: &Span) {
    span.event("run again: state was changed meanwhile", Vec::new());
}

/// The guest has said something.
pub(super) fn said(span: &Span, level: Level, line: &str) {
    let facts = vec![
        attribute("log.severity", level.as_str()),
        attribute("log.message", line.to_owned()),
    ];
    span.event("log", facts);
}

/// The guest has an event leave, if the call ends well.
pub(super) fn emitted(span: &Span, subject: &str, id: &str) {
    if span.is_seen() {
        let facts = vec![
            attribute("messaging.destination.name", subject.to_owned()),
            attribute("cloudevents.event_id", id.to_owned()),
        ];
        span.event("emit", facts);
    }
}

/// In one word, which is that of the log where there is one.
fn name(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Retry { reason, .. } | Outcome::Dead { reason, .. } => match reason {
            Reason::Exhausted => "retry",
            Reason::Rejected => "reject",
            Reason::Trap
            | Reason::Timeout
            | Reason::Limit
            | Reason::Forbidden
            | Reason::Undecodable
            | Reason::Loop
            | Reason::Expired
            | Reason::AgedOut
            | Reason::Schema => reason.as_str(),
        },
        Outcome::Done | Outcome::Duplicate | Outcome::Again { .. } => outcome.name(),
    }
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

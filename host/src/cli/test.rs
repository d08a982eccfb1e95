//! `sluice test`: takes a plug-in and events, says what it did with each; no broker, the real limits.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::input::{self, Input, Reading};
use super::output::line;
use crate::config::Config;
use crate::encode;
use crate::ledger::state::{StateCache, Writes};
use crate::load;
use crate::plugin::call::{Failure, Returned};
use crate::plugin::emit::idempotency_key;
use crate::plugin::engine::Engine;
use crate::plugin::generation::Generation;
use crate::plugin::instance::Call;
use crate::plugin::state_version::of_plugin;
use crate::plugin::store::Staged;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The plug-in's .wasm file.
    plugin: PathBuf,
    /// Files of events, as for `send`.
    #[arg(long = "event", required = true, num_args = 1..)]
    events: Vec<PathBuf>,
    /// The environment that raw bodies come from.
    #[arg(long)]
    environment: Option<String>,
    /// A config value, key=value.
    #[arg(long = "set")]
    set: Vec<String>,
    /// One JSON object an event.
    #[arg(long)]
    json: bool,
}

/// What one event changed in the state: key, value before, value after.
type Changes = Vec<(String, Option<String>, Option<String>)>;

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (bytes, mut manifest) = load::open(&args.plugin, &Config::default())
        .with_context(|| args.plugin.display().to_string())?;
    for pair in &args.set {
        let Some((key, value)) = pair.split_once('=') else {
            bail!("--set {pair}: expected key=value");
        };
        manifest.config.insert(key.to_owned(), value.to_owned());
    }
    let reading = Reading {
        environment: args.environment.as_deref(),
        ..Reading::default()
    };
    let inputs = input::read_all(&args.events, &reading)?;
    let engine = Engine::new().map_err(|error| anyhow::anyhow!("{error:#}"))?;
    let generation = Generation::load(&Arc::new(engine), &bytes, manifest)
        .with_context(|| args.plugin.display().to_string())?;
    let state = Arc::new(StateCache::in_memory());
    let mut all_done = true;
    for (index, input) in inputs.into_iter().enumerate() {
        let sequence = index as u64 + 1;
        let (input, call) = call(&generation, input, sequence);
        let returned = generation.call(&call, &state);
        let (outcome, _) = outcome(&returned.result);
        all_done &= outcome == "done";
        let changes = match &returned.result {
            Ok(()) => accept(&state, &returned.staged)?,
            Err(_) => Vec::new(),
        };
        if args.json {
            line!("{}", as_json(&input, &call, &returned, &changes)?);
        } else {
            print(&input, &call, &returned, &changes);
        }
    }
    Ok(if all_done {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn call(generation: &Generation, input: Input, sequence: u64) -> (Place, Call) {
    let event = Arc::new(input.event);
    let trace: String = Sha256::digest(event.inbox_id())
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let call = Call {
        key: event.partition_key().to_owned(),
        idempotency_key: idempotency_key(&generation.manifest().name, &event),
        attempt: 1,
        sequence,
        is_replay: false,
        traceparent: format!("00-{trace}-{sequence:016x}-01"),
        event,
    };
    let place = Place {
        place: input.place,
        subject: input.subject,
    };
    (place, call)
}

struct Place {
    place: String,
    subject: String,
}

fn accept(state: &StateCache, staged: &Staged) -> anyhow::Result<Changes> {
    let mut changes = Vec::new();
    for (key, new) in &staged.writes {
        let (old, _) = state.get(key, Duration::ZERO)?;
        changes.push((
            of_plugin(key).to_owned(),
            old.as_deref().map(text),
            new.as_deref().map(text),
        ));
    }
    let writes: &Writes = &staged.writes;
    state.accept(&staged.reads, writes);
    Ok(changes)
}

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
        Failure::Host(_) => "host",
    };
    (name, Some(failure.to_string()))
}

fn as_json(
    input: &Place,
    call: &Call,
    returned: &Returned,
    changes: &Changes,
) -> anyhow::Result<String> {
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
        let event: Box<serde_json::value::RawValue> =
            serde_json::from_str(&encode::structured(&one.event))?;
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
            "nats_subject": input.subject,
            "place": input.place,
        },
        "outcome": outcome,
        "message": message,
        "duration_us": u64::try_from(returned.duration.as_micros()).unwrap_or(u64::MAX),
        "memory_bytes": returned.memory,
        "logs": logs,
        "emitted": emitted,
        "state": state,
    }))?)
}

fn print(input: &Place, call: &Call, returned: &Returned, changes: &Changes) {
    let (outcome, message) = outcome(&returned.result);
    line!("{}", input.place);
    line!("  {}  {}", call.event.event_type, call.event.id);
    let message = message.map(|text| format!(": {text}")).unwrap_or_default();
    line!(
        "  {outcome}{message}  ({:.2?}, {} KiB)",
        returned.duration,
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

fn level_name(level: tracing::Level) -> &'static str {
    match level {
        tracing::Level::TRACE => "trace",
        tracing::Level::DEBUG => "debug",
        tracing::Level::INFO => "info",
        tracing::Level::WARN => "warn",
        tracing::Level::ERROR => "error",
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

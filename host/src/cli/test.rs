//! `sluice test`: takes a plug-in and events, says what it did with each; no broker, the real limits.

mod expected;
mod report;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::input::{self, Input, Reading};
use super::output::line;
use super::touched::Touched;
use crate::config::Config;
use crate::hex::hex;
use crate::ledger::state::{StateCache, Writes};
use crate::load;
use crate::plugin::call::Returned;
use crate::plugin::emit::idempotency_key;
use crate::plugin::engine::Engine;
use crate::plugin::generation::Generation;
use crate::plugin::instance::Call;
use crate::plugin::state_version::of_plugin;
use crate::plugin::store::Staged;
use crate::route::{Route, SAGA_PREFIX, route};
use crate::telemetry;
use crate::telemetry::traces::Span;

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
    /// What is to be found: a JSON list with an object for each event, which names what counts of
    /// that which --json prints.
    #[arg(long, value_name = "FILE")]
    expect: Option<PathBuf>,
    /// Write what was found into the file of --expect.
    #[arg(long, requires = "expect")]
    accept: bool,
    /// Do it again whenever the plug-in, an event or the expectation changes.
    #[arg(long, conflicts_with = "accept")]
    watch: bool,
}

/// From this size on a component takes seconds to compile: an interpreter is in it.
const LARGE: usize = 2 << 20;

/// What one event changed in the state: key, value before, value after.
type Changes = Vec<(String, Option<String>, Option<String>)>;

/// What an event came from, and what became of it.
struct Tried {
    place: Place,
    call: Call,
    returned: Returned,
    /// Of the processor, by the clock of the thread.
    cpu: Duration,
    changes: Changes,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    // What the host has to say about a call: a request that it refuses, say.
    telemetry::warnings();
    if !args.watch {
        return once(args);
    }
    let files = args.events.iter().chain(&args.expect).chain([&args.plugin]);
    let mut touched = Touched::files(files.map(PathBuf::as_path))?;
    loop {
        // Whoever mends a file wants to be told what is wrong with it, again and again.
        match once(args) {
            Ok(code) if code == ExitCode::SUCCESS => {
                eprintln!("── as expected; waiting for a change")
            }
            Ok(_) => eprintln!("── not as expected; waiting for a change"),
            Err(error) => eprintln!("error: {error:#}\n── waiting for a change"),
        }
        touched.wait()?;
    }
}

fn once(args: &Args) -> anyhow::Result<ExitCode> {
    // Read first: a mistake in it must not cost a compilation.
    let expectation = match &args.expect {
        Some(file) if !args.accept => Some(expected::read(file)?),
        _ => None,
    };
    let mut found = Vec::new();
    let mut all_done = true;
    try_all(args, |tried| {
        all_done &= tried.returned.result.is_ok();
        if !args.json {
            report::print(&tried);
        }
        if args.json || args.expect.is_some() {
            let line = report::json(&tried)?;
            if args.expect.is_some() {
                found.push(serde_json::from_str(&line)?);
            }
            if args.json {
                line!("{line}");
            }
        }
        Ok(())
    })?;
    let as_wanted = match (&args.expect, expectation) {
        (Some(file), Some(expected)) => compare(file, &expected, &found),
        (Some(file), None) => {
            expected::write(file, &found)?;
            eprintln!("{} now expects what was found", file.display());
            true
        }
        (None, _) => all_done,
    };
    Ok(if as_wanted {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Prints what is not as expected, and tells whether all is.
fn compare(file: &Path, expected: &[Value], found: &[Value]) -> bool {
    let differences = expected::differences(expected, found);
    for difference in &differences {
        eprintln!("{difference}");
    }
    if !differences.is_empty() {
        eprintln!(
            "not as {} expects it: {} of {} events; --accept writes down what was found",
            file.display(),
            expected::of_events(&differences),
            found.len()
        );
    }
    differences.is_empty()
}

fn try_all(args: &Args, mut seen: impl FnMut(Tried) -> anyhow::Result<()>) -> anyhow::Result<()> {
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
    if LARGE < bytes.len() {
        eprintln!("compiling {} (some 10 s)", args.plugin.display());
    }
    let engine = Engine::new().map_err(|error| anyhow::anyhow!("{error:#}"))?;
    let generation = Generation::load(&Arc::new(engine), &bytes, manifest)
        .with_context(|| args.plugin.display().to_string())?;
    let state = Arc::new(StateCache::in_memory());
    let mut inputs: VecDeque<Input> = inputs.into();
    let mut sequence = 0;
    while let Some(input) = inputs.pop_front() {
        sequence += 1;
        let (place, call) = call(&generation, input, sequence);
        // The guest runs on this thread.
        let before = processor();
        let returned = generation.call(&call, &state);
        let cpu = processor().saturating_sub(before);
        let changes = match &returned.result {
            Ok(()) => accept(&state, &returned.staged)?,
            Err(_) => Vec::new(),
        };
        // What a saga asks of itself follows at once. No time passes here.
        for asked in returned.staged.emitted.iter().rev() {
            if asked.subject.starts_with(SAGA_PREFIX) && returned.result.is_ok() {
                inputs.push_front(Input {
                    place: format!("{}, and what the saga asks of itself", place.place),
                    subject: asked.subject.clone(),
                    event: asked.event.clone(),
                });
            }
        }
        seen(Tried {
            place,
            call,
            returned,
            cpu,
            changes,
        })?;
    }
    Ok(())
}

fn processor() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

fn call(generation: &Generation, input: Input, sequence: u64) -> (Place, Call) {
    let event = Arc::new(input.event);
    let mut trace = hex(&Sha256::digest(event.inbox_id()));
    trace.truncate(32);
    let key = match route(generation.manifest(), &input.subject, &event) {
        Route::Deliver { key } => key,
        // It would not come: that is what the test's author wants to see it do.
        Route::Skip | Route::Loop { .. } => event.partition_key().to_owned(),
    };
    let call = Call {
        key,
        idempotency_key: idempotency_key(&generation.manifest().name, &event.inbox_id()),
        attempt: 1,
        sequence,
        is_replay: false,
        traceparent: format!("00-{trace}-{sequence:016x}-01"),
        with_effects: true,
        hops: None,
        given_up: None,
        span: Span::default(),
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
            old.as_deref().map(report::text),
            new.as_deref().map(report::text),
        ));
    }
    let writes: &Writes = &staged.writes;
    state.accept(&staged.reads, writes);
    Ok(changes)
}

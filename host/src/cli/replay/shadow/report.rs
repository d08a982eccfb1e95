//! Takes how far a shadow is and what it has found, prints it.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use serde::Serialize;
use serde_json::Value;

use crate::cli::output::line;
use crate::cli::replay::Args;
use crate::operations::shadow::{Definition, Difference, Place, Progress, Report, Store};

/// The closing table, as JSON.
#[derive(Debug, Serialize)]
struct Closing<'a> {
    #[serde(flatten)]
    definition: &'a Definition,
    /// The events are behind this place,
    from: u64,
    /// and not behind this one.
    to: u64,
    ended: bool,
    #[serde(flatten)]
    report: &'a Report,
    differences: Vec<Difference>,
}

/// Tells what was found. Exit status 1 where anything was otherwise, or not all was seen.
pub(super) fn tell(
    args: &Args,
    store: &Store,
    definition: &Definition,
    progress: &Progress,
) -> anyhow::Result<ExitCode> {
    if let Some(file) = &args.shadow.differences {
        write(file, store).with_context(|| file.display().to_string())?;
    }
    let mut shown = Vec::new();
    store.differences(0..=u64::MAX, |difference| {
        if shown.len() < args.shadow.show {
            shown.push(difference);
        }
        shown.len() < args.shadow.show
    })?;
    let report = &progress.report;
    if args.json {
        let closing = Closing {
            definition,
            from: progress.from,
            to: progress.to,
            ended: progress.ended,
            report,
            differences: shown,
        };
        line!("{}", serde_json::to_string(&closing)?);
    } else {
        for difference in &shown {
            print(difference);
        }
        table(progress, shown.len());
    }
    if !progress.ended {
        eprintln!("error: stopped before the end; the same command goes on there");
    }
    let is_same = progress.ended && report.differences() == 0;
    Ok(match is_same {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn write(file: &Path, store: &Store) -> anyhow::Result<()> {
    let mut out = BufWriter::new(File::create(file)?);
    let mut failed = None;
    store.differences(0..=u64::MAX, |difference| {
        let written = serde_json::to_writer(&mut out, &difference)
            .map_err(anyhow::Error::from)
            .and_then(|()| Ok(out.write_all(b"\n")?));
        failed = written.err();
        failed.is_none()
    })?;
    match failed {
        Some(error) => Err(error),
        None => Ok(out.flush()?),
    }
}

fn print(difference: &Difference) {
    let Difference {
        sequence,
        id,
        event_type,
        key,
        kind: _,
        then,
        now,
        error,
        places,
    } = difference;
    line!("{sequence}  {event_type}  {key}  {id}");
    if then != now {
        let error = match error.is_empty() {
            true => String::new(),
            false => format!(": {error}"),
        };
        line!("  outcome\n    - {then}\n    + {now}{error}");
    }
    for Place { place, then, now } in places {
        line!("  {place}");
        for (sign, value) in [('-', then), ('+', now)] {
            let Some(value) = value else { continue };
            for text in shown(value).lines() {
                line!("    {sign} {text}");
            }
        }
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => serde_json::to_string_pretty(other).unwrap_or_default(),
    }
}

fn table(progress: &Progress, shown: usize) {
    let report = &progress.report;
    let differences = report.differences();
    if (shown as u64) < differences {
        line!(
            "… and {} more; --differences FILE has all of them",
            differences - shown as u64
        );
    }
    line!(
        "{} events behind {} and up to {}: {} as recorded, {differences} otherwise",
        report.events,
        progress.from,
        progress.to,
        report.same
    );
    for (kind, count) in &report.different {
        line!("  {count} {}", kind.text());
    }
    line!(
        "{} events emitted, {} recorded",
        report.emitted,
        report.recorded
    );
    for (count, what) in [
        (report.duplicates, "came before under the same id"),
        (
            report.redacted,
            "have an output that was redacted: not compared",
        ),
        (report.undecodable, "are no events"),
        (
            report.unhandled,
            "were not handled by the plug-in, or not yet: not compared",
        ),
    ] {
        if 0 < count {
            line!("{count} {what}");
        }
    }
}

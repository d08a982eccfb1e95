//! `sluice events export`: takes conditions, gives every event that meets them, the oldest first, in a file.

use std::io::{ErrorKind, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::Instant;

use self::target::Target as Place;
use self::writer::{Counts, Writer};
use super::conditions::Conditions;
use crate::broker::EVENTS;
use crate::cli::connect::{Target, stream};
use crate::cli::output::line;
use crate::cli::progress::Progress;
use crate::cli::stop::Stop;
use crate::delivery::Delivery;
use crate::operations::history::{Bounds, Export, Query, Stored};

mod table;
mod target;
mod writer;

/// Messages that go to the thread that writes at once,
const BATCH: usize = 256;
/// and about how many bytes of them;
const BATCH_BYTES: usize = 1 << 20;
/// and how many such batches wait for it.
const WAITING: usize = 4;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Where to; `-` is standard output. A file has its name only once it is whole.
    #[arg(default_value = "-")]
    file: PathBuf,
    /// As what; by the file's name when not given: Parquet for `.parquet`, else lines.
    #[arg(long, value_enum)]
    format: Option<Format>,
    #[command(flatten)]
    conditions: Conditions,
    /// With this sequence or a later one.
    #[arg(long, value_name = "SEQUENCE")]
    from: Option<u64>,
    /// With this sequence or an earlier one.
    #[arg(long, value_name = "SEQUENCE")]
    to: Option<u64>,
    #[command(flatten)]
    target: Target,
    /// The closing line as one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A CloudEvent in JSON a line; `import` reads it.
    Ndjson,
    /// A table for analysis.
    Parquet,
}

/// The closing line.
#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    counts: Counts,
    seconds: f64,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let is_stdout = args.file == Path::new("-");
    let by_name = match args.file.extension() {
        Some(extension) if extension.eq_ignore_ascii_case("parquet") => Format::Parquet,
        Some(_) | None => Format::Ndjson,
    };
    let format = args.format.unwrap_or(by_name);
    if format == Format::Parquet && is_stdout && std::io::stdout().is_terminal() {
        bail!("Parquet is not for a terminal; name a file, or send standard output somewhere");
    }
    let context = args.target.connect().await?;
    let events = stream(&context, EVENTS).await?;
    let query = args.conditions.query();
    let bounds = Bounds {
        from: args.from,
        to: args.to,
    };
    let export = Export::open(&context, &events, &query, bounds).await?;
    // Before there is anything to be taken away.
    let mut stop = Stop::new()?;
    let place = Place::open(&args.file)?;
    let writer = match format {
        Format::Ndjson => Writer::lines(place),
        Format::Parquet => Writer::table(place)?,
    };
    let start = Instant::now();
    let done = match copy(export, query, writer, &mut stop).await {
        Err(error) if is_stdout && is_broken_pipe(&error) => return Ok(ExitCode::SUCCESS),
        done => done?,
    };
    let Some(counts) = done else {
        eprintln!("error: stopped before the end{}", unwritten(&args.file));
        return Ok(ExitCode::FAILURE);
    };
    let report = Report {
        counts,
        seconds: start.elapsed().as_secs_f64(),
    };
    let text = match args.json {
        true => serde_json::to_string(&report)?,
        false => report.text(),
    };
    if is_stdout {
        eprintln!("{text}");
    } else {
        line!("{text}");
    }
    Ok(ExitCode::SUCCESS)
}

fn unwritten(file: &Path) -> String {
    match file == Path::new("-") {
        true => String::new(),
        false => format!("; {} was not written", file.display()),
    }
}

/// `sluice events export | head` has seen enough.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let found = error.chain().find_map(|cause| cause.downcast_ref());
    found.is_some_and(|error: &std::io::Error| error.kind() == ErrorKind::BrokenPipe)
}

/// Reads here and writes on a thread of its own, with few messages between the two. None when
/// a signal came first.
async fn copy(
    mut export: Export,
    query: Query,
    writer: Writer,
    stop: &mut Stop,
) -> anyhow::Result<Option<Counts>> {
    let mut progress = Progress::lasting(Some(export.expected()));
    let (batches, waiting) = mpsc::channel(WAITING);
    let mut writing = tokio::task::spawn_blocking(move || write(waiting, &query, writer));
    let read = tokio::select! {
        read = read(&mut export, &batches, &mut progress) => Some(read),
        () = stop.asked() => None,
    };
    drop(batches);
    progress.end();
    let written = tokio::select! {
        written = &mut writing => written,
        // Whoever reads what is written does not read on.
        () = stop.asked() => return Ok(None),
    };
    let writer = written.context("the thread that writes broke")??;
    match read {
        Some(read) => read?,
        // The writer goes, and with it what has no name yet.
        None => return Ok(None),
    }
    let finished = tokio::task::spawn_blocking(move || writer.finish()).await;
    finished.context("the thread that writes broke")?.map(Some)
}

async fn read(
    export: &mut Export,
    batches: &mpsc::Sender<Vec<Delivery>>,
    progress: &mut Progress,
) -> anyhow::Result<()> {
    let mut count = 0;
    let (mut batch, mut bytes) = (Vec::with_capacity(BATCH), 0);
    while let Some(delivery) = export.next().await? {
        count += 1;
        bytes += delivery.payload.len();
        batch.push(delivery);
        if BATCH <= batch.len() || BATCH_BYTES <= bytes {
            bytes = 0;
            let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH));
            if batches.send(full).await.is_err() {
                // The thread has ended, and says why itself.
                return Ok(());
            }
            progress.show(count, String::new);
        }
    }
    // As above.
    let _ = batches.send(batch).await;
    Ok(())
}

fn write(
    mut waiting: mpsc::Receiver<Vec<Delivery>>,
    query: &Query,
    mut writer: Writer,
) -> anyhow::Result<Writer> {
    while let Some(batch) = waiting.blocking_recv() {
        for delivery in batch {
            let stored = Stored::whole(delivery);
            if query.is_met_by(&stored) {
                writer.write(&stored)?;
            }
        }
    }
    Ok(writer)
}

impl Report {
    fn text(&self) -> String {
        let counts = &self.counts;
        let mut text = format!("{} events", counts.events);
        if let (Some(first), Some(last)) = (counts.first, counts.last) {
            text.push_str(&format!(", {first} to {last}"));
        }
        for (count, what) in [
            (counts.undecodable, "of them no CloudEvents"),
            (
                counts.without_body,
                "of them without their bodies, which are not in the object store any more",
            ),
        ] {
            if 0 < count {
                text.push_str(&format!(", {count} {what}"));
            }
        }
        text.push_str(&format!(", in {:.1} s", self.seconds));
        text
    }
}

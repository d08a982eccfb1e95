//! Takes a plan, writes the bodies into a file or to standard output, one a line.

use std::fs::File;
use std::io::{BufWriter, ErrorKind, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::Instant;

use super::faults::Faults;
use super::tally::{Done, End, Tally};
use super::traffic::Plan;
use crate::cli::progress::Progress;
use crate::cli::stop::Stop;

/// Lines between two looks at the progress bar.
const SHOWN_EVERY: u64 = 256;

/// Writes as fast as it goes: what was written, and how long it took.
pub(super) async fn write(
    plan: Plan,
    out: PathBuf,
    stop: &mut Stop,
    mut progress: Progress,
) -> anyhow::Result<(Tally, Duration)> {
    let is_stopped = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&is_stopped);
    let start = Instant::now();
    let mut writing = tokio::task::spawn_blocking(move || {
        let written = lines(&plan, &out, &asked, &mut progress);
        progress.end();
        written.with_context(|| format!("{} cannot be written", out.display()))
    });
    let tally = tokio::select! {
        tally = &mut writing => tally,
        () = stop.asked() => {
            is_stopped.store(true, Ordering::Relaxed);
            writing.await
        }
    };
    let tally = tally.context("the thread that writes broke")??;
    Ok((tally, start.elapsed()))
}

fn lines(
    plan: &Plan,
    out: &PathBuf,
    is_stopped: &AtomicBool,
    progress: &mut Progress,
) -> std::io::Result<Tally> {
    let out: Box<dyn Write> = if out == "-" {
        Box::new(std::io::stdout().lock())
    } else {
        Box::new(File::create(out)?)
    };
    let mut out = BufWriter::with_capacity(256 << 10, out);
    let mut tally = Tally::new();
    for (count, body) in (1_u64..).zip(Faults::new(plan)) {
        if is_stopped.load(Ordering::Relaxed) {
            break;
        }
        let written = out
            .write_all(&body.bytes)
            .and_then(|()| out.write_all(b"\n"));
        match written {
            // `sluice simulate --out - | head` has seen enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(tally),
            written => written?,
        }
        let place = (body.kind, body.message);
        tally.sent(place);
        tally.done(Done {
            place,
            end: End::Accepted {
                is_known: false,
                is_spooled: false,
            },
            retries: 0,
            took: Duration::ZERO,
        });
        if count.is_multiple_of(SHOWN_EVERY) {
            progress.show(count, String::new);
        }
    }
    match out.flush() {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(tally),
        flushed => flushed.map(|()| tally),
    }
}

//! `sluice events import`: takes files of CloudEvents, one a line, puts them into the event store in their order.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use self::lines::{Arriving, Lines};
use self::store::Store;
use self::tally::{Ended, Tally};
use crate::cli::connect::Target;
use crate::cli::input::{Origin, Reading};
use crate::cli::output::line;
use crate::cli::progress::Progress;
use crate::cli::stop::Stop;
use crate::operations::{Who, audit};

mod lines;
mod store;
mod tally;

/// Events under way at once,
const PART: usize = 500;
/// and about how many bytes of them.
const PART_BYTES: usize = 4 << 20;
/// Parts that are read ahead.
const WAITING: usize = 2;
const SHOWN_EVERY: Duration = Duration::from_millis(100);
/// How long a stopped import waits for answers.
const GRACE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, clap::Args)]
struct Reader {
    /// Files of CloudEvents in JSON, one a line, as `export` writes them; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What events from elsewhere are to be: those without `sluicesubject`.
    #[arg(long)]
    origin: Option<Origin>,
    /// The environment of those; without it what their source says, or `default`.
    #[arg(long)]
    environment: Option<String>,
    /// Pass over so many events at the start: where an import that was stopped goes on.
    #[arg(long, value_name = "N", default_value_t = 0)]
    skip: u64,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    reader: Reader,
    /// Do not read the files to their end before the first event is stored: a bad line stops the
    /// import where it stands.
    #[arg(long, conflicts_with = "dry_run")]
    no_check: bool,
    /// Only read everything, and say how much it would be.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    target: Target,
    /// The closing table as one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let is_read_once = args.reader.files.iter().any(|file| file == Path::new("-"));
    let checked = match args.dry_run || !args.no_check {
        true => Some(args.reader.check(args.dry_run).await?),
        false => None,
    };
    if args.dry_run {
        let count = checked.unwrap_or_default();
        match args.json {
            true => line!("{}", json!({ "read": count })),
            false => line!("{count} events would be imported"),
        }
        return Ok(ExitCode::SUCCESS);
    }
    let waits = Rc::new(Cell::new(""));
    let mut store = Store::connect(&args.target, Rc::clone(&waits)).await?;
    let total = checked.filter(|_| !is_read_once);
    let files: Vec<String> = args.reader.files.iter().map(|file| name(file)).collect();
    let detail = json!({ "files": files, "events": total, "skip": args.reader.skip });
    let who = Who::at_the_command_line();
    audit::record(&store.context, &who, "import", &files.join(", "), detail).await?;

    let start = Instant::now();
    let mut import = Import {
        tally: Tally::behind(args.reader.skip),
        progress: Progress::lasting(total),
        waits,
        stop: Stop::new()?,
    };
    let (parts, waiting) = mpsc::channel(WAITING);
    let reading = tokio::task::spawn_blocking({
        let reader = args.reader.clone();
        move || reader.read(&parts)
    });
    let ended = import.put_all(&mut store, waiting).await;
    import.progress.end();
    let (tally, took) = (import.tally, start.elapsed());
    match args.json {
        true => line!("{}", tally.json(took)?),
        false => line!("{}", tally.table(took)),
    }
    let go_on = format!(
        "to go on, import the same files with --skip {}",
        tally.done()
    );
    match ended {
        Ok(Went::ToTheEnd) => {}
        // The thread may wait for standard input still.
        Ok(Went::Stopped) => bail!("stopped before the end; {go_on}"),
        Err(error) => bail!("{error:#}; {go_on}"),
    }
    let read = reading.await.context("the thread that reads broke")?;
    read.with_context(|| format!("stopped behind {} events", tally.done()))?;
    Ok(match tally.is_clean() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn name(file: &Path) -> String {
    match file == Path::new("-") {
        true => "standard input".to_owned(),
        false => file.display().to_string(),
    }
}

impl Reader {
    /// How many events there are; the first bad line is an error. Standard input can be read
    /// only once, so that it is left out where it is to be read again.
    async fn check(&self, with_standard_input: bool) -> anyhow::Result<u64> {
        let mut reader = self.clone();
        if !with_standard_input {
            reader.files.retain(|file| file != Path::new("-"));
        }
        let counting = tokio::task::spawn_blocking(move || {
            let mut lines = Lines::of(&reader.files, reader.reading());
            let mut progress = Progress::lasting(None);
            let mut count = 0;
            while lines.next()?.is_some() {
                count += 1;
                if count % PART as u64 == 0 {
                    progress.show(count, || "checked".to_owned());
                }
            }
            progress.end();
            anyhow::Ok(count)
        });
        let checked = counting.await.context("the thread that reads broke")?;
        checked.context("nothing was imported")
    }

    fn reading(&self) -> Reading<'_> {
        Reading {
            origin: self.origin,
            environment: self.environment.as_deref(),
            subject: None,
        }
    }

    /// Gives all events in parts, up to a line that is bad.
    fn read(&self, parts: &mpsc::Sender<Vec<Arriving>>) -> anyhow::Result<()> {
        let mut lines = Lines::of(&self.files, self.reading());
        let mut skipped = 0;
        let (mut part, mut bytes) = (Vec::with_capacity(PART), 0);
        let ended = loop {
            let arriving = match lines.next() {
                Ok(Some(arriving)) => arriving,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            };
            if skipped < self.skip {
                skipped += 1;
                continue;
            }
            bytes += arriving.outgoing.size();
            part.push(arriving);
            if PART <= part.len() || PART_BYTES <= bytes {
                bytes = 0;
                let full = std::mem::replace(&mut part, Vec::with_capacity(PART));
                if parts.blocking_send(full).is_err() {
                    return Ok(());
                }
            }
        };
        // Whoever does not want it any more knows why.
        let _ = parts.blocking_send(part);
        if ended.is_ok() && skipped < self.skip {
            bail!("--skip is {}, and there are {skipped} events", self.skip);
        }
        ended
    }
}

/// How an import ended.
enum Went {
    ToTheEnd,
    /// By a signal.
    Stopped,
}

/// What goes on.
struct Import {
    tally: Tally,
    progress: Progress,
    waits: Rc<Cell<&'static str>>,
    stop: Stop,
}

impl Import {
    async fn put_all(
        &mut self,
        store: &mut Store<'_>,
        mut parts: mpsc::Receiver<Vec<Arriving>>,
    ) -> anyhow::Result<Went> {
        let mut ends = Vec::new();
        loop {
            let part = tokio::select! {
                biased;
                () = self.stop.asked() => return Ok(Went::Stopped),
                part = parts.recv() => part,
            };
            let Some(part) = part else {
                return Ok(Went::ToTheEnd);
            };
            self.tally.read += part.len() as u64;
            let put = self.put(store, &part, &mut ends).await;
            // What comes behind one that nobody knows of is sent again with it.
            let known = ends.drain(..).map_while(|end: Option<Ended>| end);
            for (arriving, end) in part.iter().zip(known) {
                self.tally.ended(&arriving.place, end);
            }
            match put {
                Some(put) => put?,
                None => return Ok(Went::Stopped),
            }
        }
    }

    /// One part; none when a signal came before its end.
    async fn put(
        &mut self,
        store: &mut Store<'_>,
        part: &[Arriving],
        ends: &mut Vec<Option<Ended>>,
    ) -> Option<anyhow::Result<()>> {
        let mut ticks = interval(SHOWN_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let putting = store.put(part, ends);
        tokio::pin!(putting);
        loop {
            tokio::select! {
                biased;
                put = &mut putting => return Some(put),
                () = self.stop.asked() => {
                    // Answers that are on their way spare whoever goes on some events.
                    let _ = timeout(GRACE, putting).await;
                    return None;
                }
                _ = ticks.tick() => {
                    let (tally, waits) = (&self.tally, self.waits.get());
                    self.progress.show(tally.done(), || match waits {
                        "" => tally.note(),
                        waits => format!("{}; {waits}", tally.note()),
                    });
                }
            }
        }
    }
}

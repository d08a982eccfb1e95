//! `sluice simulate`: takes a seed and a rate, gives Dynamics 365 traffic and a closing table.
//!
//! In the order in which data flows: `world`, `table` and `catalog` hold the organization,
//! `dataverse`, `custom_api`, `business` and `data_event` make bodies of it (`entity`, `column`,
//! `context` and `wire` write them), `traffic` times them by `pace`, `faults` repeats and
//! reorders them, `drive` sends them through `gateway` or `broker`, `file` writes them,
//! `tally` counts.

mod broker;
mod business;
mod catalog;
mod column;
mod context;
mod custom_api;
mod data_event;
mod dataverse;
mod drive;
mod entity;
mod faults;
mod file;
mod gateway;
mod pace;
mod table;
mod tally;
#[cfg(test)]
mod tests;
mod traffic;
mod wire;
mod world;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::CommandFactory as _;
use clap::error::ErrorKind;

use self::broker::Broker;
use self::drive::{Limits, Target, drive};
use self::gateway::{Access, Gateway, KeyIn};
use self::traffic::{Kinds, Plan};
use super::connect;
use super::output::line;
use super::progress::Progress;
use super::stop::Stop;
use crate::broker::EVENTS;
use crate::clock;

/// How long a run lasts that nothing else ends.
const SECONDS: f64 = 60.0;
/// Of a run with a rate: bodies that wait for their answer or their next attempt.
const WAITING: usize = 4_096;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Different events a second, whatever the answers; 0 is as fast as it goes.
    #[arg(long, default_value_t = 100.0, value_parser = rate)]
    rate: f64,
    /// How long; 60 when --count is not given either.
    #[arg(long, value_parser = seconds)]
    seconds: Option<f64>,
    /// So many different events at most.
    #[arg(long)]
    count: Option<u64>,
    /// The same seed (and --start) makes the same events; by the clock when not given.
    #[arg(long)]
    seed: Option<u64>,
    /// When the first event happened, RFC 3339; now when not given.
    #[arg(long, value_parser = start)]
    start: Option<i64>,
    /// The environment that they come from.
    #[arg(long, default_value = "default")]
    environment: String,
    #[arg(long, value_enum, default_value_t = Kinds::All)]
    kind: Kinds,
    /// Of a hundred events so many are sent a second time, a little later.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    duplicates: f64,
    /// Of a hundred events so many come behind some of those that happened after them.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    reorder: f64,
    /// Of a hundred Dataverse bodies so many are stripped, as those over 256 KB are.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    truncate: f64,
    /// Every five seconds so many at once, on top of the rate.
    #[arg(long, value_name = "N", default_value_t = 0)]
    burst: u64,
    /// Post to this gateway, instead of publishing to NATS.
    #[arg(long, value_name = "URL", conflicts_with = "out")]
    gateway: Option<String>,
    /// The key that the gateway asks for.
    #[arg(long, env = "SLUICE_GATEWAY_KEY", hide_env_values = true)]
    key: Option<String>,
    /// Where it goes: query:NAME or header:NAME.
    #[arg(long, default_value = "query:code")]
    key_in: KeyIn,
    /// Trust the certificates of this PEM file, instead of the system's.
    #[arg(long, value_name = "FILE", requires = "gateway")]
    gateway_ca: Option<PathBuf>,
    /// Requests at once; of a run without a rate, also events at once.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=4096))]
    in_flight: u32,
    #[command(flatten)]
    target: connect::Target,
    /// Write raw bodies, one a line, at once and with no network; `-` is standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The closing table as one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let plan = plan(&args);
    let (seed, start_ms) = (plan.seed, plan.start_ms);
    let mut progress = Progress::lasting(expected(&plan));
    let mut stop = Stop::new()?;
    let (tally, took) = if let Some(out) = &args.out {
        file::write(plan, out.clone(), &mut stop, progress).await?
    } else {
        let at_once = usize::try_from(args.in_flight)?;
        let is_paced = plan.rate != 0.0;
        let limits = Limits {
            under_way: if is_paced { WAITING } else { at_once },
            seconds: args
                .seconds
                .filter(|_| !is_paced)
                .map(Duration::from_secs_f64),
        };
        let target = target(&args, at_once).await?;
        let run = drive(plan, target, &limits, &mut stop, &mut progress).await;
        progress.end();
        run?
    };
    let report = tally.report(seed, start_ms, took);
    let text = if args.json {
        report.json()?
    } else {
        report.table()
    };
    if args.out.as_deref() == Some(Path::new("-")) {
        eprintln!("{text}");
    } else {
        line!("{text}");
    }
    Ok(if tally.is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn target(args: &Args, at_once: usize) -> anyhow::Result<Target> {
    if let Some(url) = &args.gateway {
        let access = Access {
            url,
            environment: &args.environment,
            key: args.key.as_deref(),
            key_in: &args.key_in,
            ca: args.gateway_ca.as_deref(),
            at_once,
        };
        return Ok(Target::Gateway(Gateway::new(&access).await?));
    }
    let context = args.target.connect().await?;
    connect::stream(&context, EVENTS).await?;
    Ok(Target::Broker(Broker::new(
        context,
        args.environment.clone(),
    )))
}

fn plan(args: &Args) -> Plan {
    let now = i64::try_from(clock::unix_millis()).unwrap_or_default();
    let is_paced = args.rate != 0.0;
    if !is_paced && 0 < args.burst {
        usage("--burst needs a --rate other than 0");
    }
    // What a file holds must not hang on how fast the disk was.
    if !is_paced && args.out.is_some() && args.count.is_none() {
        usage("--out with --rate 0 needs --count");
    }
    let seconds = match (args.seconds, args.count) {
        (None, None) => Some(SECONDS),
        (seconds, _) => seconds,
    };
    Plan {
        seed: args
            .seed
            .unwrap_or_else(|| world::mix(now.cast_unsigned()) >> 32),
        start_ms: args.start.unwrap_or(now),
        kinds: args.kind,
        rate: args.rate,
        burst: args.burst,
        count: args.count,
        until: seconds.filter(|_| is_paced).map(Duration::from_secs_f64),
        truncate: args.truncate,
        duplicates: args.duplicates,
        reorder: args.reorder,
    }
}

/// How many events there will be, as far as that is known.
fn expected(plan: &Plan) -> Option<u64> {
    let timed = plan.until.map(|until| {
        let regular = until.as_secs_f64() * plan.rate;
        let bursts = until.as_secs_f64() / pace::BURST_EVERY.as_secs_f64();
        (regular as u64).saturating_add(plan.burst.saturating_mul(bursts as u64))
    });
    let distinct = match (timed, plan.count) {
        (Some(timed), Some(count)) => timed.min(count),
        (timed, count) => timed.or(count)?,
    };
    Some(distinct + (distinct as f64 * plan.duplicates / 100.0) as u64)
}

fn usage(message: &str) -> ! {
    super::Cli::command()
        .error(ErrorKind::ArgumentConflict, message)
        .exit()
}

fn rate(text: &str) -> Result<f64, String> {
    number(text, 1_000_000.0)
}

fn percent(text: &str) -> Result<f64, String> {
    number(text, 100.0)
}

fn seconds(text: &str) -> Result<f64, String> {
    number(text, 1e9)
}

fn number(text: &str, most: f64) -> Result<f64, String> {
    let number: f64 = text.parse().unwrap_or(f64::NAN);
    if (0.0..=most).contains(&number) {
        Ok(number)
    } else {
        Err(format!("expected a number from 0 to {most}"))
    }
}

fn start(text: &str) -> Result<i64, String> {
    let ms = clock::parse_rfc3339(text).and_then(|ms| i64::try_from(ms).ok());
    ms.ok_or_else(|| "expected RFC 3339, such as 2026-01-28T09:25:05Z".to_owned())
}

//! `sluice schema learn`: takes events of the store, gives a new version where they look otherwise.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use sluicegate_schema::REQUIRED_AFTER;

use crate::cli::connect::Target;
use crate::cli::events::moment;
use crate::cli::output::line;
use crate::cli::progress::Progress;
use crate::manifest::TypePattern;
use crate::operations::Who;
use crate::operations::schemas::{Source, keep};
use crate::schemas::files;
use crate::schemas::learning::{Scope, learn};
use crate::schemas::registry::{self, Version};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Only of this type, or with a * at its end of those that begin so; may be given several times.
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Only events stored since then: a time, or how long ago, such as 7d.
    #[arg(long, value_parser = moment)]
    since: Option<u64>,
    /// Look at so many messages at the most: the newest, or with --since the first ones.
    #[arg(long, default_value_t = 100_000)]
    limit: u64,
    /// A member is required when all of at least so many bodies had it.
    #[arg(long, value_name = "N", default_value_t = REQUIRED_AFTER)]
    required_after: u64,
    /// Do not start from what the newest version says.
    #[arg(long)]
    anew: bool,
    /// Say what would be new, and keep nothing.
    #[arg(long)]
    dry_run: bool,
    /// Write each version into this folder as well, `<type>/<version>.json`.
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
    /// A line of JSON for each type.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let context = args.target.connect().await?;
    let parsed = |text: &String| {
        let parsed = TypePattern::parse(text);
        parsed
            .with_context(|| format!("--type: found {text:?}, expected a type, or its start and *"))
    };
    let scope = Scope {
        types: args.types.iter().map(parsed).collect::<Result<_, _>>()?,
        since: args.since,
        newest: args.limit.max(1),
    };
    let mut progress = Progress::lasting(None);
    let learnt = learn(&context, &scope, |read| progress.show(read, String::new)).await;
    progress.end();
    let learnt = learnt.context("the event store cannot be read")?;
    let who = Who::at_the_command_line();
    for (event_type, (mut shape, seen)) in learnt.shapes {
        let newest = registry::newest(&context, &event_type).await?;
        if let (Some(newest), false) = (&newest, args.anew) {
            shape.absorb(newest.shape()?);
        }
        shape.settle(args.required_after.max(1));
        let same = newest.filter(|newest| registry::is_same(newest, &shape));
        if args.dry_run && same.is_none() {
            let row = serde_json::json!({"type": event_type, "what": "would be new", "seen": seen});
            match args.json {
                true => line!("{row}"),
                false => line!("{event_type}  would be a new version, of {seen} bodies"),
            }
            continue;
        }
        let kept = match same {
            Some(same) => registry::Kept::Same(same),
            None => {
                let source = Source {
                    action: "learn-schema",
                    origin: "learnt",
                };
                keep(&context, &who, (&event_type, &shape, seen), source).await?
            }
        };
        super::told(&kept, args.json);
        if let Some(folder) = &args.write {
            write(folder, kept.version())?;
        }
    }
    if !args.json {
        eprintln!(
            "{} messages read, {} of them told nothing",
            learnt.read, learnt.skipped
        );
    }
    if learnt.read == 0 {
        bail!("no event was found to learn from");
    }
    Ok(ExitCode::SUCCESS)
}

fn write(folder: &std::path::Path, version: &Version) -> anyhow::Result<()> {
    files::write(folder, version)?;
    Ok(())
}

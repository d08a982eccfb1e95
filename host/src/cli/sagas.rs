//! `sluice sagas`: shows sagas and how they went, cancels one, has a compensation run again.

use std::process::ExitCode;

use anyhow::bail;
use clap::{Subcommand, ValueEnum};
use sluicegate_saga::{Entry, Status};

use super::connect::Target;
use super::output::line;
use crate::clock;
use crate::operations::Who;
use crate::operations::sagas::{self, Ask, Found};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Those that are there, the one that moved last first.
    List(List),
    /// How one went: each step, wait and compensation with its time.
    Show(Show),
    /// Have one undone: its compensations run, the last one first.
    Cancel(Cancel),
    /// Have a compensation run again that did not work, or go on without it.
    Retry(Retry),
}

#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Those of this plug-in; of all that run when not given.
    plugin: Option<String>,
    /// Those that are so; may be given several times.
    #[arg(long, value_enum)]
    status: Vec<Word>,
    /// So many at the most; 0 for all.
    #[arg(long, default_value_t = 100)]
    limit: usize,
    #[command(flatten)]
    target: Target,
    /// A line of JSON for each.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct One {
    /// The plug-in.
    plugin: String,
    /// The saga's key.
    key: String,
    #[command(flatten)]
    target: Target,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Show {
    #[command(flatten)]
    one: One,
}

#[derive(Debug, clap::Args)]
pub(super) struct Cancel {
    #[command(flatten)]
    one: One,
    /// Why, for the saga's timeline, the audit, and its compensations.
    #[arg(long)]
    reason: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct Retry {
    #[command(flatten)]
    one: One,
    /// What it would do was done by hand: the next one is run.
    #[arg(long)]
    done_by_hand: bool,
}

/// How a saga is.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Word {
    Running,
    Compensating,
    Parked,
    Done,
    Compensated,
}

impl From<Word> for Status {
    fn from(word: Word) -> Self {
        match word {
            Word::Running => Self::Running,
            Word::Compensating => Self::Compensating,
            Word::Parked => Self::Parked,
            Word::Done => Self::Done,
            Word::Compensated => Self::Compensated,
        }
    }
}

pub(super) async fn run(verb: Verb) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::List(args) => list(args).await,
        Verb::Show(Show { one }) => {
            let context = one.target.connect().await?;
            let found = sagas::one(&context, &one.plugin, &one.key).await?;
            show(&found, one.json)?;
            Ok(ExitCode::SUCCESS)
        }
        Verb::Cancel(Cancel { one, reason }) => {
            if reason.trim().is_empty() {
                bail!("--reason: say why; it is written down with the saga");
            }
            ask(one, Ask::Cancel { reason }).await
        }
        Verb::Retry(Retry { one, done_by_hand }) => {
            ask(one, Ask::Retry { done: done_by_hand }).await
        }
    }
}

async fn list(args: List) -> anyhow::Result<ExitCode> {
    let context = args.target.connect().await?;
    let statuses: Vec<Status> = args.status.iter().copied().map(Status::from).collect();
    let found = sagas::list(&context, args.plugin.as_deref(), &statuses).await?;
    let limit = if args.limit == 0 {
        found.len()
    } else {
        args.limit
    };
    for one in found.iter().take(limit) {
        if args.json {
            line!("{}", serde_json::to_string(one)?);
            continue;
        }
        let (status, moved) = (one.saga.status.as_str(), clock::rfc3339(one.saga.moved));
        line!(
            "{moved}  {status:<12}  {}  {}  {}",
            one.plugin,
            one.key,
            one.now()
        );
    }
    let more = found.len().saturating_sub(limit);
    if 0 < more {
        eprintln!("{more} more; --limit 0 shows all");
    }
    Ok(ExitCode::SUCCESS)
}

fn show(found: &Found, json: bool) -> anyhow::Result<()> {
    if json {
        line!("{}", serde_json::to_string(found)?);
        return Ok(());
    }
    let saga = &found.saga;
    line!("{} {}", found.plugin, found.key);
    line!("  status       {}", saga.status.as_str());
    let now = found.now();
    if !now.is_empty() {
        line!("  now          {now}");
    }
    line!("  run          {}", saga.run);
    line!(
        "  build        {} {}",
        saga.build.version,
        saga.build.digest
    );
    line!("  correlation  {}", saga.correlation);
    line!("  state        {}", String::from_utf8_lossy(&saga.state));
    let steps = saga.compensations.iter().rev();
    let steps: Vec<&str> = steps.map(|one| one.step.as_str()).collect();
    if !steps.is_empty() && !saga.status.is_ended() {
        line!("  to be undone {}", steps.join(", "));
    }
    for Entry {
        at,
        what,
        step,
        text,
        sequence,
    } in &saga.timeline
    {
        let place = sequence.map_or(String::new(), |sequence| format!("  (event {sequence})"));
        let parts = [what.words(), step, text];
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        line!("{}  {}{place}", clock::rfc3339(*at), parts.join("  "));
    }
    Ok(())
}

async fn ask(one: One, what: Ask) -> anyhow::Result<ExitCode> {
    let context = one.target.connect().await?;
    let who = Who::at_the_command_line();
    let (found, has_heard) = sagas::ask(&context, &who, (&one.plugin, &one.key), what).await?;
    if one.json {
        line!("{}", serde_json::to_string(&found)?);
    } else {
        line!(
            "{} is {} {}",
            found.key,
            found.saga.status.as_str(),
            found.now()
        );
    }
    if !has_heard {
        bail!(
            "it was asked, and the saga has not heard of it yet: it will, when {} runs and what \
             stands before is done; `sluice sagas show {} {}` tells",
            found.plugin,
            found.plugin,
            found.key
        );
    }
    Ok(ExitCode::SUCCESS)
}

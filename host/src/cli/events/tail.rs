//! Takes subjects, gives the newest events on them, and those that come.

use std::process::ExitCode;

use anyhow::Context as _;
use futures_util::StreamExt as _;

use crate::broker::EVENTS;
use crate::cli::connect::{Target, stream};
use crate::cli::output::line;
use crate::operations::history::{Stored, find};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// On these subjects only; `*` and `>` as NATS has them.
    #[arg(long, default_value = "d365.>")]
    subject: String,
    /// How many of those that are there.
    #[arg(long, default_value_t = 10)]
    last: u64,
    /// Go on with those that come.
    #[arg(long, short)]
    follow: bool,
    #[command(flatten)]
    target: Target,
    /// One JSON object a line, with the event in the CloudEvents JSON format.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let context = args.target.connect().await?;
    let events = stream(&context, EVENTS).await?;
    let (mut messages, mut pending, mut before) =
        find::last(&events, &args.subject, args.last).await?;
    while args.follow || 0 < pending {
        let message = messages.next().await.context("the reader went away")??;
        pending = pending.saturating_sub(1);
        if 0 < before {
            before -= 1;
            continue;
        }
        print(&Stored::of(&context, &message).await?, args.json)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print(stored: &Stored, json: bool) -> anyhow::Result<()> {
    if json {
        line!("{}", stored.json()?);
        return Ok(());
    }
    let id = match &stored.event {
        Ok(event) => event.id.as_str(),
        Err(_) => "(no CloudEvent)",
    };
    let body = match &stored.redacted {
        Some(mark) => format!("redacted, was {}", mark.sequence),
        None => format!("{} B", stored.body().len()),
    };
    line!(
        "{:>8}  {}  {}  {id}  {body}",
        stored.sequence,
        stored.stored,
        stored.subject
    );
    Ok(())
}

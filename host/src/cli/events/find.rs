//! `sluice events find`: takes what an event is like, shows those that are so, the newest first.

use std::process::ExitCode;

use anyhow::Context as _;

use super::conditions::Conditions;
use super::indexed::Indexed;
use crate::broker::EVENTS;
use crate::cli::connect::{Target, stream};
use crate::cli::output::line;
use crate::operations::history::{Found, Row, search, search_by};

/// What events are like.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    conditions: Conditions,
    /// How many.
    #[arg(long, default_value_t = 50)]
    limit: usize,
    #[command(flatten)]
    indexed: Indexed,
    #[command(flatten)]
    target: Target,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let context = args.target.connect().await?;
    let events = stream(&context, EVENTS).await?;
    let query = args.conditions.query();
    let (mut before, mut shown) = (None, 0);
    let mut may_index = args.indexed.is_named();
    while shown < args.limit {
        let left = args.limit - shown;
        let index = match may_index {
            true => args.indexed.of(&events, &query).await?,
            false => None,
        };
        may_index = true;
        let found = match &index {
            Some(index) => search_by(index, &events, &query, before, left)
                .await
                .map(|events| Found {
                    events,
                    before: None,
                }),
            None => search(&events, &query, before, left).await,
        };
        let found = found.context("EVENTS cannot be searched")?;
        for row in &found.events {
            show(row, args.json)?;
        }
        shown += found.events.len();
        before = found.before;
        if before.is_none() {
            break;
        }
    }
    if !args.json {
        line!("{shown} events");
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn show(row: &Row, json: bool) -> anyhow::Result<()> {
    if json {
        line!("{}", serde_json::to_string(row)?);
        return Ok(());
    }
    let redacted = match &row.redacted {
        Some(mark) => format!("  redacted, was {}", mark.sequence),
        None => String::new(),
    };
    line!(
        "{:>8}  {}  {}  {}  {}{redacted}",
        row.sequence,
        row.stored,
        row.event_type,
        row.key,
        row.id
    );
    Ok(())
}

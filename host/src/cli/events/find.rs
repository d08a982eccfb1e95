//! `sluice events find`: takes what an event is like, shows those that are so, the newest first.

use std::process::ExitCode;

use anyhow::Context as _;

use crate::broker::EVENTS;
use crate::cli::connect::{Target, stream};
use crate::cli::output::line;
use crate::clock;
use crate::operations::history::{Query, Row, search};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// On these subjects; `*` and `>` as NATS has them.
    #[arg(long)]
    subject: Option<String>,
    /// Of this type; `*` at the end stands for any end.
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// With this partition key.
    #[arg(long)]
    key: Option<String>,
    /// With this id.
    #[arg(long)]
    id: Option<String>,
    /// With this correlation id, or with it as its own id.
    #[arg(long)]
    correlation: Option<String>,
    /// Stored at this time or later: RFC 3339, or how long ago, such as 2h.
    #[arg(long, value_parser = moment)]
    since: Option<u64>,
    /// Stored at this time or before.
    #[arg(long, value_parser = moment)]
    until: Option<u64>,
    /// How many.
    #[arg(long, default_value_t = 50)]
    limit: usize,
    #[command(flatten)]
    target: Target,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

/// A time, or how long ago; Unix milliseconds.
fn moment(text: &str) -> Result<u64, String> {
    if let Some(moment) = clock::parse_rfc3339(text) {
        return Ok(moment);
    }
    let ago = humantime::parse_duration(text).map_err(|_| {
        "expected a time such as 2026-11-29T08:00:00Z, or how long ago, such as 2h".to_owned()
    })?;
    let ago = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
    Ok(clock::unix_millis().saturating_sub(ago))
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let context = args.target.connect().await?;
    let events = stream(&context, EVENTS).await?;
    let query = Query {
        subject: args.subject.unwrap_or_default(),
        event_type: args.event_type.unwrap_or_default(),
        key: args.key.unwrap_or_default(),
        id: args.id.unwrap_or_default(),
        correlation: args.correlation.unwrap_or_default(),
        since: args.since,
        until: args.until,
    };
    let (mut before, mut left, mut shown) = (None, args.limit, 0);
    while 0 < left {
        let found = search(&events, &query, before, left).await;
        let found = found.context("EVENTS cannot be searched")?;
        for row in &found.events {
            show(row, args.json)?;
        }
        shown += found.events.len();
        left -= found.events.len().min(left);
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

fn show(row: &Row, json: bool) -> anyhow::Result<()> {
    if json {
        line!("{}", serde_json::to_string(row)?);
        return Ok(());
    }
    line!(
        "{:>8}  {}  {}  {}  {}",
        row.sequence,
        row.stored,
        row.event_type,
        row.key,
        row.id
    );
    Ok(())
}

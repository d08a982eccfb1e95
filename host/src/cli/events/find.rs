//! `sluice events find`: takes what an event is like, shows those that are so, the newest first.

use std::process::ExitCode;

use anyhow::Context as _;

use crate::broker::EVENTS;
use crate::cli::connect::{Target, stream};
use crate::cli::output::line;
use crate::clock;
use crate::operations::history::{Query, Row, search};

/// What events are like.
#[derive(Debug, clap::Args)]
pub(super) struct Wanted {
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
    #[arg(long, visible_alias = "from", value_parser = moment)]
    since: Option<u64>,
    /// Stored at this time or before.
    #[arg(long, visible_alias = "to", value_parser = moment)]
    until: Option<u64>,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    wanted: Wanted,
    /// How many.
    #[arg(long, default_value_t = 50)]
    limit: usize,
    #[command(flatten)]
    target: Target,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

impl Wanted {
    pub(super) fn query(self) -> Query {
        Query {
            subject: self.subject.unwrap_or_default(),
            event_type: self.event_type.unwrap_or_default(),
            key: self.key.unwrap_or_default(),
            id: self.id.unwrap_or_default(),
            correlation: self.correlation.unwrap_or_default(),
            since: self.since,
            until: self.until,
        }
    }
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
    let query = args.wanted.query();
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

//! `sluice audit`: shows who did what, the oldest of the last ones first.

use std::process::ExitCode;

use super::connect::Target;
use super::output::line;
use crate::operations::audit;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How many of the last.
    #[arg(long, default_value_t = 50)]
    last: u64,
    #[command(flatten)]
    target: Target,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let context = args.target.connect().await?;
    let newest = audit::newest(&context, args.last).await?;
    for entry in newest.iter().rev() {
        if args.json {
            line!("{}", serde_json::to_string(entry)?);
            continue;
        }
        line!(
            "{}  {:<8}  {}  by {}, {}  {}",
            entry.time,
            entry.action,
            entry.target,
            entry.who.name,
            entry.who.via,
            entry.detail
        );
    }
    if !args.json {
        line!("{} entries", newest.len());
    }
    Ok(ExitCode::SUCCESS)
}

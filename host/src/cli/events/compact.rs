//! `sluice events compact`: takes what events are like, lets go of all of them but the last of each key.

use std::process::ExitCode;

use clap::ArgGroup;
use serde_json::json;

use super::conditions::Conditions;
use crate::cli::asking::is_wanted;
use crate::cli::connect::Target;
use crate::cli::output::line;
use crate::cli::progress::Progress;
use crate::operations::Who;
use crate::operations::compaction::{Plan, compact, plan};

/// Where nobody wants it.
const NOT: &str = "nothing was let go of";

#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("which").required(true).multiple(true).args([
    "subject", "event_type", "key",
]))]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    conditions: Conditions,
    /// Only say how many would leave.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    target: Target,
    /// A JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let context = args.target.connect().await?;
    let query = args.conditions.query();
    let plan = plan(&context, &query).await?;
    if args.dry_run || plan.older.is_empty() {
        show(&plan, 0, args.json);
        return Ok(ExitCode::SUCCESS);
    }
    let what = format!("{} events leave for good", plan.older.len());
    if !args.yes && !is_wanted(&what, NOT)? {
        eprintln!("{NOT}");
        return Ok(ExitCode::FAILURE);
    }
    let mut progress = Progress::lasting(Some(plan.older.len() as u64));
    let who = Who::at_the_command_line();
    let left = compact(&context, &who, &query, &plan, |left| {
        progress.show(left, String::new);
    })
    .await;
    progress.end();
    show(&plan, left?, args.json);
    Ok(ExitCode::SUCCESS)
}

fn show(plan: &Plan, left: u64, json: bool) {
    let Plan {
        older,
        keys,
        structured,
        wanted,
        by,
    } = plan;
    if json {
        line!(
            "{}",
            json!({
                "older": older.len(), "left": left, "keys": keys, "structured": structured,
                "wanted": wanted, "wanted_by": by.as_ref().filter(|_| 0 < *wanted),
            })
        );
        return;
    }
    line!(
        "{keys} keys, {} events with a later one of their key: {left} have left",
        older.len()
    );
    if 0 < *wanted {
        let by = by.as_deref().unwrap_or("a plug-in");
        line!("{wanted} more stay: {by} is not through with them yet");
    }
    if 0 < *structured {
        line!("{structured} in the JSON format stay: their keys are in their bodies");
    }
}

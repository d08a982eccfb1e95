//! `sluice schema drift` and `accept`: shows what live bodies have otherwise, and takes it for right.

use std::process::ExitCode;

use crate::cli::connect::Target;
use crate::cli::output::line;
use crate::operations::Who;
use crate::operations::schemas::accept;
use crate::schemas::drifts;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Of this type only.
    #[arg(value_name = "TYPE")]
    event_type: Option<String>,
    #[command(flatten)]
    target: Target,
    /// A line of JSON for each.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Accept {
    /// The type.
    #[arg(value_name = "TYPE")]
    event_type: String,
    #[command(flatten)]
    target: Target,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let context = args.target.connect().await?;
    let found = drifts::list(&context, args.event_type.as_deref()).await?;
    for record in &found {
        if args.json {
            line!("{}", serde_json::to_string(record)?);
            continue;
        }
        let drift = &record.drift;
        let (kind, was, is) = (drift.kind.as_str(), &drift.was, &drift.is);
        line!("{}  {}", record.event_type, drift.path);
        line!("  {kind}: was {was}, is {is}");
        if !drift.example.is_empty() {
            line!("  example    {}", drift.example);
        }
        line!(
            "  first seen {} in event {}",
            record.first_seen,
            record.event
        );
        line!("  plug-ins   {}", record.readers());
    }
    if !args.json {
        line!("{} found", found.len());
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn accept_type(args: Accept) -> anyhow::Result<ExitCode> {
    let context = args.target.connect().await?;
    let who = Who::at_the_command_line();
    let (kept, gone) = accept(&context, &who, &args.event_type).await?;
    super::told(&kept, args.json);
    if !args.json {
        line!("{gone} reported before are taken away");
    }
    Ok(ExitCode::SUCCESS)
}

//! `sluice schema upcast`: takes steps from one version of a type to the next, gives them to the registry, tried on the events that are there.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use crate::cli::connect::Target;
use crate::cli::output::line;
use crate::operations::Who;
use crate::operations::schemas::{put_upcast, remove_upcast};
use crate::schemas::{files, upcasts};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The type.
    #[arg(value_name = "TYPE")]
    event_type: String,
    /// The version that the steps lead to, from the one before it.
    #[arg(long, value_name = "N")]
    to: Option<u32>,
    /// A file with a list of steps; without it, shows those that there are.
    #[arg(long, value_name = "FILE", requires = "to")]
    file: Option<PathBuf>,
    /// Take the steps to this version away.
    #[arg(long, requires = "to", conflicts_with = "file")]
    remove: bool,
    #[command(flatten)]
    target: Target,
    /// JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let who = Who::at_the_command_line();
    let event_type = args.event_type.as_str();
    match (args.to, &args.file) {
        (Some(version), Some(file)) => {
            let steps = files::document(file)?;
            let context = args.target.connect().await?;
            let tried = put_upcast(&context, &who, (event_type, version), steps).await?;
            match args.json {
                true => line!(
                    "{}",
                    json!({ "type": event_type, "version": version, "tried": tried })
                ),
                false => line!(
                    "{event_type}  from version {} to {version}, tried on {tried} older events",
                    version.saturating_sub(1)
                ),
            }
        }
        (Some(version), None) if args.remove => {
            let context = args.target.connect().await?;
            remove_upcast(&context, &who, (event_type, version)).await?;
            if !args.json {
                line!("{event_type}  no way to version {version}");
            }
        }
        (to, _) => {
            let context = args.target.connect().await?;
            let mut found = upcasts::list(&context, Some(event_type)).await?;
            found.retain(|record| to.is_none_or(|to| to == record.version));
            for record in &found {
                if args.json {
                    line!("{}", serde_json::to_string(record)?);
                    continue;
                }
                let (to, since) = (record.version, &record.since);
                line!(
                    "from version {} to {to}, since {since}",
                    to.saturating_sub(1)
                );
                line!("{}", serde_json::to_string_pretty(&record.steps)?);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

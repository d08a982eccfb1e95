//! `sluice pause` and `sluice resume`: take a plug-in's name, have no call of it begun, or calls again.

use std::process::ExitCode;

use super::connect::Target;
use super::following::{Does, Patience, entry, known, wait};
use crate::deployment;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The plug-in.
    plugin: String,
    #[command(flatten)]
    patience: Patience,
    #[command(flatten)]
    target: Target,
}

pub(super) async fn run(args: Args, paused: bool) -> anyhow::Result<ExitCode> {
    let context = args.target.connect().await?;
    let plugin = &args.plugin;
    known(&context, plugin).await?;
    deployment::change(&context, plugin, |wish| {
        wish.paused = paused;
        Ok::<(), anyhow::Error>(())
    })
    .await?;
    let what = if paused { "paused" } else { "resumed" };
    wait(
        &context,
        &format!("{plugin} {what}"),
        &args.patience,
        |answer| match entry(answer, plugin) {
            Some(entry) if entry.paused != paused => Does::NotYet,
            Some(_) | None => Does::It,
        },
    )
    .await
}

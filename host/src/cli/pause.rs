//! `sluice pause` and `sluice resume`: take a plug-in's name, have no call of it begun, or calls again.

use std::process::ExitCode;

use super::following::{About, Does, entry, known, wait};
use crate::operations::{Who, fleet};

pub(super) async fn run(args: About, paused: bool) -> anyhow::Result<ExitCode> {
    let context = args.target.connect().await?;
    let plugin = &args.plugin;
    known(&context, plugin).await?;
    fleet::pause(&context, &Who::at_the_command_line(), plugin, paused).await?;
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

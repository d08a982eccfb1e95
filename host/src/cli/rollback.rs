//! `sluice rollback` and `sluice undeploy`: take a plug-in's name, give what ran before.

use std::process::ExitCode;

use anyhow::anyhow;
use serde_json::json;

use super::deploy::{follow, tidy, went};
use super::following::About;
use crate::deployment::{self, Components};
use crate::operations::fleet::RolledBack;
use crate::operations::{Who, audit, fleet};

/// Takes a canary back, or else goes back to the build that was deployed before.
pub(super) async fn run(args: About) -> anyhow::Result<ExitCode> {
    let context = args.target.connect().await?;
    let plugin = &args.plugin;
    let who = Who::at_the_command_line();
    let RolledBack { wishes, gone } = fleet::roll_back(&context, &who, plugin).await?;
    let (before, after) = wishes;
    tidy(&Components::open(&context).await?, &before, &after).await;
    gone.iter().for_each(went);
    follow(&context, (plugin, &after), &args.patience).await
}

/// Nothing is deployed any more.
pub(super) async fn undeploy(args: About) -> anyhow::Result<ExitCode> {
    let context = args.target.connect().await?;
    let plugin = &args.plugin;
    let wish = deployment::wish(&context, plugin).await?;
    if wish.build.is_some() || wish.canary.is_some() {
        let detail = json!({ "from": wish.build });
        audit::record(
            &context,
            &Who::at_the_command_line(),
            "undeploy",
            plugin,
            detail,
        )
        .await?;
    }
    let changed = deployment::change(&context, plugin, |wish| {
        if wish.build.is_none() && wish.canary.is_none() {
            return Err(anyhow!("{plugin} is not deployed"));
        }
        wish.withdraw();
        Ok(())
    });
    let (before, after) = changed.await?;
    tidy(&Components::open(&context).await?, &before, &after).await;
    before.build.iter().for_each(went);
    follow(&context, (plugin, &after), &args.patience).await
}

//! `sluice rollback` and `sluice undeploy`: take a plug-in's name, give what ran before.

use std::process::ExitCode;

use anyhow::anyhow;

use super::deploy::{follow, tidy, went};
use super::following::About;
use crate::deployment::{self, Components};

/// Takes a canary back, or else goes back to the build that was deployed before.
pub(super) async fn run(args: About) -> anyhow::Result<ExitCode> {
    let context = args.target.connect().await?;
    let plugin = &args.plugin;
    let mut gone = None;
    let changed = deployment::change(&context, plugin, |wish| {
        let has_build = wish.build.is_some();
        gone = wish.roll_back();
        match gone {
            Some(_) => Ok(()),
            None if has_build => Err(anyhow!(
                "no build of {plugin} was deployed before this one; `sluice undeploy {plugin}` \
                 has each host run what its folder has"
            )),
            None => Err(anyhow!(
                "{plugin} is not deployed; what a host's folder has is rolled back by putting \
                 the file that was there before in its place"
            )),
        }
    });
    let (before, after) = changed.await?;
    tidy(&Components::open(&context).await?, &before, &after).await;
    gone.iter().for_each(went);
    follow(&context, (plugin, &after), &args.patience).await
}

/// Nothing is deployed any more.
pub(super) async fn undeploy(args: About) -> anyhow::Result<ExitCode> {
    let context = args.target.connect().await?;
    let plugin = &args.plugin;
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

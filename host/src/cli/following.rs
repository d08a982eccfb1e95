//! Takes what the hosts were told, waits until each of them does it, and says which do not.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use async_nats::jetstream::Context;
use tokio::time::{Instant, sleep};

use super::connect::Target;
use super::output::line;
use crate::operations::fleet::answers;
use crate::roster::{Answer, Entry};

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(200);

/// What a host says of an order.
pub(super) enum Does {
    /// It follows.
    It,
    /// It will, as far as can be seen.
    NotYet,
    /// It will not, and says why.
    Refuses(String),
}

/// A plug-in, and what the hosts are to do about it.
#[derive(Debug, clap::Args)]
pub(super) struct About {
    /// The plug-in.
    pub(super) plugin: String,
    #[command(flatten)]
    pub(super) patience: Patience,
    #[command(flatten)]
    pub(super) target: Target,
}

/// How long to wait for the hosts.
#[derive(Debug, clap::Args)]
pub(super) struct Patience {
    /// Wait so long until every host does it.
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Do not wait for the hosts.
    #[arg(long)]
    no_wait: bool,
}

/// What a host says of one plug-in.
pub(super) fn entry<'a>(answer: &'a Answer, plugin: &str) -> Option<&'a Entry> {
    answer.plugins.iter().find(|entry| entry.plugin == plugin)
}

/// A plug-in that no host has and nobody deployed is a slip of the pen.
pub(super) async fn known(context: &Context, plugin: &str) -> anyhow::Result<()> {
    let (answers, _) = answers(context).await?;
    let here = answers.iter().any(|answer| entry(answer, plugin).is_some());
    if !here
        && crate::deployment::wish(context, plugin)
            .await?
            .build
            .is_none()
    {
        bail!("no host runs a plug-in {plugin}, and none is deployed; `sluice plugins` lists them");
    }
    Ok(())
}

/// Waits; exit status 1 where a host does not follow.
pub(super) async fn wait(
    context: &Context,
    what: &str,
    patience: &Patience,
    does: impl Fn(&Answer) -> Does,
) -> anyhow::Result<ExitCode> {
    if patience.no_wait {
        line!("{what}: said to the cluster");
        return Ok(ExitCode::SUCCESS);
    }
    let end = Instant::now() + patience.timeout;
    loop {
        let (answers, silent) = answers(context).await?;
        let mut open: BTreeMap<String, String> = silent
            .into_iter()
            .map(|host| (host, "does not answer".to_owned()))
            .collect();
        let (mut done, mut is_waiting) = (Vec::new(), !open.is_empty());
        for answer in &answers {
            match does(answer) {
                Does::It => done.push(answer.host.as_str()),
                Does::NotYet => {
                    is_waiting = true;
                    open.insert(answer.host.clone(), "not yet".to_owned());
                }
                Does::Refuses(why) => {
                    open.insert(answer.host.clone(), why);
                }
            }
        }
        if is_waiting && Instant::now() < end {
            sleep(PAUSE).await;
            continue;
        }
        if answers.is_empty() && open.is_empty() {
            line!("{what}: no host is alive; the next one that starts does it");
        } else if !done.is_empty() {
            line!("{what}: {}", done.join(", "));
        }
        for (host, why) in &open {
            eprintln!("error: {what}: {host}: {why}");
        }
        return Ok(if open.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        });
    }
}

//! `sluice dlq blocked|unblock`: takes the keys that wait for an operator, shows them, lets one go on.

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::json;

use crate::cli::connect::Target;
use crate::cli::output::line;
use crate::clock;
use crate::operations::blocked::{let_go_on, read};
use crate::operations::{Who, audit};

#[derive(Debug, Args)]
pub(in crate::cli) struct Blocked {
    /// Of this plug-in only.
    #[arg(long)]
    plugin: Option<String>,
    #[command(flatten)]
    target: Target,
    /// A JSON array.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Unblock {
    /// Its plug-in.
    plugin: String,
    /// The key, as `blocked` shows it.
    key: String,
    #[command(flatten)]
    target: Target,
}

pub(super) async fn blocked(args: Blocked) -> anyhow::Result<()> {
    let context = args.target.connect().await?;
    let keys = read(&context, args.plugin.as_deref()).await?;
    if args.json {
        line!("{}", serde_json::to_string(&keys)?);
        return Ok(());
    }
    for key in &keys {
        let waits_for = match (key.dead_letter, &key.since) {
            (Some(id), Some(since)) => format!("dead letter {id}, since {since}"),
            (Some(id), None) => format!("dead letter {id}"),
            (None, _) => "a dead letter that is gone: let it go on with `unblock`".to_owned(),
        };
        line!(
            "{:<20}  {}  {} events wait for {waits_for}",
            key.plugin,
            key.key,
            key.waiting
        );
    }
    line!("{} keys are blocked", keys.len());
    Ok(())
}

/// Lets the key go on without its dead letter.
pub(super) async fn unblock(args: Unblock) -> anyhow::Result<()> {
    let Unblock {
        plugin,
        key,
        target,
    } = &args;
    let context = target.connect().await?;
    let keys = read(&context, Some(plugin)).await?;
    let found = keys.iter().find(|blocked| blocked.key == *key);
    let found = found.with_context(|| {
        format!("no key {key:?} of {plugin} is blocked; `sluice dlq blocked` shows those that are")
    })?;
    if let Some(id) = found.dead_letter {
        bail!(
            "it waits for dead letter {id}: `sluice dlq replay {id}` or `sluice dlq discard {id}`"
        );
    }
    let who = Who::at_the_command_line();
    audit::record(&context, &who, "unblock", plugin, json!({ "key": key })).await?;
    let about = format!("unblock {}", clock::unix_millis());
    let_go_on(&context, plugin, key, found.sequence, &about).await?;
    line!("{key} of {plugin} goes on");
    Ok(())
}

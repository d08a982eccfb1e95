//! `sluice plugins`: asks every host, shows which build of each plug-in runs where.

use std::process::ExitCode;

use clap::Args;

use super::connect::Target;
use super::deploy::short;
use super::output::line;
use crate::operations::fleet::{PATIENCE, answers};
use crate::roster::Answer;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// This one only.
    plugin: Option<String>,
    #[command(flatten)]
    target: Target,
    /// A JSON array, one member a host.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let context = arguments.target.connect().await?;
    let (mut answers, silent) = answers(&context).await?;
    for answer in &mut answers {
        if let Some(wanted) = &arguments.plugin {
            answer.plugins.retain(|entry| entry.plugin == *wanted);
        }
    }
    for name in &silent {
        eprintln!("warning: {name} did not answer within {PATIENCE:?}");
    }
    if arguments.json {
        line!("{}", serde_json::to_string(&answers)?);
    } else {
        show(&answers)?;
    }
    Ok(if silent.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn show(answers: &[Answer]) -> anyhow::Result<()> {
    let mut count = 0;
    for answer in answers {
        for entry in &answer.plugins {
            count += 1;
            let build = &entry.build;
            let counts = &entry.counts;
            let partitions: Vec<&str> = entry
                .partitions
                .iter()
                .filter_map(|name| name.rsplit_once('/').map(|(_, number)| number))
                .collect();
            let partitions = match partitions.as_slice() {
                [] => "none".to_owned(),
                some => some.join(","),
            };
            line!(
                "{:<20}  {:<10}  {}  generation {} since {}  {}{}",
                entry.plugin,
                build.version,
                short(&build.digest),
                build.generation,
                build.since,
                build.file,
                if entry.paused { "  paused" } else { "" }
            );
            line!(
                "    on {}: partitions {partitions}; {} done, {} duplicate, {} retries, {} dead; \
                 {} in flight, {} parked, {} blocked, {} behind; {} of {:.1} MiB",
                answer.host,
                counts.done,
                counts.duplicate,
                counts.retry,
                counts.dead,
                counts.in_flight,
                counts.parked,
                counts.blocked,
                counts.lag,
                counted(entry.instances, "instance"),
                counts.memory_bytes as f64 / f64::from(1 << 20)
            );
            if let Some(state) = &entry.projection {
                super::projections::print(state);
            }
            if !entry.carrying_over.is_empty() {
                line!(
                    "    carrying state over: {}",
                    entry.carrying_over.join(", ")
                );
            }
            if let Some(canary) = &entry.canary {
                line!(
                    "    canary {} {} for {}% of the keys: {} calls, {} of them failed what the \
                     build above has handled",
                    canary.version,
                    short(&canary.digest),
                    canary.percent,
                    canary.calls,
                    canary.broken
                );
            }
            if let Some(gone) = &entry.taken_back {
                line!(
                    "    canary {} {} was taken back by {} on {}: {}",
                    gone.build.version,
                    short(&gone.build.digest),
                    gone.host,
                    gone.on,
                    gone.reason
                );
            }
        }
        for (what, why) in &answer.refused {
            line!("refused on {}: {what}: {why}", answer.host);
        }
    }
    line!("{count} plug-ins on {} hosts", answers.len());
    Ok(())
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

//! `sluice projections`: shows the tables that are made of events, and has them made anew.

use std::process::ExitCode;

use super::connect::Target;
use super::deploy::short;
use super::output::line;
use crate::operations::Who;
use crate::operations::fleet::PATIENCE;
use crate::operations::projections::{Copy, copies, of, rebuild, refused};
use crate::projections::{Progress, State};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Every projection of every host, and how far it is.
    List(List),
    /// One projection, and the events that it could not take in.
    Show(Show),
    /// Make its rows anew from the beginning of the store, on every host; what is there answers
    /// until the new rows have caught up.
    Rebuild(Rebuild),
}

#[derive(Debug, clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    target: Target,
    /// A JSON array, one member a projection and host.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Show {
    /// The projection.
    name: String,
    #[command(flatten)]
    target: Target,
    /// A JSON array, one member a host.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Rebuild {
    /// The projection.
    name: String,
    #[command(flatten)]
    target: Target,
    /// A JSON array: of each host, whether it has begun.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(verb: Verb) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::List(args) => list(args).await,
        Verb::Show(args) => show(args).await,
        Verb::Rebuild(args) => build_anew(args).await,
    }
}

async fn list(args: List) -> anyhow::Result<ExitCode> {
    let context = args.target.connect().await?;
    let (copies, silent) = copies(&context).await?;
    for name in &silent {
        eprintln!("warning: {name} did not answer within {PATIENCE:?}");
    }
    if args.json {
        line!("{}", serde_json::to_string(&copies)?);
    } else {
        for copy in &copies {
            line!("{:<20}  on {}{}", copy.name, copy.host, doing(copy));
            print(&copy.state);
        }
        eprintln!("{} projections", copies.len());
    }
    Ok(match silent.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

async fn show(args: Show) -> anyhow::Result<ExitCode> {
    let context = args.target.connect().await?;
    let mut shown = Vec::new();
    for copy in of(&context, &args.name).await? {
        let refused = refused(&context, &copy).await?;
        if args.json {
            let mut one = serde_json::to_value(&copy)?;
            if let Some(members) = one.as_object_mut() {
                members.insert("refused".to_owned(), serde_json::to_value(&refused)?);
            }
            shown.push(one);
            continue;
        }
        line!("{:<20}  on {}{}", copy.name, copy.host, doing(&copy));
        print(&copy.state);
        for event in refused {
            line!(
                "    refused {} {} {}, {}: {}",
                event.sequence,
                event.event_type,
                event.id,
                event.reason,
                event.error
            );
        }
    }
    if args.json {
        line!("{}", serde_json::to_string(&shown)?);
    }
    Ok(ExitCode::SUCCESS)
}

async fn build_anew(args: Rebuild) -> anyhow::Result<ExitCode> {
    let context = args.target.connect().await?;
    let who = Who::at_the_command_line();
    let done = rebuild(&context, &who, &args.name).await?;
    if args.json {
        let done: Vec<_> = done
            .iter()
            .map(|(host, begun)| serde_json::json!({ "host": host, "begun": begun }))
            .collect();
        line!("{}", serde_json::to_string(&done)?);
        return Ok(ExitCode::SUCCESS);
    }
    for (host, begun) in done {
        match begun {
            true => line!("{host}: {} is built anew; what is there answers", args.name),
            false => line!("{host}: {} is being built anew already", args.name),
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn doing(copy: &Copy) -> String {
    let paused = if copy.paused { "  paused" } else { "" };
    let follows = if copy.state.follows {
        "  another host writes"
    } else {
        ""
    };
    format!("{paused}{follows}")
}

/// How far it is, for people.
pub(super) fn print(state: &State) {
    let version = |what: &str, progress: &Progress| {
        let rows: Vec<String> = progress
            .rows
            .iter()
            .map(|(table, rows)| format!("{rows} {table}"))
            .collect();
        let behind = match progress.behind {
            Some(behind) => format!("{behind} behind"),
            None => "begins".to_owned(),
        };
        line!(
            "    {what} {} {} ({}): at {}, {behind}; {}; {} applied, {} refused, {} lost; {:.1} MiB",
            progress.version,
            short(&progress.digest),
            progress.id,
            progress.position,
            rows.join(", "),
            progress.applied,
            progress.refused,
            progress.lost,
            progress.bytes as f64 / f64::from(1 << 20)
        );
        if let Some(why) = &progress.stands {
            line!("    stands: {why}");
        }
    };
    version("answers:", &state.current);
    if let Some(building) = &state.building {
        version("is built:", building);
    }
}

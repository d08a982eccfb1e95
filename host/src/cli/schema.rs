//! `sluice schema`: what the bodies of each type look like: learnt, imported, shown, compared.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use sluicegate_schema::{Content, Members, Shape};

use super::connect::Target;
use super::output::line;
use crate::schemas::registry::{self, Kept, Version};
use crate::schemas::{files, upcasts};

mod check;
mod drift;
mod import;
mod learn;
mod rust;
mod upcast;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// The types that have one, and the newest version of each.
    List(List),
    /// One version: its members, or with --json the JSON Schema.
    Show(Show),
    /// Learn from the events that are in the store.
    Learn(learn::Args),
    /// Take the descriptions of others, or a folder of schemas.
    Import(import::Args),
    /// What live bodies have otherwise than their schema says, and which plug-ins read it.
    Drift(drift::Args),
    /// Take what bodies look like now for right: it becomes the next version.
    Accept(drift::Accept),
    /// Say how a body of one version becomes one of the next, for plug-ins that read that.
    Upcast(upcast::Args),
    /// Write every version into a folder, `<type>/<version>.json`, for git.
    Export(Export),
    /// Structs that a plug-in in Rust reads such bodies with.
    Rust(rust::Args),
    /// Compare the versions of a folder with each other, and with what plug-ins read; no broker.
    Check(check::Args),
}

#[derive(Debug, clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    target: Target,
    /// A line of JSON for each.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Show {
    /// The type.
    #[arg(value_name = "TYPE")]
    event_type: String,
    /// Which; the newest when not given.
    #[arg(long = "schema-version", alias = "version", value_name = "N")]
    number: Option<u32>,
    #[command(flatten)]
    target: Target,
    /// The JSON Schema.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Export {
    /// The folder; it is made where it is not there.
    folder: PathBuf,
    #[command(flatten)]
    target: Target,
}

pub(super) async fn run(verb: Verb) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::List(args) => list(args).await,
        Verb::Show(args) => show(args).await,
        Verb::Learn(args) => learn::run(args).await,
        Verb::Import(args) => import::run(args).await,
        Verb::Drift(args) => drift::run(args).await,
        Verb::Accept(args) => drift::accept_type(args).await,
        Verb::Upcast(args) => upcast::run(args).await,
        Verb::Export(args) => export(args).await,
        Verb::Rust(args) => rust::run(args).await,
        Verb::Check(args) => check::run(&args),
    }
}

async fn list(args: List) -> anyhow::Result<ExitCode> {
    let context = args.target.connect().await?;
    for (event_type, versions) in registry::versions(&context, None).await? {
        let Some((_, newest)) = versions.last_key_value() else {
            continue;
        };
        let Version {
            version,
            origin,
            since,
            seen,
            ..
        } = newest;
        if args.json {
            let row = serde_json::json!({
                "type": event_type, "version": version, "versions": versions.len(),
                "origin": origin, "since": since, "seen": seen,
            });
            line!("{row}");
        } else {
            line!("{event_type}  version {version}, {origin}, of {seen} bodies, since {since}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(args: Show) -> anyhow::Result<ExitCode> {
    let context = args.target.connect().await?;
    let version = registry::one(&context, &args.event_type, args.number).await?;
    if args.json {
        line!("{}", serde_json::to_string_pretty(&version.schema)?);
        return Ok(ExitCode::SUCCESS);
    }
    let Version {
        version: number,
        origin,
        since,
        seen,
        ..
    } = &version;
    line!("{}", version.event_type);
    line!("version {number}, {origin}, of {seen} bodies, since {since}");
    for row in rows(&version.shape()?) {
        line!("  {row}");
    }
    Ok(ExitCode::SUCCESS)
}

async fn export(args: Export) -> anyhow::Result<ExitCode> {
    let context = args.target.connect().await?;
    let mut count = 0;
    for versions in registry::versions(&context, None).await?.into_values() {
        for version in versions.into_values() {
            files::write(&args.folder, &version)?;
            count += 1;
        }
    }
    for record in upcasts::list(&context, None).await? {
        files::write_upcast(&args.folder, &record)?;
    }
    line!("{count} versions written to {}", args.folder.display());
    Ok(ExitCode::SUCCESS)
}

/// What became of a schema, in a line.
fn told(kept: &Kept, json: bool) {
    let (word, version) = match kept {
        Kept::New(version) => ("new", version),
        Kept::Same(version) => ("unchanged", version),
    };
    let Version {
        event_type,
        version: number,
        seen,
        ..
    } = version;
    if json {
        let row = serde_json::json!({
            "type": event_type, "version": number, "what": word, "seen": seen,
        });
        line!("{row}");
    } else {
        line!("{event_type}  version {number}, {word}, of {seen} bodies");
    }
}

/// A line for each member.
fn rows(shape: &Shape) -> Vec<String> {
    let mut rows = Vec::new();
    below(shape, "", &mut rows);
    rows
}

fn below(shape: &Shape, path: &str, rows: &mut Vec<String>) {
    let mut members = |members: &Members| {
        for (name, member) in &members.named {
            let path = format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"));
            let always = if member.required { ", always" } else { "" };
            rows.push(format!("{path}  {}{always}", member.shape.words()));
            below(&member.shape, &path, rows);
        }
        if let Some(rest) = &members.rest {
            let path = format!("{path}/*");
            rows.push(format!("{path}  {}", rest.words()));
            below(rest, &path, rows);
        }
    };
    members(&shape.members);
    match &shape.content {
        Content::Pairs(pairs) => members(pairs),
        Content::Items(items) => {
            let path = format!("{path}/*");
            rows.push(format!("{path}  {}", items.words()));
            below(items, &path, rows);
        }
        Content::Nothing | Content::Any => {}
    }
}

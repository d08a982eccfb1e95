//! `sluice schema rust`: takes a version of a schema, gives structs that a plug-in reads such bodies with.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use sluicegate_schema::{Shape, rust};

use crate::cli::connect::Target;
use crate::cli::embedded;
use crate::cli::output::{bytes, line};
use crate::schemas::{files, registry};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The type.
    #[arg(value_name = "TYPE")]
    event_type: String,
    /// Which; the newest when not given.
    #[arg(long = "schema-version", alias = "version", value_name = "N")]
    number: Option<u32>,
    /// A folder of schemas, `<type>/<version>.json`, to take it from; no broker is asked.
    #[arg(long, value_name = "DIR")]
    schemas: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
    /// The file to write; standard output when not given.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (number, shape) = match &args.schemas {
        Some(folder) => in_folder(folder, &args.event_type, args.number)?,
        None => {
            let context = args.target.connect().await?;
            let version = registry::one(&context, &args.event_type, args.number).await?;
            (version.version, version.shape()?)
        }
    };
    let source = rust(&shape, &args.event_type, number);
    match &args.out {
        Some(file) => {
            embedded::write(file, source.as_bytes())?;
            line!("{}", file.display());
        }
        None => bytes(source.as_bytes()),
    }
    Ok(ExitCode::SUCCESS)
}

/// One version of a folder, or the newest one.
fn in_folder(folder: &Path, event_type: &str, number: Option<u32>) -> anyhow::Result<(u32, Shape)> {
    let mut all = files::read(folder)?;
    let mut all = all.remove(event_type).unwrap_or_default();
    let found = match number {
        Some(number) => all.remove_entry(&number),
        None => all.pop_last(),
    };
    let (number, schema) = found.with_context(|| {
        let version = number.map(|number| format!(" with version {number}"));
        let (folder, version) = (folder.display(), version.unwrap_or_default());
        format!("{folder}: there is no schema of {event_type}{version}")
    })?;
    let shape = Shape::read(&schema).with_context(|| format!("{event_type} version {number}"))?;
    Ok((number, shape))
}

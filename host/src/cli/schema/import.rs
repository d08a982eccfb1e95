//! `sluice schema import`: takes descriptions of others, gives versions of the registry.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use serde_json::Value;
use sluicegate_schema::{Imported, Shape, asyncapi, dataverse, fno};

use crate::cli::connect::Target;
use crate::operations::Who;
use crate::operations::schemas::{Source, keep};
use crate::schemas::files;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// `EntityDefinitions?$expand=Attributes` of the Dataverse Web API.
    Dataverse,
    /// "Download schema" of the business events catalog: needs --type.
    Fno,
    /// An AsyncAPI document in JSON.
    Asyncapi,
    /// JSON Schema: needs --type, or a title that is the type.
    JsonSchema,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Dataverse => "dataverse",
            Self::Fno => "fno",
            Self::Asyncapi => "asyncapi",
            Self::JsonSchema => "json-schema",
        }
    }
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The file; or a folder as `export` writes it, of which the newest version of each type is
    /// taken.
    file: PathBuf,
    /// What it is; not needed for a folder.
    #[arg(long = "as", value_enum, value_name = "KIND")]
    kind: Option<Kind>,
    /// The type that it describes, where it does not say.
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    #[command(flatten)]
    target: Target,
    /// A line of JSON for each type.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (found, origin) = read(&args)?;
    if found.is_empty() {
        bail!("{}: there is no schema in it", args.file.display());
    }
    let context = args.target.connect().await?;
    let who = Who::at_the_command_line();
    for Imported { event_type, shape } in &found {
        let source = Source {
            action: "import-schema",
            origin,
        };
        let kept = keep(&context, &who, (event_type, shape, 0), source).await?;
        super::told(&kept, args.json);
    }
    Ok(ExitCode::SUCCESS)
}

fn read(args: &Args) -> anyhow::Result<(Vec<Imported>, &'static str)> {
    if args.file.is_dir() {
        return Ok((folder(&args.file)?, "file"));
    }
    let kind = args
        .kind
        .context("--as: say what the file is: dataverse, fno, asyncapi or json-schema")?;
    let document = files::document(&args.file)?;
    let place = || args.file.display().to_string();
    let one = |shape: Shape, title: Option<&Value>| {
        let title = title.and_then(Value::as_str).map(str::to_owned);
        let event_type = args.event_type.clone().or(title);
        let event_type = event_type.context("--type: say which type the schema describes")?;
        anyhow::Ok(vec![Imported { event_type, shape }])
    };
    let found = match kind {
        Kind::Dataverse => dataverse(&document).with_context(place)?,
        Kind::Asyncapi => asyncapi(&document).with_context(place)?,
        Kind::Fno => one(fno(&document).with_context(place)?, None)?,
        Kind::JsonSchema => one(
            Shape::read(&document).with_context(place)?,
            document.get("title"),
        )?,
    };
    Ok((found, kind.word()))
}

fn folder(folder: &Path) -> anyhow::Result<Vec<Imported>> {
    let mut found = Vec::new();
    for (event_type, mut versions) in files::read(folder)? {
        if let Some((number, schema)) = versions.pop_last() {
            let place = || format!("{event_type} version {number}");
            let shape = Shape::read(&schema).with_context(place)?;
            found.push(Imported { event_type, shape });
        }
    }
    Ok(found)
}

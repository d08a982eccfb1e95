//! `sluice docs`: writes the catalogue of events, as an AsyncAPI document and as a page to read.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;

use super::connect::Target;
use super::output::line;
use crate::clock;
use crate::operations::catalogue::{self, asyncapi, page};
use crate::operations::fleet::PATIENCE;

const DOCUMENT: &str = "asyncapi.json";
const PAGE: &str = "index.html";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The folder to write into; made where it is not there.
    #[arg(long, default_value = "sluice-docs")]
    out: PathBuf,
    /// Over the page and in the document.
    #[arg(long, default_value = "Dynamics 365 events")]
    title: String,
    #[command(flatten)]
    target: Target,
    /// The AsyncAPI document to standard output; no file is written.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Args) -> anyhow::Result<ExitCode> {
    let context = arguments.target.connect().await?;
    let info = context.client().server_info();
    let server = format!("{}:{}", info.host, info.port);
    let (catalogue, silent) = catalogue::gather(&context).await?;
    for name in &silent {
        eprintln!(
            "warning: {name} did not answer within {PATIENCE:?}; its plug-ins may be missing"
        );
    }
    let title = arguments.title.as_str();
    let document = asyncapi::document(&catalogue, (title, &server));
    if arguments.json {
        line!("{}", serde_json::to_string(&document)?);
    } else {
        let now = clock::rfc3339(clock::unix_millis());
        let page = page::page(&catalogue, (title, &now));
        let document = serde_json::to_string_pretty(&document)? + "\n";
        let folder = &arguments.out;
        std::fs::create_dir_all(folder)
            .with_context(|| format!("{}: cannot be made", folder.display()))?;
        for (name, text) in [(DOCUMENT, &document), (PAGE, &page)] {
            let path = folder.join(name);
            std::fs::write(&path, text)
                .with_context(|| format!("{}: cannot be written", path.display()))?;
            line!("{}", path.display());
        }
        line!(
            "{} types of events, {} plug-ins and bridges",
            catalogue.events.len(),
            catalogue.plugins.len()
        );
    }
    Ok(match silent.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

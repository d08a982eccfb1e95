//! `sluice wit`: takes nothing, gives the contract between host and plug-in, for the tools of any
//! language.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use super::embedded::{self, WIT};
use super::output::{bytes, line};
use crate::contract;

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct Args {
    /// Write the .wit files into this folder, those of WASI that a plug-in may import in deps/.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Write them as one WIT package in WebAssembly's form, which registries take.
    #[arg(long, value_name = "FILE")]
    package: Option<PathBuf>,
    /// Print the reference: every interface, function and type.
    #[arg(long)]
    markdown: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let broken = |error: String| anyhow::anyhow!(error);
    if let Some(dir) = &args.out {
        embedded::unpack(&WIT, &[], dir)?;
        line!("{}", dir.display());
    } else if let Some(file) = &args.package {
        let (resolve, package) = contract::resolve().map_err(broken)?;
        let wasm = wit_component::encode(&resolve, package)
            .with_context(|| format!("{} cannot be made", file.display()))?;
        embedded::write(file, &wasm)?;
        line!("{}", file.display());
    } else {
        bytes(contract::reference().map_err(broken)?.as_bytes());
    }
    Ok(ExitCode::SUCCESS)
}

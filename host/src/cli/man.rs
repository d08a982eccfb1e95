//! `sluice man`: takes a folder, writes a manual page for each verb into it.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::CommandFactory as _;

use super::Cli;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The folder for the pages, made if it is not there: `share/man/man1` of a prefix.
    #[arg(long)]
    out: PathBuf,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    std::fs::create_dir_all(&args.out)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), &args.out))
        .with_context(|| args.out.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}

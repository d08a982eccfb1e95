//! `sluice completions`: takes a shell's name, gives what it completes our command lines by.

use std::process::ExitCode;

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;

use super::{Cli, output};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The shell that is to read it.
    shell: Shell,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    // Into memory first: a reader that goes away is `output`'s to deal with.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut for_people(), "sluice", &mut script);
    output::bytes(&script);
    Ok(ExitCode::SUCCESS)
}

/// Without the verbs that only the daemon calls, which would be completed like any other.
fn for_people() -> Command {
    let all = Cli::command();
    let verbs = all.get_subcommands().filter(|verb| !verb.is_hide_set());
    Command::new("sluice")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommands(verbs.cloned())
}

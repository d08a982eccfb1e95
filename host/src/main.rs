//! Takes the command line, gives an exit status: 0 ok, 1 failure, 2 usage or config.

use std::process::ExitCode;

use clap::Parser;
use sluicegate_host::cli::Cli;

fn main() -> ExitCode {
    Cli::parse().run()
}

//! Takes the command line, gives an exit status: 0 ok, 1 failure, 2 usage or config.

use std::process::ExitCode;

use clap::Parser;
use sluicegate_host::cli::Cli;

/// Bodies are freed on other threads than they were made on, which the system's allocator
/// pays for: a fifth of what a request of the gateway costs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    Cli::parse().run()
}

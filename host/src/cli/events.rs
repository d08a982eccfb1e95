//! `sluice events`: takes a place in the event store, shows what stands there.

use std::process::ExitCode;

use clap::Subcommand;

mod find;
mod show;
mod stored;
mod tail;

pub(super) use tail::Args as TailArgs;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// One event, its body byte for byte.
    Show(show::Args),
    /// The newest events, one line each, oldest first.
    Tail(tail::Args),
}

pub(super) async fn run(verb: Verb) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::Show(args) => show::run(args).await,
        Verb::Tail(args) => tail::run(args).await,
    }
}

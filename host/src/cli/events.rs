//! `sluice events`: takes a place in the event store, shows what stands there, or erases it.

use std::process::ExitCode;

use clap::Subcommand;

mod find;
mod redact;
mod show;
mod story;
mod tail;

pub(crate) use self::story::level_name;
pub(super) use tail::Args as TailArgs;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// One event, its body byte for byte.
    Show(show::Args),
    /// Events of a type, a key, a correlation, a time: the newest first.
    Find(find::Args),
    /// The newest events, one line each, oldest first.
    Tail(tail::Args),
    /// Erase the data of events, wherever the broker keeps it; their envelopes stay.
    Redact(redact::Args),
}

pub(super) async fn run(verb: Verb) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::Show(args) => show::run(args).await,
        Verb::Find(args) => find::run(args).await,
        Verb::Tail(args) => tail::run(args).await,
        Verb::Redact(args) => redact::run(args).await,
    }
}

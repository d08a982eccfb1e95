//! `sluice events`: takes a place in the event store, shows what stands there, takes it out, puts it back, or erases it.

use std::process::ExitCode;

use clap::Subcommand;

mod compact;
mod conditions;
mod export;
mod find;
mod import;
mod indexed;
mod redact;
mod show;
mod story;
mod tail;

pub(super) use self::conditions::{Attributes, moment};
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
    /// Events into a file, the oldest first: CloudEvents, one a line, or Parquet.
    Export(export::Args),
    /// Events from files of CloudEvents, one a line, into the event store, in their order.
    Import(import::Args),
    /// Let go of all but the last event of each key.
    Compact(compact::Args),
    /// Erase the data of events, wherever the broker keeps it; their envelopes stay.
    Redact(redact::Args),
}

pub(super) async fn run(verb: Verb) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::Show(args) => show::run(args).await,
        Verb::Find(args) => find::run(args).await,
        Verb::Tail(args) => tail::run(args).await,
        Verb::Export(args) => Box::pin(export::run(args)).await,
        Verb::Import(args) => import::run(args).await,
        Verb::Compact(args) => compact::run(args).await,
        Verb::Redact(args) => redact::run(args).await,
    }
}
